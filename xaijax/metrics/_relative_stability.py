"""Relative stability (Agarwal et al., 2022; arXiv:2203.06877v1): by input, representation and output.

Notation: e_x the explanation of x, x' an input near it of the same predicted class, L(x) an activation, h(x) the
outputs, epsilon_min what no denominator falls below. A fraction of arrays is taken element by element.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._inputs import model_of
from xaijax.core._lower import lower
from xaijax.core._score import Target
from xaijax.core._tap import tap
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import gaussian, neighbours, norm, widened


class RelativeStability(NamedTuple):
    """What perturbations of the input that keep the prediction do to the explanation.

    Attributes:
      value: the metric: the largest change that counts.
      changes: the change by each perturbation, whether it counts or not.
      counts: whether the perturbation keeps the predicted class.
      num_counted: how many do.
      own_noise: what the metric would be if the explanation changed only because the explainer draws anew, at the
        same perturbations; 0 for an explainer that does not draw.
    """

    value: Float[Array, ""]
    changes: Float[Array, " n"]
    counts: Bool[Array, " n"]
    num_counted: Int[Array, ""]
    own_noise: Float[Array, ""]


@metric(
    "robustness",
    "lower",
    read="value",
    static=("num_samples", "batch_size"),
    not_negative=("sigma",),
    positive=("epsilon_min",),
)
def relative_input_stability(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.05,
    epsilon_min: float = 1e-6,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> RelativeStability:
    r"""By how much the explanation changes at most, relative to the change of the input.

    .. math::
        \max_{x'} \frac{\lVert (e_x - e_{x'}) / e_x \rVert_2}{\max(\lVert (x - x') / x \rVert_2,\, \epsilon_{min})}

    over x' with normal noise, those alone whose predicted class is that of x. A sampling explainer gets one key for all
    of them, as in `max_sensitivity`.

    Differs from the paper in that no element of :math:`e_x` or x divides by less than epsilon_min, either: many maps
    have zeros. Such elements outweigh all others; prefer `max_sensitivity` for maps that are mostly zero.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of the perturbed inputs, too: an output's index, float weights over the outputs, or a
        function of them.
      key: the perturbations, and what the explainer draws.
      sigma: the standard deviation of the noise, in units of `x`; the default suits standardised features.
      epsilon_min: the smallest denominator.
      num_samples: how many perturbations, those that do not count among them. Static.
      batch_size: how many perturbed inputs are explained at once; changes the result by rounding at most. Static.

    Returns:
      The largest relative change, 0-d, no unit; at least 0, NaN if every perturbation changes the predicted class.
      Lower is better. `relative_input_stability.details` tells how many counted (`num_counted`), and as `own_noise`
      what the explainer's own draws change.

    Raises:
      ValueError: a number is out of range; the model gives no vector of scores; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.saliency, lambda x: x**2)
      >>> ris = relative_input_stability(explain, jnp.array([1.0]), 0, jax.random.key(0))
      >>> bool(abs(ris - 1) < 1e-3)  # |(2 x - 2 x') / 2 x| / |(x - x') / x|
      True

    References:
      agarwal2022rethinking
    """
    where = "relative_input_stability"
    f = lower(model_of(where, explain))
    numbers = (sigma, epsilon_min, num_samples, batch_size)
    return _stability(where, explain, x, target, key, lambda x: (f(x), x), _relative, *numbers)


@metric(
    "robustness",
    "lower",
    read="value",
    static=("num_samples", "batch_size"),
    not_negative=("sigma",),
    positive=("epsilon_min",),
)
def relative_output_stability(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.05,
    epsilon_min: float = 1e-6,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> RelativeStability:
    r"""By how much the explanation changes at most, relative to the change of the outputs.

    .. math::
        \max_{x'} \frac{\lVert (e_x - e_{x'}) / e_x \rVert_2}{\max(\lVert h(x) - h(x') \rVert_2,\, \epsilon_{min})}

    over x' with normal noise, those alone whose predicted class is that of x. The paper takes logits, whose change has
    a unit, so that it does not divide by them. A sampling explainer gets one key for all of them, as in
    `max_sensitivity`.

    Differs from the paper in that no element of :math:`e_x` divides by less than epsilon_min, either: see
    `relative_input_stability`.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of the perturbed inputs, too: an output's index, float weights over the outputs, or a
        function of them.
      key: the perturbations, and what the explainer draws.
      sigma: the standard deviation of the noise, in units of `x`; the default suits standardised features.
      epsilon_min: the smallest denominator.
      num_samples: how many perturbations, those that do not count among them. Static.
      batch_size: how many perturbed inputs are explained at once; changes the result by rounding at most. Static.

    Returns:
      The largest relative change, 0-d, per unit of the outputs; at least 0, NaN if every perturbation changes the
      predicted class. Lower is better. `relative_output_stability.details` tells how many counted (`num_counted`), and
      as `own_noise` what the explainer's own draws change.

    Raises:
      ValueError: a number is out of range; the model gives no vector of scores; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.input_x_gradient, lambda x: 4 * x)
      >>> ros = relative_output_stability(explain, jnp.array([2.0]), 0, jax.random.key(0))
      >>> bool(abs(ros - 0.125) < 1e-3)  # |(4 x - 4 x') / 4 x| / |4 x - 4 x'|
      True

    References:
      agarwal2022rethinking
    """
    where = "relative_output_stability"
    f = lower(model_of(where, explain))

    def outputs(x: Array) -> tuple[Array, Array]:
        h = f(x)
        return h, h

    numbers = (sigma, epsilon_min, num_samples, batch_size)
    return _stability(where, explain, x, target, key, outputs, _absolute, *numbers)


@metric(
    "robustness",
    "lower",
    read="value",
    static=("layer", "num_samples", "batch_size"),
    not_negative=("sigma",),
    positive=("epsilon_min",),
)
def relative_representation_stability(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    layer: str | None = None,
    sigma: float = 0.05,
    epsilon_min: float = 1e-6,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> RelativeStability:
    r"""By how much the explanation changes at most, relative to the change of an activation inside the model.

    .. math::
        \max_{x'} \frac{\lVert (e_x - e_{x'}) / e_x \rVert_2}
        {\max(\lVert (L(x) - L(x')) / L(x) \rVert_2,\, \epsilon_{min})}

    over x' with normal noise, those alone whose predicted class is that of x. A sampling explainer gets one key for all
    of them, as in `max_sensitivity`.

    Differs from the paper in that no element of :math:`e_x` or L(x) divides by less than epsilon_min, either. After a
    ReLU many activations are zero, and those that are no longer outweigh all others: a layer before it is steadier.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of the perturbed inputs, too: an output's index, float weights over the outputs, or a
        function of them.
      key: the perturbations, and what the explainer draws.
      layer: L, a name of `layers(f, x)`; `None` is the last spatial activation. Static.
      sigma: the standard deviation of the noise, in units of `x`; the default suits standardised features.
      epsilon_min: the smallest denominator.
      num_samples: how many perturbations, those that do not count among them. Static.
      batch_size: how many perturbed inputs are explained at once; changes the result by rounding at most. Static.

    Returns:
      The largest relative change, 0-d, no unit; at least 0, NaN if every perturbation changes the predicted class.
      Lower is better. `relative_representation_stability.details` tells how many counted (`num_counted`), and as
      `own_noise` what the explainer's own draws change.

    Raises:
      ValueError: a number is out of range; the layer is unknown; the model gives no vector of scores; and as the
        explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.saliency, lambda x: jnp.exp(x) * 3.0)
      >>> rrs = relative_representation_stability(explain, jnp.array([1.0]), 0, jax.random.key(0), layer="exp")
      >>> bool(abs(rrs - 1) < 1e-3)  # the gradient is 3 times the activation
      True

    References:
      agarwal2022rethinking
    """
    where = "relative_representation_stability"
    opened = tap(model_of(where, explain), x, layer, where=where)
    nothing = opened.zeros()
    numbers = (sigma, epsilon_min, num_samples, batch_size)

    activation = lower(lambda x: opened.run(nothing, x))
    return _stability(where, explain, x, target, key, activation, _relative, *numbers)


def _stability(
    where: str,
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    look: Callable[[Array], tuple[Array, Array]],
    distance: Callable[[Array, Array, Any], Float[Array, ""]],
    sigma: Any,
    epsilon_min: Any,
    num_samples: int,
    batch_size: int | None,
) -> RelativeStability:
    """The relative change of the explanation per `distance(r, r')`, where `look(x)` gives the outputs and r."""
    outputs, here = look(x)
    if jnp.ndim(outputs) != 1:
        rule = "map one example to a vector of scores, the highest of which is the predicted class"
        raise ValueError(complaint(where, "f", rule, f"shape {jnp.shape(outputs)}"))

    def measure(moved: Array) -> tuple[Array, Array]:
        outputs_there, there = look(moved)
        apart = distance(widened(here), widened(there), epsilon_min)
        return jnp.maximum(apart, epsilon_min), outputs_there.argmax() == outputs.argmax()

    def change(measured: tuple[Array, Array], a: Array, b: Array) -> Float[Array, ""]:
        return _relative(a, b, epsilon_min) / measured[0]

    sizes = (num_samples, batch_size)
    found = neighbours(where, explain, x, target, key, gaussian(sigma), measure, change, *sizes)
    counts = found.measured[1]

    def largest(changes: Float[Array, " n"]) -> Float[Array, ""]:
        return jnp.where(counts.any(), jnp.where(counts, changes, 0).max(), jnp.nan)

    value, noise = largest(found.changes), largest(found.noise)
    return RelativeStability(value, found.changes, counts, counts.sum(), noise)


def _relative(a: Array, b: Array, epsilon_min: Any) -> Float[Array, ""]:
    return norm((a - b) / jnp.maximum(jnp.abs(a), epsilon_min))


def _absolute(a: Array, b: Array, epsilon_min: Any) -> Float[Array, ""]:
    return norm(a - b)
