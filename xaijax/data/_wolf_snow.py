"""Wolves and huskies whose background gives them away: the snow that a classifier of huskies looked at.

After Ribeiro, Singh and Guestrin, "Why Should I Trust You?", KDD 2016, arXiv:1602.04938, section 6.4, whose wolves had
snow behind them and whose huskies had none.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.data._drawing import check_generator, coincides, coordinates, keys, paint

_NOISE = 0.02


class WolfSnow(NamedTuple):
    """What `wolf_snow` draws.

    Attributes:
      images: red, green and blue, about 0 to 1.
      labels: 1 for a wolf, 0 for a husky.
      snow: which images have snow behind the animal; the others have grass.
      masks: which pixels are the animal's.
      backgrounds: which are not.
    """

    images: Float[Array, "n size size 3"]
    labels: Int[Array, "n"]
    snow: Bool[Array, "n"]
    masks: Bool[Array, "n size size"]
    backgrounds: Bool[Array, "n size size"]


class Animal(NamedTuple):
    """The parts of an image: what is behind, the animal alone, and the noise on both."""

    background: Float[Array, "size size 3"]
    animal: Float[Array, "size size 3"]
    mask: Bool[Array, "size size"]
    noise: Float[Array, "size size 3"]


def wolf_snow(
    key: Key[Array, ""], num_examples: int, *, correlation: Any, size: int = 32
) -> WolfSnow:
    """Draw the head of a wolf or a husky, on snow or grass.

    The heads have one outline, at a random place and of a random size; a wolf is grey with yellow eyes, a husky black
    with a white face and blue eyes.

    Args:
      key: decides all draws. Example i depends on the key, on i and on the correlation alone, and only the background
        on the correlation.
      num_examples: how many. Static.
      correlation: the probability of snow behind a wolf, and of grass behind a husky: at 1 the background is as good
        as the animal, at 0.5 it says nothing, at 0 all are swapped.
      size: height and width of an image, at least 24. Static.

    Returns:
      Images, labels, backgrounds, and the masks of animal and background.

    Raises:
      ValueError: the correlation is no probability, or a size is too small.
      TypeError: the key is no typed key, or a size is no integer.

    Examples:
      >>> import jax
      >>> drawn = wolf_snow(jax.random.key(0), 20, correlation=1.0)
      >>> bool(((drawn.labels == 1) == drawn.snow).all())
      True

    References:
      ribeiro2016lime
    """
    check_generator("wolf_snow", key, num_examples, size, 24, correlation)
    return _wolf_snow(key, num_examples, correlation, size)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _wolf_snow(key: Key[Array, ""], num_examples: int, correlation: Any, size: int) -> WolfSnow:
    def draw(key: Key[Array, ""]) -> WolfSnow:
        parts, wolf, snow = draw_animal(key, correlation, size)
        image = paint(parts.background, parts.mask, parts.animal) + parts.noise
        return WolfSnow(image, wolf.astype(jnp.int32), snow, parts.mask, ~parts.mask)

    return jax.vmap(draw)(keys(key, num_examples))


def draw_animal(
    key: Key[Array, ""], correlation: Any, size: int
) -> tuple[Animal, Bool[Array, ""], Bool[Array, ""]]:
    """The parts of one image; whether it is a wolf, and whether on snow."""
    of_numbers, of_grass, of_noise = jax.random.split(key, 3)
    u = jax.random.uniform(of_numbers, (7,))
    wolf = u[0] < 0.5
    snow = coincides(u[1], wolf, correlation)
    background = jnp.where(snow, _snow(u[2:4], size), _grass(of_grass, size))
    animal, mask = _head(u[4:], wolf, size)
    noise = _NOISE * jax.random.normal(of_noise, (size, size, 3))
    return Animal(background, animal, mask, noise), wolf, snow


def _snow(u: Float[Array, "2"], size: int) -> Float[Array, "size size 3"]:
    """White, with the soft blue shadows of drifts."""
    rows, columns = coordinates(size)
    drifts = jnp.sin(2 * jnp.pi * (2 * rows / size + (u[0] - 0.5) * columns / size + u[1]))
    return 0.9 + 0.08 * drifts[..., None] * jnp.array([1.0, 0.8, 0.4])


def _grass(key: Key[Array, ""], size: int) -> Float[Array, "size size 3"]:
    """Green, in blades 3 pixels high."""
    blades = jax.random.uniform(key, (-(-size // 3), size))
    light = jnp.repeat(blades, 3, axis=0)[:size, :, None]
    return jnp.array([0.12, 0.35, 0.08]) + light * jnp.array([0.2, 0.35, 0.12])


def _head(
    u: Float[Array, "3"], wolf: Bool[Array, ""], size: int
) -> tuple[Float[Array, "size size 3"], Bool[Array, "size size"]]:
    """The colours of a head, and its mask: an egg that narrows to the chin, and two ears."""
    radius = size * (0.2 + 0.1 * u[0])
    place = radius + u[1:] * (size - 2 * radius)
    rows, columns = coordinates(size)
    # -1 to 1 from the tips of the ears to the chin, and from side to side.
    v, side = (rows - place[0]) / radius, jnp.abs(columns - place[1]) / radius
    egg = (side / (0.9 - 0.35 * (v - 0.1))) ** 2 + ((v - 0.2) / 0.8) ** 2 <= 1
    ears = (v >= -1) & (v <= -0.1) & (jnp.abs(side - 0.6) <= 0.35 * (v + 1.1))
    face = (side / 0.5) ** 2 + ((v - 0.55) / 0.55) ** 2 <= 1
    eyes = (side - 0.33) ** 2 + (v - 0.0) ** 2 <= 0.15**2
    nose = (side <= 0.17) & (jnp.abs(v - 0.75) <= 0.13)
    grey, brown = jnp.array([0.45, 0.43, 0.42]), jnp.array([0.55, 0.48, 0.38])
    black, white = jnp.array([0.12, 0.12, 0.15]), jnp.array([0.97, 0.97, 0.97])
    yellow, blue = jnp.array([0.95, 0.75, 0.1]), jnp.array([0.2, 0.6, 1.0])
    colours = jnp.broadcast_to(jnp.where(wolf, grey, black), (size, size, 3))
    colours = paint(colours, face, jnp.where(wolf, brown, white))
    colours = paint(colours, eyes, jnp.where(wolf, yellow, blue))
    return paint(colours, nose, jnp.array([0.02, 0.02, 0.02])), egg | ears
