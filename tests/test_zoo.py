"""The models in PyTorch's layouts: sizes, layers, files, and what each formula gives, without PyTorch."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from tests.test_weights import ordered_dict, storage, tensor, write
from xaijax.models._checkpoint import create, load_arrays, set_torch_parameters
from xaijax.models._densenet import DenseNet, densenet121
from xaijax.models._densenet import _set_parameters as set_densenet
from xaijax.models._layers import average_pool, batch_norm, convolution, max_pool
from xaijax.models._resnet import BasicBlock, Bottleneck, ResNet, resnet18, resnet34, resnet50
from xaijax.models._state import variable_shapes
from xaijax.models._vgg import VGG, vgg11, vgg16
from xaijax.models._vgg import _set_parameters as set_vgg
from xaijax.models._vit import ViT, vit_small_16

PUBLISHED = {
    vgg11: 132_863_336,
    vgg16: 138_357_544,
    resnet18: 11_689_512,
    resnet34: 21_797_672,
    resnet50: 25_557_032,
    densenet121: 7_978_856,
    vit_small_16: 22_050_664,
}
each = pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)

# The same code with few parameters; each takes 32 x 32 pixels.
SMALL = {
    "vgg": lambda rngs: VGG((1, 1, 1, 1, 1), 5, hidden_size=16, rngs=rngs),
    "resnet": lambda rngs: ResNet(BasicBlock, (1, 1, 1, 1), 5, rngs=rngs),
    "bottleneck": lambda rngs: ResNet(Bottleneck, (1, 1, 1, 1), 5, rngs=rngs),
    "densenet": lambda rngs: DenseNet((2, 1, 1), 5, rngs=rngs),
    "vit": lambda rngs: ViT(5, image_size=32, width=12, depth=2, num_heads=3, rngs=rngs),
}
each_small = pytest.mark.parametrize("name", SMALL)
each_family = pytest.mark.parametrize("name", ["vgg", "bottleneck", "densenet", "vit"])


@functools.cache
def abstract(make, **settings):
    return nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0), **settings))


def zeros(model):
    """The model with zeros that take no memory."""
    return jax.tree.map(lambda like: np.broadcast_to(np.zeros((), like.dtype), like.shape), model)


def torch_arrays(model, seed=0):
    """Random parameters of a model, with PyTorch's names and layouts."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for path, shape in variable_shapes(model).items():
        module, _, name = path.rpartition(".")
        if name == "kernel" and len(shape) == 4:
            height, width, fan_in, out = shape
            scale = np.sqrt(2 / (height * width * fan_in))
            value = rng.normal(size=(out, fan_in, height, width)) * scale
            name = "weight"
        elif name == "kernel":
            value = rng.normal(size=shape[::-1]) * np.sqrt(2 / shape[0])
            name = "weight"
        elif name == "scale":
            value, name = rng.normal(size=shape), "weight"
        elif name == "var":
            value, name = rng.uniform(0.5, 2, shape), "running_var"
            arrays[f"{module}.num_batches_tracked"] = np.array(7)
        else:
            value = rng.normal(size=shape)
            name = {"mean": "running_mean"}.get(name, name)
        arrays[f"{module}.{name}".lstrip(".")] = value.astype(np.float32)
    return arrays


def empty(name):
    return nnx.eval_shape(lambda: SMALL[name](nnx.Rngs(0)))


def set_arrays(name, model, arrays):
    setter = {"vgg": set_vgg, "densenet": set_densenet}.get(name, set_torch_parameters)
    setter(name, model, arrays, "file.pth")


@functools.cache
def loaded(name, seed=0):
    model = empty(name)
    set_arrays(name, model, torch_arrays(model, seed))
    model.eval()
    return model


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(*shape, 3)).astype(np.float32)


apply = jax.jit(lambda m, x: m(x))


# --- The published architectures


@each
def test_number_of_parameters(make):
    leaves = jax.tree.leaves(nnx.state(abstract(make), nnx.Param))
    assert sum(math.prod(leaf.shape) for leaf in leaves) == PUBLISHED[make]


@each
def test_shapes(make):
    for batch in [(), (2, 3)]:
        x = jax.ShapeDtypeStruct((*batch, 224, 224, 3), jnp.float32)
        assert jax.eval_shape(lambda m, x: m(x), abstract(make), x).shape == (*batch, 1000)


@pytest.mark.parametrize(
    ("make", "name", "shape"),
    [
        (vgg11, "features/max_pool#5", (7, 7, 512)),
        (vgg16, "features/max_pool#5", (7, 7, 512)),
        (resnet18, "layer4/1/relu#2", (7, 7, 512)),
        (resnet34, "layer4/2/relu#2", (7, 7, 512)),
        (resnet50, "layer4/2/relu#3", (7, 7, 2048)),
        (densenet121, "features/relu#2", (7, 7, 1024)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_default_layer(make, name, shape):
    layers = xaijax.layers(zeros(abstract(make)), np.zeros((224, 224, 3), np.float32))
    assert layers.default.name == name
    assert tuple(n for n in layers.default.shape if n != 1) == shape
    # Nothing spatial comes after it but the pooling and the head.
    after = layers[layers.index(layers.default) + 1 :]
    assert not any(layer.operation in ("conv", "relu") and layer.is_spatial for layer in after)


def test_layers_are_called_as_in_pytorch():
    names = {
        make: {layer.name for layer in xaijax.layers(zeros(abstract(make)), images(224, 224))}
        for make in (vgg11, resnet50, densenet121, vit_small_16)
    }
    assert {"features/18/conv", "classifier/6/dot"} <= names[vgg11]
    assert {"conv1/conv", "layer3/5/bn2/add", "layer4/0/downsample/0/conv"} <= names[resnet50]
    assert {"layer1/0/add", "fc/dot"} <= names[resnet50]
    assert "features/denseblock3/denselayer24/conv2/conv" in names[densenet121]
    assert "features/transition2/conv/conv" in names[densenet121]
    assert {"patch_embed/proj/conv", "blocks/11/attn/qkv/dot", "head/dot"} <= names[vit_small_16]


# --- Batches, evaluation, compiled programs


@each_family
def test_leading_axes_equal_single_images(name):
    model, x = loaded(name), images(2, 2, 32, 32)
    mapped = jax.jit(jax.vmap(jax.vmap(lambda m, x: m(x), (None, 0)), (None, 0)))
    single = np.stack([apply(model, image) for image in x.reshape(4, 32, 32, 3)]).reshape(2, 2, 5)
    tolerance = 1e-5 * np.abs(single).max()
    assert np.std(single, (0, 1)).max() > 1e3 * tolerance
    np.testing.assert_allclose(apply(model, x), single, atol=tolerance)
    np.testing.assert_allclose(mapped(model, x), single, atol=tolerance)


@each_small
def test_parameters_are_traced(name, count_compiles):
    """Another checkpoint, and parameters that were drawn, run the same compiled program."""
    drawn = nnx.eval_shape(lambda: create(name, SMALL[name], None, nnx.Rngs(0)))
    models = [loaded(name), loaded(name, seed=1)]
    assert {jax.tree.structure(model) for model in models} == {jax.tree.structure(drawn)}
    f, x = jax.jit(lambda m, x: m(x)), images(32, 32)
    with count_compiles() as names:
        first, second = (f(model, x) for model in models)
    assert len([n for n in names if "lambda" in n]) == 1
    assert not np.allclose(first, second)
    dtypes = {
        path: (leaf.dtype, like.dtype)
        for (path, leaf), like in zip(
            jax.tree_util.tree_leaves_with_path(models[0]), jax.tree.leaves(drawn), strict=True
        )
    }
    assert all(ours == like == jnp.float32 for ours, like in dtypes.values()), dtypes


@pytest.mark.parametrize("name", ["resnet", "densenet"])
def test_models_are_made_in_evaluation_mode(name, tmp_path):
    drawn = nnx.eval_shape(lambda: create(name, SMALL[name], None, nnx.Rngs(0)))
    read = create(name, SMALL[name], save(tmp_path / "a", torch_arrays(drawn)), None)
    for model in (drawn, read):
        norms = [m for _, m in nnx.iter_modules(model) if isinstance(m, nnx.BatchNorm)]
        assert len(norms) > 4
        assert all(norm.use_running_average for norm in norms)


@each_family
def test_every_parameter_matters(name):
    grads = jax.jit(jax.grad(lambda m, x: m(x)[2]))(loaded(name), images(32, 32))
    for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.state(grads)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


# --- Files


def save(path, arrays, format="safetensors"):
    """Write a state dict as safetensors or as one of PyTorch's formats."""
    if format == "safetensors":
        safetensors = pytest.importorskip("safetensors.numpy")
        safetensors.save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)
        return path
    kinds = {"float32": "FloatStorage", "int64": "LongStorage"}
    body = ordered_dict(
        **{
            name: tensor(
                storage(kinds[str(a.dtype)], str(i), a.size, format),
                a.shape,
                [n // a.itemsize for n in np.ascontiguousarray(a).strides[: a.ndim]],
            )
            for i, (name, a) in enumerate(arrays.items())
        }
    )
    return write(path, format, body, {str(i): a for i, a in enumerate(arrays.values())})


@pytest.mark.parametrize("format", ["safetensors", "zip", "legacy"])
def test_content_decides_the_reader(tmp_path, format):
    arrays = torch_arrays(empty("vit"))
    for name in ("a.pth", "a.safetensors", "a"):
        path = save(tmp_path / name, arrays, format)
        read = load_arrays(path)
        assert set(read) == set(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(read[key], array)
        model = create("vit", SMALL["vit"], str(path), None)
        np.testing.assert_array_equal(
            apply(model, images(32, 32)), apply(loaded("vit"), images(32, 32))
        )


@pytest.mark.parametrize(
    "content", [b"", b"{", b"version https://git-lfs.github.com/spec/v1", b"PK"]
)
def test_files_of_no_known_format(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"path must be .*a\.safetensors"):
        resnet18(tmp_path / "a.safetensors")
    with pytest.raises(FileNotFoundError, match="path must be an existing file"):
        resnet18(tmp_path / "b.safetensors")


@each
def test_rngs_go_with_random_parameters(make, tmp_path):
    name = make.__name__
    with pytest.raises(ValueError, match=rf"{name}: rngs must be given with weights=None"):
        make()
    with pytest.raises(ValueError, match=rf"{name}: rngs must be None with weights, got Rngs"):
        make(tmp_path / "no.pth", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("make", [vgg11, resnet18, vit_small_16])
def test_a_file_of_something_else(make, tmp_path):
    name = make.__name__
    arrays = {"extra.weight": np.zeros((2, 3), np.float32)}
    with pytest.raises(
        ValueError, match=rf"^{name}: weights must be a checkpoint of this model"
    ) as e:
        make(save(tmp_path / "a", arrays))
    assert "extra.weight is not part of the model" in str(e.value)
    assert "is missing" in str(e.value)


@each_small
def test_keys_and_shapes_must_match(name):
    """The message has each name and each shape as they are in the file."""
    model = empty(name)
    arrays = torch_arrays(model)
    kernels = [key for key in arrays if arrays[key].ndim == 4]
    dense = next(key for key in reversed(arrays) if arrays[key].ndim == 2)
    out, fan_in = arrays[dense].shape
    del arrays[kernels[0]]
    arrays["head.extra.weight"] = np.zeros(2, np.float32)
    arrays[dense] = np.zeros((out + 1, fan_in), np.float32)
    with pytest.raises(ValueError, match="must be a checkpoint of this model") as caught:
        set_arrays(name, model, arrays)
    message = str(caught.value)
    assert message.startswith(f"{name}: weights must be")
    assert "got 'file.pth', in which" in message
    assert f"{kernels[0]} is missing" in message
    assert "head.extra.weight is not part of the model" in message
    assert f"{dense} has the shape {(out + 1, fan_in)} instead of {(out, fan_in)}" in message
    assert "num_batches_tracked" not in message


def test_parameters_under_flax_names_are_refused():
    """A kernel that is called as in Flax has Flax's layout: it must not pass for PyTorch's."""
    model = empty("resnet")
    arrays = torch_arrays(model)
    arrays["fc.kernel"] = arrays.pop("fc.weight").T
    with pytest.raises(ValueError, match=r"fc\.weight is missing; fc\.kernel is not part"):
        set_arrays("resnet", model, arrays)


def test_a_file_of_another_model_gives_a_short_message(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"is missing; and \d+ more like this; .* is not part of the model; and \d+ more",
    ) as caught:
        resnet50(save(tmp_path / "a", torch_arrays(empty("vit"))))
    assert len(str(caught.value)) < 2000


def test_older_names_of_densenet():
    model = empty("densenet")
    arrays = torch_arrays(model)
    older = {
        key.replace(".norm1.", ".norm.1.")
        .replace(".norm2.", ".norm.2.")
        .replace(".conv1.", ".conv.1.")
        .replace(".conv2.", ".conv.2."): value
        for key, value in arrays.items()
    }
    assert len(set(older) - set(arrays)) > 20
    set_arrays("densenet", model, older)
    model.eval()
    x = images(32, 32)
    np.testing.assert_array_equal(apply(model, x), apply(loaded("densenet"), x))
    del older["features.denseblock1.denselayer2.conv.1.weight"]
    with pytest.raises(ValueError, match=r"denseblock1\.denselayer2\.conv\.1\.weight is missing"):
        set_arrays("densenet", model, older)


def test_half_precision_becomes_single(tmp_path):
    model = empty("vit")
    arrays = {key: value.astype(np.float16) for key, value in torch_arrays(model).items()}
    read = create("vit", SMALL["vit"], save(tmp_path / "a", arrays), None)
    assert read.head.kernel.dtype == jnp.float32
    np.testing.assert_array_equal(read.head.kernel[...], arrays["head.weight"].T.astype(np.float32))


# --- Formulas


def pool_by_loops(x, size, stride, padding, reduce):
    x = np.pad(x, [(padding, padding), (padding, padding), (0, 0)], constant_values=-np.inf)
    rows, columns = ((n - size) // stride + 1 for n in x.shape[:2])
    y = np.zeros((rows, columns, x.shape[2]))
    for i in range(rows):
        for j in range(columns):
            window = x[i * stride : i * stride + size, j * stride : j * stride + size]
            y[i, j] = reduce(window, (0, 1))
    return y


@pytest.mark.parametrize("shape", [(7, 9), (8, 5)])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_pooling(shape, batch):
    x = images(*batch, *shape) - 5  # negative: a padding of zeros would win
    flat = x.reshape(-1, *shape, 3)
    for size, stride, padding in [(3, 2, 1), (2, 2, 0)]:
        expected = np.stack([pool_by_loops(i, size, stride, padding, np.max) for i in flat])
        actual = max_pool(x, size, stride=stride, padding=padding)
        assert actual.shape == (*batch, *expected.shape[1:])
        np.testing.assert_array_equal(actual.reshape(expected.shape), expected.astype(np.float32))
    expected = np.stack([pool_by_loops(i, 2, 2, 0, np.mean) for i in flat])
    actual = average_pool(x, 2, stride=2)
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-6)


def test_a_compiled_pooling_after_a_convolution():
    """Where XLA of jaxlib 0.10.2 computed wrong numbers on CPUs, see `_pool`."""
    kernel = np.random.default_rng(1).normal(size=(1, 1, 512, 256)).astype(np.float32) / 20
    x = np.random.default_rng(0).normal(size=(28, 28, 512)).astype(np.float32)

    def f(pool, kernel, x):
        y = jax.lax.conv_general_dilated(
            x[None], kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )[0]
        return pool(y, 2, stride=2)

    y = np.einsum("hwi,io->hwo", x.astype(np.float64), kernel[0, 0])
    for pool, reduce in ((average_pool, np.mean), (max_pool, np.max)):
        expected = pool_by_loops(y, 2, 2, 0, reduce)
        actual = jax.jit(lambda k, x, pool=pool: f(pool, k, x))(kernel, x)
        np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, 1), (7, 2, 3), (1, 2, 0)])
def test_convolution_pads_as_pytorch(size, stride, padding):
    layer = convolution(3, 4, size, stride=stride, padding=padding, rngs=nnx.Rngs(0))
    layer.bias = nnx.Param(jnp.arange(4.0))
    x, kernel = images(10, 11), np.asarray(layer.kernel[...])
    padded = np.pad(x, [(padding, padding), (padding, padding), (0, 0)])
    rows, columns = ((n + 2 * padding - size) // stride + 1 for n in x.shape[:2])
    expected = np.zeros((rows, columns, 4))
    for i in range(rows):
        for j in range(columns):
            window = padded[i * stride : i * stride + size, j * stride : j * stride + size]
            expected[i, j] = np.einsum("klc,klco->o", window, kernel) + np.arange(4)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


def test_batch_norm():
    layer = batch_norm(3, rngs=nnx.Rngs(0))
    layer.eval()
    mean, var, scale, bias = np.random.default_rng(0).uniform(0.001, 1, size=(4, 3))
    layer.mean, layer.var = nnx.BatchStat(jnp.array(mean)), nnx.BatchStat(jnp.array(var / 1000))
    layer.scale, layer.bias = nnx.Param(jnp.array(-scale)), nnx.Param(jnp.array(bias))
    x = images(4, 4)
    expected = (x - mean) / np.sqrt(var / 1000 + 1e-5) * -scale + bias
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(224, 224), (32, 64), (300, 250)])
def test_adaptive_pooling_and_flattening_of_vgg(shape):
    """Window i of n pixels is floor(i n / 7) to ceil((i + 1) n / 7); the channel is the slowest axis in the file."""
    model = loaded("vgg")
    arrays = torch_arrays(model)
    x = features = images(*shape)
    for layer in model.features:
        features = layer(features)
    features = np.asarray(features, np.float64)
    height, width, channels = features.shape
    pooled = np.zeros((channels, 7, 7))
    for i in range(7):
        for j in range(7):
            rows = slice(math.floor(i * height / 7), math.ceil((i + 1) * height / 7))
            columns = slice(math.floor(j * width / 7), math.ceil((j + 1) * width / 7))
            pooled[:, i, j] = features[rows, columns].mean((0, 1))
    expected = pooled.ravel()
    for i in (0, 3, 6):
        expected = arrays[f"classifier.{i}.weight"] @ expected + arrays[f"classifier.{i}.bias"]
        expected = np.maximum(expected, 0) if i < 6 else expected
    np.testing.assert_allclose(apply(model, x), expected, atol=1e-5 * np.abs(expected).max())


def test_vit_equals_numpy():
    model = loaded("vit")
    p = {k: v.astype(np.float64) for k, v in torch_arrays(model).items()}
    x = images(32, 32)

    def dense(name, x):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def norm(name, x):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return x * p[f"{name}.weight"] + p[f"{name}.bias"]

    def gelu(x):
        return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2

    def attention(name, x):
        q, k, v = np.split(dense(f"{name}.qkv", x), 3, -1)
        heads = []
        for i in range(3):
            part = slice(4 * i, 4 * i + 4)
            scores = np.exp(q[:, part] @ k[:, part].T / 2)
            heads.append(scores / scores.sum(-1, keepdims=True) @ v[:, part])
        return dense(f"{name}.proj", np.concatenate(heads, -1))

    patches = [x[i : i + 16, j : j + 16] for i in (0, 16) for j in (0, 16)]
    tokens = [np.einsum("hwc,ochw->o", patch, p["patch_embed.proj.weight"]) for patch in patches]
    tokens = np.stack(tokens) + p["patch_embed.proj.bias"]
    y = np.concatenate([p["cls_token"][0], tokens]) + p["pos_embed"][0]
    for i in range(2):
        y = y + attention(f"blocks.{i}.attn", norm(f"blocks.{i}.norm1", y))
        hidden = gelu(dense(f"blocks.{i}.mlp.fc1", norm(f"blocks.{i}.norm2", y)))
        y = y + dense(f"blocks.{i}.mlp.fc2", hidden)
    expected = dense("head", norm("norm", y)[0])
    np.testing.assert_allclose(apply(model, x), expected, atol=1e-5 * np.abs(expected).max())


def test_vit_has_the_positions_of_one_size():
    model = abstract(vit_small_16)
    with pytest.raises(ValueError, match=r"ViT: x must have the shape .* H and W 224, got"):
        jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct((256, 224, 3), jnp.float32))
    assert abstract(vit_small_16, image_size=384).pos_embed.shape == (1, 24 * 24 + 1, 384)
    with pytest.raises(ValueError, match="ViT: image_size must be a multiple of the patch size 16"):
        vit_small_16(image_size=230, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="ViT: width must be a multiple of the number of heads 6"):
        ViT(width=100, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", ["vgg", "resnet", "densenet", "vit"])
def test_images_of_other_shapes_are_refused(name):
    model = empty(name)
    for shape in [(3, 224, 224), (224, 224), (32, 31, 3), (32, 32, 1), ()]:
        with pytest.raises(ValueError, match=r"x must have the shape \(\.\.\., H, W, 3\)"):
            jax.eval_shape(lambda m, x: m(x), model, jax.ShapeDtypeStruct(shape, jnp.float32))
