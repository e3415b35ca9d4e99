"""Quantus beside our metrics, for the same maps, masks and number of evaluations.

Metrics of a map alone, or of a map and a mask, for eight maps of 224 x 224; those that ask the model, or explain again,
for two images on EfficientNet-Lite0 with an attribution for every value, so that both hide the same ones.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks.peer import _torch
from benchmarks.peer._data import SIZE, Data
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import Images, Pair, Run, Workload, as_they_are, image_workload
from xaijax import metrics

_NETWORK = "efficientnet_lite0"
_MAPS, _BATCH = 8, 2
_MAP_NAME = f"maps of {SIZE} x {SIZE}, batch {_MAPS} (v1)"
_TOP = 1000
_STEPS = 24
_HIDDEN = 3 * SIZE * SIZE // _STEPS  # values in a step
_PATCH = 56
_PATCHES = (SIZE // _PATCH) ** 2
_SAMPLES = 16
_PERCENTAGES = tuple(range(5, 95, 5))  # as many as both ends of ours
_QUIET = {
    "disable_warnings": True,
    "display_progressbar": False,
    "return_aggregate": False,
    "normalise": False,
    "abs": False,
}
_OF_MAPS = {
    "sparseness": "Sparseness",
    "complexity": "Complexity",
    "pointing_game": "PointingGame",
    "relevance_mass": "RelevanceMassAccuracy",
    "relevance_rank": "RelevanceRankAccuracy",
    "top_k_intersection": "TopKIntersection",
    "auc": "AUC",
}
# Their class and its settings; those that judge an attribution, and those that explain again.
_JUDGED: dict[str, tuple[str, dict[str, Any]]] = {
    "deletion_auc": ("PixelFlipping", {"features_in_step": _HIDDEN}),
    "faithfulness_correlation": (
        "FaithfulnessCorrelation",
        {"nr_runs": _STEPS, "subset_size": _HIDDEN},
    ),
    "faithfulness_estimate": ("FaithfulnessEstimate", {"features_in_step": _HIDDEN}),
    "monotonicity": ("Monotonicity", {"features_in_step": _HIDDEN}),
    "sensitivity_n": ("SensitivityN", {"features_in_step": _HIDDEN, "n_max_percentage": 1.0}),
    "selectivity": ("Selectivity", {"patch_size": _PATCH}),
    "region_perturbation": (
        "RegionPerturbation",
        {"patch_size": _PATCH, "regions_evaluation": _PATCHES},
    ),
    "infidelity": ("Infidelity", {"perturb_patch_sizes": [_PATCH], "n_perturb_samples": 1}),
    "road": ("ROAD", {"percentages": list(_PERCENTAGES)}),
    "irof": ("IROF", {}),
}
_EXPLAINED: dict[str, tuple[str, dict[str, Any]]] = {
    "max_sensitivity": ("MaxSensitivity", {"nr_samples": _SAMPLES}),
    "avg_sensitivity": ("AvgSensitivity", {"nr_samples": _SAMPLES}),
    "local_lipschitz": ("LocalLipschitzEstimate", {"nr_samples": _SAMPLES}),
    "relative_input_stability": (
        "RelativeInputStability",
        {"nr_samples": _SAMPLES, "return_nan_when_prediction_changes": False},
    ),
    "random_logit": ("RandomLogit", {}),
}


def _maps() -> np.ndarray:
    """Positive maps without equal values."""
    drawn = np.random.default_rng(0).exponential(size=(_MAPS, SIZE, SIZE))
    return drawn.astype(np.float32)


def _masks() -> np.ndarray:
    masks = np.zeros((_MAPS, SIZE, SIZE), bool)
    masks[:, 40:150, 60:190] = True
    return masks


def _attributions() -> np.ndarray:
    """One for every value, without equal ones."""
    drawn = np.random.default_rng(1).exponential(size=(_BATCH, SIZE, SIZE, 3))
    return drawn.astype(np.float32)


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    _torch.torchvision()
    quantus = load("quantus")

    found: dict[str, Callable[[], Any]] = {}
    maps = {
        "x_batch": np.zeros((_MAPS, 3, SIZE, SIZE), np.float32),
        "y_batch": np.zeros(_MAPS, int),
        "a_batch": _maps()[:, None],
        "s_batch": _masks()[:, None],
        "model": None,
    }
    for name, theirs in _OF_MAPS.items():
        more = {"k": _TOP} if name == "top_k_intersection" else {}
        metric = getattr(quantus, theirs)(**more, **_QUIET)
        found[f"{_MAP_NAME}: {name}"] = functools.partial(_score, metric, maps)

    net, target = _torch.network(data, _NETWORK), data.target(_NETWORK)
    runs = _torch.bare(net, _torch.images(data, _BATCH), target)
    asked = {
        "x_batch": np.moveaxis(data.images(_BATCH), -1, 1).copy(),
        "y_batch": np.full(_BATCH, target),
        "model": net,
        "device": _torch.device(data),
    }
    judged = {**asked, "a_batch": np.moveaxis(_attributions(), -1, 1).copy(), "softmax": True}
    # Both order positions, not values.
    of_positions = {**judged, "a_batch": judged["a_batch"].sum(1, keepdims=True)}
    for name, (theirs, settings) in _JUDGED.items():
        runs[name] = functools.partial(
            _score,
            getattr(quantus, theirs)(**settings, **_QUIET),
            of_positions if name in ("road", "irof") else judged,
        )
    explained = {**asked, "a_batch": None, "explain_func": functools.partial(_gradient, data)}
    for name, (theirs, settings) in _EXPLAINED.items():
        metric = getattr(quantus, theirs)(**settings, **_QUIET)
        runs[name] = functools.partial(_score, metric, explained)
    prefix = image_workload(_NETWORK, _BATCH)
    return found | {f"{prefix}: {name}": run for name, run in runs.items()}


def _score(metric: Any, arrays: dict[str, Any]) -> np.ndarray:
    """Some of its metrics write into the attributions."""
    a = arrays["a_batch"]
    found = metric(**{**arrays, "a_batch": None if a is None else a.copy()})
    return np.asarray(list(found.values()) if isinstance(found, dict) else found, float)


def _gradient(data: Data, model: Any, inputs: Any, targets: Any, **_: Any) -> np.ndarray:
    torch = load("torch")

    x = torch.as_tensor(inputs, dtype=torch.float32, device=_torch.device(data)).requires_grad_()
    scores = model(x)[range(len(x)), list(targets)]
    return torch.autograd.grad(scores.sum(), x)[0].abs().cpu().numpy()


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    yield _map_workload()
    images = Images(data, _NETWORK, _BATCH)
    found = [*_judged(data, images), *_explained(images)]
    yield Workload(images.name, _BATCH, images.bare(), found)


def _map_workload() -> Workload:
    maps, masks = jnp.asarray(_maps()), jnp.asarray(_masks())

    def pair(name: str) -> Pair:
        metric = getattr(metrics, name)
        more = {"k": _TOP} if name == "top_k_intersection" else {}
        given = (maps,) if name in ("sparseness", "complexity") else (maps, masks)
        program = jax.jit(jax.vmap(functools.partial(metric, **more)))
        return Pair(name, functools.partial(program, *given), None, "scores", as_they_are)

    return Workload(_MAP_NAME, _MAPS, {}, [pair(name) for name in _OF_MAPS])


def _judged(data: Data, images: Images) -> Iterator[Pair]:
    p, attributions = xaijax.probabilities(images.f), jnp.asarray(_attributions())

    def run(judge: Callable[..., Any], maps: jax.Array = attributions) -> Run:
        """Of `judge(p, x, target, attribution, key)`."""
        program = jax.jit(jax.vmap(judge, (None, 0, 0, 0, 0)))
        return functools.partial(program, p, images.xs, images.targets, maps, images.keys)

    def black(metric: Any, **settings: Any) -> Callable[..., Any]:
        return lambda p, x, t, a, key: metric(p, x, t, a, key, baseline=x.min(), **settings)

    def curve(metric: Any, **settings: Any) -> Callable[..., Any]:
        judge = black(metric.details, **settings)
        return lambda *given: judge(*given).scores

    hidden = {"num_samples": _STEPS, "subset_size": _HIDDEN}
    sizes = tuple(_HIDDEN * part for part in (1, 6, 12))
    mask = xaijax.segments(data.read("segments"))
    road = functools.partial(metrics.road, num_steps=len(_PERCENTAGES) // 2)
    runs = {
        "deletion_auc": run(curve(metrics.deletion_auc, num_steps=_STEPS)),
        "faithfulness_correlation": run(black(metrics.faithfulness_correlation, **hidden)),
        "faithfulness_estimate": run(black(metrics.faithfulness_estimate, num_steps=_STEPS)),
        "monotonicity": run(black(metrics.monotonicity, num_steps=_STEPS)),
        "sensitivity_n": run(
            black(metrics.sensitivity_n, sizes=sizes, num_samples=_STEPS // len(sizes))
        ),
        "selectivity": run(curve(metrics.selectivity, patch_size=_PATCH, num_steps=_PATCHES)),
        "region_perturbation": run(
            curve(metrics.region_perturbation, region_size=_PATCH, num_regions=_PATCHES)
        ),
        "infidelity": run(
            black(metrics.infidelity, perturbation="square", side=_PATCH, num_samples=_PATCHES)
        ),
        "road": run(lambda p, x, t, a, key: road(p, x, t, a.sum(-1), key)),
        "irof": run(functools.partial(metrics.irof, mask=mask), attributions.sum(-1)),
    }
    compared = {
        "deletion_auc": ("the score at each step", _after_the_first),
        "faithfulness_estimate": ("correlations", as_they_are),
        "selectivity": ("the score at each step", _after_the_first),
        "region_perturbation": ("how far the score fell at each step", _fallen),
    }
    nothing = {
        "faithfulness_correlation": "nothing: both draw at random",
        "monotonicity": "nothing: its baseline is overwritten, so that every map passes",
        "sensitivity_n": "nothing: it takes the subsets from the order of the values",
        "infidelity": "nothing: its squares are those of a grid, each on top of those before",
        "road": "nothing: it takes one end of the order, and gives the share of right answers",
        "irof": "nothing: it computes its own superpixels in every call",
    }
    for name, program in runs.items():
        what, common = compared.get(name, (nothing.get(name, ""), None))
        yield Pair(name, program, "bare forward", what, common, common is not None)


def _explained(images: Images) -> Iterator[Pair]:
    def run(metric: Any, **settings: Any) -> Run:
        def judge(f: Any, x: Any, target: Any, key: Any) -> Any:
            return metric(xaijax.bind(xaijax.saliency, f), x, target, key, **settings)

        return images.random(judge)

    for name in _EXPLAINED:
        settings = {} if name == "random_logit" else {"num_samples": _SAMPLES}
        metric = getattr(metrics, name)
        what = "nothing: both draw at random"
        yield Pair(name, run(metric, **settings), "bare gradient", what, None, False)


def _after_the_first(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Theirs leaves the score of the image out."""
    return ours[:, 1:], theirs.reshape(ours[:, 1:].shape)


def _fallen(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return ours[:, :1] - ours[:, 1:], theirs.reshape(ours[:, 1:].shape)
