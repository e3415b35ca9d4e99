"""What the peers of tables share: rows of breast cancer data, an MLP that both sides ask, and its bare prediction."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.peer._data import PREDICTED, ROWS, TABLE_TARGET, Data, asked_in_numpy
from benchmarks.peer._pairs import Pair, Run, Workload, as_they_are

#: The evaluation that methods of tables are held against.
BARE = f"bare predict of {PREDICTED} rows"


def name(num_features: int) -> str:
    """The name of the workload."""
    return f"breast cancer, {num_features} features, MLP 64-64, batch {ROWS} (v1)"


def _many(data: Data, num_features: int) -> np.ndarray:
    return np.resize(data.table(num_features), (PREDICTED, num_features))


class Asked:
    """A peer's side: the rows that are explained, and the model as a function of NumPy's arrays."""

    def __init__(self, data: Data, num_features: int = 30) -> None:
        self.rows, self.name = data.table(num_features)[:ROWS], name(num_features)
        self.background = data.background(num_features)
        self.predict = asked_in_numpy(data.table_model(num_features), 512)
        self.many = _many(data, num_features)

    def score(self, rows: np.ndarray) -> np.ndarray:
        """The probability of the class that is explained."""
        return self.predict(rows)[:, TABLE_TARGET]

    def methods(self, of_a_row: dict[str, Callable[[np.ndarray], Any]]) -> dict[str, Run]:
        """Each explains row after row, as a peer does; with the bare prediction."""

        def explained(explain: Callable[[np.ndarray], Any]) -> np.ndarray:
            return np.stack([np.asarray(explain(row)) for row in self.rows])

        runs: dict[str, Run] = {
            key: functools.partial(explained, explain) for key, explain in of_a_row.items()
        }
        runs[BARE] = functools.partial(self.score, self.many)
        return {f"{self.name}: {key}": run for key, run in runs.items()}


class Table:
    """Our side: all rows in one call, one after another, so that what is at work stays in the cache."""

    def __init__(self, data: Data, num_features: int = 30) -> None:
        self.f, self.name = data.table_model(num_features), name(num_features)
        self.X = jnp.asarray(data.table(num_features)[:ROWS])
        self.keys = jax.random.split(jax.random.key(0), ROWS)
        self.many = jnp.asarray(_many(data, num_features))

    def pair(self, method: str, explain: Callable[..., Any], compared: str) -> Pair:
        """A method without randomness."""
        return self.random(method, lambda f, x, target, key: explain(f, x, target), compared, True)

    def random(
        self,
        method: str,
        explain: Callable[..., Any],
        compared: str = "values of features; both draw at random",
        deterministic: bool = False,
    ) -> Pair:
        """A method that draws."""

        @jax.jit
        def rows(f: Any, X: jax.Array, keys: jax.Array) -> Any:
            return jax.lax.map(lambda row: explain(f, row[0], TABLE_TARGET, row[1]), (X, keys))

        run = functools.partial(rows, self.f, self.X, self.keys)
        return Pair(method, run, BARE, compared, as_they_are, deterministic)

    def workload(self, *pairs: Pair) -> Workload:
        """With the bare prediction."""
        predict = jax.jit(lambda f, X: jax.vmap(f)(X)[:, TABLE_TARGET])
        return Workload(
            self.name, ROWS, {BARE: functools.partial(predict, self.f, self.many)}, pairs
        )
