"""The rules of LRP, one layer at a time, against the oracle; and what they are to each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.networks import conv
from tests.oracles import lrp as oracle
from xaijax.propagation import (
    alpha_beta,
    epsilon,
    flat,
    gamma,
    lrp,
    own_sign,
    pass_,
    uniform,
    w_square,
    z_box,
    z_plus,
)
from xaijax.propagation._rules import Linear

LOW, HIGH = np.array([-3.0, -4.0, -2.5]), np.array([4.0, 3.0, 3.5])
RULES = {
    "epsilon": (epsilon(), oracle.epsilon, {}),
    "epsilon, large": (epsilon(0.5), oracle.epsilon, {"epsilon": 0.5}),
    "z_plus": (z_plus(), oracle.z_plus, {}),
    "alpha_beta": (alpha_beta(), oracle.alpha_beta, {}),
    "alpha_beta, other": (alpha_beta(1.5, 0.5), oracle.alpha_beta, {"alpha": 1.5, "beta": 0.5}),
    "gamma": (gamma(), oracle.gamma, {}),
    "gamma, large": (gamma(3.0), oracle.gamma, {"gamma": 3.0}),
    "own_sign": (own_sign(), oracle.own_sign, {}),
    "z_box": (z_box(LOW, HIGH), oracle.z_box, {"low": LOW, "high": HIGH}),
    "w_square": (w_square(), oracle.w_square, {}),
    "flat": (flat(), oracle.flat, {}),
}


def compare(layer, table, x, w, b, name, *, rectified=False, pixels=False):
    """The relevance of a layer whose outputs are the model's, against the oracle's."""
    rule, reference, settings = RULES[name]
    before = jax.nn.relu if rectified else lambda x: x
    seen = np.maximum(x, 0) if rectified else x
    z = oracle.output(table, seen, w, b)
    weights = np.random.default_rng(5).normal(size=z.size)

    def f(x):
        return layer(before(x), w, b).reshape(-1)

    x = jnp.asarray(x)
    np.testing.assert_allclose(f(x), z.reshape(-1), rtol=1e-10, atol=1e-12)
    actual = lrp(f, x, jnp.asarray(weights), composite=uniform(rule))
    if rectified and name == "z_box":
        settings = {k: np.maximum(v, 0) for k, v in settings.items()}
    expected = reference(table, seen, w, b, z * weights.reshape(z.shape), **settings)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10 * scale)


def image_layer(x, w, b, **settings):
    return conv(x, w, **settings) + b


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_convolution(name, rectified, rng, x64):
    x, w, b = (rng.normal(size=s) for s in [(4, 5, 3), (3, 2, 3, 4), (4,)])
    table = oracle.convolution(x.shape, w.shape)

    def layer(x, w, b):
        return conv(x, w, padding="VALID") + b

    compare(layer, table, x, w, b, name, rectified=rectified)


@pytest.mark.parametrize("name", RULES)
def test_dense(name, rng, x64):
    x, w, b = (rng.normal(size=s) for s in [(3,), (3, 5), (5,)])
    compare(lambda x, w, b: x @ w + b, oracle.dense(3, 5), x, w, b, name)


def strided(x, w, b):
    return conv(x, w, stride=2, padding=[(1, 1), (1, 1)]) + b


def dilated(x, w, b):
    return general(x, w, rhs_dilation=(2, 2)) + b


def transposed(x, w, b):
    return general(x, w, [(1, 1), (1, 1)], lhs_dilation=(2, 2)) + b


def grouped(x, w, b):
    return conv(x, w, padding="VALID", groups=2) + b


def depthwise(x, w, b):
    return conv(x, w, padding="VALID", groups=4) + b


def general(x, w, padding="VALID", **settings):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x[None], w, (1, 1), padding, dimension_numbers=numbers, **settings
    )[0]


def channels_first(x, w, b):
    y = lax.conv(x.transpose(2, 0, 1)[None], jnp.transpose(w, (3, 2, 0, 1)), (1, 1), "VALID")
    return (y[0] + b[:, None, None]).transpose(1, 2, 0)


def einsum_weight_first(x, w, b):
    """A 1x1 convolution, its weight on the left."""
    return jnp.einsum("abio,hwi->ohw", w, x).transpose(1, 2, 0) + b


CONVOLUTIONS = {
    strided: ((5, 5, 4), (3, 3, 4, 2), {"stride": 2, "padding": (1, 1)}),
    dilated: ((5, 5, 2), (2, 2, 2, 3), {"dilation": 2}),
    transposed: ((3, 3, 2), (2, 2, 2, 3), {"input_dilation": 2, "padding": (1, 1)}),
    grouped: ((4, 4, 4), (3, 3, 2, 6), {"groups": 2}),
    depthwise: ((4, 4, 4), (3, 3, 1, 4), {"groups": 4}),
    channels_first: ((4, 4, 3), (3, 3, 3, 2), {}),
    einsum_weight_first: ((3, 3, 4), (1, 1, 4, 5), {}),
}


@pytest.mark.parametrize("name", ["gamma", "alpha_beta"])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=lambda layer: layer.__name__)
def test_every_kind_of_convolution(layer, name, rng, x64):
    shape, kernel, settings = CONVOLUTIONS[layer]
    x, w, b = (rng.normal(size=s) for s in (shape, kernel, kernel[-1]))
    compare(layer, oracle.convolution(shape, kernel, **settings), x, w, b, name)


def reduce_window(x, size):
    window = (size, size, 1)
    return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / size**2


def mean_of_windows(x, size):
    height, width, channels = x.shape
    return x.reshape(height // size, size, width // size, size, channels).mean((1, 3))


@pytest.mark.parametrize("name", ["epsilon, large", "z_plus", "own_sign"])
@pytest.mark.parametrize("pool", [reduce_window, mean_of_windows])
def test_average_pooling(pool, name, rng, x64):
    """A mean is a layer whose weights are 1/n, in however many steps it is computed."""
    x = rng.normal(size=(4, 6, 2))
    w, b = np.full((), 1 / 4), np.zeros(2)
    table = oracle.average_pool(x.shape, 2)
    compare(lambda x, w, b: pool(x, 2), table, x, w, b, name)


@pytest.mark.parametrize("name", ["epsilon", "z_plus", "own_sign"])
def test_sum_of_activations(name, rng, x64):
    """A sum is a layer whose weights are 1; a difference has a -1."""
    a, c, R = (rng.normal(size=4) for _ in range(3))
    rule, reference, settings = RULES[name]
    table = {(k,): [((k, 0), (0,)), ((k, 1), (1,))] for k in range(4)}
    for sign in (1.0, -1.0):
        f = (lambda x: x[:, 0] + x[:, 1]) if sign > 0 else (lambda x: x[:, 0] - x[:, 1])
        x, w = np.stack([a, c], 1), np.array([1.0, sign])
        z = x @ w
        actual = lrp(f, jnp.asarray(x), jnp.asarray(R), composite=uniform(rule))
        expected = reference(table, x, w, np.zeros(4), z * R, **settings)
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-12)


def test_max_pooling(rng, x64):
    x, R = rng.normal(size=(4, 6, 2)), rng.normal(size=(2, 3, 2))

    def f(x):
        window = (2, 2, 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID").reshape(-1)

    actual = lrp(f, jnp.asarray(x), jnp.asarray(R.reshape(-1)))
    expected = oracle.max_pool(x, np.asarray(f(x)).reshape(R.shape) * R, 2)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


# --- What the rules are to each other


@pytest.fixture
def layer(rng):
    x, w, b = (jnp.asarray(rng.normal(size=s)) for s in [(5, 5, 2), (3, 3, 2, 4), (4,)])
    R = jnp.asarray(rng.normal(size=100))

    def relevance(rule, bias=b):
        f = lambda x: (conv(x, w) + bias).reshape(-1)  # noqa: E731
        return np.asarray(lrp(f, x, R, composite=uniform(rule)))

    return relevance


def test_alpha_one_is_z_plus(x64, layer):
    np.testing.assert_allclose(layer(alpha_beta(1.0, 0.0)), layer(z_plus()), rtol=1e-12)


def test_gamma_from_epsilon_to_own_sign(x64, layer):
    np.testing.assert_allclose(layer(gamma(0.0)), layer(epsilon()), rtol=1e-9)
    scale = np.abs(layer(own_sign())).max()
    np.testing.assert_allclose(layer(gamma(1e9)), layer(own_sign()), rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("rule", [epsilon, z_plus, alpha_beta, gamma, own_sign, w_square])
def test_without_bias(rule, x64, layer):
    """Sharing without the bias conserves what the outputs had, and with it does not."""

    kept, lost = layer(rule(epsilon=0.0, bias=False)), layer(rule(epsilon=0.0))
    everything = layer(flat(0.0)).sum()  # no bias plays a part, nor does the input
    np.testing.assert_allclose(kept.sum(), everything, rtol=1e-10)
    assert abs(lost.sum() - everything) > 1e-3


def test_pass_needs_the_same_shape(x64, rng):
    w = jnp.asarray(rng.normal(size=(3, 3)))
    x, R = jnp.asarray(rng.normal(size=3)), jnp.asarray(rng.normal(size=3))
    composite = uniform(epsilon()).at("*", pass_())
    np.testing.assert_allclose(lrp(lambda x: x @ w, x, R, composite=composite), (x @ w) * R)
    with pytest.raises(ValueError, match=r"^pass_: layer must .* got \(3,\) -> \(2,\)"):
        lrp(lambda x: x @ w[:, :2], x, 0, composite=composite)


def test_own_rule(x64, rng):
    """A rule is any function of a layer and the relevance of its outputs."""
    w, x = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=3))

    def gradient_times_input_squared(layer, R):
        return layer.x**2 * jax.vjp(lambda x: layer.product(x, layer.w), layer.x)[1](R)[0]

    actual = lrp(lambda x: x @ w, x, 1, composite=uniform(gradient_times_input_squared))
    np.testing.assert_allclose(actual, x**2 * w[:, 1] * (x @ w)[1], rtol=1e-12)


def test_dead_denominator_loses_its_relevance_and_nothing_else(x64):
    """Output 0 has no positive contribution: nothing is handed down, and nothing is NaN."""
    w = jnp.array([[-1.0, 2.0], [-3.0, 1.0]])
    R = lrp(lambda x: x @ w, jnp.array([1.0, 1.0]), jnp.ones(2), composite=uniform(z_plus(0.0)))
    np.testing.assert_allclose(R, [2.0, 1.0])  # of -4 + 3, the 3


PRODUCTS = {  # of a layer behind a rectifier: the output, the rule's other totals, and the ways back
    "epsilon": (epsilon(), 2),
    "z_plus": (z_plus(), 3),
    "gamma": (gamma(), 4),
    "own_sign": (own_sign(), 4),
    "alpha_beta": (alpha_beta(), 5),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_rule_costs_its_products(name, rng):
    rule, products = PRODUCTS[name]
    w, batch, n = jnp.float32(rng.normal(size=(256, 256))), 16, 256

    def relevance(w, x):
        return lrp(lambda x: jax.nn.relu(x) @ w, x, 1, composite=uniform(rule))

    rows = jnp.ones((batch, n))
    program = jax.jit(jax.vmap(relevance, (None, 0))).lower(w, rows).compile()
    found = program.cost_analysis()["flops"] / (2 * batch * n * n)
    assert products <= found < products + 0.4


@pytest.mark.parametrize("name", ["gamma", "own_sign"])
def test_what_speaks_against_an_output_is_exact(name, rng):
    """It is the output less what speaks for it, also in single precision: outputs of both signs, nearly cancelled."""
    x, w = np.abs(rng.normal(size=64)), rng.normal(size=(64, 200))
    w = w - np.outer(x, x @ w) / (x @ x) * (1 - 10.0 ** -rng.uniform(1, 3, size=200))
    cancelled = np.abs(x @ w) / (np.abs(x) @ np.abs(w))
    assert cancelled.max() < 0.1

    def shares(dtype):
        x_, w_ = jnp.asarray(x, dtype), jnp.asarray(w, dtype)
        layer = Linear(jnp.matmul, x_, w_, 0.0, x_ @ w_, nonnegative=True)
        return np.asarray(RULES[name][0](layer, jnp.ones(200, dtype)))

    single = shares(np.float32)
    with jax.enable_x64(True):
        double = shares(np.float64)
    np.testing.assert_allclose(single, double, 1e-5, 1e-5 * np.abs(double).max())


# --- Bounds of the z^B rule


def test_bounds_follow_the_input_through_the_model(x64, rng):
    """In the model's input space, whatever it does before its first layer."""
    w = jnp.asarray(rng.normal(size=(3, 3, 3, 4)))
    x = jnp.asarray(rng.uniform(size=(6, 6, 3)))
    mean, std = jnp.array([0.4, 0.5, 0.6]), jnp.array([0.2, 0.3, -0.25])
    weights = jnp.asarray(rng.normal(size=144))

    def plain(x):
        return conv(x, w).reshape(-1)

    def normalised(x):
        return plain((x - mean) / std)

    def moved(x):
        x = (x.transpose(2, 0, 1)[None] - mean[:, None, None]) / std[:, None, None]
        return plain(x[0].transpose(1, 2, 0))

    low, high = np.sort(np.stack([(0 - mean) / std, (1 - mean) / std]), 0)
    expected = lrp(plain, (x - mean) / std, weights, composite=uniform(z_box(low, high)))
    for f in (normalised, moved):
        actual = lrp(f, x, weights, composite=uniform(z_box(0.0, 1.0)))
        np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_bounds_are_checked():
    with pytest.raises(ValueError, match=r"^z_box: low must not be above high"):
        z_box(1.0, 0.0)
    with pytest.raises(
        ValueError, match=r"broadcast to the input's shape \(2,\), got shape \(3,\)"
    ):
        lrp(
            lambda x: x * 2.0 @ jnp.ones((2, 1)),
            jnp.ones(2),
            0,
            composite=uniform(z_box(LOW, HIGH)),
        )
    composite = uniform(epsilon()).at("dot#2", z_box(0.0, 1.0))
    with pytest.raises(ValueError, match="z_box at a first layer only, got 'dot#2'"):
        lrp(
            lambda x: jax.nn.relu(x @ jnp.ones((2, 2))) @ jnp.ones((2, 1)),
            jnp.ones(2),
            0,
            composite=composite,
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: epsilon(-1.0), "^epsilon: epsilon must not be negative, got -1.0"),
        (lambda: gamma(-1.0), "^gamma: gamma must not be negative, got -1.0"),
        (lambda: alpha_beta(2.0, 0.5), "^alpha_beta: beta must be alpha - 1, .* got 0.5"),
        (lambda: z_plus("1e-6"), "^z_plus: epsilon must be a number, got '1e-6'"),
    ],
)
def test_numbers_are_checked(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()
