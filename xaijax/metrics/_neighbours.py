"""Explanations of perturbed inputs: what all metrics of robustness are made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float
from xaijax.core._sampling import chunk_size, map_chunks, normals
from xaijax.core._score import Target


class Neighbours(NamedTuple):
    """What perturbations of the input do to the explanation.

    Attributes:
      value: the metric.
      changes: what it is the largest or the mean of, one for each perturbation.
      own_noise: what the metric would be if the explanation changed only because the explainer draws anew: the same
        number, with a second explanation of `x` itself, by another key, in the place of those of the perturbed inputs.
        0 for an explainer that does not draw. A change that is not well above it is no instability.
    """

    value: Float[Array, ""]
    changes: Float[Array, " n"]
    own_noise: Float[Array, ""]


#: A perturbation: a key and the input give another input.
Perturb = Callable[[Array, Array], Array]


def uniform(radius: Any) -> Perturb:
    """Drawn evenly from a cube around the input."""

    def perturb(key: Key[Array, ""], x: Array) -> Array:
        wide = jnp.promote_types(x.dtype, jnp.float32)
        return x + (radius * jax.random.uniform(key, x.shape, wide, -1.0, 1.0)).astype(x.dtype)

    return perturb


def gaussian(sigma: Any) -> Perturb:
    """With normal noise added."""
    return lambda key, x: x + (sigma * normals(key, x.shape, x.dtype)).astype(x.dtype)


class Changes(NamedTuple):
    """What `neighbours` finds, one for each perturbation.

    Attributes:
      changes: the change of the explanation.
      noise: the same if only the explainer's draws change.
      measured: what was measured at the perturbed input.
    """

    changes: Float[Array, " n"]
    noise: Float[Array, " n"]
    measured: Any


def neighbours(
    where: str,
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    perturb: Perturb,
    measure: Callable[[Array], Any],
    change: Callable[[Any, Array, Array], Float[Array, ""]],
    num_samples: int,
    batch_size: int | None,
) -> Changes:
    """`change(measure(x'), a, a')` for perturbed inputs x', where a and a' explain x and x'.

    A sampling explainer gets the same key for all of them. What is measured stays in memory for all of them, too.
    """
    explained = explaining(where, explain, x, target)
    draws, fresh, perturbations = jax.random.split(key, 3)
    a = explained(x, draws)
    again = explained(x, fresh) if explain.takes_key else a

    def one(sample: Array) -> Changes:
        moved = perturb(jax.random.fold_in(perturbations, sample), x)
        measured = measure(moved)
        found = change(measured, a, explained(moved, draws))
        return Changes(found, change(measured, a, again), measured)

    chunk = chunk_size(where, batch_size, num_samples, x)
    return map_chunks(one, jnp.arange(num_samples), chunk)


def explaining(
    where: str, explain: Bound, x: Any, target: Target
) -> Callable[[Array, Key[Array, ""]], Float[Array, "*shape"]]:
    """The explainer as a function of the input and a key, which it may not need; in single precision at least.

    Raises:
      TypeError: `x` is not one float array, or (when called) the explainer does not return one.
    """
    check_float(where, x)

    def explained(x: Array, key: Key[Array, ""]) -> Float[Array, "*shape"]:
        a = explain(x, target, *([key] if explain.takes_key else []))
        if not isinstance(a, jax.Array):
            rule, fix = "return one array", "Of several layers bind one; of an estimate its values."
            raise TypeError(complaint(where, "explain", rule, type(a).__name__, fix))
        return widened(a)

    return explained


def distance_from(x: Array) -> Callable[[Array], Float[Array, ""]]:
    """The Euclidean distance of another input."""
    return lambda moved: norm(widened(moved) - widened(x))


def per_distance(change: Float[Array, ""], distance: Float[Array, ""]) -> Float[Array, ""]:
    """A change per distance; 0 where rounding left the input as it was."""
    moved = distance > 0
    return jnp.where(moved, change / jnp.where(moved, distance, 1), 0 * change)


def widened(a: Float[Array, "..."]) -> Float[Array, "..."]:
    """In single precision at least."""
    return a.astype(jnp.promote_types(a.dtype, jnp.float32))


def norm(a: Float[Array, "..."]) -> Float[Array, ""]:
    """The Euclidean norm of all values, with a gradient at zero."""
    total = (a * a).sum()
    # Not `total > 0`, which would make 0 of NaN.
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))
