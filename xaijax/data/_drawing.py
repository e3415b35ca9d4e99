"""Objects drawn on a canvas, with their masks: exact, because the image is painted by the mask.

What is random comes in few draws, of many uniform numbers each: a draw takes longer to compile than all the rest.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Int, Key

from xaijax.core._errors import check_positive, complaint
from xaijax.core._inputs import check_key

#: The classes of `shapes` and `watermark`, in the order of their labels.
SHAPES = ("disc", "square", "triangle", "cross")
SMALLEST, LARGEST = 6, 12


def check_generator(
    where: str, key: Any, num_examples: int, size: int, smallest: int, correlation: Any = None
) -> None:
    """Raise unless the arguments that all generators share are what they should be."""
    check_key(where, key)
    check_positive(where, num_examples=num_examples, size=size)
    if size < smallest:
        rule = f"be at least {smallest}, so that there is room"
        raise ValueError(complaint(where, "size", rule, size))
    if isinstance(correlation, int | float) and not 0 <= correlation <= 1:
        rule = "be a probability, 0 to 1"
        raise ValueError(complaint(where, "correlation", rule, correlation))


def keys(key: Key[Array, ""], num_examples: int) -> Key[Array, "n"]:
    """One key for each example, which depends on its place alone."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num_examples))


def coordinates(size: int) -> tuple[Float[Array, "size 1"], Float[Array, "1 size"]]:
    """The middles of pixels, down and to the right."""
    middles = jnp.arange(size) + 0.5
    return middles[:, None], middles[None]


def paint(
    image: Float[Array, "h w c"], mask: Bool[Array, "h w"], colour: ArrayLike
) -> Float[Array, "h w c"]:
    """The image with a colour where the mask is."""
    return jnp.where(mask[..., None], colour, image)


def shape(
    kind: Int[Array, ""], top: Array, left: Array, extent: Array, size: int
) -> Bool[Array, "size size"]:
    """The mask of one of `SHAPES`, in a box of `extent` pixels whose corner is at (top, left)."""
    rows, columns = coordinates(size)
    # -1 to 1 inside the box.
    v, u = 2 * (rows - top) / extent - 1, 2 * (columns - left) / extent - 1
    inside = jnp.maximum(jnp.abs(u), jnp.abs(v)) <= 1
    kinds = jnp.stack(
        [
            u**2 + v**2 <= 1,
            inside,
            inside & (jnp.abs(u) <= (v + 1) / 2),
            inside & (jnp.minimum(jnp.abs(u), jnp.abs(v)) <= 1 / 3),
        ]
    )
    return kinds[kind]


def between(u: Array, smallest: Array | int, largest: Array | int) -> Int[Array, "..."]:
    """A whole number of these, all alike, from a uniform number."""
    return smallest + jnp.floor(u * (largest - smallest + 1)).astype(jnp.int32)


def lines(key: Key[Array, ""], count: int, size: int) -> Float[Array, "size size 1"]:
    """A dark canvas with thin straight lines across it, which belong to no object."""
    rows, columns = coordinates(size)

    def draw(u: Float[Array, "3"]) -> Float[Array, "size size"]:
        angle, offset = jnp.pi * u[0], (u[1] - 0.5) * size
        distance = (rows - size / 2) * jnp.cos(angle) + (columns - size / 2) * jnp.sin(angle)
        return (jnp.abs(distance - offset) < 0.5) * (0.2 + 0.3 * u[2])

    return jax.vmap(draw)(jax.random.uniform(key, (count, 3))).max(0)[..., None]


def coincides(u: Array, condition: Array, correlation: Any) -> Bool[Array, ""]:
    """Whether a feature is there: with the probability `correlation` if the condition holds, else with what remains."""
    return u < jnp.where(condition, correlation, 1 - correlation)
