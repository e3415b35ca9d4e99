"""The features of an input, and what an attribution says of each: what metrics hide, show and draw anew.

What the features are is a mask's, as for LIME and Shapley values (`segments`, `columns`, `tokens`). Without one
each position of the attribution is a feature, over all channels of the input where it has none.

Notation: a_i the attribution of feature i, d the number of features, v(z) the score with the features kept where z is
true.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.core._errors import complaint
from xaijax.core._game import Game, game
from xaijax.core._inputs import check_float
from xaijax.core._layers import image_axes
from xaijax.core._maps import blur
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._score import Target


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Positions:
    """Each position of an attribution as a feature; a hidden one shows the baseline."""

    baseline: Any
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    channel: int | None = dataclasses.field(
        metadata={"static": True}
    )  # the axis of x without attribution

    @property
    def num_features(self) -> int:
        """One per position."""
        return math.prod(self.shape)

    def __call__(self, x: Array, z: Bool[Array, " d"]) -> Array:
        """The input with the baseline where `z` is false."""
        return jnp.where(self.over_channels(self.paint(z)), x, jnp.asarray(self.baseline, x.dtype))

    def over_channels(self, a: Array) -> Array:
        """A map of positions, with the axis of the channels."""
        return a if self.channel is None else jnp.expand_dims(a, self.channel)

    def paint(self, values: Array) -> Array:
        """The shape of the attribution."""
        return values.reshape(self.shape)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Patches(Positions):
    """Neighbouring positions of an attribution as one feature: the cells of a grid, smaller at its far ends.

    A stack of baselines makes a stack of inputs, over whose scores a game takes the mean.
    """

    sizes: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def cells(self) -> tuple[int, ...]:
        """How many there are along each axis."""
        return tuple(-(-n // size) for n, size in zip(self.shape, self.sizes, strict=True))

    @property
    def num_features(self) -> int:
        """One per cell."""
        return math.prod(self.cells)

    def paint(self, values: Array) -> Array:
        """Each position gets its cell's value."""
        a = values.reshape(self.cells)
        for axis, (n, size) in enumerate(zip(self.shape, self.sizes, strict=True)):
            a = jax.lax.slice_in_dim(jnp.repeat(a, size, axis), 0, n, axis=axis)
        return a


def positions(
    where: str, f: Callable[[Any], Any], x: Any, attribution: Array, baseline: Any = 0.0
) -> Positions:
    """The positions of an attribution in the input.

    Raises:
      TypeError: `x` is not one float array.
      ValueError: the attribution has neither the shape of `x` nor that without its channels.
    """
    check_float(where, x)
    shape = attribution.shape
    if shape == x.shape:
        return Positions(baseline, shape, None)
    if x.ndim == attribution.ndim + 1:
        # The last axis, unless the model reads another.
        fitting = [a for a in (x.ndim - 1, 0) if x.shape[:a] + x.shape[a + 1 :] == shape]
        channel = image_axes(where, f, x).channel if len(fitting) > 1 and x.ndim == 3 else None
        if fitting:
            return Positions(baseline, shape, channel if channel in fitting else fitting[0])
    rule = f"have the shape of x, {x.shape}, or that without its channels"
    fix = "A map at a layer's size: xaijax.resize(attribution, (height, width)). Other features: mask=."
    raise ValueError(complaint(where, "attribution", rule, f"shape {shape}", fix))


def patches(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    attribution: Array,
    baseline: Any = 0.0,
    *,
    size: int | None = None,
    along: int = 1,
) -> Patches:
    """Patches of `size` positions along each axis, of all channels of an image at once.

    By default of the size of which `along` fit along the longest side.

    Raises:
      TypeError: `x` is not one float array.
      ValueError: the attribution has neither the shape of `x` nor that without its channels.
    """
    at = positions(where, f, x, attribution)
    has_channels = at.channel is None and x.ndim == 3
    channel = image_axes(where, f, x).channel if has_channels else None
    longest = max([n for axis, n in enumerate(at.shape) if axis != channel], default=1)
    size = -(-longest // along) if size is None else size
    sizes = tuple(n if axis == channel else min(size, n) for axis, n in enumerate(at.shape))
    return Patches(baseline, at.shape, at.channel, sizes)


def patch_means(where: str, f: Callable[[Any], Any], x: Array, grid: Patches) -> Array:
    """The input with the mean of each patch in its place, each channel's own."""
    channel, sizes = grid.channel, list(grid.sizes)
    if channel is not None:
        sizes.insert(channel, 1)
    elif x.ndim == 3:
        sizes[image_axes(where, f, x).channel] = 1
    cells = Patches(0.0, x.shape, None, tuple(sizes))
    return cells.paint(feature_values(where, x, cells))


class Range(NamedTuple):
    """The lowest and the highest value of each channel of an input."""

    low: Array
    high: Array


def value_range(where: str, f: Callable[[Any], Any], x: Any) -> Range:
    """The range of each channel of an image, or of all of another input: it broadcasts to `x`.

    Raises:
      TypeError: `x` is not one float array.
    """
    check_float(where, x)
    channel = image_axes(where, f, x).channel if x.ndim == 3 else None
    axes = tuple(axis for axis in range(x.ndim) if axis != channel)
    return Range(x.min(axes, keepdims=True), x.max(axes, keepdims=True))


def blurred(where: str, f: Callable[[Any], Any], x: Any, *, sigma: float) -> Array:
    """An image without its details, in any layout: what many metrics take for its absence.

    Raises:
      TypeError: `x` is no image.
    """
    axes = image_axes(where, f, x)
    last = jnp.moveaxis(x, axes, (0, 1, 2))
    return jnp.moveaxis(blur(last, sigma), (0, 1, 2), axes)


class Features(NamedTuple):
    """The features of an input, the game of hiding them, and their attributions."""

    v: Game
    values: Float[Array, " d"]


def features(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    mask: Mask | None,
    baseline: Any = 0.0,
) -> Features:
    """The features of a mask, or the positions of the attribution against a baseline.

    Raises:
      ValueError: the attribution fits neither the input nor the mask.
    """
    if mask is None:
        mask = positions(where, f, x, attribution, baseline)
    mask = default_mask(where, x, mask)
    return Features(game(where, f, x, target, mask), feature_values(where, attribution, mask))


def feature_values(
    where: str, attribution: Float[Array, "*shape"], mask: Mask
) -> Float[Array, " d"]:
    """The attribution of each feature: the mean over what the mask paints with its value.

    Raises:
      ValueError: the attribution has neither one value per feature nor the shape that the mask paints.
    """
    attribution = attribution.astype(jnp.promote_types(attribution.dtype, jnp.float32))
    ones = jnp.ones(mask.num_features, attribution.dtype)
    painted, unpaint = jax.vjp(lambda values: paint(mask, values), ones)
    if attribution.shape == painted.shape:
        return unpaint(attribution)[0] / unpaint(painted)[0]
    if attribution.shape == ones.shape:
        return attribution
    rule = f"have the shape that the mask paints, {painted.shape}, or a value per feature, {ones.shape}"
    raise ValueError(complaint(where, "attribution", rule, f"shape {attribution.shape}"))
