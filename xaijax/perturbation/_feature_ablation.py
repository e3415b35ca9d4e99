"""Feature ablation: what the score loses without a feature (Li, Monroe & Jurafsky, 2016; arXiv:1612.08220).

Notation: z in {0, 1}^d which of the d features are kept, v(z) the score of the input with the others hidden, e_i the
mask of feature i alone.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._sampling import map_chunks
from xaijax.core._score import Target


@explainer(
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("batch_size",),
)
def feature_ablation(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    mask: Mask | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""What the score loses when one feature is hidden, for each feature: leave one out.

    .. math::
        \phi_i = v(1) - v(1 - e_i)

    One forward pass for each feature, and one for the input; nothing is random. Of features that stand in for one
    another each gets nothing, of features that need one another each gets all: `permutation_shap` shares.

    Differs from the paper in taking the difference of the scores, as captum does, not its part of the score.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      mask: what the features are and how they are hidden: `segments` of an image, `columns` of a table row, `tokens`
        of a text. By default each element of `x` against zero.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The losses, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. In units of
      the score; positive speaks for the target. They sum to nothing in particular, unless the score is a sum over the
      features.

    Raises:
      ValueError: `batch_size` < 1, `f` gives no vector, `target` is out of range (traced: NaN, see `checked`), or `x`
        is not finite.
      TypeError: `f` cannot be traced (see `black_box`).

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] + 5.0 * x[1]])
      >>> feature_ablation(f, jnp.array([2.0, 3.0]), 0)  # without either nothing is left of 6
      Array([6., 6.], dtype=float32)
      >>> feature_ablation(f, jnp.array([2.0, 3.0]), 1)
      Array([ 2., 15.], dtype=float32)

    References:
      li2016understanding
    """
    mask = default_mask("feature_ablation", x, mask)
    v, features = game("feature_ablation", f, x, target, mask), jnp.arange(mask.num_features)
    chunk = v.chunk_size(batch_size, 1 + mask.num_features)
    return paint(mask, losses(lambda i: v(features != i), mask.num_features, chunk))


def losses(
    y: Callable[[Int[Array, ""]], Float[Array, ""]], count: int, chunk: int
) -> Float[Array, " count"]:
    """What the score loses by each of `count` parts; `y(i)` is the score without part i, and there is no part -1."""
    # With the whole input among the rows the model is compiled once.
    scores = map_chunks(y, jnp.arange(-1, count), chunk)
    return scores[0] - scores[1:]
