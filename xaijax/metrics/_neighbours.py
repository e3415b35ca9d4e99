"""Explanations of perturbed inputs: what all metrics of robustness are made of."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._inputs import check_float
from xaijax.core._sampling import chunk_size, map_chunks, normals
from xaijax.core._score import Target


class Neighbours(NamedTuple):
    """What perturbations of the input do to the explanation.

    Attributes:
      value: the metric.
      changes: what it is the largest or the mean of, one for each perturbation.
    """

    value: Float[Array, ""]
    changes: Float[Array, " n"]


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


def neighbours(
    where: str,
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    perturb: Perturb,
    change: Callable[[Array, Array, Array], Float[Array, ""]],
    num_samples: int,
    batch_size: int | None,
) -> Float[Array, " n"]:
    """`change(x', a, a')` for perturbed inputs x', where a and a' explain x and x'.

    A sampling explainer gets the same key for all of them.
    """
    check_float(where, x)
    draws, perturbations = jax.random.split(key)

    def attribution(x: Array) -> Array:
        a = explain(x, target, *([draws] if explain.takes_key else []))
        return a.astype(jnp.promote_types(a.dtype, jnp.float32))

    a = attribution(x)

    def one(sample: Array) -> Float[Array, ""]:
        moved = perturb(jax.random.fold_in(perturbations, sample), x)
        return change(moved, a, attribution(moved))

    chunk = chunk_size(where, batch_size, num_samples, x)
    return map_chunks(one, jnp.arange(num_samples), chunk)


def norm(a: Float[Array, "..."]) -> Float[Array, ""]:
    """The Euclidean norm of all values, with a gradient at zero."""
    total = (a * a).sum()
    # Not `total > 0`, which would make 0 of NaN.
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))
