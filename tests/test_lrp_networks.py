"""LRP on the way through a network: folded norms, layers in between, loops and branches, second derivatives."""

import functools
import itertools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

import xaijax
from tests.networks import NETWORKS, conv, draw, max_pool
from xaijax.propagation import (
    Composite,
    alpha_beta,
    epsilon,
    epsilon_gamma_box,
    epsilon_plus,
    gamma,
    lrp,
    plus_box,
    propagate,
    uniform,
    w_square,
    z_plus,
)

LOW, HIGH = -4.0, 4.0


def in_float64(name):
    def cast(leaf):
        return jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") else leaf

    return jax.tree.map(cast, NETWORKS[name]())


def close(actual, expected, tolerance):
    limit = tolerance * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit)


# --- Norms and biases are part of the layer before


def normalise(x, mean, var, scale, shift):
    return (x - mean) / jnp.sqrt(var + 1e-3) * scale + shift


def linen_norm(x, mean, var, scale, shift):
    variables = {
        "params": {"scale": scale, "bias": shift},
        "batch_stats": {"mean": mean, "var": var},
    }
    return nn.BatchNorm(use_running_average=True, epsilon=1e-3).apply(variables, x)


def one_factor(x, mean, var, scale, shift):
    factor = scale * lax.rsqrt(var + 1e-3)
    return factor * x + (shift - mean * factor)


def broadcast_first(x, *parameters):
    """As frameworks without broadcasting do."""
    return normalise(x, *(jnp.broadcast_to(p, x.shape) for p in parameters))


def channels_first(x, *parameters):
    x = normalise(x.transpose(2, 0, 1)[None], *(p[:, None, None] for p in parameters))
    return x[0].transpose(1, 2, 0)


def in_half_steps(x, *parameters):
    return jax.jit(normalise)(jax.jit(lambda x: x * 2.0)(x) / 2.0, *parameters)


NORMS = [normalise, linen_norm, one_factor, broadcast_first, channels_first, in_half_steps]


def folded(kernel, bias, mean, var, scale, shift):
    """A convolution and its norm as one convolution."""
    factor = scale / np.sqrt(var + 1e-3)
    return kernel * factor, (bias - mean) * factor + shift


@functools.cache
def by_hand():
    """A network with norms, its input, and the relevance of the network with the norms folded by hand."""
    rng = np.random.default_rng(0)
    kernels, biases = (
        [rng.normal(size=s) for s in [(3, 3, 2, 4), (1, 1, 4, 3)]],
        [np.ones(4), np.zeros(3)],
    )
    norms = [
        (rng.normal(size=n), rng.uniform(0.5, 2, n), rng.normal(size=n), rng.normal(size=n))
        for n in (4, 3)
    ]
    assert (norms[0][2] < 0).any()  # scales of both signs
    assert (norms[0][2] > 0).any()
    V, x = rng.normal(size=(75, 3)), jnp.asarray(rng.normal(size=(5, 5, 2)))
    layers = [folded(*layer, *norm) for *layer, norm in zip(kernels, biases, norms, strict=True)]

    def plain(x):
        for kernel, bias in layers:
            x = jax.nn.relu(conv(x, kernel) + bias)
        return x.reshape(-1) @ V

    def with_norms(norm, x):
        for kernel, bias, statistics in zip(kernels, biases, norms, strict=True):
            x = jax.nn.relu(norm(conv(x, kernel) + bias, *map(jnp.asarray, statistics)))
        return x.reshape(-1) @ V

    expected = [lrp(plain, x, 1, composite=composite) for composite in FOLDING]
    return with_norms, x, plain(x), expected


FOLDING = (epsilon_plus(), uniform(alpha_beta()))


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm.__name__)
def test_batch_norm_is_folded(norm, x64):
    network, x, logits, expected = by_hand()
    f = functools.partial(network, norm)
    np.testing.assert_allclose(f(x), logits, rtol=1e-10)
    for composite, R in zip(FOLDING, expected, strict=True):
        close(lrp(f, x, 1, composite=composite), R, 1e-9)


def test_bias_of_a_vmapped_layer(rng, x64):
    """Equinox adds the bias inside of the vmap, where the convolution has an axis more."""
    layer = draw(eqx.filter_eval_shape(eqx.nn.Conv2d, 2, 3, 3, key=jax.random.key(0)))
    layer = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), layer)
    x, R = jnp.asarray(rng.normal(size=(2, 5, 5))), jnp.asarray(rng.normal(size=27))

    def plain(x):
        kernel = layer.weight.transpose(2, 3, 1, 0)
        y = conv(x.transpose(1, 2, 0), kernel, padding="VALID") + layer.bias[:, 0, 0]
        return y.transpose(2, 0, 1).reshape(-1)

    def vmapped(x):
        return jax.vmap(layer)(x[None])[0].reshape(-1)

    expected = lrp(plain, x, R, composite=uniform(z_plus()))
    close(lrp(vmapped, x, R, composite=uniform(z_plus())), expected, 1e-12)
    assert np.abs(expected - lrp(plain, x, R, composite=uniform(z_plus(bias=False)))).max() > 1e-3


def test_a_constant_that_is_no_bias(rng, x64):
    """Numbers of an activation function, and what is added to a mean or to a sum of activations."""
    W = jnp.asarray(rng.normal(size=(4, 3)))
    x, c = jnp.asarray(rng.normal(size=4)), jnp.asarray(rng.normal(size=3))
    rule = uniform(epsilon(0.0))

    def total(f):
        return lrp(f, x, jnp.ones(3), composite=rule).sum()

    # A hard swish passes what it gets, half through each factor.
    z = jax.nn.hard_swish(x @ W)
    np.testing.assert_allclose(total(lambda x: jax.nn.hard_swish(x @ W)), z.sum(), rtol=1e-9)
    mean = functools.partial(jnp.mean, axis=0)
    shifted = (mean(x * 2) + c).sum()
    np.testing.assert_allclose(total(lambda x: mean(x * 2) + c), shifted, rtol=1e-9)
    kept = ((x @ W + x[:3]) * c + c).sum()
    np.testing.assert_allclose(total(lambda x: (x @ W + x[:3]) * c + c), kept, rtol=1e-9)
    # After all, a bias takes its share.
    assert abs(total(lambda x: x @ W + c) - (x @ W + c).sum()) > 1e-3


# --- Layers on the way


@pytest.mark.parametrize("name", ["equinox_vmap", "vgg"])
def test_relevance_on_the_way_hands_down_the_rest(name, x64):
    """From the outputs to a layer, and from there on, is all the way: where nothing goes around the layer."""
    f, x = in_float64(name)
    cuts = {
        "vgg": ["relu#1", "max_pool#2", "dense/dot"],
        "equinox_vmap": ["features/layers/0", "features/layers/max_pool", "tanh"],
    }[name]
    composite = epsilon_gamma_box(LOW, HIGH)
    down = functools.partial(propagate, "test", f, x, composite=composite)
    ends = jax.jit(lambda: down(lambda y: y * jnp.eye(5)[1], to=(*cuts, None)))()
    close(ends[-1], lrp(f, x, 1, composite=composite), 1e-12)
    for cut, R in zip(cuts, ends[:-1], strict=True):
        assert np.abs(R).max() > 0
        rest = jax.jit(lambda cut=cut, R=R: down(lambda value: R, start=cut))()
        close(rest, ends[-1], 1e-10)


def test_layer_bias_and_norm_are_one(x64):
    f, x = in_float64("linen")
    ends = ("block1/Conv_0/conv", "block1/Conv_0", "block1/BatchNorm_0", "block1/relu#1")
    down = functools.partial(propagate, "test", f, x, composite=epsilon_plus())
    relevances = jax.jit(lambda: down(lambda y: y, to=ends))()
    assert np.abs(relevances[0]).max() > 0
    for R in relevances[1:]:
        close(R, relevances[0], 1e-12)


def test_what_comes_after_the_start_needs_no_rule(rng, x64):
    w = jnp.asarray(rng.normal(size=(3, 4)))
    x = jnp.asarray(rng.normal(size=3))

    def f(x):
        with jax.named_scope("logits"):
            y = x @ w
        return jax.nn.softmax(y)

    def seed(y):
        return y

    R = propagate("test", f, x, seed, composite=uniform(epsilon(0.0)), start="logits")
    np.testing.assert_allclose(R, x * w.sum(1), rtol=1e-10)
    with pytest.raises(ValueError, match=r"^lrp: f must give logits"):
        lrp(f, x, 0)


def test_start_and_end_are_the_same(x64):
    f, x = in_float64("vgg")
    down = functools.partial(propagate, "test", f, x, composite=epsilon_plus())
    first, again = jax.jit(lambda: down(jnp.square, start="relu#1", to=("relu#1", "relu#1")))()
    value = xaijax.split(f, x, "relu#1")[0](x)
    np.testing.assert_allclose(first, value**2, rtol=1e-12)
    np.testing.assert_array_equal(first, again)


def test_layers_that_cannot_be():
    f, x = NETWORKS["vgg"]()
    start = functools.partial(propagate, "test", f, x, jnp.square, composite=epsilon_plus())
    rule = "^test: to must come before 'relu#1', where relevance starts, got 'max_pool#1'"
    with pytest.raises(ValueError, match=rule):
        start(start="relu#1", to="max_pool#1")
    with pytest.raises(ValueError, match=r"^test: layer must name a layer .* got 'no'"):
        start(start="no")


def test_step_of_a_loop(x64):
    """A layer inside a scan: the scan is unrolled, and its steps hand on to each other."""
    f, x = in_float64("linen_scan")
    ends = ("[0]", "[1]", "[1]/blocks/block/BatchNorm_0", None)
    composite = plus_box(LOW, HIGH)
    down = jax.jit(lambda: propagate("test", f, x, lambda y: y, composite=composite, to=ends))()
    for R in (*down[:2], down[-1]):
        np.testing.assert_allclose(R.sum(), f(x).sum(), rtol=1e-9)
    assert abs(down[2].sum()) < abs(f(x).sum())  # the rest goes around, by the shortcut
    close(down[-1], lrp(f, x, jnp.ones(5), composite=composite), 1e-10)


# --- Control flow


def python_loop(w, x):
    x = jax.nn.relu(conv(x, w["stem"]))
    for i in range(3):
        x = jax.nn.relu(conv(x, w["again"]) + i)
    return x.mean((0, 1)) @ w["head"]


def test_loop_as_python_loop(x64):
    f, x = in_float64("loop")
    # The counter that is added is a bias in the loop, and a number of the program without one.
    composite = Composite(gamma(bias=False), epsilon(bias=False), w_square(bias=False))
    expected = lrp(Partial(python_loop, *f.args), x, 1, composite=composite)
    close(lrp(f, x, 1, composite=composite), expected, 1e-10)


def test_rules_that_differ_between_the_steps_of_a_scan(rng, x64):
    kernels = jnp.asarray(rng.normal(size=(2, 3, 3, 2, 2)))
    x = jnp.asarray(rng.normal(size=(4, 4, 2)))

    def step(x, kernel):
        with jax.named_scope("layer"):
            return jax.nn.relu(conv(x, kernel)), None

    def scanned(x):
        return lax.scan(step, x, kernels)[0].sum((0, 1))

    def unrolled(x):
        for i, kernel in enumerate(kernels):
            with jax.named_scope(f"[{i}]"):
                x, _ = step(x, kernel)
        return x.sum((0, 1))

    def at(f, *patterns):
        composite = epsilon_plus()
        for pattern in patterns:
            composite = composite.at(pattern, gamma())
        return np.asarray(lrp(f, x, 1, composite=composite))

    first, both, none = at(scanned, "[0]"), at(scanned, "[0]", "[1]"), at(scanned)
    close(first, at(unrolled, "[0]"), 1e-12)
    close(both, at(unrolled, "[*"), 1e-12)
    for one, other in itertools.combinations((first, both, none), 2):
        assert np.abs(one - other).max() > 1e-3 * np.abs(one).max()


PAIRS = [("linen", "linen_jit"), ("linen", "linen_remat"), ("equinox", "equinox_vmap")]


@pytest.mark.parametrize("pair", PAIRS)
def test_jit_remat_and_vmap_change_nothing(pair):
    one, other = (lrp(*NETWORKS[name](), 1) for name in pair)
    close(other, one, 1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_cond_is_the_branch_that_is_taken(sign, x64):
    f, x = in_float64("nested")
    x = sign * jnp.abs(x)
    (w,) = f.args

    def deep(x):
        for kernel in w["deep"]:
            x = jnp.tanh(x @ kernel)
        return x

    def taken(x):
        return deep(deep(x) if sign > 0 else -deep(x)) @ w["head"]

    close(lrp(f, x, 1), lrp(taken, x, 1), 1e-10)


# --- Second derivatives


def residual(w, x):
    y = jax.nn.relu(conv(x, w["stem"]) + w["bias"])
    z = (conv(y, w["conv"]) - w["mean"]) * lax.rsqrt(w["var"] + 1e-3) * w["scale"] + w["bias"]
    y = max_pool(jax.nn.relu(y + z))
    with jax.named_scope("loop"):
        y = lax.scan(lambda y, k: (jax.nn.relu(conv(y, k)), None), y, w["blocks"])[0]
    return jnp.tanh(y.mean((0, 1))) @ w["head"]


def test_derivative_of_relevance(rng, x64):
    """Along the weights and the input, against finite differences; and forward over reverse."""
    shapes = {"stem": (3, 3, 2, 3), "conv": (1, 1, 3, 3), "blocks": (2, 3, 3, 3, 3), "head": (3, 3)}
    shapes |= {"bias": (3,), "mean": (3,), "scale": (3,), "var": (3,)}
    w = {k: jnp.asarray(rng.normal(size=s)) for k, s in shapes.items()}
    w["var"] = jnp.abs(w["var"]) + 0.5
    point = (w, jnp.asarray(rng.normal(size=(4, 4, 2))))
    mix = rng.normal(size=(4, 4, 2))
    along = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), point)
    composite = epsilon_gamma_box(LOW, HIGH).at("loop*", alpha_beta())

    @jax.jit
    def total(point):
        w, x = point
        return (mix * lrp(Partial(residual, w), x, 1, composite=composite)).sum()

    gradient = jax.grad(total)(point)
    products = jax.tree.map(lambda g, d: (g * d).sum(), gradient, along)
    derivative, step = sum(jax.tree.leaves(products)), 1e-7
    ahead, back = (
        total(jax.tree.map(lambda a, d, s=s: a + s * step * d, point, along)) for s in (1, -1)
    )
    assert abs(derivative) > 1e-3
    np.testing.assert_allclose(derivative, (ahead - back) / (2 * step), rtol=1e-5)
    forward = jax.jvp(total, (point,), (along,))[1]
    np.testing.assert_allclose(forward, derivative, rtol=1e-9)
