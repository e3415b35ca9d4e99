"""Time to a given error: how long each estimator of Shapley values takes to be within 1 % of the exact ones.

The error is the root mean square over the features, three rows and five keys, as a part of the largest exact value; the
budget of coalitions doubles until it is reached, up to all 2^12 of twelve features. One explanation at a time.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._rows import Writer
from benchmarks._timing import interleave, timer
from benchmarks.workloads import background, breast_cancer, table

FEATURES = 12
WANTED = 0.01
_POWERS = range(6, FEATURES + 1)
_KEYS = 5

Estimate = Callable[[np.ndarray, int, int], Any]


def run(writer: Writer, *, rounds: int) -> None:
    """Errors of growing budgets, and the time of the first one that is enough."""
    estimators = {"xaijax": _ours(), "shap": _shap(), "shapiq": _shapiq()}
    chosen: dict[tuple[str, str], int] = {}
    errors: dict[tuple[str, str], dict[int, float]] = {}
    for library, methods in estimators.items():
        if not methods:
            writer.add(
                "skipped",
                what=f"{library}, time to error",
                why="not installed: see benchmarks/README.md",
            )
        for method, estimate in methods.items():
            errors[library, method] = found = _errors(estimate)
            chosen[library, method] = max(found)
    x = _rows()[0]
    timers = {
        f"{library} {method}": timer(
            functools.partial(estimators[library][method], x, chosen[library, method], 0)
        )
        for library, method in chosen
    }
    first = next(iter(timers))
    done = interleave(timers, rounds, control=first, title="time to error")
    for (library, method), budget in chosen.items():
        writer.add(
            "error",
            method=method,
            library=library,
            workload=table(FEATURES).name,
            wanted=WANTED,
            coalitions=budget,
            error=errors[library, method][budget],
            errors=errors[library, method],
            reached=errors[library, method][budget] <= WANTED,
            seconds=done.seconds[f"{library} {method}"],
            **done.trust(),
        )


def _rows() -> np.ndarray:
    return breast_cancer(FEATURES)[0][:150:50]


@functools.cache
def _exact() -> np.ndarray:
    t = table(FEATURES)
    f = xaijax.probabilities(t.f)
    return np.stack([xaijax.exact_shapley(f, jnp.asarray(x), 1, mask=t.mask) for x in _rows()])


def _errors(estimate: Estimate) -> dict[int, float]:
    """By budget, until it is small enough."""
    found = {}
    for power in _POWERS:
        estimates = [
            [np.asarray(estimate(x, 2**power, seed)) for seed in range(_KEYS)] for x in _rows()
        ]
        off = np.sqrt(np.mean((np.array(estimates) - _exact()[:, None]) ** 2))
        found[2**power] = float(off / np.abs(_exact()).max())
        if found[2**power] <= WANTED:
            break
    return found


def _ours() -> dict[str, Estimate]:
    t, M = table(FEATURES), FEATURES
    f = xaijax.probabilities(t.f)

    hidden = len(background(M))

    def estimator(explain: Any, knob: str, unit: int, least: int = 1, rows: int = 1) -> Estimate:
        def estimate(x: np.ndarray, budget: int, seed: int) -> Any:
            settings = {knob: max(budget * rows // unit, least)}
            return explain(f, jnp.asarray(x), 1, jax.random.key(seed), mask=t.mask, **settings)

        return estimate

    return {
        "permutation_shap": estimator(xaijax.permutation_shap, "num_permutations", 2 * (M - 1)),
        "kernel_shap": estimator(xaijax.kernel_shap, "num_samples", 1),
        "sampling_shap": estimator(
            xaijax.sampling_shap, "num_samples", 2 * M, least=4, rows=hidden
        ),
    }


@functools.cache
def _score() -> Callable[[np.ndarray], np.ndarray]:
    """Our compiled model as a peer asks for it; filled up to a multiple of 512 rows, or each number would compile."""
    compiled = jax.jit(jax.vmap(xaijax.probabilities(table(FEATURES).f)))

    def score(rows: np.ndarray) -> np.ndarray:
        more = -len(rows) % 512
        padded = np.pad(np.asarray(rows, np.float32), ((0, more), (0, 0)))
        return np.asarray(compiled(padded))[: len(rows), 1]

    return score


def _shap() -> dict[str, Estimate]:
    if importlib.util.find_spec("shap") is None:
        return {}
    import shap

    hidden, score = background(FEATURES), _score()
    masker = shap.maskers.Independent(hidden, max_samples=len(hidden))
    kernel = shap.KernelExplainer(score, hidden)
    sampling = shap.SamplingExplainer(score, hidden)

    def permutation(x: np.ndarray, budget: int, seed: int) -> Any:
        explain = shap.PermutationExplainer(score, masker, seed=seed)
        walks = max(budget // (2 * len(x) + 1), 1)
        return explain(x[None], max_evals=walks * (2 * len(x) + 1), silent=True).values[0]

    def by_kernel(x: np.ndarray, budget: int, seed: int) -> Any:
        np.random.seed(seed)  # noqa: NPY002 - shap draws from the global generator
        return kernel.shap_values(x, nsamples=budget, l1_reg=False, silent=True)

    def by_sampling(x: np.ndarray, budget: int, seed: int) -> Any:
        np.random.seed(seed)  # noqa: NPY002 - shap draws from the global generator
        # A sample is two evaluations of single rows, a coalition of the budget one of each row.
        samples = {"nsamples": budget * len(hidden) // 2, "min_samples_per_feature": 10}
        return sampling.shap_values(x, silent=True, **samples)

    return {
        "permutation_shap": permutation,
        "kernel_shap": by_kernel,
        "sampling_shap": by_sampling,
    }


def _shapiq() -> dict[str, Estimate]:
    if importlib.util.find_spec("shapiq") is None:
        return {}
    from shapiq import approximator

    hidden, score = background(FEATURES), _score()

    def estimator(make: Any) -> Estimate:
        def estimate(x: np.ndarray, budget: int, seed: int) -> Any:
            def game(coalitions: np.ndarray) -> np.ndarray:
                coalitions = np.atleast_2d(coalitions)
                rows = np.where(coalitions[:, None], x, hidden)
                values = score(rows.reshape(-1, len(x)))
                return values.reshape(len(coalitions), -1).mean(1)

            return make(len(x), seed).approximate(budget, game).get_n_order_values(1)

        return estimate

    return {
        "kernel_shap": estimator(lambda n, seed: approximator.KernelSHAP(n, random_state=seed)),
        "permutation_shap": estimator(
            lambda n, seed: approximator.PermutationSamplingSV(n, random_state=seed)
        ),
    }
