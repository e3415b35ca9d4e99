"""Repeatability of an explainer that draws: what another key changes of the explanation of one input.

Near the stability indices of LIME (Visani et al., 2022; arXiv:2001.11757), which ask the same of its coefficients.

Notation: a_r the explanation by the r-th key, S_r the k features that matter most in it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._sampling import chunk_size, map_chunks
from xaijax.core._score import Target
from xaijax.metrics._correlation import mean_ranks, pearson
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import explaining
from xaijax.metrics._removal import ranks


class Repeatability(NamedTuple):
    """How alike the explanations by several keys are.

    Attributes:
      jaccard: the mean over all pairs of the part that the features which matter most have in common.
      spearman: the mean over all pairs of the rank correlation of all features.
      spread: of each value of the attribution, the standard deviation over the keys as a part of the size of the
        mean; 0 for one that is always the same, infinite for another whose mean is 0.
      jaccards: those of all pairs.
      spearmans: those of all pairs; NaN where an explanation is constant.
    """

    jaccard: Float[Array, ""]
    spearman: Float[Array, ""]
    spread: Float[Array, "*shape"]
    jaccards: Float[Array, " pairs"]
    spearmans: Float[Array, " pairs"]


@metric(
    "robustness",
    "higher",
    read="jaccard",
    static=("num_repeats", "num_top", "magnitude", "batch_size"),
)
def repeatability(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    num_repeats: int = 10,
    num_top: int = 5,
    magnitude: bool = True,
    batch_size: int | None = None,
) -> Repeatability:
    r"""Whether an explainer that draws finds the same features each time.

    .. math:: \frac{2}{R (R - 1)} \sum_{r < s} \frac{|S_r \cap S_s|}{|S_r \cup S_s|}

    over R explanations of the same input, each by its own key.

    Differs from the paper's indices of LIME, which ask a surrogate with few coefficients, in taking any explainer: the
    k features that matter most stand for those that LIME selects, the spread of each value for its intervals.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained: an output's index, float weights over the outputs, or a function of them.
      key: what the explainer draws, and which of equal features come first: the same in all repeats.
      num_repeats: R, how many explanations; at least 2. All of them are kept in memory. Static.
      num_top: k, how many features; less than there are. Static.
      magnitude: whether features matter by the size of their value, or by the value itself, so that those against the
        target come last. Static.
      batch_size: how many explanations are computed at once; changes the result by rounding at most. Static.

    Returns:
      The mean Jaccard index, 0-d, between 0 and 1, and 1 for an explainer that does not draw; NaN if an explanation is
      not finite. Two random choices of k of d features have about k / (2 d - k) in common. Higher is better.
      `repeatability.details` gives the rank correlation and the spread of each value, too.

    Raises:
      ValueError: a size < 1, `num_repeats` < 2, `num_top` not below the number of features; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.permutation_shap, lambda x: x**2, num_permutations=1)
      >>> target = jnp.array([1.0, 2.0, 4.0])  # a sum of features has the same Shapley values in every order
      >>> repeatability(explain, jnp.ones(3), target, jax.random.key(0), num_top=2)
      Array(1., dtype=float32)

    References:
      visani2022statistical
    """
    where = "repeatability"
    if num_repeats < 2:
        raise ValueError(complaint(where, "num_repeats", "be at least 2", num_repeats))
    explained = explaining(where, explain, x, target)
    draws, ties = jax.random.split(key)

    def one(repeat: Array) -> Float[Array, "*shape"]:
        return explained(x, jax.random.fold_in(draws, repeat))

    chunk = chunk_size(where, batch_size, num_repeats, x)
    a = map_chunks(one, jnp.arange(num_repeats), chunk)
    values = a.reshape(num_repeats, -1)
    if num_top >= values.shape[1]:
        rule = f"be below the number of features, {values.shape[1]}"
        raise ValueError(complaint(where, "num_top", rule, num_top))
    values = jnp.abs(values) if magnitude else values
    # Equal features fall the same way each time: a tie is no noise.
    top = jax.vmap(lambda row: ranks(row, ties) < num_top)(values)
    ranked = jax.vmap(mean_ranks)(values)
    finite = jnp.isfinite(a).all()

    def alike(pair: Array) -> tuple[Array, Array]:
        first, second = pair
        both, either = (top[first] & top[second]).sum(), (top[first] | top[second]).sum()
        found = (both / either).astype(values.dtype), pearson(ranked[first], ranked[second])
        return jax.tree.map(lambda number: jnp.where(finite, number, jnp.nan), found)

    pairs = jnp.asarray(np.stack(np.triu_indices(num_repeats, 1), 1))
    jaccards, spearmans = map_chunks(alike, pairs, chunk)
    return Repeatability(jaccards.mean(), spearmans.mean(), _spread(a), jaccards, spearmans)


def _spread(a: Float[Array, "n *shape"]) -> Float[Array, "*shape"]:
    """The standard deviation of each value as a part of the size of its mean."""
    # Rounding leaves something of the deviation of equal numbers.
    constant = (a == a[0]).all(0)
    return jnp.where(constant, 0, a.std(0, ddof=1) / jnp.abs(a.mean(0)))
