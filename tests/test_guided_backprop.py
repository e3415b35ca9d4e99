"""Guided backpropagation and DeconvNet: against the oracle, and what counts as a rectifier."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

from tests.networks import NETWORKS, conv
from tests.oracles import guided_backprop as oracle
from xaijax import DEFER, Interpreter, trace
from xaijax.propagation import deconvnet, guided_backprop

METHODS = {"guided_backprop": guided_backprop, "deconvnet": deconvnet}
each = pytest.mark.parametrize("name", METHODS)
NAMED_RELU = [
    "linen_remat",
    "linen_scan",
    "equinox_vmap",
    "nnx_resnet",
    "concat",
    "depthwise",
    "branching",
    "loop",
]


# --- Against the oracle


@each
def test_convolutional_network(name, rng, x64):
    kernels = [rng.normal(size=s) for s in [(3, 3, 2, 4), (3, 3, 4, 3)]]
    biases = [rng.normal(size=(4, 4, 4)), rng.normal(size=(2, 2, 3)), rng.normal(size=5)]
    V, x = rng.normal(size=(5, 12)), rng.normal(size=(6, 6, 2))

    def f(x):
        for kernel, bias in zip(kernels, biases, strict=False):
            x = jax.nn.relu(conv(x, kernel, padding="VALID") + bias)
        return V @ x.reshape(-1) + biases[2]

    def matrix(kernel, shape):
        """The convolution as a matrix: it is linear."""
        rows = jax.jacobian(lambda x: conv(x, kernel, padding="VALID").reshape(-1))(
            jnp.zeros(shape)
        )
        return np.asarray(rows).reshape(len(rows), -1)

    matrices = [matrix(kernels[0], (6, 6, 2)), matrix(kernels[1], (4, 4, 4)), V]
    layers = [(W, b.reshape(-1)) for W, b in zip(matrices, biases, strict=True)]
    for target in np.eye(5)[3], np.array([0.5, -1.0, 0.0, 2.0, 0.0]):
        expected = getattr(oracle, name)(layers, x.reshape(-1), target)
        assert np.abs(expected).max() > 0
        actual = METHODS[name](f, jnp.asarray(x), jnp.asarray(target))
        np.testing.assert_allclose(np.asarray(actual).reshape(-1), expected, rtol=1e-10, atol=1e-12)


@jax.custom_vjp
def guided_relu(x):
    return jax.nn.relu(x)


guided_relu.defvjp(
    lambda x: (jax.nn.relu(x), x), lambda x, R: (jnp.where((x > 0) & (R > 0), R, 0),)
)


@pytest.mark.parametrize("network", NAMED_RELU)
def test_every_network(network):
    """Rectifiers found by what they compute are those that are called relu."""
    f, x = NETWORKS[network]()

    def visit(site, *inputs):
        if site.function_name in ("relu", "relu6"):
            y = guided_relu(*inputs)
            return y if site.function_name == "relu" else lax.clamp(-jnp.inf, y, 6.0)
        return DEFER

    if network == "branching":  # a cond is one equation to the plain interpreter
        f = Partial(_taken_branch, *f.args)
    expected = jax.jit(jax.grad(lambda x: trace(f, x).run(Interpreter(visit), x)[1]))(x)
    plain = jax.jit(jax.grad(lambda x: f(x)[1]))(x)
    actual = guided_backprop(NETWORKS[network]()[0], x, 1)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.abs(expected - plain).max() > 1e-3 * np.abs(plain).max()


def _taken_branch(w, x):
    """`branching` where its condition is true, as it always is after a ReLU."""
    x = jax.nn.relu(conv(x, w["stem"]))
    x, gain = jax.nn.relu(conv(x, w["conv"])), x.max()
    return gain * (x.mean((0, 1)) @ w["head"])


# --- What counts as a rectifier


@jax.custom_jvp
def own_relu(x):
    return jnp.maximum(0.0, x)


own_relu.defjvp(lambda x, dx: (own_relu(*x), jnp.where(x[0] > 0, 1.0, 0.0) * dx[0]))


def scanned(x):
    return lax.scan(lambda c, row: (c, jax.nn.relu(row)), 0.0, x)[1]


def carried_zero(x):
    """The bound is zero in the first step only, and -9 later: the others rectify nothing."""
    return lax.scan(lambda low, row: (low * 0.0 - 9.0, jnp.maximum(low, row)), 0.0, x)[1]


RECTIFIERS = {
    "relu": jax.nn.relu,
    "linen": nn.relu,
    "maximum": lambda x: jnp.maximum(x, 0),
    "maximum, zero first": lambda x: jnp.maximum(0.0, x),
    "maximum with zeros": lambda x: jnp.maximum(x, jnp.zeros_like(x)),
    "lax.max": lambda x: lax.max(x, 0.0),
    "clip": lambda x: jnp.clip(x, 0),
    "clip, both ends": lambda x: jnp.clip(x, 0, 100),
    "lax.clamp": lambda x: lax.clamp(0.0, x, 100.0),
    "relu6": lambda x: jax.nn.relu6(x / 100) * 100,
    "where x > 0": lambda x: jnp.where(x > 0, x, 0),
    "where x >= 0": lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x)),
    "where x < 0": lambda x: jnp.where(x < 0, 0, x),
    "where 0 < x": lambda x: jnp.where(jnp.less(0, x), x, 0),
    "where not": lambda x: jnp.where(~(x <= 0), x, 0.0),
    "lax.select": lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
    "times x > 0": lambda x: x * (x > 0),
    "custom_jvp": own_relu,
    "jit": jax.jit(lambda x: jnp.maximum(x, 0.0)),
    "remat": jax.checkpoint(jax.nn.relu),
    "vmap": jax.vmap(lambda row: jnp.where(row > 0, row, 0)),
    "map": lambda x: lax.map(jax.nn.relu, x),
    "scan": scanned,
    "fori_loop": lambda x: lax.fori_loop(0, 2, lambda i, x: jax.nn.relu(x), x),
    "cond": lambda x: lax.cond(x.sum() > -100, jax.nn.relu, jnp.tanh, x),
}


def between(function, rng):
    """A function between two matrices, and an input where both signs go in and both come back."""
    U, V = rng.normal(size=(4, 12)), rng.normal(size=(12, 2))
    return (lambda x: (function(x @ U) @ V).sum(0)), jnp.asarray(rng.normal(size=(3, 4))), U, V


@pytest.mark.parametrize(
    ("name", "rectifier"),
    [
        *(("guided_backprop", r) for r in RECTIFIERS),
        ("deconvnet", "where x > 0"),
        ("deconvnet", "map"),
    ],
)
def test_rectifier(name, rectifier, x64):
    f, x, U, V = between(RECTIFIERS[rectifier], np.random.default_rng(1))
    R = np.broadcast_to(V[:, 1], (3, 12))
    mask = (R > 0) & (np.asarray(x @ U > 0) | (name == "deconvnet"))
    assert 5 < mask.sum() < 31
    np.testing.assert_allclose(METHODS[name](f, x, 1), (R * mask) @ U.T, rtol=1e-12, atol=1e-14)


SMOOTH = {
    "gelu": jax.nn.gelu,
    "softplus": jax.nn.softplus,  # a maximum with zero inside
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "hard_tanh": jax.nn.hard_tanh,
    "abs": jnp.abs,
    "minimum": lambda x: jnp.minimum(x, 0.5),
    "threshold": lambda x: jnp.where(x > 1, x, 0),
    "mask of another": lambda x: jnp.where(x[::-1] > 0, x, 0),
    "maxout": lambda x: jnp.maximum(x, x[::-1]),
    "max-pooling": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "SAME"),
    "in one step of a scan only": carried_zero,
}


@pytest.mark.parametrize("smooth", SMOOTH)
def test_anything_else_keeps_its_gradient(smooth, rng, x64):
    f, x, *_ = between(SMOOTH[smooth], rng)
    gradient = jax.grad(lambda x: f(x)[1])(x)
    if smooth == "in one step of a scan only":
        guided = guided_backprop(f, x, 1)
        np.testing.assert_allclose(guided[1:], gradient[1:], rtol=1e-12)
        assert np.abs(guided[0] - gradient[0]).max() > 0.1
        return
    # A rectifier beside it that passes everything.
    beside = guided_backprop(lambda x: f(x) + jax.nn.relu(x**2 + 1).sum(), x, 1)
    np.testing.assert_allclose(beside, gradient + 2 * x, rtol=1e-10)


@pytest.mark.parametrize("fast", [True, False])
def test_variance_kept_from_rounding_below_zero_is_no_activation(fast, rng, x64):
    """Flax's layer norm has a max(0, variance) in it; a rectifier after it is one."""
    norm = nn.LayerNorm(use_fast_variance=fast, param_dtype=jnp.float64)
    variables = jax.tree.map(
        lambda v: rng.normal(size=v.shape), norm.init(jax.random.key(0), jnp.zeros((3, 12)))
    )

    def by_hand(x):
        scale, bias = (variables["params"][k] for k in ("scale", "bias"))
        centred = x - x.mean(-1, keepdims=True)
        return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale + bias

    results = []
    for layer_norm in (lambda x: norm.apply(variables, x), by_hand):
        f, x, *_ = between(lambda x, n=layer_norm: jax.nn.relu(n(x)), np.random.default_rng(1))
        results.append(guided_backprop(f, x, 1))
    np.testing.assert_allclose(*results, rtol=1e-9)


def test_upper_end_of_relu6(x64):
    x = jnp.array([-1.0, 0.0, 3.0, 6.0, 7.0])
    for f in (jax.nn.relu6, lambda x: jnp.clip(x, 0, 6), lambda x: lax.clamp(0.0, x, 6.0)):
        np.testing.assert_array_equal(guided_backprop(f, x, jnp.ones(5)), [0, 0, 1, 0, 0])
        np.testing.assert_array_equal(deconvnet(f, x, jnp.ones(5)), [1, 1, 1, 0, 0])


# --- Errors


@each
def test_model_without_a_rectifier(name):
    def f(x):
        return jax.nn.sigmoid(jnp.tanh(x @ jnp.ones((3, 2))))

    with pytest.raises(ValueError, match=f"^{name}: f must have a rectifier.*got logistic, tanh"):
        METHODS[name](f, jnp.ones(3), 0)
    with pytest.raises(ValueError, match="got no activation function"):
        METHODS[name](lambda x: x * 2.0, jnp.ones(3), 0)


@each
def test_input_of_integers(name):
    with pytest.raises(TypeError, match=f"^{name}: x must be one float array, got uint8"):
        METHODS[name](lambda x: jax.nn.relu(x * 1.0), jnp.ones(3, jnp.uint8), 0)


@each
def test_target_out_of_range_is_nan_everywhere(name):
    """Also where a rectifier lets nothing by."""
    f = functools.partial(METHODS[name], lambda x: jax.nn.relu(x))
    assert np.isnan(jax.jit(f)(jnp.array([1.0, -1.0]), jnp.int32(2))).all()
