"""The main job: what a network saw in a photo, by several methods."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from xaijax.cli._figure import draw
from xaijax.cli._output import output_folder
from xaijax.cli._photo import find_photo, fingerprint, read_photo
from xaijax.cli._run import (
    EXPLAINERS,
    bar,
    check_sampling,
    count_permutations,
    in_thread,
    lime_record,
    parse_methods,
    shapley_record,
    timed,
    write_record,
)
from xaijax.core._errors import complaint
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
    methods = parse_methods(job.methods, METHODS)
    check_sampling(job.samples, job.seed)
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
        outcomes = {name: in_thread(METHODS[name], setting) for name in methods}
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
        write_record(folder / _FILES[2], record)
        cited = [EXPLAINERS[name] for name in methods]
        (folder / _FILES[3]).write_text(xaijax.citation(*cited, efficientnet_lite0), "utf-8")
    for name in _FILES:
        print(Path(job.out) / name)
    return 0


def _grad_cam(s: Setting) -> Outcome:
    cam, timing = timed(xaijax.grad_cam.maps, s.model, s.x, s.target, layer=s.job.layer)
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
    with bar("LIME", s.job.samples, "images"):
        fit, timing = timed(
            xaijax.lime_fit, f, s.x, s.target, s.key, mask=s.mask, num_samples=s.job.samples
        )
    record = lime_record(fit) | timing
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
    f = xaijax.probabilities(s.model)
    permutations, pair = count_permutations(s.job.samples, s.mask.num_features)
    with bar("Shapley", 2 + permutations * pair, "images"):
        phi, timing = timed(
            xaijax.shapley_values,
            f,
            s.x,
            s.target,
            s.key,
            mask=s.mask,
            num_permutations=permutations,
        )
    record = shapley_record(phi) | timing
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


def _parse_target(text: str, labels: list[str]) -> int:
    if not text.lstrip("+-").isdigit():
        return find_label(text)
    if not 0 <= int(text) < len(labels):
        rule = f"be a class index in [0, {len(labels)}), a label or auto"
        raise ValueError(complaint("explain", "--target", rule, text))
    return int(text)
