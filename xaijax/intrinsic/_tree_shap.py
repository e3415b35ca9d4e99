r"""Exact Shapley values of tree ensembles (Lundberg et al., Nature Machine Intelligence 2, 2020; arXiv:1905.04610v1).

Notation: x the input, S the features that are kept. A leaf says its value where x keeps to the way to it; with D
features on the way, its game is a product:

.. math:: v(S) = \mathrm{value} \cdot \prod_{j \in S} o_j \prod_{j \notin S} z_j

o_j is 1 if x keeps to the way at all splits on j, else 0. Of a feature that is absent, z_j is the part of the training
examples that keep to it (path-dependent), or the same as o_j of a row b of the background (interventional).

The paper's algorithm extends and unwinds a path, split by split. Here the product is integrated instead. The Shapley
value of a game is an integral of the derivative of its multilinear extension along the diagonal (Owen 1972):

.. math:: \phi_i = \mathrm{value} \cdot (o_i - z_i) \int_0^1 \prod_{j \ne i} ((1 - t) \, z_j + t \, o_j) \, dt

The integrand is a polynomial in t of degree D - 1, which Gauss and Legendre's rule of ceil(D / 2) nodes integrates
exactly. So all leaves and features are one array program.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental import checkify
from jaxtyping import Array, Bool, Float

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target, is_checking, score
from xaijax.gradient._path import quadrature_rule, stacked
from xaijax.intrinsic._trees import Paths, Trees

# Leaves at once by default: with some hundreds of examples under `vmap` their games stay in the cache.
_LEAVES = 128
# A table over pairs of patterns has at most so many numbers: that of 8 features has.
_TABLE = 2**19


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="trees",
    static=("batch_size",),
    baselines=("background",),
    missing=True,
)
def tree_shap(
    f: Callable[[Any], Any],
    x: Float[Array, " num_features"],
    target: Target,
    *,
    background: Any = None,
    batch_size: int | None = None,
) -> Float[Array, " num_features"]:
    r"""Shapley values of a tree ensemble, exactly.

    .. math::
        \phi_i = \sum_{S \subseteq F \setminus i} \frac{|S|!\,(M - |S| - 1)!}{M!} \, (v(S \cup i) - v(S))

    What an absent feature is decides the game. With a `background` it is that of a row, and v(S) the mean over the
    rows: *interventional*, the game of `exact_shapley` with `columns`. Without one, a split on an absent feature sends
    the example both ways, each weighted by the part of the training examples that went it: *path-dependent*.

    Many rows: `jax.vmap(lambda x: tree_shap(f, x, target, background=rows))(xs)`. What depends on the background and
    the trees alone is then computed once. With a background, the ways of up to 8 features become a table of the values
    for every pattern of an example; longer ones are summed row by row, whose cost is rows times background.

    Differs from the paper in the algorithm, not in the values: an integral by an exact quadrature. A feature that a
    way splits on several times counts once, as in the paper.

    Args:
      f: the trees, from `read_trees`.
      x: the input. A feature may be missing, NaN, where the model takes that: see `Trees.takes_missing`.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a linear function
        `outputs -> scalar`.
      background: what features are when they are absent: rows `(n, num_features)`, such as some hundreds of the
        training data; by default what the trees know of their training data.
      batch_size: how many leaves at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      One signed number for each feature, in units of the outputs. They sum to the score of `x` less the mean score of
      the background, or less that of `Trees.mean_outputs`.

    Raises:
      ValueError: the background has another shape, a value is infinite, or missing where the model takes no missing
        values, `target` is out of range (traced: NaN, see `checked`) or `batch_size` < 1.
      TypeError: `f` is not a tree ensemble, or `x` is not one float array.

    Examples:
      >>> from sklearn.tree import DecisionTreeRegressor
      >>> from xaijax import read_trees
      >>> f = read_trees(DecisionTreeRegressor().fit([[9, 0], [9, 0], [9, 0], [9, 1]], [2, 2, 2, 6]))
      >>> tree_shap(f, jnp.array([9.0, 1.0]), 0)  # 6, where the training examples had 3 on average
      Array([0., 3.], dtype=float32)
      >>> tree_shap(f, jnp.array([9.0, 1.0]), 0, background=jnp.array([[7.0, 0.0]]))
      Array([0., 4.], dtype=float32)

    References:
      lundberg2020local
      owen1972multilinear
    """
    where = "tree_shap"
    values = _over_leaves(where, f, x, target, background, batch_size, _shapley)
    linear = _is_linear(where, f, x, target, background, values)
    return jnp.where(linear, values, jnp.nan).astype(x.dtype)


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="trees",
    attribution=False,
    static=("batch_size",),
    baselines=("background",),
    missing=True,
)
def tree_shap_interactions(
    f: Callable[[Any], Any],
    x: Float[Array, " num_features"],
    target: Target,
    *,
    background: Any = None,
    batch_size: int | None = None,
) -> Float[Array, "num_features num_features"]:
    r"""What pairs of features contribute to a tree ensemble's output beyond what each of them does, exactly.

    .. math::
        \Phi_{ij} = \frac{1}{2} \sum_{S \subseteq F \setminus ij} \frac{|S|!\,(M - |S| - 2)!}{(M - 1)!}
        \, (v(S \cup ij) - v(S \cup i) - v(S \cup j) + v(S)), \qquad
        \Phi_{ii} = \phi_i - \sum_{j \ne i} \Phi_{ij}

    Half of each interaction stands on either side of the diagonal, as in the paper; `shapley_interactions` has the
    whole of it on both. With a background, the ways of up to 6 features become a table; see `tree_shap`.

    Differs from the paper in the algorithm, and in the interventional game, which the paper has no interactions of:
    per leaf the integral of `tree_shap` with two factors replaced, where the paper explains the model twice for each
    feature.

    Args:
      f: the trees, from `read_trees`.
      x: the input. A feature may be missing, NaN, where the model takes that: see `Trees.takes_missing`.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a linear function
        `outputs -> scalar`.
      background: what features are when they are absent: rows `(n, num_features)`; by default what the trees know of
        their training data.
      batch_size: how many leaves at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      A symmetric matrix `(num_features, num_features)` in units of the outputs. Its rows sum to `tree_shap`.

    Raises:
      ValueError: the background has another shape, a value is infinite, or missing where the model takes no missing
        values, `target` is out of range (traced: NaN, see `checked`) or `batch_size` < 1.
      TypeError: `f` is not a tree ensemble, or `x` is not one float array.

    Examples:
      >>> from sklearn.tree import DecisionTreeRegressor
      >>> from xaijax import read_trees
      >>> f = read_trees(DecisionTreeRegressor().fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 0, 0, 4]))
      >>> tree_shap_interactions(f, jnp.array([1.0, 1.0]), 0, background=jnp.zeros((1, 2)))  # 4 of both together
      Array([[0., 2.],
             [2., 0.]], dtype=float32)

    References:
      lundberg2020local
    """
    where = "tree_shap_interactions"
    values = _over_leaves(where, f, x, target, background, batch_size, _shapley)
    pairs = _over_leaves(where, f, x, target, background, batch_size, _interactions)
    linear = _is_linear(where, f, x, target, background, values)
    matrix = pairs + jnp.diag(values - pairs.sum(1))
    return jnp.where(linear, matrix, jnp.nan).astype(x.dtype)


# --- One leaf: product games. Arrays are (D, ...), with leaves behind, which are what is computed side by side.


def _shapley(o: Bool[Array, "D *n"], z: Float[Array, "D *n"]) -> Float[Array, "D *n"]:
    r"""The Shapley values of the games :math:`\prod_{j \in S} o_j \prod_{j \notin S} z_j`."""
    product, replaced = _at_nodes(o, z)
    return (product[:, None] * replaced).sum(0)


def _interactions(o: Bool[Array, "D *n"], z: Float[Array, "D *n"]) -> Float[Array, "D D *n"]:
    """Half the Shapley interactions of the same games; nothing on the diagonal."""
    product, replaced = _at_nodes(o, z)
    pairs = (product[:, None, None] * replaced[:, :, None] * replaced[:, None]).sum(0) / 2
    different = ~np.eye(len(o), dtype=bool).reshape(len(o), len(o), *[1] * (pairs.ndim - 2))
    return jnp.where(different, pairs, 0)


def _at_nodes(o: Array, z: Array) -> tuple[Array, Array]:
    """The product at each node of the quadrature, times its weight; and what replaces a factor by its derivative.

    The factor of j is (1 - t) z_j + t o_j, its derivative o_j - z_j. Divided by each other there is no 0 below: of
    o = 1 stands t, of o = 0 the quotient is -1 / (1 - t), also where z = 0 and the product vanishes.
    """
    nodes, weights = quadrature_rule("tree_shap", "gauss_legendre", math.ceil(len(o) / 2), z.dtype)
    t = nodes.reshape(-1, *[1] * z.ndim)
    absent = (1 - t) * z
    present = absent + t
    product = jnp.where(o, present, absent).prod(1)
    replaced = jnp.where(o, (1 - z) / present, -1 / (1 - t))
    return weights.reshape(-1, *[1] * (product.ndim - 1)) * product, replaced


# --- All leaves


def _over_leaves(
    where: str,
    trees: Any,
    x: Array,
    target: Target,
    background: Any,
    batch_size: int | None,
    solve: Callable[[Array, Array], Array],
) -> Array:
    """The games of all leaves solved, each times what the leaf says, summed by feature or pair of features."""
    if not isinstance(trees, Trees):
        rule = "be a tree ensemble"
        fix = (
            "Such as xaijax.read_trees(fitted). Any other model: xaijax.exact_shapley, kernel_shap."
        )
        raise TypeError(complaint(where, "f", rule, type(trees).__name__, fix))
    dtype = jnp.promote_types(trees.values.dtype, jnp.float32)
    says = trees.values.astype(dtype) @ _weights(where, trees, target).astype(dtype)
    rows = None if background is None else stacked(background, x)
    order = 1 if solve is _shapley else 2
    total = jnp.zeros((trees.num_features,) * order, dtype)
    for paths in trees.paths:
        count, depth = paths.features.shape
        games = _games(trees, rows, depth, solve, dtype)
        size = _LEAVES if batch_size is None else batch_size
        chunk = chunk_size(where, min(size, count), count, x)

        def add(total: Array, part: tuple[Paths, Array], games: Any = games) -> tuple[Array, None]:
            some, say = part
            at = (some.features,) if order == 1 else (some.features[:, None], some.features[None])
            return total.at[at].add(say * games(some, x)), None

        total, _ = lax.scan(add, total, _chunks(paths, says[paths.leaf], chunk))
    return total


def _games(
    trees: Trees, rows: Array | None, depth: int, solve: Callable[..., Array], dtype: Any
) -> Callable[[Paths, Array], Array]:
    """How to solve the games of some leaves of `depth` features: `(paths, x) -> (D, leaves)`, or `(D, D, leaves)`."""
    if rows is None:
        return lambda some, x: solve(trees.satisfied(some, x), some.cover.astype(dtype))
    table = _solved(solve, depth, dtype)
    if table is None:

        def mean(some: Paths, x: Array) -> Array:
            o = trees.satisfied(some, x)

            def add(total: Array, row: Array) -> tuple[Array, None]:
                return total + solve(o, trees.satisfied(some, row).astype(dtype)), None

            empty = jnp.zeros_like(solve(o, jnp.zeros(o.shape, dtype)))
            return lax.scan(add, empty, rows)[0] / len(rows)

        return mean

    def look_up(some: Paths, x: Array) -> Array:
        pattern = _pattern(jax.vmap(lambda row: trees.satisfied(some, row))(rows))
        frequency = (pattern[:, None] == np.arange(2**depth)[:, None]).mean(0, dtype)
        of_pattern = jnp.einsum("...pq,ql->lp...", table, frequency)
        here = of_pattern[np.arange(len(of_pattern)), _pattern(trees.satisfied(some, x))]
        return jnp.moveaxis(here, 0, -1)

    return look_up


@functools.lru_cache(maxsize=64)
def _solved(solve: Callable[..., Array], depth: int, dtype: Any) -> np.ndarray | None:
    """The games of all patterns p of an example and q of a row, `(D, p, q)`; `None` if there are too many."""
    order = 1 if solve is _shapley else 2
    if 4**depth * depth**order > _TABLE:
        return None
    bits = np.arange(2**depth) >> np.arange(depth)[:, None] & 1
    with jax.ensure_compile_time_eval():
        o, z = np.broadcast_arrays(bits[:, :, None], bits[:, None])
        return np.asarray(solve(jnp.asarray(o == 1), jnp.asarray(z, dtype)))


def _pattern(bits: Bool[Array, "*n D leaves"]) -> Array:
    """The bits along D as a number."""
    return (bits << np.arange(bits.shape[-2])[:, None]).sum(-2)


def _chunks(paths: Paths, says: Array, chunk: int) -> tuple[Paths, Array]:
    """The paths in pieces `(steps, D, chunk)`, the last one filled up with leaves that say nothing."""

    def pieces(leaves: Array) -> Array:
        steps = math.ceil(len(leaves) / chunk)
        over = [(0, steps * chunk - len(leaves)), *[(0, 0)] * (leaves.ndim - 1)]
        return jnp.moveaxis(jnp.pad(leaves, over).reshape(steps, chunk, *leaves.shape[1:]), 1, -1)

    return jax.tree.map(pieces, paths), pieces(says)


# --- The target


def _weights(where: str, trees: Trees, target: Target) -> Array:
    """What each output weighs in the score: its gradient, which is the same everywhere if the target is linear."""
    return jax.grad(lambda outputs: score(outputs, target, where=where))(trees.mean_outputs)


def _is_linear(
    where: str, trees: Any, x: Array, target: Target, background: Any, values: Array
) -> Bool[Array, ""]:
    """Whether the values sum to the difference of the scores, which they do not if the target is not linear."""
    here = score(trees(x), target, where=where)
    mean = trees.mean_outputs
    if background is not None:
        mean = jax.vmap(trees)(stacked(background, x)).mean(0)
    there = score(mean, target, where=where)
    # What rounding may leave of the sums, with room to spare: a part of their largest terms.
    size = jnp.abs(values).sum() + jnp.abs(here) + jnp.abs(there)
    gap = jnp.abs(values.sum() - (here - there))
    linear = gap <= jnp.sqrt(jnp.finfo(trees.values.dtype).eps) * size
    if is_checking():
        message = f"{where}: target must be linear in the outputs, got a score that misses the values' sum by {{gap}}."
        checkify.check(linear, message, gap=gap)
    return linear
