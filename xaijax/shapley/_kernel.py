"""KernelSHAP (Lundberg & Lee, NeurIPS 2017; arXiv:1705.07874v2), in pairs (Covert & Lee, AISTATS 2021).

Notation: M the number of features, z in {0, 1}^M a coalition, v(z) its score, Delta = v(1) - v(0). A coalition and its
complement 1 - z are a pair: of the sum of their squared errors only the part in d(z) = (v(z) - v(1 - z)) / 2 depends
on phi, so a pair is one row of the regression of d(z) on z - 1/2.
"""

import functools
from collections.abc import Callable
from math import comb
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._score import Target
from xaijax.shapley._scores import FEWEST_SAMPLES, GameValues, estimate

Sampling = Literal["kernel", "leverage"]

_kernel_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "sampling", "batch_size"),
    not_negative=("tolerance",),
)


@_kernel_explainer(attribution=False)
def kernel_shap_values(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int | None = None,
    sampling: Sampling = "kernel",
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    """The values of `kernel_shap` with their standard errors; the arguments are those of `kernel_shap`.

    The standard errors are those of the regression on sampled pairs: the spread of the pairs' influence on the values,
    each as if the pair itself had been left out of the fit (the jackknife to first order).

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the sampled coalitions; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden; by default each element of `x` against zero.
      num_samples: coalitions to score, besides none and all. Static.
      sampling: how the sizes of sampled coalitions are drawn, `"kernel"` or `"leverage"`. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors, the scores of nothing and everything, the work done, and whether and how it
      converged. The errors are 0 if all coalitions were scored, and infinite if fewer than two pairs were sampled of
      those that were not.

    Raises:
      ValueError: as `kernel_shap`.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] * x[1] * x[2]])
      >>> result = kernel_shap_values(f, jnp.ones(3), 1, jax.random.key(0))
      >>> [f"{value:.4f}" for value in result.values], result.num_evaluations
      (['0.3333', '0.3333', '0.3333'], Array(8, dtype=int32))
      >>> result.standard_error
      Array([0., 0., 0.], dtype=float32)

    References:
      lundberg2017unified
      covert2021improving
      musco2025leverage
    """
    settings = (num_samples, sampling, tolerance, batch_size)
    return _fit("kernel_shap_values", f, x, target, key, mask, *settings)


@_kernel_explainer()
def kernel_shap(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int | None = None,
    sampling: Sampling = "kernel",
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Shapley values of an input's features, as a weighted linear regression on coalitions.

    .. math::
        \phi = \arg\min_\phi \sum_{0 < |z| < M} \pi(z) \big(v(z) - v(0) - z^\top \phi\big)^2
        \quad\text{with}\quad \sum_i \phi_i = v(1) - v(0), \qquad
        \pi(z) = \frac{M - 1}{\binom{M}{|z|}\, |z|\, (M - |z|)}

    Coalitions come in pairs with their complements. The sizes 1, 2, ... and M - 1, M - 2, ... are taken completely as
    long as the budget gives each of their coalitions a turn; what is left of it is sampled from the sizes between. With
    all 2^M - 2 coalitions the values are exact; without interactions of more than two features they always are. The
    coalitions and the factorised normal equations do not depend on `x`: under `vmap` with one unmapped key they are
    computed once for all examples.

    Differs from the paper in having no lasso: no value is set to 0. Differs from the reference implementation also in
    that: it keeps ten features by default.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the sampled coalitions; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      num_samples: coalitions to score, besides none and all: 2 M at least, or all of them. By default 2 M + 2048, as in
        the reference implementation; never more than there are. Static.
      sampling: how the sizes of sampled coalitions are drawn: `"kernel"`, by their weight in the regression, as the
        reference implementation does; or `"leverage"`, all sizes alike, by the leverage of their coalitions, which are
        then weighted to make up for it. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score. It is looked at when the
        complete sizes and as many sampled pairs as there are features, 8 at least, are there, and then each time
        there are about 1.4 times as many pairs; by default all are scored. A smaller budget completes fewer sizes. It
        has no gradient (a `while` loop).
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. The
      features' values sum to the score of `x` minus that of the input with everything hidden.

    Raises:
      ValueError: `num_samples` is too small, `sampling` is unknown, `tolerance` < 0, `batch_size` < 1, `f` gives no
        vector, `target` is out of range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] + x[1]])
      >>> values = kernel_shap(f, jnp.array([2.0, 3.0, 5.0]), 0, jax.random.key(0))
      >>> [f"{value:.3f}" for value in jnp.abs(values)]  # nothing of 6 without either of the two
      ['3.000', '3.000', '0.000']

    References:
      lundberg2017unified
      covert2021improving
      musco2025leverage
    """
    mask = default_mask("kernel_shap", x, mask)
    settings = (num_samples, sampling, tolerance, batch_size)
    return paint(mask, _fit("kernel_shap", f, x, target, key, mask, *settings).values)


def _fit(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    num_samples: int | None,
    sampling: Sampling,
    tolerance: float | None,
    batch_size: int | None,
) -> GameValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    plan = _plan(where, M, num_samples, sampling)
    Z, pi = _pairs(plan, M, key)
    fixed = len(Z) - plan.sampled
    chunk = v.chunk_size(batch_size, 2 + 2 * len(Z))

    def fit(none: Array, all_: Array, y: Array, counted: Array) -> tuple[Array, Array]:
        with jax.default_matmul_precision("highest"):
            wide = jnp.promote_types(y.dtype, jnp.float32)
            delta = (all_ - none).astype(wide)
            d = jnp.diff(y.astype(wide).reshape(-1, 2))[:, 0] / -2
            # Fewer sampled pairs share the same mass.
            drawn = counted.sum() - fixed
            share = jnp.where(jnp.arange(len(Z)) < fixed, 1, plan.sampled / jnp.maximum(drawn, 1))
            weight = pi.astype(wide) * share.astype(wide) * counted
            values, error = _regress(Z.astype(wide), weight, d, delta, plan.sampled, drawn)
        return values, jnp.zeros_like(error) if plan.exact else error

    return estimate(
        v,
        lambda row: Z[row // 2] ^ (row % 2 == 1),
        fit,
        num_samples=len(Z),
        per_sample=2,
        least=fixed + min(plan.sampled, max(FEWEST_SAMPLES, M)),
        chunk=chunk,
        tolerance=tolerance,
    )


def _regress(
    Z: Float[Array, "pairs M"],
    pi: Float[Array, " pairs"],
    d: Float[Array, " pairs"],
    delta: Float[Array, ""],
    sampled: int,
    drawn: int | Int[Array, ""] | None = None,
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """The values and their standard errors; the last `sampled` pairs are drawn at random, the others are fixed.

    Of these `drawn` count, by default all; the others have no weight.

    phi = Delta / M + beta eliminates the constraint: sum(beta) = 0, so that z may be centred over the features.
    """
    M = Z.shape[1]
    mean = Z.mean(1, keepdims=True)
    X = Z - mean
    weighted = X * pi[:, None]
    gram = weighted.T @ X
    # Centred, it is singular along the ones. With an equation for them added it is regular, since the coalitions of
    # one feature are always there, and its solution, which is orthogonal to them, the same.
    along = jnp.trace(gram) / (M * (M - 1)) if M > 1 else 1.0
    factor = jax.scipy.linalg.cho_factor(gram + along, lower=True)
    inverse = jax.scipy.linalg.cho_solve(factor, jnp.eye(M, dtype=Z.dtype))
    influence = weighted @ inverse  # of d on the values: no x in it
    residual = d - delta * (mean[:, 0] - 0.5)
    beta = influence.T @ residual
    residual = residual - X @ beta
    step = influence.T @ residual  # one refinement of the solution
    values, residual = delta / M + beta + step, residual - X @ step
    if sampled < 2:
        return values, jnp.full(M, jnp.inf, values.dtype)
    # A pair pulls the fit towards itself, by its leverage.
    out = (influence[-sampled:], X[-sampled:], residual[-sampled:])
    leverage = (out[0] * out[1]).sum(1)
    missed = out[2] / jnp.maximum(1 - leverage, jnp.finfo(values.dtype).eps)
    n = sampled if drawn is None else drawn
    squares = (out[0] ** 2).T @ missed**2 - (out[0].T @ missed) ** 2 / n
    return values, jnp.sqrt(jnp.maximum(squares, 0) * (n / (n - 1)))


class _Plan(NamedTuple):
    """Which pairs are scored; the sizes are those of the smaller coalition of a pair, 1, 2, ..., M // 2.

    Attributes:
      counts: how many pairs there are of each size that is taken completely.
      mass: the kernel's weight of all pairs of each size; they sum to 1.
      share: how likely each size is to be sampled; 0 of those taken completely.
      sampled: how many pairs are sampled.
      exact: whether all pairs are taken.
    """

    counts: list[int]
    mass: Float[np.ndarray, " sizes"]
    share: Float[np.ndarray, " sizes"]
    sampled: int
    exact: bool


def _plan(where: str, M: int, num_samples: int | None, sampling: Sampling) -> _Plan:
    if sampling not in ("kernel", "leverage"):
        rule = "be 'kernel' or 'leverage'"
        raise ValueError(complaint(where, "sampling", rule, repr(sampling)))
    sizes = range(1, M // 2 + 1)
    # Of an even M, the coalitions of half the features pair among themselves.
    both = [1 if 2 * s == M else 2 for s in sizes]
    counts = [comb(M, s) * n // 2 for s, n in zip(sizes, both, strict=True)]
    least, most = 2 * sum(counts[:1]), 2 * sum(counts)
    wanted = 2 * M + 2048 if num_samples is None else num_samples
    if min(wanted, most) < least:
        rule = f"be at least {least}, for one coalition of and one without each of the {M} features"
        raise ValueError(complaint(where, "num_samples", rule, wanted))
    left = min(wanted, most) // 2

    mass = np.array([n * (M - 1) / (s * (M - s)) for s, n in zip(sizes, both, strict=True)])
    mass = mass / mass.sum()
    share = mass if sampling == "kernel" else np.array(both, float)
    taken = 0
    for s, count in enumerate(counts):
        # Each of its pairs is expected at least once; the first size is what makes the equations regular.
        if s and left * share[s] / share[s:].sum() < count - 1e-8:
            break
        left, taken = left - count, taken + 1
    share = np.where(np.arange(len(counts)) < taken, 0, share)
    exact = taken == len(counts)
    return _Plan(
        counts[:taken], mass, share / max(share.sum(), 1e-300), 0 if exact else left, exact
    )


def _pairs(
    plan: _Plan, M: int, key: Key[Array, ""]
) -> tuple[Bool[Array, "pairs M"], Float[Array, " pairs"]]:
    """One coalition of each pair, and its weight in the regression: first those that are not left to chance."""
    counts, mass, share, n, _ = plan
    rows = jnp.arange(sum(counts))
    ends = np.cumsum(counts, dtype=int)
    which = jnp.searchsorted(jnp.asarray(ends), rows, side="right")
    starts = jnp.asarray(ends - np.array(counts, int), jnp.int32)
    fixed = _combinations(which + 1, rows - starts[which], M, len(counts))
    each = jnp.asarray(mass[: len(counts)] / np.array(counts, float))
    if not n:
        return fixed, each[which]

    # The first number of a row draws the size, the order of the others the members.
    numbers = jax.random.bits(key, (n, 1 + M), jnp.uint32)
    bounds = np.cumsum(share)[:-1] * 2**32
    size = jnp.searchsorted(jnp.asarray(bounds.astype(np.uint32)), numbers[:, 0], side="right")
    drawn = jnp.argsort(numbers[:, 1:], axis=1) <= size[:, None]
    # The mass of a size over how often it is drawn.
    weight = jnp.asarray(mass / np.where(share > 0, share, 1) / n)[size]
    return jnp.concatenate([fixed, drawn]), jnp.concatenate([each[which], weight])


def _combinations(
    size: Int[Array, " n"], number: Int[Array, " n"], M: int, largest: int
) -> Bool[Array, "n M"]:
    """The subset of a size and a number: the numbers follow the lexicographic order, feature 0 first.

    So the first half of the subsets of M / 2 features are those with feature 0, none the complement of another.
    """
    # after[j, k]: how many subsets of k features take feature j and the rest of those behind it.
    after = [[comb(M - 1 - j, k - 1) if k else 0 for k in range(largest + 1)] for j in range(M)]
    after = np.minimum(np.array(after, object), 2**31 - 1).astype(np.int32)

    def feature(state: Any, row: Any) -> tuple[Any, Array]:
        missing, number = state
        with_ = row[missing]
        take = number < with_
        return (missing - take, number - jnp.where(take, 0, with_)), take

    _, taken = lax.scan(feature, (size, number), jnp.asarray(after))
    return taken.T
