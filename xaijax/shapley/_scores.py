"""What the estimators share: the scores of coalitions, in chunks, and the result with its standard errors.

An estimator sees only the game: v(z) is the score of the input with the features kept where z is true. Notation of
this folder: M the number of features, 0 the coalition of none of them, 1 that of all, Delta = v(1) - v(0).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from xaijax.core import _progress
from xaijax.core._errors import complaint
from xaijax.core._game import Game
from xaijax.core._sampling import map_chunks

#: A game of more features has too many coalitions to score them all.
MOST_FEATURES = 20


#: A standard error of fewer samples tells too little about itself to stop by it.
FEWEST_SAMPLES = 8


class History(NamedTuple):
    """How an estimate converged: its largest standard error after some, more and all of the work.

    With a tolerance there is an entry for each time it was looked at, each about 1.4 times the work of the last; after
    the end the last one is repeated. Without one there is only the end. A tolerance of 0 shows the whole of it.

    Attributes:
      num_evaluations: how many scores of coalitions there were.
      standard_error: the largest of all features.
    """

    num_evaluations: Int[Array, " checks"]
    standard_error: Float[Array, " checks"]


class GameValues(NamedTuple):
    """Estimated values of a game's players and how sure they are.

    Attributes:
      values: of each feature, `(num_features,)`.
      standard_error: of each value; 0 where nothing is left to chance, infinite where chance cannot be told.
      base_value: the score with every feature hidden.
      prediction: the score with every feature kept.
      num_evaluations: how many scores of coalitions the values rest on.
      num_samples: how many samples they are: permutations walked forth and back, pairs of coalitions, or what else the
        method draws.
      converged: whether every standard error is within the tolerance; False without one.
      history: the largest standard error on the way.
    """

    values: Float[Array, " num_features"]
    standard_error: Float[Array, " num_features"]
    base_value: Float[Array, ""]
    prediction: Float[Array, ""]
    num_evaluations: Int[Array, ""]
    num_samples: Int[Array, ""]
    converged: Bool[Array, ""]
    history: History


#: (v(0), v(1), the scores of all rows, which samples count) to the values and their standard errors.
Fit = Callable[[Array, Array, Array, Array], tuple[Array, Array]]


def estimate(
    v: Callable[[Array], Array],
    coalition: Callable[[Int[Array, ""]], Bool[Array, " M"]],
    fit: Fit,
    *,
    num_samples: int,
    per_sample: int,
    least: int,
    chunk: int,
    tolerance: float | Array | None,
) -> GameValues:
    """Score the coalitions of all samples, or of as many as a tolerance needs, and fit values to the scores.

    Args:
      v: the game.
      coalition: of a row; each sample has `per_sample` rows that follow one another.
      fit: what makes values of the scores.
      num_samples: the most samples.
      per_sample: how many coalitions a sample scores.
      least: how many samples there must be before the tolerance is looked at.
      chunk: how many rows at once.
      tolerance: the largest standard error that is good enough; `None` for all samples.
    """
    if tolerance is None:
        none, all_, y = scores(v, coalition, num_samples * per_sample, chunk)
        values, error = fit(none, all_, y, jnp.ones(num_samples, bool))
        evaluations = 2 + num_samples * per_sample
        return result(values, error, none, all_, evaluations, num_samples)

    numbers = checkpoints(least, num_samples)
    rows = [2 + n * per_sample for n in numbers]

    def fit_first(y: Array, n: Int[Array, ""]) -> tuple[Array, Array]:
        return fit(y[0], y[1], y[2:], jnp.arange(num_samples) < n)

    row = row_score(v, coalition, num_samples * per_sample)
    seen = watch(lambda k: row(k - 2), fit_first, rows, numbers, chunk, tolerance)
    none, all_, last = seen.y[0], seen.y[1], seen.checks - 1
    past = history(rows, seen.errors, seen.checks)
    evaluations, samples = jnp.asarray(rows)[last], jnp.asarray(numbers)[last]
    return result(seen.values, seen.error, none, all_, evaluations, samples, seen.met, past)


class Watched(NamedTuple):
    """A run that looks at its standard errors now and then.

    Attributes:
      checks: how often it looked.
      done: how many rows were scored.
      y: the scores of the rows; 0 where there are none.
      values: at the last look.
      error: their standard errors.
      met: whether the largest is within the tolerance.
      errors: the largest at each look.
    """

    checks: Int[Array, ""]
    done: Int[Array, ""]
    y: Float[Array, "rows *shape"]
    values: Float[Array, " M"]
    error: Float[Array, " M"]
    met: Bool[Array, ""]
    errors: Float[Array, " checks"]


def watch(
    score: Callable[[Int[Array, ""]], Float[Array, "*shape"]],
    fit: Callable[[Array, Int[Array, ""]], tuple[Array, Array]],
    rows: Sequence[int],
    numbers: Sequence[int],
    chunk: int,
    tolerance: float | Array,
    met: bool | Bool[Array, ""] = False,
) -> Watched:
    """Score rows until the largest standard error is within the tolerance.

    It is looked at when certain numbers of samples are there, whatever the chunk: so the result does not depend on it.

    Args:
      score: of a row, or the scores of several coalitions that belong together.
      fit: the scores so far and how many samples count, to the values and their standard errors.
      rows: how many rows there must be at each look.
      numbers: how many samples these are.
      chunk: how many rows at once.
      tolerance: the largest standard error that is good enough.
      met: whether it is met before the start; then nothing is scored.
    """
    total = rows[-1]
    chunk = min(chunk, rows[0])  # or a large one would score everything before the first look
    needed, counted = (jnp.asarray(a, jnp.int32) for a in (rows, numbers))
    like = jax.eval_shape(score, jax.ShapeDtypeStruct((), jnp.int32))
    y = jnp.zeros((math.ceil(total / chunk) * chunk, *like.shape), like.dtype)
    values, error = (
        jnp.zeros(a.shape, a.dtype) for a in jax.eval_shape(fit, y[:total], counted[0])
    )
    zero = jnp.zeros((), jnp.int32)

    def fill(state: tuple[Array, Array]) -> tuple[Array, Array]:
        done, y = state
        new = jax.vmap(score)(jnp.minimum(done + jnp.arange(chunk), total - 1))
        _progress.report(chunk)
        return done + chunk, lax.dynamic_update_slice(y, new, (done, *[0] * (y.ndim - 1)))

    def check(state: Watched) -> Watched:
        k, done, y, *_, errors = state
        done, y = lax.while_loop(lambda s: s[0] < needed[k], fill, (done, y))
        values, error = fit(y[:total], counted[k])
        largest = error.max()
        # A model that answers NaN has no estimate, whatever its error.
        met = (largest <= tolerance) & jnp.isfinite(values).all()
        return Watched(k + 1, done, y, values, error, met, errors.at[k].set(largest))

    errors = jnp.zeros(len(rows), error.dtype)
    start = Watched(zero, zero, y, values, error, jnp.asarray(met), errors)
    end = lax.while_loop(lambda s: (s.checks < len(rows)) & ~s.met, check, start)
    return end._replace(y=end.y[:total])


def checkpoints(least: int, most: int) -> list[int]:
    """When to look: after `least`, ..., `most` samples, each about the root of 2 times as many as before."""
    found = [most]
    while found[0] > least:
        found.insert(0, max(least, int(found[0] / math.sqrt(2))))
    return found


def history(
    evaluations: Sequence[int], errors: Float[Array, " checks"], checks: Int[Array, ""]
) -> History:
    """What was seen, the last of it repeated."""
    at = jnp.minimum(jnp.arange(len(evaluations)), checks - 1)
    return History(jnp.asarray(evaluations, jnp.int32)[at], errors[at])


def result(
    values: Float[Array, " M"],
    error: Float[Array, " M"],
    none: Float[Array, ""],
    all_: Float[Array, ""],
    evaluations: int | Int[Array, ""],
    samples: int | Int[Array, ""],
    converged: bool | Bool[Array, ""] = False,
    past: History | None = None,
) -> GameValues:
    """All of it in the dtype of the scores; the history is the end alone if there is none."""
    evaluations, samples = (jnp.asarray(n, jnp.int32) for n in (evaluations, samples))
    if past is None:
        past = History(evaluations[None], error.max(keepdims=True))
    past = past._replace(standard_error=past.standard_error.astype(none.dtype))
    values, error = (a.astype(none.dtype) for a in (values, error))
    told = (evaluations, samples, jnp.asarray(converged), past)
    return GameValues(values, error, none, all_, *told)


def scores(
    v: Callable[[Array], Array],
    coalition: Callable[[Int[Array, ""]], Bool[Array, " M"]],
    count: int,
    chunk: int,
) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, " count"]]:
    """v(0), v(1), and the scores of `count` coalitions, `chunk` rows at a time."""
    row = row_score(v, coalition, count)
    y = map_chunks(row, jnp.arange(-2, count), min(chunk, 2 + count))
    return y[0], y[1], y[2:]


def row_score(
    v: Callable[[Array], Array],
    coalition: Callable[[Int[Array, ""]], Bool[Array, " M"]],
    count: int,
) -> Callable[[Int[Array, ""]], Float[Array, ""]]:
    """The score of row 0, 1, ..., `count` - 1; of row -2 it is v(0), of row -1 v(1)."""

    def row(k: Int[Array, ""]) -> Float[Array, ""]:
        # With the two ends among the rows the model is compiled once.
        return v(jnp.where(k < 0, k == -1, coalition(jnp.maximum(k, 0)) if count else k == -1))

    return row


def every_score(where: str, v: Game, M: int, batch_size: int | None) -> Float[Array, " 2**M"]:
    """The scores of all coalitions: the bits of a row's number say which features are kept."""
    if M > MOST_FEATURES:
        rule = f"have at most {MOST_FEATURES} features, since all 2^M coalitions are scored"
        fix = "xaijax.permutation_shap and xaijax.kernel_shap take any number."
        raise ValueError(complaint(where, "mask", rule, M, fix))
    chunk = v.chunk_size(batch_size, 2**M)
    return map_chunks(lambda row: v(members(row, M)), jnp.arange(2**M), chunk)


def members(row: Int[Array, ""], M: int) -> Bool[Array, " M"]:
    """The coalition of a number's bits."""
    return (row >> jnp.arange(M)) & 1 == 1
