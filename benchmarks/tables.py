"""LIME and Shapley values of tables: over the model's own forwards, and against lime, shap and shapiq.

An MLP (64, 64) trained on scikit-learn's breast cancer data: 569 rows of 30 features. Both sides ask the same compiled
model, the peers through a function of NumPy arrays. Ours explains all rows in one call, as its users would; a peer
explains row after row, as it does by itself. Times are per explanation.
"""

import functools
import importlib.util
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._paired import is_noisy, measure
from benchmarks._workload import breast_cancer, table_model

_BACKGROUND = 100
_LIME_SAMPLES = 5000
_LIME_FEATURES = 10
_COALITIONS = 2108  # 2 M + 2048: what shap's KernelExplainer takes by itself
_PERMUTATIONS = 10  # 610 coalitions, as shap's PermutationExplainer
_PEER_ROWS = 3
_TARGET = 1


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    few = max(rounds // 6, 5)
    record = {"forwards": forwards(few), "black_box": black_box(few), "error": error()}
    if importlib.util.find_spec("lime") is not None and importlib.util.find_spec("shap"):
        record["peers"] = peers(few)
    return record


def _explainers(num_features: int = 30) -> dict[str, tuple[Callable[..., Any], int]]:
    """Ours, each a function of (f, x, key), and how often it asks the model for a row."""
    X, _ = breast_cancer(num_features)
    mask = xaijax.columns(X[:: len(X) // _BACKGROUND][:_BACKGROUND])
    lime = {"num_samples": _LIME_SAMPLES, "num_features": _LIME_FEATURES}
    bound = {
        "lime, no discretizer": (
            functools.partial(xaijax.lime, mask=xaijax.gaussian_columns(X), **lime),
            _LIME_SAMPLES,
        ),
        "lime, quartiles": (
            functools.partial(xaijax.lime, mask=xaijax.binned_columns(X), **lime),
            _LIME_SAMPLES,
        ),
        "kernel_shap": (
            functools.partial(xaijax.kernel_shap, mask=mask, num_samples=_COALITIONS),
            _COALITIONS * _BACKGROUND,
        ),
        "permutation_shap": (
            functools.partial(xaijax.permutation_shap, mask=mask, num_permutations=_PERMUTATIONS),
            (2 + _PERMUTATIONS * 2 * (num_features - 1)) * _BACKGROUND,
        ),
        "sampling_shap": (
            functools.partial(xaijax.sampling_shap, mask=mask, num_samples=_SAMPLES),
            (2 + 2 * _SAMPLES * num_features) * _BACKGROUND,
        ),
    }
    return {
        name: (lambda f, x, key, e=explain: e(f, x, _TARGET, key), count)
        for name, (explain, count) in bound.items()
    }


# Contributions of a feature, each the mean over the background: 60 000 evaluations in all, as shap's SamplingExplainer,
# which draws a row of the background for each.
_SAMPLES = 10


@functools.partial(jax.jit, static_argnums=0)
def _rows(explain: Any, f: Any, X: jax.Array, key: jax.Array) -> jax.Array:
    """Explanations of all rows, with one key for all; one after another, what is at work stays in the cache."""
    return jax.lax.map(lambda x: explain(f, x, key), X)


def _numpy(compiled: Any) -> Callable[[np.ndarray], np.ndarray]:
    """The compiled model as a peer asks for it; filled up to a multiple of 512 rows, or each number would compile."""

    def predict(rows: np.ndarray) -> np.ndarray:
        more = -len(rows) % 512
        padded = np.pad(np.asarray(rows, np.float32), ((0, more), (0, 0)))
        return np.asarray(compiled(padded))[: len(rows)]

    return predict


def forwards(rounds: int) -> dict[str, Any]:
    """Each explainer of all rows over as many bare forwards as it needs, in batches of the best size."""
    X, _ = breast_cancer()
    f, X, key = xaijax.probabilities(table_model()), jnp.asarray(X), jax.random.key(0)

    @functools.partial(jax.jit, static_argnums=2)
    def bare(f: Any, rows: jax.Array, count: int) -> jax.Array:
        def body(i: jax.Array) -> jax.Array:
            return jax.vmap(f)(rows * (1 + i * 1e-6))[:, _TARGET]

        return jax.lax.map(body, jnp.arange(count, dtype=rows.dtype)).sum()

    found = {}
    few = X[:64]
    for name, (explain, count) in _explainers().items():
        total = count * len(few)
        contestants: dict[str, Any] = {
            f"forwards, batches of {batch}": functools.partial(
                bare, f, jnp.resize(X, (batch, X.shape[1])), math.ceil(total / batch)
            )
            for batch in (512, 2048, 8192)
        }
        contestants[name] = functools.partial(_rows, explain, f, few, key)
        times = measure(contestants, base="forwards, batches of 2048", rounds=rounds)
        best = min(t["ratio"] for k, t in times.items() if k.startswith("forwards"))
        found[name] = {
            "evaluations": count,
            "milliseconds": times[name]["seconds"] / len(few) * 1e3,
            "overhead_per_evaluation": times[name]["ratio"] / best,
            "noisy": is_noisy(times),
        }
    return found


def peers(rounds: int) -> dict[str, Any]:
    """The packages lime and shap at the same number of evaluations of the same model, per explanation."""
    import shap
    from lime.lime_tabular import LimeTabularExplainer

    X, _ = breast_cancer()
    f, key = xaijax.probabilities(table_model()), jax.random.key(0)
    predict = _numpy(jax.jit(jax.vmap(f)))

    def score(rows: np.ndarray) -> np.ndarray:
        return predict(rows)[:, _TARGET]

    background = X[:: len(X) // _BACKGROUND][:_BACKGROUND]
    tabular = {
        "lime, no discretizer": LimeTabularExplainer(
            X, discretize_continuous=False, random_state=0
        ),
        "lime, quartiles": LimeTabularExplainer(X, random_state=0),
    }
    masker = shap.maskers.Independent(background, max_samples=_BACKGROUND)
    permutation = shap.PermutationExplainer(score, masker, seed=0)
    kernel = shap.KernelExplainer(score, background)
    sampling = shap.SamplingExplainer(score, background)
    samples = 2 * _SAMPLES * X.shape[1] * _BACKGROUND
    theirs: dict[str, Callable[[np.ndarray], Any]] = {
        name: functools.partial(_lime_row, explainer=explainer, predict=predict)
        for name, explainer in tabular.items()
    }
    theirs |= {
        "kernel_shap": lambda row: kernel.shap_values(
            row, nsamples=_COALITIONS, l1_reg=False, silent=True
        ),
        "permutation_shap": lambda row: permutation(
            row[None], max_evals=_PERMUTATIONS * (2 * X.shape[1] + 1), silent=True
        ),
        "sampling_shap": lambda row: sampling.shap_values(row, nsamples=samples, silent=True),
    }
    found = {}
    for name, (explain, _) in _explainers().items():
        contestants = {
            name: functools.partial(_rows, explain, f, jnp.asarray(X), key),
            "peer": lambda name=name: [theirs[name](row) for row in X[:_PEER_ROWS]],
        }
        times = measure(contestants, base=name, rounds=rounds)
        per_row = times["peer"]["ratio"] / _PEER_ROWS * len(X)
        found[name] = {
            "milliseconds": times[name]["seconds"] / len(X) * 1e3,
            "peer_milliseconds": times["peer"]["seconds"] / _PEER_ROWS * 1e3,
            "peer_over_ours": per_row,
            "noisy": is_noisy(times),
        }
    return found


def _lime_row(row: np.ndarray, *, explainer: Any, predict: Any) -> Any:
    return explainer.explain_instance(
        row, predict, num_features=_LIME_FEATURES, num_samples=_LIME_SAMPLES
    )


def black_box(rounds: int) -> dict[str, Any]:
    """Models of scikit-learn, explained, over one call of `predict_proba` with all the rows that were asked for."""
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.neighbors import KNeighborsClassifier

    X, y = breast_cancer()
    models = {
        "random forest": RandomForestClassifier(100, random_state=0),
        "gradient boosting": GradientBoostingClassifier(random_state=0),
        "neighbors": KNeighborsClassifier(),
    }
    x, key = jnp.asarray(X[0]), jax.random.key(0)
    mask = xaijax.columns(X[:: len(X) // _BACKGROUND][:_BACKGROUND])
    found = {}
    for name, model in models.items():
        predict = model.fit(X, y).predict_proba
        asked: list[np.ndarray] = []

        def recorded(rows: np.ndarray, asked: Any = asked, predict: Any = predict) -> np.ndarray:
            asked.append(np.array(rows))
            return predict(rows)

        def explain(predict: Any) -> jax.Array:
            f = xaijax.black_box(predict, 2)
            return xaijax.permutation_shap(f, x, _TARGET, key, mask=mask)

        jax.block_until_ready(explain(recorded))
        rows = np.concatenate(asked)
        contestants = {
            "predict_proba": functools.partial(predict, rows),
            "permutation_shap": functools.partial(explain, predict),
        }
        times = measure(contestants, base="predict_proba", rounds=rounds)
        found[name] = {
            "rows": len(rows),
            "calls": len(asked),
            "time": times,
            "noisy": is_noisy(times),
        }
    return found


# Of the largest exact value: the error at which estimators are compared.
_ERROR = 0.01


def error() -> dict[str, Any]:
    """Evaluations and time that each estimator needs to be within 1 % of the exact values, on 12 features.

    The error is the root mean square over features, three rows and five keys, as a part of the largest exact value; the
    budget of coalitions doubles until it is reached, up to all 2^12. One explanation at a time, for both sides.
    """
    X, _ = breast_cancer(12)
    f, rows = xaijax.probabilities(table_model(12)), X[:150:50]
    background = X[:: len(X) // _BACKGROUND][:_BACKGROUND]
    mask, M = xaijax.columns(background), 12
    exact = np.stack([xaijax.exact_shapley(f, jnp.asarray(x), _TARGET, mask=mask) for x in rows])
    predict = _numpy(jax.jit(jax.vmap(f)))

    def score(rows: np.ndarray) -> np.ndarray:
        return predict(rows)[:, _TARGET]

    def ours(
        explain: Any, knob: str, unit: int, least: int = 1
    ) -> Callable[[np.ndarray, int, int], Any]:
        def estimate(x: np.ndarray, budget: int, seed: int) -> Any:
            settings = {knob: max(budget // unit, least)}
            key = jax.random.key(seed)
            return explain(f, jnp.asarray(x), _TARGET, key, mask=mask, **settings)

        return estimate

    estimators: dict[str, Callable[[np.ndarray, int, int], Any]] = {
        "permutation_shap": ours(xaijax.permutation_shap, "num_permutations", 2 * (M - 1)),
        "kernel_shap": ours(xaijax.kernel_shap, "num_samples", 1),
        "sampling_shap": ours(xaijax.sampling_shap, "num_samples", 2 * M, least=4),
    }
    if importlib.util.find_spec("shap") is not None:
        estimators |= _shap_estimators(score, background)
    if importlib.util.find_spec("shapiq") is not None:
        estimators |= _shapiq_estimators(score, background)
    found = {}
    for name, estimate in estimators.items():
        for power in range(7, 13):
            budget = 2**power
            estimates = [[np.asarray(estimate(x, budget, s)) for s in range(5)] for x in rows]
            off = np.sqrt(np.mean((np.array(estimates) - exact[:, None]) ** 2))
            relative = float(off / np.abs(exact).max())
            if relative <= _ERROR:
                break
        start = time.perf_counter()
        for seed in range(5):
            jax.block_until_ready(estimate(rows[0], budget, seed))
        seconds = (time.perf_counter() - start) / 5
        reached = relative <= _ERROR
        found[name] = {
            "coalitions": budget,
            "error": relative,
            "reached": reached,
            "milliseconds": seconds * 1e3,
        }
    return {"features": M, "wanted": _ERROR, "estimators": found}


def _shap_estimators(score: Any, background: np.ndarray) -> dict[str, Any]:
    import shap

    masker = shap.maskers.Independent(background, max_samples=len(background))
    kernel = shap.KernelExplainer(score, background)
    sampling = shap.SamplingExplainer(score, background)

    def permutation(x: np.ndarray, budget: int, seed: int) -> Any:
        explain = shap.PermutationExplainer(score, masker, seed=seed)
        walks = max(budget // (2 * len(x) + 1), 1)
        return explain(x[None], max_evals=walks * (2 * len(x) + 1), silent=True).values[0]

    def by_kernel(x: np.ndarray, budget: int, seed: int) -> Any:
        np.random.seed(seed)  # noqa: NPY002 - shap draws from the global generator
        return kernel.shap_values(x, nsamples=budget, l1_reg=False, silent=True)

    def by_sampling(x: np.ndarray, budget: int, seed: int) -> Any:
        np.random.seed(seed)  # noqa: NPY002 - shap draws from the global generator
        # Its evaluations are of single rows, not of the mean over a background.
        samples = {"nsamples": budget * len(background), "min_samples_per_feature": 10}
        return sampling.shap_values(x, silent=True, **samples)

    return {
        "shap, permutation": permutation,
        "shap, kernel": by_kernel,
        "shap, sampling": by_sampling,
    }


def _shapiq_estimators(score: Any, background: np.ndarray) -> dict[str, Any]:
    from shapiq import approximator

    def estimator(make: Any) -> Callable[[np.ndarray, int, int], Any]:
        def estimate(x: np.ndarray, budget: int, seed: int) -> Any:
            def game(coalitions: np.ndarray) -> np.ndarray:
                coalitions = np.atleast_2d(coalitions)
                hidden = np.where(coalitions[:, None], x, background)
                values = score(hidden.reshape(-1, len(x)))
                return values.reshape(len(coalitions), -1).mean(1)

            found = make(len(x), seed).approximate(budget, game)
            return found.get_n_order_values(1)

        return estimate

    return {
        "shapiq, kernel": estimator(lambda n, seed: approximator.KernelSHAP(n, random_state=seed)),
        "shapiq, permutation": estimator(
            lambda n, seed: approximator.PermutationSamplingSV(n, random_state=seed)
        ),
    }
