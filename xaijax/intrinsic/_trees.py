"""Ensembles of decision trees as a JAX model: arrays of nodes, walked from the roots; and the paths to their leaves.

Notation: x the input, a node sends it to the left where x_j <= its threshold, and where x_j is missing (NaN) the way
that the tree learned. The outputs are a constant and the sum of what the leaves say that x falls into.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from xaijax.core._errors import complaint

# LightGBM's `kZeroThreshold`: a feature whose zeros are missing values is missing up to here.
_ZERO = 1e-35


class Tree(NamedTuple):
    """One tree as a reader finds it, in NumPy; node 0 is the root.

    Attributes:
      left: the left child of each node; -1 of a leaf. So `right`.
      right: see `left`.
      feature: what a node splits on; anything at a leaf.
      threshold: x goes left where `x <= threshold`, in the precision of `Trees.thresholds`.
      missing_left: whether a missing value goes left.
      value: what a leaf adds to the outputs, `(nodes, num_outputs)`; anything at inner nodes.
      cover: the weight of the training examples that came to the node.
      gain: how much a split lowered the loss of training, weighted by the examples; anything at a leaf.
    """

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    value: np.ndarray
    cover: np.ndarray
    gain: np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Paths:
    """What leads to each of some leaves: one interval of each feature on the way, however often the way splits on it.

    Paths of fewer features than `depth` are filled up with intervals that hold everything.

    Attributes:
      leaf: the node.
      features: the features on the way, each once.
      low: x_j must be above it, `(num_leaves, depth)`.
      high: x_j must not be above it.
      missing: whether a missing x_j comes this way.
      cover: the part of the training examples that takes the way of this feature at its splits.
    """

    leaf: Int[Array, " num_leaves"]
    features: Int[Array, "num_leaves depth"]
    low: Float[Array, "num_leaves depth"]
    high: Float[Array, "num_leaves depth"]
    missing: Bool[Array, "num_leaves depth"]
    cover: Float[Array, "num_leaves depth"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Trees:
    """A tree ensemble: a callable pytree, one example `(num_features,)` to `(num_outputs,)`. Made by `read_trees`.

    A missing value, NaN in `x`, goes the way that each split has for it. Where the model has none, the outputs are NaN.

    Attributes:
      roots: the first node of each tree.
      features: what each node splits on.
      thresholds: x goes left where `x <= threshold`. Their dtype is the one in which x is compared with them.
      missing_left: whether a missing value goes left.
      left: the left child, with the right one behind it; a leaf is its own.
      values: what each leaf adds to the outputs, `(nodes, num_outputs)`; 0 at inner nodes.
      base: what the outputs are before any tree has spoken.
      cover: the weight of the training examples that came to each node.
      gains: how much each split lowered the loss of training, weighted by the examples; 0 at leaves.
      paths: the paths to all leaves, in groups of one length.
      takes_missing: of which features the model takes missing values.
      missing_is_zero: of which features a missing value counts as 0.
      zero_is_missing: of which features 0 counts as missing.
      depth: the number of splits on the longest way. Static.
      feature_names: their names. Static.
    """

    roots: Int[Array, " num_trees"]
    features: Int[Array, " nodes"]
    thresholds: Float[Array, " nodes"]
    missing_left: Bool[Array, " nodes"]
    left: Int[Array, " nodes"]
    values: Float[Array, "nodes num_outputs"]
    base: Float[Array, " num_outputs"]
    cover: Float[Array, " nodes"]
    gains: Float[Array, " nodes"]
    paths: tuple[Paths, ...]
    takes_missing: Bool[Array, " num_features"]
    missing_is_zero: Bool[Array, " num_features"]
    zero_is_missing: Bool[Array, " num_features"]
    depth: int = dataclasses.field(metadata={"static": True})
    feature_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    @property
    def num_features(self) -> int:
        """The number of features."""
        return len(self.feature_names)

    @property
    def num_outputs(self) -> int:
        """The number of outputs."""
        return self.base.shape[0]

    def __call__(self, x: Float[Array, " num_features"]) -> Float[Array, " num_outputs"]:
        """What the trees answer to one example."""
        if jnp.shape(x) != (self.num_features,):
            rule = f"be one example ({self.num_features},)"
            raise ValueError(complaint("Trees", "x", rule, f"shape {jnp.shape(x)}"))
        unknown = (jnp.isnan(x) & ~self.takes_missing).any()
        row = self.comparable(x)

        def step(_: Any, node: Array) -> Array:
            here = row[self.features[node]]
            goes_left = jnp.where(
                jnp.isnan(here), self.missing_left[node], here <= self.thresholds[node]
            )
            return self.left[node] + ~goes_left

        leaves = lax.fori_loop(0, self.depth, step, self.roots)
        outputs = self.base + self.values[leaves].sum(0)
        return jnp.where(unknown, jnp.nan, outputs)

    def comparable(self, x: Float[Array, " num_features"]) -> Float[Array, " num_features"]:
        """The example as the splits compare it: in their precision, NaN where a value counts as missing."""
        row = jnp.asarray(x).astype(self.thresholds.dtype)
        row = jnp.where(self.missing_is_zero & jnp.isnan(row), 0, row)
        return jnp.where(self.zero_is_missing & (jnp.abs(row) <= _ZERO), jnp.nan, row)

    def satisfied(self, paths: Paths, x: Float[Array, " num_features"]) -> Bool[Array, "leaves d"]:
        """Whether x keeps to the way to each leaf at the splits of each of its features."""
        here = self.comparable(x)[paths.features]
        return jnp.where(jnp.isnan(here), paths.missing, (here > paths.low) & (here <= paths.high))

    @property
    def mean_outputs(self) -> Float[Array, " num_outputs"]:
        """The mean of the outputs by the cover of the leaves: what `tree_shap` without background starts from."""
        outputs = self.base
        for p in self.paths:
            outputs = outputs + p.cover.prod(-1) @ self.values[p.leaf]
        return outputs


def assemble(
    trees: Sequence[Tree],
    base: np.ndarray,
    feature_names: Sequence[str],
    *,
    takes_missing: bool = True,
    missing_is_zero: np.ndarray | None = None,
    zero_is_missing: np.ndarray | None = None,
) -> Trees:
    """The model of the trees that a reader found; its floats in the widest precision that JAX has here."""
    wide, num_features = widest(), len(feature_names)
    numbered = [_siblings_together(tree) for tree in trees]
    sizes = [len(tree.left) for tree in numbered]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int32)
    inner = np.concatenate([tree.left >= 0 for tree in numbered])
    own = np.arange(sum(sizes), dtype=np.int32)
    left = np.concatenate([t.left + start for t, start in zip(numbered, starts, strict=True)])

    def joined(field: str, leaf: Any, dtype: Any) -> Array:
        whole = np.concatenate([getattr(tree, field) for tree in numbered])
        return jnp.asarray(np.where(inner, whole, leaf).astype(dtype))

    value = np.concatenate([tree.value for tree in numbered])
    found = [
        (start + leaf, path)
        for tree, start in zip(numbered, starts, strict=True)
        for leaf, path in _leaves(tree)
    ]
    threshold_dtype = np.result_type(*(tree.threshold.dtype for tree in numbered))
    flags = [takes_missing, missing_is_zero, zero_is_missing]
    flags = [np.zeros(num_features, bool) if flag is None else flag for flag in flags]
    return Trees(
        jnp.asarray(starts),
        joined("feature", 0, np.int32),
        joined("threshold", np.inf, threshold_dtype),  # whatever x is, a leaf is on its own left
        joined("missing_left", True, bool),
        jnp.asarray(np.where(inner, left, own).astype(np.int32)),
        jnp.asarray(np.where(inner[:, None], 0, value).astype(wide)),
        jnp.asarray(np.asarray(base, wide)),
        jnp.asarray(np.concatenate([tree.cover for tree in numbered]).astype(wide)),
        joined("gain", 0, wide),
        _grouped(found, threshold_dtype, wide),
        *(jnp.asarray(np.broadcast_to(flag, num_features)) for flag in flags),
        depth=max(len(_levels(tree)) for tree in numbered) - 1,
        feature_names=tuple(map(str, feature_names)),
    )


def widest() -> Any:
    """Double precision if JAX has it, else single."""
    return jax.dtypes.canonicalize_dtype(np.float64)


def at_most(threshold: np.ndarray, dtype: Any, *, strict: bool = False) -> np.ndarray:
    """The thresholds t' of a dtype for which x <= t' says what x <= t does, or x < t, of every x of that dtype.

    XLA takes subnormal numbers for 0 on a CPU, so none is given: x < 0 becomes x <= the first normal number below 0.
    """
    tiny = np.finfo(dtype).tiny
    wide = np.asarray(threshold, np.float64)
    near = wide.astype(dtype)
    over = near >= wide if strict else near > wide
    below = np.where(over, np.nextafter(near, np.asarray(-np.inf, dtype)), near)
    return np.where(np.abs(below) >= tiny, below, np.where(below < 0, -tiny, 0)).astype(dtype)


def _levels(tree: Tree) -> list[np.ndarray]:
    """The nodes of each depth, siblings side by side."""
    levels = [np.zeros(1, np.int64)]
    while len(inner := levels[-1][tree.left[levels[-1]] >= 0]):
        levels.append(np.stack([tree.left[inner], tree.right[inner]], 1).reshape(-1))
    return levels


def _siblings_together(tree: Tree) -> Tree:
    """The same tree with its nodes by depth, each right child behind the left one; those out of use are left out."""
    order = np.concatenate(_levels(tree))
    place = np.full(len(tree.left) + 1, -1)  # the last for -1: no child
    place[order] = np.arange(len(order))
    fields = [np.asarray(field)[order] for field in tree]
    return Tree(place[fields[0]], place[fields[1]], *fields[2:])


# Of a feature on the way to a leaf: low, high, missing, cover.
_Path = dict[int, tuple[Any, Any, bool, float]]
_ALL = (-np.inf, np.inf, True, 1.0)


def _leaves(tree: Tree) -> list[tuple[int, _Path]]:
    """Each leaf and the way to it."""
    found: list[tuple[int, _Path]] = []
    todo: list[tuple[int, _Path]] = [(0, {})]
    while todo:
        node, path = todo.pop()
        left, right = int(tree.left[node]), int(tree.right[node])
        if left < 0:
            found.append((node, path))
            continue
        feature, threshold = int(tree.feature[node]), tree.threshold[node]
        missing_left, total = bool(tree.missing_left[node]), tree.cover[[left, right]].sum()
        low, high, missing, cover = path.get(feature, _ALL)
        # A node that no training example came to has no fractions: both ways alike.
        share = tree.cover[left] / total if total > 0 else 0.5
        to_left = (low, min(high, threshold), missing and missing_left, cover * share)
        to_right = (max(low, threshold), high, missing and not missing_left, cover * (1 - share))
        todo += [(right, {**path, feature: to_right}), (left, {**path, feature: to_left})]
    return found


def _grouped(found: Sequence[tuple[int, _Path]], threshold: Any, wide: Any) -> tuple[Paths, ...]:
    """The paths by their number of features, filled up to 2, 4, 6, 8 and then steps of 4.

    Each length is a program of its own. To fill up to an even one costs no node more of `tree_shap`'s quadrature.
    """
    groups: dict[int, list[tuple[int, _Path]]] = {}
    for leaf, path in found:
        step = 2 if len(path) <= 8 else 4
        depth = max(2, -step * (-len(path) // step))
        groups.setdefault(depth, []).append((leaf, path))
    return tuple(_paths(groups[depth], depth, threshold, wide) for depth in sorted(groups))


def _paths(group: list[tuple[int, _Path]], depth: int, threshold: Any, wide: Any) -> Paths:
    filled = [[*path.items(), *[(0, _ALL)] * (depth - len(path))] for _, path in group]

    def array(of: Any, dtype: Any) -> Array:
        return jnp.asarray(np.array([[of(*item) for item in row] for row in filled], dtype))

    return Paths(
        leaf=jnp.asarray(np.array([leaf for leaf, _ in group], np.int32)),
        features=array(lambda feature, _: feature, np.int32),
        low=array(lambda _, way: way[0], threshold),
        high=array(lambda _, way: way[1], threshold),
        missing=array(lambda _, way: way[2], bool),
        cover=array(lambda _, way: way[3], wide),
    )
