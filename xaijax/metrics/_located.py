"""How much of an attribution lies on the object: what several metrics of localisation share.

Notation: a the attribution, s the mask of the object, n the number of positions.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.core._sorting import kth_lowest_of_floats


class Located(NamedTuple):
    """The part of an attribution that lies on the object, beside what a map that knows nothing reaches.

    Attributes:
      part: the metric.
      area: the part of all positions that the object covers: what a uniform map is expected to reach.
      lift: how many times that is reached; NaN if the mask is empty.
    """

    part: Float[Array, ""]
    area: Float[Array, ""]
    lift: Float[Array, ""]


def located(part: Float[Array, ""], truth: Bool[Array, "*shape"]) -> Located:
    """A part of the attribution with what it compares to; NaN if the mask is empty."""
    part = jnp.where(truth.any(), part, jnp.nan)
    area = truth.astype(part.dtype).mean()
    return Located(part, area, part / area)


def positive_mass(attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]) -> Located:
    """The share of the positive attribution that lies on the object; NaN if there is none."""
    a = jnp.maximum(attribution, 0).astype(jnp.promote_types(attribution.dtype, jnp.float32))
    # The largest is 1, so that no sum overflows; without a positive value 0/0.
    a = a / a.max()
    truth = truth.astype(bool)
    return located(jnp.where(truth, a, 0).sum() / a.sum(), truth)


def top_hits(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"], k: Any
) -> Float[Array, ""]:
    """How many of the k positions of the highest attribution lie on the object.

    Where equal values reach across the border, what a draw among them is expected to give.
    """
    wide = jnp.promote_types(attribution.dtype, jnp.float32)
    lowest = kth_lowest_of_floats(attribution, attribution.size + 1 - jnp.maximum(k, 1))
    above, tied = attribution > lowest, attribution == lowest
    part = (k - above.sum()).astype(wide) / tied.sum()
    return (above & truth).sum() + part * (tied & truth).sum()
