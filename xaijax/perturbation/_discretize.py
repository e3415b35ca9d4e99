"""Where the bins of a table's columns end, as the reference implementation of LIME cuts them."""

import importlib.util
from typing import Any

import numpy as np

from xaijax.core._errors import complaint, nearest

_PERCENTILES = {"quartile": [25, 50, 75], "decile": [10, 20, 30, 40, 50, 60, 70, 80, 90]}


def cuts(column: np.ndarray, discretizer: str, labels: Any) -> np.ndarray:
    """The inner ends of the bins of one column, ascending: a bin has its upper end, not its lower one.

    Args:
      column: the training values.
      discretizer: `quartile`, `decile` or `entropy`.
      labels: the class of each row, for `entropy`.
    """
    if discretizer in _PERCENTILES:
        # A value that fills several quantiles makes one bin of them.
        return np.unique(np.percentile(column, _PERCENTILES[discretizer]))
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(criterion="entropy", max_depth=3, random_state=0)
    found = tree.fit(column[:, None], labels).tree_
    splits = np.unique(found.threshold[found.children_left > -1])
    return splits if len(splits) else np.array([np.median(column)])


def check_discretizer(where: str, discretizer: Any, labels: Any, num_rows: int) -> None:
    """Raise unless there is such a discretizer and it has the labels it needs."""
    known = (*_PERCENTILES, "entropy")
    if discretizer not in known:
        rule = f"be one of {', '.join(known)}"
        fix = nearest(str(discretizer), known)
        raise ValueError(complaint(where, "discretizer", rule, repr(discretizer), fix))
    if discretizer != "entropy":
        return
    if np.shape(labels) != (num_rows,):
        rule = f"have the class of each row for discretizer='entropy', shape ({num_rows},)"
        got = "None" if labels is None else f"shape {np.shape(labels)}"
        raise ValueError(complaint(where, "labels", rule, got))
    if importlib.util.find_spec("sklearn") is None:
        rule, fix = (
            "be quartile or decile unless scikit-learn is installed",
            "pip install scikit-learn",
        )
        raise ModuleNotFoundError(complaint(where, "discretizer", rule, "'entropy'", fix))
