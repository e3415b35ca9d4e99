"""Metrics of robustness: what a change of the input or of the key does to an explanation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from tests.oracles import gradient as gradients
from tests.oracles import robustness as oracle
from xaijax import metrics
from xaijax.core._explainer import explainer
from xaijax.metrics._neighbours import gaussian, neighbours, uniform

NAMES = (
    "max_sensitivity",
    "avg_sensitivity",
    "local_lipschitz",
    "continuity",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
)
RELATIVE = NAMES[4:]


def named(name):
    return getattr(metrics, name)


def settings_of(name, layer="tanh", **settings):
    return {**settings, "layer": layer} if name == "relative_representation_stability" else settings


def perturbation(name):
    """The noise by which it moves the input, here 0.3 wide."""
    wide = "radius" if "sensitivity" in name else "sigma"
    return (uniform if wide == "radius" else gaussian)(0.3), {wide: 0.3}


def moved_inputs(name, explain, x, key, n):
    """The perturbed inputs that the metric sees."""

    def nothing(measured, a, b):
        return a.sum()

    perturb, _ = perturbation(name)
    found = neighbours(name, explain, x, 0, key, perturb, lambda moved: moved, nothing, n, None)
    return np.asarray(found.measured)


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def noisy(f, x, target, key, *, scale=0.0):
    """The same for every input, but for its own noise."""
    return 1 + scale * jax.random.normal(key, x.shape, x.dtype)


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def two_maps(f, x, target):
    return x, x


def squares(x):
    return x**2


ALL = jnp.ones(4)  # a target: the sum of four outputs


# --- Oracles and closed forms


@pytest.fixture
def net(rng):
    """V tanh(W x + b), three outputs."""
    return rng.normal(size=(5, 4)), rng.normal(size=5), rng.normal(size=(5, 3))


def as_jax(net):
    W, b, V = (jnp.asarray(a) for a in net)
    return jax.tree_util.Partial(lambda W, b, V, x: jnp.tanh(W @ x + b) @ V, W, b, V)


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_oracle(name, net, rng, key, x64):
    x, epsilon = rng.normal(size=4), 1e-6
    explain = xaijax.bind(xaijax.saliency, as_jax(net))
    _, wide = perturbation(name)
    found = named(name).details(
        explain, jnp.asarray(x), 1, key, **settings_of(name, num_samples=20, **wide)
    )
    moved = moved_inputs(name, explain, jnp.asarray(x), key, 20)
    W, b, V = net

    def a(x):
        return np.abs(gradients.gradient((W, b, V[:, 1]), x))

    def outputs(x):
        return np.tanh(W @ x + b) @ V

    def predict(x):
        return int(np.argmax(outputs(x)))

    distances = {
        "relative_input_stability": lambda x, z: oracle.percent(x, z, epsilon),
        "relative_output_stability": lambda x, z: oracle.norm(outputs(x) - outputs(z)),
        "relative_representation_stability": lambda x, z: oracle.percent(
            np.tanh(W @ x + b), np.tanh(W @ z + b), epsilon
        ),
    }
    if name in RELATIVE:
        expected, count = oracle.relative_stability(a, predict, distances[name], x, moved, epsilon)
        assert found.num_counted == count
        assert found.counts.tolist() == [predict(z) == predict(x) for z in moved]
    elif "sensitivity" in name:
        changes = oracle.sensitivities(a, x, moved)
        expected = max(changes) if name == "max_sensitivity" else np.mean(changes)
        np.testing.assert_allclose(found.changes, changes, rtol=1e-10)
    else:
        changes = oracle.slopes(a, x, moved, 2 if name == "local_lipschitz" else 1)
        expected = max(changes)
        np.testing.assert_allclose(found.changes, changes, rtol=1e-10)
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)
    assert found.own_noise == 0


@pytest.mark.parametrize(("perturb", "std"), [(uniform, 0.3 / 3**0.5), (gaussian, 0.3)])
def test_the_noise_is_centred_and_as_wide_as_it_says(perturb, std, key):
    moved = jax.vmap(perturb(0.3), (0, None))(jax.random.split(key, 2000), jnp.zeros(4))
    assert abs(moved.mean()) < 4 * std / 8000**0.5
    np.testing.assert_allclose(moved.std(), std, rtol=0.05)
    assert perturb is gaussian or np.abs(moved).max() <= 0.3


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_linear_model_never_changes(name, rng, key):
    W = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)
    explain = xaijax.bind(xaijax.saliency, jax.tree_util.Partial(lambda W, x: (x * 1.0) @ W, W))
    x = jnp.arange(1.0, 5.0)
    number = named(name)(explain, x, 1, key, **settings_of(name, "mul", num_samples=7))
    assert number == 0


def test_the_gradient_of_a_square_changes_by_twice_the_step(key, x64):
    """The gradient is 2 x."""
    explain, x = xaijax.bind(xaijax.saliency, squares), jnp.arange(1.0, 5.0)
    ask = (explain, x, ALL, key)
    steps = metrics.max_sensitivity.details(*ask, radius=0.3, num_samples=50)
    moved = moved_inputs("max_sensitivity", explain, x, key, 50)
    sizes = np.linalg.norm(moved - x, axis=1) / np.linalg.norm(x)
    np.testing.assert_allclose(steps.changes, sizes, rtol=1e-12)
    slopes = metrics.local_lipschitz.details(*ask, num_samples=5).changes
    np.testing.assert_allclose(slopes, 2, rtol=1e-12)
    slopes = metrics.continuity.details(*ask, num_samples=50).changes
    # Between the norms of a vector along an axis and along the diagonal.
    assert ((slopes >= 2) & (slopes <= 4)).all()
    assert slopes.max() > 3
    np.testing.assert_allclose(metrics.relative_input_stability(*ask, num_samples=5), 1, rtol=1e-12)


def _scaled(c, x):
    return jnp.stack([c * (jnp.tanh(x) ** 3).sum(), 0 * x[0] - 1e4])


@settings(max_examples=3)
@given(st.integers(-8, 8))
@pytest.mark.parametrize("name", ["avg_sensitivity", *NAMES[2:6]])
def test_the_scale_of_the_explanation(name, exponent):
    """Relative numbers do not know it; slopes are multiples of it."""
    factor, key, x = 2.0**exponent, jax.random.key(3), jnp.array([1.0, -2.0, 0.5, 1.5])

    def asked(factor):
        explain = xaijax.bind(xaijax.saliency, jax.tree_util.Partial(_scaled, jnp.float32(factor)))
        return named(name)(explain, x, 0, key, num_samples=5)

    # The distance of the outputs is that of the first, which is scaled, too.
    power = {"local_lipschitz": 1, "continuity": 1, "relative_output_stability": -1}.get(name, 0)
    np.testing.assert_allclose(asked(factor), asked(1.0) * factor**power, rtol=1e-4)


# --- Which perturbations count


@pytest.mark.parametrize("name", RELATIVE)
def test_perturbations_that_change_the_prediction_do_not_count(name, key):
    """The prediction is the sign of x."""

    def f(x):
        return jnp.tanh(x)[0] * jnp.array([1.0, -1.0])

    explain = xaijax.bind(xaijax.input_x_gradient, f)
    ask = (explain, jnp.array([0.5]), 0, key)
    sizes = settings_of(name, num_samples=200, sigma=1.0)
    found = named(name).details(*ask, **sizes)
    perturbations = jax.random.split(key, 3)[2]
    draw = jax.vmap(lambda i: jax.random.normal(jax.random.fold_in(perturbations, i), (1,)))
    moved = 0.5 + draw(jnp.arange(200))
    np.testing.assert_array_equal(found.counts, moved[:, 0] > 0)
    assert found.num_counted == (moved > 0).sum()
    assert 100 < found.num_counted < 180
    assert found.value == found.changes[found.counts].max()
    assert found.value < found.changes.max()


@pytest.mark.parametrize("name", RELATIVE)
def test_no_number_where_every_perturbation_changes_the_prediction(name, key):
    f = lambda x: jnp.concatenate([-1e6 * jnp.tanh(x) ** 2, jnp.full(1, -1e-6)])  # noqa: E731
    explain = xaijax.bind(xaijax.saliency, f)
    found = named(name).details(explain, jnp.zeros(1), 0, key, **settings_of(name, num_samples=9))
    assert found.num_counted == 0
    assert np.isnan(found.value)
    assert np.isnan(found.own_noise)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_prediction_needs_scores(name, key):
    explain = xaijax.bind(xaijax.saliency, lambda x: jnp.tanh(x).reshape(2, 2))
    with pytest.raises(ValueError, match=rf"^{name}: f must map .* vector .* got shape \(2, 2\)"):
        named(name)(explain, jnp.ones(4), lambda a: a.sum(), key, **settings_of(name))


def test_the_layer_must_be_one(key):
    explain = xaijax.bind(xaijax.saliency, jnp.tanh)
    rrs = metrics.relative_representation_stability
    with pytest.raises(ValueError, match=r"^relative_representation_stability: layer must name a"):
        rrs(explain, jnp.ones(4), 0, key, layer="tan")
    with pytest.raises(ValueError, match="layer must be given for a model without a convolution"):
        rrs(explain, jnp.ones(4), 0, key)


def test_a_combinator_is_asked_for_the_model_inside(key):
    """The prediction is that of the innermost model."""
    inner = xaijax.bind(xaijax.saliency, squares)
    smooth = xaijax.bind(xaijax.smooth_grad, inner, num_samples=2, sigma=0.0)
    x = jnp.arange(1.0, 5.0)
    found = metrics.relative_input_stability.details(smooth, x, 3, key, num_samples=5)
    alone = metrics.relative_input_stability.details(inner, x, 3, key, num_samples=5)
    np.testing.assert_allclose(found.value, alone.value, rtol=1e-5)
    assert found.num_counted == alone.num_counted == 5


# --- Explainers that draw


@pytest.mark.parametrize("name", NAMES[:4])
def test_what_an_explainer_draws_is_no_instability(name, key):
    explain = xaijax.bind(noisy, squares, scale=0.01)
    x = jnp.zeros(4000)
    sizes = {"num_samples": 3, "batch_size": 1}
    found = named(name).details(explain, x, jnp.ones(4000), key, **sizes)
    assert found.value == 0
    # Both draws have a variance of 0.01^2: their difference twice that, in each of the 4000 places. A step is 0.1 wide
    # in each; the mean magnitude of a normal number is sqrt(2 / pi).
    change, root = 0.01 * 2**0.5, 4000**0.5
    per_step = {"local_lipschitz": 1 / 0.1, "continuity": root * (2 / np.pi) ** 0.5 / 0.1}
    np.testing.assert_allclose(found.own_noise, change * per_step.get(name, 1), rtol=0.06)


def test_own_noise_of_the_relative_metrics(key):
    """Every perturbation keeps the prediction; the noise is that of one change per the smallest distance."""
    explain = xaijax.bind(noisy, lambda x: x[:4], scale=0.01)
    x = jnp.concatenate([jnp.array([100.0]), jnp.ones(3999)])
    found = metrics.relative_input_stability.details(explain, x, 0, key, num_samples=4)
    assert found.num_counted == 4
    # |(a - b) / a| / |(x - x') / x|, both over 4000 places
    np.testing.assert_allclose(found.own_noise, 0.01 * 2**0.5 / 0.05, rtol=0.05)


@pytest.mark.parametrize("name", ["max_sensitivity", "avg_sensitivity"])
def test_no_number_for_a_map_of_zeros(name, key):
    explain = xaijax.bind(xaijax.saliency, lambda x: 0 * x)
    assert np.isnan(named(name)(explain, jnp.ones(3), 0, key, num_samples=2))


@pytest.mark.parametrize("name", ["local_lipschitz", "continuity"])
def test_a_step_lost_in_rounding_changes_nothing(name, key):
    explain = xaijax.bind(xaijax.saliency, squares)
    x = jnp.full(3, 2.0**30)
    found = named(name).details(explain, x, 0, key, num_samples=3)
    assert found.changes.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", [*NAMES, "repeatability"])
def test_several_maps_are_refused(name, key):
    explain = xaijax.bind(two_maps, jnp.tanh)
    with pytest.raises(TypeError, match=f"^{name}: explain must return one array, got tuple"):
        named(name)(explain, jnp.ones(8), 0, key, **settings_of(name))


def test_memory_does_not_grow_with_the_perturbations(net, key):
    explain, x = xaijax.bind(xaijax.saliency, as_jax(net)), jnp.ones(4)

    def temporary_bytes(n):
        sizes = {"num_samples": n, "batch_size": 8, "layer": "tanh"}
        program = metrics.relative_representation_stability.program(explain, x, 0, key, **sizes)
        return program.compile().memory_analysis().temp_size_in_bytes

    # A perturbation leaves some numbers behind, and no explanation.
    assert temporary_bytes(4096) - temporary_bytes(64) <= 4032 * 40


# --- Repeatability


def test_repeatability_equals_the_oracle(key, x64):
    explain, x = xaijax.bind(noisy, squares, scale=0.5), jnp.zeros(7)
    found = metrics.repeatability.details(explain, x, 0, key, num_repeats=5, num_top=3)
    draws = jax.random.split(key)[0]
    a = [np.asarray(explain(x, 0, jax.random.fold_in(draws, i))) for i in range(5)]
    jaccards, spearmans, spread = oracle.repeatability(a, 3)
    np.testing.assert_allclose(found.jaccards, jaccards, rtol=1e-10)
    np.testing.assert_allclose(found.spearmans, spearmans, rtol=1e-10)
    np.testing.assert_allclose(found.spread, spread, rtol=1e-10)
    np.testing.assert_allclose(found.jaccard, np.mean(jaccards), rtol=1e-10)
    np.testing.assert_allclose(found.spearman, np.mean(spearmans), rtol=1e-10)


def test_an_explainer_that_does_not_draw_repeats_itself_ties_and_all(key):
    f = lambda x: jax.nn.relu(x) + 0 * x.sum()  # noqa: E731
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    x = jnp.array([3.0, -1.0, -2.0, -0.5, 0.1, -7.0])
    found = metrics.repeatability.details(explain, x, jnp.ones(6), key, num_top=4)
    assert found.jaccard == 1
    np.testing.assert_allclose(found.spearman, 1, rtol=1e-6)
    assert not found.spread.any()


def test_noise_alone_has_in_common_what_chance_gives(key):
    sizes = {"num_repeats": 40, "num_top": 20}
    explain, x = xaijax.bind(noisy, squares, scale=0.1), jnp.zeros(400)
    found = metrics.repeatability.details(explain, x, 0, key, **sizes)
    # Of 20 of 400 features another 20 have one in common, on average.
    np.testing.assert_allclose(found.jaccard, 1 / 39, atol=0.005)
    np.testing.assert_allclose(found.spearman, 0, atol=0.01)
    # The mean of each value is 1.
    np.testing.assert_allclose(found.spread.mean(), 0.1, rtol=0.05)
    explain = xaijax.bind(noisy, squares, scale=jnp.inf)
    found = metrics.repeatability.details(explain, x, 0, key, **sizes)
    assert np.isnan(found.jaccard)
    assert np.isnan(found.spearman)


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def signed(f, x, target, key):
    """One feature far below zero, the others a little above, in another order each time."""
    return jnp.linspace(1.0, 1.1, x.size)[jax.random.permutation(key, x.size)].at[0].set(-9.0)


def test_what_matters_is_the_magnitude_or_the_value(key):
    explain, x = xaijax.bind(signed, squares), jnp.zeros(6)
    assert metrics.repeatability(explain, x, 0, key, num_top=1) == 1
    assert metrics.repeatability(explain, x, 0, key, num_top=1, magnitude=False) < 0.6


def test_repeatability_needs_repeats_and_a_choice(key):
    explain, x = xaijax.bind(noisy, squares), jnp.zeros(5)
    with pytest.raises(ValueError, match=r"^repeatability: num_repeats must be at least 2, got 1"):
        metrics.repeatability(explain, x, 0, key, num_repeats=1)
    with pytest.raises(ValueError, match=r"^repeatability: num_top must be below the number of"):
        metrics.repeatability(explain, x, 0, key, num_top=5)
