"""Shapley values by sampling permutations (Castro, Gomez & Tejada 2009; Strumbelj & Kononenko 2014).

In pairs of a permutation and its reverse (Mitchell et al. 2022; the permutation explainer of Lundberg & Lee's shap).

Notation: M the number of features, v(S) the score of the input with only the features in S kept, pi a permutation,
Pre(i) the features before i in it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._explainer import explainer
from xaijax.core._mask import Mask, default_mask, game, paint
from xaijax.core._sampling import Moments, chunk_size
from xaijax.core._score import Target
from xaijax.shapley._scores import scores


class ShapleyValues(NamedTuple):
    """Estimated Shapley values and how sure they are.

    Attributes:
      values: of each feature, `(num_features,)`; they sum to `prediction - base_value`.
      standard_error: of each value, over the pairs of walks; infinite after a single pair.
      base_value: the score with every feature hidden.
      prediction: the score with every feature kept.
      num_permutations: how many permutations were walked, each forth and back.
      num_evaluations: how many scores of coalitions the values rest on.
      converged: whether every standard error is within the tolerance; False without one.
    """

    values: Float[Array, " num_features"]
    standard_error: Float[Array, " num_features"]
    base_value: Float[Array, ""]
    prediction: Float[Array, ""]
    num_permutations: Int[Array, ""]
    num_evaluations: Int[Array, ""]
    converged: Bool[Array, ""]


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
) -> ShapleyValues:
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
      tolerance: stop at the first pair of walks (the eighth at the earliest) after which the largest standard
        error is at most this, in units of the score; by default all permutations are walked. A sample that was
        stopped so is slightly optimistic about its own error, and has no gradient (a `while` loop).
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors, the scores of nothing and everything, and the work done.

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


# A spread of fewer pairs than this is not trusted to stop.
_FEWEST_PAIRS = 8


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
) -> ShapleyValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    # Coalitions of a walk and its way back; nothing and everything are shared by all.
    per_pair = 2 * (M - 1)
    chunk = chunk_size(where, batch_size, 2 + num_permutations * per_pair, v.like)

    if tolerance is None:
        none, all_, samples = _walk(v, M, key, chunk, jnp.zeros((), jnp.int32), num_permutations)
        total = Moments.of(samples, jnp.ones(num_permutations, bool))
        converged = jnp.asarray(False)
    else:
        # As many whole walks at once as fit into a chunk, one at least.
        block = max(1, min((chunk - 2) // max(per_pair, 1), num_permutations))

        def more(state: _State) -> _State:
            none, all_, samples = _walk(v, M, key, chunk, state.walked, block)

            def add(carry: tuple[Moments, Array], item: Any) -> tuple[tuple[Moments, Array], None]:
                (total, met), (sample, k) = carry, item
                counts = ~met & (k < num_permutations)
                total = total.merge(Moments.of(sample[None], counts[None]))
                few = total.number < min(_FEWEST_PAIRS, num_permutations)
                small = total.standard_error.max() <= tolerance
                return (total, met | (counts & ~few & small)), None

            # One by one, up to the very pair that meets the tolerance: that must not depend on the chunk.
            numbers = state.walked + jnp.arange(block)
            done = (state.total, state.converged)
            (total, converged), _ = lax.scan(add, done, (samples, numbers))
            return _State(total, none, all_, state.walked + block, converged)

        nothing = jnp.zeros((), jax.eval_shape(v, jnp.ones(M, bool)).dtype)
        empty = Moments.empty((M,), nothing.dtype)
        start = _State(empty, nothing, nothing, jnp.zeros((), jnp.int32), jnp.asarray(False))
        end = lax.while_loop(lambda s: (s.walked < num_permutations) & ~s.converged, more, start)
        total, none, all_, converged = end.total, end.none, end.all, end.converged

    walked = total.number.astype(jnp.int32)
    values, error = (a.astype(none.dtype) for a in (total.mean, total.standard_error))
    return ShapleyValues(values, error, none, all_, walked, 2 + walked * per_pair, converged)


class _State(NamedTuple):
    total: Moments
    none: Array
    all: Array
    walked: Int[Array, ""]
    converged: Bool[Array, ""]


def _walk(
    v: Callable[[Array], Array],
    M: int,
    key: Key[Array, ""],
    chunk: int,
    first: Int[Array, ""],
    pairs: int,
) -> tuple[Array, Array, Float[Array, "pairs M"]]:
    """v(none), v(all), and the mean marginal contributions of some permutations and their reverses."""
    keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(first + jnp.arange(pairs))
    # rank[k, i] is the place of feature i in permutation k.
    rank = jax.vmap(lambda k: jnp.argsort(jax.random.permutation(k, M)))(keys)
    per_pair = 2 * (M - 1)

    def coalition(row: Int[Array, ""]) -> Bool[Array, " M"]:
        k, step = jnp.divmod(row, per_pair)
        size = step % (M - 1) + 1
        return jnp.where(step < M - 1, rank[k] < size, rank[k] >= M - size)

    none, all_, inner = scores(v, coalition, pairs * per_pair, chunk)
    ends = jnp.broadcast_to(jnp.stack([none, all_]), (pairs, 2))
    forth, back = jnp.split(inner.reshape(pairs, per_pair), 2, axis=1)

    def marginal(inner: Float[Array, "pairs M-1"]) -> Float[Array, "pairs M"]:
        """v(Pre(i) and i) - v(Pre(i)), in the order of the walk."""
        return jnp.diff(jnp.concatenate([ends[:, :1], inner, ends[:, 1:]], 1))

    gains = jnp.take_along_axis(marginal(forth), rank, 1)
    return none, all_, (gains + jnp.take_along_axis(marginal(back), M - 1 - rank, 1)) / 2
