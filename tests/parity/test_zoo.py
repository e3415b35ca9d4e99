"""The model zoo against torchvision and timm, on the same random weights, through real files."""

import functools
import math
import re

import jax
import numpy as np
import pytest
from flax import nnx

from xaijax import lower
from xaijax.models._densenet import densenet121
from xaijax.models._resnet import resnet18, resnet34, resnet50
from xaijax.models._vgg import vgg11, vgg16
from xaijax.models._vit import vit_small_16

pytestmark = pytest.mark.parity

TORCHVISION = {
    make.__name__: make for make in (vgg11, vgg16, resnet18, resnet34, resnet50, densenet121)
}
TOLERANCE = 1e-5  # of the largest logit; measured: 2e-6 at most


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def torchvision():
    from tests.parity._torchvision import torchvision

    return torchvision


@pytest.fixture(scope="module")
def timm(torchvision):
    return pytest.importorskip("timm")


@pytest.fixture(scope="module")
def peer(torch, torchvision, request):
    """Makes a model of torchvision or timm, with random parameters and random running statistics; one of a kind."""

    @functools.cache
    def make(name, **settings):
        torch.manual_seed(0)
        if name in TORCHVISION:
            model = getattr(torchvision.models, name)(**settings)
        else:
            model = request.getfixturevalue("timm").create_model(name, **settings)
        with torch.no_grad():
            for key, value in (*model.named_parameters(), *model.named_buffers()):
                if key.endswith("running_var"):
                    value.uniform_(0.5, 2)
                elif value.ndim == 1:  # scales of both signs, biases, running means
                    value.normal_()
        return model.eval()

    return make


@pytest.fixture(scope="module")
def pair(torch, peer, tmp_path_factory):
    """A peer and our network of its file; one of a kind."""

    @functools.cache
    def read(name, suffix=".pth", **settings):
        theirs = peer(name, **settings)
        path = save(torch, theirs, tmp_path_factory.mktemp("zoo") / f"a{suffix}")
        ours = TORCHVISION.get(name, vit_small_16)(path, **settings)
        path.unlink()
        return theirs, ours

    return read


def save(torch, model, path):
    if path.suffix == ".safetensors":
        functions = pytest.importorskip("safetensors.torch")
        functions.save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path)
    return path


def images(*shape):
    return np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)


def logits_of(torch, model, x):
    with torch.inference_mode():
        return model(torch.from_numpy(np.moveaxis(x, -1, -3).copy())).numpy()


def assert_close(actual, expected):
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(actual, expected, atol=TOLERANCE * np.abs(expected).max())


apply = jax.jit(lambda m, x: m(x))
apply_lowered = jax.jit(lambda m, x: lower(m)(x))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", TORCHVISION)
def test_logits(torch, pair, name, suffix):
    theirs, ours = pair(name, suffix)
    x = images(224, 224)
    expected = logits_of(torch, theirs, x[None])[0]
    assert_close((apply if suffix == ".pth" else apply_lowered)(ours, x), expected)


@pytest.mark.parametrize("shape", [(2, 33, 32), (1, 97, 120)])
@pytest.mark.parametrize("name", ["vgg11", "resnet18", "resnet50", "densenet121"])
def test_logits_at_other_sizes(torch, pair, name, shape):
    theirs, ours = pair(name, num_classes=11)
    x = images(*shape)
    assert_close(apply(ours, x), logits_of(torch, theirs, x))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_logits_of_vit(torch, pair, suffix):
    theirs, ours = pair("vit_small_patch16_224", suffix)
    x = images(2, 224, 224)
    assert_close(apply(ours, x), logits_of(torch, theirs, x))


def test_vit_of_another_size(torch, peer, tmp_path):
    theirs = peer("vit_small_patch16_224", img_size=64, num_classes=11)
    path = save(torch, theirs, tmp_path / "a.pth")
    ours = vit_small_16(path, num_classes=11, image_size=64)
    x = images(3, 64, 64)
    assert_close(apply(ours, x), logits_of(torch, theirs, x))
    with pytest.raises(ValueError, match=r"pos_embed has the shape \(1, 17, 384\) instead of"):
        vit_small_16(path, num_classes=11)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
def test_checkpoints_of_timm(torch, timm, tmp_path, name):
    """Of these networks timm has the modules of torchvision under the same names."""
    theirs = timm.create_model(name).eval()
    ours = TORCHVISION[name](save(torch, theirs, tmp_path / "a.safetensors"))
    x = images(2, 64, 64)
    expected = logits_of(torch, theirs, x)
    np.testing.assert_allclose(apply(ours, x), expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("name", TORCHVISION)
def test_preprocessing_of_torchvision(torchvision, name):
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    ours = nnx.eval_shape(lambda: TORCHVISION[name](rngs=nnx.Rngs(0))).preprocessing
    np.testing.assert_allclose(ours.mean, np.multiply(weights.mean, 255))
    np.testing.assert_allclose(ours.std, np.multiply(weights.std, 255))
    assert [ours.shorter_side] == weights.resize_size
    assert [ours.crop] == weights.crop_size
    assert ours.interpolation == weights.interpolation.value


@pytest.mark.parametrize("size", [224, 384])
def test_preprocessing_of_timm(timm, size):
    name = f"vit_small_patch16_{size}.augreg_in21k_ft_in1k"
    config = timm.get_pretrained_cfg(name)
    ours = nnx.eval_shape(lambda: vit_small_16(image_size=size, rngs=nnx.Rngs(0))).preprocessing
    np.testing.assert_allclose(ours.mean, np.multiply(config.mean, 255))
    np.testing.assert_allclose(ours.std, np.multiply(config.std, 255))
    assert (3, ours.crop, ours.crop) == config.input_size
    assert ours.shorter_side == math.floor(ours.crop / config.crop_pct)
    assert ours.interpolation == config.interpolation


def test_older_checkpoint_of_densenet(torch, peer, tmp_path):
    """The file that torchvision publishes has the older names, and the older format of PyTorch."""
    theirs = peer("densenet121", num_classes=11)
    state = {
        re.sub(r"(denselayer\d+)\.(norm|conv)([12])\.", r"\1.\2.\3.", key): value
        for key, value in theirs.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    x = images(1, 64, 64)
    ours = densenet121(tmp_path / "a.pth", num_classes=11)
    assert_close(apply(ours, x), logits_of(torch, theirs, x))


@pytest.mark.parametrize("name", ["vgg11", "resnet18", "densenet121", "vit_small_patch16_224"])
def test_input_gradient(torch, pair, name):
    theirs, ours = pair(name, num_classes=11)
    x = images(64, 64) if name in TORCHVISION else images(224, 224)
    actual = jax.jit(jax.grad(lambda x, m: m(x)[3]))(x, ours)
    variable = torch.from_numpy(x.transpose(2, 0, 1)[None].copy()).requires_grad_()
    theirs(variable)[0, 3].backward()
    expected = variable.grad[0].numpy().transpose(1, 2, 0)
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())
