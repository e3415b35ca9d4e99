"""Simple shapes on noise, where it is known which pixels are the object."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.data._drawing import (
    LARGEST,
    SHAPES,
    SMALLEST,
    between,
    check_generator,
    keys,
    lines,
    paint,
    shape,
)

_NUM_LINES = 3
_NOISE = 0.1


class Shapes(NamedTuple):
    """What `shapes` draws; with two objects there is one more axis after the first of labels and masks.

    Attributes:
      images: about 0 where nothing is and 0.6 to 1 on an object.
      labels: places in `SHAPES`.
      masks: which pixels are the object's.
    """

    images: Float[Array, "n size size 1"]
    labels: Int[Array, "n *objects"]
    masks: Bool[Array, "n *objects size size"]


class Scene(NamedTuple):
    """The parts of an image: what is behind, what is painted on it, and the noise on both."""

    background: Float[Array, "size size 1"]
    kinds: Int[Array, "objects"]
    masks: Bool[Array, "objects size size"]
    brightness: Float[Array, "objects"]
    noise: Float[Array, "size size 1"]

    def image(self) -> Float[Array, "size size 1"]:
        """All of them together."""
        image = self.background
        for mask, brightness in zip(self.masks, self.brightness, strict=True):
            image = paint(image, mask, brightness)
        return image + self.noise


def shapes(
    key: Key[Array, ""], num_examples: int, *, num_objects: int = 1, size: int = 32
) -> Shapes:
    """Draw a disc, a square, a triangle or a cross, at a random place.

    Objects are 6 to 12 pixels in height and width, on three thin lines that mean nothing and Gaussian noise of 0.1. Two
    objects are of two classes and apart, side by side or one above the other.

    Args:
      key: decides all draws. Example i depends on the key and on i alone.
      num_examples: how many. Static.
      num_objects: in each image, 1 or 2. Static.
      size: height and width of an image, at least 24. Static.

    Returns:
      Images, labels and masks; with two objects both labels and both masks of each image.

    Raises:
      ValueError: num_objects is not 1 or 2, or a size is too small.
      TypeError: the key is no typed key, or a size is no integer.

    Examples:
      >>> import jax
      >>> drawn = shapes(jax.random.key(0), 5, num_objects=2)
      >>> drawn.images.shape, drawn.labels.shape, drawn.masks.shape
      ((5, 32, 32, 1), (5, 2), (5, 2, 32, 32))
    """
    check_generator("shapes", key, num_examples, size, 2 * LARGEST)
    if num_objects not in (1, 2):
        raise ValueError(complaint("shapes", "num_objects", "be 1 or 2", repr(num_objects)))
    return _shapes(key, num_examples, num_objects, size)


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _shapes(key: Key[Array, ""], num_examples: int, num_objects: int, size: int) -> Shapes:
    def draw(key: Key[Array, ""]) -> Shapes:
        scene = draw_scene(key, num_objects, size)
        if num_objects == 1:
            return Shapes(scene.image(), scene.kinds[0], scene.masks[0])
        return Shapes(scene.image(), scene.kinds, scene.masks)

    return jax.vmap(draw)(keys(key, num_examples))


def draw_scene(key: Key[Array, ""], num_objects: int, size: int) -> Scene:
    """Draw the parts of one image."""
    of_lines, of_objects, of_sides, of_noise = jax.random.split(key, 4)
    u = jax.random.uniform(of_objects, (num_objects, 5)).T
    # The second of two kinds is 1, 2 or 3 after the first, and so another.
    kinds = jnp.cumsum(between(u[0], jnp.arange(num_objects) > 0, len(SHAPES) - 1)) % len(SHAPES)
    extent = between(u[1], SMALLEST, LARGEST)
    # Each of two objects has a half of the canvas; how it is halved is drawn.
    height = size // num_objects
    top = between(u[2], 0, height - extent) + height * jnp.arange(num_objects)
    left = between(u[3], 0, size - extent)
    turn = jax.random.bernoulli(of_sides) & (num_objects == 2)
    top, left = jnp.where(turn, left, top), jnp.where(turn, top, left)
    return Scene(
        lines(of_lines, _NUM_LINES, size),
        kinds,
        jax.vmap(shape, (0, 0, 0, 0, None))(kinds, top, left, extent, size),
        0.6 + 0.4 * u[4],
        _NOISE * jax.random.normal(of_noise, (size, size, 1)),
    )
