"""One activation of a model: its name, and its values as a feature map."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._interpreter import Path
from xaijax.core._layout import Grid, Layout


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Layer:
    """One activation of a model.

    Attributes:
      name: what to pass as `layer=`.
      operation: the operation whose result it is.
      shape: its shape for one example.
      dtype: its dtype.
      layout: which axes are space and which is the channel, if that is known.
      read: whether the outputs depend on its positions. After the last attention of a vision transformer they
        depend on the class token alone.
      trunk: whether all that is known of the positions flows through it; asked of tokens only, where queries, keys
        and values go side by side.
      inherits: whether its scope is only that of what it is computed from: no name stack says it, and no weight.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    dtype: Any
    layout: Layout | None = dataclasses.field(repr=False)
    path: Path = dataclasses.field(repr=False)
    output: int = dataclasses.field(repr=False)
    read: bool = dataclasses.field(default=True, repr=False)
    trunk: bool = dataclasses.field(default=True, repr=False)
    inherits: bool = dataclasses.field(default=False, repr=False)

    @property
    def is_spatial(self) -> bool:
        """Whether it is a feature map with more than one position: a convolution's, or tokens laid out in a grid."""
        if self.layout is None or not self.layout.convolved or self.layout.channel is None:
            return False
        if self.layout.within:
            return False
        return math.prod(self.positions) > 1

    @property
    def positions(self) -> tuple[int, ...]:
        """The height and width of its map."""
        if self.layout is None:
            return ()
        if self.layout.grid is not None:
            return self.layout.grid.sizes
        return tuple(self.shape[a] for a in self.layout.spatial)

    @property
    def scopes(self) -> Iterator[str]:
        """The modules around it, outermost first."""
        parts = self.name.split("/")
        return ("/".join(parts[:i]) for i in range(1, len(parts)))

    def zeros(self) -> Array:
        """An array of its shape and dtype."""
        return jnp.zeros(self.shape, self.dtype)

    def feature_map(self, activation: Float[Array, "..."]) -> Float[Array, "... K"]:
        """An activation as `(h, w, K)`: space first, channel last, axes of size 1 and other tokens dropped."""
        order, layout = self._order(), self.layout
        assert layout is not None
        rows = activation.transpose(order).reshape(-1, self.shape[order[-1]])
        if layout.grid is not None:
            rows = rows[layout.grid.start : layout.grid.stop]
        return rows.reshape(*self.positions, -1)

    def with_feature_map(
        self, activation: Float[Array, "..."], features: Float[Array, "... K"]
    ) -> Float[Array, "..."]:
        """The activation with `features`, `(h, w, K)`, in the place of its feature map."""
        order, layout = self._order(), self.layout
        assert layout is not None
        there = activation.transpose(order)
        rows = features.reshape(-1, features.shape[-1]).astype(activation.dtype)
        if layout.grid is not None and rows.shape[0] < self.shape[layout.spatial[0]]:
            kept = there.reshape(-1, rows.shape[-1])
            rows = lax.dynamic_update_slice(kept, rows, (layout.grid.start, 0))
        back = [order.index(a) for a in range(len(order))]
        return rows.reshape(there.shape).transpose(back)

    def _order(self) -> list[int]:
        layout = self.layout
        assert layout is not None
        assert layout.channel is not None
        last = [*layout.spatial, layout.channel]
        return [a for a in range(len(self.shape)) if a not in last] + last

    def mapped(self, where: str, grid: tuple[int, int] | None = None) -> "Layer":
        """The layer, if its activation is a map that the outputs depend on; its tokens laid out as `grid` says.

        Raises:
          ValueError: it has no space, an axis that is neither space nor channel, or nothing depends on it; or the
            grid does not fit.
        """
        layer = self if grid is None else self._laid_out(where, grid)
        got = f"'{self.name}' of shape {self.shape}"
        if layer.layout is None or layer.layout.channel is None or layer.layout.within:
            rule = "have spatial axes and a channel axis"
            raise ValueError(complaint(where, "layer", rule, got, self._advice()))
        axes = (*layer.layout.spatial, layer.layout.channel)
        if any(n != 1 for a, n in enumerate(self.shape) if a not in axes):
            rule = "have no axis besides space and channel"
            fix = "f takes one example; for a batch use jax.vmap."
            raise ValueError(complaint(where, "layer", rule, got, fix))
        if not layer.read:
            rule = "be one whose positions the outputs depend on"
            fix = (
                "What comes after it reads only other tokens (the class token): take the input of the last attention, "
                "as layer=None does."
            )
            raise ValueError(complaint(where, "layer", rule, got, fix))
        return layer

    def _laid_out(self, where: str, grid: tuple[int, int]) -> "Layer":
        whole = isinstance(grid, tuple) and all(type(n) is int and n > 0 for n in grid)
        if not whole or len(grid) != 2:
            rule = "be the height and width of the tokens' grid"
            raise TypeError(complaint(where, "grid", rule, repr(grid), "Such as grid=(14, 14)."))
        layout, count = self.layout, math.prod(grid)
        long = [a for a, n in enumerate(self.shape) if n != 1]
        tokens = [layout.spatial[0]] if layout is not None and layout.grid else long[:1]
        if len(long) != 2 or (layout is not None and not layout.grid and len(layout.spatial) > 1):
            rule = "be given only for tokens (n, channels)"
            got = f"{grid} for the layer '{self.name}' of shape {self.shape}"
            raise ValueError(complaint(where, "grid", rule, got))
        length = self.shape[tokens[0]]
        got = f"{grid}, which has {count}, for the layer '{self.name}' of shape {self.shape}"
        if count > length or 2 * count < length:
            rule = f"have as many positions as there are tokens, {length}, less class and register tokens"
            raise ValueError(complaint(where, "grid", rule, got))
        if layout is not None and layout.grid:
            if layout.grid.sizes != grid:
                rule = f"be that of the patch embedding, {layout.grid.sizes}, or left out"
                raise ValueError(complaint(where, "grid", rule, got))
            return self
        channel = next(a for a in long if a != tokens[0])
        # Class and register tokens come first.
        laid_out = Layout((tokens[0],), channel, grid=Grid(grid, length - count))
        return dataclasses.replace(self, layout=laid_out)

    def _advice(self) -> str:
        long = [n for n in self.shape if n != 1]
        if len(long) != 2:
            return "See xaijax.layers(f, x) for feature maps."
        side = math.isqrt(long[0])
        spare = long[0] - side * side
        example = (side, side) if spare <= 8 else ("height", "width")
        text = ", ".join(map(str, example))
        others = f", after {spare} other token{'s' * (spare > 1)}" if 0 < spare <= 8 else ""
        return (
            f"If its rows are the tokens of image patches, say how they lie: grid=({text}){others}."
        )
