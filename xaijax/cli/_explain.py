"""The main job: a network explains a photo by several methods."""

import contextlib
import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import xaijax
from xaijax.cli._figure import draw
from xaijax.cli._interrupt import check
from xaijax.cli._output import output_folder
from xaijax.cli._photo import find_photo, fingerprint, read_photo
from xaijax.core._errors import complaint, nearest
from xaijax.models import efficientnet_lite0, find_label, imagenet_labels, preprocess

_FILES = ("explanation.png", "explanation.npz", "result.json", "refs.bib")


@dataclasses.dataclass(frozen=True)
class Job:
    """What `xaijax explain` was asked for."""

    photo: str | None = None
    methods: str = "grad_cam,lime,shapley"
    target: str = "auto"
    samples: int = 1000
    seed: int = 0
    layer: str | None = None
    superpixels: str = "quickshift"
    out: str = "explanation"
    force: bool = False


class Outcome(NamedTuple):
    """What a method gave: the map, what stands around it, numbers for the record, arrays for the archive."""

    map: np.ndarray
    title: str
    unit: str
    caption: str
    record: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Setting(NamedTuple):
    """What every method needs."""

    job: Job
    model: Callable[[Any], Any]
    x: jax.Array
    target: int
    key: jax.Array
    mask: Any


def explain(job: Job) -> int:
    """Do the job; returns the exit status."""
    methods = _parse_methods(job.methods)
    if job.samples < 2:
        raise ValueError(complaint("explain", "--samples", "be at least 2", job.samples))
    if not 0 <= job.seed < 2**32:
        raise ValueError(complaint("explain", "--seed", "be in [0, 2**32)", job.seed))
    photo = find_photo(job.photo)
    with output_folder(job.out, _FILES, force=job.force) as folder:
        image, x = preprocess(read_photo(photo))
        model, labels = efficientnet_lite0(), imagenet_labels()
        target = None if job.target == "auto" else _parse_target(job.target, labels)
        if job.layer is not None:
            xaijax.layers(model, x).find("explain", job.layer)
        segments = xaijax.superpixels(image, job.superpixels)
        logits = jax.jit(xaijax.lower(model))(x)
        if not np.isfinite(logits).all():
            raise ValueError(complaint("explain", "PHOTO", "give finite scores", "NaN or infinity"))
        best = [int(i) for i in np.argsort(-logits)[:5]]
        target = best[0] if target is None else target
        probabilities = np.asarray(jax.nn.softmax(logits))
        classes = [(labels[i], float(probabilities[i])) for i in best]
        print(
            f"{photo.name}: {', '.join(f'{name} {p:.1%}' for name, p in classes)}", file=sys.stderr
        )
        mask = xaijax.segments(segments)
        setting = Setting(job, model, jnp.asarray(x), target, jax.random.key(job.seed), mask)
        outcomes = {name: _in_thread(METHODS[name], setting) for name in methods}
        draw(folder / _FILES[0], image, photo.stem, classes, labels[target], outcomes)
        arrays = {"photo": image, "segments": segments, "logits": np.asarray(logits)}
        for outcome in outcomes.values():
            arrays |= outcome.arrays
        np.savez_compressed(folder / _FILES[1], **arrays)
        record = {
            "settings": dataclasses.asdict(job),
            "photo": {"file": photo.name, "sha256": fingerprint(photo), "crop": list(image.shape)},
            "model": "efficientnet_lite0",
            "target": {"index": target, "label": labels[target], "logit": float(logits[target])},
            "top5": [
                {"index": i, "label": n, "probability": p}
                for i, (n, p) in zip(best, classes, strict=True)
            ],
            "num_segments": mask.num_features,
            "methods": {name: outcome.record for name, outcome in outcomes.items()},
            "provenance": xaijax.provenance(),
        }
        record["target"]["probability"] = float(probabilities[target])
        text = json.dumps(record, indent=2, allow_nan=False) + "\n"
        (folder / _FILES[2]).write_text(text, "utf-8")
        cited = [EXPLAINERS[name] for name in methods]
        (folder / _FILES[3]).write_text(xaijax.citation(*cited, efficientnet_lite0), "utf-8")
    for name in _FILES:
        print(Path(job.out) / name)
    return 0


def _grad_cam(s: Setting) -> Outcome:
    cam, timing = _timed(xaijax.grad_cam.maps, s.model, s.x, s.target, layer=s.job.layer)
    if bool(cam.degenerate):
        print(
            "grad_cam: the map is flat: at this layer nothing speaks for the target.",
            file=sys.stderr,
        )
    record = {
        "layer": cam.layer.name,
        "layer_shape": list(cam.layer.shape),
        "degenerate": bool(cam.degenerate),
        "evaluations": 1,
        **timing,
    }
    arrays = {"grad_cam": np.asarray(cam.map), "grad_cam_weights": np.asarray(cam.weights)}
    height, width = cam.map.shape
    caption = f"layer {cam.layer.name}\n{height}x{width} positions, {len(cam.weights)} channels"
    return Outcome(arrays["grad_cam"], "Grad-CAM", "logit per position", caption, record, arrays)


def _lime(s: Setting) -> Outcome:
    f = xaijax.probabilities(s.model)
    with _bar("LIME", s.job.samples):
        fit, timing = _timed(
            xaijax.lime_fit, f, s.x, s.target, s.key, mask=s.mask, num_samples=s.job.samples
        )
    names = ("intercept", "r2", "local_prediction", "prediction", "condition")
    record = {name: _number(getattr(fit, name)) for name in names}
    record |= {"evaluations": int(fit.num_evaluations), **timing}
    arrays = {
        "lime": np.asarray(s.mask.paint(fit.weights)),
        "lime_weights": np.asarray(fit.weights),
    }
    caption = (
        f"{s.mask.num_features} superpixels, {s.job.samples} samples\n"
        f"surrogate {float(fit.local_prediction):.1%}, model {float(fit.prediction):.1%}\n"
        f"R² {float(fit.r2):.2f}"
    )
    return Outcome(arrays["lime"], "LIME", "probability", caption, record, arrays)


def _shapley(s: Setting) -> Outcome:
    f, pair = xaijax.probabilities(s.model), 2 * (s.mask.num_features - 1)
    permutations = max(2, (s.job.samples - 2) // max(pair, 1))
    with _bar("Shapley", 2 + permutations * pair):
        phi, timing = _timed(
            xaijax.shapley_values,
            f,
            s.x,
            s.target,
            s.key,
            mask=s.mask,
            num_permutations=permutations,
        )
    record = {
        "base_value": float(phi.base_value),
        "prediction": float(phi.prediction),
        "permutations": int(phi.num_permutations),
        "largest_standard_error": float(phi.standard_error.max()),
        "standard_error": np.asarray(phi.standard_error).tolist(),
        "evaluations": int(phi.num_evaluations),
        **timing,
    }
    arrays = {
        "shapley": np.asarray(s.mask.paint(phi.values)),
        "shapley_values": np.asarray(phi.values),
        "shapley_standard_error": np.asarray(phi.standard_error),
    }
    caption = (
        f"{s.mask.num_features} superpixels, {permutations} permutations and their reverses\n"
        f"from {float(phi.base_value):.1%} (all hidden) to {float(phi.prediction):.1%}\n"
        f"standard error at most {float(phi.standard_error.max()):.3f}"
    )
    return Outcome(arrays["shapley"], "Shapley values", "probability", caption, record, arrays)


METHODS: dict[str, Callable[[Setting], Outcome]] = {
    "grad_cam": _grad_cam,
    "lime": _lime,
    "shapley": _shapley,
}
EXPLAINERS = {
    "grad_cam": xaijax.grad_cam,
    "lime": xaijax.lime,
    "shapley": xaijax.permutation_shap,
}


def _timed(explain: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """Run an explainer; seconds for tracing, compiling and running apart."""
    start = time.perf_counter()
    program = explain.program(*args, **kwargs)
    traced = time.perf_counter()
    program.compile()
    compiled = time.perf_counter()
    # The call finds the compiled program in JAX's cache.
    result = jax.block_until_ready(explain(*args, **kwargs))
    end = time.perf_counter()
    seconds = {"trace": traced - start, "compile": compiled - traced, "run": end - compiled}
    return result, {"seconds": {name: round(value, 4) for name, value in seconds.items()}}


@contextlib.contextmanager
def _bar(name: str, total: int) -> Iterator[None]:
    """A progress bar over model evaluations, on a terminal."""
    with tqdm(total=total, desc=f"{name:8}", unit=" images", leave=False, disable=None) as bar:

        def listener(count: int) -> None:
            # The last chunk may be filled up with samples that do not count.
            bar.update(min(count, total - bar.n))

        with xaijax.progress(listener):
            yield


def _in_thread(function: Callable[[Setting], Outcome], setting: Setting) -> Outcome:
    """Run in a thread, so that Ctrl-C is heard while a compiled program runs."""
    done: list[Outcome] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(function(setting))
        except BaseException as error:  # handed to the caller
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(0.05)
    if failed:
        raise failed[0]
    return done[0]


def _number(value: Any) -> float | None:
    number = float(value)
    return number if np.isfinite(number) else None


def _parse_methods(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in METHODS:
            rule = f"be of {', '.join(METHODS)}"
            fix = nearest(name, METHODS)
            raise ValueError(complaint("explain", "--methods", rule, repr(name), fix))
    if not names:
        raise ValueError(
            complaint("explain", "--methods", f"name one of {', '.join(METHODS)}", "none")
        )
    return list(dict.fromkeys(names))


def _parse_target(text: str, labels: list[str]) -> int:
    if not text.lstrip("+-").isdigit():
        return find_label(text)
    if not 0 <= int(text) < len(labels):
        rule = f"be a class index in [0, {len(labels)}), a label or auto"
        raise ValueError(complaint("explain", "--target", rule, text))
    return int(text)
