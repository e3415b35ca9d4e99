"""Owen values over a hierarchy (Owen 1977, Values of games with a priori unions; of many levels: Winter, IJGT 1989).

Notation: M the number of features, v(S) the score of the input with only the features in S kept, Pi the permutations
that keep every group of the hierarchy together, Pre(i) the features before i in one.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._game import game
from xaijax.core._mask import Mask, default_mask, paint
from xaijax.core._score import Target
from xaijax.shapley._exact import shapley_weights
from xaijax.shapley._permutation import walked
from xaijax.shapley._scores import GameValues, estimate

#: A feature's number, or a group: a tuple of such.
Hierarchy = int | tuple["Hierarchy", ...]

_owen_explainer = functools.partial(
    explainer,
    scope="local",
    access="black box",
    stage="post-hoc",
    models="any",
    static=("hierarchy", "num_samples", "batch_size"),
    not_negative=("tolerance",),
)


@_owen_explainer(attribution=False)
def owen_values(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    hierarchy: Hierarchy | None = None,
    num_samples: int = 500,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> GameValues:
    """The values of `owen` with their standard errors; the arguments are those of `owen`.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: decides the permutations, if there are too many coalitions for the budget.
      mask: what the features are and how they are hidden; by default each element of `x` against zero.
      hierarchy: the groups of features, as nested tuples of their numbers. Static.
      num_samples: the most coalitions to score, besides none and all. Static.
      tolerance: stop when the largest standard error is at most this, in units of the score.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, their standard errors, the scores of nothing and everything, the work done, and whether and how it
      converged. The errors are 0 if all coalitions of the hierarchy were scored, and infinite after a single pair of
      walks.

    Raises:
      ValueError: as `owen`.
      TypeError: as `owen`.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1] * x[2]])
      >>> result = owen_values(f, jnp.ones(3), 0, jax.random.key(0), hierarchy=(0, (1, 2)))
      >>> result.values, result.num_evaluations  # the group is as good as feature 0; its members share
      (Array([0.5 , 0.25, 0.25], dtype=float32), Array(8, dtype=int32))

    References:
      owen1977values
      winter1989value
    """
    settings = (hierarchy, num_samples, tolerance, batch_size)
    return _estimate("owen_values", f, x, target, key, mask, *settings)


@_owen_explainer()
def owen(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    mask: Mask | None = None,
    hierarchy: Hierarchy | None = None,
    num_samples: int = 500,
    tolerance: float | None = None,
    batch_size: int | None = None,
) -> Array:
    r"""Owen values of an input's features: Shapley values of groups, shared within each group.

    .. math::
        \phi_i = \frac{1}{|\Pi|} \sum_{\pi \in \Pi}
        v(\mathrm{Pre}^\pi(i) \cup \{i\}) - v(\mathrm{Pre}^\pi(i))

    The permutations are those in which the features of each group follow one another: the words of a phrase, the
    superpixels of a part. So no phrase is torn up while others are judged, the values of a group's members sum to that
    of the group in the game between groups, and few coalitions are left: of 64 features in a binary tree 2730. If the
    budget is enough for them, all are scored and the values are exact; otherwise permutations are sampled, each with
    its reverse, as by `permutation_shap`. With one flat level they are the Shapley values.

    Differs from the papers in nothing for exact values. The partition explainer of Lundberg & Lee's shap has them too,
    of binary trees; where its budget ends it leaves groups whole and their members equal shares, which is biased.

    Args:
      f: the model, one example to `(num_outputs,)`: raw scores or probabilities; the values are in their units.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the permutations, if there are too many coalitions for the budget; the same for a whole batch means
        the same coalitions for all.
      mask: what the features are and how they are hidden: `segments`, `columns`, `tokens`. By default each element
        of `x` against zero.
      hierarchy: the groups of features, as nested tuples of their numbers: `((0, 1), (2, (3, 4)))`; `hierarchy` makes
        them of a tree's parents. By default all features side by side, which gives Shapley values. Static.
      num_samples: the most coalitions to score, besides none and all: 2 (M - 1) at least, or all of the hierarchy.
        Static.
      tolerance: stop when the largest standard error is at most this, in units of the score; as in `permutation_shap`.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The values, laid out on the input by `mask.paint`: `(h, w)` for segments, the shape of `x` by default. The
      features' values sum to the score of `x` minus that of the input with everything hidden.

    Raises:
      ValueError: `hierarchy` does not have each feature once, `num_samples` is too small, `tolerance` < 0, `batch_size`
        < 1, `f` gives no vector, `target` is out of range (traced: NaN, see `checked`), or `x` is not finite.
      TypeError: `hierarchy` has something else than numbers and tuples, `f` cannot be traced (see `black_box`), or
        `key` is no typed key.

    Examples:
      >>> f = lambda x: jnp.stack([x[0] * x[1]])
      >>> owen(f, jnp.array([2.0, 3.0, 5.0]), 0, jax.random.key(0), hierarchy=(0, (1, 2)))
      Array([3., 3., 0.], dtype=float32)

    References:
      owen1977values
      winter1989value
    """
    mask = default_mask("owen", x, mask)
    settings = (hierarchy, num_samples, tolerance, batch_size)
    return paint(mask, _estimate("owen", f, x, target, key, mask, *settings).values)


def hierarchy(parents: Sequence[int] | np.ndarray) -> Hierarchy:
    """The groups of a tree, for `owen`.

    A dendrogram of SciPy names its nodes so: row t of `linkage` makes node M + t of two others.

    Args:
      parents: of each node the number of its parent; -1 of the root. The features are the nodes 0, ..., M - 1, and
        only they have no children.

    Returns:
      Nested tuples of the features' numbers.

    Raises:
      ValueError: they are the parents of no such tree.

    Examples:
      >>> hierarchy([4, 3, 3, 4, -1])  # 1 and 2 are node 3; that and 0 are the root
      (0, (1, 2))
    """
    parents = np.asarray(parents)
    n = len(parents) if parents.ndim == 1 else 0
    children: list[list[int]] = [[] for _ in range(n)]
    fit = n > 0 and np.issubdtype(parents.dtype, np.integer)
    fit = fit and (parents >= -1).all() and (parents < n).all() and (parents == -1).sum() == 1
    reached: list[int] = []
    if fit:
        for node, parent in enumerate(parents.tolist()):
            if parent >= 0:
                children[parent].append(node)
        leaves = [not c for c in children]
        # With one root, whatever it does not reach runs in a circle.
        reached.append(int(np.argmin(parents)))
        for node in reached:
            reached += children[node]
        fit = len(reached) == n and leaves == sorted(leaves, reverse=True)
    if not fit:
        rule = "name each node's parent, the features first, and -1 for one root"
        raise ValueError(complaint("hierarchy", "parents", rule, parents.tolist()))

    def nested(node: int) -> Hierarchy:
        return tuple(map(nested, children[node])) if children[node] else node

    return nested(reached[0])


def _estimate(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    mask: Mask | None,
    hierarchy: Hierarchy | None,
    num_samples: int,
    tolerance: float | None,
    batch_size: int | None,
) -> GameValues:
    mask = default_mask(where, x, mask)
    v, M = game(where, f, x, target, mask), mask.num_features
    root = tuple(range(M)) if hierarchy is None else hierarchy
    _check(where, root, M)
    count = _count(root)
    if count <= num_samples:
        chunk = v.chunk_size(batch_size, 2 + count)
        return _exact(v, _terms(root, M), M, tolerance, chunk)

    pairs, per_pair = num_samples // (2 * (M - 1)), 2 * (M - 1)
    if not pairs:
        rule = f"be at least {per_pair}, for one walk over the {M} features forth and back"
        raise ValueError(complaint(where, "num_samples", rule, num_samples))
    chunk = v.chunk_size(batch_size, 2 + pairs * per_pair)
    draw = functools.partial(_places, _paths(root, M))
    return walked(v, M, key, draw, pairs, tolerance, chunk)


def _check(where: str, root: Hierarchy, M: int) -> None:
    found: list[int] = []

    def visit(node: Any) -> None:
        if isinstance(node, tuple) and node:
            for child in node:
                visit(child)
        elif isinstance(node, int | np.integer) and not isinstance(node, bool):
            found.append(int(node))
        else:
            rule = "be nested tuples of the features' numbers"
            fix = "Such as ((0, 1), (2, 3)); see xaijax.hierarchy."
            raise TypeError(complaint(where, "hierarchy", rule, repr(node), fix))

    visit(root)
    if sorted(found) != list(range(M)):
        rule = f"have each of the features 0, ..., {M - 1} once"
        raise ValueError(complaint(where, "hierarchy", rule, sorted(found)))


def _children(node: Hierarchy) -> tuple[Hierarchy, ...]:
    """A node's children; a group of one is its only child."""
    while isinstance(node, tuple) and len(node) == 1:
        node = node[0]
    return node if isinstance(node, tuple) else ()


def _members(node: Hierarchy) -> list[int]:
    return [i for child in node for i in _members(child)] if isinstance(node, tuple) else [node]


def _count(node: Hierarchy, contexts: int = 1) -> int:
    """How many coalitions there are besides none and all: each splits one node last, in a context of its siblings."""
    children = _children(node)
    if not children:
        return 0
    k = len(children)
    inside = sum(_count(child, contexts * 2 ** (k - 1)) for child in children)
    return contexts * (2**k - 2) + inside


class _Terms(NamedTuple):
    """The Owen values as a sum over pairs of coalitions: weight (v(on) - v(off)), of a feature each.

    Attributes:
      Z: the coalitions: none, all, and the others.
      feature: of each term.
      off: the row of the coalition without it.
      on: the row of the coalition with it.
      weight: of the term; those of a feature sum to 1.
    """

    Z: np.ndarray
    feature: np.ndarray
    off: np.ndarray
    on: np.ndarray
    weight: np.ndarray


def _terms(root: Hierarchy, M: int) -> _Terms:
    rows = [np.zeros((1, M), bool), np.ones((1, M), bool)]
    terms: list[tuple[np.ndarray, ...]] = []

    def visit(node: Hierarchy, off: np.ndarray, on: np.ndarray, weight: np.ndarray) -> None:
        """Of a node, the rows of the contexts without and with all of it, and how much each counts."""
        children = _children(node)
        if not children:
            terms.append((np.full(len(off), _members(node)[0]), off, on, weight))
            return
        k, subsets = len(children), np.arange(2 ** len(children))
        kept = (subsets[:, None] >> np.arange(k)) & 1 == 1
        new = np.zeros((2**k, M), bool)
        for j, child in enumerate(children):
            new[:, _members(child)] = kept[:, j, None]
        # Row numbers of each context with each subset of the children; the first and the last are there.
        start, inside = sum(map(len, rows)), new[1:-1]
        inner = start + np.arange(len(off) * len(inside)).reshape(len(off), -1)
        number = np.concatenate([off[:, None], inner, on[:, None]], 1)
        rows.append((np.concatenate(rows)[off][:, None] | inside).reshape(-1, M))
        of_size = np.array(shapley_weights(k))
        for j, child in enumerate(children):
            without = subsets[~kept[:, j]]
            share = weight[:, None] * of_size[kept[without].sum(1)]
            visit(
                child,
                number[:, without].reshape(-1),
                number[:, without | 1 << j].reshape(-1),
                share.reshape(-1),
            )

    visit(root, np.array([0]), np.array([1]), np.ones(1))
    feature, off, on, weight = (np.concatenate(a) for a in zip(*terms, strict=True))
    return _Terms(np.concatenate(rows), feature, off, on, weight)


def _exact(
    v: Callable[[Array], Array],
    terms: _Terms,
    M: int,
    tolerance: float | None,
    chunk: int,
) -> GameValues:
    Z = jnp.asarray(terms.Z[2:])

    def fit(none: Array, all_: Array, y: Array, counted: Array) -> tuple[Array, Array]:
        del counted  # all of them
        y = jnp.concatenate([jnp.stack([none, all_]), y])
        y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
        gains = jnp.asarray(terms.weight, y.dtype) * (y[terms.on] - y[terms.off])
        return jax.ops.segment_sum(gains, jnp.asarray(terms.feature), M), jnp.zeros(M, y.dtype)

    return estimate(
        v,
        lambda row: Z[row],
        fit,
        num_samples=len(Z),
        per_sample=1,
        least=len(Z),
        chunk=chunk,
        tolerance=tolerance,
    )


def _paths(root: Hierarchy, M: int) -> np.ndarray:
    """Of each feature the nodes from below the root down to itself, which is repeated to the depth of the tree.

    Features have their own numbers, groups those after them.
    """
    paths: dict[int, list[int]] = {}
    groups = iter(range(M, 2 * M))

    def visit(node: Hierarchy, path: list[int]) -> None:
        children = _children(node)
        for child in children:
            leaf = not _children(child)
            visit(child, [*path, _members(child)[0] if leaf else next(groups)])
        if not children:
            paths[path[-1]] = path

    visit(root, [])
    depth = max(map(len, paths.values()))
    return np.array([paths[i] + [i] * (depth - len(paths[i])) for i in range(M)])


def _places(paths: Int[np.ndarray, "M depth"], key: Key[Array, ""], M: int) -> Int[Array, " M"]:
    """The place of each feature in a random permutation that keeps groups together."""
    # The nodes in a random order: so every node's children are, and independently of the other nodes'.
    place = jnp.argsort(jax.random.permutation(key, int(paths.max()) + 1))
    order = jnp.lexsort(tuple(place[jnp.asarray(paths.T[::-1])]))
    return jnp.argsort(order)
