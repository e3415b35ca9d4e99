"""Guided backpropagation (Springenberg et al., ICLR 2015 workshop) and DeconvNet (Zeiler & Fergus, ECCV 2014).

arXiv:1412.6806v3 and arXiv:1311.2901v3.

Notation: f the activation before a rectifier, R the signal that comes back to it from above.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float
from xaijax.core._interpreter import (
    DEFER,
    Interpreter,
    Path,
    Program,
    Site,
    on_the_way,
    primitives,
    steps_differ,
    trace,
)
from xaijax.core._layers import list_layers
from xaijax.core._score import Target, score
from xaijax.core._score_gradient import gradient_of
from xaijax.core._twin import twin
from xaijax.propagation._facts import find_facts, only_selects

#: Whether the signal R passes back through a rectifier of f.
Passes = Callable[[Array, Array], Any]

# What is left of the names of operations are the activation functions.
_NO_ACTIVATION = primitives(
    "add add_any concatenate conv copy div dot max max_pool min mul neg reduce_max reduce_sum reduce_window_sum "
    "reshape rsqrt select_n slice split stop_gradient sub transpose"
)


@explainer(scope="local", access="white box", stage="post-hoc", models="neural network")
def guided_backprop(f: Callable[[Any], Any], x: Any, target: Target) -> Array:
    r"""Guided backpropagation: the gradient, except that rectifiers pass back positive signals only.

    .. math::
        R^l = \mathbf{1}[f^l > 0] \; \mathbf{1}[R^{l+1} > 0] \; R^{l+1}

    Everything else passes back its gradient: also smooth activation functions (GELU, softplus) and leaky ones, for
    which the paper has no rule. A rectifier is recognised however it is written: `jax.nn.relu`, `jax.nn.relu6`,
    `jnp.maximum(x, 0)`, `jnp.clip(x, 0, c)`, `jnp.where(x > 0, x, 0)`, `x * (x > 0)`. What a rectifier cuts off at an
    upper end has no gradient there, nor at the end itself.

    The paper explains the activation of a neuron of any layer; here it is the score. The picture shows the image's
    edges more than the model's reasons: it hardly changes when the weights of the upper layers are randomised
    (Adebayo et al. 2018).

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax. It needs a rectifier.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.

    Returns:
      One signed number for each element of `x`.

    Raises:
      ValueError: the model has no rectifier, `f` gives no vector, `target` is out of range (traced: NaN, see
        `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> import jax
      >>> f = lambda x: jax.nn.relu(x) * jnp.array([2.0, 3.0, -4.0])
      >>> x = jnp.array([1.0, -1.0, 1.0])
      >>> jax.grad(lambda x: f(x).sum())(x)
      Array([ 2.,  0., -4.], dtype=float32)
      >>> guided_backprop(f, x, jnp.ones(3))
      Array([2., 0., 0.], dtype=float32)

    References:
      springenberg2015striving
      adebayo2018sanity
    """
    return _propagate("guided_backprop", f, x, target, lambda R, f: (f > 0) & (R > 0))


@explainer(scope="local", access="white box", stage="post-hoc", models="neural network")
def deconvnet(f: Callable[[Any], Any], x: Any, target: Target) -> Array:
    r"""DeconvNet: the gradient, except that rectifiers rectify the signal that comes back.

    .. math::
        R^l = \mathbf{1}[R^{l+1} > 0] \; R^{l+1}

    What passed forward plays no part at a rectifier. A max-pooling puts the signal where the maximum was, which the
    paper calls its switches, and a convolution transposes its filter: as their gradients do. For what counts as a
    rectifier see `guided_backprop`.

    The paper starts from the largest activation of a feature map; here it is the score.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax. It needs a rectifier.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.

    Returns:
      One signed number for each element of `x`.

    Raises:
      ValueError: as `guided_backprop`.
      TypeError: as `guided_backprop`.

    Examples:
      >>> import jax
      >>> f = lambda x: jax.nn.relu(x) * jnp.array([2.0, 3.0, -4.0])
      >>> deconvnet(f, jnp.array([1.0, -1.0, 1.0]), jnp.ones(3))
      Array([2., 3., 0.], dtype=float32)

    References:
      zeiler2014visualizing
    """
    return _propagate("deconvnet", f, x, target, lambda R, f: R > 0)


def _propagate(where: str, f: Callable[[Any], Any], x: Any, target: Target, passes: Passes) -> Any:
    check_float(where, x)
    program = trace(f, x)
    run = _with_rectifiers(where, program, passes)
    return gradient_of(where, lambda x: score(run(x), target, where=where), x)


def _with_rectifiers(where: str, program: Program, passes: Passes) -> Callable[[Any], Any]:
    """The program with its rectifiers swapped for twins that pass back what the paper says."""
    rectified = _rectifiers(program)
    if not rectified:
        met = sorted({layer.operation for layer in list_layers(program)} - _NO_ACTIVATION)
        fix = "Without one it would be the plain gradient."
        got = ", ".join(met) or "no activation function"
        raise ValueError(complaint(where, "f", "have a rectifier, such as jax.nn.relu", got, fix))
    opened = on_the_way(list(rectified))

    def visit(site: Site, *inputs: Any) -> Any:
        if site.path in rectified:
            end = 2 if site.op == "clamp" else None
            return _passing_back(passes, site, rectified[site.path], end, inputs)
        if site.op == "min" and sum(site.active) == 1:
            i = site.active.index(True)
            if jnp.ndim(inputs[1 - i]) == 0:
                return _passing_back(lambda R, f: True, site, i, 1 - i, inputs)
        return DEFER if site.path in opened else site(*inputs)

    def unroll(site: Site) -> bool:
        return steps_differ(rectified, site.path, site.params["length"])

    walk = Interpreter(visit, open_custom=True, unroll=unroll)
    return lambda x: program.run(walk, x)


def _passing_back(
    passes: Passes, site: Site, i: int, end: int | None, inputs: Sequence[Any]
) -> Array:
    """The equation as it is, which computes the model's own values; input i gets the signal where it passes.

    An upper end is input `end`: there the derivative is 0, as that of `jax.nn.relu6`.
    """

    def backward(R: Array, y: Array, *inputs: Array) -> tuple[Any, ...]:
        f = inputs[i]
        through = passes(R, f) if end is None else passes(R, f) & (f < inputs[end])
        return tuple(jnp.where(through, R, 0) if k == i else None for k in range(len(inputs)))

    likes = zip(inputs, site.inputs, strict=True)
    return twin(site, backward)(*(jnp.asarray(value, like.dtype) for value, like in likes))


def _rectifiers(program: Program) -> dict[Path, int]:
    """Every rectifier and which input it rectifies; those inside a softplus, say, are none."""
    facts = find_facts(program)
    smooth = [path for path, site in facts.custom.items() if not only_selects(site)]

    def inside(path: Path, holders: Sequence[Path]) -> bool:
        return any(path[: len(holder)] == holder for holder in holders)

    return {path: i for path, i in facts.rectified.items() if not inside(path, smooth)}
