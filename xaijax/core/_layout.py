"""Which axes of an activation are space and which is the channel.

A convolution says so in its parameters, whatever the model's convention (NHWC, NCHW, no batch axis); from there
the answer is carried through the operations that follow, until one of them mixes the axes. A vision transformer lays
the positions of its patch embedding out in one axis of tokens: then the `Grid` remembers how they lie.
"""

import dataclasses
import math
from collections.abc import Sequence

from xaijax.core._interpreter import Site

# Same rank in and out, and an axis keeps its meaning (its size may change).
_KEEP_AXES = frozenset({"pad", "slice", "dynamic_slice", "concatenate", "rev", "split"})
# Same rank, but the axes are somebody else's.
_LOSE_AXES = frozenset({"gather", "sort", "top_k", "scan", "while", "fft"})
# Of one axis, whose elements they mix.
_MIX_AXIS = frozenset({"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"})


@dataclasses.dataclass(frozen=True)
class Grid:
    """How tokens lie in space: `sizes` positions in reading order, from token `start` on.

    What stands before and after them are class and register tokens.
    """

    sizes: tuple[int, ...]
    start: int = 0

    @property
    def stop(self) -> int:
        """The token after the last position."""
        return self.start + math.prod(self.sizes)


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of an activation: `spatial` in reading order, one `channel`; any other is of size 1.

    `channel` is `None` where it was summed over. `convolved` tells whether a convolution stands behind it, or only
    the shape of the input. With a `grid`, the one spatial axis holds tokens. Axes `within` run through the positions
    of a window, as of a pooling that is written as a reshape, until it reduces them.
    """

    spatial: tuple[int, ...]
    channel: int | None
    convolved: bool = True
    grid: Grid | None = None
    within: tuple[int, ...] = ()

    def moved(self, to: dict[int, int]) -> "Layout | None":
        """The layout after axis `a` went to `to[a]`; `None` if a spatial axis is gone."""
        if any(axis not in to for axis in self.spatial):
            return None
        spatial = tuple(to[a] for a in self.spatial)
        channel = None if self.channel is None else to.get(self.channel)
        within = tuple(to[a] for a in self.within if a in to)
        return dataclasses.replace(self, spatial=spatial, channel=channel, within=within)

    def with_grid(self, grid: Grid | None) -> "Layout":
        """The same axes; the tokens lie otherwise."""
        return dataclasses.replace(self, grid=grid)


#: Tokens none of which are positions: the class token, cut out of the others.
NO_POSITIONS = Layout((), None)


def after(
    site: Site, layouts: Sequence[Layout | None], shape: Sequence[int], output: int = 0
) -> Layout | None:
    """The layout of an equation's output of some shape, from the layouts of its inputs."""
    if site.op == "conv_general_dilated":
        out = site.params["dimension_numbers"].out_spec
        return Layout(tuple(out[2:]), out[1])
    inputs = zip(layouts, site.inputs, strict=True)
    known = [(x, s.shape) for x, s in inputs if x is not None and x.spatial]
    if not known:
        active = [x for x, on in zip(layouts, site.active, strict=True) if on]
        return NO_POSITIONS if all(x is NO_POSITIONS for x in active) else None
    layout, before = known[0]
    match site.op:
        case "transpose":
            return layout.moved({a: i for i, a in enumerate(site.params["permutation"])})
        case "broadcast_in_dim":
            return layout.moved(dict(enumerate(site.params["broadcast_dimensions"])))
        case "reshape" | "squeeze" | "expand_dims":
            return _after_reshape(layout, before, shape)
        case "dot_general":
            return _after_dot(site, layouts)
        case op if op.startswith(("reduce_", "arg")) and len(shape) < len(before):
            gone = site.params.get("axes", ())
            kept = [a for a in range(len(before)) if a not in gone]
            return layout.moved({a: i for i, a in enumerate(kept)})
        case "gather" | "dynamic_slice" if _takes_one_token(site, layout):
            return NO_POSITIONS
        case op if op in _LOSE_AXES or (op in _MIX_AXIS and site.params["axis"] in layout.spatial):
            return None
        case "rev" if set(site.params["dimensions"]) & set(layout.spatial):
            return None
        case "concatenate" if len(known) > 1 and site.params["dimension"] in layout.spatial:
            return None
        case op if op in _KEEP_AXES:
            return _after_cut(site, layouts, layout, output) if layout.grid else layout
        case op if op.startswith("reduce_window"):
            return layout
    # Anything else that keeps the shape works element by element: arithmetic, activations, normalisation.
    # The first that has a channel counts; else one whose channels were summed, stretched over the others' again.
    same = [x for x, s in known if s == tuple(shape)]
    stretched = [x for x, s in known if _stretches(x, s, shape)]
    return next((x for x in same if x.channel is not None), next(iter(same + stretched), None))


def _stretches(layout: Layout, before: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an elementwise operation repeats a value along axes of size 1, none of them spatial."""
    return len(before) == len(shape) and all(
        n == m or (n == 1 and a not in layout.spatial)
        for a, (n, m) in enumerate(zip(before, shape, strict=True))
    )


def image_axes(layout: Layout | None, site: Site) -> Layout | None:
    """The axes of the model's input, seen from the first convolution that reads it.

    Args:
      layout: where the axes of the input are in what the convolution reads, in their order.
      site: the convolution.
    """
    if layout is None or layout.channel is None:
        return None
    numbers = site.params["dimension_numbers"].lhs_spec
    axes = {place: axis for axis, place in enumerate((*layout.spatial, layout.channel))}
    if numbers[1] not in axes or any(place not in axes for place in numbers[2:]):
        return None
    return Layout(tuple(axes[p] for p in numbers[2:]), axes[numbers[1]], convolved=False)


def _after_reshape(layout: Layout, before: Sequence[int], shape: Sequence[int]) -> Layout | None:
    """Axes of size 1 come and go; positions may be put into windows, or become tokens, and tokens positions."""
    if moved := layout.moved(_same_order(before, shape)):
        return moved
    if layout.within:
        return None
    groups = _groups(before, shape)
    channel = next(
        (new[0] for old, new in groups if (old, len(new)) == ([layout.channel], 1)), None
    )
    if split := _in_windows(layout, groups):
        return dataclasses.replace(split, channel=channel)
    positions = [a for a in layout.spatial if before[a] != 1]
    for old, new in groups:
        if len(new) == 1 and old == positions and not layout.grid and layout.convolved:
            grid = Grid(tuple(before[a] for a in layout.spatial))
            return dataclasses.replace(layout, spatial=(new[0],), channel=channel, grid=grid)
        if layout.grid and old == positions:
            if len(new) == 1:  # the channel was split, into heads
                return dataclasses.replace(layout, spatial=(new[0],), channel=channel)
            if layout.grid == Grid(tuple(shape[a] for a in new)):
                spatial = tuple(new)
                return dataclasses.replace(layout, spatial=spatial, channel=channel, grid=None)
    return None


def _in_windows(layout: Layout, groups: list[tuple[list[int], list[int]]]) -> Layout | None:
    """The layout if spatial axes were split in two, of windows and of the positions in one; else `None`."""
    became = {old[0]: new for old, new in groups if len(old) == 1}
    if layout.grid or not all(len(became.get(a, ())) in (1, 2) for a in layout.spatial):
        return None
    within = tuple(became[a][1] for a in layout.spatial if len(became[a]) == 2)
    spatial = tuple(became[a][0] for a in layout.spatial)
    return dataclasses.replace(layout, spatial=spatial, within=within) if within else None


def _groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Which axes of a reshape became which, as the smallest groups of equal size; axes of size 1 left out."""
    old = [a for a, n in enumerate(before) if n != 1]
    new = [a for a, n in enumerate(after) if n != 1]
    groups = []
    while old and new:
        left, right = [old.pop(0)], [new.pop(0)]
        while (m := math.prod(before[a] for a in left)) != (
            n := math.prod(after[a] for a in right)
        ):
            (left if m < n else right).append((old if m < n else new).pop(0))
        groups.append((left, right))
    return groups


def _same_order(before: Sequence[int], after: Sequence[int]) -> dict[int, int]:
    """Where the axes went when only axes of size 1 came or went; empty if others were merged or split."""
    old = [a for a, n in enumerate(before) if n != 1]
    new = [a for a, n in enumerate(after) if n != 1]
    if [before[a] for a in old] != [after[a] for a in new]:
        return {}
    moved = dict(zip(old, new, strict=True))
    # A spatial axis of size 1 has no place to be told from; give it what is left, in order.
    spare = (a for a, n in enumerate(after) if n == 1)
    return moved | dict(zip((a for a, n in enumerate(before) if n == 1), spare, strict=False))


def _after_dot(site: Site, layouts: Sequence[Layout | None]) -> Layout | None:
    """A 1x1 convolution written as a matrix product: the channel is contracted with a weight."""
    (contract, batch) = site.params["dimension_numbers"]
    side = 0 if layouts[0] is not None else 1
    layout, other = layouts[side], 1 - side
    if (
        layout is None
        or layout.channel is None
        or site.active[other]
        or batch[0]
        or tuple(contract[side]) != (layout.channel,)
    ):
        return None
    free = [a for a in range(len(site.inputs[side].shape)) if a != layout.channel]
    new = len(site.inputs[other].shape) - 1
    if new != 1:
        return None
    first = 0 if side == 0 else new
    moved = {a: first + i for i, a in enumerate(free)}
    return layout.moved(moved | {layout.channel: len(free) if side == 0 else 0})


def _takes_one_token(site: Site, layout: Layout) -> bool:
    """Whether an index that nobody knows here picks one token: of tokens of two kinds, the class token."""
    if layout.grid is None:
        return False
    axis, length = layout.spatial[0], site.inputs[0].shape[layout.spatial[0]]
    others = length > layout.grid.stop - layout.grid.start
    return others and site.params["slice_sizes"][axis] == 1


def _after_cut(
    site: Site, layouts: Sequence[Layout | None], layout: Layout, output: int
) -> Layout | None:
    """Tokens put before or after the positions, or taken away."""
    (axis,), grid, p = layout.spatial, layout.grid, site.params
    assert grid is not None
    length = next(s.shape[axis] for s, x in zip(site.inputs, layouts, strict=True) if x is layout)
    match site.op:
        case "concatenate" if p["dimension"] == axis:
            before = sum(s.shape[axis] for s in site.inputs[: layouts.index(layout)])
            return layout.with_grid(dataclasses.replace(grid, start=grid.start + before))
        case "pad":
            low, _, interior = p["padding_config"][axis]
            if interior or low < 0:
                return None
            return layout.with_grid(dataclasses.replace(grid, start=grid.start + low))
        case "slice":
            stride = (p["strides"] or [1] * len(p["start_indices"]))[axis]
            start, stop = p["start_indices"][axis], p["limit_indices"][axis]
        case "split" if p["axis"] == axis:
            start, stride = sum(p["sizes"][:output]), 1
            stop = start + p["sizes"][output]
        case "split" | "concatenate":
            return layout
        case "rev":
            return layout
        case "dynamic_slice" if p["slice_sizes"][axis] == length:
            return layout
        case _:
            return None
    if stop <= grid.start or start >= grid.stop:
        return NO_POSITIONS
    if start > grid.start or stop < grid.stop or stride != 1:
        return None
    return layout.with_grid(dataclasses.replace(grid, start=grid.start - start))
