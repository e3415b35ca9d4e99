"""SAGE (Covert, Lundberg & Lee, NeurIPS 2020; arXiv:2004.00668v2).

Notation: M the number of features, (x, y) an example of the data and its label, f_S(x) the mean answer to x with only
the features in S kept, l the loss, pi a permutation.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask
from xaijax.core._sampling import Moments, map_chunks
from xaijax.core._score import score
from xaijax.core._tree import as_tree
from xaijax.shapley._permutation import pair_gains, places
from xaijax.shapley._scores import (
    FEWEST_SAMPLES,
    GameValues,
    checkpoints,
    history,
    result,
    watch,
)


def sage(
    f: Callable[[Any], Any],
    xs: Any,
    ys: Any,
    key: Key[Array, ""],
    *,
    loss: Callable[[Any, Any], Array],
    mask: Mask | None = None,
    num_permutations: int = 512,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    r"""What each feature contributes to a model's performance on a data set: a global view.

    .. math::
        v(S) = -\operatorname{E}_{x, y}\, \ell\big(f_S(x), y\big), \qquad
        \phi_i = \sum_{S \subseteq F \setminus \{i\}} \frac{|S|!\,(M - |S| - 1)!}{M!}
        \big(v(S \cup \{i\}) - v(S)\big)

    Each sample is an example drawn from the data and a permutation, walked forth and back: by how much the loss falls
    when a feature is added. A feature that helps has a positive value, one that misleads a negative one, one that the
    model does not use 0. Correlated features are torn apart by a background set (`columns`), as by the other methods.

    Differs from the paper in taking the mean over all rows of a background set, where its Algorithm 1 draws some, and
    in walking each permutation back too, as `permutation_shap` does.

    Args:
      f: the model, one example to its outputs, as `loss` takes them: probabilities for a cross-entropy of means.
      xs: the examples of the data, stacked.
      ys: their labels, stacked: anything that `loss` takes.
      key: decides the examples and the permutations.
      loss: a function of the outputs and the label of one example, lower is better.
      mask: what the features are and how they are hidden: `columns` with a background set. By default each element of
        an example against zero.
      num_permutations: the most examples with a permutation each; 2 M evaluations for each of them.
      tolerance: stop when the largest standard error is at most this, in units of the loss. It is looked at after 8
        permutations and then each time there are about 1.4 times as many; by default all are walked.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most.

    Returns:
      The values in units of the loss, and their standard errors. Their sum is `prediction - base_value`: minus the mean
      loss of the examples drawn with every feature, plus that with none.

    Raises:
      ValueError: `xs` and `ys` are not of one length, there is no example, `loss` gives no scalar, `num_permutations`
        or `batch_size` < 1, `tolerance` < 0, or `xs` or `ys` are not finite.
      TypeError: `f` cannot be traced (see `black_box`), `loss` cannot be called, or `key` is no typed key.

    Examples:
      >>> xs = jnp.array([[1.0, 5.0], [3.0, 5.0]])
      >>> result = sage(lambda x: x[:1], xs, xs[:, 0], jax.random.key(0), loss=lambda out, y: (out[0] - y) ** 2)
      >>> bool(abs(result.values[0] - 5) < 4 * result.standard_error[0]), result.values[1]  # (1 + 9) / 2
      (True, Array(0., dtype=float32))

    References:
      covert2020understanding
    """
    if not callable(loss):
        rule = "be a function (outputs, label) -> scalar"
        raise TypeError(complaint("sage", "loss", rule, repr(loss)))
    sizes = {jnp.shape(a)[:1] for a in jax.tree.leaves((xs, ys))}
    if len(sizes) != 1 or min(sizes) in ((), (0,)):
        rule = "have as many labels as xs has examples, one at least"
        got = [jnp.shape(a) for a in jax.tree.leaves((xs, ys))]
        raise ValueError(complaint("sage", "ys", rule, f"shapes {got}"))
    every = jax.tree_util.Partial(_every, as_tree(f))
    return _explain(
        every,
        (xs, ys),
        loss,
        key,
        mask=mask,
        num_permutations=num_permutations,
        tolerance=tolerance,
        batch_size=batch_size,
    )


def _every(f: Callable[[Any], Any], data: tuple[Any, Any]) -> Any:
    return jax.vmap(f)(data[0])


def _estimate(
    f: Any,
    x: Any,
    target: Any,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    num_permutations: int = 512,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    (model,), (xs, ys), loss = f.args, x, target
    n = len(jax.tree.leaves(xs)[0])

    def at(i: Any) -> tuple[Any, Any]:
        return jax.tree.map(lambda a: jnp.asarray(a)[i], (xs, ys))

    mask = default_mask("sage", at(0)[0], mask)
    M = mask.num_features
    total = num_permutations * 2 * M
    chunk = game("sage", model, at(0)[0], loss, mask).chunk_size(batch_size, total)

    def draw(k: Int[Array, ""]) -> tuple[Array, Array]:
        which, order = jax.random.split(jax.random.fold_in(key, k))
        return jax.random.randint(which, (), 0, n), places(order, M)

    # rank[k, i] is the place of feature i in permutation k.
    example, rank = jax.vmap(draw)(jnp.arange(num_permutations))

    def of_row(row: Int[Array, ""]) -> Float[Array, ""]:
        # Of each permutation: nothing, everything, and what is between on the way forth and back.
        k, step = jnp.divmod(row, 2 * M)
        size = (step - 2) % max(M - 1, 1) + 1
        between = jnp.where(step < M + 1, rank[k] < size, rank[k] >= M - size)
        x, y = at(example[k])
        v = game("sage", model, x, loss, mask)
        outputs = v.outputs(jnp.where(step < 2, step == 1, between))
        # By `score`, so that a loss that is no finite scalar is told.
        return -score(outputs, lambda o: loss(o, y), where="sage")

    def fit(y: Array, number: Int[Array, ""]) -> tuple[Array, Array]:
        y = y.reshape(num_permutations, 2 * M)
        gains = pair_gains(y[:, :2], y[:, 2:], rank)
        samples = Moments.of(gains, jnp.arange(num_permutations) < number)
        return samples.mean, samples.standard_error

    def told(y: Array, values: Array, error: Array, walks: Array, *converged: Any) -> GameValues:
        ends = y.reshape(num_permutations, 2 * M)[:, :2]
        mean = Moments.of(ends, jnp.arange(num_permutations) < walks).mean.astype(y.dtype)
        return result(values, error, mean[0], mean[1], walks * 2 * M, walks, *converged)

    if tolerance is None:
        y, walks = map_chunks(of_row, jnp.arange(total), chunk), jnp.int32(num_permutations)
        return told(y, *fit(y, walks), walks)
    numbers = checkpoints(FEWEST_SAMPLES, num_permutations)
    rows = [walks * 2 * M for walks in numbers]
    seen = watch(of_row, fit, rows, numbers, chunk, tolerance)
    past = history(rows, seen.errors, seen.checks)
    walks = jnp.asarray(numbers)[seen.checks - 1]
    return told(seen.y, seen.values, seen.error, walks, seen.met, past)


_estimate.__name__ = "sage"  # errors and programs are named after it
_explain = explainer(
    scope="global",
    access="black box",
    stage="post-hoc",
    models="any",
    attribution=False,
    static=("num_permutations", "batch_size"),
    not_negative=("tolerance",),
)(_estimate)
