"""Remove and debias, ROAD (Rong et al., ICML 2022; arXiv:2202.00449).

Notation: x the image, a its attribution, v(z) the score with the pixels kept where z is true and imputed elsewhere; h_q
the part q of the pixels with the highest attribution, l_q that with the lowest; w_ij the weight of neighbour j of pixel
i.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._game import game
from xaijax.core._sampling import normals
from xaijax.core._score import Target
from xaijax.metrics._features import Positions, feature_values, positions
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import removal_scores

# Hundreds are needed for a hole as large as a photo; what takes more does not converge.
_MOST_ITERATIONS = 2000


class Road(NamedTuple):
    """The score as pixels are imputed, from either end of their order.

    Attributes:
      value: the mean of `lerf` less that of `morf`.
      removed: which part of the pixels is imputed.
      morf: the score then, if they are those of the highest attribution (most relevant first).
      lerf: the score then, if they are those of the lowest (least relevant first).
    """

    value: Float[Array, ""]
    removed: Float[Array, " n"]
    morf: Float[Array, " n"]
    lerf: Float[Array, " n"]


@metric(
    "faithfulness",
    "higher",
    read="value",
    static=("num_steps", "num_orders", "batch_size"),
    not_negative=("noise",),
    positive=("tolerance",),
)
def road(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "h w"],
    key: Key[Array, ""],
    *,
    noise: float = 0.01,
    tolerance: float = 1e-5,
    num_steps: int = 9,
    num_orders: int = 1,
    batch_size: int | None = None,
) -> Road:
    r"""How much better the model does without the least relevant pixels than without the most relevant ones.

    .. math:: \frac1n \sum_q v(\overline{l_q}) - v(\overline{h_q}), \qquad q = \frac{1}{n+1}, \ldots, \frac{n}{n+1}

    A removed pixel i is imputed: it is the weighted mean of its neighbours, which may be removed, too,

    .. math:: \sum_j w_{ij}\, (x_i - x_j) = 0

    with the weight 1/6 for the four beside it and 1/12 for the four at its corners, and noise is added. So a model can
    hardly tell from the image which pixels were removed, and learns nothing from their shape.

    Differs from the paper in being one number of one image; `details` gives the paper's two curves, of the score where
    the paper averages accuracies. Half of it is the combined score of pytorch-grad-cam. The equations are solved by
    conjugate gradients inside the program, where the reference code factors a matrix for each image and q.
    Pixels of equal attribution are removed in an order that the key draws.

    Args:
      f: the model, one image to `(num_outputs,)`; for the paper's confidence curves `probabilities(f)`.
      x: the image.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`. The paper takes the true class.
      attribution: what is judged, one value for each pixel, `(h, w)`.
      key: the noise, and the order of pixels with equal attributions.
      noise: the standard deviation of what is added to imputed values, in units of `x`. The paper's default is for
        pixels between 0 and 1. A pixel's is the same whenever it is removed.
      tolerance: up to which part of the right side the equations are solved. The default left errors below 0.0005 in
        the imputed values of a photo's size with a spread of about 1, and 0.0001 below 0.005. One large hole, such as
        a smooth map leaves, takes hundreds of iterations: longer than a small network's evaluations.
      num_steps: n, how many parts q are looked at; 9 are the paper's 10 %, 20 %, ..., 90 %. Two imputations and two
        evaluations for each. Static.
      num_orders: over how many orders of equal pixels the score is averaged; each costs all evaluations. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The difference, 0-d, in units of the score; between -1 and 1 for probabilities, about 0 for a random attribution,
      NaN if the equations were not solved up to ten times the tolerance. Higher is better. `road.details` takes the
      same arguments and gives the curves.

    Raises:
      ValueError: the attribution is not `(h, w)` for the image, or is not finite (traced: NaN); `noise` < 0,
        `tolerance` <= 0 or a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x[1, 1, 0]])
      >>> x = jnp.zeros((3, 3, 1)).at[1, 1].set(1.0)  # a point, of which nothing is left when it is imputed
      >>> a, key = x[..., 0], jax.random.key(0)
      >>> road.details(f, x, 0, a, key, noise=0.0, num_steps=2).lerf  # without 3 and 6 of the others
      Array([1., 1.], dtype=float32)
      >>> road(f, x, 0, a, key, noise=0.0, num_steps=2)
      Array(1., dtype=float32)

    References:
      rong2022road
    """
    where = "road"
    pixels = positions(where, f, x, attribution)
    if len(pixels.shape) != 2:
        fix = "Of values for each channel take the sum, or what the explanation means by them."
        raise ValueError(complaint(where, "attribution", "be (h, w)", f"shape {pixels.shape}", fix))
    draws, order = jax.random.split(key)
    mask = Imputed(pixels, noise * normals(draws, x.shape, x.dtype), tolerance)
    v, values = game(where, f, x, target, mask), feature_values(where, attribution, mask)
    d = mask.num_features
    counts = d * np.arange(1, num_steps + 1) // (num_steps + 1)
    sizes = {"num_orders": num_orders, "batch_size": batch_size}
    both = np.concatenate([counts, -counts])
    scores = removal_scores(v, values, order, both, kept=_kept, **sizes)
    morf, lerf = jnp.split(scores, 2)
    return Road((lerf - morf).mean(), jnp.asarray(counts / d, scores.dtype), morf, lerf)


def _kept(rank: Int[Array, " d"], count: Int[Array, ""]) -> Bool[Array, " d"]:
    """All but the `count` features that come first; if it is negative, but the `-count` that come last."""
    return jnp.where(count > 0, rank >= count, rank < rank.size + count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Imputed:
    """The pixels of an image as features; hidden ones are imputed from those around them."""

    pixels: Positions
    noise: Array
    tolerance: Any

    @property
    def num_features(self) -> int:
        """One per pixel."""
        return self.pixels.num_features

    def paint(self, values: Array) -> Array:
        """The shape of the attribution."""
        return self.pixels.paint(values)

    def __call__(self, x: Array, z: Bool[Array, " d"]) -> Array:
        """The image with the pixels imputed where `z` is false."""
        channel, kept = self.pixels.channel, self.paint(z)
        # Along rows of pixels a step takes a third of the time that it takes along channels.
        first = x[None] if channel is None else jnp.moveaxis(x, channel, 0)
        wide = first.astype(jnp.promote_types(x.dtype, jnp.float32))
        image = impute(wide, kept, self.tolerance).astype(x.dtype)
        image = image[0] if channel is None else jnp.moveaxis(image, 0, channel)
        return jnp.where(self.pixels.over_channels(kept), x, image + self.noise)


def impute(
    image: Float[Array, "c h w"], kept: Bool[Array, "h w"], tolerance: Any
) -> Float[Array, "c h w"]:
    """Each pixel that is not kept as the weighted mean of its neighbours; NaN if that was not found."""
    # From the mean of the others it is not far.
    mean = jnp.where(kept, image, 0).sum((1, 2), keepdims=True) / jnp.maximum(kept.sum(), 1)
    known = jnp.where(kept, image - mean, 0)
    weight = _neighbours(jnp.ones_like(image[:1]))  # less than 1 at the border

    def equations(u: Array) -> Array:
        # Symmetric and positive definite: conjugate gradients may solve them.
        return jnp.where(kept, u, weight * u - _neighbours(jnp.where(kept, 0, u)))

    right = jnp.where(kept, 0, _neighbours(known))
    u: Array
    u, _ = cg(equations, right, tol=tolerance, maxiter=_MOST_ITERATIONS)
    left_over = jnp.linalg.norm((equations(u) - right).ravel())
    solved = left_over <= 10 * tolerance * jnp.linalg.norm(right.ravel())
    return jnp.where(kept, image, jnp.where(solved, u + mean, jnp.nan))


def _neighbours(a: Float[Array, "c h w"]) -> Float[Array, "c h w"]:
    """The sum over the eight neighbours inside the image, 1/6 of those beside a pixel and 1/12 of those at its corners.

    That is (1, 2, 1) along both axes, without the middle.
    """
    total = a
    for axis in (1, 2):
        n = a.shape[axis]
        padded = jnp.pad(total, [(1, 1) if i == axis else (0, 0) for i in range(3)])
        before, after = (
            jax.lax.slice_in_dim(padded, start, start + n, axis=axis) for start in (0, 2)
        )
        total = before + 2 * total + after
    return (total - 4 * a) / 12
