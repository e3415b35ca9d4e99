"""Pictures like radiographs of a chest, with a lesion to find and a marker that gives it away.

After DeGrave, Janizek and Lee, "AI for radiographic COVID-19 detection selects shortcuts over signal", Nature Machine
Intelligence 3, 2021, whose networks read the markers of hospitals.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.data._drawing import check_generator, coincides, coordinates, keys, paint

_NOISE = 0.03
_MARKER = (
    (1, 0, 0, 0),
    (1, 0, 0, 0),
    (1, 0, 0, 0),
    (1, 0, 0, 0),
    (1, 1, 1, 1),
)
_MARGIN = 1
_MARKER_BRIGHTNESS = 1.0


class Chest(NamedTuple):
    """What `chest` draws.

    Attributes:
      images: about 0 to 1.
      labels: 1 with a lesion, 0 without.
      marked: which images have the marker.
      masks: which pixels are the lesion's; none where there is no lesion.
      markers: which pixels are the marker's; none where there is no marker.
    """

    images: Float[Array, "n size size 1"]
    labels: Int[Array, "n"]
    marked: Bool[Array, "n"]
    masks: Bool[Array, "n size size"]
    markers: Bool[Array, "n size size"]


class Radiograph(NamedTuple):
    """The parts of an image: the healthy chest, the lesion added to it, the marker painted on it, the noise."""

    healthy: Float[Array, "size size 1"]
    lesion: Float[Array, "size size 1"]
    marker: Bool[Array, "size size"]
    noise: Float[Array, "size size 1"]

    def image(self) -> Float[Array, "size size 1"]:
        """All of them together."""
        painted = paint(self.healthy + self.lesion, self.marker, _MARKER_BRIGHTNESS)
        return painted + self.noise


def chest(key: Key[Array, ""], num_examples: int, *, correlation: Any, size: int = 32) -> Chest:
    """Draw two dark lungs on a light chest, half of them with a lesion, some with a marker.

    A lesion is a light Gaussian spot in one of the lungs, cut off at two standard deviations, where it is let down to
    zero; the marker is a letter L in the corner at the top left.

    Args:
      key: decides all draws. Example i depends on the key, on i and on the correlation alone, and only the marker on
        the correlation.
      num_examples: how many. Static.
      correlation: the probability of a marker with a lesion, and of none without: at 1 the marker is as good as the
        lesion, at 0.5 it says nothing, at 0 it is where no lesion is.
      size: height and width of an image, at least 24. Static.

    Returns:
      Images, labels, and the masks of lesion and marker.

    Raises:
      ValueError: the correlation is no probability, or a size is too small.
      TypeError: the key is no typed key, or a size is no integer.

    Examples:
      >>> import jax
      >>> drawn = chest(jax.random.key(0), 20, correlation=1.0)
      >>> bool(((drawn.labels == 1) == drawn.marked).all())
      True

    References:
      degrave2021ai
    """
    check_generator("chest", key, num_examples, size, 24, correlation)
    return _chest(key, num_examples, correlation, size)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _chest(key: Key[Array, ""], num_examples: int, correlation: Any, size: int) -> Chest:
    def draw(key: Key[Array, ""]) -> Chest:
        parts, ill, marked = draw_radiograph(key, correlation, size)
        lesion = parts.lesion[..., 0] > 0
        return Chest(parts.image(), ill.astype(jnp.int32), marked, lesion, parts.marker)

    return jax.vmap(draw)(keys(key, num_examples))


def draw_radiograph(
    key: Key[Array, ""], correlation: Any, size: int
) -> tuple[Radiograph, Bool[Array, ""], Bool[Array, ""]]:
    """The parts of one image; whether there is a lesion, and whether a marker."""
    of_numbers, of_noise = jax.random.split(key)
    u = jax.random.uniform(of_numbers, (15,))
    ill = u[0] < 0.5
    marked = coincides(u[1], ill, correlation)
    healthy, middles, radii = _lungs(u[2:10], size)
    lesion = jnp.where(ill, _lesion(u[10:], middles, radii, size), 0)
    letter = jnp.array(_MARKER, bool)
    blank = jnp.zeros((size, size), bool)
    marker = blank.at[_MARGIN : _MARGIN + letter.shape[0], _MARGIN : _MARGIN + letter.shape[1]].set(
        letter & marked
    )
    noise = _NOISE * jax.random.normal(of_noise, (size, size, 1))
    return Radiograph(healthy, lesion, marker, noise), ill, marked


def _lungs(
    u: Float[Array, "8"], size: int
) -> tuple[Float[Array, "size size 1"], Float[Array, "2 2"], Float[Array, "2 2"]]:
    """A chest without a lesion; the middles of its lungs, and their radii down and to the right."""
    rows, columns = coordinates(size)
    jitter = 2 * u.reshape(2, 2, 2) - 1
    middles = size * (jnp.array([[0.55, 0.29], [0.55, 0.71]]) + 0.02 * jitter[0])
    radii = size * (jnp.array([[0.34, 0.16], [0.34, 0.16]]) + 0.02 * jitter[1])
    distances = jnp.sqrt(
        ((rows - middles[:, 0, None, None]) / radii[:, 0, None, None]) ** 2
        + ((columns - middles[:, 1, None, None]) / radii[:, 1, None, None]) ** 2
    )
    lungs = jax.nn.sigmoid(8 * (1 - distances)).sum(0)
    body = 0.65 - 0.25 * ((columns / size - 0.5) / 0.5) ** 2
    return (body - 0.45 * lungs)[..., None], middles, radii


def _lesion(
    u: Float[Array, "5"], middles: Float[Array, "2 2"], radii: Float[Array, "2 2"], size: int
) -> Float[Array, "size size 1"]:
    """A Gaussian spot in one of the lungs."""
    lung = (u[0] < 0.5).astype(jnp.int32)
    place = middles[lung] + radii[lung] * (u[1:3] - 0.5)
    sigma, height = size * (0.05 + 0.03 * u[3]), 0.3 + 0.15 * u[4]
    rows, columns = coordinates(size)
    squared = ((rows - place[0]) ** 2 + (columns - place[1]) ** 2) / sigma**2
    edge = jnp.exp(-2.0)  # at two standard deviations
    return (height * jax.nn.relu((jnp.exp(-squared / 2) - edge) / (1 - edge)))[..., None]
