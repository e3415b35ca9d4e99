"""How alike two attributions are: ranks, structure (SSIM), oriented gradients (HOG).

Notation: a and b two maps, (h, w) or with channels (h, w, c).
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._layers import image_axes
from xaijax.metrics._correlation import pearson, spearman
from xaijax.metrics._pixel_map import is_image, pixel_map

#: By what the metrics of randomisation compare two attributions.
Similarity = Literal["spearman", "ssim", "hog"]

# Wang et al. (2004): a window of 11 pixels, a Gaussian of 1.5, and two constants that keep quotients finite.
_RADIUS, _SIGMA, _K1, _K2 = 5, 1.5, 0.01, 0.03
# skimage.feature.hog: orientations, pixels of a cell's edge, cells of a block's edge.
_ORIENTATIONS, _CELL, _BLOCK = 9, 8, 3


def comparison(
    where: str, kind: str, magnitude: bool, f: Callable[[Any], Any], x: Any
) -> Callable[[Array, Array], Float[Array, ""]]:
    """A function of two attributions of `x`: how alike they are, at most 1.

    By "ssim" and "hog" maps are images. Each is brought to [0, 1] first, since attributions of models with other
    weights have other units: divided by its largest magnitude, and with signs drawn as a picture is, zero at 1/2. SSIM
    takes intensities: of maps with signs it finds opposite ones alike, since both of its factors change sign. By
    "spearman" only the order of all values counts.

    Args:
      where: the caller, for error messages.
      kind: which.
      magnitude: whether to compare the sizes of the values, or the values.
      f: the model; tells which axis of an image is the channel.
      x: its input.

    Returns:
      The function; NaN if an attribution is not finite.

    Raises:
      ValueError: there is no such similarity; or when called, the maps are too small for it, or no images.
    """
    if kind not in get_args(Similarity):
        known = ", ".join(map(repr, get_args(Similarity)))
        raise ValueError(complaint(where, "similarity", f"be one of {known}", repr(kind)))

    def compare(a: Array, b: Array) -> Float[Array, ""]:
        finite = jnp.isfinite(a).all() & jnp.isfinite(b).all()
        a, b = (jnp.abs(a), jnp.abs(b)) if magnitude else (a, b)
        if kind == "spearman":
            found = spearman(a.reshape(-1), b.reshape(-1))
        else:
            images = (_channels_last(where, kind, f, x, each) for each in (a, b))
            a, b = (_unit(each) if magnitude else (_unit(each) + 1) / 2 for each in images)
            found = ssim(a, b, 1.0) if kind == "ssim" else hog_correlation(a, b)
        return jnp.where(finite, found, jnp.nan)

    return compare


def ssim(a: Float[Array, "h w *c"], b: Float[Array, "h w *c"], width: Any) -> Float[Array, ""]:
    r"""The mean structural similarity over all windows that lie inside the maps; of channels the mean.

    .. math::
        \frac{(2 \mu_a \mu_b + C_1)(2 \sigma_{ab} + C_2)}
        {(\mu_a^2 + \mu_b^2 + C_1)(\sigma_a^2 + \sigma_b^2 + C_2)}

    Args:
      a: a map, at least as large as a window, 11 x 11.
      b: another.
      width: of the range of the values.

    Returns:
      At most 1, for equal maps.

    References:
      wang2004image
    """
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    window = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    window = window / window.sum()
    rows, columns = (jnp.asarray(_sliding(window, n), a.dtype) for n in a.shape[:2])

    def mean(a: Array) -> Array:
        return jnp.einsum("ih,jw,hw...->ij...", rows, columns, a, precision="highest")

    c1, c2 = (_K1 * width) ** 2, (_K2 * width) ** 2
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean()


def hog_correlation(a: Float[Array, "h w *c"], b: Float[Array, "h w *c"]) -> Float[Array, ""]:
    """Pearson's correlation of the histograms of oriented gradients; NaN if one of them is constant."""
    return pearson(hog(a), hog(b))


def hog(a: Float[Array, "h w *c"]) -> Float[Array, " n"]:
    """The histograms of oriented gradients of an image, with the settings of `skimage.feature.hog`.

    Central differences, of several channels the steepest; nine unsigned orientations without interpolation; cells of 8
    x 8 pixels; overlapping blocks of 3 x 3 cells, each of them scaled to length 1, cut off at 0.2 and scaled again.

    References:
      dalal2005histograms
    """
    dy, dx = _differences(a)
    if a.ndim == 3:
        steepest = jnp.hypot(dy, dx).argmax(-1, keepdims=True)
        dy, dx = (jnp.take_along_axis(d, steepest, -1)[..., 0] for d in (dy, dx))
    degrees = jnp.rad2deg(jnp.arctan2(dy, dx)) % 180
    # Rounding may leave 180 itself, which is in no orientation.
    place = jnp.floor(degrees / (180 / _ORIENTATIONS)).astype(jnp.int32)
    votes = jnp.hypot(dy, dx)[..., None] * (place[..., None] == jnp.arange(_ORIENTATIONS))
    rows, columns = (n // _CELL for n in a.shape[:2])
    votes = votes[: rows * _CELL, : columns * _CELL]
    cells = votes.reshape(rows, _CELL, columns, _CELL, _ORIENTATIONS).mean((1, 3))
    down, right = (np.arange(n - _BLOCK + 1)[:, None] + np.arange(_BLOCK) for n in (rows, columns))
    blocks = cells[down[:, None, :, None], right[None, :, None, :]]
    return jax.vmap(jax.vmap(_scaled))(blocks).reshape(-1)


def _scaled(block: Float[Array, "b b o"]) -> Float[Array, "b b o"]:
    block = block / jnp.sqrt((block**2).sum() + 1e-10)
    block = jnp.minimum(block, 0.2)
    return block / jnp.sqrt((block**2).sum() + 1e-10)


def _differences(a: Float[Array, "h w *c"]) -> tuple[Array, Array]:
    """Twice the central differences along both axes; 0 at the edges."""
    dy, dx = jnp.zeros_like(a), jnp.zeros_like(a)
    return dy.at[1:-1].set(a[2:] - a[:-2]), dx.at[:, 1:-1].set(a[:, 2:] - a[:, :-2])


def _sliding(window: np.ndarray, size: int) -> np.ndarray:
    """Row i: the window over the positions from i on."""
    count = size - len(window) + 1
    rows = np.zeros((count, size))
    for i in range(count):
        rows[i, i : i + len(window)] = window
    return rows


def _unit(a: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Divided by its largest magnitude; a map of zeros stays one."""
    largest = jnp.abs(a).max()
    return a / jnp.where(largest > 0, largest, 1)


def _channels_last(
    where: str, kind: str, f: Callable[[Any], Any], x: Any, a: Array
) -> Float[Array, "h w *c"]:
    """A map as an image; one at a layer's size is resized to the model's image.

    Raises:
      ValueError: it is none, or too small.
    """
    if a.ndim == 2 and is_image(x):
        a = pixel_map(f, x, a)
    elif a.ndim == 3:
        axes = image_axes(where, f, x) if a.shape == x.shape else (0, 1, 2)
        a = jnp.moveaxis(a, axes, (0, 1, 2))
    smallest = 2 * _RADIUS + 1 if kind == "ssim" else _CELL * _BLOCK
    if a.ndim not in (2, 3) or min(a.shape[:2]) < smallest:
        rule = f"be 'spearman' for maps that are no images of at least {smallest} x {smallest}"
        raise ValueError(complaint(where, "similarity", rule, f"{kind!r} for shape {a.shape}"))
    return a
