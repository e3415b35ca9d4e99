"""Occlusion by a sliding window (Zeiler & Fergus, ECCV 2014; arXiv:1311.2901, section 4.2).

Notation: y the score of the target, x_w the input with window w at the baseline, W(j) the windows that cover element j.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from xaijax.core._errors import check_positive, complaint
from xaijax.core._explainer import explainer
from xaijax.core._layers import image_axes
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target, score
from xaijax.perturbation._feature_ablation import losses


@explainer(
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("window", "stride", "batch_size"),
    baseline=("baseline",),
)
def occlusion(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    window: tuple[int, ...],
    stride: tuple[int, ...] | None = None,
    baseline: Any = 0.0,
    batch_size: int | None = None,
) -> Array:
    r"""What the score loses when a window hides a part of the input, wherever the window can stand.

    .. math::
        \phi_j = \frac{1}{|W(j)|} \sum_{w \in W(j)} y(x) - y(x_w)

    The window starts in the first corner and moves by `stride` until all of the input was hidden once; the last may
    be cut off at the edge. One forward pass for each place of the window, and one for the input: by default, and with
    a small window, that is as many as there are elements.

    Differs from the paper, which shows the score at each place of a grey window, in giving each element the mean loss
    over the windows that cover it, as captum does.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper explains probabilities: `probabilities(f)`.
      x: the input, one array of floats. For texts see `feature_ablation`.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      window: the size of the window along each axis of `x`; or, of an image, its height and width in pixels, over all
        channels and in any layout. Static.
      stride: how far the window moves along each axis, as `window`; 1 by default. Static.
      baseline: what stands in the window: a number, or an array that broadcasts to `x`, such as a blurred copy.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The mean losses, in the shape of `x` and in units of the score; positive speaks for the target. If `window` is a
      height and a width, all channels of a pixel have the same.

    Raises:
      ValueError: the window is larger than `x`, or the stride larger than the window, so that some elements would
        never be hidden; `baseline` has another shape or is not finite; `batch_size` < 1, `f` gives no vector,
        `target` is out of range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `window` or `stride` is no tuple of integers, `x` is not one float array, or `f` cannot be traced (see
        `black_box`).

    Examples:
      >>> f = lambda x: jnp.stack([x.sum(), x[0]])
      >>> x = jnp.array([1.0, 2.0, 3.0])
      >>> occlusion(f, x, 0, window=(2,))  # the windows lose 1 + 2 and 2 + 3
      Array([3., 4., 5.], dtype=float32)
      >>> occlusion(f, x, 0, window=(2,), stride=(2,))  # 1 + 2, and what is left of the second window
      Array([3., 3., 3.], dtype=float32)

    References:
      zeiler2014visualizing
    """
    slides = _slides(f, x, window, stride)
    counts = tuple(slide.places for slide in slides)
    model, baseline = lower(f), jnp.asarray(baseline, x.dtype)

    def y(i: Int[Array, ""]) -> Float[Array, ""]:
        """The score with window i at the baseline."""
        covered = jnp.asarray(i >= 0)
        for slide, k in zip(slides, jnp.unravel_index(i, counts), strict=True):
            covered = covered[..., None] & slide.covered(k)
        return score(model(jnp.where(covered, baseline, x)), target, where="occlusion")

    chunk = chunk_size("occlusion", batch_size, 1 + math.prod(counts), x)
    lost = losses(y, math.prod(counts), chunk)
    phi = lost.reshape(counts).astype(jnp.promote_types(lost.dtype, jnp.float32))
    # The windows over an element are those along one axis times those along the others: so is their mean.
    for axis, slide in enumerate(slides):
        phi = slide.mean(phi, axis)
    return jnp.broadcast_to(phi, x.shape).astype(lost.dtype)


class _Slide(NamedTuple):
    """A window that slides along one axis."""

    length: int
    window: int
    stride: int

    @property
    def places(self) -> int:
        """How many it can stand at."""
        return math.ceil((self.length - self.window) / self.stride) + 1

    def covered(self, k: Int[Array, ""]) -> Bool[Array, " length"]:
        """Which elements it covers at place k."""
        inside = jnp.arange(self.length) - k * self.stride
        return (inside >= 0) & (inside < self.window)

    def mean(self, a: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
        """For each element of an axis the mean over the places that cover it; of one place, it alone."""
        if self.places == 1:
            return a

        def along(value: Any, rest: Any) -> list[Any]:
            return [value if i == axis else rest for i in range(a.ndim)]

        # Places stand `stride` elements apart, and each element sees those in the window that ends at it.
        end = self.length - 1 - (self.places - 1) * self.stride
        total = lax.reduce_window(
            a,
            a.dtype.type(0),  # a traced zero would have no derivative
            lax.add,
            window_dimensions=along(self.window, 1),
            window_strides=along(1, 1),
            padding=along((self.window - 1, end), (0, 0)),
            base_dilation=along(self.stride, 1),
        )
        element = np.arange(self.length)
        first = np.maximum(-((self.window - 1 - element) // self.stride), 0)
        last = np.minimum(element // self.stride, self.places - 1)
        return total / (last - first + 1).astype(a.dtype).reshape(along(-1, 1))


def _slides(f: Callable[[Any], Any], x: Array, window: Any, stride: Any) -> list[_Slide]:
    """How the window slides along each axis of `x`."""
    _check_sizes("window", window)
    if len(window) == x.ndim:
        axes: tuple[int, ...] = tuple(range(x.ndim))
    elif len(window) == 2 and x.ndim == 3:
        axes = image_axes("occlusion", f, x)[:2]
    else:
        rule = f"have a size for each axis of x, {x.shape}, or be the height and width of an image"
        raise ValueError(complaint("occlusion", "window", rule, window))
    stride = (1,) * len(window) if stride is None else stride
    _check_sizes("stride", stride)
    if len(stride) != len(window):
        rule = f"have as many numbers as the window, {window}"
        raise ValueError(complaint("occlusion", "stride", rule, stride))

    slides = [_Slide(length, length, 1) for length in x.shape]
    for axis, size, step in zip(axes, window, stride, strict=True):
        length = x.shape[axis]
        if size > length:
            rule = f"be at most x, {tuple(x.shape[a] for a in axes)}"
            raise ValueError(complaint("occlusion", "window", rule, window))
        if step > size < length:
            rule = f"be at most the window, {window}, or some elements would never be hidden"
            raise ValueError(complaint("occlusion", "stride", rule, stride))
        slides[axis] = _Slide(length, size, step)
    return slides


def _check_sizes(argument: str, sizes: Any) -> None:
    if not isinstance(sizes, tuple):
        rule = "be a tuple of integers"
        raise TypeError(complaint("occlusion", argument, rule, repr(sizes), "Such as (8, 8)."))
    for size in sizes:
        check_positive("occlusion", **{argument: size})
