"""What a tree says as text, and what its training says of its features."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.intrinsic._trees import Paths, Trees


def tree_rules(trees: Trees, *, outputs: Sequence[str] | None = None, missing: bool = False) -> str:
    """The rules of an ensemble, one for each leaf: IF its conditions hold THEN what it adds to the outputs.

    Exactly one rule of each tree holds for an example, and what the rules that hold say, with the line `start`, sums to
    the model's outputs: the rules are the model. Splits on one feature are one interval. Numbers are as short as they
    can be without being others in the model's precision, to which an example must be rounded before it is compared.

    Args:
      trees: the model, from `read_trees`.
      outputs: names of the outputs, such as those of the classes.
      missing: whether to say of each condition if it holds for a missing value, too.

    Returns:
      The rules, tree by tree.

    Raises:
      ValueError: there is not one name for each output.

    Examples:
      >>> from sklearn.tree import DecisionTreeRegressor
      >>> from xaijax import read_trees
      >>> fitted = DecisionTreeRegressor().fit([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [2.0, 6.0, 7.0])
      >>> print(tree_rules(read_trees(fitted), outputs=["price"]))
      start: price 0.0
      tree 0
      IF x0 <= 0.5 AND x1 <= 0.5 THEN price 2.0
      IF x0 <= 0.5 AND x1 > 0.5 THEN price 6.0
      IF x0 > 0.5 THEN price 7.0
    """
    if outputs is not None and len(outputs) != trees.num_outputs:
        rule = f"name each of the {trees.num_outputs} outputs"
        raise ValueError(complaint("tree_rules", "outputs", rule, f"{len(outputs)} names"))

    def said(values: np.ndarray) -> str:
        shown = [str(value) for value in values]
        return ", ".join(
            shown if outputs is None else map(" ".join, zip(outputs, shown, strict=True))
        )

    values, starts = np.asarray(trees.values), np.asarray(trees.roots)
    leaves = sorted(
        (leaf, condition)
        for group in trees.paths
        for leaf, condition in _conditions(trees, group, missing)
    )
    lines = [f"start: {said(np.asarray(trees.base))}"]
    of_tree = np.searchsorted(starts, [leaf for leaf, _ in leaves], "right") - 1
    for tree in range(len(starts)):
        lines.append(f"tree {tree}")
        mine = [leaf for leaf, at in zip(leaves, of_tree, strict=True) if at == tree]
        for leaf, condition in sorted(mine, key=lambda rule: rule[1]):
            lines.append(f"IF {condition} THEN {said(values[leaf])}")
    return "\n".join(lines)


def _conditions(trees: Trees, group: Paths, missing: bool) -> Iterator[tuple[int, str]]:
    """Each leaf and what must hold for it."""
    names, too = trees.feature_names, np.asarray(group.missing)
    low, high, features = np.asarray(group.low), np.asarray(group.high), np.asarray(group.features)
    for i, leaf in enumerate(np.asarray(group.leaf)):
        parts = []
        for k, j in enumerate(features[i]):
            # As text: a format would give them more digits, those of double precision.
            name, least, most = names[j], str(low[i, k]), str(high[i, k])
            if least != "-inf" and most != "inf":
                inside = f"{least} < {name} <= {most}"
            elif least != "-inf":
                inside = f"{name} > {least}"
            elif most != "inf":
                inside = f"{name} <= {most}"
            elif missing and not too[i, k]:
                inside = f"{name} is not missing"
            else:  # only fills up
                continue
            parts.append(f"({inside} or {name} is missing)" if missing and too[i, k] else inside)
        yield int(leaf), " AND ".join(parts) or "anything"


def impurity_importance(trees: Trees) -> Float[Array, " num_features"]:
    """How much the splits on each feature lowered the loss of training, as parts of all: impurity importance.

    Of scikit-learn the decrease of impurity, equal to its `feature_importances_`, of XGBoost and LightGBM the total
    gain. It is biased: it prefers features of many different values, in which noise finds more places to split, and it
    is of the training data, so that it counts what was learnt by heart. For what the outputs depend on take the
    mean size of `tree_shap`.

    Args:
      trees: the model, from `read_trees`.

    Returns:
      A number from 0 to 1 for each feature; they sum to 1, or to 0 if nothing was split.

    Examples:
      >>> from sklearn.tree import DecisionTreeRegressor
      >>> from xaijax import read_trees
      >>> fitted = DecisionTreeRegressor().fit([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [2.0, 6.0, 7.0])
      >>> impurity_importance(read_trees(fitted))
      Array([0.42857143, 0.5714286 ], dtype=float32)

    References:
      breiman1984classification
    """
    total = jnp.zeros(trees.num_features, trees.gains.dtype).at[trees.features].add(trees.gains)
    return total / jnp.where(total.sum() > 0, total.sum(), 1)
