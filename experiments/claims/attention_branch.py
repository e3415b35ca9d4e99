"""Does an Attention Branch Network classify better, and show better where it looks?

Claim: an attention map that a network learns together with its task raises its accuracy and explains its answers
(Fukui, Hirakawa, Yamashita & Fujiyoshi 2019, "Attention Branch Network").

A network of four convolutions learns three data sets: digits, Fashion-MNIST, and drawn shapes, of which is known to
the pixel where they are. Its branch is more than the map: it has parameters, and a loss of its own on the features. So
there are four networks: plain; deeper, with the branch's convolution as one of its own, which has the parameters and
the computation of the branch; the branch's loss alone, without the map (auxiliary loss); and the Attention Branch
Network. The four networks of a seed see the examples in the same order.

Measured: the error on test examples; on shapes, of the positive part of a map the share on the object over the part of
the image that it covers (lift), for the attention map as it is and scaled to 0 and 1, for Grad-CAM of the plain
network, at its last layer and at one as fine as the attention map, for Grad-CAM of the Attention Branch Network, and
for the edges of the image. Unit of replication: the seed, with its four networks. Intervals are Student's t over seeds,
comparisons paired by seed; p-values are Holm's over all comparisons of errors.

The map raises the accuracy on a data set if the network's error is below that of all three others, each with p < 0.05.
It explains better if its lift, as it is, lies above that of Grad-CAM of the plain network, with its interval. Supported
if it raises the accuracy on all data sets and explains better; refuted if it does so on none, and explains no better;
else only if.

Expected: no difference of errors beyond half a percentage point; the map of a sigmoid is nowhere near zero, so that its
lift is below 1.5, and below Grad-CAM's. Accuracy of the plain network: digits at least 98 %, shapes 98 %, Fashion-MNIST
86 %: it is small and learns from a third of the examples, so that there are errors to be avoided.

Runtime: less than half an hour on two cores.

Needs: pip install "xaijax[data,evaluate,plot,train]", and for Fashion-MNIST Debian's dataset-fashion-mnist
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pandas as pd

import xaijax
from experiments import _attention, _figures, _networks, _tables
from experiments._experiment import Conclusion
from experiments._train import Examples, Trained, Training, cross_entropy, train
from experiments.claims import randomisation
from xaijax import metrics
from xaijax.metrics._controls import edges

PLAIN, DEEPER, AUXILIARY, ABN = "plain", "deeper", "auxiliary loss", "attention branch"
OTHERS = (PLAIN, DEEPER, AUXILIARY)
MAP, SCALED = "attention map", "attention map, scaled"
GRAD_CAM, FINE, OF_ABN = "Grad-CAM, plain", "Grad-CAM, plain, fine", "Grad-CAM, attention branch"
EDGES = "edges"
MAPS = (MAP, SCALED, OF_ABN, GRAD_CAM, FINE, EDGES)
#: Of the plain network, the features that the branch sees.
SEEN = "stages/0/units/2/relu"
TITLES = {"digits": "digits", "fashion_mnist": "Fashion-MNIST", "shapes": "shapes"}


#: A network is so small that its training keeps one core busy.
THREADS = 2


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      datasets: "digits", "fashion_mnist", "shapes".
      seeds: networks of each kind and data set.
      epochs: of training, for each data set.
      num_train: examples that a network learns from, at most, for each data set.
      width: channels of the first convolution.
      num_images: shapes that are explained.
    """

    datasets: tuple[str, ...] = ("digits", "fashion_mnist", "shapes")
    seeds: int = 10
    epochs: tuple[int, ...] = (25, 5, 7)
    num_train: tuple[int, ...] = (2000, 20000, 8000)
    width: int = 8
    num_images: int = 200


SMOKE = Config(datasets=("shapes",), seeds=2, epochs=(1,), num_train=(200,), num_images=4)


def units(config: Config) -> list[str]:
    """One seed and data set each."""
    return [f"{name}, seed {seed}" for name in config.datasets for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The errors of the four networks, and on shapes the lifts of their maps."""
    dataset, _, number = unit.partition(", seed ")
    found = networks(config, dataset, int(number))
    kept = {"dataset": dataset, "seed": int(number)}
    rows = [
        {
            **kept,
            "what": name,
            "metric": "error",
            "value": round(1 - trained.accuracy, 6),
            "parameters": _attention.size(trained.model),
        }
        for name, trained in found.items()
    ]
    if dataset != "shapes":
        return rows
    drawn = _networks.shapes_test(config.num_images)
    models = {name: found[name].model for name in (PLAIN, ABN)}
    lifts = _lifts(models, drawn.images, drawn.labels, drawn.masks)
    return rows + [
        {
            **kept,
            "what": name,
            "metric": "lift",
            "value": round(float(np.nanmean(np.asarray(lifts[name], np.float64))), 6),
            "parameters": None,
        }
        for name in MAPS
    ]


def networks(config: Config, dataset: str, seed: int) -> dict[str, Trained]:
    """The four networks of a seed."""
    place = config.datasets.index(dataset)
    known = examples(dataset, config.num_train[place])
    classes, width = int(known.train[1].max()) + 1, config.width
    training = Training(epochs=config.epochs[place], batch_size=64)
    makes = {
        PLAIN: (_attention.plain(classes, width=width), cross_entropy),
        DEEPER: (_attention.plain(classes, width=width, deeper=True), cross_entropy),
        AUXILIARY: (
            _attention.branched(classes, width=width, attend=False),
            _attention.branch_loss,
        ),
        ABN: (_attention.branched(classes, width=width), _attention.branch_loss),
    }
    return {
        name: train(make, known, training, seed, loss=loss, name=f"attention_branch, {name}")
        for name, (make, loss) in makes.items()
    }


@functools.cache
def examples(dataset: str, num_train: int) -> Examples:
    """The data in 32 x 32 pixels, no more than so many to learn from."""
    if dataset == "shapes":
        return _networks.shapes_examples(num_train)
    known = randomisation.examples(dataset)
    x, y = known.train
    fingerprint = f"{known.fingerprint}, the first {num_train}"
    return Examples((x[:num_train], y[:num_train]), known.test, fingerprint)


@jax.jit
def _lifts(
    models: dict[str, Any], xs: jax.Array, labels: jax.Array, masks: jax.Array
) -> dict[str, jax.Array]:
    """The lift of each map on each image, for its true class."""
    plain, abn = models[PLAIN], models[ABN]

    def one(x: jax.Array, label: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        M = xaijax.attention_map(abn, x, label)
        maps = {
            MAP: M,
            SCALED: xaijax.normalize(M),
            GRAD_CAM: xaijax.grad_cam(plain, x, label),
            FINE: xaijax.grad_cam(plain, x, label, layer=SEEN),
            OF_ABN: xaijax.grad_cam(abn, x, label),
            EDGES: edges(plain, x, label),
        }
        size = (x.shape[0], x.shape[1])
        lift = metrics.energy_pointing_game.details
        return {name: lift(xaijax.resize(a, size), mask).lift for name, a in maps.items()}

    return jax.vmap(one)(xs, labels, masks)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """On which data sets the map makes a difference, and whether it lies on the object."""
    compared = differences(table)
    raised = [
        name for name, part in compared.groupby("dataset", sort=False) if bool(part.lower.all())
    ]
    explains = _lift_difference(table)
    better = bool(explains is not None and explains.low > 0)
    everywhere = len(raised) == len(config.datasets)
    parts = [f"the data are {' or '.join(TITLES[n] for n in raised)}"] if raised else []
    parts += ["what is asked for is the place of the object"] if better and not everywhere else []
    parts += ["what is asked for is the accuracy"] if everywhere and not better else []
    holds, fails = everywhere and better, not raised and not better
    first = compared[compared.against == PLAIN]
    effect = "Error of the attention branch network less that of the plain one, in points: " + (
        "; ".join(f"{TITLES[r.dataset]} {_cell(r.interval, 2)}" for r in first.itertuples())
        + f" (n={config.seeds} seeds)."
    )
    return Conclusion(
        verdict="supported" if holds else "refuted" if fails else "only if",
        only_if="" if holds or fails else ", or ".join(parts),
        effect=effect,
        text=_text(table, compared, raised, explains),
        tables={
            "test error": _errors(table, config),
            "paired differences": _readable(compared),
            **({"lift on the object": _lift_table(table)} if _has_lifts(table) else {}),
        },
        figures={"errors and lifts": draw(table, config)},
        sources=(xaijax.attention_map, xaijax.grad_cam, metrics.energy_pointing_game),
    )


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """The error of the attention branch network less that of each other one, in percentage points."""
    from scipy import stats

    rows = []
    for dataset in dict.fromkeys(table.dataset):
        errors = 100 * _wide(table, "error", dataset)
        for name in OTHERS:
            d = (errors[ABN] - errors[name]).to_numpy()
            varies = len(d) > 1 and np.ptp(d) > 1e-9
            p = stats.ttest_1samp(d, 0).pvalue if varies else float(not d.any())
            interval = metrics.mean_interval(d)
            rows.append({"dataset": dataset, "against": name, "interval": interval, "p": p})
    found = pd.DataFrame(rows)
    found["p"] = metrics.holm(found.p.to_numpy())
    mean = np.array([interval.mean for interval in found.interval])
    return found.assign(lower=(found.p < 0.05) & (mean < 0), higher=(found.p < 0.05) & (mean > 0))


def _text(
    table: pd.DataFrame,
    compared: pd.DataFrame,
    raised: list[Any],
    explains: metrics.Interval | None,
) -> str:
    worse = [f"{TITLES[r.dataset]} ({r.against})" for r in compared[compared.higher].itertuples()]
    lower = [f"{TITLES[r.dataset]} ({r.against})" for r in compared[compared.lower].itertuples()]
    text = (
        f"The map raises the accuracy above all three other networks on: "
        f"{', '.join(TITLES[n] for n in raised) or 'none'}. The attention branch network's error is significantly "
        f"below another's on: {', '.join(lower) or 'none'}; above another's on: {', '.join(worse) or 'none'}."
    )
    if explains is None:
        return text
    lifts = _wide(table, "lift", "shapes")
    cells = [f"{name} {_cell(metrics.mean_interval(lifts[name].to_numpy()), 2)}" for name in lifts]
    return (
        f"{text} The lift on the object is: {', '.join(cells)}. The attention map's less that of Grad-CAM of "
        f"the plain network is {_cell(explains, 2)}."
    )


def draw(table: pd.DataFrame, config: Config) -> Any:
    """The errors on each data set, and the lifts."""
    from matplotlib import pyplot as plt

    panels: dict[str, pd.DataFrame] = {
        f"test error on {TITLES[name]} (%)": 100 * _wide(table, "error", name)
        for name in config.datasets
    }
    if _has_lifts(table):
        panels["lift over an even map"] = _wide(table, "lift", "shapes")
    figure, axes = plt.subplots(
        2, 2, figsize=(11, 5.2), squeeze=False, layout="constrained", width_ratios=(1, 1)
    )
    for axis, (label, numbers) in zip(axes.flat, panels.items(), strict=False):
        names = list(numbers)
        grey = [name not in (ABN, MAP, SCALED) for name in names]
        _figures.draw_rows(axis, {"": [numbers[name].dropna() for name in names]}, grey)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel(label)
        if label.startswith("lift"):
            axis.axvline(1, color="0.3", lw=1, ls="--", zorder=0)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    axes[0, 0].set_title("mean, its 95 % interval, and the seeds", loc="left", fontsize=9)
    return figure


def _wide(table: pd.DataFrame, metric: str, dataset: str) -> pd.DataFrame:
    """The numbers of a data set, seeds by networks or maps."""
    part = table[(table.metric == metric) & (table.dataset == dataset)]
    order = list(dict.fromkeys(part.what))
    return part.pivot(index="seed", columns="what", values="value")[order]


def _has_lifts(table: pd.DataFrame) -> bool:
    return bool((table.metric == "lift").any())


def _lift_difference(table: pd.DataFrame) -> metrics.Interval | None:
    if not _has_lifts(table):
        return None
    lifts = _wide(table, "lift", "shapes")
    return metrics.mean_interval((lifts[MAP] - lifts[GRAD_CAM]).to_numpy())


def _errors(table: pd.DataFrame, config: Config) -> pd.DataFrame:
    """In percent, with the number of parameters on the first data set."""
    shown: dict[str, Any] = {"network": [PLAIN, DEEPER, AUXILIARY, ABN]}
    for dataset in config.datasets:
        errors = 100 * _wide(table, "error", dataset)
        cells = [_cell(metrics.mean_interval(errors[n].to_numpy()), 2) for n in (*OTHERS, ABN)]
        shown[f"{TITLES[dataset]}, %"] = cells
        part = table[(table.metric == "error") & (table.dataset == dataset)]
        sizes = part.drop_duplicates("what").set_index("what").parameters
        shown[f"parameters, {TITLES[dataset]}"] = [int(sizes[n]) for n in (*OTHERS, ABN)]
    return pd.DataFrame(shown)


def _readable(compared: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "data": TITLES[r.dataset],
                "against": r.against,
                "difference of errors, points": _cell(r.interval, 2),
                "p (Holm)": r.p,
            }
            for r in compared.itertuples()
        ]
    )


def _lift_table(table: pd.DataFrame) -> pd.DataFrame:
    lifts = _wide(table, "lift", "shapes")
    return pd.DataFrame(
        [
            {"map": name, "lift": _cell(metrics.mean_interval(lifts[name].to_numpy()), 2)}
            for name in lifts
        ]
    )


def _cell(interval: metrics.Interval, digits: int) -> str:
    return _tables.interval(*interval[:3], digits=digits)
