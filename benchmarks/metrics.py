"""Every metric over the model evaluations that it needs, of images of 224 x 224 on EfficientNet-Lite0."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._cost import Case, measure_groups
from benchmarks._rows import Writer
from benchmarks.workloads import Workload, grid, workload
from xaijax import metrics

STEPS = 31
SAMPLES = 32
BATCH = 8

# A map, or a map and what it should find.
_MAPS: dict[str, dict[str, Any]] = {
    "active_features": {},
    "auc": {},
    "complexity": {},
    "energy_pointing_game": {},
    "grid_pointing_game": {},
    "high_frequency_share": {},
    "iou": {},
    "pointing_game": {},
    "relevance_mass": {},
    "relevance_rank": {},
    "sparseness": {},
    "top_k_intersection": {"k": 1000},
    "total_variation": {},
}
# Few answers of the model.
_FEW = ["average_drop", "increase_in_confidence", "win_rate", "completeness", "conservation"]


def _removal(w: Workload) -> dict[str, dict[str, Any]]:
    """Features taken away, the most important first or in random sets; of pixels, or of 7 x 7 squares."""
    squares, sampled = {"mask": grid(7, 7)}, {"num_samples": SAMPLES}
    of_rectangles = {"mask": w.mask, "num_samples": 4}
    return {
        "deletion_auc": {"num_steps": STEPS},
        "insertion_auc": {"num_steps": STEPS},
        "pixel_flipping": {"num_steps": STEPS},
        "road": {"num_steps": 9},
        "selectivity": {"patch_size": 32, "num_steps": STEPS},
        "region_perturbation": {"num_regions": STEPS},
        "irof": squares,
        "faithfulness_correlation": sampled,
        "faithfulness_estimate": {"num_steps": STEPS},
        "monotonicity": {"num_steps": STEPS},
        "infidelity": sampled,
        "sensitivity_n": {**of_rectangles, "sizes": (2, 4, 6, 8)},
        "monotonicity_correlation": of_rectangles,
        "non_sensitivity": of_rectangles,
        "effective_complexity": {**of_rectangles, "num_steps": 6},
    }


# Metrics of an explainer, which explain again and again: gradients.
_AGAIN: dict[str, dict[str, Any]] = {
    "avg_sensitivity": {"num_samples": 15},
    "continuity": {"num_samples": 15},
    "local_lipschitz": {"num_samples": 15},
    "max_sensitivity": {"num_samples": 15},
    "relative_input_stability": {"num_samples": 15},
    "relative_output_stability": {"num_samples": 15},
    "relative_representation_stability": {"num_samples": 15},
    "input_invariance": {},
    "random_logit": {},
}


def groups() -> dict[str, Callable[[], list[Case]]]:
    """By name: cases that are measured in the same rounds."""
    return {"maps": of_maps, "removal": of_removal, "explainers": of_explainers}


def run(writer: Writer, *, rounds: int, only: str = "", memory: bool = True) -> None:
    """Measure all groups whose name matches."""
    measure_groups("metrics", groups(), writer, rounds=rounds, only=only, memory=memory)


@functools.cache
def attributions(count: int, size: int = 224) -> jax.Array:
    """Positive maps without equal values."""
    drawn = np.random.default_rng(0).exponential(size=(count, size, size))
    return jnp.asarray(drawn, jnp.float32)


def truths(count: int, size: int = 224) -> jax.Array:
    """A rectangle for each map."""
    return (
        jnp.zeros((count, size, size), bool).at[:, size // 6 : size // 2, size // 4 : -30].set(True)
    )


def _judge(name: str, settings: dict[str, Any], scores: bool = True) -> Callable[..., Any]:
    """A function of `(f, x, target, key, attribution, other, truth)`, of which the metric takes what it needs."""
    metric = getattr(metrics, name)
    needs = [
        p.name
        for p in inspect.signature(metric).parameters.values()
        if p.kind is p.POSITIONAL_OR_KEYWORD
    ]

    def run(f: Any, x: Any, target: Any, key: Any, attribution: Any, other: Any, truth: Any) -> Any:
        there = {"x": x, "target": target, "key": key, "attribution": attribution}
        there |= {"other": other, "truth": truth, "f": xaijax.probabilities(f) if scores else f}
        there["explain"] = xaijax.bind(xaijax.saliency, f)
        return metric(*[there[n] for n in needs], **settings)

    return run


def _case(name: str, settings: dict[str, Any], batch: int = 1, **rest: Any) -> Case:
    w = workload("efficientnet_lite0")
    given = attributions(2 * BATCH)
    more = (given[:BATCH], given[BATCH:], truths(BATCH))
    run = rest.pop("run", None) or _judge(name, settings)
    return Case(name, "metric", w, run, batch, more=more, **rest)


def of_maps() -> list[Case]:
    """Metrics that see the map alone, of eight maps; they have no bound, and are compared with the peers'."""
    return [_case(name, settings, BATCH, evaluation="none") for name, settings in _MAPS.items()]


def of_removal() -> list[Case]:
    """Metrics that ask the model about changed images, of one image; those that ask once or twice, of eight."""
    removal = _removal(workload("efficientnet_lite0"))
    few = [_case(name, {}, BATCH, agnostic=True) for name in _FEW]
    return few + [_case(name, settings, agnostic=True) for name, settings in removal.items()]


def of_explainers() -> list[Case]:
    """Metrics that explain again, by the gradient; ADCC by Grad-CAM; repeatability by LIME; layers drawn anew."""
    found = [_case(name, settings, evaluation="gradient") for name, settings in _AGAIN.items()]

    def adcc(f: Any, x: Any, target: Any, key: Any, *_: Any) -> Any:
        return metrics.adcc(xaijax.bind(xaijax.grad_cam, f), x, target, key)

    def repeatability(f: Any, x: Any, target: Any, key: Any, *_: Any) -> Any:
        mask = workload("efficientnet_lite0").mask
        lime = xaijax.bind(xaijax.lime, xaijax.probabilities(f), mask=mask, num_samples=SAMPLES)
        return metrics.repeatability(lime, x, target, key, num_repeats=4)

    return [
        *found,
        _case("efficient_mprt", {}, evaluation="gradient", evaluations=2),
        _case("adcc", {}, run=adcc),
        _case("repeatability", {}, run=repeatability, agnostic=True),
    ]
