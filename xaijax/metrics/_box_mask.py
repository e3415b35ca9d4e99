"""Boxes of objects as masks, as the metrics of localisation take them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from xaijax.core._errors import complaint
from xaijax.core._tree import is_traced


def box_mask(boxes: Int[Array, "*n 4"] | Any, shape: tuple[int, int]) -> Bool[Array, "h w"]:
    """The pixels inside any of the boxes.

    Args:
      boxes: a box `(y0, x0, y1, x1)`, or n of them, `(n, 4)`: pixels y0 to y1 - 1 from above, x0 to x1 - 1 from the
        left. What lies outside the image is cut off. Some data sets list x before y, or the last pixel inside, or
        width and height: convert those first.
      shape: height and width of the image.

    Returns:
      The mask.

    Raises:
      ValueError: `boxes` has another shape, or one ends before it begins (traced: such a box is empty).
      TypeError: the boxes are no integers.

    Examples:
      >>> box_mask((0, 1, 1, 3), (2, 4))
      Array([[False,  True,  True, False],
             [False, False, False, False]], dtype=bool)
    """
    boxes = boxes if is_traced(boxes) else np.asarray(boxes)
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4:
        rule = "be (y0, x0, y1, x1), or several of them, (n, 4)"
        raise ValueError(complaint("box_mask", "boxes", rule, f"shape {boxes.shape}"))
    if not jnp.issubdtype(boxes.dtype, jnp.integer):
        fix = "Round them to whole pixels first."
        raise TypeError(complaint("box_mask", "boxes", "be integers", boxes.dtype, fix))
    if not is_traced(boxes) and (boxes[..., :2] > boxes[..., 2:]).any():
        wrong = next(box for box in boxes.reshape(-1, 4) if (box[:2] > box[2:]).any())
        rule = "end after they begin, (y0, x0, y1, x1)"
        raise ValueError(complaint("box_mask", "boxes", rule, tuple(map(int, wrong))))
    y0, x0, y1, x1 = jnp.moveaxis(jnp.asarray(boxes).reshape(-1, 4), 1, 0)[:, :, None]
    y, x = jnp.arange(shape[0]), jnp.arange(shape[1])
    inside = ((y0 <= y) & (y < y1))[:, :, None] & ((x0 <= x) & (x < x1))[:, None, :]
    return inside.any(0)
