"""shap beside ours: Shapley values of an MLP on 30 features, exactly on 12, of linear models and trees; gradients."""

import functools
import importlib.util
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks.peer import _torch
from benchmarks.peer._data import TABLE_TARGET, Data
from benchmarks.peer._libraries import LIBRARIES, load
from benchmarks.peer._pairs import (
    Images,
    Pair,
    Workload,
    as_they_are,
    channels_last,
    image_workload,
)
from benchmarks.peer._tables import Asked, Table

_COALITIONS = 2108  # 2 M + 2048: what shap's KernelExplainer takes by itself
_WALKS = 10
_DRAWS = 1000  # contributions of a feature on average, two evaluations each
_GRADIENTS = 16
_VALUES = "values of features"
_FOREST = "breast cancer, 30 features, 100 trees of depth 8, batch 569 (v1)"
_PREDICT = "bare predict of 569 rows"


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    found = _sampled(Asked(data)) | _exact(Asked(data, 12)) | _trees(data)
    return found | _gradient(data) if _has_torch() else found


def _sampled(asked: Asked) -> dict[str, Callable[[], Any]]:
    shap = load("shap")

    masker = shap.maskers.Independent(asked.background, max_samples=len(asked.background))
    permutation = shap.PermutationExplainer(asked.score, masker, seed=0)
    kernel = shap.KernelExplainer(asked.score, asked.background)
    sampling = shap.SamplingExplainer(asked.score, asked.background)
    features = asked.background.shape[1]
    return asked.methods(
        {
            "kernel_shap": lambda row: kernel.shap_values(
                row, nsamples=_COALITIONS, l1_reg=False, silent=True
            ),
            "permutation_shap": lambda row: permutation(
                row[None], max_evals=_WALKS * (2 * features + 1), silent=True
            ).values[0],
            "sampling_shap": lambda row: sampling.shap_values(
                row, nsamples=_DRAWS * features, silent=True
            ),
        }
    )


def _exact(asked: Asked) -> dict[str, Callable[[], Any]]:
    shap = load("shap")

    masker = shap.maskers.Independent(asked.background, max_samples=len(asked.background))
    exact = shap.ExactExplainer(asked.score, masker)
    linear = shap.LinearExplainer((_slopes(asked.background), 0.7), masker)
    return asked.methods(
        {
            "exact_shapley": lambda row: exact(row[None], silent=True).values[0],
            "linear_shap": linear.shap_values,
        }
    )


def _trees(data: Data) -> dict[str, Callable[[], Any]]:
    """Its C++, of all rows in one call; it explains both classes at once."""
    shap = load("shap")

    forest, rows = data.forest(), data.table()
    drawn = shap.TreeExplainer(forest, data.background(), feature_perturbation="interventional")
    runs = {
        "tree_shap": drawn,
        "tree_shap, path-dependent": shap.TreeExplainer(forest),
    }

    def explained(explainer: Any) -> np.ndarray:
        return explainer.shap_values(rows, check_additivity=False)[..., TABLE_TARGET]

    found = {f"{_FOREST}: {k}": functools.partial(explained, e) for k, e in runs.items()}
    return found | {f"{_FOREST}: {_PREDICT}": lambda: forest.predict_proba(rows)[:, TABLE_TARGET]}


def _gradient(data: Data) -> dict[str, Callable[[], Any]]:
    shap = load("shap")

    network = "efficientnet_lite0"
    net, xs = _torch.network(data, network), _torch.images(data, 1)
    explain = shap.GradientExplainer(net, _torch.images(data, 8), batch_size=8)

    def attribute() -> np.ndarray:
        # Of the class with the highest score, which ours is asked for.
        values, _ = explain.shap_values(xs, nsamples=_GRADIENTS, ranked_outputs=1)
        return np.asarray(values)[..., 0]

    runs = _torch.bare(net, xs, data.target(network)) | {"expected_gradients": attribute}
    return {f"{image_workload(network, 1)}: {name}": run for name, run in runs.items()}


def _has_torch() -> bool:
    needs = LIBRARIES["captum"].needs[1:]
    return all(importlib.util.find_spec(name) for name in needs)


def _slopes(background: np.ndarray) -> np.ndarray:
    return np.linspace(-1, 1, background.shape[1], dtype=np.float32)


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    table, mask = Table(data), data.columns()
    kernel = functools.partial(xaijax.kernel_shap, mask=mask, num_samples=_COALITIONS)
    walks = functools.partial(xaijax.permutation_shap, mask=mask, num_permutations=_WALKS)
    draws = functools.partial(xaijax.sampling_shap, mask=mask, num_samples=_DRAWS)
    yield table.workload(
        table.random("kernel_shap", kernel),
        table.random("permutation_shap", walks),
        table.random("sampling_shap", draws),
    )
    yield _exact_workload(data)
    yield _trees_workload(data)
    if _has_torch():
        images, behind = Images(data, "efficientnet_lite0", 1), jnp.asarray(data.images(8))
        gradients = functools.partial(
            xaijax.expected_gradients, baselines=behind, num_samples=_GRADIENTS
        )
        pair = Pair(
            "expected_gradients",
            images.random(gradients),
            "bare gradient",
            "values of pixels; both draw at random",
            channels_last,
            deterministic=False,
        )
        yield Workload(images.name, 1, images.bare(), [pair])


def _exact_workload(data: Data) -> Workload:
    few, background = Table(data, 12), data.background(12)
    slopes = jnp.asarray(_slopes(background))

    def linear(f: Any, x: Any, target: Any) -> Any:
        def model(x: Any) -> Any:
            return jnp.stack([x @ slopes + 0.7] * 2)

        return xaijax.linear_shap(model, x, target, background=background)

    exact = functools.partial(xaijax.exact_shapley, mask=data.columns(12))
    return few.workload(
        few.pair("exact_shapley", exact, _VALUES),
        few.pair("linear_shap", linear, _VALUES),
    )


def _trees_workload(data: Data) -> Workload:
    """All rows at once, one class."""
    f, X = xaijax.read_trees(data.forest()), jnp.asarray(data.table())

    def explained(f: Any, X: Any, background: Any) -> Any:
        explain = xaijax.bind(xaijax.tree_shap, f, background=background)
        return jax.vmap(lambda x: explain(x, TABLE_TARGET))(X)

    program = jax.jit(explained)
    predict = jax.jit(lambda f, X: jax.vmap(f)(X)[:, TABLE_TARGET])
    compared = f"{_VALUES}; theirs computes both classes"
    pairs = [
        Pair(method, functools.partial(program, f, X, background), None, compared, as_they_are)
        for method, background in (
            ("tree_shap", jnp.asarray(data.background())),
            ("tree_shap, path-dependent", None),
        )
    ]
    return Workload(_FOREST, len(X), {_PREDICT: functools.partial(predict, f, X)}, pairs)
