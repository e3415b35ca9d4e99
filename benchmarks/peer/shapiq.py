"""shapiq beside ours: estimates of Shapley values on 30 features, and all interactions of two on 12."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import xaijax
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import Workload
from benchmarks.peer._tables import Asked, Table

_COALITIONS = 2108
_WALKS = 10


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    approximator = load("shapiq.approximator")

    asked, few = Asked(data), Asked(data, 12)
    num_features = asked.rows.shape[1]
    # Its walks go one way, and share the two ends.
    budget = 2 + _WALKS * 2 * (num_features - 1)

    def kernel(row: np.ndarray) -> Any:
        estimate = approximator.KernelSHAP(num_features, random_state=0)
        return estimate.approximate(_COALITIONS, _game(asked, row)).get_n_order_values(1)

    def walks(row: np.ndarray) -> Any:
        estimate = approximator.PermutationSamplingSV(num_features, random_state=0)
        return estimate.approximate(budget, _game(asked, row)).get_n_order_values(1)

    return asked.methods({"kernel_shap": kernel, "permutation_shap": walks}) | few.methods(
        {"shapley_interactions": functools.partial(_interactions, few)}
    )


def _game(asked: Asked, row: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The value of each coalition, others replaced by the background; in chunks, or all would not fit in memory."""

    def values(coalitions: np.ndarray) -> np.ndarray:
        hidden = np.where(coalitions[:, None], row, asked.background)
        scores = asked.score(hidden.reshape(-1, row.size))
        return scores.reshape(len(coalitions), -1).mean(1)

    def game(coalitions: np.ndarray) -> np.ndarray:
        coalitions = np.atleast_2d(coalitions)
        chunks = np.array_split(coalitions, max(len(coalitions) // 1024, 1))
        return np.concatenate([values(chunk) for chunk in chunks])

    return game


def _interactions(asked: Asked, row: np.ndarray) -> np.ndarray:
    """Those of two features, and of single ones in the diagonal."""
    shapiq = load("shapiq")

    found = shapiq.ExactComputer(_game(asked, row), row.size)("k-SII", 2)
    return found.get_n_order_values(2) + np.diag(found.get_n_order_values(1))


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    table, mask = Table(data), data.columns()
    kernel = functools.partial(xaijax.kernel_shap, mask=mask, num_samples=_COALITIONS)
    walks = functools.partial(xaijax.permutation_shap, mask=mask, num_permutations=_WALKS)
    yield table.workload(
        table.random("kernel_shap", kernel), table.random("permutation_shap", walks)
    )
    few, behind = Table(data, 12), data.columns(12)
    pairs = functools.partial(xaijax.shapley_interactions, mask=behind, index="k-SII")
    yield few.workload(few.pair("shapley_interactions", pairs, "values of features and pairs"))
