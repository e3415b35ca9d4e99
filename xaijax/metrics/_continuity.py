"""Explanation continuity (Montavon, Samek & Mueller, DSP 2018; arXiv:1706.07979v1).

Notation: R(x) the explanation of x, x' an input near it.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import (
    Neighbours,
    distance_from,
    gaussian,
    neighbours,
    per_distance,
)


@metric(
    "robustness",
    "lower",
    read="value",
    static=("num_samples", "batch_size"),
    positive=("sigma",),
)
def continuity(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.1,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> Neighbours:
    r"""The strongest variation of the explanation near the input.

    .. math:: \max_{x'} \frac{\lVert R(x) - R(x') \rVert_1}{\lVert x - x' \rVert_2}

    estimated over x' with normal noise. A sampling explainer gets one key for all of them, as in `max_sensitivity`.

    Differs from the paper in the inputs that are compared: there all of the input domain, here those near x. The noise
    is that of `local_lipschitz`. It is no test of how an explanation follows an object that is moved.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of the perturbed inputs, too: an output's index, float weights over the outputs, or a
        function of them.
      key: the perturbations, and what the explainer draws.
      sigma: the standard deviation of the noise, in units of `x`.
      num_samples: how many perturbations. Static.
      batch_size: how many perturbed inputs are explained at once; changes the result by rounding at most. Static.

    Returns:
      The strongest variation, 0-d, in units of the explanation per unit of `x`; at least 0, NaN if an explanation is
      not finite. Lower is better; explanations of different units do not compare. `continuity.details` gives every
      change as `changes`, and as `own_noise` what the explainer's own draws change at the same distances.

    Raises:
      ValueError: `sigma` <= 0, a size < 1; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.saliency, lambda x: x**2)
      >>> bool(abs(continuity(explain, jnp.array([1.0]), 0, jax.random.key(0)) - 2) < 1e-3)  # |2 x - 2 x'|
      True

    References:
      montavon2018methods
    """

    def change(distance: Array, a: Array, b: Array) -> Float[Array, ""]:
        return per_distance(jnp.abs(b - a).sum(), distance)

    perturb, measure = gaussian(sigma), distance_from(x)
    where = "continuity"
    sizes = (num_samples, batch_size)
    found = neighbours(where, explain, x, target, key, perturb, measure, change, *sizes)
    return Neighbours(found.changes.max(), found.changes, found.noise.max())
