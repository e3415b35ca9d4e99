"""The same model, faster on a CPU: convolutions in the forms that XLA's CPU backend computes best.

A model says *what* to compute; this visitor says *how*. XLA's CPU backend computes a depthwise convolution tens of
times slower than the same sum of shifted products, and convolutions of size 1x1 or of few channels slower than a matrix
product. Where a kernel has more entries than the image has positions, as at the end of a deep network for small images,
it takes the one for the other, and up to hundreds of times as long as the matrix product. Other layouts than channels
last it computes fast only outside loops, and explainers are loops: their convolutions, and those of derivatives, are
brought into it here. Every explainer evaluates the model this way, so no model has to be written for one backend; its
layers keep their names, and rule-based methods still see convolutions. On other backends nothing changes.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._tree import as_tree

_enabled: ContextVar[bool] = ContextVar("enabled", default=True)


def lowering() -> bool:
    """Whether convolutions are rewritten: on the CPU backend, outside `plain_convolutions`."""
    return _enabled.get() and jax.default_backend() == "cpu"


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Explain with the model's convolutions as they are, on every backend.

    A function of your own that was compiled by `jax.jit` outside the block stays what it was.
    """
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Lowered:
    f: Any
    wraps: ClassVar[str] = "f"

    def __call__(self, x: Any) -> Any:
        if not lowering():
            return self.f(x)
        program = trace(self.f, x)
        rewrites = any(map(_is_rewritten, program.sites))
        return program.run(Interpreter(lowered), x) if rewrites else program(x)


def lower(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The model with its convolutions rewritten for the backend; use it under `jax.jit`.

    Args:
      f: the model, a callable pytree; or a derivative of one, to be evaluated in a loop.

    Returns:
      A callable pytree with the same weights and, up to rounding, the same outputs.

    Examples:
      >>> kernel = jnp.ones((1, 1, 3, 2))
      >>> f = lambda x: lax.conv_general_dilated(
      ...     x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).mean((0, 1, 2))
      >>> "conv_general_dilated" in str(jax.make_jaxpr(lower(f))(jnp.ones((4, 4, 3))))
      False
    """
    return _Lowered(as_tree(f))


def lowered(site: Site, *inputs: Any) -> Any:
    """A visitor's answer: the equation in its fast form, or as usual."""
    if not lowering():
        return site(*inputs)
    if site.op == "conv_general_dilated":
        form = _fast_form(site)
        return form(*inputs) if form else site(*inputs)
    # Only what holds such a convolution is opened; a `remat` is not, since it would forget to rematerialise.
    opened = site.op == "scan" or (site.is_call and not site.op.startswith(("remat", "checkpoint")))
    return DEFER if opened and _holds(site) else site(*inputs)


def _holds(site: Site) -> bool:
    return any(map(_is_rewritten, site.body))


def _is_rewritten(site: Site) -> bool:
    is_slow = site.op == "conv_general_dilated" and _fast_form(site) is not None
    return is_slow or _holds(site)


def _fast_form(site: Site) -> Callable[[Array, Array], Array] | None:
    """What to compute in the place of a convolution; `None` if it is best as it is."""
    p = site.params
    if not _is_plain(site):
        return None
    form, (to_x, to_kernel, to_y) = _special_form(site), _permutations(p["dimension_numbers"])
    if p["dimension_numbers"] == _channels_last(len(to_x)):
        return form
    form = form or (lambda x, kernel: _convolution(p, x, kernel))
    back = [to_y.index(axis) for axis in range(len(to_y))]
    return lambda x, kernel: form(x.transpose(to_x), kernel.transpose(to_kernel)).transpose(back)


def stays_convolution(site: Site) -> bool:
    """Whether an equation is a convolution in its fast form, too: its derivative wants to be lowered."""
    is_convolution = site.op == "conv_general_dilated"
    return is_convolution and not (lowering() and _is_plain(site) and _special_form(site))


def _is_plain(site: Site) -> bool:
    (x, kernel), (y,) = site.inputs, site.outputs
    return site.params["batch_group_count"] == 1 and x.dtype == kernel.dtype == y.dtype


def _permutations(numbers: lax.ConvDimensionNumbers) -> list[list[int]]:
    """Of the axes of the images, the kernel and the output, to channels last."""
    specs = zip(numbers, _channels_last(len(numbers.lhs_spec)), strict=True)
    return [[have[last.index(axis)] for axis in range(len(last))] for have, last in specs]


def _convolution(p: Mapping[str, Any], x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        p["window_strides"],
        p["padding"],
        p["lhs_dilation"],
        p["rhs_dilation"],
        _channels_last(x.ndim),
        p["feature_group_count"],
        precision=p["precision"],
        preferred_element_type=p["preferred_element_type"],
    )


def _channels_last(rank: int) -> lax.ConvDimensionNumbers:
    """Images as (n, *space, channels), kernels as (*space, in, out).

    The only layout that XLA's CPU backend has fast code for. It brings others into it, but not inside a loop: there
    the gradient of a convolution took ten times as long as outside, one of channels first seventy times.
    """
    space = tuple(range(1, rank - 1))
    images = (0, rank - 1, *space)
    return lax.ConvDimensionNumbers(images, (rank - 1, rank - 2, *(i - 1 for i in space)), images)


def _special_form(site: Site) -> Callable[[Array, Array], Array] | None:
    """A faster form than a convolution, for images and a kernel brought to channels last."""
    p, places = site.params, _permutations(site.params["dimension_numbers"])
    x, kernel = (
        tuple(like.shape[i] for i in to) for like, to in zip(site.inputs, places, strict=False)
    )
    if len(x) != 4 or {*p["rhs_dilation"]} != {1}:
        return None
    stride, padding, groups = p["window_strides"], p["padding"], p["feature_group_count"]
    if groups == 1 and math.prod(kernel[:2]) > math.prod(x[1:3]):
        return lambda x, kernel: _patches(_dilated(x, p["lhs_dilation"]), kernel, stride, padding)
    if {*p["lhs_dilation"]} != {1}:
        return None
    if kernel[:2] == (1, 1) and groups == 1 and not any(map(any, padding)):
        return lambda x, kernel: x[:, :: stride[0], :: stride[1]] @ kernel[0, 0]
    if groups > 1 and groups == x[-1] == kernel[-1]:
        return lambda x, kernel: _depthwise(x, kernel, stride, padding)
    if groups == 1 and tuple(stride) == kernel[:2] and not any(map(any, padding)):
        return _blocks
    if groups == 1 and x[-1] <= _FEW_CHANNELS:
        return lambda x, kernel: _patches(x, kernel, stride, padding)
    return None


# A stem's patches (3 colours) are small; those of a wider layer cost more memory than they save time.
_FEW_CHANNELS = 4


def _depthwise(x: Array, kernel: Array, stride: Any, padding: Any) -> Array:
    """Sum the shifted images, each times its weight per channel."""
    weights = kernel.reshape(-1, kernel.shape[-1])
    shifted = _shift(x, kernel.shape[:2], stride, padding)
    total = shifted[0] * weights[0]
    for image, weight in zip(shifted[1:], weights[1:], strict=True):
        total = total + image * weight
    return total


def _blocks(x: Array, kernel: Array) -> Array:
    """Multiply windows that touch and do not overlap, such as a vision transformer's patches."""
    (n, height, width, channels), (h, w) = x.shape, kernel.shape[:2]
    rows, columns = height // h, width // w
    x = x[:, : rows * h, : columns * w].reshape(n, rows, h, columns, w, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows, columns, h * w * channels)
    return x @ kernel.reshape(-1, kernel.shape[-1])


def _patches(x: Array, kernel: Array, stride: Any, padding: Any) -> Array:
    """Multiply the patches that the kernel sees with the kernel as a matrix."""
    shifted = jnp.concatenate(_shift(x, kernel.shape[:2], stride, padding), -1)
    return shifted @ kernel.reshape(-1, kernel.shape[-1])


def _dilated(x: Array, dilation: Any) -> Array:
    """Put zeros between the positions, as the derivative of a strided convolution does."""
    gaps = [(0, 0, d - 1) for d in dilation]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _shift(x: Array, kernel: tuple[int, ...], stride: Any, padding: Any) -> list[Array]:
    """Pad, and take what each entry of a kernel sees of the image."""
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
    sizes = zip(x.shape[1:3], kernel, stride, strict=True)
    height, width = ((n - k) // s * s + 1 for n, k, s in sizes)
    return [
        x[:, i : i + height : stride[0], j : j + width : stride[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
