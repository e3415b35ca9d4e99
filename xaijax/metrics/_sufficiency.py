"""Sufficiency (Dasgupta, Frost & Moshkovitz, ICML 2022; arXiv:2202.00734v1).

Notation: a_i the attribution of example i, y_i what the model predicts for it, N(i) the other examples that are
explained as it is.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from xaijax.core._boundary import boundary
from xaijax.core._errors import complaint
from xaijax.core._inputs import check_attribution
from xaijax.core._tree import is_array
from xaijax.metrics._neighbours import norm


@functools.partial(boundary, numbers={"radius": "not_negative"})
def sufficiency(
    attributions: Float[Array, "n *shape"], predictions: Int[Array, " n"], *, radius: float = 0.5
) -> Float[Array, " n"]:
    r"""How often examples that are explained alike are predicted alike.

    .. math::
        \Pr_{j \in N(i)} ( y_j = y_i ), \qquad
        N(i) = \{ j \ne i : \lVert a_j - a_i \rVert_2 \le r \lVert a_i \rVert_2 \}

    Whether an explanation suffices shows only on other examples, so this takes all of them at once, and is not one of
    the metrics that judge one example under `vmap`: a number belongs to an example among these others.

    Differs from the paper, whose explanations are statements that hold of another example or do not, in what it takes
    for the same explanation: an attribution near this one. From Quantus in that the distance is measured by the size of
    the example's own attribution, not by the largest one in the batch, and in that an example with no other near it has
    no number there, where Quantus gives 0.

    Args:
      attributions: the explanations of several examples, stacked, `(n, ...)`.
      predictions: what the model predicts for each of them, such as `f(x).argmax()`, `(n,)` integers.
      radius: r, how far an attribution may be from this one to be the same, as a part of its size.

    Returns:
      A number per example, `(n,)`, between 0 and 1; NaN where no other is near, or the attribution is not finite.
      Higher is better. `jax.numpy.nanmean` over them is the paper's estimate for a model and an explainer.

    Raises:
      ValueError: there is one prediction too many or too few, or `radius` < 0.
      TypeError: `attributions` are not one float array, or `predictions` no integers.

    Examples:
      >>> import jax.numpy as jnp
      >>> a = jnp.array([[4.0, 0.0], [4.0, 1.0], [4.0, 0.5], [0.0, 9.0]])
      >>> sufficiency(a, jnp.array([1, 1, 0, 0]))
      Array([0.5, 0.5, 0. , nan], dtype=float32)

    References:
      dasgupta2022framework
    """
    check_attribution("sufficiency", "attributions", attributions)
    if not is_array(predictions) or not jnp.issubdtype(predictions.dtype, jnp.integer):
        got = getattr(predictions, "dtype", type(predictions).__name__)
        raise TypeError(complaint("sufficiency", "predictions", "be integers", got))
    if predictions.shape != attributions.shape[:1]:
        rule = f"be one for each attribution, {attributions.shape[:1]}"
        raise ValueError(
            complaint("sufficiency", "predictions", rule, f"shape {predictions.shape}")
        )
    a = attributions.astype(jnp.promote_types(attributions.dtype, jnp.float32))
    others = jnp.arange(len(a))

    def one(i: Int[Array, ""]) -> Float[Array, ""]:
        distances = jax.vmap(norm)(a - a[i])
        near = (distances <= radius * norm(a[i])) & (others != i)
        alike = (near & (predictions == predictions[i])).sum()
        return jnp.where(near.any(), alike / near.sum(), jnp.nan).astype(a.dtype)

    return jax.lax.map(one, others)
