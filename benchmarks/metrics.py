"""What metrics cost over the model evaluations that they need, and against Quantus on the same maps and weights.

Deletion on ResNet-18 (random weights, on which its time does not depend) for eight images against as many bare forwards
in chunks of the best size. The metrics of a map alone for eight maps of 224 x 224, and those that ask a model on a
small network, against Quantus: each library as its documentation says, for the same number of evaluations.
"""

import functools
import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._paired import is_noisy, measure
from benchmarks._workload import TARGET, chunked_forwards, images, resnet18
from xaijax import metrics

_BATCH, _STEPS, _SIZE = 8, 31, 224


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    record = {"deletion": deletion(max(rounds // 5, 5)), "memory": memory()}
    if importlib.util.find_spec("quantus") is not None:
        record["quantus, maps"] = quantus_maps(rounds)
        record["quantus, models"] = quantus_models(max(rounds // 3, 5))
    return record


def _maps(count: int = _BATCH, height: int = _SIZE, width: int = _SIZE) -> jax.Array:
    """Positive maps without equal values."""
    drawn = np.random.default_rng(0).exponential(size=(count, height, width))
    return jnp.asarray(drawn, jnp.float32)


def deletion(rounds: int) -> dict[str, Any]:
    """Deletion of eight images over as many bare forwards, in chunks of several sizes."""
    f = xaijax.probabilities(resnet18())
    xs, maps, key = images(_BATCH), _maps(), jax.random.key(0)
    count = _BATCH * (_STEPS + 1)
    forwards = jax.jit(chunked_forwards, static_argnums=2)
    contestants: dict[str, Any] = {
        f"forwards, chunks of {chunk}": functools.partial(
            forwards, f, jnp.broadcast_to(xs[0], (chunk, *xs[0].shape)), count
        )
        for chunk in (2, 4, 8, 16)
    }

    def one(f: Any, x: Any, a: Any) -> Any:
        return metrics.deletion_auc(f, x, TARGET, a, key, num_steps=_STEPS)

    # As `evaluate` runs it: one image after another, each in chunks of its own.
    in_turn = jax.jit(lambda f, xs, maps: jax.lax.map(lambda row: one(f, *row), (xs, maps)))
    at_once = jax.jit(jax.vmap(one, (None, 0, 0)))
    contestants["deletion_auc, one by one"] = functools.partial(in_turn, f, xs, maps)
    contestants["deletion_auc, vmap"] = functools.partial(at_once, f, xs, maps)
    times = measure(contestants, base="forwards, chunks of 4", rounds=rounds)
    best = min(t["ratio"] for name, t in times.items() if name.startswith("forwards"))
    names = ("deletion_auc, one by one", "deletion_auc, vmap")
    return {
        "evaluations": count,
        "time": times,
        "noisy": is_noisy(times),
        "overhead_per_evaluation": {name: times[name]["ratio"] / best for name in names},
    }


def memory() -> dict[str, Any]:
    """Temporary bytes of deletion from 16 to 1024 steps."""
    f, x, a = xaijax.probabilities(resnet18()), images(1)[0], _maps(1)[0]

    def temporary(num_steps: int) -> int:
        program = metrics.deletion_auc.program(
            f, x, TARGET, a, jax.random.key(0), num_steps=num_steps, batch_size=4
        )
        return program.compile().memory_analysis().temp_size_in_bytes

    return {"deletion_auc_bytes": {n: temporary(n) for n in (16, 128, 1024)}}


def _quiet(**rest: Any) -> dict[str, Any]:
    quiet = {"disable_warnings": True, "display_progressbar": False, "return_aggregate": False}
    return {"normalise": False, "abs": False, **quiet, **rest}


def _quantus() -> Any:
    from tests.parity._torchvision import torchvision

    assert torchvision  # its import has to come first
    return importlib.import_module("quantus")


def _against(contestants: dict[str, tuple[Any, Any]], rounds: int) -> dict[str, Any]:
    """Pairs of ours and theirs, in one interleaved run; the first of ours is the base."""
    runs: dict[str, Any] = {}
    for name, (ours, theirs) in contestants.items():
        runs |= {name: ours, f"quantus, {name}": theirs}
    difference = {
        name: float(
            np.nanmax(np.abs(np.asarray(ours(), float) - np.asarray(theirs(), float).ravel()))
        )
        for name, (ours, theirs) in contestants.items()
    }
    times = measure(runs, base=next(iter(runs)), rounds=rounds)
    ratio = {n: times[f"quantus, {n}"]["ratio"] / times[n]["ratio"] for n in contestants}
    return {
        "time": times,
        "noisy": is_noisy(times),
        "largest_difference": difference,
        "quantus_over_ours": ratio,
    }


def quantus_maps(rounds: int) -> dict[str, Any]:
    """The metrics of a map, and of a map and a mask, for eight maps of 224 x 224."""
    quantus, maps = _quantus(), _maps()
    masks = jnp.zeros(maps.shape, bool).at[:, 40:150, 60:190].set(True)
    arrays = {
        "x_batch": np.zeros((_BATCH, 3, _SIZE, _SIZE), np.float32),
        "y_batch": np.zeros(_BATCH, int),
        "a_batch": np.asarray(maps)[:, None],
        "s_batch": np.asarray(masks)[:, None],
    }

    def pair(ours: Any, theirs: Any, *given: Any) -> tuple[Any, Any]:
        program = jax.jit(jax.vmap(ours))
        copied = {"a_batch"}  # some of theirs write into it

        def peer() -> Any:
            return theirs(
                model=None, **{k: v.copy() if k in copied else v for k, v in arrays.items()}
            )

        return functools.partial(program, *given), peer

    top_k = functools.partial(metrics.top_k_intersection, k=1000)
    return _against(
        {
            "sparseness": pair(metrics.sparseness, quantus.Sparseness(**_quiet()), maps),
            "complexity": pair(metrics.complexity, quantus.Complexity(**_quiet()), maps),
            "pointing_game": pair(
                metrics.pointing_game, quantus.PointingGame(**_quiet()), maps, masks
            ),
            "relevance_mass": pair(
                metrics.relevance_mass, quantus.RelevanceMassAccuracy(**_quiet()), maps, masks
            ),
            "relevance_rank": pair(
                metrics.relevance_rank, quantus.RelevanceRankAccuracy(**_quiet()), maps, masks
            ),
            "top_k_intersection": pair(
                top_k, quantus.TopKIntersection(k=1000, **_quiet()), maps, masks
            ),
            "auc": pair(metrics.auc, quantus.AUC(**_quiet()), maps, masks),
        },
        rounds,
    )


def quantus_models(rounds: int) -> dict[str, Any]:
    """Metrics that ask the model, or explain again, on a small network: the number of evaluations is the same."""
    import torch

    from tests.parity import _nets

    quantus, name = _quantus(), next(iter(_nets.NETWORKS))
    net = _nets.evaluated(_nets.NETWORKS[name].torch)
    f = _nets.flax_network(name, "float32")
    p = xaijax.probabilities(f)
    xs = jnp.asarray(_nets.IMAGES[:_BATCH], jnp.float32)
    targets = jnp.asarray(_nets.TARGETS[: len(xs)], jnp.int32)
    size = xs.shape[1:3]
    maps, keys = _maps(len(xs), *size), jax.random.split(jax.random.key(0), len(xs))
    arrays = {
        "x_batch": np.moveaxis(np.asarray(xs), -1, 1).copy(),
        "y_batch": np.asarray(targets, int),
        "a_batch": np.asarray(maps)[:, None],
    }

    def gradient(model: Any, inputs: Any, targets: Any, **_: Any) -> Any:
        x = torch.as_tensor(inputs, dtype=torch.float32).requires_grad_()
        model(x)[range(len(x)), list(targets)].sum().backward()
        return x.grad.sum(1, keepdim=True).numpy()

    def peer(theirs: Any, **rest: Any) -> Any:
        def run() -> Any:
            copied = {k: v.copy() for k, v in arrays.items()}  # some of theirs write into them
            return theirs(model=net, device="cpu", **{**copied, **rest})

        return run

    def judged(metric: Any, **settings: Any) -> Any:
        run = functools.partial(metric, p, **settings)
        return functools.partial(jax.jit(jax.vmap(run)), xs, targets, maps, keys)

    def explained(metric: Any, **settings: Any) -> Any:
        explain = xaijax.bind(xaijax.saliency, f)
        run = functools.partial(metric, explain, **settings)
        return functools.partial(jax.jit(jax.vmap(run)), xs, targets, keys)

    pixels, samples = size[0] * size[1], 20
    pairs = {
        "deletion": (
            judged(metrics.deletion_auc, num_steps=24, baseline=float(xs.min())),
            peer(
                quantus.PixelFlipping(
                    features_in_step=pixels // 8, perturb_baseline="black", **_quiet()
                ),
                softmax=True,
            ),
        ),
        "faithfulness_correlation": (
            judged(metrics.faithfulness_correlation, num_samples=samples),
            peer(
                quantus.FaithfulnessCorrelation(nr_runs=samples, subset_size=64, **_quiet()),
                softmax=True,
            ),
        ),
        "max_sensitivity": (
            explained(metrics.max_sensitivity, num_samples=samples),
            peer(quantus.MaxSensitivity(nr_samples=samples, **_quiet()), explain_func=gradient),
        ),
        "local_lipschitz": (
            explained(metrics.local_lipschitz, num_samples=samples),
            peer(
                quantus.LocalLipschitzEstimate(nr_samples=samples, **_quiet()),
                a_batch=None,
                explain_func=gradient,
            ),
        ),
    }
    runs: dict[str, Any] = {}
    for title, (ours, theirs) in pairs.items():
        runs |= {title: ours, f"quantus, {title}": theirs}
    times = measure(runs, base="deletion", rounds=rounds)
    ratio = {n: times[f"quantus, {n}"]["ratio"] / times[n]["ratio"] for n in pairs}
    return {"time": times, "noisy": is_noisy(times), "quantus_over_ours": ratio}
