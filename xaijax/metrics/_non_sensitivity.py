"""Non-sensitivity (Nguyen & Martinez, 2020; arXiv:2007.07584v1).

Notation: a_i the attribution of feature i, f(x) the score of the input, x' an input of which feature i alone is drawn
anew; A_0 the features without attribution, X_0 those that the score does not depend on.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._resampling import resampling, squared_changes


class NonSensitivity(NamedTuple):
    """Which features have no attribution, and which have no effect.

    Attributes:
      unattributed: whether a feature has no attribution.
      unused: whether the score does not depend on it.
      number: of how many features only one of the two holds.
    """

    unattributed: Bool[Array, " d"]
    unused: Bool[Array, " d"]
    number: Float[Array, ""]


@metric(
    "axiomatic",
    "lower",
    read="number",
    static=("num_samples", "batch_size"),
    not_negative=("tolerance",),
)
def non_sensitivity(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    background: Any = None,
    mask: Mask | None = None,
    tolerance: float = 1e-5,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> NonSensitivity:
    r"""How many features have an attribution without an effect on the score, or an effect without an attribution.

    .. math::
        | A_0 \mathbin{\triangle} X_0 |, \qquad A_0 = \{ i : a_i = 0 \}, \quad
        X_0 = \big\{ i : \operatorname{E}\big[ (f(x') - f(x))^2 \big] = 0 \big\}

    Differs from the paper in what counts as zero, since scores are rounded: an attribution of at most the tolerance
    times the largest one, and a root mean squared change of at most the tolerance times the largest one or the score,
    whichever is larger. From Quantus in that it is those two sets that are compared: there it is the positions of the
    attributions that are not zero which are tested against the threshold, and the feature that is perturbed is not the
    one of the attribution.

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
      tolerance: what counts as zero.
      num_samples: how many draws the mean is over, as in Quantus. One evaluation for each and each feature, and one for
        `x`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The number of features, 0-d, from 0 to all; NaN if the attribution is not finite. The same for any multiple of the
      attribution. Lower is better. `non_sensitivity.details` takes the same arguments and gives the `NonSensitivity`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `background` has no
        rows like `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a background, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, -2.0, 0.0, 0.0])])
      >>> x, key = jnp.array([0.0, 0.0, 0.0, 1.0]), jax.random.key(0)
      >>> non_sensitivity(f, x, 0, jnp.array([1.0, 1.0, 0.0, 0.0]), key)
      Array(0., dtype=float32)
      >>> non_sensitivity(f, x, 0, jnp.array([1.0, 0.0, 1.0, 0.0]), key)
      Array(2., dtype=float32)

    References:
      nguyen2020quantitative
    """
    settings = {"mask": mask, "background": background, "batch_size": batch_size}
    drawn = resampling("non_sensitivity", f, x, target, attribution, **settings)
    d = drawn.values.shape[0]
    changes, value = squared_changes(drawn, key, lambda i: jnp.arange(d) != i, d, num_samples)
    a, effects = jnp.abs(drawn.values), jnp.sqrt(changes)
    unattributed = a <= tolerance * a.max()
    unused = effects <= tolerance * jnp.maximum(effects.max(), jnp.abs(value))
    known = jnp.isfinite(effects).all()
    number = jnp.where(known, (unattributed != unused).sum(), jnp.nan).astype(a.dtype)
    return NonSensitivity(unattributed, unused, number)
