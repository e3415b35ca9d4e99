"""LightGBM's text models (Ke et al., NeurIPS 2017), as `save_model("model.txt")` writes them."""

from typing import Any

import numpy as np

from xaijax.core._errors import complaint
from xaijax.intrinsic._trees import Tree, Trees, assemble, at_most, widest

_VERSIONS = ("v3", "v4")
# The bits of a split's `decision_type`: categorical, missing to the left, and from the third on what is missing.
_CATEGORICAL, _DEFAULT_LEFT = 1, 2
_NONE, _ZERO, _NAN = 0, 1, 2


def read_lightgbm(text: str) -> Trees:
    """The trees of a model of LightGBM: boosted (`gbdt`, `dart`, `goss`) or a forest (`rf`)."""
    head, *rest = text.split("\nTree=")
    header = _fields(head)
    if header.get("version") not in _VERSIONS:
        rule = f"be a text model of LightGBM of version {' or '.join(_VERSIONS)}"
        got = f"version {header.get('version')}"
        raise ValueError(complaint("read_trees", "model", rule, got))
    width, names = int(header["num_tree_per_iteration"]), header["feature_names"].split(" ")
    # A forest's outputs are means over its rounds.
    share = width / len(rest) if "average_output" in head.splitlines() else 1.0
    found = [_fields(block.split("\nend of trees")[0]) for block in rest]
    trees = [_tree(tree, share * np.eye(width)[i % width]) for i, tree in enumerate(found)]
    missing = _missing(found, len(names))
    return assemble(
        trees,
        np.zeros(width),
        names,
        missing_is_zero=missing == _NONE,
        zero_is_missing=missing == _ZERO,
    )


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _array(tree: dict[str, str], field: str, dtype: Any = np.float64) -> np.ndarray:
    """A field of numbers; empty where a tree is one leaf."""
    return np.array([dtype(word) for word in tree.get(field, "").split()], dtype)


def _tree(tree: dict[str, str], output: np.ndarray) -> Tree:
    """The inner nodes, then the leaves, whose number is written as `~leaf`."""
    decision = _array(tree, "decision_type", np.int64)
    feature = _array(tree, "split_feature", np.int64)
    if np.any(decision & _CATEGORICAL):
        columns = ", ".join(map(str, np.unique(feature[decision & _CATEGORICAL > 0])))
        rule, got = "have no categorical splits", f"some on features {columns}"
        raise ValueError(complaint("read_trees", "model", rule, got, "Encode them as numbers."))
    if int(tree.get("is_linear", 0)):
        rule, got = "have one number at each leaf", "linear leaves (linear_tree)"
        raise ValueError(complaint("read_trees", "model", rule, got))
    value = _array(tree, "leaf_value")
    inner, leaves = len(feature), len(value)

    def child(field: str) -> np.ndarray:
        to = _array(tree, field, np.int64)
        return np.concatenate([np.where(to < 0, inner + ~to, to), np.full(leaves, -1)])

    def node(field: str, at_leaves: Any) -> np.ndarray:
        return np.concatenate([_array(tree, field), np.broadcast_to(at_leaves, leaves)])

    # The only leaf of a tree that nothing was split in may come without its count.
    counts = _array(tree, "leaf_count") if inner else 1.0
    return Tree(
        left=child("left_child"),
        right=child("right_child"),
        feature=np.concatenate([feature, np.zeros(leaves, np.int64)]),
        threshold=at_most(node("threshold", 0.0), widest()),
        missing_left=np.concatenate([decision & _DEFAULT_LEFT > 0, np.zeros(leaves, bool)]),
        value=np.concatenate([np.zeros(inner), value])[:, None] * output,
        cover=node("internal_count", counts),
        gain=node("split_gain", 0.0),
    )


def _missing(trees: list[dict[str, str]], num_features: int) -> np.ndarray:
    """What is missing of each feature, which all splits on it agree in: NaN, NaN and zero, or nothing."""
    missing = np.full(num_features, _NONE)
    for tree in trees:
        missing[_array(tree, "split_feature", np.int64)] = (
            _array(tree, "decision_type", np.int64) >> 2
        )
    return missing
