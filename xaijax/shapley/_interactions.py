r"""Interactions of two features, from the scores of all coalitions.

SII (Grabisch & Roubens 1999), k-SII or n-Shapley values (Lundberg et al. 2020; Bordt & von Luxburg, AISTATS 2023),
STII (Sundararajan, Dhamdhere & Agarwal, ICML 2020) and FSII (Tsai, Yeh & Ravikumar, JMLR 2023), all of order 2.

Notation: M the number of features, v(S) the score of the input with only the features in S kept, Delta = v(all) -
v(none), and the interaction in the presence of T

.. math:: \delta_{ij} v(T) = v(T \cup ij) - v(T \cup i) - v(T \cup j) + v(T)
"""

from collections.abc import Callable
from math import comb, factorial
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask
from xaijax.core._score import Target
from xaijax.shapley._exact import gains, mean_gains, shapley_weights
from xaijax.shapley._scores import every_score

Index = Literal["SII", "k-SII", "STII", "FSII"]
_INDICES = ("SII", "k-SII", "STII", "FSII")


@explainer(
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    attribution=False,
    static=("index", "batch_size"),
)
def shapley_interactions(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    mask: Mask | None = None,
    index: Index = "k-SII",
    batch_size: int | None = None,
) -> Float[Array, "num_features num_features"]:
    r"""What pairs of features contribute beyond what each of them does.

    .. math::
        \mathrm{SII}_{ij} = \sum_{T \subseteq F \setminus ij}
        \frac{|T|!\,(M - |T| - 2)!}{(M - 1)!} \, \delta_{ij} v(T), \qquad
        \mathrm{STII}_{ij} = \frac{2}{M} \sum_{T \subseteq F \setminus ij} \binom{M - 1}{|T|}^{-1} \delta_{ij} v(T),
        \qquad
        \mathrm{FSII}_{ij} = 6 \sum_{T \subseteq F \setminus ij}
        \frac{(|T| + 1)!\,(M - |T| - 1)!}{(M + 1)!} \, \delta_{ij} v(T)

    The values of single features on the diagonal: *SII* leaves them their Shapley values, which count interactions
    once more. *k-SII* takes half of its interactions from each, :math:`\phi_i - \frac{1}{2} \sum_j
    \mathrm{SII}_{ij}`. *STII* leaves them their scores alone, :math:`v(i) - v(\emptyset)`. *FSII* is the regression of
    the game on features and pairs, with the weights of `kernel_shap`, the scores of nothing and everything held
    exactly: the equation is its closed form for the pairs, and what they leave goes to the features as in k-SII.
    Without interactions of more than two features the last three agree. It takes 2^M evaluations, so at most 20
    features.

    Differs from the papers in nothing, in the order 2 that all of them define. The package shap splits each interaction
    in two halves, one on each side of the diagonal: of k-SII in its tree explainer, of STII in its exact one.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      index: `"SII"`, `"k-SII"`, `"STII"` or `"FSII"`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      A symmetric matrix `(num_features, num_features)` in units of the score: the features' own values on its diagonal,
      the whole interaction of each pair on either side. The diagonal and one side sum to the score of `x` minus that of
      the input with everything hidden; not those of SII.

    Raises:
      ValueError: more than 20 features, `index` is unknown, `batch_size` < 1, `f` gives no vector, `target` is out of
        range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`).

    Examples:
      >>> f = lambda x: jnp.stack([5.0 * x[0] + x[0] * x[1]])
      >>> shapley_interactions(f, jnp.array([2.0, 3.0]), 0)  # 10 of the first alone, 6 of both
      Array([[10.,  6.],
             [ 6.,  0.]], dtype=float32)

    References:
      grabisch1999axiomatic
      lundberg2020local
      bordt2023shapley
      sundararajan2020shapley
      tsai2023faith
    """
    where = "shapley_interactions"
    if index not in _INDICES:
        rule = f"be one of {', '.join(map(repr, _INDICES))}"
        raise ValueError(complaint(where, "index", rule, repr(index)))
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    scores = every_score(where, v, M, batch_size)
    y = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))

    pairs = jnp.zeros((M, M), y.dtype)
    if M > 1:
        # The interaction of a pair is what i adds to what j adds; row j lacks feature j itself.
        of_each = jnp.stack([gains(y, j) for j in range(M)])
        found = lax.map(lambda of_j: mean_gains(of_j, M - 1, _weights(M, index)), of_each)
        pairs = pairs.at[np.nonzero(~np.eye(M, dtype=bool))].set(found.reshape(-1))
    if index == "STII":
        single = y[2 ** np.arange(M)] - y[0]
    else:
        single = mean_gains(y, M, shapley_weights(M))
        if index != "SII":
            # The Shapley values of the game less its pairs, each of which is shared by halves.
            single = single - pairs.sum(1) / 2
    return (pairs + jnp.diag(single)).astype(scores.dtype)


def _weights(M: int, index: Index) -> list[float]:
    """What delta(T) weighs for T of 0, ..., M - 2 features."""
    if index == "STII":
        return [2 / (M * comb(M - 1, t)) for t in range(M - 1)]
    if index == "FSII":  # the regression in closed form, of its highest order
        whole = factorial(M + 1)
        return [6 * factorial(t + 1) * factorial(M - t - 1) / whole for t in range(M - 1)]
    return shapley_weights(M - 1)
