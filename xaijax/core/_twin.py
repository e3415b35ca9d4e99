"""A function with the rule of a paper in the place of its derivative.

A rule-based method swaps equations for *twins*: functions of the same value whose cotangent is what the rule says.
JAX's reverse mode then runs the rules; no backward pass is written.
"""

from collections.abc import Callable
from typing import Any

import jax


def twin(
    forward: Callable[..., Any], backward: Callable[..., tuple[Any, ...]]
) -> Callable[..., Any]:
    """A function of the same value as `forward(*args)`, whose cotangents are `backward(cotangent, value, *args)`.

    Every array must be among the arguments: JAX does not see those that are closed over. Another derivative on top
    is right: the values themselves come from `forward`, and that is differentiated as it is.
    """

    def remember(*args: Any) -> tuple[Any, Any]:
        value = forward(*args)
        return value, (value, args)

    # Not `forward` itself: one function may have many twins.
    swapped = jax.custom_vjp(lambda *args: forward(*args))
    swapped.defvjp(remember, lambda kept, cotangent: backward(cotangent, kept[0], *kept[1]))
    return swapped
