"""Metrics that hide or redraw features and compare: against loops, closed forms, and models that they know."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import xaijax
from tests.cases import mlp, row
from tests.oracles import subsets as oracle
from xaijax import metrics
from xaijax.metrics._sensitivity_n import _sizes
from xaijax.metrics._subsets import random_subset

D = 6
BASELINE = np.array([0.5, -1.0, 0.0, 2.0, 0.25, -0.5])


def numpy_scores(f):
    """The perceptron's score of target 1, evaluated by NumPy."""
    (V, c), (W, b) = (tuple(np.asarray(w, np.float64) for w in layer) for layer in f.args[0])
    return lambda x: float((np.tanh(x @ V + c) @ W + b)[1])


@pytest.fixture
def known(x64):
    """A network, its score in NumPy, an input and an attribution without equal values, in double precision."""
    f = mlp(3, jnp.float64)
    return f, numpy_scores(f), row(1, jnp.float64), row(9, jnp.float64)


def _linear(w, x):
    return (x * w).sum()[None]


def weighted(*w):
    """A linear model, all numbers exact."""
    return jax.tree_util.Partial(_linear, jnp.asarray(w))


EXACT = weighted(1.0, 2.0, -4.0, 8.0, 16.0, -32.0)
ONES = jnp.ones(D)
CONTRIBUTIONS = EXACT.args[0]


def number(metric, *arguments, **settings):
    """The metric, by the program of its details: one program for both kinds of tests."""
    return getattr(metric.details(*arguments, **settings), metric.read)


def drawn_subsets(key, size, num_samples):
    return [np.flatnonzero(random_subset(key, j, size, D)) for j in range(num_samples)]


def drawn_rows(key, x, num_samples):
    """What features are redrawn by, as the docstring says: evenly from the input's range."""
    keys = [jax.random.fold_in(key, j) for j in range(num_samples)]
    x = np.asarray(x)
    uniform = [np.asarray(jax.random.uniform(k, x.shape, jnp.float64)) for k in keys]
    return [x.min() + (x.max() - x.min()) * u for u in uniform]


# --- The subsets


def test_subsets_have_their_size_and_are_drawn_evenly(key):
    """Each of the 6 pairs of 4 features in about a sixth of the samples, within four standard errors."""
    num_samples = 1200
    draw = jax.jit(
        jax.vmap(lambda j: jax.vmap(lambda n: random_subset(key, j, n, 4))(jnp.arange(5)))
    )
    drawn = np.asarray(draw(jnp.arange(num_samples)))
    np.testing.assert_array_equal(drawn.sum(-1), np.tile(np.arange(5), (num_samples, 1)))
    assert np.all(drawn[:, :-1] <= drawn[:, 1:])  # one lies in the next
    pairs = [tuple(np.flatnonzero(pair)) for pair in drawn[:, 2]]
    expected, error = num_samples / 6, np.sqrt(num_samples * 5 / 36)
    for pair in itertools.combinations(range(4), 2):
        assert abs(pairs.count(pair) - expected) < 4 * error


def test_subsets_have_their_size_where_random_words_are_equal(key, monkeypatch):
    words = jnp.array([7, 3, 7, 3, 7], jnp.uint32)
    monkeypatch.setattr(jax.random, "bits", lambda key, shape, dtype: words)
    drawn = [np.flatnonzero(random_subset(key, 0, n, 5)).tolist() for n in range(6)]
    assert drawn == [[], [1], [1, 3], [0, 1, 3], [0, 1, 2, 3], [0, 1, 2, 3, 4]]


def test_one_key_hides_the_same_features_of_all_examples(key):
    """Of any number of samples."""
    xs = jnp.stack([row(seed) for seed in range(3)])
    details = metrics.faithfulness_correlation.details
    few = {"num_samples": 5}
    found = jax.vmap(lambda x: details(EXACT, x, 0, CONTRIBUTIONS, key, **few))(xs)
    more = details(EXACT, ONES, 0, CONTRIBUTIONS, key)
    np.testing.assert_array_equal(found.sums, np.tile(more.sums[:5], (3, 1)))
    assert len(set(np.asarray(more.sums).tolist())) > 1
    assert np.any(found.drops[0] != found.drops[2])


# --- Against loops


def test_faithfulness_correlation_as_written(known, key):
    f, score, x, a = known
    found = metrics.faithfulness_correlation.details(
        f, x, 1, a, key, baseline=BASELINE, subset_size=2, num_samples=12
    )
    sums, drops = oracle.sums_and_drops(score, x, a, drawn_subsets(key, 2, 12), BASELINE)
    np.testing.assert_allclose(found.sums, sums, rtol=1e-10)
    np.testing.assert_allclose(found.drops, drops, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.correlation, oracle.pearson(sums, drops), rtol=1e-10)


def test_sensitivity_n_as_written(known, key):
    f, score, x, a = known
    found = metrics.sensitivity_n.details(
        f, x, 1, a, key, baseline=BASELINE, sizes=(1, 2, 5), num_samples=12
    )
    expected = [
        oracle.pearson(*oracle.sums_and_drops(score, x, a, drawn_subsets(key, n, 12), BASELINE))
        for n in (1, 2, 5)
    ]
    np.testing.assert_allclose(found.correlations, expected, rtol=1e-10)
    np.testing.assert_allclose(found.mean, np.mean(expected), rtol=1e-10)
    np.testing.assert_array_equal(found.sizes, [1, 2, 5])


@pytest.mark.parametrize("num_steps", [None, 3])
def test_faithfulness_estimate_as_written(known, key, num_steps):
    f, score, x, a = known
    found = metrics.faithfulness_estimate.details(
        f, x, 1, a, key, baseline=BASELINE, num_steps=num_steps
    )
    parts = oracle.in_parts(a, num_steps or D)
    sums, drops = oracle.sums_and_drops(score, x, a, parts, BASELINE)
    np.testing.assert_allclose(found.sums, sums, rtol=1e-10)
    np.testing.assert_allclose(found.drops, drops, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.correlation, oracle.pearson(sums, drops), rtol=1e-10)


def test_monotonicity_as_written(known, key):
    f, score, x, a = known
    found = metrics.monotonicity.details(f, x, 1, a, key, baseline=BASELINE)
    scores = oracle.monotonicity_scores(score, x, a, BASELINE)
    np.testing.assert_allclose(found.scores, scores, rtol=1e-10)
    rises = [q >= p for p, q in itertools.pairwise(scores[1:])]
    assert 0 < np.mean(rises) < 1
    np.testing.assert_allclose(found.share, np.mean(rises))
    assert found.monotonic == 0


@pytest.mark.parametrize("rows", [False, True])
def test_monotonicity_correlation_as_written(known, key, rows):
    f, score, x, a = known
    draws = drawn_rows(key, x, 7)
    background = None
    if rows:
        background = np.random.default_rng(2).normal(size=(4, D))
        keys = [jax.random.fold_in(key, j) for j in range(7)]
        draws = [background[int(jax.random.randint(k, (), 0, 4))] for k in keys]
    found = metrics.monotonicity_correlation.details(
        f, x, 1, a, key, num_samples=7, background=background
    )
    changes = oracle.changes_of_features(score, x, draws)
    np.testing.assert_allclose(found.changes, changes, rtol=1e-9)
    np.testing.assert_allclose(found.correlation, oracle.spearman(np.abs(a), changes), rtol=1e-10)


def test_effective_complexity_as_written(known, key):
    f, score, x, a = known
    found = metrics.effective_complexity.details(f, x, 1, a, key, num_samples=7, tolerance=0.3)
    changes = oracle.changes_of_the_rest(score, x, a, drawn_rows(key, x, 7))
    np.testing.assert_allclose(found.changes, changes, rtol=1e-9, atol=1e-25)
    assert found.number == np.flatnonzero(np.array(changes) <= 0.3 * changes[0])[0]


@pytest.mark.parametrize("perturbation", ["noisy_baseline", "gaussian"])
def test_infidelity_of_noise_as_written(known, key, perturbation):
    f, score, x, a = known
    found = metrics.infidelity.details(
        f, x, 1, a, key, perturbation=perturbation, baseline=BASELINE, sigma=0.3, num_samples=9
    )
    draws = [jax.random.normal(jax.random.fold_in(key, j), (D,), jnp.float64) for j in range(1, 10)]
    noise = [-0.3 * np.asarray(draw) for draw in draws]
    away = np.asarray(x) - BASELINE if perturbation == "noisy_baseline" else 0
    taken = [away + n for n in noise]
    np.testing.assert_allclose(
        found.value, oracle.infidelity(score, np.asarray(x), np.asarray(a), taken), rtol=1e-10
    )
    np.testing.assert_allclose(
        found.scaled,
        oracle.infidelity(score, np.asarray(x), float(found.scale) * np.asarray(a), taken),
        rtol=1e-10,
    )


def test_infidelity_of_removal_as_written(known, key):
    f, score, x, a = known
    found = metrics.infidelity.details(
        f, x, 1, a, key, perturbation="features", baseline=BASELINE, num_samples=9
    )
    # Which features the coins hide is told by an attribution that is a binary number.
    powers = 2.0 ** jnp.arange(D)
    codes = metrics.infidelity.details(
        f, x, 1, powers, key, perturbation="features", baseline=BASELINE, num_samples=9
    ).expected
    subsets = [[i for i in range(D) if int(code) >> i & 1] for code in codes]
    assert len(set(map(tuple, subsets))) > 3
    expected = oracle.infidelity_of_removal(score, x, a, subsets, BASELINE)
    np.testing.assert_allclose(found.value, expected, rtol=1e-10)


def test_sufficiency_as_written(x64, rng):
    a = rng.normal(size=(12, 2, 2)) + 1
    predictions = rng.integers(0, 2, 12)
    expected = oracle.sufficiency(a, predictions, 0.9)
    assert np.isfinite(expected).sum() > 2
    found = metrics.sufficiency(jnp.asarray(a), jnp.asarray(predictions), radius=0.9)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


# --- What is known of a linear model


CORRELATIONS = {
    "faithfulness_correlation": metrics.faithfulness_correlation,
    "sensitivity_n": metrics.sensitivity_n,
    "faithfulness_estimate": metrics.faithfulness_estimate,
}
each_correlation = pytest.mark.parametrize("name", CORRELATIONS)


@each_correlation
def test_contributions_to_a_linear_model_correlate_with_their_drops(name, key):
    metric = CORRELATIONS[name]
    np.testing.assert_allclose(number(metric, EXACT, ONES, 0, CONTRIBUTIONS, key), 1, rtol=1e-5)
    np.testing.assert_allclose(number(metric, EXACT, ONES, 0, -CONTRIBUTIONS, key), -1, rtol=1e-5)
    # Subsets of one size do not see a constant added to the attribution.
    np.testing.assert_allclose(number(metric, EXACT, ONES, 0, CONTRIBUTIONS + 3, key), 1, rtol=1e-5)


@given(a=hnp.arrays(np.float32, D, elements=st.integers(-8, 8)))
@settings(max_examples=20)
def test_correlations_stay_in_their_range(a):
    key = jax.random.key(1)
    for metric in (*CORRELATIONS.values(), metrics.monotonicity_correlation):
        value = float(number(metric, EXACT, row(0), 0, jnp.asarray(a), key))
        assert np.isnan(value) == (len(set(np.abs(a) if "mono" in metric.__name__ else a)) == 1)
        assert np.isnan(value) or abs(value) <= 1 + 1e-5


@each_correlation
def test_the_right_attribution_correlates_more_than_a_noisy_one(name, key, rng):
    metric = CORRELATIONS[name]
    noise = jnp.asarray(rng.normal(size=D), jnp.float32)
    values = [
        float(number(metric, EXACT, ONES, 0, CONTRIBUTIONS + s * noise, key)) for s in (0, 10, 100)
    ]
    assert values == sorted(values, reverse=True)


@each_correlation
def test_nothing_to_correlate_has_no_number(name, key):
    metric = CORRELATIONS[name]
    assert np.isnan(number(metric, EXACT, ONES, 0, jnp.zeros(D), key))
    # An input that is the baseline.
    assert np.isnan(number(metric, EXACT, jnp.zeros(D), 0, CONTRIBUTIONS, key))


def test_a_single_feature_has_no_correlation(key):
    found = metrics.faithfulness_correlation(weighted(2.0), jnp.ones(1), 0, jnp.ones(1), key)
    assert np.isnan(found)


def test_subset_sizes(key):
    """Half of the features by default; one that cannot be drawn is refused by name."""
    details = metrics.faithfulness_correlation.details
    ones = jnp.ones(D)
    assert np.all(details(EXACT, ONES, 0, ones, key).sums == 3)
    for size, error in ((7, ValueError), (0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^faithfulness_correlation: subset_size must be from 1"):
            details(EXACT, ONES, 0, ones, key, subset_size=size)


def test_sizes_of_sensitivity_n(key):
    with pytest.raises(ValueError, match=r"^sensitivity_n: sizes must be from 1 to .*6, got 7"):
        metrics.sensitivity_n(EXACT, ONES, 0, CONTRIBUTIONS, key, sizes=(1, 7))
    with pytest.raises(ValueError, match=r"^sensitivity_n: sizes must have at least one"):
        metrics.sensitivity_n(EXACT, ONES, 0, CONTRIBUTIONS, key, sizes=())
    with pytest.raises(TypeError, match=r"^sensitivity_n: sizes must be a tuple"):
        metrics.sensitivity_n(EXACT, ONES, 0, CONTRIBUTIONS, key, sizes=3)
    # All features at once can only be hidden in one way: that size has no correlation, and is left out.
    found = metrics.sensitivity_n.details(EXACT, ONES, 0, CONTRIBUTIONS, key, sizes=(2, 6))
    assert np.isnan(found.correlations[1])
    np.testing.assert_allclose(found.mean, found.correlations[0])
    assert _sizes(None, 100) == (1, 2, 3, 4, 7, 11, 19, 30, 49, 80)
    assert _sizes(None, 1) == (1,)


# --- Monotonicity


def test_monotonicity_of_a_linear_model(key):
    """In the order of the contributions the score falls at first: each negative one lowers it."""
    positive = weighted(1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    assert number(metrics.monotonicity, positive, ONES, 0, row(3), key) == 1  # any order
    found = metrics.monotonicity.details(EXACT, ONES, 0, CONTRIBUTIONS, key)
    np.testing.assert_array_equal(found.scores, [0, -32, -36, -35, -33, -25, -9])
    np.testing.assert_allclose(found.share, 4 / 5)
    assert found.monotonic == 0
    np.testing.assert_allclose(found.shown, np.arange(7) / 6, rtol=1e-6)


def test_the_step_from_the_baseline_is_not_counted(key):
    lowers_once = weighted(-1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    assert number(metrics.monotonicity, lowers_once, ONES, 0, jnp.arange(6.0), key) == 1
    assert number(metrics.monotonicity, lowers_once, ONES, 0, -jnp.arange(6.0), key) == 0


def test_monotonicity_without_change_has_no_number(key):
    for f, x, chosen in (
        (EXACT, jnp.zeros(D), {}),
        (EXACT, ONES, {"num_steps": 1}),
    ):
        found = metrics.monotonicity.details(f, x, 0, jnp.arange(6.0), key, **chosen)
        assert np.isnan(found.monotonic)
        assert found.flat


def test_equal_attributions_are_shown_in_any_order(key):
    """Of a flat map the score falls under some keys and not under others."""
    f = weighted(1.0, 2.0, 4.0, 8.0, 16.0, -32.0)
    keys = jax.random.split(key, 40)
    values = jnp.stack([number(metrics.monotonicity, f, ONES, 0, jnp.ones(D), k) for k in keys])
    # Monotonic if and only if the last feature comes first: in a sixth of the orders.
    assert 0 < values.sum() < 20


# --- Features that are drawn anew


def test_changes_of_a_linear_model(key):
    """Of one background row a feature changes the score by its weight."""
    found = metrics.monotonicity_correlation.details(
        EXACT, ONES, 0, CONTRIBUTIONS, key, background=jnp.zeros((1, D))
    )
    np.testing.assert_array_equal(found.changes, CONTRIBUTIONS**2)
    assert found.correlation == 1
    tied = number(
        metrics.monotonicity_correlation,
        EXACT,
        ONES,
        0,
        jnp.array([0, 0, 0, 1, 1, 1.0]),
        key,
        background=jnp.zeros((1, D)),
    )
    np.testing.assert_allclose(tied, oracle.spearman([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]))


def test_non_sensitivity_counts_both_mistakes(key):
    f = weighted(1.0, 0.0, -4.0, 8.0, 0.0, 0.0)
    x = row(0)
    for a, expected in (
        ([1, 0, 1, 1, 0, 0], 0),
        ([-1, 0, 1, 1, 5, 0], 1),
        ([1, 0, 0, 0, 0, 0], 2),
        ([0, 1, 0, 0, 1, 1], 6),
        ([0, 0, 0, 0, 0, 0], 3),  # of a map of zeros those that the score depends on
    ):
        found = metrics.non_sensitivity.details(f, x, 0, jnp.asarray(a, jnp.float32), key)
        assert found.number == expected
        np.testing.assert_array_equal(found.unused, [False, True, False, False, True, True])
        np.testing.assert_array_equal(found.unattributed, np.array(a) == 0)


def test_non_sensitivity_of_a_constant_model_and_of_what_is_nearly_zero(key):
    constant = jax.tree_util.Partial(lambda c, x: c + 0 * x[:1], jnp.float32(3))
    assert number(metrics.non_sensitivity, constant, row(0), 0, CONTRIBUTIONS, key) == D
    assert number(metrics.non_sensitivity, constant, row(0), 0, jnp.zeros(D), key) == 0
    nearly = jnp.ones(D).at[0].set(1e-6)
    for tolerance, expected in ((1e-5, 1), (1e-7, 0)):
        value = number(metrics.non_sensitivity, EXACT, row(0), 0, nearly, key, tolerance=tolerance)
        assert value == expected


def test_effective_complexity_of_a_linear_model(key):
    f, rows = weighted(8.0, 4.0, 0.0, 1.0, 0.0, 0.0), jnp.zeros((1, D))
    best = f.args[0]
    # Without any 169; then 25, 1 and 0 of it.
    for a, tolerance, expected in (
        (best, 0.5, 1),
        (-best, 0.1, 2),
        (best, 0.001, 3),
        (jnp.arange(6.0), 0.1, 6),
        (jnp.arange(6.0), 0.5, 5),
    ):
        value = metrics.effective_complexity(
            f, ONES, 0, a, key, background=rows, tolerance=tolerance
        )
        assert value == expected
    assert np.isnan(
        number(metrics.effective_complexity, f, ONES, 0, best, key, background=ONES[None])
    )


def test_background_of_another_shape_is_refused(key):
    for metric in (metrics.monotonicity_correlation, metrics.non_sensitivity):
        for wrong in (jnp.ones(D), jnp.ones((0, D)), jnp.ones((2, 5))):
            with pytest.raises(
                ValueError, match=rf"^{metric.__name__}: background must have rows like x, \(n, 6\)"
            ):
                metric(EXACT, ONES, 0, CONTRIBUTIONS, key, background=wrong)


# --- Infidelity


def test_gradients_and_contributions_of_a_linear_model_have_no_infidelity(key):
    x = jnp.array([1.0, 2.0, 0.5, -1.0, 4.0, -0.25])
    for perturbation, right, wrong in (
        ("noisy_baseline", CONTRIBUTIONS, CONTRIBUTIONS * x),
        ("gaussian", CONTRIBUTIONS, CONTRIBUTIONS * x),
        ("features", CONTRIBUTIONS * x, CONTRIBUTIONS),
    ):
        settings = {"perturbation": perturbation}
        good = metrics.infidelity.details(EXACT, x, 0, right, key, **settings)
        bad = metrics.infidelity.details(EXACT, x, 0, wrong, key, **settings)
        assert good.value < 1e-6 < bad.value
        half = metrics.infidelity.details(EXACT, x, 0, right / 2, key, **settings)
        np.testing.assert_allclose(half.scale, 2, rtol=1e-4)
        assert half.scaled < 1e-6
        assert bad.scaled <= bad.value * (1 + 1e-5)


def test_infidelity_of_a_map_of_zeros_is_the_mean_squared_drop(key):
    found = metrics.infidelity.details(EXACT, ONES, 0, jnp.zeros(D), key)
    np.testing.assert_allclose(found.value, (found.drops**2).mean(), rtol=1e-6)
    assert found.scale == 0
    assert found.scaled == found.value


@pytest.mark.parametrize("layout", ["channels first", "a map"])
def test_squares(layout, key):
    """Of a sum over all pixels each square takes its own area, in whatever layout."""
    kernel = jnp.ones((1, 1, 2, 1))

    def total(x):
        order = ("NHWC" if layout != "channels first" else "NCHW", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x[None], kernel, (1, 1), "SAME", dimension_numbers=order)
        return y.sum()[None]

    x = jnp.ones((2, 5, 7) if layout == "channels first" else (5, 7, 2))
    a = jnp.full((5, 7), 2.0) if layout == "a map" else jnp.ones(x.shape)
    settings = {"perturbation": "square", "side": 3, "num_samples": 120}
    found = metrics.infidelity.details(total, x, 0, a, key, **settings)
    np.testing.assert_array_equal(found.expected, 18)
    np.testing.assert_array_equal(found.drops, 18)
    assert found.value == 0
    # The squares have 3 x 5 places: in one of them they cover a corner, drawn as often as the others.
    rows, columns = (2, 3) if layout == "channels first" else (1, 2)
    corner = np.zeros((1, *x.shape) if a.ndim == 3 else (1, 5, 7, 1))
    corner[(0, *[0 if i in (rows - 1, columns - 1) else slice(None) for i in range(3)])] = 1
    only = jnp.asarray(corner.reshape(a.shape), jnp.float32)
    hits = (metrics.infidelity.details(total, x, 0, only, key, **settings).expected > 0).mean()
    assert abs(hits - 1 / 15) < 4 * np.sqrt(14 / 15**2 / 120)


def test_infidelity_refuses_what_it_does_not_know(key):
    with pytest.raises(ValueError, match=r"^infidelity: perturbation must be one of 'noisy_bas"):
        metrics.infidelity(EXACT, ONES, 0, CONTRIBUTIONS, key, perturbation="circle")
    with pytest.raises(TypeError, match=r"^infidelity: x must be one image"):
        metrics.infidelity(EXACT, ONES, 0, CONTRIBUTIONS, key, perturbation="square")
    f, x = weighted(1.0), jnp.ones((4, 5, 1))
    with pytest.raises(
        ValueError, match=r"^infidelity: side must be a number of pixels .*4, got 5"
    ):
        metrics.infidelity(f, x, 0, x, key, perturbation="square", side=5)


# --- Sufficiency


def test_sufficiency_needs_neighbours():
    a = jnp.array([[1.0], [1.0], [1.0], [100.0]])
    found = metrics.sufficiency(a, jnp.array([0, 0, 1, 0]), radius=0.0)
    np.testing.assert_array_equal(found, [0.5, 0.5, 0.0, np.nan])
    # The same for any multiple of the attributions; one that is not finite has no number, and is near to none.
    scaled = (1e4 * a).at[2].set(jnp.nan)
    found = metrics.sufficiency(scaled, jnp.array([0, 0, 1, 0]), radius=0.0)
    np.testing.assert_array_equal(found, [1.0, 1.0, np.nan, np.nan])


def test_sufficiency_refuses_what_does_not_fit():
    a = jnp.ones((3, 2))
    with pytest.raises(ValueError, match=r"^sufficiency: predictions must be one for each"):
        metrics.sufficiency(a, jnp.array([0, 1]))
    with pytest.raises(TypeError, match=r"^sufficiency: predictions must be integers"):
        metrics.sufficiency(a, jnp.ones(3))
    with pytest.raises(TypeError, match=r"^sufficiency: attributions must be one float array"):
        metrics.sufficiency(jnp.ones((3, 2), int), jnp.array([0, 1, 1]))
    with pytest.raises(ValueError, match=r"^sufficiency: radius must not be negative"):
        metrics.sufficiency(a, jnp.array([0, 1, 1]), radius=-1.0)


# --- Other features


def test_features_of_a_mask(key):
    """Segments hide their pixels together; a painted attribution is one value for each."""
    labels = np.array([[0, 0, 1], [2, 2, 1]])
    mask = xaijax.segments(labels, hidden=0.0)
    x, values = jnp.ones((2, 3, 1)), jnp.array([1.0, 4.0, 2.0])
    f = jax.tree_util.Partial(lambda x: jnp.stack([(x[..., 0] * values[labels]).sum()]))
    painted = metrics.faithfulness_estimate.details(f, x, 0, 2 * values[labels], key, mask=mask)
    np.testing.assert_array_equal(painted.sums, [8, 4, 2])
    np.testing.assert_array_equal(painted.drops, [8, 4, 2])
    given = metrics.faithfulness_estimate.details(f, x, 0, 2 * values, key, mask=mask)
    np.testing.assert_array_equal(given.drops, painted.drops)
    subsets = metrics.faithfulness_correlation.details(f, x, 0, 2 * values, key, mask=mask)
    np.testing.assert_array_equal(subsets.sums, subsets.drops)
    rows = jnp.zeros((1, 2, 3, 1))
    drawn = metrics.monotonicity_correlation.details(
        f, x, 0, values, key, mask=mask, background=rows
    )
    np.testing.assert_allclose(drawn.changes, (2 * values) ** 2)


def test_features_of_columns_and_tokens(key):
    columns = xaijax.columns(jnp.zeros((2, D)), groups=np.array([0, 0, 1, 1, 2, 2]))
    sums = jnp.array([3.0, 4.0, -16.0])
    np.testing.assert_allclose(
        metrics.faithfulness_estimate(EXACT, ONES, 0, sums, key, mask=columns), 1, rtol=1e-5
    )
    rows = jnp.zeros((1, D))
    found = metrics.non_sensitivity.details(
        EXACT, ONES, 0, sums, key, mask=columns, background=rows
    )
    assert found.number == 0
    text = jnp.array([5, 1, 3])
    mask = xaijax.tokens(text, mask_token=0)
    f = jax.tree_util.Partial(lambda x: x.astype(jnp.float32).sum()[None])
    a = jnp.array([5.0, 1.0, 3.0])
    np.testing.assert_allclose(
        metrics.faithfulness_estimate(f, text, 0, a, key, mask=mask), 1, rtol=1e-5
    )
    texts = jnp.zeros((1, 3), jnp.int32)
    drawn = metrics.monotonicity_correlation.details(
        f, text, 0, a, key, mask=mask, background=texts
    )
    np.testing.assert_array_equal(drawn.changes, [25, 1, 9])
    with pytest.raises(TypeError, match=r"^monotonicity_correlation: x must be one float array"):
        metrics.monotonicity_correlation(f, text, 0, a, key, mask=mask)


def test_a_map_without_channels_hides_pixels_in_all_of_them(key):
    """In either layout."""
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), jnp.float32)
    last = metrics.faithfulness_estimate.details(
        lambda x: (x.sum(2) * weights).sum()[None], jnp.ones((2, 3, 4)), 0, weights, key
    )
    np.testing.assert_allclose(last.drops, 4 * last.sums, rtol=1e-4, atol=1e-5)
    first = metrics.monotonicity_correlation.details(
        lambda x: (x.sum(0) * weights).sum()[None],
        jnp.ones((4, 2, 3)),
        0,
        weights,
        key,
        background=jnp.zeros((1, 4, 2, 3)),
    )
    np.testing.assert_allclose(first.changes, (4 * weights.reshape(-1)) ** 2, rtol=1e-4)
