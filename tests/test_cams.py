"""Class activation maps against the oracles, and what their equations say."""

import dataclasses
import functools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xaijax
from tests.cases import FIRST, cnn, image
from tests.networks import conv, max_pool
from tests.oracles import cams as oracle
from tests.oracles import grad_cam as grad_cam_oracle
from tests.oracles.shapley import shapley_values

pytestmark = pytest.mark.usefixtures("x64")


def maps(explain, f, x, target, *key, **settings) -> Any:
    return xaijax.cam_maps(xaijax.bind(explain, f, **settings), x, target, *key)


# A program that runs once need not be fast, but compiled soon.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def together(x, calls):
    """Many functions of one input, compiled as one program: much sooner than one program for each."""

    def every(x):
        return {name: call(x) for name, call in calls.items()}

    return jax.jit(every, compiler_options=QUICK)(x)


def assert_close(actual, expected, rtol=1e-10):
    """Equal up to rounding, measured by the largest value; not all of it zero."""
    expected = np.asarray(expected)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def array(seed, *shape):
    """Random weights; their scale keeps activations near 1."""
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values / np.sqrt(np.prod(shape[:-1], initial=1.0)), jnp.float64)


def photo(seed=0):
    return image(seed, jnp.float64)


# --- A network that is cut by hand


class Network:
    """relu(1x1 conv) - tanh(conv with stride) - dense - tanh - dense: features of either sign.

    Its gradient differs between positions.
    """

    def __init__(self, channels_first):
        self.channels_first = channels_first
        kernels = array(0, 1, 1, 3, 6), array(1, 3, 3, 6, 5)
        self.kernels = [k.transpose(3, 2, 0, 1) for k in kernels] if channels_first else kernels
        self.V, self.W = 2.0 * array(2, 3 * 4 * 5, 6), array(3, 6, 4)
        self.b = jnp.array([0.3, 0.7, -0.2, 0.4])
        self.x = self.first(np.random.default_rng(9).normal(size=(6, 8, 3)))

    def conv(self, x, kernel, stride):
        if self.channels_first:
            return lax.conv(x[None], kernel, (stride, stride), "SAME")[0]
        return conv(x, kernel, stride)

    def stem(self, x):
        with jax.named_scope("stem"):
            return jax.nn.relu(self.conv(x, self.kernels[0], 1))

    def body(self, A):
        with jax.named_scope("body"):
            return self.conv(A, self.kernels[1], 2)

    def head(self, A):
        return jnp.tanh(A.reshape(-1) @ self.V) @ self.W + self.b

    def __call__(self, x):
        return self.head(jnp.tanh(self.body(self.stem(x))))

    def last(self, a):
        """Space first and the channel last."""
        return np.moveaxis(np.asarray(a), 0, -1) if self.channels_first else np.asarray(a)

    def first(self, a):
        """The other way around."""
        return jnp.moveaxis(jnp.asarray(a), -1, 0) if self.channels_first else jnp.asarray(a)


@functools.cache
def network(layout="channels last"):
    return Network(layout == "channels first")


WEIGHTS = np.array([0.5, -1.0, 2.0, 0.0])
# What is passed, and what it means.
TARGETS = {
    "index": (1, lambda outputs: outputs[1]),
    "weights": (WEIGHTS, lambda outputs: (outputs * WEIGHTS).sum()),
    "function": (lambda o: o[2] ** 2 + o[0],) * 2,
}
LAYERS = {"last": None, "after relu": "stem", "before tanh": "body"}

GRADIENTS = {
    "grad_cam": grad_cam_oracle.grad_cam,
    "grad_cam_pp": oracle.grad_cam_pp,
    "hires_cam": oracle.hires_cam,
    "xgrad_cam": oracle.xgrad_cam,
    "grad_cam_elementwise": oracle.grad_cam_elementwise,
    "layer_cam": oracle.layer_cam,
    "eigen_grad_cam": oracle.eigen_grad_cam,
}
MODES = ("prob", "softmax_logit", "softmax_prob", "cic")
KERNELS = ("sigmoid", "rbf", "linear")
UTILITIES = ("rest", "score")
FINER = {"default": (1.0, 3), "weaker": (0.5, 2), "one": (1.0, 1)}


@dataclasses.dataclass(frozen=True)
class Cut:
    """The network, cut at a layer; activations come with the channel last."""

    net: Network
    layer: str
    target: Any
    read: Any

    def before(self, x):
        A = self.net.stem(x)
        if self.layer == "after relu":
            return A
        return self.net.body(A) if self.layer == "before tanh" else jnp.tanh(self.net.body(A))

    def after(self, A):
        A = self.net.first(A)
        if self.layer == "after relu":
            A = self.net.body(A)
        return self.net.head(A if self.layer == "last" else jnp.tanh(A))

    def y(self, A):
        """The score of activations."""
        return self.read(self.after(A))

    def of_image(self, X):
        """The outputs for an image."""
        return self._compiled(self.net.first(X))

    @functools.cached_property
    def _compiled(self):
        return jax.jit(self.net.__call__)

    @functools.cached_property
    def x(self):
        return self.net.last(self.net.x)

    @functools.cached_property
    def activations(self):
        return self.net.last(self.before(self.net.x))

    @functools.cached_property
    def gradients(self):
        return np.asarray(jax.jit(jax.grad(self.y))(jnp.asarray(self.activations)))

    @functools.cached_property
    def by_gradients(self):
        """What the library finds, by gradients."""
        return self._found({name: (getattr(xaijax, name), {}) for name in GRADIENTS})

    @functools.cached_property
    def by_components(self):
        """What the library finds, by components."""
        calls: dict[str, Any] = {"eigen_cam": (xaijax.eigen_cam, {})}
        for kernel in KERNELS:
            calls[kernel] = xaijax.kpca_cam, {"kernel": kernel, "gamma": 0.3}
        return self._found(calls)

    @functools.cached_property
    def by_evaluations(self):
        """What the library finds, by further evaluations of the model and by second derivatives."""
        calls: dict[str, Any] = {mode: (xaijax.score_cam, {"mode": mode}) for mode in MODES}
        calls["aligned"] = xaijax.score_cam, {"align_corners": True}
        calls["is_cam"] = xaijax.is_cam, {"num_steps": 3}
        calls["ablation_cam"] = xaijax.ablation_cam, {}
        for utility in UTILITIES:
            calls[utility] = xaijax.shapley_cam, {"utility": utility}
        return self._found(calls)

    def _found(self, calls):
        def call(explain, settings):
            layer = LAYERS[self.layer]
            return lambda x: maps(explain, self.net, x, self.target, layer=layer, **settings)

        return together(self.net.x, {name: call(*pair) for name, pair in calls.items()})


@functools.cache
def cut_at(layout, layer, target):
    return Cut(network(layout), layer, *TARGETS[target])


def cuts(*places):
    return pytest.mark.parametrize("place", places, ids=", ".join)


EVERY_CUT = cuts(
    ("channels last", "last", "index"),
    ("channels last", "before tanh", "function"),
    ("channels first", "after relu", "weights"),
)
TWO_CUTS = cuts(("channels last", "before tanh", "index"), ("channels first", "last", "function"))


# --- Against the oracles


@EVERY_CUT
@pytest.mark.parametrize("name", GRADIENTS)
def test_maps_of_activations_and_gradients(name, place):
    cut = cut_at(*place)
    expected = GRADIENTS[name](cut.activations, cut.gradients)
    assert_close(cut.by_gradients[name].map, expected)


@EVERY_CUT
def test_weights_of_channels_and_positions(place):
    cut = cut_at(*place)
    A, G, found = cut.activations, cut.gradients, cut.by_gradients
    assert_close(found["grad_cam"].weights, grad_cam_oracle.channel_weights(G))
    assert_close(found["grad_cam_pp"].weights, oracle.grad_cam_pp_weights(A, G))
    assert_close(found["xgrad_cam"].weights, oracle.xgrad_cam_weights(A, G))
    assert_close(found["hires_cam"].weights, G)
    assert_close(found["grad_cam_elementwise"].weights, G)
    assert_close(found["layer_cam"].weights, np.maximum(G, 0))


@TWO_CUTS
def test_components(place):
    cut = cut_at(*place)
    assert_close(cut.by_components["eigen_cam"].map, oracle.eigen_cam(cut.activations))
    for kernel in KERNELS:
        expected = oracle.kpca_cam(cut.activations, kernel, 0.3)
        assert_close(cut.by_components[kernel].map, expected, 1e-9)


@TWO_CUTS
@pytest.mark.parametrize("mode", MODES)
def test_score_cam(place, mode):
    cut = cut_at(*place)
    arguments = cut.of_image, cut.x, cut.activations, cut.read, mode
    assert_close(cut.by_evaluations[mode].weights, oracle.score_cam_weights(*arguments))
    assert_close(cut.by_evaluations[mode].map, oracle.score_cam(*arguments))


@TWO_CUTS
def test_score_cam_with_aligned_corners(place):
    cut = cut_at(*place)
    arguments = cut.of_image, cut.x, cut.activations, cut.read
    expected = oracle.score_cam_weights(*arguments, align_corners=True)
    assert_close(cut.by_evaluations["aligned"].weights, expected)
    assert np.abs(expected - oracle.score_cam_weights(*arguments)).max() > 1e-3


@TWO_CUTS
def test_is_cam(place):
    cut = cut_at(*place)
    arguments = cut.of_image, cut.x, cut.activations, cut.read, 3
    assert_close(cut.by_evaluations["is_cam"].weights, oracle.is_cam_weights(*arguments))
    assert_close(cut.by_evaluations["is_cam"].map, oracle.is_cam(*arguments))


@TWO_CUTS
def test_ablation_cam(place):
    cut = cut_at(*place)
    expected = oracle.ablation_cam_weights(cut.y, cut.activations)
    assert_close(cut.by_evaluations["ablation_cam"].weights, expected)
    expected = oracle.ablation_cam(cut.y, cut.activations)
    assert_close(cut.by_evaluations["ablation_cam"].map, expected)


@TWO_CUTS
@pytest.mark.parametrize("utility", UTILITIES)
def test_shapley_cam(place, utility):
    cut = cut_at(*place)

    def u(A):
        outputs = cut.after(A)
        p = jax.nn.softmax(outputs)
        return cut.read(outputs) + (cut.read(jnp.log(p)) if utility == "rest" else 0.0)

    A = jnp.asarray(cut.activations)
    G, H = map(np.asarray, jax.jit(lambda A: (jax.grad(u)(A), jax.hessian(u)(A)))(A))
    found = cut.by_evaluations[utility]
    assert_close(found.weights, oracle.shapley_cam_weights(cut.activations, G, H))
    assert_close(found.map, oracle.shapley_cam(cut.activations, G, H))


@pytest.mark.parametrize("layer", ["last", "before tanh"])
def test_finer_cam(layer):
    cut = cut_at("channels last", layer, "index")
    net, A = cut.net, jnp.asarray(cut.activations)
    J, outputs = np.asarray(jax.jacobian(cut.after)(A)), cut.after(A)

    def call(gamma, num_references):
        settings = {"layer": LAYERS[layer], "gamma": gamma, "num_references": num_references}
        return lambda x: xaijax.finer_cam(net, x, 1, **settings)

    found = together(net.x, {name: call(*sizes) for name, sizes in FINER.items()})
    for name, sizes in FINER.items():
        expected = oracle.finer_cam(cut.activations, J, outputs, 1, *sizes)
        assert_close(found[name], expected, 1e-6)


def test_fuse():
    """Neither the scale of a map counts nor a map of zeros."""
    rng = np.random.default_rng(0)
    found = [np.maximum(rng.normal(size=shape), 0) for shape in ((2, 3), (4, 5))]
    scaled = [jnp.asarray(m) for m in (1e-3 * found[0], 50 * found[1], np.zeros((2, 3)))]
    assert_close(xaijax.fuse(scaled, (4, 5)), oracle.fuse(found, (4, 5)))
    assert_close(xaijax.fuse(scaled, (4, 5), gamma=0.5), oracle.fuse(found, (4, 5), 0.5))
    np.testing.assert_array_equal(xaijax.fuse([jnp.zeros((2, 3))], (4, 5)), np.zeros((4, 5)))


# --- What the equations say: networks that end in global average pooling and a dense layer


def features(x):
    with jax.named_scope("features"):
        return jax.nn.relu(conv(x, array(5, 1, 1, 3, 6)))


def dense(pooled):
    return pooled @ array(6, 6, 4) + jnp.array([0.3, -0.2, 0.1, 0.5])


def pooled_network(x):
    return dense(features(x).mean((0, 1)))


# Global average pooling in its spellings.
POOLS = {
    "mean": lambda A: A.mean((0, 1)),
    "mean of means": lambda A: A.mean(0).mean(0),
    "sum": lambda A: A.sum((0, 1)) / (A.shape[0] * A.shape[1]),
    "tokens": lambda A: A.reshape(-1, A.shape[-1]).mean(0),
    "window": lambda A: nnx.avg_pool(A[None], A.shape[:2])[0, 0, 0],
    "batch": lambda A: A[None].mean((1, 2))[0],
    "weights before pooling": lambda A: (A @ jnp.eye(6)).mean((0, 1)),
}


@pytest.mark.parametrize("pool", POOLS)
def test_cam(pool):
    x, W = photo(), np.asarray(array(6, 6, 4))
    result = maps(xaijax.cam, lambda x: dense(POOLS[pool](features(x))), x, 2, layer="features")
    assert_close(result.weights, W[:, 2])
    assert_close(result.map, oracle.cam(np.asarray(features(x)), W[:, 2]))
    assert result.map.min() < 0 < result.map.max()
    np.testing.assert_allclose(result.map.mean(), pooled_network(x)[2] - 0.1, rtol=1e-10)


def of_target_1(name, f):
    return lambda x: getattr(xaijax, name)(f, x, 1)


def test_cam_is_grad_cam_without_relu_times_the_number_of_positions():
    for target in (0, WEIGHTS, lambda outputs: outputs[1] - outputs[3]):
        cam = maps(xaijax.cam, pooled_network, photo(), target)
        grad_cam = maps(xaijax.grad_cam, pooled_network, photo(), target)
        assert_close(cam.weights, 64 * grad_cam.weights)
        assert_close(np.maximum(cam.map, 0), 64 * grad_cam.map)


def test_gradients_that_are_the_same_everywhere():
    """There most methods are Grad-CAM, restricted or not to channels that speak for the target."""
    A, w = np.asarray(features(photo())), np.asarray(array(6, 6, 4))[:, 1]
    assert w.min() < 0 < w.max()
    names = [name for name in GRADIENTS if name != "eigen_grad_cam"]
    found = together(photo(), {name: of_target_1(name, pooled_network) for name in names})
    every = np.maximum(A @ w, 0) / 64
    for name in ("grad_cam", "hires_cam", "xgrad_cam"):
        assert_close(found[name], every)
    positive = A @ np.maximum(w, 0) / 64
    for name in ("layer_cam", "grad_cam_elementwise"):
        assert_close(found[name], positive)
    assert np.abs(positive - every).max() > 0.01 * every.max()
    # Grad-CAM++: alpha = 1 / (2 + S g) at every position, so w = Z g / (2 + S g).
    g, S = np.maximum(w, 0) / 64, A.sum((0, 1))
    assert_close(found["grad_cam_pp"], A @ (64 * g / (2 + S * g)))


def test_grad_cam_pp_of_faint_activations_is_grad_cam_of_positive_gradients():
    """S g is then small beside 2, and alpha one half everywhere."""
    result = maps(xaijax.grad_cam_pp, pooled_network, 1e-9 * photo(), 1)
    assert_close(result.weights, np.maximum(np.asarray(array(6, 6, 4))[:, 1], 0) / 2, 1e-6)


# --- What the equations say: weights of positions


def piecewise_linear(A, b=0.0, c=0.0):
    """Dense - relu - dense, with biases b and c."""
    return jax.nn.relu(A.reshape(-1) @ array(8, 384, 9) + b) @ array(9, 9, 4) + c


@pytest.mark.parametrize(("b", "c"), [(0.0, 0.0), (0.0, 1.0), (0.3, 1.0)])
def test_hires_cam_before_relu_sums_to_the_score_less_the_biases(b, c):
    x = photo()
    A = features(x)
    b, c = b * jnp.cos(jnp.arange(9.0)), c * jnp.sin(jnp.arange(1.0, 5.0))

    def f(x):
        return piecewise_linear(features(x), b, c)

    hires_cam = maps(xaijax.hires_cam, f, x, WEIGHTS)
    grad_cam = maps(xaijax.grad_cam, f, x, WEIGHTS)
    on = A.reshape(-1) @ array(8, 384, 9) + b > 0
    biases = (b * on) @ array(9, 9, 4) + c
    expected = ((f(x) - biases) * WEIGHTS).sum()
    before_relu = (hires_cam.weights * A).sum(-1)
    np.testing.assert_allclose(before_relu.sum(), expected, rtol=1e-10)
    assert_close(hires_cam.map, np.maximum(before_relu, 0))
    # Grad-CAM averages the gradient, which is not the same everywhere.
    assert abs((grad_cam.weights * A).sum() / expected - 1) > 0.1


def test_hires_cam_without_negative_part_sums_to_the_score():
    def f(x):
        return features(x).reshape(-1) @ jnp.abs(array(8, 384, 4))

    np.testing.assert_allclose(xaijax.hires_cam(f, photo(), 1).sum(), f(photo())[1], rtol=1e-10)


def test_where_all_gradients_are_positive():
    """LayerCAM, HiResCAM and element-wise Grad-CAM are one."""

    def f(x):
        return jnp.log1p(features(x).reshape(-1) @ jnp.abs(array(8, 384, 4)))

    names = ("layer_cam", "hires_cam", "grad_cam_elementwise")
    found = together(photo(), {name: of_target_1(name, f) for name in names})
    for name in names:
        assert_close(found[name], found["hires_cam"])


def test_xgrad_cam_gives_each_channel_its_part_of_the_score():
    """Conservation: a channel's weight times its sum is what a piecewise linear head makes of it."""
    x = photo()
    A = features(x)
    result = maps(xaijax.xgrad_cam, lambda x: piecewise_linear(features(x)), x, 2)
    parts = result.weights * A.sum((0, 1))
    G = jax.grad(lambda A: piecewise_linear(A)[2])(A)
    assert_close(parts, (G * A).sum((0, 1)))
    np.testing.assert_allclose(parts.sum(), piecewise_linear(A)[2], rtol=1e-10)


def test_xgrad_cam_of_channels_that_sum_to_zero():
    def f(x):
        with jax.named_scope("features"):
            A = 1.0 * x
        return (A * jnp.arange(1.0, 5.0).reshape(2, 2, 1)).sum((0, 1))

    x = jnp.stack([jnp.ones((2, 2)), jnp.zeros((2, 2)), jnp.array([[1.0, -1.0], [2.0, -2.0]])], -1)
    result = maps(xaijax.xgrad_cam, f, x, jnp.ones(3), layer="features")
    np.testing.assert_allclose(result.weights, [2.5, 0.0, 0.0])
    np.testing.assert_allclose(result.map, np.full((2, 2), 2.5))


# --- What the equations say: masks and ablations


def with_flat_channel(x):
    """The second of its channels is the same everywhere, and so is the last, which is zero."""
    A = features(x)
    with jax.named_scope("flat"):
        A = A * jnp.array([1, 0, 1, 1, 1, 0.0]) + jnp.array([0, 1.7, 0, 0, 0, 0])
    return 5.0 * dense(A.mean((0, 1)))


def of_flat_layer(name, *key, **settings):
    explain = getattr(xaijax, name)
    return lambda x: maps(explain, with_flat_channel, x, 0, *key, layer="flat", **settings)


def test_flat_channels_weigh_nothing():
    calls = {mode: of_flat_layer("score_cam", mode=mode) for mode in MODES}
    calls["is_cam"] = of_flat_layer("is_cam", num_steps=2)
    calls["ss_cam"] = of_flat_layer("ss_cam", jax.random.key(0), num_samples=2)
    for name, result in together(photo(), calls).items():
        np.testing.assert_array_equal(result.weights[np.array([1, 5])], 0)
        assert np.abs(np.delete(result.weights, [1, 5])).min() > 0, name
        assert result.map.max() > 0
        if name not in ("prob", "cic"):
            np.testing.assert_allclose(result.weights.sum(), 1.0, rtol=1e-12)


def test_the_baseline_cancels_in_a_softmax_over_channels():
    """The softmax of scores less the baseline's is the softmax of the scores."""
    cut = cut_at("channels last", "before tanh", "index")
    assert abs(cut.read(cut.of_image(np.zeros_like(cut.x)))) > 0.1
    increase = cut.by_evaluations["cic"].weights
    assert_close(cut.by_evaluations["softmax_logit"].weights, jax.nn.softmax(increase))


def test_is_cam_of_one_step_and_ss_cam_without_noise_are_score_cam():
    def call(name, *key, **settings):
        explain = getattr(xaijax, name)
        return lambda x: maps(explain, two_stages, x, 1, *key, layer="two", **settings).weights

    zero, one = jax.random.key(0), jax.random.key(1)
    calls = {
        "score_cam": call("score_cam", mode="softmax_logit"),
        "is_cam": call("is_cam", num_steps=1),
        "ss_cam": call("ss_cam", zero, sigma=0.0, num_samples=2),
        "noise": call("ss_cam", zero, sigma=0.5, num_samples=2),
        "other noise": call("ss_cam", one, sigma=0.5, num_samples=2),
    }
    found = together(photo(), calls)
    assert_close(found["is_cam"], found["score_cam"])
    assert_close(found["ss_cam"], found["score_cam"])
    assert np.abs(found["noise"] - found["score_cam"]).max() > 1e-3
    assert np.abs(found["noise"] - found["other noise"]).max() > 1e-3


def test_ss_cam_shows_all_channels_through_the_same_noise():
    """A model that is linear in its input answers it alike for all of them, and the softmax sees no difference."""
    w = np.random.default_rng(0).normal(size=(6, 8, 3)) / 5

    def f(x):
        with jax.named_scope("features"):
            A = jnp.tanh(x)
        return jnp.stack([(x * w).sum(), A.sum()])

    x, key = network().x, jax.random.key(0)
    settings = {"layer": "features", "sigma": 0.5, "num_samples": 2}
    found = maps(xaijax.ss_cam, f, x, jnp.array([1.0, 0.0]), key, **settings).weights
    expected = oracle.score_cam_weights(f, x, np.tanh(x), lambda o: o[0], "softmax_logit")
    assert_close(found, expected)


def test_ablation_cam_of_a_linear_head():
    """The score falls by <G_k, A_k> when channel k is switched off."""
    x, V = photo(), array(8, 384, 4)

    def f(x):
        return features(x).reshape(-1) @ V + jnp.array([2.0, -2.0, 0.0, 0.0])

    A = np.asarray(features(x))
    assert f(x)[1] < 0 < f(x)[0]
    for target in (0, 1):
        G = np.asarray(V[:, target]).reshape(A.shape)
        result = maps(xaijax.ablation_cam, f, x, target)
        assert_close(result.weights, (G * A).sum((0, 1)) / abs(f(x)[target]))


def test_ablation_cam_where_the_score_is_zero():
    """There is nothing to divide by: the fall itself."""

    def f(x):
        with jax.named_scope("features"):
            A = 1.0 * x
        return A.sum((0, 1)) @ jnp.array([[1.0], [-1.0]])

    x = jnp.array([[[1.0, 2.0], [4.0, 3.0]]])
    result = maps(xaijax.ablation_cam, f, x, 0, layer="features")
    np.testing.assert_array_equal(result.weights, [5.0, -5.0])
    np.testing.assert_array_equal(result.map, [[0.0, 5.0]])


# --- What the equations say: Shapley values and comparisons


def test_shapley_cam_of_a_piecewise_linear_head_is_grad_cam():

    def f(x):
        return piecewise_linear(features(x), 0.3, 1.0)

    found = together(
        photo(),
        {
            "score": lambda x: maps(xaijax.shapley_cam, f, x, WEIGHTS, utility="score"),
            "rest": lambda x: maps(xaijax.shapley_cam, f, x, WEIGHTS),
            "grad_cam": lambda x: maps(xaijax.grad_cam, f, x, WEIGHTS),
        },
    )
    assert_close(found["score"].map, found["grad_cam"].map)
    # The logarithm of a probability is not linear.
    difference = np.abs(found["rest"].weights - found["grad_cam"].weights).max()
    assert difference > 0.01 * np.abs(found["grad_cam"].weights).max()


def test_shapley_cam_gives_the_shapley_values_of_the_channels_of_a_quadratic_score():
    """Switching channels off is a game. Its Shapley values are each channel's weight times its sum."""
    Q, q = array(13, 6, 6), array(14, 6)

    def head(A):
        m = A.mean((0, 1))
        return jnp.stack([m @ Q @ m + q @ m, m[0]])

    A = features(photo())
    result = maps(xaijax.shapley_cam, lambda x: head(features(x)), photo(), 0, utility="score")
    game = jax.jit(lambda z: head(A * z)[0])
    assert_close(result.weights * A.sum((0, 1)), shapley_values(game, 6))


def test_finer_cam_without_comparison_is_grad_cam():
    net = network()
    explain = xaijax.bind(xaijax.finer_cam, net, gamma=0.0)
    found = jax.jit(jax.vmap(explain, (None, 0)))(net.x, jnp.arange(4))
    expected = jax.jit(jax.vmap(xaijax.bind(xaijax.grad_cam, net), (None, 0)))(net.x, jnp.arange(4))
    assert_close(found, expected)


def test_finer_cam_with_one_reference_is_grad_cam_of_a_difference():
    net = network()
    outputs = np.asarray(net(net.x))
    margins = np.eye(4)
    for target in range(4):
        near = min({0, 1, 2, 3} - {target}, key=lambda d: abs(outputs[d] - outputs[target]))
        margins[target, near] = -0.7
    explain = xaijax.bind(xaijax.finer_cam, net, gamma=0.7, num_references=1)
    found = jax.vmap(explain, (None, 0))(net.x, jnp.arange(4))
    expected = jax.vmap(xaijax.bind(xaijax.grad_cam, net), (None, 0))(net.x, margins)
    assert_close(found, expected)


def test_finer_cam_of_a_confident_network():
    """Probabilities of 0 in single precision: only their ratios matter."""

    def f(x):
        return 3000.0 * two_stages(x)

    outputs = f(image(0))
    target = int(outputs.argmax())
    assert outputs.dtype == jnp.float32
    assert jnp.delete(jax.nn.softmax(outputs), target).max() == 0
    found = xaijax.finer_cam(f, image(0), target, layer="two")
    assert_close(found, xaijax.finer_cam(f, photo(), target, layer="two"), 1e-4)


# --- What the equations say: components


def mixed(Q, sign=1.0):
    """Features whose channels are mixed by an orthogonal matrix, which the head undoes."""

    def f(x):
        with jax.named_scope("mixed"):
            A = sign * jnp.tanh(x @ array(12, 3, 5)) @ Q
        return sign * A.mean((0, 1)) @ Q.T @ array(13, 5, 4)

    return f


COMPONENTS = {
    "eigen_cam": (xaijax.eigen_cam, {}),
    "eigen_grad_cam": (xaijax.eigen_grad_cam, {}),
    **{kernel: (xaijax.kpca_cam, {"kernel": kernel, "gamma": 0.2}) for kernel in KERNELS},
}


@functools.cache
def components():
    """Of features as they are, of features turned around, and of features whose channels are mixed."""
    rotation = jnp.linalg.qr(array(15, 5, 5))[0]
    models = {
        "plain": mixed(jnp.eye(5)),
        "turned": mixed(jnp.eye(5), -1.0),
        "rotated": mixed(rotation),
    }

    def call(f, explain, settings):
        return lambda x: maps(explain, f, x, 1, layer="mixed", **settings)

    calls = {(m, name): call(models[m], *COMPONENTS[name]) for m in models for name in COMPONENTS}
    return together(photo(), calls)


@pytest.mark.parametrize("name", COMPONENTS)
def test_components_have_a_sign_of_their_own(name):
    """The value furthest from zero is positive, whatever the sign of the features."""
    plain, turned = components()["plain", name].map, components()["turned", name].map
    assert plain.max() > -plain.min() > 0
    assert_close(turned, plain, 1e-9)


@pytest.mark.parametrize("name", ["eigen_cam", *KERNELS])
def test_components_do_not_see_a_rotation_of_the_channels(name):
    assert_close(components()["rotated", name].map, components()["plain", name].map, 1e-9)


def test_the_component_of_a_linear_kernel():
    assert_close(components()["plain", "linear"].map, components()["plain", "eigen_cam"].map, 1e-9)


@pytest.mark.parametrize("name", ["eigen_cam", "eigen_grad_cam"])
def test_map_is_the_projection_on_the_weights(name):
    A = np.asarray(jnp.tanh(photo() @ array(12, 3, 5)))
    for model, sign in (("plain", 1.0), ("turned", -1.0)):
        result = components()[model, name]
        rows = A * np.asarray(array(13, 5, 4)[:, 1]) / 64 if name == "eigen_grad_cam" else sign * A
        assert_close(result.map, (rows - rows.mean((0, 1))) @ result.weights, 1e-9)
        np.testing.assert_allclose(np.linalg.norm(result.weights), 1.0, rtol=1e-10)


@pytest.mark.parametrize("shape", [(2, 3, 8), (4, 5, 3)])
def test_more_channels_than_positions_and_fewer(shape):
    def f(x):
        with jax.named_scope("features"):
            A = 1.0 * x
        return A.mean((0, 1))

    A = np.random.default_rng(0).normal(size=shape)
    found = xaijax.eigen_cam(f, jnp.asarray(A), 0, layer="features")
    assert_close(found, oracle.eigen_cam(A))


# --- What the equations say: methods that do not look at the target


def test_class_agnostic_methods_give_the_same_map_for_every_target():
    for explain, keys in (
        (xaijax.eigen_cam, ()),
        (xaijax.kpca_cam, ()),
        (xaijax.random_cam, (jax.random.key(0),)),
    ):
        first = explain(pooled_network, photo(), 0, *keys)
        for target in (3, jnp.sum):
            np.testing.assert_array_equal(explain(pooled_network, photo(), target, *keys), first)


def test_random_cam():
    A = np.asarray(features(photo()))
    one, two, again = (
        maps(xaijax.random_cam, pooled_network, photo(), 0, jax.random.key(seed))
        for seed in (0, 1, 0)
    )
    assert_close(one.map, np.maximum(A @ one.weights, 0))
    assert np.abs(one.weights - two.weights).min() > 0
    np.testing.assert_array_equal(again.map, one.map)


def test_random_cam_draws_uniformly():
    def draw(key):
        return maps(xaijax.random_cam, pooled_network, photo(), 0, key).weights

    w = np.asarray(jax.vmap(draw)(jax.random.split(jax.random.key(0), 2000))).reshape(-1)
    assert -1 <= w.min() < -0.99 < 0.99 < w.max() <= 1
    # The variance is 1/3 and that of the square 4/45.
    assert abs(w.mean()) < 4 * np.sqrt(1 / 3 / w.size)
    assert abs((w**2).mean() - 1 / 3) < 4 * np.sqrt(4 / 45 / w.size)


# --- Several layers


SIZES = {
    "ss_cam": {"num_samples": 2, "sigma": 0.1},
    "is_cam": {"num_steps": 2},
    "finer_cam": {"num_references": 2},
}
EVERY = [
    *GRADIENTS,
    *("score_cam", "ss_cam", "is_cam", "ablation_cam", "eigen_cam", "kpca_cam", "random_cam"),
    *("shapley_cam", "finer_cam"),
]


def of_method(name, f, x, target, **settings):
    """Any class activation map; those that draw get a key."""
    keys = [jax.random.key(0)] if name in ("ss_cam", "random_cam") else []
    return maps(getattr(xaijax, name), f, x, target, *keys, **settings, **SIZES.get(name, {}))


def like(x, weights):
    return weights.astype(x.dtype)


def two_stages(x):
    """Two layers of different size, without a convolution, in the precision of its input."""
    with jax.named_scope("one"):
        A = jnp.tanh(x @ like(x, array(12, 3, 5)))
    with jax.named_scope("two"):
        B = jax.nn.relu(A[::2, 1::2] @ like(x, array(16, 5, 6)))
    return jnp.tanh(B.reshape(-1) @ like(x, array(17, 96, 6))) @ like(x, array(6, 6, 4))


@functools.cache
def of_two_layers():
    def call(name, layer):
        return lambda x: of_method(name, two_stages, x, 1, layer=layer)

    layers = {"one": "one", "two": "two", "both": ("one", "two")}
    calls = {(name, at): call(name, layer) for name in EVERY for at, layer in layers.items()}
    return together(photo(), calls)


@pytest.mark.parametrize("name", EVERY)
def test_several_layers_are_the_single_results(name):
    both = of_two_layers()[name, "both"]
    assert type(both) is tuple
    assert [result.map.shape for result in both] == [(8, 8), (4, 4)]
    for result, layer in zip(both, ("one", "two"), strict=True):
        alone = of_two_layers()[name, layer]
        assert isinstance(result, xaijax.CamMaps)
        assert_close(result.map, alone.map)
        assert_close(result.weights, alone.weights)
        assert result.layer == alone.layer
        assert result.degenerate == alone.degenerate


def test_cam_of_several_layers():
    """A dropout that is switched off stands between them."""

    def f(x):
        A = features(x)
        with jax.named_scope("dropout"):
            A = A * 1.0
        return dense(A.mean((0, 1)))

    one, two = xaijax.cam(f, photo(), 1, layer=("features", "dropout"))
    assert_close(one, two)
    assert_close(one, xaijax.cam(f, photo(), 1, layer="features"))


def test_maps_of_several_layers_come_alone_and_under_vmap():
    x = photo()
    explain = xaijax.bind(xaijax.layer_cam, two_stages, layer=("one", "two"))
    one, two = explain(x, 1)
    assert_close(one, of_two_layers()["layer_cam", "one"].map)
    assert_close(two, of_two_layers()["layer_cam", "two"].map)
    batch = jax.vmap(explain, (0, None))(jnp.stack([photo(1), x]), 1)
    assert [m.shape for m in batch] == [(2, 8, 8), (2, 4, 4)]
    assert_close(batch[0][1], one)
    assert_close(batch[1][1], two)


def test_one_layer_as_a_tuple_and_the_default_among_others():
    net = network()
    (alone,) = xaijax.layer_cam(net, net.x, 1, layer=(None,))
    last, stem = xaijax.layer_cam(net, net.x, 1, layer=(None, "stem"))
    assert stem.shape == (6, 8)
    for found in (alone, last):
        cut = cut_at("channels last", "last", "index")
        assert_close(found, cut.by_gradients["layer_cam"].map)


def deep(x):
    """Five convolutions of 8 channels."""
    for i in range(5):
        with jax.named_scope(f"block{i}"):
            x = jax.nn.relu(conv(x, array(20 + i, 3, 3, x.shape[-1], 8)))
    return x.mean((0, 1)) @ array(30, 8, 4)


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam"])
def test_several_layers_are_one_backward_pass(name):
    def flops(layer):
        lowered = getattr(xaijax, name).program(deep, image(0, jnp.float64, 12), 1, layer=layer)
        return lowered.compile().cost_analysis()["flops"]

    early, late = flops("block1"), flops("block4")
    assert late < 0.7 * early  # the backward pass stops at the layer
    # One more map is a handful of operations for each of its elements.
    assert flops(("block1", "block4")) < 1.02 * early + 10 * 12 * 12 * 8


ONE_PASS = [
    "cam",
    "grad_cam",
    "grad_cam_pp",
    "hires_cam",
    "xgrad_cam",
    "grad_cam_elementwise",
    "layer_cam",
    "eigen_cam",
    "eigen_grad_cam",
    "shapley_cam",
    "finer_cam",
]


@pytest.mark.parametrize("name", ONE_PASS)
def test_a_map_of_the_last_layer_costs_a_forward_pass(name):
    """By operations counted, the model as it is rewritten for the backend: a pass as written would be a second one."""
    x = image(0, jnp.float64, 32)
    program = getattr(xaijax, name).program(deep, x, 1, layer="block4")
    forward = jax.jit(xaijax.lower(deep)).lower(x).compile()
    used, needed = (p.cost_analysis()["flops"] for p in (program.compile(), forward))
    assert used < 1.3 * needed  # a second one of five convolutions would be 2


# --- Flat maps, and NaN in one image of a batch


def with_nan(x):
    """NaN where the image has a negative mean."""
    with jax.named_scope("features"):
        A = jnp.tanh(x @ array(12, 3, 5)) * jnp.log(x.mean())
    return jnp.tanh(A.mean((0, 1)) @ array(13, 5, 4))


@functools.cache
def of_batches():
    """Every method on three images, and on three of which the second is NaN inside."""
    xs = jnp.stack([photo(0) + 1.0, photo(1) + 1.0, photo(2) + 1.0])

    def every(x):
        return {name: of_method(name, with_nan, x, 1, layer="features") for name in EVERY}

    explain = jax.jit(jax.vmap(every), compiler_options=QUICK)
    return explain(xs), explain(xs.at[1].add(-2.0))


@pytest.mark.parametrize("name", EVERY)
def test_nan_in_one_image_of_a_batch(name):
    good, bad = (found[name] for found in of_batches())
    assert np.isfinite(good.map).all()
    assert not good.degenerate.any()
    np.testing.assert_array_equal(bad.degenerate, [False, True, False])
    assert np.isnan(bad.map[1]).any()
    for found, expected in ((bad.map, good.map), (bad.weights, good.weights)):
        np.testing.assert_array_equal(found[np.array([0, 2])], expected[np.array([0, 2])])


def flat(x):
    """Features that are the same everywhere, if the image is."""
    with jax.named_scope("features"):
        A = jnp.tanh(x)
    return A.mean((0, 1))


@functools.cache
def of_flat():
    def call(name):
        return lambda x: of_method(name, flat, x, 0, layer="features")

    return together(jnp.full((4, 5, 3), 0.5), {name: call(name) for name in [*EVERY, "cam"]})


@pytest.mark.parametrize("name", [*EVERY, "cam"])
def test_the_same_features_everywhere(name):
    result = of_flat()[name]
    assert result.degenerate
    assert np.isfinite(result.map).all()
    np.testing.assert_array_equal(xaijax.normalize(result.map), np.zeros((4, 5)))
    if name in ("score_cam", "ss_cam", "is_cam"):  # nothing masks the image
        np.testing.assert_array_equal(result.map, np.zeros((4, 5)))


# --- Errors


def two_heads(x):
    return {"classes": pooled_network(x), "colour": x.mean((0, 1))}


def colour(outputs):
    return outputs["colour"].sum()


def headed(head):
    return lambda x: head(features(x))


def sequence(x):
    """A convolution along one axis."""
    numbers = ("NWC", "WIO", "NWC")
    kernel = array(16, 3, 2, 4)
    out = lax.conv_general_dilated(x[None], kernel, [1], "SAME", dimension_numbers=numbers)
    return jax.nn.relu(out[0]).mean(0)


def transformer(x):
    """With a class token."""
    patches = conv(x, array(18, 4, 4, 3, 6), 4).reshape(-1, 6)
    tokens = jnp.concatenate([array(17, 1, 6), patches])
    q, k, v = jnp.split(tokens @ array(19, 6, 18), 3, -1)
    tokens = tokens + jax.nn.softmax(q @ k.T) @ v
    return dense(tokens[0])


wrong: Any = xaijax  # called as no type checker lets pass
F = cnn(FIRST)
X = image(0)
KEY = jax.random.key(0)
SEQUENCE = np.random.default_rng(0).normal(size=(9, 2))


def no_cam(head, in_the_way):
    """CAM of a network that does not end in global average pooling and a dense layer."""
    rule = "be global average pooling and one dense layer after the layer"
    says = rf"cam: f must {rule}, got {in_the_way} after 'features/relu'\..*xaijax\.grad_cam"
    return lambda: xaijax.cam(headed(head), photo(), 0, layer="features"), ValueError, says


NO_CAM = {
    "hidden dense layer": no_cam(
        lambda A: dense(jax.nn.relu(A.mean((0, 1)) @ array(1, 6, 6))), r"'\w+'"
    ),
    "flattened": no_cam(lambda A: A.reshape(-1) @ array(8, 384, 4), "'reshape'"),
    "softmax on top": no_cam(lambda A: jax.nn.softmax(dense(A.mean((0, 1)))), r"'\w+'"),
    "maximum in place of the average": no_cam(lambda A: dense(A.max((0, 1))), "'reduce_max'"),
    "max-pooling": no_cam(lambda A: dense(max_pool(A).mean((0, 1))), "'reduce_window_max'"),
    "square of the average": no_cam(lambda A: A.mean((0, 1)) ** 2, r"'\w+'"),
    "weighted average": no_cam(lambda A: (A * array(1, 8, 8, 1)).mean((0, 1)), "'mul'"),
    "average of a part": no_cam(lambda A: A[1:, 1:].mean((0, 1)), "'slice'"),
    "average of squares": no_cam(lambda A: (A * A).mean((0, 1)), r"'\w+'"),
    "standard deviation": no_cam(lambda A: A.std((0, 1)), r"'\w+'"),
    "another convolution": no_cam(
        lambda A: conv(A, array(1, 3, 3, 6, 4)).mean((0, 1)), "'conv_general_dilated'"
    ),
    "attention": no_cam(
        lambda A: dense((A * jax.nn.sigmoid(A.mean((0, 1)))).mean((0, 1))), r"'\w+'"
    ),
}

ERRORS = {
    "layer without space": (
        lambda: wrong.layer_cam(F, X, 0, layer="dense"),
        ValueError,
        r"layer_cam: layer must have spatial axes and a channel axis, got 'dense/add' of shape \(4,\)",
    ),
    "layer unknown": (
        lambda: wrong.eigen_cam(F, X, 0, layer="conv3"),
        ValueError,
        r"eigen_cam: layer must name a layer of the model, got 'conv3'\. Nearest: 'conv[12]'",
    ),
    "layer ambiguous": (
        lambda: wrong.ablation_cam(F, X, 0, layer="relu"),
        ValueError,
        r"ablation_cam: layer must name one layer, got 'relu', which is 2 layers\. Say which: 'relu#2'",
    ),
    "layer unknown among several": (
        lambda: wrong.shapley_cam(F, X, 0, layer=("relu#1", "relu#9")),
        ValueError,
        r"shapley_cam: layer must name .*got 'relu#9'",
    ),
    **{
        f"{name} of a layer twice": (
            lambda name=name: of_method(name, F, X, 0, layer=("conv2", "conv2/add")),
            ValueError,
            rf"{name}: layer must name each layer once, got 'conv2/add' twice",
        )
        for name in ("grad_cam", "score_cam", "shapley_cam", "random_cam", "cam")
    },
    "default layer twice": (
        lambda: wrong.grad_cam(F, X, 0, layer=(None, "relu#2")),
        ValueError,
        r"grad_cam: layer must name each layer once, got 'relu#2' twice",
    ),
    **{
        f"{name} of no layer": (
            lambda name=name: of_method(name, F, X, 0, layer=()),
            ValueError,
            rf"{name}: layer must name at least one layer, got \(\)",
        )
        for name in ("grad_cam", "eigen_cam", "shapley_cam")
    },
    "layers in tuples": (
        lambda: wrong.grad_cam(F, X, 0, layer=(("conv1",), "conv2")),
        TypeError,
        r"grad_cam: layer must be a name or None, got \('conv1',\)",
    ),
    **{
        f"{name} of another head": (
            lambda name=name, settings=settings: getattr(xaijax, name)(
                two_heads, photo(), colour, layer="features", **settings
            ),
            ValueError,
            rf"{name}: layer must be one that the target depends on, got 'features/relu'",
        )
        for name, settings in (
            *((name, {}) for name in GRADIENTS),
            *(("ablation_cam", {}), ("cam", {}), ("shapley_cam", {"utility": "score"})),
        )
    },
    "several layers of another head": (
        lambda: wrong.grad_cam(two_heads, photo(), colour, layer=("features/conv", "features")),
        ValueError,
        r"grad_cam: layer must be one that the target depends on, got 'features/(relu|conv)'",
    ),
    "probabilities of a dict": (
        lambda: wrong.shapley_cam(two_heads, photo(), colour, layer="features"),
        ValueError,
        r"shapley_cam: f must .*got dict.*utility='score'",
    ),
    **NO_CAM,
    "an output for each position": (
        lambda: wrong.cam(
            lambda x: features(x) @ array(6, 6, 4), photo(), jnp.sum, layer="features"
        ),
        ValueError,
        r"cam: f must be global average pooling .*, got an output for each position after 'features/relu'",
    ),
    "CAM of a vision transformer": (
        lambda: wrong.cam(transformer, photo(), 0),
        ValueError,
        r"cam: f must be global average pooling .*, got '\w+' after '.*'\..*xaijax\.grad_cam",
    ),
    # Settings
    "mode": (
        lambda: wrong.score_cam(F, X, 0, mode="probability"),
        ValueError,
        r"score_cam: mode must be one of prob, softmax_logit, softmax_prob, cic, got 'probability'",
    ),
    "kernel": (
        lambda: wrong.kpca_cam(F, X, 0, kernel="poly"),
        ValueError,
        r"kpca_cam: kernel must be one of sigmoid, rbf, linear, got 'poly'",
    ),
    "width of a kernel": (
        lambda: wrong.kpca_cam(F, X, 0, gamma=0.0),
        ValueError,
        r"kpca_cam: gamma must be above 0, got 0\.0",
    ),
    "utility": (
        lambda: wrong.shapley_cam(F, X, 0, utility="logit"),
        ValueError,
        r"shapley_cam: utility must be 'rest' or 'score', got 'logit'",
    ),
    "grid of a feature map": (
        lambda: wrong.grad_cam(F, X, 0, grid=(4, 4)),
        ValueError,
        r"grad_cam: grid must be given only for tokens .*, got \(4, 4\) for .*'relu#2' of shape \(8, 8, 8\)",
    ),
    "steps": (
        lambda: wrong.is_cam(F, X, 0, num_steps=0),
        ValueError,
        r"is_cam: num_steps must be at least 1, got 0",
    ),
    "noise": (
        lambda: wrong.ss_cam(F, X, 0, KEY, sigma=-0.1),
        ValueError,
        r"ss_cam: sigma must not be negative, got -0\.1",
    ),
    "strength of a comparison": (
        lambda: wrong.finer_cam(F, X, 0, gamma=-1.0),
        ValueError,
        r"finer_cam: gamma must not be negative, got -1\.0",
    ),
    # Outputs
    **{
        f"{mode} of one output": (
            lambda mode=mode: wrong.score_cam(lambda x: F(x)[:1], X, 0, mode=mode),
            ValueError,
            r"score_cam: f must give a vector of at least two logits.*, got shape \(1,\)\..*mode='cic'",
        )
        for mode in ("prob", "softmax_prob")
    },
    "too few classes": (
        lambda: wrong.finer_cam(F, X, 0, num_references=4),
        ValueError,
        r"finer_cam: f must give a vector of more than num_references = 4 scores, got shape \(4,\)",
    ),
    "comparison of a function": (
        lambda: wrong.finer_cam(F, X, lambda outputs: outputs[0]),
        TypeError,
        r"finer_cam: target must be the index of a class.*, got function",
    ),
    "comparison of weights": (
        lambda: wrong.finer_cam(F, X, jnp.ones(4)),
        TypeError,
        r"finer_cam: target must be the index of a class",
    ),
    # Inputs
    **{
        f"{name} of a sequence": (
            lambda name=name: of_method(name, sequence, SEQUENCE, 0),
            (ValueError, TypeError),
            rf"{name}: x must be .*image.*, got shape \(9, 2\)",
        )
        for name in ("score_cam", "is_cam", "ss_cam")
    },
    "no maps to fuse": (
        lambda: wrong.fuse([], (4, 4)),
        ValueError,
        r"fuse: maps must hold at least one map, got none",
    ),
    # What cam_maps takes
    "explainer without its model": (
        lambda: wrong.cam_maps(xaijax.grad_cam, X, 0),
        TypeError,
        r"cam_maps: explain must be a class activation map with its model, got .*bind\(xaijax\.grad_cam, f\)",
    ),
    "another kind of explainer": (
        lambda: wrong.cam_maps(xaijax.bind(xaijax.lime, F), X, 0, KEY),
        TypeError,
        r"cam_maps: explain must be a class activation map with its model",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), ERRORS.values(), ids=ERRORS.keys())
def test_refused_before_anything_is_compiled(call, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search(says, message, flags=re.DOTALL), message
    assert not {name for name in compiled if hasattr(xaijax, name)}


@pytest.mark.parametrize("name", ["grad_cam", "layer_cam", "cam", "eigen_cam", "ablation_cam"])
def test_sequences_have_maps_where_no_image_is_needed(name):
    x, numbers = jnp.asarray(SEQUENCE), ("NWC", "WIO", "NWC")
    kernel = array(16, 3, 2, 4)
    out = lax.conv_general_dilated(x[None], kernel, [1], "SAME", dimension_numbers=numbers)
    A = np.asarray(jax.nn.relu(out[0]))
    expected = {"cam": A[:, 1], "ablation_cam": A[:, 1]}.get(name, A[:, 1] / 9)
    found = getattr(xaijax, name)(sequence, x, 1)
    if name == "eigen_cam":
        expected = oracle.eigen_cam(A[:, None])[:, 0]
    assert_close(found, expected)


def test_single_precision():
    """float32 gives the maps of float64 up to its rounding."""
    names = [name for name in EVERY if name not in ("score_cam", "ss_cam", "is_cam", "random_cam")]

    def every(x):
        return {name: of_method(name, two_stages, x, 1, layer="two").map for name in names}

    found = jax.jit(every, compiler_options=QUICK)(image(0))
    for name in names:
        assert found[name].dtype == jnp.float32
        assert_close(found[name], of_two_layers()[name, "two"].map, 1e-4)
