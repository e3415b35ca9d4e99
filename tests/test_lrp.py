"""LRP of whole networks: against the oracle, composites, folded norms, layers on the way, loops, second derivatives."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

import xaijax
from tests.networks import NETWORKS, conv, image, max_pool
from tests.oracles import lrp as oracle
from xaijax.propagation import (
    Composite,
    epsilon,
    epsilon_alpha2_beta1,
    epsilon_alpha2_beta1_flat,
    epsilon_gamma_box,
    epsilon_plus,
    epsilon_plus_flat,
    flat,
    gamma,
    lrp,
    plus_box,
    uniform,
    w_square,
    z_plus,
)

LOW, HIGH = -4.0, 4.0
COMPOSITES = {
    "epsilon": lambda: uniform(epsilon()),
    "epsilon_plus": epsilon_plus,
    "epsilon_plus_flat": epsilon_plus_flat,
    "epsilon_gamma_box": lambda: epsilon_gamma_box(LOW, HIGH),
    "epsilon_alpha2_beta1": epsilon_alpha2_beta1,
    "epsilon_alpha2_beta1_flat": epsilon_alpha2_beta1_flat,
    "plus_box": lambda: plus_box(LOW, HIGH),
}


def in_float64(name):
    def cast(leaf):
        return jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") else leaf

    return jax.tree.map(cast, NETWORKS[name]())


def close(actual, expected, tolerance):
    limit = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit)


# --- Against the oracle


def network(w, x):
    """conv - max-pooling - conv - average pooling - dense - dense, with biases."""
    x = max_pool(jax.nn.relu(conv(x, w["conv1"], padding="VALID") + w["bias1"]))
    x = jax.nn.relu(conv(x, w["conv2"], stride=2, padding=[(1, 1), (1, 1)]) + w["bias2"])
    x = lax.reduce_window(x, 0.0, lax.add, (2, 2, 1), (2, 2, 1), "VALID") / 4
    return jax.nn.relu(x.reshape(-1) @ w["dense1"] + w["bias3"]) @ w["dense2"] + w["bias4"]


def zeros_of(rule):
    return functools.partial(rule, epsilon=0.0)


def without_bias(rule):
    return lambda table, x, w, b, R: rule(table, x, w, 0 * b, R)


# The rules of the first convolution, the second, dense layers and pooling.
ORACLES = {
    "epsilon": (oracle.epsilon,) * 4,
    "epsilon_plus": (oracle.z_plus, oracle.z_plus, oracle.epsilon, oracle.epsilon),
    "epsilon_plus_flat": (oracle.flat, oracle.z_plus, oracle.epsilon, oracle.epsilon),
    "epsilon_gamma_box": (
        functools.partial(oracle.z_box, low=[LOW] * 2, high=[HIGH] * 2),
        oracle.gamma,
        oracle.epsilon,
        oracle.epsilon,
    ),
    "epsilon_alpha2_beta1": (oracle.alpha_beta, oracle.alpha_beta, oracle.epsilon, oracle.epsilon),
    "epsilon_alpha2_beta1_flat": (oracle.flat, oracle.alpha_beta, oracle.epsilon, oracle.epsilon),
    "plus_box": (
        functools.partial(oracle.z_box, low=[LOW] * 2, high=[HIGH] * 2, epsilon=0.0),
        *[without_bias(zeros_of(oracle.z_plus))] * 3,
    ),
}


@pytest.fixture(scope="module")
def weights():
    shapes = {"conv1": (3, 3, 2, 3), "bias1": 3, "conv2": (3, 3, 3, 4), "bias2": 4}
    shapes |= {"dense1": (4, 6), "bias3": 6, "dense2": (6, 3), "bias4": 3}
    rng = np.random.default_rng(3)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ORACLES)
def test_convolutional_network(name, weights, rng, x64):
    w, x = weights, rng.normal(size=(8, 8, 2))
    first, second, dense, pooling = ORACLES[name]
    conv1, conv2 = (
        oracle.convolution((8, 8, 2), (3, 3, 2, 3)),
        oracle.convolution((3, 3, 3), (3, 3, 3, 4), 2, (1, 1)),
    )
    pool = oracle.average_pool((2, 2, 4), 2)
    dense1, dense2 = oracle.dense(4, 6), oracle.dense(6, 3)

    a1 = np.maximum(oracle.output(conv1, x, w["conv1"], w["bias1"]), 0)
    pooled = np.asarray(max_pool(jnp.asarray(a1)))
    a2 = np.maximum(oracle.output(conv2, pooled, w["conv2"], w["bias2"]), 0)
    quarter, nothing = np.full((), 0.25), np.zeros(4)
    a3 = oracle.output(pool, a2, quarter, nothing).reshape(-1)
    a4 = np.maximum(oracle.output(dense1, a3, w["dense1"], w["bias3"]), 0)
    y = oracle.output(dense2, a4, w["dense2"], w["bias4"])

    R = np.zeros(3)
    R[1] = y[1]
    R = dense(dense2, a4, w["dense2"], w["bias4"], R)
    R = dense(dense1, a3, w["dense1"], w["bias3"], R).reshape(1, 1, 4)
    R = pooling(pool, a2, quarter, nothing, R)
    R = second(conv2, pooled, w["conv2"], w["bias2"], R)
    R = oracle.max_pool(a1, R, 2)
    R = first(conv1, x, w["conv1"], w["bias1"], R)

    f = Partial(network, jax.tree.map(jnp.asarray, w))
    np.testing.assert_allclose(f(jnp.asarray(x)), y, rtol=1e-12)
    assert np.abs(R).max() > 1e-3
    close(lrp(f, jnp.asarray(x), 1, composite=COMPOSITES[name]()), R, 1e-10)


@pytest.mark.parametrize("name", ["vgg", "concat", "shared", "pointwise_nchw"])
def test_lrp_0_without_biases_is_gradient_times_input(name, x64):
    f, x = in_float64(name)
    gradient = jax.grad(lambda x: f(x)[2])(x)
    close(lrp(f, x, 2, composite=uniform(epsilon(0.0))), gradient * x, 1e-9)


@pytest.mark.parametrize("name", ["linen_scan", "equinox", "haiku", "depthwise"])
def test_plus_box_conserves(name, x64):
    """With biases, norms, residual sums and branches of it."""
    f, x = in_float64(name)
    for target in (0, 1):
        R = lrp(f, x, target, composite=plus_box(LOW, HIGH))
        np.testing.assert_allclose(R.sum(), f(x)[target], rtol=1e-9)


def test_target(x64):
    f, x = in_float64("vgg")
    one, two = (lrp(f, x, target) for target in (1, 2))
    close(lrp(f, x, jnp.array([0, 2.0, -1.0, 0, 0])), 2 * one - two, 1e-12)
    close(lrp(f, x, lambda y: y[1] * 3), 3 * one, 1e-12)
    # The outputs' relevance is the gradient times the outputs: of y^2 that is twice the score.
    close(lrp(f, x, lambda y: y[1] ** 2), 2 * f(x)[1] * one, 1e-12)


# --- Composites: which layer gets which rule


def test_pointwise_product_is_a_convolution(x64):
    """A 1x1 convolution gets the same rule, however it is written; a product of a vector is a dense layer."""
    f, x = in_float64("depthwise")

    def as_convolutions(w, x):
        x = jax.nn.relu6(conv(x, w["stem"], stride=2))
        x = jax.nn.relu6(conv(x, w["depthwise"], groups=8))
        x = jax.nn.relu6(conv(x, w["pointwise"][None, None]))
        return x.mean((0, 1)) @ w["head"]

    g, composite = Partial(as_convolutions, *f.args), Composite(z_plus(), epsilon(0.3))
    R = lrp(f, x, 1, composite=composite)
    close(lrp(g, x, 1, composite=composite), R, 1e-12)
    assert np.abs(R - lrp(f, x, 1, composite=uniform(z_plus()))).max() > 1e-4 * np.abs(R).max()


def test_first_layer_is_every_one_that_no_other_precedes(rng, x64):
    stem, side, after = (jnp.asarray(rng.normal(size=(3, 3, 2, 2))) for _ in range(3))
    head = jnp.asarray(rng.normal(size=(50, 3)))

    def f(x):
        with jax.named_scope("stem"):
            a = conv(x, stem)
        with jax.named_scope("side"):
            b = conv(jnp.tanh(x[::-1]), side)
        with jax.named_scope("after"):
            return conv(jax.nn.relu(a + b), after).reshape(-1) @ head

    x = jnp.asarray(rng.normal(size=(5, 5, 2)))
    base = uniform(epsilon())
    first = lrp(f, x, 0, composite=dataclasses.replace(base, first=flat()))
    named = lrp(f, x, 0, composite=base.at("stem", flat()).at("side/conv", flat()))
    close(first, named, 1e-12)
    other = lrp(f, x, 0, composite=base.at("stem", flat()))
    assert np.abs(first - other).max() > 1e-3 * np.abs(first).max()


def test_patterns(rng, x64):
    w = {f"layer{i}": jnp.asarray(rng.normal(size=(1, 1, 5, 5))) for i in (1, 2, 3)}

    def f(x):
        for name, kernel in w.items():
            with jax.named_scope(f"net/{name}"):
                x = jax.nn.relu(conv(x, kernel) + x)
        return x.sum((0, 1))

    x = jnp.asarray(rng.normal(size=(3, 3, 5)))
    base = epsilon_plus()

    def at(*pairs):
        composite = base
        for pattern, rule in pairs:
            composite = composite.at(pattern, rule)
        return np.asarray(lrp(f, x, 1, composite=composite))

    named = at(("layer1/conv", gamma()), ("layer2/conv", gamma()))
    np.testing.assert_array_equal(at(("layer1", gamma()), ("layer2", gamma())), named)
    np.testing.assert_array_equal(at(("layer?", gamma()), ("layer3", z_plus())), named)
    np.testing.assert_array_equal(at(("*", gamma()), ("*3/*", z_plus())), named)
    for other in (at(), at(("layer1", gamma())), at(("layer*", gamma()))):
        assert np.abs(named - other).max() > 1e-3 * np.abs(named).max()
    rule = "match a convolution or dense layer, got 'layer4'. Nearest: 'layer"
    with pytest.raises(ValueError, match=rule):
        at(("layer4", flat()))
    with pytest.raises(ValueError, match="got 'layer1/relu'"):
        at(("layer1/relu", flat()))


def test_composites_differ_from_each_other(rng):
    """One is not compiled for another: JAX takes some structures for equal that are not."""
    first, second, head = (rng.normal(size=s) for s in [(2, 2, 2, 2), (1, 1, 2, 3), (3, 2)])

    def f(x):
        x = jax.nn.relu(conv(x, first, padding="VALID") + 1.0)
        return jax.nn.relu(conv(x, second, padding="VALID")).sum((0, 1)) @ head

    x = jnp.asarray(rng.normal(size=(3, 3, 2)))
    results = [np.asarray(lrp(f, x, 1, composite=make())) for make in COMPOSITES.values()]
    for one, other in itertools.combinations(results, 2):
        assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()


def test_one_program_serves_all_numbers(count_compiles):
    f, x = NETWORKS["plain"]()
    numbers = [(0.0, 1e-6, 0.25), (-1, 0, 1), (np.float64(-2.0), 1e-3, np.float32(3))]
    with count_compiles() as compiled:
        for low, eps, g in numbers:
            composite = epsilon_gamma_box(low, 7.0, epsilon=eps, gamma=g).at("head", flat(eps))
            assert lrp(f, x, 1, composite=composite).dtype == jnp.float32
    assert compiled.count("lrp") == 1
    swept = jax.vmap(lambda g: lrp(f, x, 1, composite=uniform(gamma(g))))(jnp.array([0.1, 2.0]))
    alone = [lrp(f, x, 1, composite=uniform(gamma(g))) for g in (0.1, 2.0)]
    close(swept, jnp.stack(alone), 1e-5)


def test_bound_with_a_composite():
    f, x = NETWORKS["plain"]()
    explain = xaijax.bind(lrp, f, composite=epsilon_gamma_box(LOW, HIGH))
    mapped = jax.jit(lambda explain, xs: jax.vmap(explain, (0, None))(xs, 1))
    close(mapped(explain, jnp.stack([x, -x]))[1], explain(-x, 1), 1e-5)


# --- Every network

# The others stand in other tests, too.
QUICK = ("haiku", "custom_rules", "gru", "branching")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NETWORKS],
)
def test_every_network(name):
    f, x = NETWORKS[name]()
    R = lrp(f, x, 1)
    assert R.shape == x.shape
    assert np.isfinite(R).all()
    assert np.abs(R).max() > 0


# --- Errors


def test_input_of_integers():
    with pytest.raises(TypeError, match=r"^lrp: x must be one float array, got uint8"):
        lrp(lambda x: x * 1.0, jnp.ones(3, jnp.uint8), 0)


def test_box_inside_a_cond():
    kernel = image(3, 3)

    def f(x):
        return lax.cond(x.sum() > 0, lambda x: x @ kernel, lambda x: -x @ kernel, x)

    with pytest.raises(NotImplementedError, match="no layer with z_box inside a cond, got 'cond'"):
        lrp(f, jnp.ones(3), 0, composite=epsilon_gamma_box(0.0, 1.0))


def test_weights_squared_at_the_first_layer_only(x64):
    f, x = in_float64("vgg")
    composite = dataclasses.replace(epsilon_plus(), first=w_square())
    named = epsilon_plus().at(xaijax.layers(f, x)[0].name, w_square())
    close(lrp(f, x, 1, composite=composite), lrp(f, x, 1, composite=named), 1e-12)
