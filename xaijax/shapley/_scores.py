"""What the estimators share: the scores of coalitions, in chunks, and the result with its standard errors.

An estimator sees only the game: v(z) is the score of the input with the features kept where z is true. Notation of
this folder: M the number of features, 0 the coalition of none of them, 1 that of all, Delta = v(1) - v(0).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from xaijax.core._errors import complaint
from xaijax.core._mask import Game
from xaijax.core._sampling import chunk_size, map_chunks

#: A game of more features has too many coalitions to score them all.
MOST_FEATURES = 20


class GameValues(NamedTuple):
    """Estimated values of a game's players and how sure they are.

    Attributes:
      values: of each feature, `(num_features,)`.
      standard_error: of each value; 0 where nothing is left to chance, infinite where chance cannot be told.
      base_value: the score with every feature hidden.
      prediction: the score with every feature kept.
      num_evaluations: how many scores of coalitions the values rest on.
    """

    values: Float[Array, " num_features"]
    standard_error: Float[Array, " num_features"]
    base_value: Float[Array, ""]
    prediction: Float[Array, ""]
    num_evaluations: Int[Array, ""]


def scores(
    v: Callable[[Array], Array],
    coalition: Callable[[Int[Array, ""]], Bool[Array, " M"]],
    count: int,
    chunk: int,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " count"]]:
    """v(0), v(1), and the scores of `count` coalitions, `chunk` rows at a time."""

    def row(k: Int[Array, ""]) -> Float[Array, ""]:
        # With the two ends among the rows the model is compiled once.
        return v(jnp.where(k < 0, k == -1, coalition(jnp.maximum(k, 0)) if count else k == -1))

    y = map_chunks(row, jnp.arange(-2, count), min(chunk, 2 + count))
    return y[0], y[1], y[2:]


def every_score(where: str, v: Game, M: int, batch_size: int | None) -> Float[Array, " 2**M"]:
    """The scores of all coalitions: the bits of a row's number say which features are kept."""
    if M > MOST_FEATURES:
        rule = f"have at most {MOST_FEATURES} features, since all 2^M coalitions are scored"
        fix = "xaijax.permutation_shap and xaijax.kernel_shap take any number."
        raise ValueError(complaint(where, "mask", rule, M, fix))
    chunk = chunk_size(where, batch_size, 2**M, v.like)
    return map_chunks(lambda row: v(members(row, M)), jnp.arange(2**M), chunk)


def members(row: Int[Array, ""], M: int) -> Bool[Array, " M"]:
    """The coalition of a number's bits."""
    return (row >> jnp.arange(M)) & 1 == 1
