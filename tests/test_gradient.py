"""The gradient family: against the oracle, closed forms, completeness, units inside, memory, errors."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial
from scipy import ndimage

import xaijax
from tests.cases import FIRST, cnn, image, mlp, row
from tests.oracles import gradient as oracle

KEY = jax.random.key(0)
wrong: Any = xaijax  # called as no type checker lets pass


def assert_close(actual, expected, rtol=1e-10):
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=rtol * np.abs(expected).max())


@pytest.fixture
def net(rng):
    """W, b and the weights of two outputs; an input; three baselines."""
    weights = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(2, 5))
    return weights, rng.normal(size=3), rng.normal(size=(3, 3))


def two_layers(weights):
    def f(weights, x):
        W, b, V = weights
        return V @ jnp.tanh(W @ x + b)

    return Partial(f, tuple(map(jnp.asarray, weights)))


def for_output(weights, target):
    """What the oracle takes: the network of one score."""
    W, b, V = weights
    return W, b, V[target] if isinstance(target, int) else target @ V


# --- Against the oracle


@pytest.mark.parametrize("target", [1, np.array([0.5, -2.0])], ids=["index", "weights"])
def test_gradients(net, target, x64):
    weights, x, _ = net
    f, one = two_layers(weights), for_output(weights, target)
    G = oracle.gradient(one, x)
    assert_close(xaijax.saliency(f, x, target), np.abs(G))
    assert_close(xaijax.input_x_gradient(f, x, target), x * G)
    before, after = xaijax.layer_gradient(f, x, target, layer=("1/add", "tanh"))
    assert_close(before, oracle.activation_gradient(one, x))
    assert_close(after, one[2])


@pytest.mark.parametrize("quadrature", ["gauss_legendre", "midpoint"])
@pytest.mark.parametrize("several", [False, True], ids=["baseline", "baselines"])
def test_integrals_along_the_line(net, quadrature, several, x64):
    """In chunks that the points do not fill."""
    weights, x, baselines = net
    f, one = two_layers(weights), for_output(weights, 1)
    given = baselines if several else baselines[0]
    settings = {"baseline": given, "num_steps": 7, "quadrature": quadrature, "batch_size": 4}
    reference = (np.atleast_2d(given), quadrature, 7)
    found = xaijax.integrated_gradients(f, x, 1, **settings)
    assert_close(found, oracle.integrated_gradients(one, x, *reference))
    influence = xaijax.internal_influence(f, x, 1, layer=("tanh", "1/add"), **settings)
    assert_close(influence[0], one[2])
    assert_close(influence[1], oracle.internal_influence(one, x, *reference))


@pytest.mark.parametrize("batch_size", [None, 1, 3, 8])
@pytest.mark.parametrize("several", [False, True], ids=["baseline", "baselines"])
def test_conductance(net, several, batch_size, x64):
    weights, x, baselines = net
    f, one = two_layers(weights), for_output(weights, 1)
    given = baselines if several else baselines[0]
    settings = {"baseline": given, "num_steps": 7, "batch_size": batch_size}
    before, after = xaijax.conductance(f, x, 1, layer=("1/add", "tanh"), **settings)
    assert_close(before, oracle.conductance(one, x, np.atleast_2d(given), 7))
    # After it comes a linear layer: each unit's whole change counts.
    gained = [oracle.hidden(one, x)[1] - oracle.hidden(one, b)[1] for b in np.atleast_2d(given)]
    assert_close(after, one[2] * np.mean(gained, 0))


def test_baseline_as_a_number_and_as_one_for_each_channel(rng, x64):
    x = rng.normal(size=(2, 4, 3))
    for given in (0.5, np.array([0.1, -0.2, 0.3])):
        found = xaijax.integrated_gradients(
            lambda x: (x**2).sum((0, 1)), x, 1, baseline=given, num_steps=2
        )
        assert_close(found, (x**2 - np.broadcast_to(given, x.shape) ** 2) * [0, 1, 0], 1e-14)


# --- What they sum to


def test_completeness_of_a_smooth_network(x64):
    """Through every layer that everything flows through; Gauss-Legendre is exact long before the midpoints are."""
    f, x = mlp(FIRST, jnp.float64, (6, 16, 8, 4)), row(0, jnp.float64)
    baselines = jnp.stack([row(seed, jnp.float64) for seed in (7, 8)])
    difference = f(x)[1] - jax.vmap(f)(baselines)[:, 1].mean()
    settings = {"baseline": baselines, "num_steps": 20}
    fine = xaijax.integrated_gradients(f, x, 1, **settings)
    np.testing.assert_allclose(fine.sum(), difference, rtol=1e-10)
    coarse = xaijax.integrated_gradients(f, x, 1, **settings, quadrature="midpoint")
    assert 1e-7 < abs(coarse.sum() / difference - 1) < 1e-2
    # Conductance sums differences: exact before a linear layer, elsewhere of the second order in the steps.
    errors = []
    for n in (20, 80):
        settings["num_steps"] = n
        first, last = xaijax.conductance(f, x, 1, layer=("0/add", "tanh#2"), **settings)
        np.testing.assert_allclose(last.sum(), difference, rtol=1e-12)
        errors.append(abs(first.sum() - difference))
    assert errors[0] < 1e-2 * abs(difference)
    np.testing.assert_allclose(errors[0] / errors[1], 16, rtol=0.05)


def test_number_of_steps_that_a_polynomial_needs(x64):
    """n nodes of Gauss and Legendre integrate degree 2n - 1."""
    x = jnp.array([2.0, -1.0])
    for degree, num_steps in ((4, 2), (6, 3)):
        found = xaijax.integrated_gradients(lambda x, d=degree: x**d, x, 0, num_steps=num_steps)
        assert_close(found, [2.0**degree, 0.0], 1e-14)
        few = xaijax.integrated_gradients(lambda x, d=degree: x**d, x, 0, num_steps=num_steps - 1)
        assert few[0] < 0.99 * 2.0**degree


def test_expected_gradients_are_unbiased(rng, x64):
    """Of a cubic function with products: the exact mean over 5 baselines, and its variance from many keys."""
    c, Q, rows = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=(5, 4))
    Q, x = Q + Q.T, rng.normal(size=4)

    def f(x):
        return jnp.stack([(c * x**3).sum() + x @ Q @ x / 2, x.sum()])

    explain = xaijax.bind(xaijax.expected_gradients, f, baselines=rows, num_samples=20)
    found = np.asarray(
        jax.vmap(lambda key: explain(jnp.asarray(x), 0, key))(jax.random.split(KEY, 500))
    )
    # The gradient 3 c x^2 + Q x, integrated along each line.
    exact = (c * (x**3 - rows**3) + (x - rows) * ((x + rows) / 2 @ Q)).mean(0)
    error = found.std(0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(found.mean(0) - exact) < 4 * error).all()
    total = np.asarray(f(x)[0] - jax.vmap(f)(rows)[:, 0].mean())
    sums = found.sum(1)
    assert abs(sums.mean() - total) < 4 * sums.std(ddof=1) / np.sqrt(len(sums))
    # Samples are independent: a mean of 20 has a 20th of the variance of one.
    alpha, which = rng.uniform(size=(20_000, 1)), rng.integers(5, size=20_000)
    points = rows[which] + alpha * (x - rows[which])
    single = (x - rows[which]) * (3 * c * points**2 + points @ Q)
    assert_close(found.var(0) * 20 / single.var(0), np.ones(4), 0.3)


# --- Blur


def test_blur_of_a_sum_over_pixels(x64):
    """Each pixel gets its own function's difference: the path is integrated exactly."""
    x = np.random.default_rng(3).normal(size=(6, 9, 2))
    weights = np.random.default_rng(4).normal(size=x.shape)

    def h(x):
        return x**3 - 2 * x

    def f(x):
        return (weights * h(x)).sum((0, 1))

    found = xaijax.blur_integrated_gradients(f, x, 1, max_sigma=2.5)
    expected = weights * (h(x) - h(oracle.blur(x, 2.5)))
    expected[..., 0] = 0.0
    assert_close(found, expected, 1e-9)


def test_blur_is_gaussian_and_mirrored(x64):
    """Of a linear model with weights 1 it is what the blur takes away."""
    x = np.random.default_rng(3).normal(size=(8, 7, 3))
    found = xaijax.blur_integrated_gradients(lambda x: x.reshape(-1), x, jnp.ones(168), max_sigma=3)
    away = x - ndimage.gaussian_filter(x, 3.0, mode="reflect", truncate=20, axes=(0, 1))
    assert_close(found, away, 1e-8)


def test_blur_of_an_image_with_channels_first(rng, x64):
    """Its height and width are blurred, as the first convolution reads them."""
    kernel, x = jnp.asarray(rng.normal(size=(4, 3, 3, 3)) / 5), rng.normal(size=(3, 6, 9))

    def f(x):
        return jnp.tanh(lax.conv(x[None], kernel, (1, 1), "SAME")[0]).mean((1, 2))

    found = xaijax.blur_integrated_gradients(f, x, 1, max_sigma=1.5)
    away = np.moveaxis(oracle.blur(np.moveaxis(x, 0, -1), 1.5), -1, 0)
    np.testing.assert_allclose(found.sum(), f(x)[1] - f(away)[1], rtol=1e-10)


# --- Inside the model


def test_what_one_unit_sees(net, x64):
    """Any explainer of the part before a layer, its target a function that reads the unit."""
    weights, x, baselines = net
    W, b, _ = weights
    units, _ = xaijax.split(two_layers(weights), x, "tanh")

    def third(A):
        return A[2]

    one = (W[2:3], b[2:3], np.ones(1))
    assert_close(xaijax.saliency(units, x, third), np.abs(oracle.gradient(one, x)))
    found = xaijax.integrated_gradients(units, x, third, baseline=baselines, num_steps=7)
    assert_close(found, oracle.integrated_gradients(one, x, baselines, "gauss_legendre", 7))


def test_layer_gradient_of_token_ids():
    """There is no gradient at whole numbers, but there is one where they are embedded."""
    table = jnp.arange(12.0).reshape(6, 2)

    def f(ids):
        with jax.named_scope("embed"):
            words = jnp.take(table, ids, axis=0)
        return (words**2).sum(0)

    ids = jnp.array([5, 1, 5])
    found = xaijax.layer_gradient(f, ids, 1, layer="embed")
    np.testing.assert_array_equal(found, [[0, 22], [0, 6], [0, 22]])


def test_rectifiers_do_not_hide_a_target_out_of_range():
    """Nothing comes back through a rectifier that is off: what it holds back would look like an answer."""

    @jax.jit
    def explain(target):
        x = -jnp.ones(3)
        f = lambda x: jax.nn.relu(jax.nn.relu(x) - 1.0)  # noqa: E731
        layers = xaijax.layer_gradient(f, x, target, layer=("relu#1", "sub"))
        return xaijax.saliency(f, x, target), *layers

    assert all(np.isnan(found).all() for found in explain(7))
    assert not any(np.isnan(found).any() for found in explain(2))


# --- Noise


def test_noise_tunnel(net, x64):
    """SmoothGrad, SmoothGrad-Squared and VarGrad: mean, mean square and its excess over the squared mean."""
    weights, x, _ = net
    f, one = two_layers(weights), for_output(weights, 1)

    def draw(i):
        noise, _ = jax.random.split(jax.random.fold_in(KEY, i))
        return np.asarray(jax.random.normal(noise, x.shape))

    noisy = [x + 0.3 * (x.max() - x.min()) * draw(i) for i in range(6)]
    S = np.array([np.abs(oracle.gradient(one, x)) for x in noisy])
    inner = xaijax.bind(xaijax.saliency, f)
    for tunnel, expected in {
        xaijax.smooth_grad: S.mean(0),
        xaijax.smooth_grad_squared: (S**2).mean(0),
        xaijax.var_grad: (S**2).mean(0) - S.mean(0) ** 2,
    }.items():
        assert_close(tunnel(inner, x, 1, KEY, sigma=0.3, num_samples=6), expected)
    reference = (np.zeros((1, 3)), "gauss_legendre", 7)
    integrals = [oracle.integrated_gradients(one, x, *reference) for x in noisy]
    inner = xaijax.bind(xaijax.integrated_gradients, f, num_steps=7)
    found = xaijax.smooth_grad(inner, x, 1, KEY, sigma=0.3, num_samples=6)
    assert_close(found, np.mean(integrals, 0))


# --- Cost


FLAT = {
    xaijax.integrated_gradients: ("num_steps", (), {}),
    xaijax.expected_gradients: ("num_samples", (KEY,), {"baselines": 0.0}),
    xaijax.blur_integrated_gradients: ("num_steps", (), {}),
    xaijax.conductance: ("num_steps", (), {}),
}


@pytest.mark.parametrize("explain", FLAT, ids=lambda explain: explain.__name__)
def test_memory_does_not_grow_with_the_steps(explain):
    size, key, settings = FLAT[explain]
    f, x = cnn(FIRST), image(0, size=16)
    few, many = (
        explain.program(f, x, 1, *key, **{size: num}, batch_size=4, **settings)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for num in (16, 512)
    )
    assert many <= 1.05 * few


def flops(program):
    return program.compile().cost_analysis()["flops"]


def test_several_layers_cost_one_backward_pass():
    f, x = cnn(FIRST), image(0, size=16)
    first, both = (
        flops(xaijax.layer_gradient.program(f, x, 1, layer=layer))
        for layer in ("relu#1", ("relu#1", "relu#2"))
    )
    assert both <= 1.05 * first


def test_integrated_gradients_cost_their_gradients_and_nothing_else():
    """One chunk, so that XLA counts all of it."""
    f, x = cnn(FIRST), image(0, size=16)
    points = jnp.stack([x] * 8)

    @jax.jit
    def gradients(f, points):
        return jax.vmap(jax.grad(lambda x: xaijax.lower(f)(x)[1]))(points).sum(0)

    program = xaijax.integrated_gradients.program(f, x, 1, num_steps=8, batch_size=8)
    assert flops(program) <= 1.05 * flops(gradients.lower(f, points))


def test_conductance_costs_a_forward_pass_for_each_point():
    """And the backward pass of what comes after the layer; no derivative of what comes before it."""
    f, x = mlp(FIRST, sizes=(6, 256, 256, 4)), row(0)
    program = xaijax.conductance.program(f, x, 1, layer="tanh#2", num_steps=7, batch_size=8)
    forward = jax.jit(jax.vmap(f)).lower(jnp.stack([x] * 8))
    assert flops(program) <= 1.1 * flops(forward)


# --- Errors

F, X = mlp(FIRST), row(0)
NETWORK, IMAGE = cnn(FIRST), image(0)
IDS = jnp.arange(6)


def of_ids(ids):
    return F(ids * 1.0)


INTEGRALS = ("integrated_gradients", "conductance", "internal_influence")
FLOATS = r"x must be one float array, got int32\. .*astype"
ERRORS = {
    **{
        f"{name} of whole numbers": (
            lambda name=name: getattr(wrong, name)(of_ids, IDS, 0),
            TypeError,
            rf"{name}: {FLOATS}",
        )
        for name in ("saliency", "input_x_gradient", "blur_integrated_gradients", *INTEGRALS)
    },
    "expected_gradients of whole numbers": (
        lambda: xaijax.expected_gradients(of_ids, IDS, 0, KEY, baselines=0.0),
        TypeError,
        rf"expected_gradients: {FLOATS}",
    ),
    **{
        f"{name} from a baseline of another shape": (
            lambda name=name: getattr(wrong, name)(F, X, 0, baseline=jnp.ones(5)),
            ValueError,
            rf"{name}: baseline must be a number or an array .*, got shape \(5,\)",
        )
        for name in INTEGRALS
    },
    "a baseline that is not finite": (
        lambda: xaijax.integrated_gradients(F, X, 0, baseline=jnp.full(6, jnp.nan)),
        ValueError,
        r"integrated_gradients: baseline must be finite, got 6 of 6 values NaN or infinite",
    ),
    "no baselines": (
        lambda: wrong.expected_gradients(F, X, 0, KEY),
        TypeError,
        r"expected_gradients: missing a required .*argument: 'baselines'",
    ),
    "baselines of another shape": (
        lambda: xaijax.expected_gradients(F, X, 0, KEY, baselines=jnp.ones((3, 5))),
        ValueError,
        r"expected_gradients: baselines must be .* stack of such, .*, got shape \(3, 5\)",
    ),
    "an unknown quadrature": (
        lambda: wrong.integrated_gradients(F, X, 0, quadrature="simpson"),
        ValueError,
        r"integrated_gradients: quadrature must be 'gauss_legendre' or 'midpoint', got 'simpson'",
    ),
    "no steps": (
        lambda: xaijax.conductance(F, X, 0, layer="tanh", num_steps=0),
        ValueError,
        r"conductance: num_steps must be at least 1, got 0",
    ),
    "an unknown layer": (
        lambda: xaijax.layer_gradient(F, X, 0, layer="tahn"),
        ValueError,
        r"layer_gradient: layer must name a layer of the model, got 'tahn'\. Nearest: 'tanh'",
    ),
    "no blur": (
        lambda: xaijax.blur_integrated_gradients(NETWORK, IMAGE, 0, max_sigma=0.0),
        ValueError,
        r"blur_integrated_gradients: max_sigma must be above 0, got 0\.0",
    ),
    "blur of a row": (
        lambda: xaijax.blur_integrated_gradients(F, X, 0),
        TypeError,
        r"blur_integrated_gradients: x must be one image, .*, got shape \(6,\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), ERRORS.values(), ids=ERRORS.keys())
def test_refused_before_anything_is_compiled(call, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search(says, message, flags=re.DOTALL), message
    assert not {name for name in compiled if hasattr(xaijax, name)}


# --- A score that no gradient leads to

UNREACHED = {
    "constant": lambda x: jnp.ones(3),
    "integers": lambda x: jax.nn.one_hot(jnp.argmax(x), 3),
    "comparison": lambda x: (x > 0).astype(x.dtype),
}


@pytest.mark.parametrize("name", UNREACHED)
@pytest.mark.parametrize(
    "explain", [xaijax.saliency, xaijax.integrated_gradients, xaijax.lrp], ids=lambda e: e.__name__
)
def test_score_that_no_gradient_leads_to(explain, name):
    message = f"^{explain.__name__}: f must lead from x to .*, and not by integers or comparisons"
    with pytest.raises(ValueError, match=message):
        explain(UNREACHED[name], jnp.ones(3), 0)


def test_target_that_reads_nothing():
    with pytest.raises(ValueError, match=r"^saliency: f must lead from x to the target"):
        xaijax.saliency(jnp.tanh, jnp.ones(3), lambda outputs: jnp.ones(()))


OPAQUE = {
    "while": lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x * 2, x),
    "pure_callback": lambda x: jax.pure_callback(lambda x: x, x, x),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_loop_or_callback_on_the_way(name):
    message = f"^saliency: f must have a derivative: .* got '{name}'. A method for black boxes"
    with pytest.raises(NotImplementedError, match=message):
        xaijax.saliency(OPAQUE[name], jnp.ones(3), 0)
