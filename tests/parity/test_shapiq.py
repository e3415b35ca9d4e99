"""Interactions of features against the package `shapiq` 1.4, from the scores of all coalitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax

pytestmark = pytest.mark.parity

# The largest difference allowed, as a part of the largest value. Their FSII weights the two ends of the regression by
# 1e8, where here they hold exactly: of that the rest is left in double precision.
SOFT_ENDS = 1e-8
TOLERANCE = {"float32": 3e-6, "float64": 1e-12}


@pytest.fixture(params=TOLERANCE)
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


@pytest.mark.parametrize("num_features", [2, 7])
def test_interactions(precision, num_features):
    """Theirs is a sparse sum of the interactions of one and of two; here the singles are the diagonal."""
    shapiq = pytest.importorskip("shapiq")
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(num_features, 12)), rng.normal(size=12)

    def predict(Z):
        return np.tanh(Z.astype(precision) @ w1) @ w2

    def f(z):
        hidden = jnp.tanh(z @ jnp.asarray(w1, precision))
        return (hidden @ jnp.asarray(w2, precision))[None]

    theirs = shapiq.ExactComputer(predict, num_features)
    for index in ("SII", "k-SII", "STII", "FSII"):
        values = theirs(index, 2)
        singles, pairs = values.get_n_order_values(1), values.get_n_order_values(2)
        found = xaijax.shapley_interactions(f, jnp.ones(num_features, precision), 0, index=index)
        expected = pairs + np.diag(singles)
        tolerance = max(TOLERANCE[precision], SOFT_ENDS if index == "FSII" else 0)
        atol = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol, err_msg=index)
