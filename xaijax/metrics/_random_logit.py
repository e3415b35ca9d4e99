"""Random logit test (Sixt, Granz & Landgraf, ICML 2020; arXiv:1912.09818v6).

Notation: e_c the explanation of output c.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._inputs import model_of
from xaijax.core._lower import lower
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import explaining
from xaijax.metrics._similarity import Similarity, comparison


class RandomLogit(NamedTuple):
    """How alike the explanations of two outputs are.

    Attributes:
      value: the similarity.
      other: the output that was drawn.
    """

    value: Float[Array, ""]
    other: Int[Array, ""]


@metric("randomisation", "lower", read="value", static=("similarity", "magnitude"))
def random_logit(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    similarity: Similarity = "ssim",
    magnitude: bool = False,
) -> RandomLogit:
    r"""How alike the explanations of the target and of another output, drawn at random, are.

    .. math:: \operatorname{sim}(e_c, e_{c'}), \quad c' \ne c

    An explanation that is the same for every output does not explain the prediction.

    Differs from the paper in that the similarity may be chosen, and in how maps are scaled before it.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input.
      target: c, an output's index.
      key: which other output, and what the explainer draws: the same for both.
      similarity: "ssim" as in the paper, of maps that are images of at least 11 x 11, or "hog", of at least 24 x 24;
        "spearman" for all others. See `model_parameter_randomisation`. Static.
      magnitude: whether to compare the sizes of the values, or the values with their signs. Two classes that exclude
        each other have maps of opposite signs, and of the same sizes. Static.

    Returns:
      The similarity, 0-d, at most 1; NaN if the target is out of range, and by "spearman" and "hog" if an explanation
      is constant. Lower is better. `random_logit.details` tells the other output.

    Raises:
      ValueError: the model has one output only; the similarity does not suit the maps; and as the explainer.
      TypeError: `target` is no index, `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.input_x_gradient, lambda x: jnp.stack([x.sum(), -x.sum()]))
      >>> x, key = jnp.arange(4.0), jax.random.key(0)
      >>> random_logit(explain, x, 0, key, similarity="spearman").round(5)
      Array(-1., dtype=float32)
      >>> random_logit(explain, x, 0, key, similarity="spearman", magnitude=True).round(5)
      Array(1., dtype=float32)

    References:
      sixt2020explanations, wang2004image, dalal2005histograms
    """
    where = "random_logit"
    f = model_of(where, explain)
    if (
        callable(target)
        or jnp.ndim(target)
        or not jnp.issubdtype(jnp.result_type(target), jnp.integer)
    ):
        fix = "There is no other output to compare with."
        raise TypeError(
            complaint(where, "target", "be an output's index", type(target).__name__, fix)
        )
    count = jax.eval_shape(lower(f), x).shape[0]
    if count < 2:
        raise ValueError(complaint(where, "f", "have several outputs", count))
    compare = comparison(where, similarity, magnitude, f, x)
    draws, choice = jax.random.split(key)
    other = (target + jax.random.randint(choice, (), 1, count)) % count
    e, e_other = (explaining(where, explain, x, c)(x, draws) for c in (target, other))
    return RandomLogit(compare(e, e_other), other)
