"""Which axes of an activation are space and which is the channel.

A convolution says so in its parameters, whatever the model's convention (NHWC, NCHW, no batch axis); from there
the answer is carried through the operations that follow, until one of them mixes the axes.
"""

import dataclasses
from collections.abc import Sequence

from xaijax.core._interpreter import Site

# Same rank in and out, and an axis keeps its meaning (its size may change).
_KEEP_AXES = frozenset({"pad", "slice", "dynamic_slice", "concatenate", "rev", "split"})
# Same rank, but the axes are somebody else's.
_LOSE_AXES = frozenset({"gather", "sort", "top_k", "scan", "while"})


@dataclasses.dataclass(frozen=True)
class Layout:
    """The axes of an activation: `spatial` in reading order, one `channel`; any other is of size 1.

    `convolved` tells whether a convolution stands behind it, or only the shape of the input.
    """

    spatial: tuple[int, ...]
    channel: int
    convolved: bool = True

    def moved(self, to: dict[int, int]) -> "Layout | None":
        """The layout after axis `a` went to `to[a]`; `None` if an axis is gone."""
        if any(axis not in to for axis in (*self.spatial, self.channel)):
            return None
        spatial = tuple(to[a] for a in self.spatial)
        return dataclasses.replace(self, spatial=spatial, channel=to[self.channel])


def after(site: Site, layouts: Sequence[Layout | None], shape: Sequence[int]) -> Layout | None:
    """The layout of an equation's output of some shape, from the layouts of its inputs."""
    if site.op == "conv_general_dilated":
        out = site.params["dimension_numbers"].out_spec
        return Layout(tuple(out[2:]), out[1])
    known = [(x, s.shape) for x, s in zip(layouts, site.inputs, strict=True) if x is not None]
    if not known:
        return None
    layout, before = known[0]
    match site.op:
        case "transpose":
            return layout.moved({a: i for i, a in enumerate(site.params["permutation"])})
        case "broadcast_in_dim":
            return layout.moved(dict(enumerate(site.params["broadcast_dimensions"])))
        case "reshape" | "squeeze" | "expand_dims":
            return layout.moved(_same_order(before, shape))
        case "dot_general":
            return _after_dot(site, layouts)
        case op if op.startswith(("reduce_", "arg")) and len(shape) < len(before):
            gone = site.params.get("axes", ())
            kept = [a for a in range(len(before)) if a not in gone]
            return layout.moved({a: i for i, a in enumerate(kept)})
        case op if op in _LOSE_AXES:
            return None
        case op if op in _KEEP_AXES or op.startswith("reduce_window"):
            return layout
    # Anything else that keeps the shape works element by element: arithmetic, activations, normalisation.
    return next((x for x, s in known if s == shape), None)


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
