"""Features drawn anew: what the metrics of Nguyen & Martinez (arXiv:2007.07584v1) are made of.

Notation: a_i the attribution of feature i, d the number of features, f(x) the score of the input, x' an input from
which some features are taken over, S those that are kept.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float
from xaijax.core._lower import lower
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._model import is_black_box
from xaijax.core._sampling import chunk_size, map_chunks
from xaijax.core._score import Target, score
from xaijax.metrics._features import Positions, feature_values, positions


class Resampling(NamedTuple):
    """The features of an input, and its score when some of them are drawn anew.

    Attributes:
      values: the attribution of each feature.
      v: the score with the features kept where z is true, the others drawn.
      chunk: how many scores to compute at once, of a number of them.
    """

    values: Float[Array, " d"]
    v: Callable[[Bool[Array, " d"], Key[Array, ""]], Float[Array, ""]]
    chunk: Callable[[int], int]


def resampling(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    *,
    mask: Mask | None,
    background: Any,
    batch_size: int | None,
) -> Resampling:
    """The features of a mask, or the positions of the attribution, drawn from rows or evenly from the input's range.

    Raises:
      ValueError: the attribution fits neither the input nor the mask, or `background` has no rows like `x`.
    """
    draw = _draws(where, x, background)
    mask = positions(where, f, x, attribution) if mask is None else default_mask(where, x, mask)
    values = feature_values(where, attribution, mask)
    model = lower(f)
    painted = jnp.shape(paint(mask, jnp.zeros(mask.num_features)))
    if not isinstance(mask, Positions) and painted != jnp.shape(x)[: len(painted)]:
        rule, got = f"paint its features on x, {jnp.shape(x)}", f"shape {painted}"
        raise ValueError(complaint(where, "mask", rule, got))

    def v(z: Bool[Array, " d"], key: Key[Array, ""]) -> Float[Array, ""]:
        changed = paint(mask, jnp.where(z, 0.0, 1.0)) > 0
        if isinstance(mask, Positions):
            changed = mask.over_channels(changed)
        changed = changed.reshape(*changed.shape, *[1] * (x.ndim - changed.ndim))
        shown = jnp.where(changed, draw(key), x)
        return score(model(shown), target, where=where).astype(values.dtype)

    def chunk(rows: int) -> int:
        return chunk_size(where, batch_size, rows, x, black_box=is_black_box(f))

    return Resampling(values, v, chunk)


def _draws(where: str, x: Any, background: Any) -> Callable[[Key[Array, ""]], Array]:
    """Inputs to take features from."""
    if background is None:
        check_float(where, x)
        low, high = x.min(), x.max()
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return lambda key: (low + (high - low) * jax.random.uniform(key, x.shape, wide)).astype(
            x.dtype
        )
    rows = jnp.asarray(background)
    if rows.shape[1:] != jnp.shape(x) or not rows.shape[:1] > (0,):
        rule = f"have rows like x, (n, {', '.join(map(str, jnp.shape(x)))})"
        raise ValueError(complaint(where, "background", rule, f"shape {rows.shape}"))
    return lambda key: rows[jax.random.randint(key, (), 0, rows.shape[0])].astype(x.dtype)


def squared_changes(
    drawn: Resampling,
    key: Key[Array, ""],
    kept: Callable[[Int[Array, ""]], Bool[Array, " d"]],
    count: int,
    num_samples: int,
) -> tuple[Float[Array, " count"], Float[Array, ""]]:
    """The mean squared change of the score with the features `kept(i)`, for i < count; and the score itself.

    Sample j is the same x' for all of them.
    """

    def at(row: Int[Array, ""]) -> Float[Array, ""]:
        # Row 0 keeps everything.
        i, sample = jnp.divmod(jnp.maximum(row - 1, 0), num_samples)
        return drawn.v(kept(i) | (row == 0), jax.random.fold_in(key, sample))

    rows = count * num_samples + 1
    scores = map_chunks(at, jnp.arange(rows), drawn.chunk(rows))
    changes = (scores[1:] - scores[0]).reshape(count, num_samples)
    return (changes**2).mean(1), scores[0]
