"""The layers of a model: their names, reading them, replacing them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util
from jax import lax
from jax.tree_util import Partial

import xaijax
from tests.networks import NETWORKS, conv, image, max_pool, weights

# The last spatial activation of each network by its definition: the last result of an operation, and its shape.
DEFAULTS = {
    "linen": ("relu", (1, 8, 8, 8)),
    "linen_jit": ("relu", (1, 8, 8, 8)),
    "linen_remat": ("relu", (1, 8, 8, 8)),
    "linen_scan": ("relu", (1, 16, 16, 8)),
    "nnx_cnn": ("relu", (8, 8, 8)),
    "nnx_resnet": ("relu", (1, 16, 16, 8)),
    "equinox": ("relu", (8, 8, 8)),
    "equinox_vmap": ("relu", (1, 8, 8, 8)),
    "haiku": ("relu", (16, 16, 8)),
    "plain": ("relu", (8, 8, 8)),
    "vgg": ("max_pool", (4, 4, 8)),
    "concat": ("concatenate", (16, 16, 10)),
    "depthwise": ("relu6", (8, 8, 12)),
    "pointwise_nchw": ("relu", (12, 16, 16)),
    "shared": ("relu", (16, 16, 8)),
    "branching": ("cond", (16, 16, 8)),
    "loop": ("relu", (16, 16, 4)),
    "custom_rules": ("softplus", (16, 16, 8)),
    "attention": ("add", (16, 8)),  # the tokens of 4 x 4 patches
}
WITHOUT_CONVOLUTION = sorted(NETWORKS.keys() - DEFAULTS.keys())

RESNET = [
    "stem/conv",
    *(f"block1/Conv_{i}/conv" for i in range(2)),
    *(f"block2/Conv_{i}/conv" for i in range(2)),
    "block2/shortcut/conv",
    "head/dot",
]
EQUINOX = ["features/layers/0/conv", "features/layers/3/conv", "mix/dot", "head/dot"]
# Convolutions and matrix products are called after their module, or after the weight itself.
NAMES = {
    "linen": RESNET,
    "linen_jit": RESNET,
    "linen_remat": RESNET,
    "nnx_cnn": ["conv1/conv", "conv2/conv", "head/dot"],
    "nnx_resnet": [
        "stem/conv",
        *(f"blocks/{i}/conv{j}/conv" for i in range(2) for j in (1, 2)),
        "head/dot",
    ],
    "equinox": EQUINOX,
    "equinox_vmap": EQUINOX,
    "haiku": ["stem/conv", "conv/conv", "head/dot"],
    "plain": ["conv1/conv", "conv2/conv", "head/dot"],
    "vgg": ["conv1/conv", "conv2/conv", "dense/dot", "head/dot"],
    "concat": ["stem/conv", "left/conv", "right/conv", "head/dot"],
    "depthwise": ["stem/conv", "depthwise/conv", "pointwise/dot", "head/dot"],
    "shared": ["stem/conv", "twice/conv#1", "twice/conv#2", "head/dot"],
    "loop": ["stem/conv", *(f"[{i}]/again/conv" for i in range(3)), "head/dot"],
    "gru": [*(f"[{i}]/{w}/dot" for i in range(3) for w in ("gates", "candidate")), "head/dot"],
}


@functools.cache
def listed(name):
    return xaijax.layers(*NETWORKS[name]())


def activation(f, x, layer):
    return xaijax.split(f, x, layer)[0](x)


def assert_close(actual, expected, tolerance=1e-6):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --- Names and shapes


@pytest.mark.parametrize("name", NAMES)
def test_names_of_convolutions_and_dense_layers(name):
    found = [layer.name for layer in listed(name)]
    assert [x for x in found if x.split("#")[0].endswith(("conv", "dot"))] == NAMES[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_unique(name):
    names = [layer.name for layer in listed(name)]
    assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_split_at_every_layer(name):
    f, x = NETWORKS[name]()
    expected = f(x)
    for layer in listed(name):
        prefix, suffix = xaijax.split(f, x, layer.name)
        A = prefix(x)
        assert (A.shape, A.dtype) == (layer.shape, layer.dtype), layer.name
        assert_close(suffix(A, x), expected)
        # Every layer that is listed matters. The maximum in a softmax only does if it is NaN, and what a `cond`
        # decides by only does if it is a number.
        others = [suffix(other, x) for other in (jnp.full_like(A, jnp.nan), -A)]
        assert not all(np.array_equal(other, expected) for other in others), layer.name


def linen_outputs(name):
    """What Flax itself captures: the output of every module by its path."""
    f, x = NETWORKS[name]()
    _, state = f.func(*f.args, x, capture_intermediates=True, mutable=["intermediates"])
    outputs = traverse_util.flatten_dict(state["intermediates"], sep="/")
    return {path.removesuffix("/__call__"): out[0] for path, out in outputs.items() if "/" in path}


@pytest.mark.parametrize("name", ["linen", "linen_remat"])
def test_every_linen_module_is_found_by_its_path(name):
    f, x = NETWORKS[name]()
    outputs = linen_outputs(name)
    assert len(outputs) == 13
    for path, output in outputs.items():
        run, layer = xaijax.tap(f, x, path)
        assert layer.name.startswith(path + "/")
        assert_close(run(layer.zeros())[1], output)


def test_linen_modules_around_a_scan_are_found_by_their_paths():
    f, x = NETWORKS["linen_scan"]()
    outputs = linen_outputs("linen_scan")
    for path in ("stem", "head"):
        assert_close(activation(f, x, path), outputs[path])


def test_linen_modules_in_a_scan_are_found_at_each_step():
    f, x = NETWORKS["linen_scan"]()
    stacked = {k: v for k, v in linen_outputs("linen_scan").items() if k.count("/") == 2}
    assert len(stacked) == 4
    for path, output in stacked.items():
        for i in range(2):
            inside = [k.name for k in listed("linen_scan") if f"[{i}]" in k.name]
            last = [name for name in inside if f"/{path.split('/', 1)[1]}/" in name][-1]
            assert_close(activation(f, x, last), output[i])


def test_scope_of_a_scan_has_the_step():
    def f(x):
        with jax.named_scope("encoder"):
            return lax.scan(lambda c, _: (jnp.tanh(c) * x, None), x, length=2)[0]

    names = [layer.name for layer in xaijax.layers(f, jnp.ones(3))]
    assert names == [f"encoder[{i}]/{op}" for i in range(2) for op in ("tanh", "mul")]


def test_module_used_twice_has_two_layers():
    class Twice(nnx.Module):
        def __init__(self):
            self.dense = nnx.Linear(3, 3, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.dense(jnp.tanh(self.dense(x)))

    model, x = Twice(), image(3)
    names = [layer.name for layer in xaijax.layers(model, x)]
    assert names == ["dense/dot#1", "dense/add#1", "tanh", "dense/dot#2", "dense/add#2"]
    assert_close(activation(model, x, "dense/add#1"), model.dense(x))
    assert_close(activation(model, x, "dense"), model(x))


def test_one_array_under_two_names():
    kernel = image(3, 3)
    f = Partial(lambda w, x: jnp.tanh(x @ w["a"]) @ w["b"], {"a": kernel, "b": kernel})
    assert [layer.name for layer in xaijax.layers(f, image(3))] == ["a/dot", "tanh", "b/dot"]


@pytest.mark.parametrize("name", ["linen", "nnx_cnn", "equinox", "haiku", "plain"])
def test_softmax_on_top_keeps_the_names(name):
    f, x = NETWORKS[name]()
    scoped = {layer.name for layer in listed(name) if "/" in layer.name}
    names = {layer.name for layer in xaijax.layers(xaijax.probabilities(f), x)}
    assert scoped - names == set()


def test_batch_first_keeps_the_names():
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(3, 4, rngs=rngs), nnx.relu, nnx.Linear(4, 2, rngs=rngs))
    f = xaijax.as_model(model, batch_first=True)
    names = [layer.name for layer in xaijax.layers(f, image(3))]
    assert names == [layer.name for layer in xaijax.layers(model, image(3))]


def test_values_of_weights_alone_are_not_listed():
    def f(w, x):
        return x * jnp.exp(w)

    found = xaijax.layers(Partial(f, jnp.ones(3)), jnp.ones(3))
    assert [layer.operation for layer in found] == ["mul"]


def test_only_the_shape_of_the_example_matters():
    f, x = NETWORKS["vgg"]()
    assert xaijax.layers(f, jax.ShapeDtypeStruct(x.shape, x.dtype)) == listed("vgg")


def test_table():
    assert str(listed("nnx_cnn")) == (
        "layer       operation   shape\n"
        "----------  ----------  ---------\n"
        "conv1/conv  conv        1x16x16x8\n"
        "conv1/add   add         1x16x16x8\n"
        "relu#1      relu        16x16x8\n"
        "max_pool    max_pool    1x8x8x8\n"
        "conv2/conv  conv        1x8x8x8\n"
        "conv2/add   add         1x8x8x8\n"
        "relu#2      relu        8x8x8      <- layer=None\n"
        "reduce_sum  reduce_sum  8\n"
        "div         div         8\n"
        "head/dot    dot         5\n"
        "head/add    add         5"
    )


# --- Finding a layer


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("block1/Conv_1/add", "block1/Conv_1/add"),
        ("block1/Conv_1", "block1/Conv_1/add"),
        ("block1", "block1/relu#2"),
        ("block1/", "block1/relu#2"),
        ("block2/shortcut", "block2/shortcut/add"),
        (None, "block2/relu#2"),
    ],
)
def test_find(wanted, name):
    assert listed("linen").find("test", wanted).name == name


@pytest.mark.parametrize(
    ("network", "scope", "name"),
    [
        ("nnx_resnet", "blocks/1", "blocks/1/relu#2"),  # then comes the mean over the positions
        ("nnx_resnet", "head", "head/add"),
    ],
)
def test_scope_ends_before_its_map_is_averaged(network, scope, name):
    assert listed(network).find("test", scope).name == name


def test_find_takes_whole_names_only():
    # "block" is the beginning of two names, but no scope.
    with pytest.raises(ValueError, match="got 'block'"):
        listed("linen").find("test", "block")


def test_find_an_unknown_name():
    message = (
        r"^grad_cam: layer must name a layer of the model, got 'blok2'\. "
        r"Nearest: 'block2', 'block1'.*\. See xaijax\.layers\(f, x\)\."
    )
    with pytest.raises(ValueError, match=message):
        xaijax.grad_cam(*NETWORKS["linen"](), 0, layer="blok2")


def test_find_something_that_is_no_name():
    with pytest.raises(TypeError, match=r"^test: layer must be a name or None, got 3"):
        listed("linen").find("test", 3)


# --- The default layer


@pytest.mark.parametrize("name", DEFAULTS)
def test_default_is_the_last_spatial_activation(name):
    operation, shape = DEFAULTS[name]
    last = [
        layer for layer in listed(name) if layer.operation == operation and len(layer.shape) > 1
    ]
    assert listed(name).default is last[-1]
    assert last[-1].shape == shape
    assert str(listed(name)).count("<- layer=None") == 1


@pytest.mark.parametrize("name", WITHOUT_CONVOLUTION)
def test_no_convolution_no_default(name):
    f, x = NETWORKS[name]()
    assert listed(name).default is None
    assert "layer=None" not in str(listed(name))
    with pytest.raises(ValueError, match=r"grad_cam: layer must be given .* got None"):
        xaijax.grad_cam(f, x, 0)


def features(w, x):
    with jax.named_scope("features"):
        return jax.nn.relu(conv(x, w["conv"]))


HEADS = {
    "mean": lambda A: A.mean((0, 1)),
    "keepdims": lambda A: A.mean((0, 1), keepdims=True).reshape(-1),
    "two_means": lambda A: A.mean(0).mean(0),
    "max": lambda A: A.max((0, 1)),
    "avg_pool": lambda A: nn.avg_pool(A[None], (16, 16)).reshape(-1),
    "flat_mean": lambda A: A.reshape(-1, 8).mean(0),
    "einsum": lambda A: jnp.einsum("hwc->c", A),
    "flatten": lambda A: A.reshape(-1),
    "vmapped": lambda A: jax.vmap(jnp.mean, -1)(A),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_pooling_to_a_vector_is_not_spatial(head):
    w = weights(conv=(3, 3, 3, 8), dense=(16 * 16 * 8, 5))

    def f(x):
        pooled = head(features(w, x))
        return pooled @ w["dense"][: pooled.size]

    default = xaijax.layers(f, image(16, 16, 3)).default
    assert (default.name, default.shape) == ("features/relu", (16, 16, 8))


def test_a_convolution_over_the_whole_map_is_not_spatial():
    w = weights(conv=(3, 3, 3, 8), dense=(16, 16, 8, 5))
    f = Partial(lambda w, x: conv(features(w, x), w["dense"], padding="VALID").reshape(-1), w)
    assert xaijax.layers(f, image(16, 16, 3)).default.name == "features/relu"


@pytest.mark.parametrize(
    ("operation", "shape", "then"),
    [
        ("mul", (16, 16, 8), lambda A: A * jax.nn.sigmoid(A.mean((0, 1)))),  # squeeze-excitation
        ("max_pool", (8, 8, 8), max_pool),
        ("reduce_max", (8, 4, 8), lambda A: A.reshape(8, 2, 4, 4, 8).max((1, 3))),  # a pooling too
        ("reduce_max", (8, 16, 8), lambda A: A.reshape(8, 2, 16, 8).max(1)),
        ("div", (8, 8, 8), lambda A: A.reshape(8, 2, 8, 2, 8).mean(3).mean(1)),
        ("concatenate", (16, 16, 16), lambda A: jnp.concatenate([A, jnp.tanh(A)], -1)),
        ("logistic", (16, 16, 8), jax.nn.sigmoid),
        ("transpose", (8, 16, 16), lambda A: A.transpose(2, 0, 1)),
    ],
)
def test_default_is_what_follows_the_convolution(operation, shape, then):
    w = weights(conv=(3, 3, 3, 8))
    default = xaijax.layers(lambda x: then(features(w, x)).reshape(-1), image(16, 16, 3)).default
    assert (default.operation, default.shape) == (operation, shape)


def test_positions_in_windows_are_no_map():
    w = weights(conv=(3, 3, 3, 8))
    tables = {
        "windows": lambda A: A.reshape(8, 2, 8, 2, 8),
        "space to depth": lambda A: (
            A.reshape(8, 2, 8, 2, 8).transpose(0, 2, 1, 3, 4).reshape(8, 8, 32)
        ),
    }
    for then in tables.values():

        def f(x, then=then):
            return jnp.sin(then(features(w, x))).reshape(-1)

        assert xaijax.layers(f, image(16, 16, 3)).default.name == "features/relu"
        with pytest.raises(ValueError, match=r"layer must have spatial axes and a channel axis"):
            xaijax.grad_cam(f, image(16, 16, 3), 0, layer="sin")


def test_default_of_a_sequence_model():
    kernel = image(3, 4, 8)

    def f(x):
        A = lax.conv_general_dilated(
            x[None], kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        )
        return jax.nn.relu(A).mean((0, 1))

    default = xaijax.layers(f, image(32, 4)).default
    assert (default.name, default.shape) == ("relu", (1, 32, 8))
    assert default.feature_map(default.zeros()).shape == (32, 8)


# --- Space first, channel last


def test_channels_last_where_all_sizes_are_equal():
    # 16 rows, 16 columns and 16 channels: only the convolution's own numbers tell them apart.
    kernel, x = image(3, 3, 3, 16), image(16, 16, 3)

    def f(x):
        A = jax.nn.relu(conv(x, kernel)).transpose(1, 2, 0)[None]
        with jax.named_scope("moved"):
            return (A * 2.0).sum((0, 1, 3))

    moved = xaijax.layers(f, x).find("test", "moved/mul")
    actual = moved.feature_map(activation(f, x, "moved/mul"))
    assert_close(actual, jax.nn.relu(conv(x, kernel)) * 2.0)


@pytest.mark.parametrize("name", ["equinox", "equinox_vmap", "pointwise_nchw"])
def test_channels_last_of_channels_first(name):
    f, x = NETWORKS[name]()
    default = listed(name).default
    A = activation(f, x, None)
    channels, height, width = A.shape[-3:]
    expected = jnp.stack([A.reshape(channels, height, width)[k] for k in range(channels)], -1)
    np.testing.assert_array_equal(default.feature_map(A), expected)


def test_channels_last_of_a_vector():
    f, x = NETWORKS["plain"]()
    with pytest.raises(ValueError, match="grad_cam: layer must have spatial axes and a channel"):
        xaijax.grad_cam(f, x, 0, layer=listed("plain")[-1].name)


def test_channels_last_of_a_batch():
    kernel = image(3, 3, 3, 8)
    with pytest.raises(ValueError, match=r"no axis besides space and channel.*use jax\.vmap"):
        xaijax.grad_cam(
            lambda x: jax.vmap(lambda x: conv(x, kernel))(jnp.stack([x, x])).mean((0, 1, 2)),
            image(16, 16, 3),
            0,
        )


# --- Replacing a layer: everything later sees it, a way around keeps its own


def residual(w, x):
    with jax.named_scope("stem"):
        a = stem(w, x)
    with jax.named_scope("branch"):
        b = branch(w, a)
    return head(w, a, b)


def stem(w, x):
    return jnp.tanh(conv(x, w["stem"]))


def branch(w, a):
    return jax.nn.softplus(conv(a, w["branch"]))


def head(w, a, b):
    return (jnp.sin(a + b) * a).mean((0, 1)) @ w["head"]


@functools.cache
def residual_model():
    w, x = weights(stem=(3, 3, 3, 4), branch=(3, 3, 4, 4), head=(4, 5)), image(16, 16, 3)
    return Partial(residual, w), w, x


def test_override_in_a_residual_branch_leaves_the_bypass():
    f, w, x = residual_model()
    a, other = stem(w, x), image(16, 16, 4)
    _, suffix = xaijax.split(f, x, "branch")
    assert_close(suffix(other, x), head(w, a, other))
    # The bypass is computed from the suffix's own x.
    assert_close(suffix(other, -x), head(w, stem(w, -x), other))


def test_override_before_a_residual_branch_changes_both_ways():
    f, w, x = residual_model()
    other = image(16, 16, 4)
    _, suffix = xaijax.split(f, x, "stem")
    assert_close(suffix(other, x), head(w, other, branch(w, other)))


def test_many_overrides_of_one_input():
    f, w, x = residual_model()
    others = image(3, 16, 16, 4)
    _, suffix = xaijax.split(f, x, "branch")
    actual = jax.jit(jax.vmap(suffix, (0, None)))(others, x)
    assert_close(actual, jnp.stack([head(w, stem(w, x), other) for other in others]))


@pytest.mark.parametrize("layer", ["stem", "branch"])
def test_gradient_of_a_tap_is_that_of_the_model_cut_by_hand(layer):
    f, w, x = residual_model()
    a, b = stem(w, x), branch(w, stem(w, x))
    by_hand = {
        "stem": (lambda a: head(w, a, branch(w, a))[2], a),
        "branch": (lambda b: head(w, a, b)[2], b),
    }
    rest, A = by_hand[layer]
    run, found = xaijax.tap(f, x, layer)
    gradient, activation = jax.grad(lambda d: (run(d)[0][2], run(d)[1]), has_aux=True)(
        found.zeros()
    )
    assert_close(activation, A)
    assert_close(gradient, jax.grad(rest)(A))


def test_tap_adds_to_the_activation():
    f, w, x = residual_model()
    a, d = stem(w, x), image(16, 16, 4)
    run, _ = xaijax.tap(f, x, "branch")
    assert_close(run(d)[0], head(w, a, branch(w, a) + d))


def test_tap_under_jit_and_vmap():
    f, w, x = residual_model()
    batch = jnp.stack([x, -x, 2 * x])

    def gradient(x):
        run, layer = xaijax.tap(f, x, "stem")
        return jax.grad(lambda d: run(d)[0][2])(layer.zeros())

    def by_hand(x):
        return jax.grad(lambda a: head(w, a, branch(w, a))[2])(stem(w, x))

    expected = jnp.stack([by_hand(x) for x in batch])
    assert_close(jax.jit(jax.vmap(gradient))(batch), expected)


def test_tap_inside_a_scan_touches_one_step():
    def f(x):
        return lax.scan(lambda c, _: (jnp.sin(c), None), x, length=3)[0]

    x, d = jnp.asarray([0.3, -0.5]), jnp.asarray([0.1, 0.2])
    run, _ = xaijax.tap(f, x, "[1]/sin")
    assert_close(run(d)[0], jnp.sin(jnp.sin(jnp.sin(x)) + d))


# --- Cost


# Without a `scan` or a `cond`, of which XLA counts the body once and every branch; and without attention, where
# most of the work comes after the last feature map.
UNCOUNTED = {"linen_scan", "loop", "branching", "attention"}


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="XLA counts no calls of cuDNN")
@pytest.mark.parametrize("name", sorted(DEFAULTS.keys() - UNCOUNTED))
def test_grad_cam_at_the_default_layer_costs_one_forward_pass(name):
    f, x = NETWORKS[name]()
    with xaijax.plain_convolutions():
        cam = xaijax.grad_cam.program(f, x, 0)
    forward = jax.jit(lambda x: f(x)).lower(x)
    flops = [program.compile().cost_analysis()["flops"] for program in (cam, forward)]
    assert flops[0] <= 1.05 * flops[1]
