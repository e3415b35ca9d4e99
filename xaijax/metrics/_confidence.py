"""What is left of a score where only what a map points at is shown: of Chattopadhay et al. 2018 and what followed.

Notation: x the input, a its attribution, L the map in [0, 1], Y the score of x, O that of x times L.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.metrics._features import positions


class Confidence(NamedTuple):
    """A score, and what is left of it for each of some maps."""

    Y: Float[Array, ""]
    O: Float[Array, " n"]  # noqa: E741 - as the papers call it
    area: Float[Array, " n"]

    @property
    def drop(self) -> Float[Array, " n"]:
        """The part of the score that is lost; NaN unless the score is positive."""
        positive = self.Y > 0
        lost = jnp.maximum(self.Y - self.O, 0) / jnp.where(positive, self.Y, 1)
        return jnp.where(positive, lost, jnp.nan)


def confidence(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    maps: list[Float[Array, "*shape"]],
    baseline: Any = 0.0,
) -> Confidence:
    """The score of `x`, and of `x` times each map, which fades into the baseline.

    Raises:
      ValueError: a map has neither the shape of `x` nor that without its channels.
    """
    inputs = [x]
    for a in maps:
        L = positions(where, f, x, a).over_channels(scaled(a))
        inputs.append((L * x + (1 - L) * jnp.asarray(baseline, x.dtype)).astype(x.dtype))
    model = lower(f)
    scores = jax.vmap(lambda x: score(model(x), target, where=where))(jnp.stack(inputs))
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    return Confidence(scores[0], scores[1:], jnp.stack([scaled(a).mean() for a in maps]))


def scaled(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """A map in [0, 1], at least in single precision: below 0 is 0, the highest is 1, and all are 0 if none is above."""
    a = a.astype(jnp.promote_types(a.dtype, jnp.float32))
    top = a.max()
    return jnp.where(top <= 0, 0, jnp.maximum(a, 0) / jnp.where(top <= 0, 1, top))
