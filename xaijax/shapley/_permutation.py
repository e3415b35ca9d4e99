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
from xaijax.core._sampling import Moments, chunk_size, map_chunks
from xaijax.core._score import Target


class ShapleyValues(NamedTuple):
    """Estimated Shapley values and how sure they are.

    Attributes:
      values: of each feature, `(num_features,)`; they sum to `prediction - base_value`.
      standard_error: of each value, over the pairs of walks; infinite after a single pair.
      base_value: the score with every feature hidden.
      prediction: the score with every feature kept.
      num_permutations: how many permutations were walked, each forth and back.
      num_evaluations: how many coalitions were scored, those after the stopping point included.
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
      batch_size: evaluations at once; bounds the memory and changes nothing else. Static.

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
    mask = default_mask("shapley_values", x, mask)
    v, M = game("shapley_values", f, x, target, mask), mask.num_features
    per_pair = 2 * (
        M - 1
    )  # coalitions of a walk and its way back; nothing and everything are shared
    chunk = chunk_size("shapley_values", batch_size, 2 + num_permutations * per_pair, v.like)

    def walk(first: Int[Array, ""], pairs: int) -> tuple[Array, Array, Float[Array, "pairs M"]]:
        """v(none), v(all) and the marginal contributions in some pairs of walks."""
        keys = jax.vmap(lambda k: jax.random.fold_in(key, k))(first + jnp.arange(pairs))
        # rank[k, i] is the place of feature i in permutation k.
        rank = jax.vmap(lambda k: jnp.argsort(jax.random.permutation(k, M)))(keys)

        def coalition(row: Int[Array, ""]) -> Bool[Array, " M"]:
            k, step = jnp.divmod(row - 2, max(per_pair, 1))
            size = step % max(M - 1, 1) + 1
            inner = jnp.where(step < M - 1, rank[k] < size, rank[k] >= M - size)
            return jnp.where(row < 2, row == 1, inner)

        rows = jnp.arange(2 + pairs * per_pair)
        y = map_chunks(lambda row: v(coalition(row)), rows, min(chunk, len(rows)))
        ends = jnp.broadcast_to(y[:2], (pairs, 2))
        forth, back = jnp.split(y[2:].reshape(pairs, per_pair), 2, axis=1)

        def marginal(inner: Float[Array, "pairs M-1"]) -> Float[Array, "pairs M"]:
            return jnp.diff(jnp.concatenate([ends[:, :1], inner, ends[:, 1:]], 1))

        gains = jnp.take_along_axis(marginal(forth), rank, 1)
        return y[0], y[1], (gains + jnp.take_along_axis(marginal(back), M - 1 - rank, 1)) / 2

    if tolerance is None:
        none, all_, samples = walk(jnp.zeros((), jnp.int32), num_permutations)
        total = Moments.of(samples, jnp.ones(num_permutations, bool))
        evaluations = jnp.asarray(2 + num_permutations * per_pair, jnp.int32)
        converged = jnp.asarray(False)
        return _result(total, none, all_, evaluations, converged)

    # As many whole walks at once as fit into a chunk, one at least.
    block = max(1, min((chunk - 2) // max(per_pair, 1), num_permutations))

    def more(state: _State) -> _State:
        none, all_, samples = walk(state.walked, block)

        def add(total: Moments, sample: Float[Array, " M"]) -> tuple[Moments, Array]:
            total = total.merge(Moments.of(sample[None], jnp.ones(1, bool)))
            few = total.number < min(_FEWEST_PAIRS, num_permutations)
            return total, ~few & (total.standard_error.max() <= tolerance)

        # Stop at the very pair that meets the tolerance: the result must not depend on the chunk.
        _, met = lax.scan(add, state.total, samples)
        before = jnp.cumsum(met) - met == 0
        asked = state.walked + jnp.arange(block) < num_permutations
        total = state.total.merge(Moments.of(samples, before & asked))
        converged = (met & asked).any()
        evaluations = state.evaluations + 2 + block * per_pair
        return _State(total, none, all_, state.walked + block, evaluations, converged)

    zero = jnp.zeros((), jnp.int32)
    nothing = jnp.zeros((), jax.eval_shape(v, jnp.ones(M, bool)).dtype)
    start = _State(
        Moments.empty((M,), nothing.dtype), nothing, nothing, zero, zero, jnp.asarray(False)
    )
    end = lax.while_loop(lambda s: (s.walked < num_permutations) & ~s.converged, more, start)
    return _result(end.total, end.none, end.all, end.evaluations, end.converged)


# A spread of fewer pairs than this is not trusted to stop.
_FEWEST_PAIRS = 8


class _State(NamedTuple):
    total: Moments
    none: Array
    all: Array
    walked: Int[Array, ""]
    evaluations: Int[Array, ""]
    converged: Bool[Array, ""]


def _result(
    total: Moments, none: Array, all_: Array, evaluations: Array, converged: Array
) -> ShapleyValues:
    walked, dtype = total.number.astype(jnp.int32), none.dtype
    values, error = total.mean.astype(dtype), total.standard_error.astype(dtype)
    return ShapleyValues(values, error, none, all_, walked, evaluations, converged)


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
      batch_size: evaluations at once; bounds the memory and changes nothing else. Static.

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
    mask = default_mask("shapley_values", x, mask)
    result = shapley_values.__wrapped__(
        f,
        x,
        target,
        key,
        mask=mask,
        num_permutations=num_permutations,
        tolerance=tolerance,
        batch_size=batch_size,
    )
    return paint(mask, result.values)
