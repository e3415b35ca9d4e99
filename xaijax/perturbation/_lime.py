"""LIME: local interpretable model-agnostic explanations (Ribeiro, Singh & Guestrin, KDD 2016; arXiv:1602.04938v3).

Notation: z' in {0, 1}^d which of the d features are kept, f(z) the model's score of the input with the others
hidden, pi_x(z) the weight of such a sample by its distance D to the input, g the linear surrogate.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._least_squares import weighted_ridge
from xaijax.core._mask import Mask, default_mask, game, paint
from xaijax.core._sampling import chunk_size, map_chunks, random_bits
from xaijax.core._score import Target


class LimeFit(NamedTuple):
    """The surrogate of LIME and how far it can be trusted.

    Attributes:
      weights: the coefficient of each feature, `(num_features,)`.
      intercept: the surrogate's answer when every feature is hidden.
      r2: the weighted coefficient of determination of the surrogate; NaN if the model gave one answer to all.
      local_prediction: the surrogate's answer for the input itself.
      prediction: the model's answer for the input itself.
      condition: the condition number of the normal equations; infinite if they were singular.
      num_evaluations: how many inputs the model was given.
    """

    weights: Float[Array, " num_features"]
    intercept: Float[Array, ""]
    r2: Float[Array, ""]
    local_prediction: Float[Array, ""]
    prediction: Float[Array, ""]
    condition: Float[Array, ""]
    num_evaluations: Int[Array, ""]


_lime_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    positive=("kernel_width",),
    not_negative=("ridge",),
)


@_lime_explainer(attribution=False)
def lime_fit(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    batch_size: int | None = None,
) -> LimeFit:
    """The surrogate of `lime` with its diagnostics; the arguments are those of `lime`.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper explains probabilities, see `probabilities`.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the samples; the same for a whole batch means the same samples for all.
      mask: what the features are and how they are hidden.
      num_samples: perturbed inputs, the input itself included as the first. Static.
      kernel_width: the width of the exponential kernel on the cosine distance.
      ridge: the penalty on the squared coefficients.
      batch_size: evaluations at once. Static.

    Returns:
      The surrogate's weights, intercept, fit and condition.

    Raises:
      ValueError: as `lime`.

    Examples:
      >>> import jax
      >>> f = lambda x: jnp.stack([x.sum(), 3.0 * x[0] - x[1] + 5.0])
      >>> fit = lime_fit(f, jnp.ones(2), 1, jax.random.key(0), ridge=0.0)
      >>> [f"{value:.3f}" for value in (*fit.weights, fit.r2, fit.local_prediction)]
      ['3.000', '-1.000', '1.000', '7.000']

    References:
      ribeiro2016lime
    """
    settings = (num_samples, kernel_width, ridge, batch_size)
    return _fit("lime_fit", f, x, target, key, mask, *settings)


@_lime_explainer()
def lime(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 1000,
    kernel_width: float = 0.25,
    ridge: float = 1.0,
    batch_size: int | None = None,
) -> Array:
    r"""Local interpretable model-agnostic explanations: a linear surrogate around one input.

    .. math::
        \xi(x) = \arg\min_g \sum_z \pi_x(z) \big(f(z) - g(z')\big)^2 + \Omega(g), \qquad
        \pi_x(z) = e^{-D(x, z)^2 / (2 \sigma^2)}

    Each sample keeps each feature with probability 1/2; D is the cosine distance of its mask to that of the input.
    The weighted ridge regression is solved in closed form. The samples, their weights and the factorised normal
    equations do not depend on `x`: under `vmap` with one unmapped key they are computed once for all examples.

    Differs from the paper as the image explainer of its reference implementation does: the kernel has a 1/2 in the
    exponent, and the penalty is a ridge of 1 that does not grow with the number of samples; all features stay in the
    surrogate. For tables and texts the reference has other defaults (values drawn from the training data in bins, a
    Euclidean kernel of width 0.75 sqrt(d); the number of removed words drawn evenly): expect other weights there.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper explains probabilities: `probabilities(f)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the samples; the same for a whole batch means the same samples for all.
      mask: what the features are and how they are hidden: `segments` of an image, `columns` of a table row, `tokens`
        of a text. By default each element of `x` against zero.
      num_samples: perturbed inputs, the input itself included as the first. Static.
      kernel_width: sigma, the width of the exponential kernel on the cosine distance.
      ridge: the penalty on the squared coefficients.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The coefficients, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. In
      units of the score; positive speaks for the target.

    Raises:
      ValueError: `num_samples` < 2, `kernel_width` <= 0, `ridge` < 0, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> import jax
      >>> f = lambda x: jnp.stack([x.sum(), 3.0 * x[0] - x[1] + 5.0])
      >>> [f"{w:.3f}" for w in lime(f, jnp.ones(2), 1, jax.random.key(0), ridge=0.0)]
      ['3.000', '-1.000']

    References:
      ribeiro2016lime
    """
    mask = default_mask("lime", x, mask)
    settings = (num_samples, kernel_width, ridge, batch_size)
    return paint(mask, _fit("lime", f, x, target, key, mask, *settings).weights)


def _fit(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    num_samples: int,
    kernel_width: float,
    ridge: float,
    batch_size: int | None,
) -> LimeFit:
    mask = default_mask(where, x, mask)
    v = game(where, f, x, target, mask)
    if num_samples < 2:
        rule = "be at least 2: the input itself and one perturbed copy"
        raise ValueError(complaint(where, "num_samples", rule, num_samples))
    chunk = chunk_size(where, batch_size, num_samples, v.like)

    Z = random_bits(key, num_samples, mask.num_features).at[0].set(True)
    y = map_chunks(v, Z, chunk)
    Z = Z.astype(jnp.promote_types(y.dtype, jnp.float32))
    D = 1 - jnp.sqrt(Z.mean(1))  # the cosine distance between z' and the vector of ones
    pi = jnp.exp(-((D / jnp.asarray(kernel_width, Z.dtype)) ** 2) / 2)
    g = weighted_ridge(Z, y, pi, ridge)  # Eq. (1), its complexity term the ridge
    local = g.intercept + g.coefficients.sum()
    evaluations = jnp.asarray(num_samples, jnp.int32)
    return LimeFit(g.coefficients, g.intercept, g.r2, local, y[0], g.condition, evaluations)
