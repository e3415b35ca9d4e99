"""Random subsets of features, hidden: what metrics of correlation are made of.

Notation: a_i the attribution of feature i, d the number of features, v(z) the score with the features kept where z is
true, S a subset of the features.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._game import Game
from xaijax.core._sampling import map_chunks
from xaijax.core._sorting import kth_lowest


class HiddenSubsets(NamedTuple):
    """What hiding subsets of features does, against what the attribution says of them.

    Attributes:
      sums: the sum of the attributions of each subset.
      drops: by how much the score falls without it.
      correlation: Pearson's, of both; NaN if one of them is constant.
    """

    sums: Float[Array, " n"]
    drops: Float[Array, " n"]
    correlation: Float[Array, ""]


def random_subset(
    key: Key[Array, ""], sample: Int[Array, ""], size: Any, num_features: int
) -> Bool[Array, " d"]:
    """A subset of a size, drawn evenly: the features with the lowest of as many random words.

    It depends on the sample's number alone, not on how many there are; one of fewer features lies in it.
    """
    words = jax.random.bits(jax.random.fold_in(key, sample), (num_features,), jnp.uint32)
    last = kth_lowest(words, jnp.maximum(size, 1))
    lower, equal = words < last, words == last
    # Of equal words, which are rare, the first features.
    feature = jnp.arange(num_features, dtype=jnp.uint32)
    left = size - lower.sum()
    place = kth_lowest(jnp.where(equal, feature, num_features), jnp.maximum(left, 1))
    return lower | (equal & (feature <= place) & (left > 0))


def hidden_subsets(
    v: Game,
    values: Float[Array, " d"],
    key: Key[Array, ""],
    *,
    sizes: Sequence[int],
    num_samples: int,
    batch_size: int | None,
) -> tuple[Float[Array, "num_samples sizes"], Float[Array, "num_samples sizes"]]:
    """The sums and drops of random subsets of these sizes; those of one sample lie one in the other."""
    d, count = values.shape[0], len(sizes)

    def at(row: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        # Row 0 hides nothing.
        sample, which = jnp.divmod(jnp.maximum(row - 1, 0), count)
        size = jnp.where(row == 0, 0, jnp.asarray(sizes)[which])
        hidden = random_subset(key, sample, size, d)
        return jnp.where(hidden, values, 0).sum(), v(~hidden)

    rows = num_samples * count + 1
    sums, scores = map_chunks(at, jnp.arange(rows), v.chunk_size(batch_size, rows))
    scores = scores.astype(values.dtype)
    shape = (num_samples, count)
    return sums[1:].reshape(shape), (scores[0] - scores[1:]).reshape(shape)


def check_subset_size(where: str, argument: str, size: int, num_features: int) -> None:
    """Raise unless subsets of a size can be drawn.

    Raises:
      ValueError: it is below 1 or above the number of features.
      TypeError: it is no Python integer.
    """
    rule = f"be from 1 to the number of features, {num_features}"
    if type(size) is not int:
        raise TypeError(complaint(where, argument, rule, repr(size)))
    if not 1 <= size <= num_features:
        raise ValueError(complaint(where, argument, rule, size))
