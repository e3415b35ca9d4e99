"""LIME: local interpretable model-agnostic explanations (Ribeiro, Singh & Guestrin, KDD 2016; arXiv:1602.04938v3).

Notation: z' in {0, 1}^d which of the d features are kept, f(z) the model's score of the input with the others
hidden, pi_x(z) the weight of such a sample by its distance D to the input, g the linear surrogate.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._least_squares import weighted_ridge
from xaijax.core._lower import lower
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._sampling import map_chunks, random_bits
from xaijax.core._score import Target, score
from xaijax.perturbation._columns import Neighborhood, Neighbors
from xaijax.perturbation._selection import check_selection, select


class LimeFit(NamedTuple):
    """The surrogate of LIME and how far it can be trusted.

    Attributes:
      weights: the coefficient of each feature, `(num_features,)`; 0 of those that were not selected.
      intercept: the surrogate's answer when every feature is 0: hidden.
      r2: the weighted coefficient of determination of the surrogate; NaN if the model gave one answer to all.
      local_prediction: the surrogate's answer for the input itself.
      prediction: the model's answer for the input itself.
      condition: the condition number of the normal equations; infinite if they were singular.
      selected: which features stayed in the surrogate.
      effective_sample_size: how many samples of equal weight say as much, (sum pi)^2 / sum pi^2: few if the kernel is
        too narrow for the samples.
      num_evaluations: how many inputs the model was given.
    """

    weights: Float[Array, " num_features"]
    intercept: Float[Array, ""]
    r2: Float[Array, ""]
    local_prediction: Float[Array, ""]
    prediction: Float[Array, ""]
    condition: Float[Array, ""]
    selected: Bool[Array, " num_features"]
    effective_sample_size: Float[Array, ""]
    num_evaluations: Int[Array, ""]


_lime_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "num_features", "feature_selection", "batch_size"),
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
    mask: Mask | Neighborhood | None = None,
    num_samples: int = 1000,
    num_features: int | None = None,
    feature_selection: str = "auto",
    kernel_width: float | None = None,
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
      num_features: how many features stay in the surrogate. Static.
      feature_selection: how they are selected. Static.
      kernel_width: the width of the exponential kernel.
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
    selection = (num_features, feature_selection)
    settings = (num_samples, *selection, kernel_width, ridge, batch_size)
    return _fit("lime_fit", f, x, target, key, mask, *settings)


@_lime_explainer()
def lime(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | Neighborhood | None = None,
    num_samples: int = 1000,
    num_features: int | None = None,
    feature_selection: str = "auto",
    kernel_width: float | None = None,
    ridge: float = 1.0,
    batch_size: int | None = None,
) -> Array:
    r"""Local interpretable model-agnostic explanations: a linear surrogate around one input.

    .. math::
        \xi(x) = \arg\min_g \sum_z \pi_x(z) \big(f(z) - g(z')\big)^2 + \Omega(g), \qquad
        \pi_x(z) = e^{-D(x, z)^2 / (2 \sigma^2)}

    Each sample keeps each feature with probability 1/2; D is the cosine distance of its mask to that of the input.
    The weighted ridge regression is solved in closed form. The samples of a mask, their weights and, with all features
    in the surrogate, the factorised normal equations do not depend on `x`: under `vmap` with one unmapped key they are
    computed once for all examples. A `vmap` over `target` explains several outputs by the same evaluations.

    The reference implementation explains three kinds of inputs; `mask` says which it is:

    - images: `segments`, the defaults, `num_samples=1000`;
    - tables: `binned_columns`, or without bins `gaussian_columns`, which draw values where the others hide; D is the
      Euclidean distance, `kernel_width` 0.75 sqrt(d); `num_samples=5000`, `num_features=10`;
    - texts: `even_sizes` of `tokens`, which hides 1, 2, ..., d tokens equally often; its width of 25 is on 100 D:
      0.25 here; `num_samples=5000`, `num_features=10`.

    Differs from the paper as the reference implementation does: the kernel has a 1/2 in the exponent, and the penalty
    is a ridge of 1 that does not grow with the number of samples, on the selected features. Differs from that in the
    defaults: all features stay in the surrogate unless `num_features` is given.

    Args:
      f: the model, one example to `(num_outputs,)`; the paper explains probabilities: `probabilities(f)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the samples; the same for a whole batch means the same samples for all.
      mask: what the features are and how they are hidden: `segments` of an image, `columns` of a table row, `tokens`
        of a text; or, of a table row, what its neighbours are: `binned_columns`, `gaussian_columns`. By default each
        element of `x` against zero.
      num_samples: perturbed inputs, the input itself included as the first. Static.
      num_features: K, how many features stay in the surrogate; all by default. Static.
      feature_selection: how they are selected: `forward`, one after the other, each time the one that lowers the
        error most; `highest_weights`, by their terms in a surrogate of all; `lasso_path`, the last knot of the
        lasso's path with at most K; `auto`, forward up to 6 and highest weights beyond; or `none`. Static.
      kernel_width: sigma, the width of the exponential kernel on the distance; by default 0.25, of a table row's
        neighbours 0.75 sqrt(d).
      ridge: the penalty on the squared coefficients.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The coefficients, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. In
      units of the score; positive speaks for the target; 0 for features that were not selected.

    Raises:
      ValueError: `num_samples` < 2, `num_features` < 1, there is no such `feature_selection`, `kernel_width` <= 0,
        `ridge` < 0, the mask does not fit `x`, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> import jax
      >>> f = lambda x: jnp.stack([x.sum(), 3.0 * x[0] - x[1] + 5.0])
      >>> [f"{w:.3f}" for w in lime(f, jnp.ones(2), 1, jax.random.key(0), ridge=0.0)]
      ['3.000', '-1.000']
      >>> lime(f, jnp.ones(2), 1, jax.random.key(0), num_features=1) != 0  # the one that matters more
      Array([ True, False], dtype=bool)

    References:
      ribeiro2016lime
    """
    features = _mask("lime", x, mask)
    selection = (num_features, feature_selection)
    settings = (num_samples, *selection, kernel_width, ridge, batch_size)
    return paint(features, _fit("lime", f, x, target, key, features, *settings).weights)


def _fit(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | Neighborhood | None,
    num_samples: int,
    num_features: int | None,
    feature_selection: str,
    kernel_width: float | None,
    ridge: float,
    batch_size: int | None,
) -> LimeFit:
    check_selection(where, feature_selection, num_features)
    if num_samples < 2:
        rule = "be at least 2: the input itself and one perturbed copy"
        raise ValueError(complaint(where, "num_samples", rule, num_samples))
    features = _mask(where, x, mask)
    draw = _drawn if hasattr(features, "neighbors") else _hidden
    Z, D, y = draw(where, f, x, target, key, features, num_samples, batch_size)

    sigma = getattr(features, "kernel_width", 0.25) if kernel_width is None else kernel_width
    pi = jnp.exp(-((D / jnp.asarray(sigma, D.dtype)) ** 2) / 2)
    kept = None
    if num_features is not None and num_features < features.num_features:
        kept = select(Z, y, pi, feature_selection, num_features)
    g = weighted_ridge(Z, y, pi, ridge, kept)  # Eq. (1), its complexity term the ridge
    local = g.intercept + (Z[0].astype(y.dtype) * g.coefficients).sum()
    selected = jnp.ones(features.num_features, bool) if kept is None else kept
    effective = (pi.sum() ** 2 / (pi**2).sum()).astype(y.dtype)
    evaluations = jnp.asarray(num_samples, jnp.int32)
    health = (g.condition, selected, effective, evaluations)
    return LimeFit(g.coefficients, g.intercept, g.r2, local, y[0], *health)


def _mask(where: str, x: Any, mask: Any) -> Any:
    """The mask, or the neighbourhood of a row, or each element of `x` against zeros."""
    return mask if hasattr(mask, "neighbors") else default_mask(where, x, mask)


def _drawn(
    where: str,
    f: Callable[[Any], Any],
    x: Array,
    target: Target,
    key: Key[Array, ""],
    mask: Neighborhood,
    num_samples: int,
    batch_size: int | None,
) -> Neighbors:
    """The input and neighbours of it."""
    model = lower(f)

    def y(row: Array) -> Float[Array, ""]:
        return score(model(row), target, where=where)

    return mask.neighbors(where, y, x, key, num_samples, batch_size)


def _hidden(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask,
    num_samples: int,
    batch_size: int | None,
) -> Neighbors:
    """The input with some of its features hidden, the first with none."""
    v = game(where, f, x, target, mask)
    chunk = v.chunk_size(batch_size, num_samples)
    draw = getattr(mask, "draw", random_bits)
    Z = draw(key, num_samples, mask.num_features).at[0].set(True)
    y = map_chunks(v, Z, chunk)
    Z = Z.astype(jnp.promote_types(y.dtype, jnp.float32))
    # The cosine distance between z' and the vector of ones.
    return Neighbors(Z, 1 - jnp.sqrt(Z.mean(1)), y)
