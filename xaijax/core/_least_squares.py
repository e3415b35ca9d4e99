"""Weighted ridge regression with an intercept, in closed form: the surrogate of LIME and of KernelSHAP."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float


class LinearFit(NamedTuple):
    """A weighted linear fit.

    Attributes:
      coefficients: of the columns.
      intercept: the constant term, which is not penalised.
      r2: the weighted coefficient of determination; NaN when `y` is constant.
      condition: the condition number of the normal equations (1-norm); infinite if they were singular, and then
        the coefficients are those of smallest norm.
    """

    coefficients: Float[Array, " d"]
    intercept: Float[Array, ""]
    r2: Float[Array, ""]
    condition: Float[Array, ""]


def weighted_ridge(
    X: Float[Array, "n d"],
    y: Float[Array, " n"],
    weights: Float[Array, " n"],
    ridge: float | Array,
    kept: Bool[Array, " d"] | None = None,
) -> LinearFit:
    r"""Minimise :math:`\sum_i w_i (y_i - b - X_i \beta)^2 + \lambda \lVert\beta\rVert^2`.

    Centring by the weighted means takes the intercept out; the normal equations are solved by Cholesky, or where
    they are singular by the pseudo-inverse. What depends on `X` and `weights` alone is computed once under a
    `vmap` over `y`.

    Args:
      X: the design matrix.
      y: the values to fit.
      weights: of the rows, not negative.
      ridge: the penalty; not scaled by the number of rows (as in scikit-learn).
      kept: the columns of the regression; the others get the coefficient 0. All by default.

    Examples:
      >>> X = jnp.array([[0.0], [1.0], [2.0]])
      >>> fit = weighted_ridge(X, 1.0 + 2.0 * X[:, 0], jnp.ones(3), 0.0)
      >>> fit.coefficients, fit.intercept, fit.r2
      (Array([2.], dtype=float32), Array(1., dtype=float32), Array(1., dtype=float32))
    """
    if y.dtype.itemsize < 4:
        # A factorisation needs more than half precision, and LAPACK has none in it.
        X, single, weights = (a.astype(jnp.float32) for a in (X, y, weights))
        fit = weighted_ridge(X, single, weights, ridge, kept)
        return jax.tree.map(lambda value: value.astype(y.dtype), fit)
    # An accelerator's default precision would leave few digits to a nearly singular problem.
    with jax.default_matmul_precision("highest"):
        return _fit(X, y, weights, ridge, kept)


class NormalEquations(NamedTuple):
    """What a weighted regression with an intercept knows of its rows: all is centred by the weighted means.

    Attributes:
      X: the columns, `(n, d)`, less `X_mean`.
      y: the values, `(n,)`, less `y_mean`.
      X_mean: the means of the columns.
      y_mean: the mean of the values.
      gram: the weighted products of the columns with one another.
      moment: and with the values.
      spread: and of the values with themselves.
    """

    X: Float[Array, "n d"]
    y: Float[Array, " n"]
    X_mean: Float[Array, " d"]
    y_mean: Float[Array, ""]
    gram: Float[Array, "d d"]
    moment: Float[Array, " d"]
    spread: Float[Array, ""]


def normal_equations(X: Array, y: Array, weights: Array) -> NormalEquations:
    """The normal equations, without a penalty; nothing but `y`, `moment` and `spread` depends on `y`."""
    total = weights.sum()
    X_mean, y_mean = weights @ X / total, weights @ y / total
    Xc, yc = X - X_mean, y - y_mean
    gram, moment = (Xc * weights[:, None]).T @ Xc, Xc.T @ (weights * yc)
    return NormalEquations(Xc, yc, X_mean, y_mean, gram, moment, weights @ yc**2)


def _fit(X: Array, y: Array, weights: Array, ridge: float | Array, kept: Array | None) -> LinearFit:
    Xc, yc, X_mean, y_mean, gram, moment, spread = normal_equations(X, y, weights)
    gram = gram + ridge * jnp.eye(X.shape[1], dtype=X.dtype)
    if kept is not None:
        # Without a column that is kept, a score of NaN has to show all the same.
        gram, nothing = _without(gram, kept), jnp.where(jnp.isnan(spread), jnp.nan, 0)
        moment = jnp.where(kept, moment, nothing)
    inverse, condition = _inverse(gram)
    beta = inverse @ moment
    # One step of refinement: the inverse loses the digits that the condition number says, the residual does not.
    left = Xc.T @ (weights * (yc - Xc @ beta)) - ridge * beta
    beta = beta + inverse @ (left if kept is None else jnp.where(kept, left, 0))
    residual = weights @ (yc - Xc @ beta) ** 2
    # What a constant leaves after its mean is taken away is rounding.
    flat = spread <= weights.sum() * (4 * jnp.finfo(y.dtype).eps * jnp.abs(y).max()) ** 2
    r2 = jnp.where(flat, jnp.nan, 1 - residual / jnp.where(flat, 1, spread))
    return LinearFit(beta, y_mean - X_mean @ beta, r2, condition)


def _without(gram: Float[Array, "d d"], kept: Bool[Array, " d"]) -> Float[Array, "d d"]:
    """The normal equations of some columns; in the others' place a diagonal that leaves the condition as it is."""
    inside = jnp.where(kept & kept[:, None], gram, 0)
    largest: Array = jnp.diagonal(inside).max()
    return inside + jnp.diag(jnp.where(kept, 0, jnp.where(kept.any(), largest, 1)))


def _inverse(gram: Float[Array, "d d"]) -> tuple[Float[Array, "d d"], Float[Array, ""]]:
    """The inverse of a symmetric positive (semi-)definite matrix and its condition number."""
    d = gram.shape[0]
    if d == 0:
        return gram, jnp.ones((), gram.dtype)
    factor = jnp.linalg.cholesky(gram)
    inverse = jax.scipy.linalg.cho_solve((factor, True), jnp.eye(d, dtype=gram.dtype))
    norm = jnp.abs(gram).sum(0).max()
    condition = norm * jnp.abs(inverse).sum(0).max()
    # Beyond it no digit of the factor can be trusted.
    good = jnp.isfinite(condition) & (condition < 1 / (d * jnp.finfo(gram.dtype).eps))
    solved = lax.cond(good, lambda: inverse, lambda: jnp.linalg.pinv(gram, hermitian=True))
    return solved, jnp.where(good, condition, jnp.inf)
