"""A max pooling and its derivative, as XLA's CPU backend computes them best.

Of a window of 3x3 at 112x112x64 its own takes twice as long, that of the derivative 5 to 16 times (one image, four).
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from xaijax.core._interpreter import Site

# Each place of a window is a pass over the image.
_PLACES = 16


def maximum_of_slices(site: Site) -> Callable[[Array], Array] | None:
    """The largest of each window, of what its places see; `None` for a large window, or one with gaps."""
    p = site.params
    window, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    dilations = {*p["base_dilation"], *p["window_dilation"]}
    (like,), (out,) = site.inputs, site.outputs
    if (
        math.prod(window) > _PLACES
        or dilations != {1}
        or not jnp.issubdtype(like.dtype, jnp.floating)
    ):
        return None

    # Two equal ones would share the derivative of a maximum: of a window the first one has it.
    @jax.custom_jvp
    def largest(x: Array) -> Array:
        lowest = jnp.array(-jnp.inf, x.dtype)
        padded = lax.pad(x, lowest, [(*ends, 0) for ends in padding])
        places = itertools.product(*map(range, window))
        return functools.reduce(
            jnp.maximum, [_seen(padded, place, out.shape, strides) for place in places]
        )

    largest.defjvp(lambda primals, tangents: jax.jvp(site, primals, tangents))
    return largest


def scatter_to_maxima(site: Site) -> Callable[[Array, Array], Array] | None:
    """Add each window's number to where the window has its maximum, the first of equals; `None` for a large window."""
    p = site.params
    window, strides, padding = p["window_dimensions"], p["window_strides"], p["padding"]
    if p["select_prim"].name != "ge" or math.prod(window) > _PLACES:
        return None

    def scatter(numbers: Array, x: Array) -> Array:
        places = list(itertools.product(*map(range, window)))
        lowest = jnp.array(-jnp.inf, x.dtype)
        padded = lax.pad(x, lowest, [(*ends, 0) for ends in padding])
        best, where = _seen(padded, places[0], numbers.shape, strides), jnp.int8(0)
        for i, place in enumerate(places[1:], 1):
            value = _seen(padded, place, numbers.shape, strides)
            stays = best >= value
            best, where = jnp.where(stays, best, value), jnp.where(stays, where, jnp.int8(i))
        # Computed once, not for each place again.
        where = lax.optimization_barrier(where)
        total = jnp.zeros_like(x)
        for i, place in enumerate(places):
            ends = _ends(place, numbers.shape, strides, padding, x.shape)
            total += lax.pad(jnp.where(where == i, numbers, 0), jnp.zeros((), x.dtype), ends)
        return total

    return scatter


def _seen(x: Array, place: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> Array:
    """What one place of the window sees."""
    ends = [i + (n - 1) * s + 1 for i, n, s in zip(place, shape, strides, strict=True)]
    return lax.slice(x, place, ends, strides)


def _ends(
    place: Sequence[int],
    shape: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    full: Sequence[int],
) -> list[tuple[int, int, int]]:
    """Zeros before, behind and between what one place of the window sees, to fill the image."""
    ends = []
    for i, n, s, (before, _), size in zip(place, shape, strides, padding, full, strict=True):
        low = i - before
        ends.append((low, size - low - (n - 1) * s - 1, s - 1))
    return ends
