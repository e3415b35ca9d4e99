"""FullGrad (Srinivas & Fleuret, NeurIPS 2019; arXiv:1905.00780).

Notation: y^c the score of the target, b a bias and z = ... + b what it is added to, f^b = b * dy^c/dz its bias
gradient, psi what makes a picture of a gradient: absolute value, scaling to [0, 1], resizing to the input.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._interpreter import DEFER, Interpreter, Path, Site, trace
from xaijax.core._layer import Layer
from xaijax.core._layers import image_axes, list_layers
from xaijax.core._lower import lower
from xaijax.core._maps import normalize, resize
from xaijax.core._score import Target, score


@explainer(scope="local", access="white box", stage="post-hoc", models="CNN or ViT")
def full_grad(f: Callable[[Any], Any], x: Any, target: Target) -> Float[Array, "H W"]:
    r"""The gradients of the input and of all biases of feature maps, in one picture.

    .. math::
        y^c = \nabla_x y^c \cdot x + \sum_b f^b \cdot 1, \qquad
        S = \psi(\nabla_x y^c \odot x) + \sum_l \sum_k \psi(f^b)_{lk}

    over the layers l and their channels k. The first equation is exact for networks that are piecewise linear, with
    every constant that is added counted as a bias; a batch norm's mean and offset are one bias of its output. What is
    put in by other means (a padding of other values than 0, a branch of `cond`) is not.

    Differs from the paper in nothing; its code resizes with aligned corners.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: an image, in any layout the model takes.
      target: what is explained: an output's index, weights over the outputs, or a function of them.

    Returns:
      The map at the input's resolution, `(H, W)`, not negative.

    Raises:
      ValueError: as `grad_cam`.
      TypeError: `x` is no image.

    Examples:
      >>> def f(x):  # without biases only the input's gradient is left: |x * dy/dx|, scaled to [0, 1]
      ...     return (x * 3.0).sum((0, 1))
      >>> full_grad(f, jnp.array([[[1.0], [3.0]]]), 0)
      Array([[0., 1.]], dtype=float32)

    References:
      srinivas2019full
    """
    axes = image_axes("full_grad", f, x)
    size = (x.shape[axes.height], x.shape[axes.width])
    found = full_gradients(f, x, target, where="full_grad")
    image = found.image.transpose(axes)
    maps = [image, *(at.feature_map(b) for at, b in found.biases if at and at.is_spatial)]

    def psi(gradient: Array) -> Array:
        # The channels are added up first: enlarging is linear, and a channel at the input's size is large.
        return resize(normalize(jnp.abs(gradient)).sum(-1), size)

    return sum(map(psi, maps[1:]), psi(maps[0]))


class FullGradients(NamedTuple):
    """The terms that the score is the sum of.

    Attributes:
      image: the input times its gradient.
      biases: for each bias the layer it is added at, if it has a name, and the bias times its gradient.
      score: the score.
    """

    image: Array
    biases: list[tuple[Layer | None, Array]]
    score: Array


def full_gradients(
    f: Callable[[Any], Any], x: Array, target: Target, *, where: str
) -> FullGradients:
    """The full-gradient decomposition of a score."""
    program = trace(f, x)
    layers = {at.path: at for at in list_layers(program, x.ndim)}

    def y(x: Array, shifts: list[Array] | None) -> tuple[Array, tuple[Any, list[Path], Array]]:
        biases = _Biases(shifts)
        interpreter = Interpreter(biases.visit, settle=biases.added, unroll=lambda site: True)
        value = score(program.run(interpreter, x), target, where=where)
        return value, (biases.found, biases.paths, value)

    paths: list[Path] = []

    def shapes(x: Array) -> list[Array]:
        _, (found, places, _) = y(x, None)
        paths.extend(places)
        return found

    zeros = [jnp.zeros(like.shape, like.dtype) for like in jax.eval_shape(shapes, x)]

    def traced(x: Array, shifts: list[Array]) -> tuple[Array, tuple[list[Array], Array]]:
        value, (found, _, _) = y(x, shifts)
        return value, (found, value)

    gradient = jax.grad(lambda at: traced(*at), has_aux=True)
    (G, bias_gradients), (biases, value) = lower(gradient)((x, zeros))
    terms = [g * b for g, b in zip(bias_gradients, biases, strict=True)]
    return FullGradients(x * G, list(zip(map(layers.get, paths), terms, strict=True)), value)


@dataclasses.dataclass
class _Pending:
    """A value to which constants were added, and perhaps multiplied since: they are one bias."""

    value: Array
    bias: Array
    path: Path
    whole: Array | None = None


class _Biases:
    """A visitor that finds the biases, and adds a number of one's own beside each."""

    def __init__(self, shifts: list[Array] | None):
        self.shifts = shifts
        self.found: list[Array] = []
        self.paths: list[Path] = []

    def visit(self, site: Site, *values: Any) -> Any:
        """Carry the biases on through sums and products with constants; anything else sees them added."""
        if site.is_call or site.op == "scan":
            return DEFER
        first = site.active.index(True) if sum(site.active) == 1 else None
        out = site.outputs[0]
        binary = len(values) == 2 and jnp.issubdtype(out.dtype, jnp.inexact)
        if first is None or not binary or out.shape != site.inputs[first].shape:
            return site(*map(self.added, values))
        value, constant = values[first], values[1 - first]
        if site.op in ("add", "sub"):
            signs = (1, 1) if site.op == "add" else (1, -1) if first == 0 else (-1, 1)
            bias = jnp.broadcast_to(signs[1] * constant, out.shape)
            if isinstance(value, _Pending):
                held = signs[0] * value.value, signs[0] * value.bias + bias
                return _Pending(*held, site.path)
            return _Pending(signs[0] * value, bias, site.path)
        if isinstance(value, _Pending) and (site.op == "mul" or (site.op == "div" and first == 0)):
            scale = constant if site.op == "mul" else 1 / constant
            return _Pending(value.value * scale, value.bias * scale, site.path)
        return site(*map(self.added, values))

    def added(self, value: Any) -> Any:
        """The value with its bias."""
        if not isinstance(value, _Pending):
            return value
        if value.whole is None:
            shift = self.shifts[len(self.found)] if self.shifts is not None else 0.0
            value.whole = value.value + value.bias + shift
            self.found.append(value.bias.astype(value.value.dtype))
            self.paths.append(value.path)
        return value.whole
