"""Where an attacked input may lie: in a ball around the input, and between bounds.

Notation: x the input, delta what is added to it, epsilon the largest norm of that.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import checkify
from jaxtyping import Array, Float, Key

from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float, outside
from xaijax.core._score import is_checking


@dataclasses.dataclass(frozen=True)
class Ball:
    """The inputs at most `epsilon` from `x`, in single precision at least. Made by `ball`."""

    x: Array
    epsilon: Any
    norm: str
    low: Any
    high: Any

    def bounded(self, moved: Array) -> Array:
        """What lies outside the bounds set to them; no further from `x`, which lies inside."""
        return jnp.clip(moved, self.low, self.high)

    def project(self, moved: Array) -> Array:
        """The nearest input of the ball, then set to the bounds."""
        delta = moved - self.x
        if self.norm == "linf":
            return self.bounded(self.x + jnp.clip(delta, -self.epsilon, self.epsilon))
        return self.bounded(self.x + delta * jnp.minimum(1, self.epsilon / nonzero(length(delta))))

    def steepest(self, G: Array) -> Array:
        """The step of norm 1 along which the objective of that gradient rises most."""
        return jnp.sign(G) if self.norm == "linf" else direction(G)

    def draw(self, key: Key[Array, ""]) -> Array:
        """An input drawn evenly from the ball, then set to the bounds."""
        shape, dtype = self.x.shape, self.x.dtype
        if self.norm == "linf":
            delta = jax.random.uniform(key, shape, dtype, -1.0, 1.0)
        else:
            where, how_far = jax.random.split(key)
            radius = jax.random.uniform(how_far, (), dtype) ** (1 / self.x.size)
            delta = radius * direction(jax.random.normal(where, shape, dtype))
        return self.bounded(self.x + self.epsilon * delta)

    def size(self, moved: Array) -> Float[Array, ""]:
        """How far an input is from `x`."""
        delta = moved - self.x
        return jnp.abs(delta).max() if self.norm == "linf" else length(delta)


def ball(where: str, x: Any, epsilon: Any, norm: str, low: Any, high: Any) -> Ball:
    """The ball around an input; an input outside the bounds is NaN.

    Raises:
      ValueError: there is no such norm.
      TypeError: `x` is not one float array.
    """
    check_float(where, x)
    if norm not in ("linf", "l2"):
        raise ValueError(complaint(where, "norm", "be 'linf' or 'l2'", repr(norm)))
    wrong = outside(x, low, high, jnp).any()
    if is_checking():
        checkify.check(~wrong, f"{where}: x must lie between low and high.")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    held: Any = jnp.where(wrong, jnp.nan, wide)
    return Ball(held, epsilon, norm, low, high)


def climb(
    around: Ball,
    start: Array,
    look: Callable[[Array], tuple[Float[Array, ""], Array]],
    best: tuple[Array, Any],
    num_steps: int,
    step_size: Any,
) -> tuple[Array, Float[Array, " n"]]:
    """Steps uphill from `start`, each projected to the ball.

    Args:
      around: the ball.
      start: where it begins.
      look: what an input is worth, and the gradient to follow.
      best: an input and its worth, to begin with.
      num_steps: how many steps.
      step_size: how long they are; by default such that they can reach any place of the ball from any other.

    Returns:
      The best input met, the last included, and the worth of each.
    """
    # As Madry et al. choose it for attacks of 100 steps.
    step_size = 2.5 * around.epsilon / num_steps if step_size is None else step_size

    def step(state: tuple[Array, Array, Array], _: None) -> tuple[Any, Array]:
        moved, best, highest = state
        worth, G = (a.astype(moved.dtype) for a in look(moved))
        # Not `worth > highest`: what is NaN stays so.
        better = ~(worth <= highest)
        best, highest = jnp.where(better, moved, best), jnp.where(better, worth, highest)
        return (around.project(moved + step_size * around.steepest(G)), best, highest), worth

    begin = (start, best[0], jnp.asarray(best[1], start.dtype))
    # One more look than steps: at the last input, too.
    (_, found, _), worths = lax.scan(step, begin, length=num_steps + 1)
    return found, worths


def direction(a: Array) -> Array:
    """Scaled to a Euclidean norm of 1; zeros stay zeros."""
    # The factor cancels in the derivative as well.
    a = a / nonzero(lax.stop_gradient(jnp.abs(a).max()))
    return a / jnp.sqrt(nonzero((a * a).sum()))


def length(a: Array) -> Float[Array, ""]:
    """The Euclidean norm, without overflow."""
    largest = jnp.abs(a).max()
    return largest * jnp.sqrt(((a / nonzero(largest)) ** 2).sum())


def nonzero(a: Float[Array, ""]) -> Float[Array, ""]:
    """A number to divide by: 1 in the place of 0."""
    return jnp.where(a == 0, 1, a)
