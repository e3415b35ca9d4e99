"""The selection of features against the oracle and scikit-learn's path, and the surrogate that is left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import lars_path

import xaijax
from tests.oracles import lime as oracle
from tests.test_lime import curved, fit, linear
from xaijax.perturbation._selection import select

METHODS = ("forward", "highest_weights", "lasso_path")
chosen = jax.jit(select, static_argnums=(3, 4))


def problem(seed, binary, n=40, d=9):
    """Samples, scores and weights; the input first."""
    rng = np.random.default_rng(seed)
    Z = (rng.random((n, d)) < 0.5).astype(float) if binary else rng.normal(size=(n, d))
    Z[0] = 1.0 if binary else Z[0]
    y = Z @ rng.normal(size=d) + np.sin(3 * Z @ rng.normal(size=d))
    return Z, y, np.exp(-rng.random(n))


def lasso(Z, y, weights, num_features):
    """The last knot of scikit-learn's path with few enough coefficients, as the reference walks it."""
    root = np.sqrt(weights)[:, None]
    X, t = ((a - np.average(a, 0, weights)) * root for a in (Z, y[:, None]))
    path = lars_path(X, t[:, 0], method="lasso")[2]
    # A coefficient that leaves at a knot is zero there up to rounding.
    found = [set(np.flatnonzero(np.abs(beta) > 1e-12)) for beta in path.T[1:]]
    return next(s for s in reversed(found) if len(s) <= num_features)


ORACLES = {
    "forward": oracle.forward_selection,
    "highest_weights": oracle.highest_weights,
    "lasso_path": lasso,
}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_selection(method, binary, x64):
    for K in (1, 4, 8):
        for seed in range(5):
            data = problem(seed, binary)
            found = np.flatnonzero(chosen(*data, method, K))
            assert set(found) == ORACLES[method](*data, K), (seed, K)


def test_lasso_path_on_which_coefficients_leave(x64):
    """Of correlated columns: a coefficient returns to zero, and the path has more knots than columns."""
    rng = np.random.default_rng(2)
    longer = 0
    for _ in range(8):
        Z = rng.normal(size=(30, 9)) @ rng.normal(size=(9, 9))
        y, weights = rng.normal(size=30), np.ones(30)
        longer += lars_path(Z - Z.mean(0), y - y.mean(), method="lasso")[2].shape[1] > 10
        for K in (2, 5, 8):
            found = np.flatnonzero(chosen(Z, y, weights, "lasso_path", K))
            assert set(found) == lasso(Z, y, weights, K)
    assert longer > 2


@pytest.mark.parametrize(("K", "method"), [(6, "forward"), (7, "highest_weights")])
def test_auto(K, method, x64):
    differs = 0
    for seed in range(5):
        data = problem(seed, False)
        found = chosen(*data, "auto", K)
        np.testing.assert_array_equal(found, chosen(*data, method, K))
        other = "highest_weights" if method == "forward" else "forward"
        differs += (found != chosen(*data, other, K)).any()
    assert differs


@pytest.mark.parametrize("method", METHODS)
def test_dependent_and_constant_columns(method, x64):
    """A copy of a column and a constant add nothing: no method takes them for something."""
    Z, y, weights = problem(0, False, d=6)
    Z[:, 3], Z[:, 4] = Z[:, 1], 2.0
    found = np.asarray(chosen(Z, y, weights, method, 3))
    assert not found[4]
    assert method == "highest_weights" or not (found[3] and found[1])


@pytest.mark.parametrize("method", METHODS)
def test_constant_scores(method, x64):
    Z, _, weights = problem(0, True)
    assert np.asarray(chosen(Z, np.ones(40), weights, method, 3)).sum() <= 3


# --- In the surrogate


@pytest.mark.parametrize("method", METHODS)
def test_surrogate_of_the_selected_features(method, key, x64):
    """It is that of these columns alone: weights, fit and condition."""
    recorder = linear(np.zeros(7))
    recorder.game = curved
    settings = {"num_samples": 60, "num_features": 3, "feature_selection": method}
    result = fit(recorder, 7, key, ridge=0.5, **settings)
    kept = np.asarray(result.selected)
    assert 0 < kept.sum() <= 3
    Z, weights = recorder.rows, oracle.sample_weights(recorder.rows, 0.25)
    expected = oracle.ridge_regression(Z[:, kept], curved(Z), weights, 0.5)
    np.testing.assert_allclose(result.weights[kept], expected.coefficients, rtol=1e-9)
    np.testing.assert_array_equal(result.weights[~kept], 0)
    np.testing.assert_allclose(result.intercept, expected.intercept, rtol=1e-9)
    np.testing.assert_allclose(result.r2, expected.r2, rtol=1e-9)
    local = expected.intercept + expected.coefficients.sum()
    np.testing.assert_allclose(result.local_prediction, local, rtol=1e-9)
    centred = Z[:, kept] - weights @ Z[:, kept] / weights.sum()
    gram = (centred.T * weights) @ centred + 0.5 * np.eye(kept.sum())
    np.testing.assert_allclose(result.condition, np.linalg.cond(gram, 1), rtol=1e-9)


def test_relevant_features_of_many_are_found(key):
    """Without a penalty the surrogate of the three that matter is exact."""
    w = np.zeros(20)
    w[[2, 7, 11]] = [1.0, -2.0, 0.5]
    settings = {"num_samples": 300, "num_features": 3, "feature_selection": "lasso_path"}
    result = fit(linear(w), 20, key, ridge=0.0, kernel_width=1.0, **settings)
    np.testing.assert_allclose(result.weights, w, atol=1e-5)
    np.testing.assert_allclose(result.r2, 1.0, atol=1e-6)


def test_as_many_features_as_there_are(key):
    few, all_of_them = (
        fit(linear(np.arange(4.0)), 4, key, num_samples=30, num_features=n) for n in (9, None)
    )
    np.testing.assert_array_equal(few.weights, all_of_them.weights)
    assert few.selected.all()


@pytest.mark.parametrize("method", METHODS)
def test_each_target_and_each_example_of_a_batch_selects_its_own(method, key):
    """Also beside a target out of range, which gives NaN for itself alone."""
    W = jnp.array([[5.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 5.0]])
    settings = {"num_samples": 50, "num_features": 1, "feature_selection": method}
    explain = xaijax.bind(xaijax.lime, lambda x: W @ x, **settings)
    xs = jnp.array([[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 9.0, 1.0]])
    weights = jax.vmap(explain, (0, 0, None))(xs, jnp.array([0, 2, 1]), key)
    np.testing.assert_array_equal(weights[jnp.array([0, 2])] != 0, [[1, 0, 0, 0], [0, 0, 1, 0]])
    assert np.isnan(weights[1]).all()


def test_derivative_is_that_of_the_surrogate_of_the_same_features(key, x64):
    """A choice has no derivative, and must not break the others'."""
    explain = xaijax.bind(
        xaijax.lime,
        lambda x: (jnp.sin(x) * x[::-1])[:2].sum()[None],
        num_samples=30,
        num_features=2,
        feature_selection="lasso_path",
    )

    @jax.jit
    def total(x):
        return (explain(x, 0, key) * jnp.arange(1.0, 5.0)).sum()

    x, along = jnp.array([0.3, -1.0, 2.0, 0.5]), jnp.array([1.0, 2.0, -1.0, 0.5])
    slope = (total(x + 1e-6 * along) - total(x - 1e-6 * along)) / 2e-6
    np.testing.assert_allclose(jax.grad(total)(x) @ along, slope, rtol=1e-6)


# --- What the surrogate says of itself, several targets, many explanations


def test_effective_sample_size(key, x64):
    recorder = linear(np.arange(5.0))
    result = fit(recorder, 5, key, num_samples=40, kernel_width=0.1)
    pi = oracle.sample_weights(recorder.rows, 0.1)
    np.testing.assert_allclose(
        result.effective_sample_size, pi.sum() ** 2 / (pi**2).sum(), rtol=1e-9
    )
    wide = fit(recorder, 5, key, num_samples=40, kernel_width=1e4)
    np.testing.assert_allclose(wide.effective_sample_size, 40, rtol=1e-6)


def test_several_targets_share_the_evaluations(key):
    asked = []

    def predict(rows):
        asked.append(len(rows))
        return rows[:, :3] * np.array([1.0, 2.0, 3.0])

    explain = xaijax.bind(xaijax.lime, xaijax.black_box(predict, 3), num_samples=25)
    many = jax.vmap(explain, (None, 0, None))(jnp.ones(5), jnp.arange(3), key)
    assert asked == [25]
    np.testing.assert_allclose(many[1], explain(jnp.ones(5), 1, key), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_submodular_pick(seed):
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(12, 8)) * (rng.random((12, 8)) < 0.25)
    pick = jax.jit(xaijax.submodular_pick, static_argnums=1)(W, 6)
    assert list(pick.rows) == oracle.submodular_pick(W, 6)
    np.testing.assert_allclose(pick.importance, np.sqrt(np.abs(W).sum(0)), rtol=1e-6)
    covered = [pick.importance[(W[pick.rows[: i + 1]] != 0).any(0)].sum() for i in range(6)]
    np.testing.assert_allclose(pick.coverage, covered, rtol=1e-5)
