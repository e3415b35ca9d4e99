"""The layers of a model as its weights tell them: which arrays belong together, in the order in which it reads them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from xaijax.core._errors import complaint
from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._layers import module_path


class _Known(NamedTuple):
    """What is known of a value: whether it depends on the input, and else, which weights are in it."""

    of_input: bool
    weights: tuple[int, ...] = ()


def parameter_layers(where: str, f: Callable[..., Any], x: Any) -> dict[str, tuple[int, ...]]:
    """The modules of a model that hold weights, from the input to the outputs.

    A module is what holds a weight: a convolution with its kernel and its bias, a normalisation with its statistics. A
    weight without a module around it, as in a flat dict of arrays, is one by itself. It stands where the first of its
    weights meets what is computed from the input; a module that is used twice, where it is used first. The layers of a
    scan, whose weights are stacked, are one.

    Args:
      where: the caller, for error messages.
      f: the model: a callable pytree.
      x: one example; only its shape and dtype matter.

    Returns:
      By the module's name, the positions of its weights among the arrays of `f` in the order of its leaves. Weights
      that do not touch the outputs, and those that are no floats, are not there.

    Raises:
      ValueError: the model has no weights.
    """
    program = trace(f, x)
    first = _order(program)
    # A single array, which is all that the model holds, has no name.
    names = ["/".join(path[:-1] or path) or "weights" for path in map(module_path, program.paths)]
    floats = [
        i
        for i, weight in enumerate(program.weights)
        if jnp.issubdtype(weight.dtype, jnp.floating) and math.prod(weight.shape)
    ]
    read = [i for i in first if i in floats]
    if not read:
        rule, got = "have a model with weights among its leaves", "none"
        fix = "Weights that a function closes over are constants: jax.tree_util.Partial(apply, params)."
        raise ValueError(complaint(where, "explain", rule, got, fix))
    layers: dict[str, tuple[int, ...]] = {}
    for i in read:
        layers[names[i]] = (*layers.get(names[i], ()), i)
    return layers


def _order(program: Any) -> list[int]:
    """The weights in the order in which they meet what is computed from the input."""
    met: dict[int, None] = {}

    def visit(site: Site, *values: _Known) -> Any:
        opened = site.is_call or site.is_custom
        # The interpreter opens a loop only if it is active; what it does not, counts as one operation.
        looped = site.op == "cond" or (site.op == "scan" and site.params["length"])
        if opened or (looped and any(site.active)):
            return DEFER
        weights = _union(values)
        if not any(value.of_input for value in values):
            return site.fill(_Known(False, weights))
        met.update(dict.fromkeys(weights))
        return site.fill(_Known(True))

    def together(values: Sequence[_Known]) -> _Known:
        return _Known(any(value.of_input for value in values), _union(values))

    def every(index: _Known, branches: Sequence[Any], *operands: _Known) -> list[_Known]:
        return [together(values) for values in zip(*(b(*operands) for b in branches), strict=True)]

    interpreter = Interpreter(
        visit,
        open_custom=True,
        unroll=lambda site: True,
        lift=lambda constant: _Known(False),
        index=lambda value, step: value,
        stack=together,
        choose=every,
    )
    count = len(program.weights)
    inputs = [_Known(True)] * (len(program.closed.jaxpr.invars) - count)
    ends = program.walk(interpreter, [_Known(False, (i,)) for i in range(count)], inputs)
    met.update(dict.fromkeys(_union(ends)))  # outputs that are weights as they are
    return list(met)


def _union(values: Sequence[_Known]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(i for value in values for i in value.weights))
