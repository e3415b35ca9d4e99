"""Convolutions in the forms that XLA's CPU backend computes best.

It computes a depthwise convolution tens of times slower than the same sum of shifted products, and convolutions of size
1x1 or of few channels slower than a matrix product. Where a kernel has more entries than the image has positions, as at
the end of a deep network for small images, it takes the one for the other, and up to hundreds of times as long as the
matrix product. Of wide 3x3 convolutions it computes more products than are needed, and of those with gaps in the image,
as derivatives of strided ones have, products with zeros. Other layouts than channels last it computes fast only outside
loops, and explainers are loops.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from xaijax.core._interpreter import Site
from xaijax.core._winograd import minimal_filtering

Form = Callable[[Array, Array], Array]


def fast_convolution(site: Site, filtered: bool) -> Form | None:
    """What to compute in the place of a convolution; `None` if it is best as it is."""
    p = site.params
    if not _is_plain(site):
        return None
    to_x, to_kernel, to_y = _permutations(p["dimension_numbers"])
    back = [to_y.index(axis) for axis in range(len(to_y))]
    if filtered and _is_wide(site):
        form = _minimal_filtering(p, to_kernel)
    elif _is_placed(site):
        form = functools.partial(_placed, p, to_kernel)
    else:
        form = _special_form(site)
        if p["dimension_numbers"] == _channels_last(len(to_x)):
            return form
        form = _of_channels_last(to_kernel, form or functools.partial(_convolution, p))
    return lambda x, kernel: form(x.transpose(to_x), kernel).transpose(back)


def _of_channels_last(to_kernel: Sequence[int], form: Form) -> Form:
    """A form that wants its kernel's channels last, for kernels in the layout they have."""
    return lambda x, kernel: form(x, kernel.transpose(to_kernel))


def _minimal_filtering(p: Mapping[str, Any], to_kernel: Sequence[int]) -> Form:
    convolve = functools.partial(_convolution, p, kernel_spec=p["dimension_numbers"].rhs_spec)
    return lambda x, kernel: minimal_filtering(x, kernel, to_kernel, p["padding"], convolve)


# Of fewer channels, or of images smaller than 14x14x128, the transforms cost what the products save.
_MANY_CHANNELS, _LARGE = 128, 25_088


def _is_wide(site: Site) -> bool:
    """Whether minimal filtering is faster than the convolution; who asks for precision gets the convolution."""
    p, (x, kernel) = site.params, _shapes(site)
    of_3x3 = kernel[:-2] == (3, 3) and p["feature_group_count"] == 1
    dense = {*p["window_strides"], *p["lhs_dilation"], *p["rhs_dilation"]} == {1}
    is_large = min(kernel[-2:]) >= _MANY_CHANNELS and math.prod(x[1:]) >= _LARGE
    is_single = p["precision"] is None and site.inputs[0].dtype == jnp.float32
    return of_3x3 and dense and is_large and is_single and not _is_late(site)


def _is_placed(site: Site) -> bool:
    """Whether a small kernel meets zeros between an image's positions, or few positions and has its inputs last.

    These are the derivatives of strided convolutions, and of the last ones of a network.
    """
    p, (x, kernel) = site.params, _shapes(site)
    is_small = len(x) == 4 and math.prod(kernel[:2]) <= _FEW_PLACES
    is_else_plain = {*p["window_strides"], *p["rhs_dilation"], p["feature_group_count"]} == {1}
    has_inputs_last = p["dimension_numbers"].rhs_spec[1] == 3
    is_late = _is_late(site) and has_inputs_last
    return is_small and is_else_plain and ({*p["lhs_dilation"]} != {1} or is_late)


def _is_late(site: Site) -> bool:
    """Whether a kernel of many channels has few positions to go to: then reading the kernel is what takes the time."""
    kernel, places = _shapes(site)[1], _permutations(site.params["dimension_numbers"])[2]
    positions = [site.outputs[0].shape[axis] for axis in places[1:-1]]
    return min(kernel[-2:]) >= _MANY_CHANNELS and math.prod(positions) <= _FEW_POSITIONS


# Each of a kernel's places is a pass over the image.
_FEW_PLACES = 9
_FEW_POSITIONS = 64


def _is_plain(site: Site) -> bool:
    (x, kernel), (y,) = site.inputs, site.outputs
    return site.params["batch_group_count"] == 1 and x.dtype == kernel.dtype == y.dtype


def _permutations(numbers: lax.ConvDimensionNumbers) -> list[list[int]]:
    """Of the axes of the images, the kernel and the output, to channels last."""
    specs = zip(numbers, _channels_last(len(numbers.lhs_spec)), strict=True)
    return [[have[last.index(axis)] for axis in range(len(last))] for have, last in specs]


def _shapes(site: Site) -> list[tuple[int, ...]]:
    """Of the images and the kernel, channels last."""
    places = _permutations(site.params["dimension_numbers"])
    return [tuple(like.shape[i] for i in to) for like, to in zip(site.inputs, places, strict=False)]


def _convolution(
    p: Mapping[str, Any], x: Array, kernel: Array, kernel_spec: tuple[int, ...] | None = None
) -> Array:
    """The convolution of images with channels last, and of a kernel if it has no layout of its own."""
    numbers = _channels_last(x.ndim)
    if kernel_spec is not None:
        numbers = numbers._replace(rhs_spec=kernel_spec)
    return lax.conv_general_dilated(
        x,
        kernel,
        p["window_strides"],
        p["padding"],
        p["lhs_dilation"],
        p["rhs_dilation"],
        numbers,
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


def _special_form(site: Site) -> Form | None:
    """A faster form than a convolution, for images and a kernel brought to channels last."""
    p, (x, kernel) = site.params, _shapes(site)
    if len(x) != 4 or {*p["rhs_dilation"]} != {1}:
        return None
    gaps, stride, padding = p["lhs_dilation"], p["window_strides"], p["padding"]
    groups, entries = p["feature_group_count"], math.prod(kernel[:2])
    positions = math.prod((n - 1) * gap + 1 for n, gap in zip(x[1:3], gaps, strict=True))
    if groups == 1 and entries > positions:
        return lambda x, kernel: _patches(_dilated(x, gaps), kernel, stride, padding)
    if groups > 1 and groups == x[-1] == kernel[-1]:
        return lambda x, kernel: _depthwise(x, kernel, stride, padding, gaps)
    if {*gaps} != {1}:
        is_narrow = kernel[-1] <= _FEW_CHANNELS or tuple(gaps) == kernel[:2]
        is_derivative = groups == 1 and {*stride} == {1}
        return functools.partial(_phases, p) if is_narrow and is_derivative else None
    if kernel[:2] == (1, 1) and groups == 1 and not any(map(any, padding)):
        return lambda x, kernel: x[:, :: stride[0], :: stride[1]] @ kernel[0, 0]
    if groups == 1 and tuple(stride) == kernel[:2] and not any(map(any, padding)):
        return _blocks
    is_thin = x[-1] <= _FEW_CHANNELS and entries <= _FEW_ENTRIES and kernel[-1] <= _FEW_FEATURES
    if groups == 1 and (is_thin or (entries <= _FEW_PLACES and _is_late(site))):
        return lambda x, kernel: _patches(x, kernel, stride, padding)
    return None


# A stem's patches (3 colours) are small; those of 7x7, or of a layer with more inputs, cost more than they save, and
# for many features the convolution is as fast.
_FEW_CHANNELS, _FEW_ENTRIES, _FEW_FEATURES = 4, 25, 32


def _depthwise(x: Array, kernel: Array, stride: Any, padding: Any, gaps: Any) -> Array:
    """Sum the shifted images, each times its weight per channel."""
    weights = kernel.reshape(-1, kernel.shape[-1])
    shifted = _shift(x, kernel.shape[:2], stride, padding, gaps)
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


def _placed(p: Mapping[str, Any], axes: Sequence[int], x: Array, kernel: Array) -> Array:
    """Multiply every position with the whole kernel, and add the products where they belong.

    The kernel has its own layout, of which `axes` are height, width, input and output: transposing one costs as much.
    """
    high, wide, to_sum, features = axes
    kernel = jnp.moveaxis(kernel, to_sum, -1)
    # As two matrices: of more axes XLA makes matrices by a transposition.
    matrix = kernel.reshape(-1, x.shape[-1])
    products = lax.dot_general(x, matrix, (((3,), (1,)), ((), ())), precision=p["precision"])
    products = products.reshape(*x.shape[:3], *kernel.shape[:3])
    places = [3 + axis - (axis > to_sum) for axis in (high, wide, features)]
    products = jnp.moveaxis(products, places, (0, 1, 5))
    total = jnp.zeros((), x.dtype)
    for i, j in itertools.product(*map(range, products.shape[:2])):
        ends = [
            (low - at, high - (size - 1 - at), gap - 1)
            for at, size, gap, (low, high) in zip(
                (i, j), products.shape, p["lhs_dilation"], p["padding"], strict=False
            )
        ]
        total += lax.pad(products[i, j], jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    return total


def _phases(p: Mapping[str, Any], x: Array, kernel: Array) -> Array:
    """Multiply each phase of the output with the entries of the kernel that meet no gap, in one convolution."""
    gaps, sizes, ends = p["lhs_dilation"], [], []
    for axis, gap, (low, high) in zip((0, 1), gaps, p["padding"], strict=True):
        n, k = x.shape[1 + axis], kernel.shape[axis]
        sizes.append((n - 1) * gap + 1 + low + high - k + 1)
        # Output gap * m + phase is the sum over r of x[m + r] kernel[gap * r - phase + low].
        first, last = -(low // gap), (k + gap - 2 - low) // gap
        ends.append((-first, -(-sizes[-1] // gap) + last - n))
        length = gap * (last - first) + 1
        starts = [gap * first + low - phase for phase in range(gap)]
        cut = [_cut(kernel, axis, start, start + length) for start in starts]
        # Phases come before the output's channels.
        kernel = jnp.stack([lax.slice_in_dim(part, 0, length, gap, axis) for part in cut], -2)
    merged = kernel.reshape(*kernel.shape[:3], -1)
    if merged.shape[:2] == (1, 1) and not any(map(any, ends)):  # of windows that touch
        y = x @ merged[0, 0]
    else:
        y = _convolution({**p, "padding": ends, "lhs_dilation": (1, 1)}, x, merged)
    (n, rows, columns, _), (down, across) = y.shape, gaps
    y = y.reshape(n, rows, columns, down, across, -1).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(n, rows * down, columns * across, -1)[:, : sizes[0], : sizes[1]]


def _cut(x: Array, axis: int, start: int, end: int) -> Array:
    """A part of an array, with zeros where it reaches beyond."""
    ends = [(0, 0, 0)] * x.ndim
    ends[axis] = (-start, end - x.shape[axis], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), ends)


def _dilated(x: Array, dilation: Any) -> Array:
    """Put zeros between the positions, as the derivative of a strided convolution does."""
    gaps = [(0, 0, d - 1) for d in dilation]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *gaps, (0, 0, 0)])


def _shift(
    x: Array, kernel: tuple[int, ...], stride: Any, padding: Any, gaps: Any = (1, 1)
) -> list[Array]:
    """Pad, and take what each entry of a kernel sees of the image."""
    ends = [(*p, gap - 1) for p, gap in zip(padding, gaps, strict=True)]
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    sizes = zip(x.shape[1:3], kernel, stride, strict=True)
    height, width = ((n - k) // s * s + 1 for n, k, s in sizes)
    return [
        x[:, i : i + height : stride[0], j : j + width : stride[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
