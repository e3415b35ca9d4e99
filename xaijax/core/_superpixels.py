"""Superpixels of an image by scikit-image, numbered as `segments` wants them."""

import importlib.util
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from xaijax.core._errors import check_positive, complaint, nearest

_METHODS = ("quickshift", "slic", "felzenszwalb", "grid")


def superpixels(
    image: Float[np.ndarray, "h w c"],
    method: str = "quickshift",
    **settings: Any,
) -> Int[np.ndarray, "h w"]:
    """Cut an image into segments of similar colour.

    Args:
      image: pixels `(h, w, 3)`, uint8 or floats in [0, 1].
      method: `quickshift` with the settings of LIME's reference implementation (kernel_size 4, max_dist 200,
        ratio 0.2, but always the same seed), `slic`, `felzenszwalb`, or a `grid` of `rows` x `columns`.
      **settings: of the method; see scikit-image.

    Returns:
      The segment of each pixel `(h, w)`: 0, 1, ..., n-1.

    Raises:
      ValueError: an unknown method, or no image.
      ModuleNotFoundError: the method needs scikit-image, which is not installed.

    Examples:
      >>> superpixels(np.zeros((2, 4, 3)), "grid", rows=1, columns=2)
      array([[0, 0, 1, 1],
             [0, 0, 1, 1]])

    References:
      vedaldi2008quick, achanta2012slic, felzenszwalb2004efficient
    """
    image = np.asarray(image)
    if image.ndim != 3:
        raise ValueError(complaint("superpixels", "image", "have the shape (h, w, 3)", image.shape))
    if method not in _METHODS:
        rule = f"be one of {', '.join(_METHODS)}"
        raise ValueError(
            complaint("superpixels", "method", rule, repr(method), nearest(method, _METHODS))
        )
    if method == "grid":
        return _grid(image.shape[:2], **settings)
    if importlib.util.find_spec("skimage") is None:
        rule, fix = "be grid unless scikit-image is installed", 'pip install "xaijax[image]"'
        raise ModuleNotFoundError(complaint("superpixels", "method", rule, repr(method), fix))
    from skimage import segmentation

    if method == "quickshift":
        settings = {"kernel_size": 4, "max_dist": 200, "ratio": 0.2, "rng": 0, **settings}
    elif method == "slic":
        settings = {"n_segments": 50, "compactness": 10.0, "start_label": 0, **settings}
    labels = getattr(segmentation, method)(image, **settings)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


def _grid(size: tuple[int, ...], rows: int = 7, columns: int = 7) -> np.ndarray:
    check_positive("superpixels", rows=rows, columns=columns)
    if rows > size[0] or columns > size[1]:
        rule = f"have no more cells than the image of {size[0]}x{size[1]} has pixels"
        raise ValueError(complaint("superpixels", "rows, columns", rule, (rows, columns)))
    row, column = (np.arange(n) * k // n for n, k in zip(size, (rows, columns), strict=True))
    return row[:, None] * columns + column[None, :]
