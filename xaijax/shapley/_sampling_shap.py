"""Shapley values by sampling each feature's contribution (Strumbelj & Kononenko, KAIS 2014).

Notation: M the number of features, v(S) the score of the input with only the features in S kept, pi a permutation,
Pre(i) the features before i in it, Delta = v(all) - v(none).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._sampling import map_chunks
from xaijax.core._score import Target
from xaijax.shapley._scores import (
    FEWEST_SAMPLES,
    GameValues,
    checkpoints,
    history,
    result,
    watch,
)

_sampling_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    not_negative=("tolerance",),
)


@_sampling_explainer(attribution=False)
def sampling_shap_values(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 500,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    """The values of `sampling_shap` with their standard errors; the arguments are those of `sampling_shap`.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the permutations; the same for a whole batch means the same permutations for all.
      mask: what the features are and how they are hidden; by default each element of `x` against zero.
      num_samples: contributions sampled of a feature on average, two evaluations each. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors after the correction of the sum, the scores of nothing and everything, the work
      done, and whether and how it converged.

    Raises:
      ValueError: as `sampling_shap`.

    Examples:
      >>> f = lambda x: jnp.stack([2.0 * x[0] + 3.0 * x[1] + 1.0])
      >>> result = sampling_shap_values(f, jnp.ones(2), 0, jax.random.key(0), num_samples=4)
      >>> result.values, result.standard_error  # every sample of a sum is the same
      (Array([2., 3.], dtype=float32), Array([0., 0.], dtype=float32))

    References:
      strumbelj2014explaining
    """
    settings = (num_samples, tolerance, batch_size)
    return _estimate("sampling_shap_values", f, x, target, key, mask, *settings)


@_sampling_explainer()
def sampling_shap(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_samples: int = 500,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Shapley values of an input's features, each estimated from samples of its own.

    .. math::
        \hat\phi_i = \frac{1}{m_i} \sum_{k=1}^{m_i}
        v(\mathrm{Pre}^{\pi_{ik}}(i) \cup \{i\}) - v(\mathrm{Pre}^{\pi_{ik}}(i))

    Half of the samples go to all features alike; the second half to each by the standard deviation of its first. The
    features' samples are independent, so their values sum to v(all) - v(none) only nearly; the rest is spread over
    them by the squares of their standard errors. A contribution costs two evaluations here; `permutation_shap` shares
    them among neighbours in a walk, `kernel_shap` among all features, so for the same error they mostly need fewer.

    Where the mask stacks rows of a background, each sample draws one of them, by its weight, and both of its scores
    are with that row: so a score is one evaluation of the model, however large the background. Only v(all) and v(none)
    are means over all rows; of a `linked` target every score is, since the link is of the mean.

    Differs from the paper in the correction of the sum, which is that of the sampling explainer of Lundberg & Lee's
    shap.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the permutations; the same for a whole batch means the same permutations for all.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      num_samples: contributions sampled of a feature on average, 4 at least, two evaluations each: 2 M times as many
        evaluations in all. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score. It is looked at after 8
        contributions of each feature, or the first half if that has fewer, and then each time there are about 1.4
        times as many; by default all are scored. It has no gradient (a `while` loop).
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. The
      features' values sum to the score of `x` minus that of the input with everything hidden.

    Raises:
      ValueError: `num_samples` < 4, `tolerance` < 0, `batch_size` < 1, `f` gives no vector, `target` is out of range
        (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> sampling_shap(lambda x: x * 2.0, jnp.array([1.0, 2.0]), 1, jax.random.key(0))
      Array([0., 4.], dtype=float32)

    References:
      strumbelj2014explaining
    """
    mask = default_mask("sampling_shap", x, mask)
    settings = (num_samples, tolerance, batch_size)
    return paint(mask, _estimate("sampling_shap", f, x, target, key, mask, *settings).values)


def _estimate(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    num_samples: int,
    tolerance: float | None,
    batch_size: int | None,
) -> GameValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask).rows(), mask.num_features
    if num_samples < 4:
        rule = "be at least 4: two contributions of each feature tell its spread"
        raise ValueError(complaint(where, "num_samples", rule, num_samples))
    each, ends = num_samples // 2, v.number
    first, second = M * each, M * (num_samples - each)
    chunk = max(v.chunk_size(batch_size, 2 * (ends + first)) // 2, 1)

    def pair(sample: Int[Array, ""], feature: Array) -> tuple[Array, Array]:
        """Pre(i) of a sample without and with i, and the sample's row of the background."""
        words = jax.random.bits(jax.random.fold_in(key, sample), (M // 2 + 2,), jnp.uint32)
        # The features in the order of random numbers are a random permutation; of two halves a word, since words cost
        # as much as a small model. In one of 65 536 pairs they are equal, and none is before the other.
        place = jnp.concatenate([words[1:] >> 16, words[1:] & 0xFFFF])[:M]
        without = place < place[feature]
        with_ = without | (jnp.arange(M) == feature)
        return jnp.stack([without, with_]), jnp.broadcast_to(v.draw(words[0]), 2)

    def early(k: Int[Array, ""]) -> Float[Array, " 2"]:
        """First, of each row of the background, everything hidden and nothing; then the samples of the first round."""
        sample = jnp.maximum(k - ends, 0)
        z, b = pair(sample, sample % M)
        none_and_all = jnp.broadcast_to(jnp.arange(2)[:, None] == 1, z.shape)
        # With the two ends among the samples the model is compiled once.
        return jax.vmap(v)(jnp.where(k < ends, none_and_all, z), jnp.where(k < ends, k, b))

    def none_and_all(y: Float[Array, "n 2"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return v.mean(y[:ends, 0]), v.mean(y[:ends, 1])

    # Strewn, so that wherever it stops each feature has its part of the samples: multiples of the golden ratio.
    order = np.argsort(np.arange(second) * (np.sqrt(5) - 1) / 2 % 1)
    every = jnp.arange(first) % M

    def allocated(gains: Float[Array, " first"]) -> tuple[Array, Callable[[Array], Array]]:
        """The features of the second round's samples, and the scores of its pairs."""
        feature = _allocate(gains.reshape(each, M).std(0, ddof=1), second)[order]

        def late(k: Int[Array, ""]) -> Float[Array, " 2"]:
            return jax.vmap(v)(*pair(first + jnp.asarray(order)[k], feature[k]))

        return jnp.concatenate([every, feature]), late

    if tolerance is None:
        y = map_chunks(early, jnp.arange(ends + first), chunk)
        (none, all_), gains = none_and_all(y), _gains(y[ends:])
        feature, late = allocated(gains)
        y = map_chunks(late, jnp.arange(second), min(chunk, second))
        gains = jnp.concatenate([gains, _gains(y)])
        values, error = _means(gains, feature, len(gains), M, all_ - none)
        return result(values, error, none, all_, 2 + 2 * len(gains), len(gains))

    def fit_early(y: Array, n: Int[Array, ""]) -> tuple[Array, Array]:
        none, all_ = none_and_all(y)
        return _means(_gains(y[ends:]), every, n, M, all_ - none)

    def fit_late(y: Array, n: Int[Array, ""]) -> tuple[Array, Array]:
        return _means(jnp.concatenate([gains, _gains(y)]), feature, n, M, all_ - none)

    number = [M * n for n in checkpoints(min(FEWEST_SAMPLES, each), each)]
    one = watch(early, fit_early, [ends + n for n in number], number, chunk, tolerance)
    (none, all_), gains = none_and_all(one.y), _gains(one.y[ends:])
    feature, late = allocated(gains)
    more = checkpoints(max(second // 2, 1), second)
    number += [first + n for n in more]
    two = watch(late, fit_late, more, number[-len(more) :], chunk, tolerance, one.met)
    values, error = (jnp.where(one.met, *a) for a in zip(one[3:5], two[3:5], strict=True))
    rows, checks = [2 + 2 * n for n in number], one.checks + two.checks
    evaluations, samples = jnp.asarray(rows)[checks - 1], jnp.asarray(number)[checks - 1]
    past = history(rows, jnp.concatenate([one.errors, two.errors]), checks)
    return result(values, error, none, all_, evaluations, samples, two.met, past)


def _gains(y: Float[Array, "n 2"]) -> Float[Array, " n"]:
    """What a feature adds in each sample: the score with it less the one without."""
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    return y[:, 1] - y[:, 0]


def _means(
    gains: Float[Array, " n"],
    feature: Int[Array, " n"],
    counted: int | Int[Array, ""],
    M: int,
    delta: Float[Array, ""],
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """The values and their standard errors, of the first samples: as many as count."""

    def total(a: Float[Array, " n"]) -> Float[Array, " M"]:
        return jax.ops.segment_sum(jnp.where(jnp.arange(len(a)) < counted, a, 0), feature, M)

    number = total(jnp.ones_like(gains))
    mean = total(gains) / number
    variance = total((gains - mean[feature]) ** 2) / (number - 1) / number
    values, variance = _corrected(mean, variance, delta.astype(gains.dtype))
    return values, jnp.sqrt(variance)


def _allocate(deviation: Float[Array, " M"], count: int) -> Int[Array, " count"]:
    """Which feature each sample is of: as many of one as its deviation's part of their sum."""
    deviation = lax.stop_gradient(deviation)
    share = jnp.cumsum(jnp.where(deviation.sum() > 0, deviation, 1))
    place = (jnp.arange(count) + 0.5) / count * share[-1]
    return jnp.minimum(jnp.searchsorted(share, place.astype(share.dtype)), len(share) - 1)


def _corrected(
    mean: Float[Array, " M"], variance: Float[Array, " M"], delta: Float[Array, ""]
) -> tuple[Float[Array, " M"], Float[Array, " M"]]:
    """The means nearest to the estimates, measured by their variances, whose sum is Delta; and their variances."""
    known = variance.sum() > 0
    part = jnp.where(known, variance, 1) / jnp.where(known, variance.sum(), len(mean))
    return mean + (delta - mean.sum()) * part, variance * (1 - part)
