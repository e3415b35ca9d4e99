"""Shapley values by sampling permutations (Castro, Gomez & Tejada 2009; Strumbelj & Kononenko 2014).

In pairs of a permutation and its reverse (Mitchell et al. 2022; the permutation explainer of Lundberg & Lee's shap).

Notation: M the number of features, v(S) the score of the input with only the features in S kept, pi a permutation,
Pre(i) the features before i in it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._sampling import Moments
from xaijax.core._score import Target
from xaijax.shapley._scores import FEWEST_SAMPLES, GameValues, estimate

_shapley_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("num_permutations", "batch_size"),
    not_negative=("tolerance",),
)


@_shapley_explainer(attribution=False)
def shapley_values(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_permutations: int = 10,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    r"""Shapley values with their standard errors; the estimator behind `permutation_shap`.

    .. math::
        \hat\phi_i = \frac{1}{m} \sum_{k=1}^{m} \frac{1}{2} \sum_{\pi \in \{\pi_k, \bar\pi_k\}}
        v(\mathrm{Pre}^\pi(i) \cup \{i\}) - v(\mathrm{Pre}^\pi(i))

    Walking a permutation from nothing to everything gives each feature one marginal contribution, and they sum to
    v(all) - v(none) exactly. The walk back (the reversed permutation) is its antithetic partner: the mean of both is
    exact for games without interactions of more than two features. The pairs are independent, so their spread
    gives the standard error.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the permutations; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      num_permutations: m, the most permutations to walk forth and back, 2 (M - 1) evaluations each. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score. It is looked at after 8
        permutations and then each time there are about 1.4 times as many; by default all are walked. A sample that
        was stopped so is slightly optimistic about its own error, and has no gradient (a `while` loop).
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors, the scores of nothing and everything, the work done, and whether and how it
      converged.

    Raises:
      ValueError: as `permutation_shap`.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1], x[0] * x[1] * x[2]])
      >>> result = shapley_values(f, jnp.ones(3), 0, jax.random.key(0), num_permutations=2)
      >>> result.values, result.num_evaluations  # an interaction of two: exact
      (Array([0.5, 0.5, 0. ], dtype=float32), Array(10, dtype=int32))

    References:
      castro2009polynomial, strumbelj2014explaining, mitchell2022sampling, lundberg2017unified
    """
    settings = (num_permutations, tolerance, batch_size)
    return _estimate("shapley_values", f, x, target, key, mask, *settings)


@_shapley_explainer()
def permutation_shap(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_permutations: int = 10,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Shapley values of an input's features, estimated from permutations.

    .. math::
        \phi_i = \sum_{S \subseteq F \setminus \{i\}} \frac{|S|!\,(M - |S| - 1)!}{M!}
        \big(v(S \cup \{i\}) - v(S)\big)

    The arguments and the estimator are those of `shapley_values`, which also gives the standard errors.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the permutations; the same for a whole batch means the same coalitions for all.
      mask: what the features are and how they are hidden; by default each element of `x` against zero.
      num_permutations: the most permutations to walk forth and back. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. The
      features' values sum to the score of `x` minus that of the input with everything hidden.

    Raises:
      ValueError: `num_permutations` or `batch_size` < 1, `tolerance` < 0, `f` gives no vector, `target` is out of
        range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced (see `black_box`), or `key` is no typed key.

    Examples:
      >>> permutation_shap(lambda x: x * 2.0, jnp.array([1.0, 2.0]), 1, jax.random.key(0))
      Array([0., 4.], dtype=float32)

    References:
      castro2009polynomial, strumbelj2014explaining, mitchell2022sampling, lundberg2017unified
    """
    mask = default_mask("permutation_shap", x, mask)
    settings = (num_permutations, tolerance, batch_size)
    return paint(mask, _estimate("permutation_shap", f, x, target, key, mask, *settings).values)


def _estimate(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    num_permutations: int,
    tolerance: float | None,
    batch_size: int | None,
) -> GameValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    chunk = v.chunk_size(batch_size, 2 + num_permutations * 2 * (M - 1))
    return walked(v, M, key, places, num_permutations, tolerance, chunk)


def places(key: Key[Array, ""], M: int) -> Int[Array, " M"]:
    """The place of each feature in a random permutation."""
    return jnp.argsort(jax.random.permutation(key, M))


def walked(
    v: Callable[[Array], Array],
    M: int,
    key: Key[Array, ""],
    draw: Callable[[Key[Array, ""], int], Int[Array, " M"]],
    num_permutations: int,
    tolerance: float | None,
    chunk: int,
) -> GameValues:
    """The mean marginal contributions of permutations and their reverses.

    Args:
      v: the game.
      M: how many features it has.
      key: decides the permutations.
      draw: a random permutation, as the place of each feature in it.
      num_permutations: the most of them, each forth and back.
      tolerance: the largest standard error that is good enough; `None` for all permutations.
      chunk: how many scores at once.
    """
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(num_permutations))
    # rank[k, i] is the place of feature i in permutation k.
    rank = jax.vmap(lambda k: draw(k, M))(keys)
    # Coalitions of a walk and its way back; nothing and everything are shared by all.
    per_pair = 2 * (M - 1)

    def coalition(row: Int[Array, ""]) -> Bool[Array, " M"]:
        k, step = jnp.divmod(row, per_pair)
        size = step % (M - 1) + 1
        return jnp.where(step < M - 1, rank[k] < size, rank[k] >= M - size)

    def fit(none: Array, all_: Array, y: Array, counted: Array) -> tuple[Array, Array]:
        ends = jnp.broadcast_to(jnp.stack([none, all_]), (num_permutations, 2))
        total = Moments.of(pair_gains(ends, y, rank), counted)
        return total.mean, total.standard_error

    return estimate(
        v,
        coalition,
        fit,
        num_samples=num_permutations,
        per_sample=per_pair,
        least=FEWEST_SAMPLES,
        chunk=chunk,
        tolerance=tolerance,
    )


def pair_gains(
    ends: Float[Array, "pairs 2"], y: Float[Array, " rows"], rank: Int[Array, "pairs M"]
) -> Float[Array, "pairs M"]:
    """What each feature adds on the way forth and on the way back, on average.

    Args:
      ends: v(none) and v(all) of each pair of walks.
      y: v(Pre(i)) of all coalitions between them, forth and back.
      rank: the place of each feature in the walk forth.
    """
    pairs, M = rank.shape
    forth, back = jnp.split(y.reshape(pairs, 2 * (M - 1)), 2, axis=1)

    def marginal(inner: Float[Array, "pairs M-1"]) -> Float[Array, "pairs M"]:
        """v(Pre(i) and i) - v(Pre(i)), in the order of the walk."""
        return jnp.diff(jnp.concatenate([ends[:, :1], inner, ends[:, 1:]], 1))

    gains = jnp.take_along_axis(marginal(forth), rank, 1)
    return (gains + jnp.take_along_axis(marginal(back), M - 1 - rank, 1)) / 2
