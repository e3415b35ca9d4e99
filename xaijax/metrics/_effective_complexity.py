"""Effective complexity (Nguyen & Martinez, 2020; arXiv:2007.07584v1).

Notation: a_i the attribution of feature i, f(x) the score of the input, M_k the k features of the largest magnitude
|a_i|, x' an input of which all others are drawn anew.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from xaijax.core._mask import Mask
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._removal import ranks
from xaijax.metrics._resampling import resampling, squared_changes


class EffectiveComplexity(NamedTuple):
    """How far the score is held by the features of the largest attributions.

    Attributes:
      kept: how many features are kept.
      changes: the mean squared change of the score when all others are drawn anew.
      number: of how many features kept that is within the tolerance.
    """

    kept: Float[Array, " n+1"]
    changes: Float[Array, " n+1"]
    number: Float[Array, ""]


@metric(
    "complexity",
    "lower",
    read="number",
    static=("num_steps", "num_samples", "batch_size"),
    fraction=("tolerance",),
)
def effective_complexity(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    background: Any = None,
    mask: Mask | None = None,
    tolerance: float = 0.1,
    num_steps: int | None = None,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> EffectiveComplexity:
    r"""How many features of the explanation one has to know to know the score.

    .. math::
        \min \Big\{ k : \operatorname{E}\big[ (f(x') - f(x))^2 \,\big|\, x'_{M_k} = x_{M_k} \big]
        \le \varepsilon \operatorname{E}\big[ (f(x') - f(x))^2 \big] \Big\}

    Differs from the paper, whose loss and tolerance are the user's, in that the loss is the squared change of the score
    and the tolerance a part of its change when nothing is kept. From Quantus, which counts attributions above a
    threshold without asking the model: that is `active_features`.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the draws, the same for every k, and the order of features with equal magnitudes.
      background: rows to draw features from, `(n, *x.shape)`, such as training data. By default they are drawn evenly
        between the lowest and the highest value of `x`, each element on its own; columns of different units need rows.
      mask: what the features are, instead of positions: `segments`, `columns`, `tokens`. What it hides them by is not
        used, features are drawn. A painted attribution is averaged over each feature.
      tolerance: :math:`\varepsilon`.
      num_steps: in how many parts of equal size the features are taken. By default one by one. Static.
      num_samples: how many draws the mean is over. One evaluation for each and each step, and one for `x`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The number of features, 0-d, from 1 to all; NaN if drawing all features anew does not change the score. The same
      for any multiple of the attribution. Lower is simpler. `effective_complexity.details` takes the same arguments and
      gives the `EffectiveComplexity`.

    Raises:
      ValueError: the attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `background` has no
        rows like `x`; a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a background, `x` is not one float array, or `f` cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([8.0, 4.0, 0.0, 1.0])])
      >>> x, key, zero = jnp.ones(4), jax.random.key(0), jnp.zeros((1, 4))
      >>> effective_complexity.details(f, x, 0, jnp.array([8.0, 4.0, 0.0, 1.0]), key, background=zero)
      EffectiveComplexity(kept=Array([0., 1., 2., 3., 4.], dtype=float32),
                          changes=Array([169.,  25.,   1.,   0.,   0.], dtype=float32),
                          number=Array(2., dtype=float32))

    References:
      nguyen2020quantitative
    """
    settings = {"mask": mask, "background": background, "batch_size": batch_size}
    drawn = resampling("effective_complexity", f, x, target, attribution, **settings)
    d = drawn.values.shape[0]
    # An equal number of features each step, up to one.
    kept = np.unique(np.round(np.linspace(0, d, min(num_steps or d, d) + 1)).astype(np.int32))
    rank = ranks(jnp.abs(drawn.values), key)
    changes, _ = squared_changes(
        drawn, key, lambda i: rank < jnp.asarray(kept)[i], len(kept), num_samples
    )
    within = changes <= tolerance * changes[0]
    number = jnp.asarray(kept, changes.dtype)[jnp.argmax(within)]
    known = (changes[0] > 0) & jnp.isfinite(changes).all()
    return EffectiveComplexity(
        jnp.asarray(kept, changes.dtype), changes, jnp.where(known, number, jnp.nan)
    )
