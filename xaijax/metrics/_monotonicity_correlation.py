"""Monotonicity as a correlation (Nguyen & Martinez, 2020; arXiv:2007.07584v1).

Notation: a_i the attribution of feature i, f(x) the score of the input, x' an input of which feature i alone is drawn
anew.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._correlation import spearman
from xaijax.metrics._metric import metric
from xaijax.metrics._resampling import resampling, squared_changes


class FeatureChanges(NamedTuple):
    """What drawing a feature anew does, against what the attribution says of it.

    Attributes:
      magnitudes: the magnitude of each feature's attribution.
      changes: the mean squared change of the score when it is drawn anew.
      correlation: Spearman's, of both; NaN if one of them is constant.
    """

    magnitudes: Float[Array, " d"]
    changes: Float[Array, " d"]
    correlation: Float[Array, ""]


@metric("faithfulness", "higher", read="correlation", static=("num_samples", "batch_size"))
def monotonicity_correlation(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    background: Any = None,
    mask: Mask | None = None,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> FeatureChanges:
    r"""Whether larger attributions, of either sign, are of features that the score depends on more.

    .. math:: \rho_i \big( |a_i|,\; \operatorname{E}\big[ (f(x') - f(x))^2 \big] \big)

    Spearman's correlation; equal values share the mean of their ranks.

    Differs from the paper in that the loss is the squared change of the score. From Quantus in that several features
    are drawn at once only as those of a mask.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the draws, the same for all features.
      background: rows to draw features from, `(n, *x.shape)`, such as training data. By default they are drawn evenly
        between the lowest and the highest value of `x`, each element on its own; columns of different units need rows.
      mask: what the features are, instead of positions: `segments`, `columns`, `tokens`. What it hides them by is not
        used, features are drawn. A painted attribution is averaged over each feature.
      num_samples: how many draws the mean is over, as in Quantus. One evaluation for each and each feature, and one for
        `x`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The correlation, 0-d, between -1 and 1; NaN if all magnitudes are equal, nothing changes the score, or there is
      only one feature. The same for any multiple of the attribution. Higher is better.
      `monotonicity_correlation.details` takes the same arguments and gives the `FeatureChanges`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `background` has no
        rows like `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a background, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, -2.0, 4.0, 0.0])])
      >>> x, key = jnp.array([0.0, 0.0, 0.0, 1.0]), jax.random.key(0)
      >>> monotonicity_correlation(f, x, 0, jnp.array([0.1, 0.2, -0.3, 0.0]), key)
      Array(1., dtype=float32)
      >>> rows = jnp.full((1, 4), 0.5)
      >>> monotonicity_correlation.details(f, x, 0, x, key, background=rows).changes
      Array([0.25, 1.  , 4.  , 0.  ], dtype=float32)

    References:
      nguyen2020quantitative
    """
    where = "monotonicity_correlation"
    settings = {"mask": mask, "background": background, "batch_size": batch_size}
    drawn = resampling(where, f, x, target, attribution, **settings)
    d = drawn.values.shape[0]
    changes, _ = squared_changes(drawn, key, lambda i: jnp.arange(d) != i, d, num_samples)
    magnitudes = jnp.abs(drawn.values)
    return FeatureChanges(magnitudes, changes, spearman(magnitudes, changes))
