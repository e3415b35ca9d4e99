"""The estimators of Shapley and Banzhaf values and of interactions: definitions as oracles, closed forms, coverage.

With ones as input and zeros to hide them, the model is the game: it sees which features are kept.
"""

import functools
from itertools import combinations
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import FIRST, cnn, image, mlp, row
from tests.oracles import shapley as oracle
from xaijax.shapley._kernel import _pairs, _plan, _regress
from xaijax.shapley._sampling_shap import _allocate, _corrected

INDICES = ("SII", "k-SII", "STII", "FSII")


def _look_up(values, z):
    index = z @ 2.0 ** jnp.arange(z.size, dtype=z.dtype)
    return values[index.astype(int)][None]


def table(num_features, seed=0, dtype=jnp.float32):
    """Any game: a value for each coalition."""
    values = np.random.default_rng(seed).normal(size=2**num_features)
    return jax.tree_util.Partial(_look_up, jnp.asarray(values, dtype))


def exact(f, num_features, **settings):
    return xaijax.exact_shapley(f, jnp.ones(num_features), 0, **settings)


def kernel(f, num_features, key, **settings):
    return xaijax.kernel_shap_values(f, jnp.ones(num_features), 0, key, **settings)


def defined(f, num_features):
    return oracle.shapley_values(lambda z: f(jnp.asarray(z))[0], num_features)


# --- All coalitions: the definition


GAMES = {
    "product of two": (lambda z: z[0] * z[1] + 0 * z[2], [1 / 2, 1 / 2, 0]),
    "product of three": (lambda z: z.prod(), [1 / 3] * 3),
    # A runway for the largest aeroplane: those who need a piece of it share its cost.
    "airport": (
        lambda z: (z * jnp.array([1.0, 3.0, 4.0, 8.0])).max(),
        np.cumsum(np.array([1.0, 2.0, 1.0, 4.0]) / [4, 3, 2, 1]),
    ),
    # One left glove and two right ones; a pair is worth 1.
    "gloves": (lambda z: z[0] * jnp.maximum(z[1], z[2]), [2 / 3, 1 / 6, 1 / 6]),
}


@pytest.mark.parametrize(("game", "expected"), GAMES.values(), ids=GAMES.keys())
def test_closed_forms(game, expected, key):
    M = len(expected)

    def f(z):
        return game(z)[None]

    np.testing.assert_allclose(exact(f, M), expected, atol=1e-6)
    np.testing.assert_allclose(kernel(f, M, key).values, expected, atol=2e-6)


@pytest.mark.parametrize("M", [1, 2, 3, 8])
def test_all_coalitions_are_the_definition(M, key):
    f = table(M)
    expected = defined(f, M)
    np.testing.assert_allclose(exact(f, M), expected, atol=1e-6)
    result = kernel(f, M, key)
    np.testing.assert_allclose(result.values, expected, atol=1e-6)
    assert not result.standard_error.any()
    assert result.num_evaluations == 2**M
    assert (result.base_value, result.prediction) == (f(jnp.zeros(M))[0], f(jnp.ones(M))[0])


@pytest.mark.parametrize("M", [2, 7])
def test_all_coalitions_in_double_precision(M, key, x64):
    f = table(M, dtype=jnp.float64)
    expected = defined(f, M)
    np.testing.assert_allclose(exact(f, M), expected, atol=1e-12)
    np.testing.assert_allclose(kernel(f, M, key).values, expected, atol=1e-12)
    for index in INDICES:
        found = xaijax.shapley_interactions(f, jnp.ones(M), 0, index=index)
        wanted = oracle.interactions(lambda z: f(jnp.asarray(z))[0], M, index)
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_linear_model_with_a_background(key):
    """w (x - mean), by every method but sampling, which draws rows of the background."""
    rng = np.random.default_rng(0)
    W, x, background = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(7, 5))
    f = jax.tree_util.Partial(jnp.matmul, jnp.asarray(W.T, jnp.float32))
    rows, x32 = jnp.asarray(background, jnp.float32), jnp.asarray(x, jnp.float32)
    mask, expected = xaijax.columns(rows), W[:, 1] * (x - background.mean(0))
    found = {
        "exact": xaijax.exact_shapley(f, x32, 1, mask=mask),
        "kernel": xaijax.kernel_shap(f, x32, 1, key, mask=mask, num_samples=12),
        "linear": xaijax.linear_shap(f, x32, 1, background=rows),
        "interactions": xaijax.shapley_interactions(f, x32, 1, mask=mask).diagonal(),
    }
    for name, values in found.items():
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=name)


# --- Axioms, of whatever sees all coalitions


def test_axioms(key):
    rest = table(6, seed=1)
    dummy = jax.tree_util.Partial(lambda rest, z: rest(z.at[2].set(0.0)), rest)
    assert exact(dummy, 6)[2] == 0
    assert abs(kernel(dummy, 6, key).values[2]) < 1e-6
    for index in INDICES:
        pairs = xaijax.shapley_interactions(dummy, jnp.ones(6), 0, index=index)
        np.testing.assert_allclose(pairs[2], 0, atol=2e-6)

    def symmetric(z):
        return ((z[0] + z[1]) ** 3 * (1 + z[2]))[None]

    for values in (exact(symmetric, 3), kernel(symmetric, 3, key).values):
        np.testing.assert_allclose(values[0], values[1], rtol=1e-5)
        assert abs(values[0] - values[2]) > 1


@pytest.mark.parametrize("explain", [xaijax.kernel_shap_values, xaijax.sampling_shap_values])
def test_sampled_values_are_efficient(explain, key):
    f = table(10)
    result = explain(f, jnp.ones(10), 0, key, num_samples=40)
    total = result.prediction - result.base_value
    np.testing.assert_allclose(result.values.sum(), total, atol=2e-6)
    assert np.abs(result.values - exact(f, 10)).max() > 1e-3  # or the sum would prove nothing


@pytest.mark.parametrize("explain", [xaijax.kernel_shap, xaijax.banzhaf])
def test_sampled_values_are_linear_in_the_target(explain, key):
    f, x, weights = mlp(FIRST), row(0), jnp.array([0.5, -1.0, 2.0, 0.0])
    one_by_one = np.stack([explain(f, x, c, key, num_samples=20) for c in range(4)])
    together = explain(f, x, weights, key, num_samples=20)
    np.testing.assert_allclose(together, weights @ one_by_one, atol=1e-5)


# --- KernelSHAP


@pytest.mark.parametrize(("M", "num_samples"), [(5, 30), (6, 62), (6, 40), (7, 20), (9, 250)])
@pytest.mark.parametrize("sampling", ["kernel", "leverage"])
def test_pairs(M, num_samples, sampling, key):
    """The fixed pairs are all coalitions of their sizes, once; sampled ones have the sizes between."""
    plan = _plan("", M, num_samples, sampling)
    Z, pi = (np.asarray(a) for a in _pairs(plan, M, key))
    assert 2 * len(Z) == num_samples == 2 * (sum(plan.counts) + plan.sampled)
    fixed = {tuple(z) for z in np.concatenate([Z, ~Z])[: 2 * len(Z)]} if plan.exact else set()
    assert len(fixed) == (2**M - 2 if plan.exact else 0)
    for s, count in enumerate(plan.counts, 1):
        start = sum(plan.counts[: s - 1])
        found = {tuple(np.flatnonzero(z)) for z in Z[start : start + count]}
        subsets = list(combinations(range(M), s))
        if 2 * s == M:
            subsets = [S for S in subsets if 0 in S]
        assert found == set(subsets)
        # The kernel's own weights, up to one factor for all.
        np.testing.assert_allclose(
            pi[start] / pi[0], comb(M, 1) * (M - 1) / (comb(M, s) * s * (M - s))
        )
    sampled = Z[sum(plan.counts) :].sum(1)
    assert ((sampled > len(plan.counts)) & (sampled <= M // 2)).all()


def test_weights_of_sampled_pairs_make_up_for_how_often_they_are_drawn(key):
    """Over many draws the weight of each size is its mass."""
    M = 9
    for sampling in ("kernel", "leverage"):
        plan = _plan("", M, 500, sampling)._replace(counts=[], sampled=20000)
        plan = plan._replace(share=np.ones(4) / 4 if sampling == "leverage" else plan.mass)
        Z, pi = (np.asarray(a) for a in _pairs(plan, M, key))
        found = np.array([pi[Z.sum(1) == s].sum() for s in range(1, 5)])
        mass = np.array([2 / (s * (M - s)) for s in range(1, 5)])
        np.testing.assert_allclose(found, mass / mass.sum(), atol=0.02)
        np.testing.assert_allclose(Z[Z.sum(1) == 3].mean(0), 1 / 3, atol=0.04)


def test_regression_on_pairs_is_the_regression_on_both_coalitions(x64):
    """Against least squares on all rows, with the last feature eliminated as the reference implementation does."""
    rng = np.random.default_rng(0)
    M, n = 6, 40
    Z = rng.random((n, M)) < 0.5
    pi, y, delta = rng.random(n), rng.normal(size=(n, 2)), jnp.array(1.7)
    rows = np.concatenate([Z, ~Z]).astype(float)
    root = np.sqrt(np.concatenate([pi, pi]))
    X, last = rows[:, :-1] - rows[:, -1:], rows[:, -1]
    target = np.concatenate([y[:, 0], y[:, 1]]) - delta * last
    fit = np.linalg.lstsq(X * root[:, None], target * root)[0]
    d = (y[:, 0] - y[:, 1]) / 2
    found, _ = _regress(jnp.asarray(Z, float), jnp.asarray(pi), jnp.asarray(d), delta, 0)
    np.testing.assert_allclose(found, np.append(fit, delta - fit.sum()), rtol=1e-9)


def test_standard_error_is_what_the_fit_without_each_pair_tells(x64):
    """Leaving out one sampled pair after the other; the fixed pairs beside them stay."""
    rng = np.random.default_rng(0)
    M, n = 4, 30
    Z = np.concatenate([np.eye(M), rng.permuted(np.tile([1.0, 1, 0, 0], (n, 1)), axis=1)])
    pi = np.concatenate([np.full(M, 0.15), np.full(n, 0.4 / n)])
    d, delta = rng.normal(size=M + n), jnp.array(1.0)
    error = _regress(jnp.asarray(Z), jnp.asarray(pi), jnp.asarray(d), delta, n)[1]

    @jax.vmap
    def without(k):
        weights = jnp.where(jnp.arange(M + n) == k, 0, jnp.asarray(pi))
        return _regress(jnp.asarray(Z), weights, jnp.asarray(d), delta, 0)[0]

    left = np.asarray(without(M + jnp.arange(n)))
    expected = np.sqrt(n / (n - 1) * ((left - left.mean(0)) ** 2).sum(0))
    np.testing.assert_allclose(error, expected, rtol=1e-9)


def test_any_budget_is_exact_without_interactions_of_three(key):
    rng = np.random.default_rng(0)
    pairs, single = np.triu(rng.normal(size=(12, 12)), 1), rng.normal(size=12)

    def f(z):
        return (z @ jnp.asarray(pairs, z.dtype) @ z + z @ jnp.asarray(single, z.dtype))[None]

    expected = single + (pairs.sum(0) + pairs.sum(1)) / 2
    for num_samples in (24, 60):
        result = kernel(f, 12, key, num_samples=num_samples)
        np.testing.assert_allclose(result.values, expected, atol=2e-5)
        assert result.num_evaluations == 2 + num_samples
    assert result.standard_error.max() < 1e-4
    assert np.isinf(kernel(f, 12, key, num_samples=24).standard_error).all()


def test_many_features(key):
    """Binomials far beyond 64 bits; the first and the last are alone in their game."""
    x = jnp.ones(300)
    result = xaijax.kernel_shap_values(
        lambda z: (z[0] - 2 * z[-1])[None], x, 0, key, num_samples=700
    )
    np.testing.assert_allclose(result.values, np.eye(300)[0] - 2 * np.eye(300)[-1], atol=5e-6)


# --- Confidence


SAMPLED = {
    "kernel": (xaijax.kernel_shap_values, {"num_samples": 120}),
    "leverage": (xaijax.kernel_shap_values, {"num_samples": 120, "sampling": "leverage"}),
    "sampling": (xaijax.sampling_shap_values, {"num_samples": 64, "batch_size": 64}),
    "banzhaf": (xaijax.banzhaf_values, {"num_samples": 256}),
}


@pytest.fixture(scope="module")
def game():
    """A network on ten features that are on or off."""
    network = mlp(3, sizes=(10, 16, 1))

    def v(z):
        return network(jnp.asarray(z))[0]

    v = jax.jit(v)
    return network, oracle.shapley_values(v, 10), oracle.banzhaf_values(v, 10)


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow if m == "leverage" else ()) for m in SAMPLED]
)
def test_intervals_cover_the_values(method, game):
    """95 % intervals; their sizes are those that the spread over 200 keys shows."""
    network, *expected = game
    expected = expected[method == "banzhaf"]
    explain, settings = SAMPLED[method]
    explain = xaijax.bind(explain, network, **settings)
    keys = jax.random.split(jax.random.key(1), 200)
    result = jax.vmap(explain, (None, None, 0))(jnp.ones(10), 0, keys)
    covered = np.abs(result.values - expected) <= 1.96 * np.asarray(result.standard_error)
    assert 0.90 <= covered.mean() <= 0.99
    spread = np.std(result.values, axis=0, ddof=1)
    told = np.sqrt(np.mean(np.square(result.standard_error), axis=0))
    np.testing.assert_allclose(told, spread, rtol=0.3)
    # A regression has a bias, which falls faster than the error does: a part of one estimate's error here.
    bias = np.abs(np.mean(result.values, axis=0) - expected)
    assert (
        bias <= (8 if "kernel" in explain.explain.__name__ else 4) * spread / np.sqrt(200)
    ).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", SAMPLED)
def test_error_falls_with_the_root_of_the_work(method, game):
    network, *expected = game
    expected = expected[method == "banzhaf"]
    explain, settings = SAMPLED[method]
    errors, sizes = [], np.array([40, 80, 160, 320])
    for num_samples in sizes:
        few = xaijax.bind(explain, network, **{**settings, "num_samples": int(num_samples)})
        keys = jax.random.split(jax.random.key(2), 64)
        values = jax.vmap(few, (None, None, 0))(jnp.ones(10), 0, keys).values
        errors.append(np.sqrt(np.mean(np.square(values - expected))))
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    # Without replacement KernelSHAP is faster than the root.
    assert (-1.1 if "kernel" in explain.__name__ else -0.6) <= slope <= -0.4


# --- Tolerance

# Errors of a game of seven features that a part of the budget finds; the sampled ones in the first and second round.
TOLERANT = {
    "kernel": (xaijax.kernel_shap_values, {"num_samples": 60, "sampling": "leverage"}, [0.35]),
    "sampling": (xaijax.sampling_shap_values, {"num_samples": 300}, [0.12, 0.077]),
    "banzhaf": (xaijax.banzhaf_values, {"num_samples": 1000}, [0.12]),
}


@pytest.mark.parametrize(
    ("explain", "settings", "tolerances"), TOLERANT.values(), ids=TOLERANT.keys()
)
def test_tolerance(explain, settings, tolerances, key):
    """It stops at the first look that is good enough, wherever chunks end; all samples are those without one."""
    explain = functools.partial(explain, table(7), jnp.ones(7), 0, key, **settings)
    expected, whole = explain(), explain(tolerance=0.0)
    assert not expected.converged
    assert not whole.converged
    for field in ("values", "standard_error", "prediction", "num_evaluations", "num_samples"):
        a, b = getattr(whole, field), getattr(expected, field)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=field)
    end = expected.history
    np.testing.assert_array_equal(end.num_evaluations, [expected.num_evaluations])
    np.testing.assert_array_equal(end.standard_error, [expected.standard_error.max()])
    for tolerance in tolerances:
        result = explain(tolerance=tolerance)
        check_stopped(result, whole.history, tolerance)
        other = explain(tolerance=tolerance, batch_size=13)
        for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(result), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def check_stopped(result, full, tolerance):
    assert result.converged
    assert result.standard_error.max() <= tolerance
    # The history is the whole one up to where the tolerance is met.
    past, at = result.history, int((full.standard_error <= tolerance).argmax())
    assert 0 < at < len(full.num_evaluations) - 1
    assert (np.diff(full.num_evaluations) > 0).all()
    np.testing.assert_array_equal(past.num_evaluations[: at + 1], full.num_evaluations[: at + 1])
    np.testing.assert_allclose(past.standard_error[:at], full.standard_error[:at], rtol=1e-3)
    np.testing.assert_array_equal(past.num_evaluations[at:], result.num_evaluations)
    np.testing.assert_array_equal(past.standard_error[at:], result.standard_error.max())


@pytest.mark.parametrize("method", SAMPLED)
def test_intervals_of_stopped_runs_cover_the_values(method, game):
    """Each of 200 keys stops by itself, in one mapped loop."""
    network, *expected = game
    expected = expected[method == "banzhaf"]
    explain, settings = SAMPLED[method]
    more = {**settings, "num_samples": 2 * settings["num_samples"]}
    keys = jax.random.split(jax.random.key(3), 200)
    fixed = jax.vmap(xaijax.bind(explain, network, **settings), (None, None, 0))(
        jnp.ones(10), 0, keys
    )
    tolerance = float(np.median(fixed.standard_error.max(1)))
    stopped = xaijax.bind(explain, network, **more, tolerance=tolerance)
    result = jax.vmap(stopped, (None, None, 0))(jnp.ones(10), 0, keys)
    assert result.converged.mean() > 0.9
    assert len(set(result.num_evaluations.tolist())) > 1
    alone = stopped(jnp.ones(10), 0, keys[5])
    assert alone.num_evaluations == result.num_evaluations[5]
    np.testing.assert_allclose(alone.values, result.values[5], atol=1e-5)
    covered = np.abs(result.values - expected) <= 1.96 * np.asarray(result.standard_error)
    assert 0.90 <= covered.mean() <= 0.99


def test_stopped_banzhaf_values_are_those_of_fewer_coalitions(key):
    f, x = table(7), jnp.ones(7)
    stopped = xaijax.banzhaf_values(f, x, 0, key, tolerance=0.12)
    n = int(stopped.num_samples)
    assert stopped.num_evaluations == 2 + n < 500
    fewer = xaijax.banzhaf_values(f, x, 0, key, num_samples=n)
    for a, b in zip(stopped[:6], fewer[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_stopped_kernel_shap_is_the_regression_on_the_first_pairs(key, x64):
    """The sampled ones among them weigh together what all of them would have."""
    f, M = table(7, dtype=jnp.float64), 7
    stopped = kernel(f, M, key, num_samples=60, sampling="leverage", tolerance=0.35)
    plan = _plan("", M, 60, "leverage")
    Z, pi = _pairs(plan, M, key)
    n, fixed = int(stopped.num_samples), len(Z) - plan.sampled
    assert fixed < n < len(Z)
    pi = np.where(np.arange(len(Z)) < fixed, 1, plan.sampled / (n - fixed)) * pi
    d = jax.vmap(lambda z: (f(z)[0] - f(1 - z)[0]) / 2)(Z.astype(float))
    delta = stopped.prediction - stopped.base_value
    fit = _regress(Z[:n].astype(float), pi[:n], d[:n], delta, n - fixed)
    np.testing.assert_allclose(stopped.values, fit[0], rtol=1e-9)
    np.testing.assert_allclose(stopped.standard_error, fit[1], rtol=1e-9)


def test_nothing_is_scored_after_the_end(key):
    """But what fills the last chunk."""
    scored = []
    with xaijax.progress(scored.append):
        result = xaijax.banzhaf_values(table(7), jnp.ones(7), 0, key, tolerance=0.12)
    assert 0 <= sum(scored) - result.num_evaluations < 34
    assert sum(scored) < 500


def test_another_tolerance_costs_no_compile(key, count_compiles):
    with count_compiles() as compiled:
        for tolerance in (0.1, 0.2, jnp.float32(0.3), 1):
            xaijax.sampling_shap(table(3), jnp.ones(3), 0, key, num_samples=9, tolerance=tolerance)
    assert compiled.count("sampling_shap") == 1


def test_tolerance_of_all_coalitions_is_met(key):
    """Nothing is left to chance."""
    result = kernel(table(6), 6, key, tolerance=0.0)
    assert result.converged
    assert (result.num_evaluations, result.num_samples) == (64, 31)
    assert not kernel(lambda z: z * jnp.nan, 6, key, tolerance=0.0).converged


# --- Sampling of each feature, and Banzhaf values


def test_sampling_draws_rows_of_the_background(key):
    """Of a sum, a feature's contribution with a row b is w (x - b): its mean and spread are those of the rows."""
    rng = np.random.default_rng(3)
    rows, share = rng.normal(size=(5, 4)), np.array([1.0, 0.0, 2.0, 4.0, 1.0])
    w, x = np.array([1.0, -2.0, 0.5, 3.0]), rng.normal(size=4)
    asked = []

    def scores(xs):
        asked.append(len(xs))
        return xs @ w[:, None]

    f = xaijax.black_box(scores, num_outputs=1)
    mask = xaijax.columns(jnp.asarray(rows, jnp.float32), share)
    explain = functools.partial(xaijax.sampling_shap_values, mask=mask, num_samples=400)
    found = explain(f, jnp.asarray(x, jnp.float32), 0, key)
    # All rows for v(none) and v(all), then two evaluations a sample; what fills the last chunk up is less than it.
    assert 0 <= sum(asked) - (2 * 5 + 2 * 4 * 400) < max(asked)
    share /= share.sum()
    mean = share @ rows
    contributions, spread = w * (x - mean), np.abs(w) * np.sqrt(share @ (rows - mean) ** 2)
    np.testing.assert_allclose(found.prediction - found.base_value, contributions.sum(), rtol=1e-5)
    assert (np.abs(found.values - contributions) < 4 * found.standard_error).all()
    # Half of the samples alike, half by the spread.
    samples = 200 + 800 * spread / spread.sum()
    variance = spread**2 / samples
    expected = np.sqrt(variance * (1 - variance / variance.sum()))
    np.testing.assert_allclose(found.standard_error, expected, rtol=0.15)


def test_sampling_links_the_mean(key):
    """A link is of the mean over the background: every score is, and the values are those of that game."""
    rows = jnp.array([[0.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    mask, x = xaijax.columns(rows), jnp.array([1.0, 2.0, 3.0])
    target = xaijax.linked(0, jnp.log)

    def f(x):
        return jnp.exp(x[:1] - x[1:2]) + x[2:]

    exact = xaijax.exact_shapley(f, x, target, mask=mask)
    found = xaijax.sampling_shap_values(f, x, target, key, mask=mask, num_samples=200)
    assert (np.abs(found.values - exact) < 4 * found.standard_error + 1e-6).all()


def test_second_round_goes_where_the_spread_is(key):
    """A feature alone has no spread: what its samples would have cost goes to the others."""
    f = table(4)

    def mixed(z):
        return f(z[:4]) + 3 * z[4:].sum()

    even = xaijax.sampling_shap_values(f, jnp.ones(4), 0, key, num_samples=400)
    found = xaijax.sampling_shap_values(mixed, jnp.ones(8), 0, key, num_samples=200)
    assert found.num_evaluations == even.num_evaluations == 2 + 3200
    np.testing.assert_allclose(found.values[4:], 3, atol=1e-4)
    assert (found.standard_error[4:] < 1e-4).all()
    # 100 and 200 samples for each of the four where alike shares would leave 200.
    np.testing.assert_allclose(
        found.standard_error[:4], even.standard_error * np.sqrt(400 / 300), rtol=0.15
    )
    assert (np.abs(found.values[:4] - defined(f, 4)) < 4 * found.standard_error[:4]).all()


def test_second_round_is_shared_by_the_deviations():
    for deviation, shares in (([0.0, 1.0, 3.0], [0, 2, 6]), ([0.0, 0.0], [4, 4])):
        found = _allocate(jnp.array(deviation), 8)
        np.testing.assert_array_equal(np.bincount(found, minlength=len(shares)), shares)


def test_correction_of_the_sum_is_a_projection(x64):
    """The nearest values with the right sum, measured by the variances; and their covariance."""
    rng = np.random.default_rng(0)
    mean, variance, delta = rng.normal(size=3), rng.random(3), jnp.array(2.0)
    values, told = _corrected(jnp.asarray(mean), jnp.asarray(variance), delta)
    # Away from the sum's plane by weighted least squares: mean + V 1 (1' V 1)^-1 (delta - 1' mean).
    V, ones = np.diag(variance), np.ones((3, 1))
    gain = V @ ones / (ones.T @ V @ ones)
    np.testing.assert_allclose(values, mean + gain[:, 0] * (2.0 - mean.sum()), rtol=1e-12)
    kept = np.eye(3) - gain @ ones.T
    np.testing.assert_allclose(told, np.diag(kept @ V @ kept.T), rtol=1e-12)


def test_banzhaf_of_a_majority(key):
    """Three votes, two decide: each is decisive in two of four coalitions. The Shapley value of each is 1/3."""
    result = xaijax.banzhaf_values(
        lambda z: (z.sum() > 1.5).astype(z.dtype)[None], jnp.ones(3), 0, key
    )
    assert (np.abs(result.values - 0.5) < 4 * result.standard_error).all()
    assert (result.standard_error < 0.05).all()
    assert result.num_evaluations == 1002


def test_banzhaf_is_the_difference_of_two_means(key, x64):
    """The coalitions are recorded; the standard error is Welch's."""
    seen = []
    game = np.random.default_rng(0).normal(size=2**4)

    def record(rows):
        seen.append(np.asarray(rows))
        return game[(np.asarray(rows) @ 2 ** np.arange(4)).astype(int)][:, None]

    f = xaijax.black_box(record, 1)
    result = xaijax.banzhaf_values(f, jnp.ones(4), 0, key, num_samples=50, batch_size=52)
    Z = np.concatenate(seen)[2:].astype(bool)
    assert Z.shape == (50, 4)
    y = game[Z @ 2 ** np.arange(4)]
    for i in range(4):
        on, off = y[Z[:, i]], y[~Z[:, i]]
        np.testing.assert_allclose(result.values[i], on.mean() - off.mean(), rtol=1e-9)
        error = np.sqrt(on.var(ddof=1) / len(on) + off.var(ddof=1) / len(off))
        np.testing.assert_allclose(result.standard_error[i], error, rtol=1e-9)


def test_error_is_infinite_where_chance_cannot_be_told(key):
    result = xaijax.banzhaf_values(table(3), jnp.ones(3), 0, key, num_samples=2)
    assert np.isinf(result.standard_error).any()


# --- The linear model


def test_linear_shap_refuses_what_is_not_linear():
    """NaN, and an error inside `checked`; large features that vary little are no reason."""
    rows = jnp.stack([row(1), row(2)])
    assert np.isnan(xaijax.linear_shap(mlp(FIRST), row(0), 0, background=rows)).all()
    explain = xaijax.checked(lambda x: xaijax.linear_shap(mlp(FIRST), x, 0, background=rows))
    with pytest.raises(
        ValueError, match=r"linear_shap: f must be linear in x, got a score that misses"
    ):
        explain(row(0))
    f = mlp(FIRST, sizes=(6, 4))
    found = xaijax.linear_shap(f, 1e4 + row(0), 0, background=1e4 + rows)
    np.testing.assert_allclose(found, xaijax.linear_shap(f, row(0), 0, background=rows), atol=0.01)


# --- Interactions


@pytest.mark.parametrize("index", INDICES)
def test_interactions_are_the_definition(index):
    for M in (1, 2, 5):
        f = table(M)
        found = xaijax.shapley_interactions(f, jnp.ones(M), 0, index=index)
        expected = oracle.interactions(lambda z, f=f: f(jnp.asarray(z))[0], M, index)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        total = np.triu(found).sum() - (f(jnp.ones(M)) - f(jnp.zeros(M)))[0]
        assert (abs(total) < 1e-5) == (index != "SII" or M == 1)


def test_interactions_of_order_two_are_the_game():
    rng = np.random.default_rng(0)
    pairs = np.triu(rng.normal(size=(5, 5)), 1) + np.diag(rng.normal(size=5))

    def f(z):
        return (z @ jnp.asarray(pairs, z.dtype) @ z)[None]

    expected = pairs + np.triu(pairs, 1).T
    for index in ("k-SII", "STII", "FSII"):
        found = xaijax.shapley_interactions(f, jnp.ones(5), 0, index=index)
        np.testing.assert_allclose(found, expected, atol=1e-5)


# --- Costs


def flops(explain, *args):
    cost = jax.jit(explain).lower(*args).compile().cost_analysis()
    assert cost is not None
    return cost["flops"]


def test_one_key_for_a_batch_draws_and_factorises_once(key):
    """Of 16 examples, what one more costs is the scores and a matrix product."""
    f = mlp(FIRST, sizes=(24, 4))
    xs, keys = jnp.ones((16, 24)), jax.random.split(key, 16)
    settings = {"num_samples": 200, "batch_size": 202}
    explain = xaijax.bind(xaijax.kernel_shap_values, f, **settings)

    def many(xs, keys):
        return jax.vmap(explain, (0, None, 0 if keys.ndim else None))(xs, 0, keys)

    shared, apart = flops(many, xs, key), flops(many, xs, keys)
    one = flops(many, xs[:1], key)
    # The normal equations alone take 2 * 100 * 24^2 = 115 thousand for each.
    assert apart - shared > 15 * 115_000
    scored = 2 * 202 * 24 * 4 + 24 * 202  # and masking
    assert (shared - one) / 15 < 2 * scored + 12 * 100 * 24


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [("kernel_shap", None), ("sampling_shap", None), ("banzhaf", None), ("banzhaf", 0.1)],
)
def test_memory_does_not_grow_with_the_samples(method, tolerance):
    model, x = cnn(FIRST), image(0, size=64)
    mask = xaijax.segments(xaijax.superpixels(np.zeros((64, 64, 3)), "grid", rows=4, columns=4))
    # In chunks of 33 for either size, since chunks are made even.
    per = 2 * mask.num_features if method == "sampling_shap" else 1
    settings = {"mask": mask, "batch_size": 33, "tolerance": tolerance}
    small, large = (
        getattr(xaijax, method)
        .program(model, x, 0, jax.random.key(0), **settings, num_samples=size // per)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for size in (2**7, 2**12)
    )
    assert large <= 1.1 * small, f"{small} bytes for few samples, {large} for many"


# --- Bad input

F, X, KEY = mlp(FIRST), row(0), jax.random.key(0)
WRONG = {
    "too many features": (
        lambda: xaijax.exact_shapley(lambda x: x[:2], jnp.ones(21), 0),
        r"exact_shapley: mask must have at most 20 features.*, got 21\. .*kernel_shap",
    ),
    "too many features of pairs": (
        lambda: xaijax.shapley_interactions(lambda x: x[:2], jnp.ones(21), 0),
        r"shapley_interactions: mask must have at most 20 features.*, got 21\.",
    ),
    "too few coalitions": (
        lambda: xaijax.kernel_shap(F, X, 0, KEY, num_samples=11),
        r"kernel_shap: num_samples must be at least 12, .* the 6 features, got 11\.",
    ),
    "too few contributions": (
        lambda: xaijax.sampling_shap(F, X, 0, KEY, num_samples=3),
        r"sampling_shap: num_samples must be at least 4: .*, got 3\.",
    ),
    "sampling": (
        lambda: xaijax.kernel_shap(F, X, 0, KEY, sampling="uniform"),
        r"kernel_shap: sampling must be 'kernel' or 'leverage', got 'uniform'\.",
    ),
    "index": (
        lambda: xaijax.shapley_interactions(F, X, 0, index="STI"),
        r"shapley_interactions: index must be one of 'SII', .*, got 'STI'\.",
    ),
    "background of other columns": (
        lambda: xaijax.linear_shap(F, X, 0, background=jnp.ones((3, 7))),
        r"linear_shap: background must be a number or an array that broadcasts to x, \(6,\)",
    ),
}


@pytest.mark.parametrize(("call", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors(call, message, count_compiles):
    with count_compiles() as compiled, pytest.raises(ValueError, match=message):
        call()
    assert not [name for name in compiled if name.startswith(("kernel", "exact", "sampling"))]


@jax.tree_util.register_static
class NoFeatures:
    num_features = 0

    def __call__(self, x, z):
        return x


@pytest.mark.parametrize(
    "name",
    ["exact_shapley", "shapley_interactions", "kernel_shap", "sampling_shap", "banzhaf", "owen"],
)
def test_no_feature(name):
    explain = getattr(xaijax, name)
    keys = (KEY,) if "num_samples" in explain.static else ()
    with pytest.raises(ValueError, match=rf"{name}: mask must have at least one feature, got 0\."):
        explain(F, X, 0, *keys, mask=NoFeatures())


def test_link_is_that_of_the_mean_score(key):
    """Not the mean of links: log-odds of a mean over the background."""
    f, rows = (
        xaijax.probabilities(mlp(FIRST, sizes=(5, 8, 3))),
        row(1, size=5)[None] * jnp.array([[1.0], [2.0]]),
    )
    mask, x = xaijax.columns(rows), row(0, size=5)
    logit = jax.scipy.special.logit

    def v(z):
        shown = np.where(z.astype(bool), x, rows)
        p = np.mean([f(jnp.asarray(r))[2] for r in shown])
        return np.log(p / (1 - p))

    expected = oracle.shapley_values(v, 5)
    target = xaijax.linked(2, logit)
    np.testing.assert_allclose(xaijax.exact_shapley(f, x, target, mask=mask), expected, atol=2e-6)
    result = xaijax.kernel_shap_values(f, x, target, key, mask=mask)
    np.testing.assert_allclose(result.values, expected, atol=2e-6)
    np.testing.assert_allclose(result.base_value, v(np.zeros(5)), rtol=1e-5)
    links = xaijax.exact_shapley(f, x, lambda y: logit(y[2]), mask=mask)
    assert np.abs(links - expected).max() > 1e-3
    with pytest.raises(TypeError, match=r"linked: link must be a function, got 'logit'"):
        xaijax.linked(2, "logit")


def test_one_feature(key):
    """All of the difference, and nothing left to chance."""

    def f(z):
        return 5 * z + 2

    for explain in (xaijax.kernel_shap_values, xaijax.sampling_shap_values):
        result = explain(f, jnp.ones(1), 0, key)
        assert (result.values[0], result.standard_error[0]) == (5, 0)
    assert kernel(f, 1, key).num_evaluations == 2
