"""SP-LIME: a few explanations that show what a model is like (Ribeiro, Singh & Guestrin, KDD 2016, section 4).

Notation: W the explanations, a row for each of n inputs, I_j the importance of feature j, V the rows that are picked,
B how many.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from xaijax.core._errors import check_positive, complaint


class SubmodularPick(NamedTuple):
    """Which explanations to look at.

    Attributes:
      rows: their numbers, `(num_picks,)`, the one that covers most first.
      coverage: the importance of all features that have a weight in these rows, and in those before: the last one is
        the coverage of all picks, at most the sum of `importance`.
      importance: of each feature, over all rows.
    """

    rows: Int[Array, " num_picks"]
    coverage: Float[Array, " num_picks"]
    importance: Float[Array, " d"]


def submodular_pick(W: Float[Array, "n d"], num_picks: int = 5) -> SubmodularPick:
    r"""A few of many explanations that cover the important features: a global view of a model.

    .. math::
        I_j = \sqrt{\sum_i |W_{ij}|}, \qquad c(V) = \sum_j \mathbf{1}[\exists i \in V: |W_{ij}| > 0]\; I_j

    The rows are picked one after the other, each time one that raises the coverage c most: it is at least 1 - 1/e of
    the best. Of rows that raise it alike the last is taken, as the reference implementation does. An explanation of
    all features covers everything: make `W` by `lime` with `num_features`.

    Args:
      W: the explanations `(n, d)`, such as `jax.vmap(lime)` gives, of the same features for all.
      num_picks: B, how many to pick.

    Raises:
      ValueError: `W` is no matrix, or has fewer than `num_picks` rows.

    Examples:
      >>> W = jnp.array([[4.0, 0.0, 0.0], [5.0, 0.0, 1.0], [0.0, 4.0, 0.0]])
      >>> pick = submodular_pick(W, 2)
      >>> pick.rows, pick.coverage  # I = (3, 2, 1)
      (Array([1, 2], dtype=int32), Array([4., 6.], dtype=float32))

    References:
      ribeiro2016lime
    """
    W = jnp.asarray(W)
    check_positive("submodular_pick", num_picks=num_picks)
    if W.ndim != 2 or len(W) < num_picks:
        rule = f"be rows of explanations (n, d), at least num_picks={num_picks}"
        raise ValueError(complaint("submodular_pick", "W", rule, f"shape {W.shape}"))
    weight = jnp.abs(W).astype(jnp.promote_types(W.dtype, jnp.float32))
    importance = jnp.sqrt(weight.sum(0))  # Algorithm 1, line 4
    n, has = len(W), weight > 0

    def pick(
        state: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        covered, free = state
        coverage = jnp.where(covered | has, importance, 0).sum(1)  # Eq. (3)
        best = n - 1 - jnp.argmax(jnp.where(free, coverage, -1)[::-1])
        return (covered | has[best], free.at[best].set(False)), (best, coverage[best])  # Eq. (4)

    nothing = (jnp.zeros(W.shape[1], bool), jnp.ones(n, bool))
    rows, coverage = lax.scan(pick, nothing, None, length=num_picks)[1]
    return SubmodularPick(rows.astype(jnp.int32), coverage, importance)
