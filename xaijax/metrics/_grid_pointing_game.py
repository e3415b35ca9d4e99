"""Grid pointing game (Böhle, Fritz & Schiele, CVPR 2021; arXiv:2104.00032v2), and its mosaics.

Notation: a the attribution of a mosaic, s the mask of the tile of the explained class.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from xaijax.core._errors import check_positive, complaint
from xaijax.metrics._located import Located, positive_mass
from xaijax.metrics._metric import metric


@metric("localisation", "higher", read="part")
def grid_pointing_game(
    attribution: Float[Array, "*shape"], truth: Bool[Array, "*shape"]
) -> Located:
    r"""The share of the positive attribution of a mosaic that lies in the tile of the explained class.

    .. math:: \frac{\sum_{i \in s} \max(a_i, 0)}{\sum_i \max(a_i, 0)}

    `mosaic` makes the image and the masks. The tiles have distinct classes, and of a class that is in the image once
    it is known, without any annotation, where the evidence must lie. The paper takes 3 x 3 images that the model
    classifies rightly and with the highest confidence.

    With two tiles of the explained class, `truths[i] | truths[j]`, it is Focus (Arias-Duart et al. 2022), on 2 x 2
    images. The formula is that of `energy_pointing_game`.

    Args:
      attribution: what is judged: an attribution of the mosaic, `(h, w)` or of any other shape.
      truth: the mask of the tile, of the same shape.

    Returns:
      The share, 0-d, between 0 and 1; 1 / n for a flat map over n tiles; NaN if the mask is empty or nothing is
      positive. The same for any multiple of the attribution. Higher is better. `grid_pointing_game.details` gives the
      share with the `area` of the tile, 1 / n, and the `lift` over it.

    Raises:
      ValueError: the mask has another shape or other values than true and false, or the attribution is not finite
        (traced: NaN).
      TypeError: the attribution is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> made = mosaic(jnp.ones((4, 8, 8, 3)))
      >>> made.image.shape
      (16, 16, 3)
      >>> a = jnp.zeros((16, 16)).at[0, 0].set(3.0).at[0, 15].set(1.0)
      >>> grid_pointing_game(a, made.truths[0])
      Array(0.75, dtype=float32)

    References:
      bohle2021convolutional
      ariasduart2022focus
    """
    return positive_mass(attribution, truth)


class Mosaic(NamedTuple):
    """Images side by side, as one.

    Attributes:
      image: all of them, row by row.
      truths: for each image the mask of its tile.
    """

    image: Float[Array, "H W *c"]
    truths: Bool[Array, "n H W"]


def mosaic(
    images: Float[Array, "n h w *c"] | Any, *, grid: tuple[int, int] | None = None
) -> Mosaic:
    """Images of one size as the tiles of one image, for a model that takes images of that size.

    A network that ends in a global pooling takes images of any size. Shuffle the images before, so that a method that
    prefers a corner gains nothing.

    Args:
      images: n images of one size, `(h, w)` or `(h, w, c)`: one array or a sequence.
      grid: how many rows and columns; by default as many of both.

    Returns:
      The image `(rows h, columns w, c)`, filled row by row, and the masks of its tiles, `(n, rows h, columns w)`, as
      the metrics of localisation take them.

    Raises:
      ValueError: the images have several sizes, or their number is not that of the tiles.

    Examples:
      >>> made = mosaic(jnp.array([[[1.0]], [[2.0]], [[3.0]], [[4.0]]]))
      >>> made.image
      Array([[1., 2.],
             [3., 4.]], dtype=float32)
      >>> made.truths[1]
      Array([[False,  True],
             [False, False]], dtype=bool)
    """
    sizes = {np.shape(image) for image in images}
    if len(sizes) != 1 or len(next(iter(sizes))) not in (2, 3):
        rule = "be images of one size, (h, w) or (h, w, c)"
        raise ValueError(complaint("mosaic", "images", rule, f"shapes {sorted(sizes)}"))
    tiles = jnp.stack([jnp.asarray(image) for image in images])
    count, h, w = tiles.shape[:3]
    rows, columns = grid or (math.isqrt(count), math.isqrt(count))
    check_positive("mosaic", rows=rows, columns=columns)
    if rows * columns != count:
        rule = f"have a tile for each of the {count} images"
        fix = "For 6 images, grid=(2, 3)."
        raise ValueError(complaint("mosaic", "grid", rule, (rows, columns), fix))

    def side_by_side(tiles: Array) -> Array:
        laid = jnp.moveaxis(tiles.reshape(rows, columns, *tiles.shape[1:]), 1, 2)
        return laid.reshape(rows * h, columns * w, *tiles.shape[3:])

    number = jnp.broadcast_to(jnp.arange(count)[:, None, None], (count, h, w))
    return Mosaic(side_by_side(tiles), jnp.arange(count)[:, None, None] == side_by_side(number))
