"""RISE: randomized input sampling for explanation (Petsiuk, Das & Saenko, BMVC 2018; arXiv:1806.07421).

Notation: I the image, here x, M_i the masks, N of them, made of s x s cells that are 1 with probability p, S the
saliency map.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.activation._score_cam import see_through
from xaijax.core._errors import check_positive, complaint
from xaijax.core._explainer import explainer
from xaijax.core._layers import image_axes
from xaijax.core._lower import lower
from xaijax.core._sampling import chunk_size, moments
from xaijax.core._score import Target, score


@explainer(
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "grid_size", "batch_size"),
    fraction=("p",),
    baseline=("baseline",),
)
def rise(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    num_samples: int = 4000,
    grid_size: int = 7,
    p: float = 0.5,
    baseline: Any = 0.0,
    batch_size: int | None = None,
) -> Float[Array, "H W"]:
    r"""The mean of random masks, each weighted by the score of the image seen through it.

    .. math::
        S = \frac{1}{p\,N} \sum_{i=1}^N y(x \odot M_i)\, M_i

    A mask is a grid of s x s cells, each 1 with probability p, enlarged bilinearly to s + 1 cells along both axes and
    cut at random to the size of the image: its mean is p everywhere. One forward pass for each mask. The masks do not
    depend on `x`: under `vmap` with one unmapped key they are drawn once for all examples.

    Differs from the paper in nothing; where its text is silent it does as its code: a grid is enlarged with its cells
    mirrored at the edges. For scores far from 0 the map is almost the score everywhere and noisy: explain
    probabilities.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper explains probabilities: `probabilities(f)`.
      x: an image of floats, in any layout the model takes.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the masks; the same for a whole batch means the same masks for all.
      num_samples: N, the number of masks. Static.
      grid_size: s, the cells of a mask along each axis, at least 2. Static.
      p: the probability that a cell is 1: shows the image.
      baseline: what is shown where a mask is 0: a number, or an array that broadcasts to `x`. The paper's is 0, the
        mean colour of images that are normalised.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The map at the input's resolution, `(H, W)`, in units of the score: at each pixel the mean score of the masked
      images, weighted by how much of it they show. Of a model that answers c always it is c, up to noise.

    Raises:
      ValueError: `p` is not between 0 and 1, `grid_size` < 2, `num_samples` or `batch_size` < 1, `baseline` has
        another shape or is not finite; `f` gives no vector, `target` is out of range (traced: NaN, see `checked`), or
        `x` is not finite.
      TypeError: `x` is no image of floats, `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> f = lambda x: x[:, 0].sum(0)  # of four columns only the first speaks
      >>> S = rise(f, jnp.ones((4, 4, 1)), 0, jax.random.key(0), num_samples=400, grid_size=4)
      >>> S.shape, bool(S[:, 0].min() > S[:, 2:].max())
      ((4, 4), True)

    References:
      petsiuk2018rise
    """
    check_positive("rise", grid_size=grid_size)
    if grid_size < 2:
        rule = "be at least 2: one cell shows all of the image or nothing"
        raise ValueError(complaint("rise", "grid_size", rule, grid_size))
    axes = image_axes("rise", f, x)
    size = (x.shape[axes.height], x.shape[axes.width])
    model, hidden = lower(f), jnp.broadcast_to(jnp.asarray(baseline, x.dtype), x.shape)
    single = jnp.promote_types(x.dtype, jnp.float32)

    def weighted_mask(i: Int[Array, ""]) -> Float[Array, "H W"]:
        cells, offset = _draw(jax.random.fold_in(key, i), p, grid_size, size)
        M = enlarge(cells, offset, size, single)
        shown = see_through(x, M, axes) + see_through(hidden, 1 - M, axes)
        return score(model(shown), target, where="rise") * M

    chunk = chunk_size("rise", batch_size, num_samples, x)
    found = moments(weighted_mask, jnp.arange(num_samples), chunk)
    return (found.mean / p).astype(x.dtype)  # Eq. (6), E[M] = p


def _draw(
    key: Key[Array, ""], p: Any, s: int, size: tuple[int, int]
) -> tuple[Bool[Array, "s s"], Int[Array, "2"]]:
    """The cells of a mask, and where it is cut."""
    # One word for each, compared as it is: the same masks in every precision, and a remainder of 32 bits is even.
    words = jax.random.bits(key, (2 + s * s,), jnp.uint32)
    cell = jnp.array([math.ceil(n / s) for n in size], jnp.uint32)
    threshold = (jnp.asarray(p, jnp.float32) * 2.0**32).astype(jnp.uint32)
    return words[2:].reshape(s, s) < threshold, (words[:2] % cell).astype(jnp.int32)


def enlarge(
    cells: Bool[Array, "s s"], offset: Int[Array, "2"], size: tuple[int, int], dtype: Any
) -> Float[Array, "H W"]:
    """A mask of its cells, enlarged to s + 1 cells along both axes and cut to the size of the image at an offset."""
    s = cells.shape[0]
    rows, columns = (_shares(n, s, o, dtype) for n, o in zip(size, offset, strict=True))
    return jnp.einsum("hi,ij,wj->hw", rows, cells.astype(dtype), columns, precision="highest")


def _shares(size: int, s: int, offset: Int[Array, ""], dtype: Any) -> Float[Array, "size s"]:
    """Row i: how much of each of the s cells along an axis pixel i is made of."""
    pixel = offset + jnp.arange(size)
    cell = math.ceil(size / s)
    # Where the centre of the pixel lies among the centres of the cells, mirrored at the outermost.
    place = ((2 * pixel + 1) * s).astype(dtype) / (2 * (s + 1) * cell) - 0.5
    place = s - 1 - jnp.abs(s - 1 - jnp.abs(place))
    return jax.nn.relu(1 - jnp.abs(place[:, None] - jnp.arange(s)))
