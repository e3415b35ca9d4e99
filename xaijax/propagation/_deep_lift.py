"""DeepLIFT with the rescale rule (Shrikumar, Greenside & Kundaje, ICML 2017; arXiv:1704.02685v2).

Notation: y the score of the target, x the input, x' the baseline (the paper's reference), m the multipliers.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.gradient._path import stacked
from xaijax.propagation._multipliers import contributions


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    baseline=("baseline",),
)
def deep_lift(
    f: Callable[[Any], Any], x: Float[Array, "*shape"], target: Target, *, baseline: Any = 0.0
) -> Float[Array, "*shape"]:
    r"""DeepLIFT: how much each element contributes to the score's difference from that of a baseline.

    .. math::
        C_i = (x_i - x'_i) \, m_i, \qquad
        m_i = \sum_j \frac{\partial z_j}{\partial x_i} \frac{\Delta y_j}{\Delta z_j} m_j

    for a linear layer :math:`z(x)` and the nonlinearity :math:`y(z)` above it: the chain rule, with the slope between
    the two passes (the rescale rule) in the place of the derivative. Where the two cannot be told apart, because what
    is between the passes is rounding, it is the derivative in the middle. Two passes forward and one backward; examples
    that are explained together at one baseline have the pass there in common.

    The contributions sum to the difference :math:`y(x) - y(x')` up to rounding, whatever the model is made of. For
    what the paper has no rules for:

    * a product of two activations, also of matrices as in attention: each factor gets the mean of the other;
    * division, a power, a `where` whose condition depends on x: each part gets its Shapley value, as in SHAP;
    * a maximum, max-pooling, a sort: the difference goes to the input that is the maximum now, if that has risen, or
      to the one that was it, if it has fallen: as in SHAP;
    * a comparison is a step from 0 to 1, and `stop_gradient` stops nothing.

    So softmax, layer norm, attention, GELU, recurrent networks and branches of the model are covered. An infinite
    difference cannot be shared out, as that of a mask with infinities which depends on x: it gives NaN.

    Differs from the paper in these rules, and in explaining the score that `target` says; the paper explains logits,
    for a softmax less their mean over the classes, which weights as `target` can say.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      baseline: an input in which nothing is present: a number, or an array that broadcasts to `x`.

    Returns:
      One signed number for each element of `x`, in units of the score. They sum to :math:`y(x) - y(x')`.

    Raises:
      NotImplementedError: an operation of the model has no rule: it is named.
      ValueError: the baseline has another shape or is not finite, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jax.nn.relu(x[:1] + x[1:] - 1.0) * 3.0
      >>> x = jnp.array([2.0, 1.0])
      >>> f(x) - f(x * 0)  # relu(2) against relu(-1): the slope is 2 / 3
      Array([6.], dtype=float32)
      >>> deep_lift(f, x, 0)
      Array([4., 2.], dtype=float32)

    References:
      shrikumar2017deeplift
      lundberg2017unified
    """
    return contributions("deep_lift", f, x, target, stacked(baseline, x))[0]
