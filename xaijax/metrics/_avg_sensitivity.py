"""Average sensitivity (Bhatt, Weller & Moura, IJCAI 2020; arXiv:2005.00631v1), the mean beside Max-Sensitivity.

Notation: Phi(x) the explanation of x, delta a perturbation, r its largest size.
"""

from typing import Any

from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import Neighbours, distance_from, neighbours, norm, uniform


@metric(
    "robustness",
    "lower",
    read="value",
    static=("num_samples", "batch_size"),
    not_negative=("radius",),
)
def avg_sensitivity(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    radius: float = 0.2,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> Neighbours:
    r"""By how much the explanation changes on average when the input changes a little.

    .. math::
        \operatorname{E}_{\lVert \delta \rVert_\infty \le r}
        \frac{\lVert \Phi(x + \delta) - \Phi(x) \rVert_2}{\lVert \Phi(x) \rVert_2}

    over perturbations drawn evenly from that cube. A sampling explainer gets one key for all of them, as in
    `max_sensitivity`.

    Differs from the paper in dividing by the size of the explanation, as `max_sensitivity` does, and in weighing all
    neighbours alike: the density of the data around x, by which the paper weighs them, is not known.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of the perturbed inputs, too: an output's index, float weights over the outputs, or a
        function of them.
      key: the perturbations, and what the explainer draws.
      radius: r, in units of `x`.
      num_samples: how many perturbations. Static.
      batch_size: how many perturbed inputs are explained at once; changes the result by rounding at most. Static.

    Returns:
      The mean change, 0-d, as a part of the explanation; at least 0, NaN if the explanation of `x` is all zero.
      Lower is better. `avg_sensitivity.details` gives every change as `changes`, and as `own_noise` that of a second
      explanation of `x` itself by another key.

    Raises:
      ValueError: `radius` < 0, a size < 1; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.saliency, lambda x: 3 * x)
      >>> avg_sensitivity(explain, jnp.array([1.0]), 0, jax.random.key(0))  # the gradient is the same everywhere
      Array(0., dtype=float32)

    References:
      bhatt2020evaluating, yeh2019fidelity
    """

    def change(distance: Array, a: Array, b: Array) -> Float[Array, ""]:
        return norm(b - a) / norm(a)

    perturb, measure = uniform(radius), distance_from(x)
    where = "avg_sensitivity"
    sizes = (num_samples, batch_size)
    found = neighbours(where, explain, x, target, key, perturb, measure, change, *sizes)
    return Neighbours(found.changes.mean(), found.changes, found.noise.mean())
