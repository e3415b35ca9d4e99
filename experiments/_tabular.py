"""Tables and the models of scikit-learn that experiments explain, as JAX programs: no call leaves the compiled code."""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax import data

Kind = Literal["MLP", "random forest", "logistic regression"]
# Depth at most, so that all forests have arrays of one shape: a program for all seeds.
_DEPTH = 6
_COMPAS = ("age", "sex", "juv_fel_count", "juv_misd_count", "juv_other_count", "priors_count")


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows to learn from and others to test on; columns have mean 0 and deviation 1 where one learns.

    Attributes:
      train: rows and labels.
      test: rows and labels.
      names: of the columns.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A model that has learnt from a table.

    Attributes:
      f: one row to probabilities, a JAX program whose weights are arguments.
      model: the same of scikit-learn.
      accuracy: on the test rows.
    """

    f: Any
    model: Any
    accuracy: float


def table(dataset: str, seed: int, num_columns: int | None = None) -> Table:
    """A data set of `xaijax.data`, a random fifth of it to test on.

    Of COMPAS the columns that a model may use, without race, and the defendants that ProPublica's notebook keeps. Of
    images each pixel is a column.

    Args:
      dataset: one with classes.
      seed: of the split.
      num_columns: how many of the first columns; all by default.
    """
    found = data.load(dataset, "all")
    if dataset == "compas":
        found = data.propublica_filter(found)
    if found.x.ndim > 2:
        flat = found.x.reshape(len(found), -1)
        pixels = tuple(f"pixel {i}" for i in range(flat.shape[1]))
        found = dataclasses.replace(found, x=flat, feature_names=pixels)
    names = (*_COMPAS, "c_charge_degree") if dataset == "compas" else found.feature_names
    names = names[:num_columns]
    x, y = found.columns(names), found.y
    train, test = split(len(y), seed)
    x = (x - x[train].mean(0)) / np.maximum(x[train].std(0), 1e-9)
    x = x.astype(np.float32)
    return Table((x[train], y[train]), (x[test], y[test]), tuple(names))


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of what is trained on, and of a random fifth to test on."""
    order = np.random.default_rng(seed).permutation(count)
    test, train = np.split(order, [count // 5])
    return train, test


def fit(kind: Kind, table: Table, seed: int) -> Fitted:
    """A model of scikit-learn and the same in JAX.

    Args:
      kind: an MLP with a hidden layer of 32, a forest of 50 trees of depth 6 at most, or a logistic regression.
      table: what it learns from.
      seed: of the weights or trees.
    """
    model = unfitted(kind, seed).fit(*table.train)
    return Fitted(as_jax(model), model, float(model.score(*table.test)))


def unfitted(kind: Kind, seed: int) -> Any:
    """The model of scikit-learn that `fit` fits."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    if kind == "random forest":
        return RandomForestClassifier(50, max_depth=_DEPTH, random_state=seed)
    if kind == "MLP":
        # Steps that large converge on small data, too, before the epochs run out.
        settings = {"learning_rate_init": 5e-3, "tol": 1e-3, "max_iter": 500}
        return MLPClassifier((32,), **settings, random_state=seed)
    return LogisticRegression(tol=1e-6, max_iter=1000)


def as_jax(model: Any) -> Any:
    """A fitted model of scikit-learn as a JAX program from a row to probabilities."""
    if hasattr(model, "estimators_"):
        return jax.tree_util.Partial(_forest, _arrays(model))
    if hasattr(model, "coefs_"):
        layers = zip(model.coefs_, model.intercepts_, strict=True)
    else:
        layers = [(model.coef_.T, model.intercept_)]
    weights = [tuple(jnp.asarray(a, jnp.float32) for a in layer) for layer in layers]
    return jax.tree_util.Partial(_network, weights)


def logits(f: Any) -> Any:
    """A network of `as_jax` before its probabilities: linear for a logistic regression."""
    return jax.tree_util.Partial(_logits, f.args[0])


def _network(weights: Any, x: Float[Array, " d"]) -> Float[Array, " classes"]:
    return jax.nn.softmax(_logits(weights, x))


def _logits(weights: Any, x: Float[Array, " d"]) -> Float[Array, " classes"]:
    for w, b in weights[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = weights[-1]
    x = x @ w + b
    # Of two classes scikit-learn has one score.
    return jnp.stack([jnp.zeros_like(x[0]), x[0]]) if x.shape == (1,) else x


def _forest(trees: dict[str, Array], x: Float[Array, " d"]) -> Float[Array, " classes"]:
    """Walk down all trees at once; a leaf leads to itself."""

    def step(_: int, node: Array) -> Array:
        low = x[trees["feature"][node]] <= trees["threshold"][node]
        return jnp.where(low, trees["left"][node], trees["right"][node])

    leaf = jax.lax.fori_loop(0, _DEPTH, step, trees["root"], unroll=True)
    return trees["value"][leaf].mean(0)


def _arrays(model: Any) -> dict[str, Array]:
    """The nodes of all trees in one row, each tree filled up to as many as a full one has."""
    nodes = 2 ** (_DEPTH + 1) - 1
    roots = np.arange(len(model.estimators_)) * nodes
    found: dict[str, list[np.ndarray]] = {}
    for root, estimator in zip(roots, model.estimators_, strict=True):
        tree = estimator.tree_
        itself, leaf = np.arange(tree.node_count), tree.children_left < 0
        counts = tree.value[:, 0]
        parts = {
            "feature": np.where(leaf, 0, tree.feature),
            "threshold": _below(tree.threshold),
            "left": root + np.where(leaf, itself, tree.children_left),
            "right": root + np.where(leaf, itself, tree.children_right),
            "value": (counts / counts.sum(-1, keepdims=True)).astype(np.float32),
        }
        for name, part in parts.items():
            more = [(0, nodes - len(part))] + [(0, 0)] * (part.ndim - 1)
            found.setdefault(name, []).append(np.pad(part, more))
    arrays = {name: jnp.asarray(np.concatenate(parts)) for name, parts in found.items()}
    return {**arrays, "root": jnp.asarray(roots)}


def _below(threshold: np.ndarray) -> np.ndarray:
    """The nearest float32 that is not above: x <= t says the same for every float32."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


@functools.cache
def forward() -> Any:
    """A model's answers for many rows; one program for all models of a shape."""
    return jax.jit(lambda f, x: jax.vmap(f)(x))
