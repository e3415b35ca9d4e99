"""Efficient MPRT (Hedstroem et al., 2024; arXiv:2401.06465v1): the rise of complexity under full randomisation.

Notation: e the explanation, e' that of the model with all layers randomised, H the entropy of a histogram.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import explaining
from xaijax.metrics._randomised import randomised


class ComplexityRise(NamedTuple):
    """How complex the explanations of a model and of a random one are.

    Attributes:
      value: the relative rise.
      original: the entropy of the explanation, in nats.
      randomised: that of the random model's.
    """

    value: Float[Array, ""]
    original: Float[Array, ""]
    randomised: Float[Array, ""]


@metric("randomisation", "higher", read="value", static=("num_bins",))
def efficient_mprt(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    num_bins: int = 100,
) -> ComplexityRise:
    r"""By how much more complex the explanation of a random model is: eMPRT.

    .. math:: \frac{H(e') - H(e)}{H(e)}

    where H is the entropy of the histogram of an explanation's values, between its lowest and its highest. What a model
    has learnt has structure; an explanation that shows it gets noisier when it is gone. Two explanations are enough,
    and no similarity has to be chosen.

    Differs from the paper in how weights are drawn anew: by a permutation of the values of each array, as in
    `model_parameter_randomisation`.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it. The weights must be leaves of the model.
      x: the input.
      target: what is explained of both models: an output's index, float weights over the outputs, or a function of
        them.
      key: the permutations, and what the explainer draws: the same for both models.
      num_bins: of the histogram. The number depends on it. Static.

    Returns:
      The relative rise, 0-d, at least -1, no unit; NaN if the explanation of the model is constant. Higher is better.
      `efficient_mprt.details` gives both entropies.

    Raises:
      ValueError: the model has no weights among its leaves, `num_bins` < 1; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> f = jax.tree_util.Partial(lambda w, x: (w * x)[None].sum(1), jnp.array([1.0, 2.0, 4.0]))
      >>> explain = xaijax.bind(xaijax.saliency, f)
      >>> efficient_mprt(explain, jnp.ones(3), 0, jax.random.key(0))  # the same values in another order
      Array(0., dtype=float32)

    References:
      hedstrom2024sanity
    """
    where = "efficient_mprt"
    draws, permutations = jax.random.split(key)
    _, explainer = randomised(where, explain, x, permutations)
    everything = explainer(lambda layer: layer >= 0)
    original, after = (
        entropy(explaining(where, each, x, target)(x, draws), num_bins)
        for each in (explain, everything)
    )
    rise = (after - original) / jnp.where(original > 0, original, jnp.nan)
    return ComplexityRise(rise, original, after)


def entropy(a: Float[Array, "*shape"], num_bins: int) -> Float[Array, ""]:
    """The entropy of the histogram of an array's values, in nats; NaN if it is not finite."""
    finite = jnp.isfinite(a).all()
    counts, _ = jnp.histogram(jnp.where(finite, a, 0), num_bins)
    share = counts.astype(a.dtype) / a.size
    return jnp.where(finite, -(share * jnp.log(jnp.where(share > 0, share, 1))).sum(), jnp.nan)
