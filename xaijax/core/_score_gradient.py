"""The derivative of the score, with respect to the input or to activations inside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.core._inputs import check_float
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import Tap


def input_gradient(where: str, f: Callable[[Any], Any], target: Target) -> Callable[[Array], Array]:
    """The function x -> dy/dx."""
    model = lower(f)

    def gradient(x: Array) -> Array:
        check_float(where, x)
        return gradient_of(lambda x: score(model(x), target, where=where), x)

    return gradient


def activation_gradient(where: str, opened: Tap, target: Target) -> Callable[[Any], Any]:
    """The function x -> dy/dA of a model opened at a layer; at several a tuple, of one backward pass."""

    def gradient(x: Any) -> Any:
        def y(d: Any) -> Array:
            return score(opened.run(d, x)[0], target, where=where)

        return gradient_of(y, opened.zeros())

    return gradient


def gradient_of(y: Callable[[Any], Array], at: Any) -> Any:
    """The gradient of a score; NaN where there is none to explain."""
    value, G = jax.value_and_grad(y)(at)
    # A rectifier would stop the NaN that stands for a score there is none of.
    return jax.tree.map(lambda g: jnp.where(jnp.isnan(value), jnp.nan, g), G)
