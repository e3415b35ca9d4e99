"""The features that stay in LIME's surrogate (Ribeiro, Singh & Guestrin 2016, section 3.4).

All of it works on the normal equations of the weighted regression, whose size is the number of features, and changes
them by the sweep operator (Goodnight, The American Statistician 1979), which takes a column into a regression or out
of it at the cost of one rank-one update. The lasso's path is that of least angle regression (Efron et al., Annals of
Statistics 2004).

Notation: Z the samples' features, y the scores, pi the weights, K the number of features that stay, G the weighted
covariances of the columns, c theirs with y.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from xaijax.core._errors import complaint, nearest
from xaijax.core._least_squares import normal_equations, weighted_ridge

# Of the largest number of features for which `auto` selects forward, as the reference implementation does.
_FEW = 6


def select(
    Z: Float[Array, "n d"], y: Float[Array, " n"], pi: Float[Array, " n"], method: str, K: int
) -> Bool[Array, " d"]:
    """Which K features stay in the surrogate; the lasso may keep fewer. It has no derivative: a choice has none.

    Args:
      Z: the features of the samples, those of the input in the first row.
      y: the scores.
      pi: the weights of the samples.
      method: the name of one; see `lime`.
      K: how many, at least 1 and less than there are.
    """
    method = method if method != "auto" else "forward" if K <= _FEW else "highest_weights"
    wide = jnp.promote_types(y.dtype, jnp.float32)
    arrays = (lax.stop_gradient(a).astype(wide) for a in (Z, y, pi))
    with jax.default_matmul_precision("highest"):
        return _METHODS[method](*arrays, K)


def check_selection(where: str, method: Any, K: int | None) -> None:
    """Raise unless there is such a method and it has something to say."""
    known = ("none", *_METHODS, "auto")
    if method not in known:
        rule = f"be one of {', '.join(known)}"
        fix = nearest(str(method), known)
        raise ValueError(complaint(where, "feature_selection", rule, repr(method), fix))
    if method == "none" and K is not None:
        rule = "be None with feature_selection='none', which keeps all features"
        raise ValueError(complaint(where, "num_features", rule, K))


def _highest_weights(Z: Array, y: Array, pi: Array, K: int) -> Bool[Array, " d"]:
    """Those with the largest terms in the surrogate of all features at the input."""
    terms = weighted_ridge(Z, y, pi, 0.01).coefficients * Z[0]
    return _chosen(lax.top_k(jnp.abs(terms), K)[1], Z.shape[1])


def _forward(Z: Array, y: Array, pi: Array, K: int) -> Bool[Array, " d"]:
    """One after the other, each time the one that lowers the squared error most."""
    tableau, smallest = _tableau(Z, y, pi)

    def step(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        T, chosen = state
        left: Array = jnp.diagonal(T)[:-1]
        c = T[:-1, -1]
        # A column that depends on the chosen ones adds nothing, and comes last.
        new = left > smallest
        gain = jnp.where(new, c**2, 0) / jnp.where(new, left, 1)
        j = jnp.argmax(jnp.where(chosen, -1, gain))
        return jnp.where(new[j], _sweep(T, j, 1), T), chosen.at[j].set(True)

    nothing = jnp.zeros(Z.shape[1], bool)
    return lax.fori_loop(0, K, step, (tableau, nothing))[1]


class _Path(NamedTuple):
    """A knot of the lasso's path: where a column comes into the regression or goes out of it.

    Attributes:
      T: the tableau of the columns that were active before.
      beta: the coefficients.
      c: the covariances of the columns with the residual.
      bound: what they are at most, in absolute value: the penalty.
      active: the columns that come after the knot.
      changed: the column that comes in or goes out here.
      kept: the latest set of at most K columns with a coefficient.
      steps: how many knots were passed.
    """

    T: Float[Array, "d+1 d+1"]
    beta: Float[Array, " d"]
    c: Float[Array, " d"]
    bound: Float[Array, ""]
    active: Bool[Array, " d"]
    changed: Int[Array, ""]
    kept: Bool[Array, " d"]
    steps: Int[Array, ""]


def _lasso_path(Z: Array, y: Array, pi: Array, K: int) -> Bool[Array, " d"]:
    """The nonzero coefficients of the lasso at the last knot of its path that has at most K of them."""
    d = Z.shape[1]
    tableau, smallest = _tableau(Z, y, pi)
    c = tableau[:-1, -1]
    first, bound = jnp.argmax(jnp.abs(c)), jnp.abs(c).max()
    nothing = jnp.zeros(d, bool)
    zero, end = jnp.zeros_like(c), bound * 4 * d * jnp.finfo(c.dtype).eps
    state = _Path(
        tableau, zero, c, bound, nothing.at[first].set(True), first, nothing, jnp.int32(0)
    )

    def unfinished(path: _Path) -> Array:
        # Columns come and go: a path may be longer than there are columns, but hardly ever by much.
        return (path.bound > end) & (path.steps < 8 * d + 8)

    def step(path: _Path) -> _Path:
        k, active = path.changed, path.active
        T = _sweep(path.T, k, jnp.where(active[k], 1, -1))
        sign = jnp.where(active, jnp.sign(path.c), 0)
        moved = T[:-1, :-1] @ sign
        # Along the path all active columns keep the same covariance with the residual, which falls to 0.
        direction, fall = jnp.where(active, -moved, 0), jnp.where(active, sign, moved)

        free = ~active & (jnp.diagonal(T)[:-1] > smallest)
        rising = _first(
            path.bound - path.c, 1 - fall, free & ~((jnp.arange(d) == k) & (path.c > 0))
        )
        falling = _first(
            path.bound + path.c, 1 + fall, free & ~((jnp.arange(d) == k) & (path.c < 0))
        )
        join = jnp.minimum(rising, falling)
        drop = _first(-path.beta, direction, active)
        gamma = jnp.minimum(jnp.minimum(join.min(), drop.min()), path.bound)

        leaves = (drop.min() == gamma) & (drop.min() < join.min())
        changed = jnp.where(leaves, jnp.argmin(drop), jnp.argmin(join))
        here = active & ~(leaves & (jnp.arange(d) == changed))
        return _Path(
            T,
            jnp.where(here, path.beta + gamma * direction, 0),
            path.c - gamma * fall,
            path.bound - gamma,
            here.at[changed].set(~leaves),
            changed,
            jnp.where(here.sum() <= K, here, path.kept),
            path.steps + 1,
        )

    return lax.while_loop(unfinished, step, state).kept


def _first(distance: Array, speed: Array, of: Array) -> Float[Array, " d"]:
    """After how long a step each of some columns gets there; infinite for those that never do."""
    moving = of & (distance * speed > 0)
    return jnp.where(moving, distance / jnp.where(moving, speed, 1), jnp.inf)


def _tableau(Z: Array, y: Array, pi: Array) -> tuple[Float[Array, "d+1 d+1"], Float[Array, " d"]]:
    """The normal equations with no column in the regression, and what is nothing of each column."""
    equations = normal_equations(Z, y, pi)
    G, c = equations.gram, equations.moment
    T = jnp.block([[G, c[:, None]], [c[None], equations.spread[None, None]]])
    return T, 4 * Z.shape[1] * jnp.finfo(G.dtype).eps * jnp.diagonal(G)


def _sweep(T: Float[Array, "m m"], j: Array, sign: int | Array) -> Float[Array, "m m"]:
    """Take column j into the regression (`sign` 1) or out of it (-1).

    Of the columns in the regression the tableau has minus the inverse of G, its product with the other columns of G
    and with c: the coefficients; of the others G and c for what is left of them.
    """
    pivot, row = T[j, j], T[j]
    swept = T - jnp.outer(row, row) / pivot
    swept = swept.at[j].set(sign * row / pivot).at[:, j].set(sign * row / pivot)
    return swept.at[j, j].set(-1 / pivot)


def _chosen(which: Int[Array, " k"], d: int) -> Bool[Array, " d"]:
    return jnp.zeros(d, bool).at[which].set(True)


_METHODS: dict[str, Callable[..., Bool[Array, " d"]]] = {
    "forward": _forward,
    "highest_weights": _highest_weights,
    "lasso_path": _lasso_path,
}
