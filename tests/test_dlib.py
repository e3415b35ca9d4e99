"""dlib's ResNet from files in its format, which are written here number by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from xaijax.models import _dlib_resnet as module
from xaijax.models._dlib import read_dnn
from xaijax.models._dlib_resnet import DlibResNet, dlib_resnet34
from xaijax.models._files import FileError

BLOCKS, WIDTHS, CLASSES = (1, 2, 1, 1), (4, 6, 6, 10), ("tench", "goldfish", "great_white_shark")

# --- A writer of the format.


def integer(value):
    raw = abs(value).to_bytes(8, "little").rstrip(b"\0") or b"\0"
    return bytes([len(raw) | (0x80 if value < 0 else 0)]) + raw


def integers(*values):
    return b"".join(map(integer, values))


def text(value):
    return integer(len(value)) + value.encode()


def real(value):
    """A float: its mantissa, without the bytes that are zero, and its exponent."""
    fraction, exponent = np.frexp(np.float32(value))
    mantissa, exponent = int(fraction * 2**24), int(exponent) - 24
    while mantissa and mantissa % 256 == 0:
        mantissa, exponent = mantissa // 256, exponent + 8
    return integers(mantissa, exponent)


def tensor(array=()):
    array = np.asarray(array, "<f4")
    shape = (array.size, 1, 1, 1) if array.size else (0, 0, 0, 0)
    return integers(2, *shape) + array.tobytes()


def alias(*shape):
    return integers(1, *shape)


def multipliers():
    return real(1) + real(1) + real(1) + real(0)


def affine(rng, features):
    gamma, beta = rng.uniform(0.5, 1.5, features), rng.normal(size=features)
    shape = alias(1, features, 1, 1)
    body = text("affine_") + tensor([*gamma, *beta]) + shape + shape + integer(0)
    return body, {"scale": gamma, "bias": beta}


def con(rng, features_in, features_out, size, stride, padding):
    filters = rng.normal(size=(features_out, features_in, size, size))
    filters *= np.sqrt(1 / filters[0].size)
    biases = rng.normal(size=features_out) / 3
    settings = integers(features_out, size, size, stride, stride, padding, padding)
    shapes = alias(*filters.shape) + alias(1, features_out, 1, 1)
    body = text("con_4") + tensor([*filters.ravel(), *biases]) + settings + shapes + multipliers()
    return body, {"kernel": filters.transpose(2, 3, 1, 0), "bias": biases}


def fc(rng, features_in, features_out):
    weights = rng.normal(size=(features_in, features_out))
    biases = rng.normal(size=features_out)
    shapes = alias(features_in, features_out, 1, 1) + alias(1, features_out, 1, 1)
    sizes = integers(features_out, features_in)
    body = text("fc_2") + sizes + tensor([*weights.ravel(), *biases]) + shapes
    return body + integer(0) + multipliers(), {"kernel": weights, "bias": biases}


def pool(kind, *settings):
    return text(kind) + integers(*settings), {}


def network(rng, blocks=BLOCKS, widths=WIDTHS, classes=CLASSES):
    """Every wrapper from the input to the output: (name, content, arrays); a tag has no content."""
    relu, tag = ("", text("relu_"), {}), ("", None, {})
    yield "conv1", *con(rng, 3, widths[0], 7, 2, 0)
    yield "affine1", *affine(rng, widths[0])
    yield relu
    yield "", *pool("max_pool_2", 3, 3, 2, 2, 0, 0)
    channels = widths[0]
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), 1):
        for block in range(count):
            path = f"layer{stage}.{block}"
            down = stage > 1 and block == 0
            yield tag
            yield f"{path}.conv1", *con(rng, channels, width, 3, *((2, 0) if down else (1, 1)))
            yield f"{path}.affine1", *affine(rng, width)
            yield relu
            yield f"{path}.conv2", *con(rng, width, width, 3, 1, 1)
            yield f"{path}.affine2", *affine(rng, width)
            if down:
                yield from (tag, tag)
                yield "", *pool("avg_pool_2", 2, 2, 2, 2, 0, 0)
            yield "", text("add_prev_"), {}
            yield relu
            channels = width
    yield "", *pool("avg_pool_2", 0, 0, 1, 1, 0, 0)
    yield "fc", *fc(rng, channels, len(classes))


MEAN = (122.782, 117.001, 104.298)


def dump(wrappers, labels=CLASSES, size=(227, 227), mean=MEAN, after=b"111"):
    """A file: versions from the output to the input, the input, contents from the input to the output."""
    versions = [integer(1 if content is None else 2) for _, content, _ in wrappers]
    data = integer(1) + text("loss_multiclass_log_") + b"".join(reversed(versions))
    data += text("input_rgb_image_sized") + b"".join(map(real, mean)) + integers(*size)
    for _, content, _ in wrappers:
        if content is not None:
            # What training left: three booleans and three tensors, of which one is not empty here.
            data += content + after + tensor([0.5, 1.5]) + tensor() + tensor()
    return data + integer(len(labels)) + b"".join(map(text, labels))


@pytest.fixture(scope="module")
def wrappers():
    return list(network(np.random.default_rng(0)))


@pytest.fixture(scope="module")
def data(wrappers):
    return dump(wrappers)


def load(folder, data, blocks=BLOCKS, widths=WIDTHS, num_classes=3):
    (folder / "a.dnn").write_bytes(data)
    return module._load("dlib_resnet34", folder / "a.dnn", num_classes, blocks, widths)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return load(tmp_path_factory.mktemp("dlib"), data)


# --- The reader


def test_integers_and_reals_are_those_of_dlib():
    # From the start of the published file: the mean colours and the size of the input.
    published = bytes.fromhex("036290f58111 038300ea8111 039398d08111 01e3 01e3 01 00 8103 02e803")
    assert published.startswith(b"".join(map(real, (122.782, 117.001, 104.298))))
    assert published.endswith(integers(227, 227, 0, -3, 1000))


def test_every_array_is_found(wrappers, model):
    found = 0
    for name, _, arrays in wrappers:
        layer = model
        for part in filter(None, name.split(".")):
            layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
        for variable, expected in arrays.items():
            np.testing.assert_array_equal(getattr(layer, variable)[...], np.float32(expected))
            found += expected.size
    assert found == sum(leaf.size for leaf in jax.tree.leaves(model))
    assert model.labels == CLASSES
    assert model.preprocessing.mean == tuple(float(np.float32(value)) for value in MEAN)
    assert model.preprocessing.crop == 227


def test_layers_and_tags(data):
    layers = read_dnn(data).layers
    kinds = [layer.kind for layer in layers]
    assert kinds[:4] == ["con", "affine", "relu", "max_pool"]
    assert kinds[4:12] == ["tag", "con", "affine", "relu", "con", "affine", "add_prev", "relu"]
    assert (kinds.count("tag"), kinds.count("add_prev")) == (5 + 2 * 3, 5)
    assert layers[0].settings == (4, 7, 7, 2, 2, 0, 0)
    assert layers[-1].settings == (3, 10)


# --- The network


def plain(wrappers, x):
    """What dlib computes, in NumPy and float64, from the arrays that were written."""
    arrays = {name: content for name, _, content in wrappers if content}

    def convolve(x, name, stride, padding):
        kernel = arrays[name]["kernel"]
        x = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], (0, 1))
        y = np.einsum("hwckl,klco->hwo", windows[::stride, ::stride], kernel, optimize=True)
        return y + arrays[name]["bias"]

    def scale(x, name):
        return x * arrays[name]["scale"] + arrays[name]["bias"]

    def pool(x, size, reduce):
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
        return reduce(windows[::2, ::2], (-2, -1))

    def add(x, y):
        total = np.zeros([max(sizes) for sizes in zip(x.shape, y.shape, strict=True)])
        for term in (x, y):
            total[tuple(slice(size) for size in term.shape)] += term
        return total

    x = np.maximum(scale(convolve(x, "conv1", 2, 0), "affine1"), 0)
    x = pool(x, 3, np.max)
    for stage, count in enumerate(BLOCKS, 1):
        for block in range(count):
            path, down = f"layer{stage}.{block}", stage > 1 and block == 0
            y = convolve(x, f"{path}.conv1", 2 if down else 1, 0 if down else 1)
            y = np.maximum(scale(y, f"{path}.affine1"), 0)
            y = scale(convolve(y, f"{path}.conv2", 1, 1), f"{path}.affine2")
            x = np.maximum(add(y, pool(x, 2, np.mean) if down else x), 0)
    return x.mean((0, 1)) @ arrays["fc"]["kernel"] + arrays["fc"]["bias"]


@pytest.mark.parametrize("shape", [(227, 227), (67, 83), (64, 72), (55, 55)])
def test_network(model, wrappers, shape):
    x = np.random.default_rng(1).normal(size=(*shape, 3)).astype(np.float32)
    expected = plain(wrappers, x)
    np.testing.assert_allclose(model(x), expected, atol=1e-4 * np.abs(expected).max())


def test_leading_axes_equal_vmap(model):
    x = np.random.default_rng(2).normal(size=(2, 2, 67, 67, 3)).astype(np.float32)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda m, x: m(x), (None, 0)), (None, 0)))(model, x)
    assert mapped.shape == (2, 2, 3)
    np.testing.assert_allclose(model(x), mapped, atol=1e-4)


def test_resnet34():
    model = nnx.eval_shape(lambda: DlibResNet(rngs=nnx.Rngs(0)))
    # As the file has them: 33 convolutions with bias and 33 affine layers, and the classifier.
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model)) == 21_631_464
    x = jax.ShapeDtypeStruct((2, 227, 227, 3), jnp.float32)
    assert jax.eval_shape(lambda m, x: m(x), model, x).shape == (2, 1000)


def test_layers(model):
    names = xaijax.layers(model, jnp.zeros((227, 227, 3)))
    assert names.default.shape == (6, 6, 10)
    assert "layer4/0/conv2" in str(names)


@pytest.mark.parametrize("shape", [(3, 227, 227), (227, 227), (54, 227, 3), (227, 227, 1), ()])
def test_images_of_other_shapes_are_refused(model, shape):
    with pytest.raises(ValueError, match="DlibResNet: x must have the shape"):
        jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct(shape, jnp.float32))


# --- Files that do not fit


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"apt-get source --download-only dlib.*399bbdef81"):
        dlib_resnet34(tmp_path / "no.dnn")
    with pytest.raises(ValueError, match="dlib_resnet34: path must be a file, got the directory"):
        dlib_resnet34(tmp_path)


def test_another_network(tmp_path, data, wrappers):
    (tmp_path / "b.dnn").write_bytes(data)
    with pytest.raises(ValueError, match=r"path must be dlib's ResNet-34.*names 3 of 1000 classes"):
        dlib_resnet34(tmp_path / "b.dnn")
    with pytest.raises(
        ValueError, match=r"whose layer 0 is \('con', \(4, .*instead of \('con', \(8"
    ):
        load(tmp_path, data, widths=(8, 6, 6, 10))
    with pytest.raises(ValueError, match=r"whose layer 13 is .* instead of \('con', \(4, 3, 3, 1"):
        load(tmp_path, data, blocks=(2, 2, 1, 1))
    with pytest.raises(ValueError, match=r"whose layer \d+ is .* instead of \('fc', \(3, 10\)\)"):
        load(tmp_path, dump([*wrappers[:-1], wrappers[2], wrappers[-1]]))
    with pytest.raises(ValueError, match=r"is \('relu', \(\)\) instead of None"):
        load(tmp_path, dump([*wrappers, wrappers[2]]))
    with pytest.raises(ValueError, match=r"is None instead of \('fc'"):
        load(tmp_path, dump(wrappers[:-1]))
    with pytest.raises(ValueError, match=r"whose input is \(227, 200\) instead of \(227, 227\)"):
        load(tmp_path, dump(wrappers, size=(227, 200)))
    # Channels that do not fit are no setting of a layer: they show in the array.
    changed = [("conv1", *con(np.random.default_rng(0), 1, 4, 7, 2, 0)), *wrappers[1:]]
    match = r"conv1.kernel has the shape \(7, 7, 1, 4\) instead of \(7, 7, 3, 4\)"
    with pytest.raises(ValueError, match=match):
        load(tmp_path, dump(changed))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (text("con_5"), "a layer of the unknown kind 'con_5'"),
        (text("bn_con2"), "a layer of the unknown kind 'bn_con2'"),
        (
            text("affine_") + tensor([1.0] * 3) + alias(1, 2, 1, 1) * 2,
            "number of gamma and beta is 3",
        ),
        (text("affine_") + integer(1), "version of a tensor is 1 instead of 2"),
        (text("affine_") + integers(2, 1, 1, 1, 2**40), "is truncated: at byte"),
        (text("affine_") + integers(2, 2**60, 2**60, 1, 1), "is truncated: at byte"),
        (text("affine_") + integers(2, -1, 1, 1, 1), "has the size -1"),
        (text("affine_") + tensor([1.0] * 2) + integer(3), "version of an alias is 3 instead of 1"),
        (
            text("affine_") + tensor([1.0] * 4) + alias(1, 2, 1, 1) * 2 + integer(1),
            "mode of an aff",
        ),
        (integer(2**50) + b"x", "is truncated: at byte"),
        (integer(-3) + b"x", "has the size -3"),
        (b"\x00", "no integer at byte"),
        (b"\x09" + bytes(9), "no integer at byte"),
        (b"\x41\x00", "no integer at byte"),
        (integer(2) + b"\xff\xfe", "has no text before byte"),
    ],
)
def test_damaged_layers(tmp_path, wrappers, content, match):
    with pytest.raises(ValueError, match=f"dlib_resnet34: path must be dlib's ResNet-34.*{match}"):
        load(tmp_path, dump([*wrappers[:2], ("", content, {}), *wrappers[2:]]))


def test_other_values(tmp_path, wrappers, data):
    with pytest.raises(ValueError, match="no boolean at byte"):
        load(tmp_path, dump(wrappers, after=b"1x1"))
    with pytest.raises(ValueError, match=r"whose loss is 'loss_mean_squared_' instead of"):
        load(tmp_path, data.replace(text("loss_multiclass_log_"), text("loss_mean_squared_")))
    with pytest.raises(ValueError, match="whose version of the loss is 2"):
        load(tmp_path, b"\x01\x02" + data[2:])
    with pytest.raises(ValueError, match=r"whose input is 'input' instead of"):
        load(tmp_path, data.replace(text("input_rgb_image_sized"), text("input")))
    # A wrapper of another version ends the versions: what comes then is no name of an input.
    with pytest.raises(ValueError, match="whose input is"):
        load(tmp_path, data.replace(b"\x01\x02", b"\x01\x03", 1))
    infinite = data.replace(real(MEAN[0]), integers(0, 32000))
    with pytest.raises(ValueError, match="no finite number"):
        load(tmp_path, infinite)


def test_truncated_and_too_long(data):
    size = len(data)
    for end in {*range(0, 400), *range(0, size, 997), size - 1}:
        with pytest.raises(FileError):
            read_dnn(data[:end])
    with pytest.raises(FileError, match="number of bytes after the names of the classes is 1"):
        read_dnn(data + b"x")
    assert len(read_dnn(data).labels) == 3


@pytest.mark.parametrize(
    "other", [b"", b"\x80\x02}q\x00.", b"PK\x03\x04", b"some text\n", bytes(99)]
)
def test_other_files(other):
    with pytest.raises(FileError):
        read_dnn(other)


def test_damaged_bytes_raise_nothing_else(data):
    rng = np.random.default_rng(0)
    numbers = refused = 0
    for position in rng.integers(0, len(data), 500):
        damaged = bytearray(data)
        damaged[position] = rng.integers(256)
        try:
            read_dnn(bytes(damaged))
            numbers += 1
        except FileError:
            refused += 1
    assert numbers > refused  # most of the file is numbers, which may be any
    for position in range(24, data.index(b"input_rgb")):  # the versions of the wrappers
        damaged = bytearray(data)
        damaged[position] = 0xFF
        with pytest.raises(FileError):
            read_dnn(bytes(damaged))
