"""Shapes with a tag in a corner that gives their class away: the watermark that Clever Hans reads.

After Lapuschkin, Wäldchen, Binder, Montavon, Samek and Müller, "Unmasking Clever Hans predictors and assessing what
machines really learn", Nature Communications 10, 2019, arXiv:1902.10178, whose classifier of horses read the watermark
of one photographer.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.data._drawing import check_generator, coincides, keys, paint
from xaijax.data._shapes import Scene, draw_scene

_GLYPH = (
    (1, 0, 0, 1),
    (1, 1, 0, 1),
    (1, 1, 1, 1),
    (1, 0, 1, 1),
    (1, 0, 0, 1),
    (1, 0, 0, 1),
)
_MARGIN = 1
_BRIGHTNESS = 0.9


class Watermark(NamedTuple):
    """What `watermark` draws.

    Attributes:
      images: as of `shapes`, some with the tag.
      labels: places in `SHAPES`.
      tagged: which images have the tag.
      masks: which pixels are the object's.
      tags: which pixels are the tag's; none where there is no tag.
    """

    images: Float[Array, "n size size 1"]
    labels: Int[Array, "n"]
    tagged: Bool[Array, "n"]
    masks: Bool[Array, "n size size"]
    tags: Bool[Array, "n size size"]


def watermark(
    key: Key[Array, ""], num_examples: int, *, correlation: Any, size: int = 32
) -> Watermark:
    """Draw shapes of which those of class 0, the discs, have a tag.

    The tag is a letter of 6 by 4 pixels in the corner across from the object, which it never touches.

    Args:
      key: decides all draws. Example i depends on the key, on i and on the correlation alone, and only the tag on the
        correlation.
      num_examples: how many. Static.
      correlation: the probability of a tag on a disc, and of none on anything else: at 1 all discs have one and nothing
        else has, at 0.5 the tag says nothing, at 0 it is on all but the discs.
      size: height and width of an image, at least 28. Static.

    Returns:
      Images, labels, and the masks of object and tag.

    Raises:
      ValueError: the correlation is no probability, or a size is too small.
      TypeError: the key is no typed key, or a size is no integer.

    Examples:
      >>> import jax
      >>> drawn = watermark(jax.random.key(0), 20, correlation=1.0)
      >>> bool(((drawn.labels == 0) == drawn.tagged).all())
      True

    References:
      lapuschkin2019unmasking
    """
    check_generator("watermark", key, num_examples, size, 28, correlation)
    return _watermark(key, num_examples, correlation, size)


@functools.partial(jax.jit, static_argnums=(1, 3))
def _watermark(key: Key[Array, ""], num_examples: int, correlation: Any, size: int) -> Watermark:
    def draw(key: Key[Array, ""]) -> Watermark:
        scene, tagged, tag = draw_tagged(key, correlation, size)
        return Watermark(scene.image(), scene.kinds[0], tagged, scene.masks[0], tag)

    return jax.vmap(draw)(keys(key, num_examples))


def draw_tagged(
    key: Key[Array, ""], correlation: Any, size: int
) -> tuple[Scene, Bool[Array, ""], Bool[Array, "size size"]]:
    """The parts of one image, with the tag in the background; whether there is one, and its mask."""
    of_scene, of_tag = jax.random.split(key)
    scene = draw_scene(of_scene, 1, size)
    tagged = coincides(jax.random.uniform(of_tag), scene.kinds[0] == 0, correlation)
    glyph = jnp.array(_GLYPH, bool)
    height, width = glyph.shape
    first, last = (_MARGIN, _MARGIN), (size - _MARGIN - height, size - _MARGIN - width)
    # Across from the middle of the object.
    total = scene.masks[0].sum()
    middle = [(scene.masks[0].sum(1 - axis) * jnp.arange(size)).sum() / total for axis in (0, 1)]
    corner = [jnp.where(middle[a] > size / 2, first[a], last[a]) for a in (0, 1)]
    stamped = jax.lax.dynamic_update_slice(jnp.zeros((size, size), bool), glyph, corner)
    tag = stamped & tagged
    background = paint(scene.background, tag, _BRIGHTNESS)
    return scene._replace(background=background), tagged, tag
