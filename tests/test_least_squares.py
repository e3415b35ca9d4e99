"""Weighted ridge regression against NumPy's least squares, and what it does when it is singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from tests.oracles.lime import ridge_regression


def problem(rng, n, d, dtype=np.float64):
    return (
        rng.normal(size=(n, d)).astype(dtype),
        rng.normal(size=n).astype(dtype),
        rng.uniform(0.1, 2.0, size=n).astype(dtype),
    )


@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("num_rows", [8, 50])
def test_oracle(ridge, num_rows, rng, x64):
    X, y, weights = problem(rng, num_rows, 5)
    fit = xaijax.weighted_ridge(X, y, weights, ridge)
    expected = ridge_regression(X, y, weights, ridge)
    np.testing.assert_allclose(fit.coefficients, expected.coefficients, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(fit.intercept, expected.intercept, rtol=1e-10)
    np.testing.assert_allclose(fit.r2, expected.r2, rtol=1e-10, atol=1e-13)


def test_condition(rng, x64):
    X, y, weights = problem(rng, 30, 4)
    centred = X - weights @ X / weights.sum()
    gram = (centred * weights[:, None]).T @ centred + 0.3 * np.eye(4)
    fit = xaijax.weighted_ridge(X, y, weights, 0.3)
    np.testing.assert_allclose(fit.condition, np.linalg.cond(gram, 1), rtol=1e-10)


def test_ill_conditioned_columns_in_float32(rng):
    """Columns nearly alike: the step of refinement keeps the fit, if not each coefficient."""
    X, _, weights = problem(rng, 200, 3)
    X = np.column_stack([X, X[:, 0] + 1e-2 * rng.normal(size=200)])
    y = X @ [1.0, 2.0, 3.0, 4.0]
    fit = xaijax.weighted_ridge(*(a.astype(np.float32) for a in (X, y, weights)), 0.0)
    assert 1e4 < fit.condition < 1e6
    np.testing.assert_allclose(fit.coefficients, [1, 2, 3, 4], atol=5e-3)
    np.testing.assert_allclose(X @ np.asarray(fit.coefficients) + fit.intercept, y, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_duplicated_column_shares_its_coefficient(precision, rng, request):
    if precision == "float64":
        request.getfixturevalue("x64")
    X, _, weights = problem(rng, 40, 3, precision)
    X = np.column_stack([X, X[:, 1]])
    y = X @ np.array([1.0, 2.0, 3.0, 0.0], precision) + 1
    tolerance = 100 * np.finfo(precision).eps
    for ridge, condition in ((0.0, np.inf), (1e-3, None)):
        fit = xaijax.weighted_ridge(X, y, weights, ridge)
        assert np.isfinite(fit.coefficients).all()
        np.testing.assert_allclose(fit.coefficients[1], fit.coefficients[3], rtol=1e-3)
        assert fit.condition == condition or fit.condition > 1e3
    fit = xaijax.weighted_ridge(X, y, weights, 0.0)
    assert np.isinf(fit.condition)
    np.testing.assert_allclose(fit.coefficients, [1, 1, 3, 1], rtol=tolerance)
    np.testing.assert_allclose(fit.intercept, 1, rtol=tolerance)


def test_constant_column_gets_nothing(rng):
    X, y, weights = problem(rng, 30, 2, np.float32)
    X[:, 1] = 5.0
    fit = xaijax.weighted_ridge(X, y, weights, 0.0)
    alone = xaijax.weighted_ridge(X[:, :1], y, weights, 0.0)
    np.testing.assert_allclose(fit.coefficients, [alone.coefficients[0], 0.0], atol=1e-5)


def test_constant_values(rng):
    X, _, weights = problem(rng, 30, 3, np.float32)
    fit = xaijax.weighted_ridge(X, np.full(30, 4.0, np.float32), weights, 1.0)
    np.testing.assert_allclose(fit.coefficients, np.zeros(3), atol=1e-6)
    np.testing.assert_allclose(fit.intercept, 4.0, rtol=1e-6)


def test_rows_of_weight_zero_do_not_count(rng):
    X, y, weights = problem(rng, 40, 3, np.float32)
    weights[20:] = 0
    fit = xaijax.weighted_ridge(X, y, weights, 0.1)
    part = xaijax.weighted_ridge(X[:20], y[:20], weights[:20], 0.1)
    np.testing.assert_allclose(fit.coefficients, part.coefficients, rtol=1e-4)
    np.testing.assert_allclose(fit.r2, part.r2, rtol=1e-4)


@pytest.mark.parametrize("duplicate", [False, True])
def test_derivative_equals_finite_differences(duplicate, rng, x64):
    """Also through the pseudo-inverse, that is, where the normal equations are singular."""
    X, y, weights = problem(rng, 12, 3)
    if duplicate:
        X[:, 2] = X[:, 0]
    mix, along = rng.normal(size=3), rng.normal(size=12)

    def total(y):
        return mix @ xaijax.weighted_ridge(X, y, weights, 0.0).coefficients

    derivative = jax.grad(total)(jnp.asarray(y)) @ along
    # Linear in y: any step will do.
    np.testing.assert_allclose(derivative, total(y + along) - total(y), rtol=1e-9)


_fit = jax.jit(xaijax.weighted_ridge)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 10), st.floats(-50, 50))
def test_shift_and_scale(seed, scale, shift):
    """The fit follows y: scaled with it, and a shift goes to the intercept alone."""
    X, y, weights = problem(np.random.default_rng(seed), 20, 3, np.float32)
    fit, moved = _fit(X, y, weights, 0.5), _fit(X, scale * y + shift, weights, 0.5)
    size = scale * np.abs(y).max() + abs(shift)
    np.testing.assert_allclose(moved.coefficients, scale * fit.coefficients, atol=1e-5 * size)
    np.testing.assert_allclose(moved.intercept, scale * fit.intercept + shift, atol=1e-5 * size)
