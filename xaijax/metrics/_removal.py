"""Features hidden in the order of an attribution: what all metrics of removal are made of.

Notation: a_i the attribution of feature i, d the number of features, v(z) the score with the features kept where z is
true.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._game import Game
from xaijax.core._sampling import map_chunks


def ranks(values: Float[Array, " d"], key: Key[Array, ""]) -> Int[Array, " d"]:
    """The place of each feature, 0 for the highest; equal ones in an order that the key draws.

    Of the pixels of a photo, 224 x 224, it takes a CPU less than half of one forward pass of a ResNet-18.
    """
    count = values.shape[0]
    coin = jax.random.bits(key, (count,), jnp.uint32)
    *_, order = jax.lax.sort((-values, coin, jnp.arange(count)), num_keys=2)
    return jnp.zeros_like(order).at[order].set(jnp.arange(count))


def removal_scores(
    v: Game,
    values: Float[Array, " d"],
    key: Key[Array, ""],
    counts: Int[np.ndarray, " n"],
    *,
    kept: Callable[[Int[Array, " d"], Int[Array, ""]], Bool[Array, " d"]],
    num_orders: int,
    batch_size: int | None,
) -> Float[Array, " n"]:
    """The score of the features `kept(ranks, count)` for each count, the mean over random orders of equal ones."""
    rank = jax.vmap(lambda i: ranks(values, jax.random.fold_in(key, i)))(jnp.arange(num_orders))

    def at(row: Int[Array, ""]) -> Float[Array, ""]:
        return v(kept(rank[row // len(counts)], jnp.asarray(counts)[row % len(counts)]))

    rows = num_orders * len(counts)
    scores = map_chunks(at, jnp.arange(rows), v.chunk_size(batch_size, rows))
    return scores.astype(values.dtype).reshape(num_orders, len(counts)).mean(0)


class RemovalCurve(NamedTuple):
    """The score as features are hidden or shown, one part of them after another.

    Attributes:
      changed: which part of the features is hidden or shown, from 0 to 1.
      scores: the score then, the mean over the orders of equal features.
      auc: the area under the curve.
      flat: whether nothing that was changed changed the score: such as when the baseline equals the input.
    """

    changed: Float[Array, " n+1"]
    scores: Float[Array, " n+1"]
    auc: Float[Array, ""]
    flat: Bool[Array, ""]


def removal_curve(
    v: Game,
    values: Float[Array, " d"],
    key: Key[Array, ""],
    *,
    kept: Callable[[Int[Array, " d"], Int[Array, ""]], Bool[Array, " d"]],
    num_steps: int | None,
    num_orders: int,
    batch_size: int | None,
) -> RemovalCurve:
    """The score of the features `kept(ranks, count)` as `count` grows from 0 to d, in `num_steps` or one by one."""
    d = values.shape[0]
    # An equal number of features each step, up to one; all of them at the end.
    steps = d if num_steps is None else min(num_steps, d)
    counts = np.unique(np.round(np.linspace(0, d, steps + 1)).astype(np.int32))
    scores = removal_scores(
        v, values, key, counts, kept=kept, num_orders=num_orders, batch_size=batch_size
    )
    changed = jnp.asarray(counts / d, values.dtype)
    return RemovalCurve(changed, scores, jnp.trapezoid(scores, changed), is_flat(scores))


def is_flat(scores: Float[Array, " n"]) -> Bool[Array, ""]:
    """Whether all scores are the same."""
    return (scores == scores[0]).all()


def hide_first(rank: Int[Array, " d"], count: Int[Array, ""]) -> Bool[Array, " d"]:
    """All but the `count` features that come first."""
    return rank >= count


def show_first(rank: Int[Array, " d"], count: Int[Array, ""]) -> Bool[Array, " d"]:
    """Only the `count` features that come first."""
    return rank < count
