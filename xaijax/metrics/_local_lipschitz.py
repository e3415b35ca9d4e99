"""Local Lipschitz estimate (Alvarez-Melis & Jaakkola, WHI 2018; arXiv:1806.08049v1).

Notation: Phi(x) the explanation of x, x' an input near it.
"""

from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import (
    Neighbours,
    distance_from,
    gaussian,
    neighbours,
    norm,
    per_distance,
)


@metric(
    "robustness",
    "lower",
    read="value",
    static=("num_samples", "batch_size"),
    positive=("sigma",),
)
def local_lipschitz(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.1,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> Neighbours:
    r"""How steeply the explanation changes at most near the input.

    .. math:: \max_{x'} \frac{\lVert \Phi(x) - \Phi(x') \rVert_2}{\lVert x - x' \rVert_2}

    estimated over x' with normal noise. A sampling explainer gets one key for all of them, as in `max_sensitivity`.

    Differs from the paper in the search: its neighbours lie in a ball, and an optimiser looks for the worst of them.
    This is a lower bound of that, and grows with `num_samples`.

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
      The steepest change, 0-d, in units of the explanation per unit of `x`; at least 0, NaN if an explanation is not
      finite. Lower is better; explanations of different units do not compare. `local_lipschitz.details` gives every
      change as `changes`, and as `own_noise` what the explainer's own draws change at the same distances.

    Raises:
      ValueError: `sigma` <= 0, a size < 1; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.saliency, lambda x: x**2)
      >>> bool(abs(local_lipschitz(explain, jnp.array([1.0]), 0, jax.random.key(0)) - 2) < 1e-3)  # |2 x - 2 x'|
      True

    References:
      alvarezmelis2018robustness
    """

    def change(distance: Array, a: Array, b: Array) -> Float[Array, ""]:
        return per_distance(norm(b - a), distance)

    perturb, measure = gaussian(sigma), distance_from(x)
    where = "local_lipschitz"
    sizes = (num_samples, batch_size)
    found = neighbours(where, explain, x, target, key, perturb, measure, change, *sizes)
    return Neighbours(found.changes.max(), found.changes, found.noise.max())
