"""How sure a mean is, and whether two means differ: on the host, over examples or seeds.

The unit of replication must be independent of the others: examples of one model, or models of different seeds; not the
examples of several models in one list, which makes two thirds of all null differences "significant".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xaijax.core._errors import complaint

# The seed of every resampling: the same numbers in every run.
_SEED = 0
_RESAMPLES = 9999


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
      mean: of the numbers that are finite.
      low: of the interval; NaN if there is one number, from which nothing follows.
      high: of the interval; likewise.
      n: how many numbers are finite, or how many clusters they lie in.
    """

    mean: float
    low: float
    high: float
    n: int


class Difference(NamedTuple):
    """How two methods differ on the same examples.

    Attributes:
      interval: of the mean difference.
      p: how often signs drawn at random would give a mean as far from zero: of the sign-flip test.
      effect: the mean difference over its standard deviation (Cohen's d of pairs).
    """

    interval: Interval
    p: float
    effect: float


def mean_interval(
    values: Float[np.ndarray, " n"] | Sequence[float],
    *,
    clusters: Sequence[int] | np.ndarray | None = None,
    level: float = 0.95,
) -> Interval:
    """The mean and its confidence interval, by Student's t over the units of replication.

    Args:
      values: one number for each example; those that are NaN are left out.
      clusters: the unit of replication that each number belongs to, such as the seed of the model that it was
        measured on: the numbers of a unit are first averaged. By default each number is its own.
      level: of confidence.

    Raises:
      ValueError: `clusters` are not one for each number, or `level` is not between 0 and 1.

    Examples:
      >>> found = mean_interval([1.0, 2.0, 3.0])
      >>> found.mean, round(found.low, 2), round(found.high, 2), found.n
      (2.0, -0.48, 4.48, 3)
      >>> mean_interval([1.0])
      Interval(mean=1.0, low=nan, high=nan, n=1)
    """
    from scipy import stats  # a dependency of JAX; it takes as long to import

    values = np.asarray(values, np.float64)
    if not 0 < level < 1:
        raise ValueError(complaint("mean_interval", "level", "be above 0 and below 1", level))
    if clusters is not None:
        clusters = np.asarray(clusters)
        if clusters.shape != values.shape:
            rule = f"be one for each number, {values.shape}"
            raise ValueError(complaint("mean_interval", "clusters", rule, clusters.shape))
        inside = [values[(clusters == c) & np.isfinite(values)] for c in np.unique(clusters)]
        values = np.array([unit.mean() for unit in inside if unit.size])
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else np.nan, np.nan, np.nan, n)
    half = stats.t.ppf((1 + level) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    mean = float(values.mean())
    return Interval(mean, mean - float(half), mean + float(half), n)


def paired_difference(
    a: Float[np.ndarray, " n"] | Sequence[float],
    b: Float[np.ndarray, " n"] | Sequence[float],
    *,
    level: float = 0.95,
) -> Difference:
    """How far `a` is above `b` on the same examples.

    Examples where either is NaN are left out. All sign flips are tried if there are at most 9999, as many random ones
    otherwise.

    Args:
      a: one number for each example.
      b: likewise, of the same examples in the same order.
      level: of confidence.

    Raises:
      ValueError: they are not of one length.

    Examples:
      >>> found = paired_difference([3.0, 4.0, 5.0], [2.0, 3.0, 4.5])
      >>> round(found.interval.mean, 3), found.p  # 2 of 8 flips are as far from zero
      (0.833, 0.25)
    """
    from scipy import stats

    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or a.ndim != 1:
        rule = "be of the same examples, one number each"
        raise ValueError(complaint("paired_difference", "b", rule, f"{a.shape} and {b.shape}"))
    d = (a - b)[np.isfinite(a - b)]
    interval = mean_interval(d, level=level)
    if not d.any() or len(d) < 2:
        return Difference(interval, 1.0 if len(d) else np.nan, 0.0 if len(d) else np.nan)
    test = stats.permutation_test(
        (d,),
        lambda d, axis: d.mean(axis),
        permutation_type="samples",
        n_resamples=_RESAMPLES,
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    )
    spread = d.std(ddof=1)
    return Difference(interval, float(test.pvalue), float(d.mean() / spread) if spread else np.inf)


def holm(p: Float[np.ndarray, " m"] | Sequence[float]) -> Float[np.ndarray, " m"]:
    """P-values of several tests, each raised so that all of them together err as often as one (Holm 1979).

    Args:
      p: of the tests; NaN for one that was not made.

    Examples:
      >>> holm([0.01, 0.04, 0.03])
      array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p, np.float64)
    made = np.flatnonzero(np.isfinite(p))
    order = made[np.argsort(p[made])]
    raised = np.full(p.shape, np.nan)
    raised[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1.0)
    return raised
