"""Whether a function is affine, and whether it starts with global average pooling: read off its equations."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from xaijax.core import _layout
from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._layout import Layout

# Affine in an active input beside constant ones.
_SUMS = frozenset({"add", "sub", "neg", "mul", "dot_general", "reduce_sum", "reduce_window_sum"})
# They move, copy or choose values, whatever these are.
_MOVES = frozenset({"reshape", "transpose", "broadcast_in_dim", "squeeze", "expand_dims", "slice"})
_MOVES |= {"dynamic_slice", "dynamic_update_slice", "concatenate", "pad", "select_n", "copy"}
_MOVES |= {"convert_element_type"}
#: What is known of a value without positions: they were summed.
POOLED = Layout((), None)


def not_affine(function: Callable[[Any], Any], x: Any) -> str:
    """What keeps a function of an array from being affine: the operation in the way, or an empty text."""
    return _walk(function, x, POOLED)


def not_pooled_and_affine(function: Callable[[Any], Any], features: Any) -> str:
    """What keeps a function of features `(h, w, K)` from being a mean over positions and an affine function.

    Returns:
      The operation in the way, or an empty text.
    """
    return _walk(function, features, Layout(tuple(range(features.ndim - 1)), features.ndim - 1))


def _walk(function: Callable[[Any], Any], x: Any, layout: Layout) -> str:
    in_the_way: list[str] = []

    def visit(site: Site, *values: Layout | None) -> Any:
        if not any(site.active):
            return site.fill(None)
        if site.is_call or site.op in ("custom_jvp_call", "custom_vjp_call"):
            return DEFER
        after = _follow(site, values)
        if after is None:
            in_the_way.append(site.op)
        return site.fill(after or POOLED)

    program = trace(function, x)
    interpreter = Interpreter(visit, open_custom=True, lift=lambda constant: None)
    ends = program.walk(interpreter, [None] * len(program.weights), [layout])
    if in_the_way:
        return f"'{in_the_way[0]}'"
    return "an output for each position" if any(v and v.spatial for v in ends) else ""


def _follow(site: Site, values: tuple[Layout | None, ...]) -> Layout | None:
    """Where the positions are after an equation; `None` if it is not affine, or treats them unlike."""
    active = [v for v, on in zip(values, site.active, strict=True) if on and v is not None]
    first = site.active.index(True)
    if len(active) > 1:
        same = len({*active}) == 1 and len(active) == len(values)
        return active[0] if site.op in ("add", "sub", "concatenate") and same else None
    if site.op not in _SUMS | _MOVES and (site.op != "div" or site.active[1]):
        return None
    if site.op == "select_n" and (site.active[0] or active[0].spatial):
        return None
    layout, before, after = active[0], site.inputs[first].shape, site.outputs[0].shape
    if not layout.spatial:
        return POOLED
    if site.op in ("add", "sub", "mul", "div"):
        other = site.inputs[1 - first].shape
        # A constant for each position would tell them apart.
        if other and any(other[a] != 1 for a in layout.spatial):
            return None
    if site.op == "dynamic_update_slice":  # positions put among other tokens
        return layout if not site.active[0] else None
    if site.op == "reduce_sum":
        return _summed(layout, site.params["axes"], len(before))
    window = site.params.get("window_dimensions")
    whole = window is not None and all(window[a] == before[a] for a in layout.spatial)
    if site.op == "reduce_window_sum" and whole:
        return POOLED
    found = _layout.after(site, values, after)
    same = found is not None and math.prod(after[a] for a in found.spatial) == math.prod(
        before[a] for a in layout.spatial
    )
    return found if same and found is not None and found.spatial else None


def _summed(layout: Layout, axes: Sequence[int], ndim: int) -> Layout | None:
    """Where the positions are after a sum over axes: all of them summed, or some axes of them, or none."""
    kept = [a for a in range(ndim) if a not in axes]
    if layout.channel not in kept:
        return None if set(layout.spatial) & set(kept) else POOLED
    spatial = tuple(kept.index(a) for a in layout.spatial if a in kept)
    return Layout(spatial, kept.index(layout.channel), grid=layout.grid) if spatial else POOLED
