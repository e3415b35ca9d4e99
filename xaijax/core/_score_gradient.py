"""The derivative of the score, with respect to the input or to activations inside."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float
from xaijax.core._interpreter import on_the_path
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import Tap


def input_gradient(where: str, f: Callable[[Any], Any], target: Target) -> Callable[[Array], Array]:
    """The function x -> dy/dx."""

    def gradient(x: Array) -> Array:
        check_float(where, x)
        return gradient_of(where, lambda x: score(f(x), target, where=where), x)

    return gradient


def activation_gradient(where: str, opened: Tap, target: Target) -> Callable[[Any], Any]:
    """The function x -> dy/dA of a model opened at a layer; at several a tuple, of one backward pass."""
    both = activation_and_gradient(where, opened, target)
    return lambda x: both(x)[1]


def activation_and_gradient(
    where: str, opened: Tap, target: Target
) -> Callable[[Any], tuple[Any, Any]]:
    """The function x -> (A, dy/dA) of a model opened at a layer, of one forward pass; at several they are tuples."""

    def both(x: Any) -> tuple[Any, Any]:
        def y(d: Any) -> tuple[Array, Any]:
            outputs, A = opened.run(d, x)
            return score(outputs, target, where=where), A

        _, A, G = _value_rest_and_gradient(where, y, opened.zeros())
        return A, G

    return both


# Without a derivative in reverse, as JAX finds only when it gets there.
_OPAQUE = frozenset({"while", "pure_callback", "io_callback"})


_RULE = "lead from x to the target, and not by integers or comparisons alone"
_FIX = "A method for black boxes needs no gradient, such as xaijax.lime."


def gradient_of(where: str, y: Callable[[Any], Array], at: Any) -> Any:
    """The gradient of a score; NaN where there is no score to explain.

    Raises:
      ValueError: the score does not depend on it, or only by integers: all zeros would look like an answer.
      NotImplementedError: a loop of unknown length or a callback lies on the way.
    """
    return value_and_gradient(where, y, at)[1]


def value_and_gradient(where: str, y: Callable[[Any], Array], at: Any) -> tuple[Array, Any]:
    """A score and its gradient, as `gradient_of` gives it."""
    value, _, G = _value_rest_and_gradient(where, lambda at: (y(at), None), at)
    return value, G


def _value_rest_and_gradient(
    where: str, y: Callable[[Any], tuple[Array, Any]], at: Any
) -> tuple[Array, Any, Any]:
    """The same of a function that returns more than the score."""
    check_differentiable(where, lambda at: y(at)[0], at, "f", _RULE, _FIX)
    # The model and its derivative at once: the derivative of a fast form may be none.
    (value, rest), G = lower(jax.value_and_grad(y, has_aux=True))(at)
    # A rectifier would stop the NaN that stands for a score there is none of.
    return value, rest, jax.tree.map(lambda g: jnp.where(jnp.isnan(value), jnp.nan, g), G)


def check_differentiable(
    where: str, y: Callable[[Any], Array], at: Any, argument: str, rule: str, fix: str
) -> None:
    """Raise unless a score has a derivative, in reverse.

    Raises:
      ValueError: it does not depend on `at`, or only by integers or comparisons.
      NotImplementedError: a loop of unknown length or a callback lies on the way.
    """
    found, primitives = on_the_path(y, at)
    if not found:
        raise ValueError(complaint(where, argument, rule, "a score without a gradient", fix))
    if opaque := sorted(_OPAQUE & primitives):
        rule = "have a derivative: a loop of fixed length (lax.scan), no callbacks"
        raise NotImplementedError(complaint(where, argument, rule, f"'{opaque[0]}'", _FIX))
