"""Does FG-CAM raise the resolution of Grad-CAM and stay faithful?

Claim: the quality of FG-CAM's explanations is almost unaffected by their resolution; it beats class activation maps at
shallow and intermediate layers, and LRP at the input (Qiu, Jin & Zhang, AAAI 2024).

Networks that tell shapes apart explain images of one shape that they recognise. Grad-CAM's components at the last
layer, of 4 x 4 positions, are handed down to 8 x 8, 16 x 16 and the 32 x 32 pixels. Maps are interpolated linearly to
the image. Beside them: Grad-CAM taken at the same layers, LRP at the input by EpsilonPlus and by the rules that FG-CAM
hands down by (z+, and z^B at the first layer), and maps that know nothing of the network.

Measured: the probability of the class as pixels are replaced by the background's 0, the highest attribution first, as
the area under its curve (deletion), or shown on a blank image (insertion), in 32 steps; the average drop; the share of
the positive attribution on the object; the entropy of the map (complexity). Unit of replication: the network; its
images are averaged. Intervals are Student's t over networks, comparisons paired by network.

The loss of faithfulness is by how much a fine map is worse than Grad-CAM at the last layer, as a part of the distance
of that to the random map on the same network. Faithfulness is kept if the interval of the loss lies below a tenth; a
fine map may be better. Supported if it is kept at all resolutions, by deletion and insertion, and the share on the
object is larger than Grad-CAM's at each; only if, where that holds at some resolutions; else refuted.

Expected: kept, with better deletion, for the object is smaller than a position of the coarse map; the share on the
object more than twice that of the coarse map at the pixels; Grad-CAM at 16 x 16 loses more than a tenth; LRP by the
same rules within 0.05 of FG-CAM at the pixels. Test accuracy of the networks: at least 99 %. About four minutes on two
cores.

Needs: pip install "xaijax[evaluate,train]"
"""

import dataclasses
import functools
from typing import Any

import jax
import pandas as pd

import xaijax
from experiments import _figures, _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import recognised_shapes, shapes_network
from xaijax import metrics
from xaijax.propagation import epsilon_plus, plus_box

COARSE = "Grad-CAM, 4 x 4"
#: The layers that have these positions; None is the input.
FINER = {"8 x 8": "norms/max_pool#2", "16 x 16": "norms/max_pool#1", "32 x 32": None}
CONTROLS = ("random", "input magnitude", "edges", "centre")
#: What is lost, as a part of the distance to the random map, and is still called nothing.
MARGIN = 0.1


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      num_images: how many images of each are explained.
      num_steps: of deletion and insertion.
      epochs: of training.
      num_train: how many images the networks learn from.
      resolutions: which of the finer ones, by name; all by default.
    """

    seeds: int = 5
    num_images: int = 60
    num_steps: int = 32
    epochs: int = 6
    num_train: int = 8000
    resolutions: tuple[str, ...] = tuple(FINER)


SMOKE = Config(
    seeds=2, num_images=4, num_steps=4, epochs=1, num_train=600, resolutions=("16 x 16",)
)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the network."""
    # Images lie about between these: the smallest and largest value of each are FG-CAM's own box.
    box = plus_box(-0.4, 1.4)
    found = {COARSE: xaijax.bind(xaijax.grad_cam, f)}
    for size in config.resolutions:
        to = FINER[size]
        found[f"FG-CAM, {size}"] = xaijax.bind(xaijax.fg_cam, f, to=to)
        if to is not None:
            found[f"Grad-CAM, {size}"] = xaijax.bind(xaijax.grad_cam, f, layer=to)
        else:
            found["LRP EpsilonPlus"] = xaijax.bind(xaijax.lrp, f, composite=epsilon_plus())
            found["LRP z+"] = xaijax.bind(xaijax.lrp, f, composite=box)
    return found


def judged(num_steps: int) -> dict[str, Any]:
    """The metrics, by what the tables call them."""
    steps = {"num_steps": num_steps, "baseline": 0.0}
    return {
        "deletion": functools.partial(metrics.deletion_auc, **steps),
        "insertion": functools.partial(metrics.insertion_auc, **steps),
        "average drop": metrics.average_drop,
        "share on the object": metrics.relevance_mass,
        "complexity": metrics.complexity,
    }


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The means over the images of one network."""
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    known = recognised_shapes(trained.model, config.num_images)
    found = metrics.evaluate(
        explainers(trained.model, config),
        judged(config.num_steps),
        xaijax.probabilities(trained.model),
        known.images,
        known.labels,
        jax.random.key(seed),
        masks=known.masks,
        batch_size=20,
    )
    return _seeds.means(found.table, accuracy=trained.accuracy, images=len(known.images))


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """At which resolutions faithfulness is kept."""
    fine = {size: f"FG-CAM, {size}" for size in config.resolutions}
    lost = {
        (name, metric): metrics.mean_interval(loss(table, metric, name))
        for name in dict.fromkeys(table.explainer)
        for metric in ("deletion", "insertion")
    }
    share = {
        size: _seeds.difference(table, "share on the object", n, COARSE) for size, n in fine.items()
    }
    kept = [
        size
        for size, name in fine.items()
        if max(lost[name, m].high for m in ("deletion", "insertion")) < MARGIN
        and share[size].low > 0
    ]
    finest = config.resolutions[-1]
    effect = (
        f"At {finest} FG-CAM's loss of faithfulness, of the distance of Grad-CAM to a random map, is "
        f"{_cell(lost[fine[finest], 'deletion'])} by deletion and {_cell(lost[fine[finest], 'insertion'])} by "
        f"insertion (below 0: better); the share on the object grows by {_cell(share[finest])} (n={config.seeds} "
        f"networks, {int(table.images.min())} images each)."
    )
    others = [
        n
        for n in dict.fromkeys(table.explainer)
        if n.startswith(("Grad-CAM,", "LRP")) and n != COARSE
    ]
    worse = [n for n in others if any(lost[n, m].low > MARGIN for m in ("deletion", "insertion"))]
    drops = _seeds.wide(table, "average drop")
    drop = [_cell(metrics.mean_interval(drops[n].to_numpy())) for n in (COARSE, fine[finest])]
    text = (
        f"Kept at: {', '.join(kept) or 'none'}. Of the others at these resolutions, "
        f"{', '.join(worse) or 'none'} lose more than a tenth. {_against(table, finest)}The "
        f"average drop, which a wide map escapes, goes from {drop[0]} to {drop[1]}; of the size of the input, which "
        f"knows no network, the loss by deletion is {_cell(lost['input magnitude', 'deletion'])}. "
        f"{_seeds.tested(table)}"
    )
    everywhere = len(kept) == len(fine)
    return Conclusion(
        verdict="supported" if everywhere else "only if" if kept else "refuted",
        only_if="" if everywhere or not kept else f"the resolution is {' or '.join(kept)}",
        effect=effect,
        text=text,
        tables={
            "by resolution": _seeds.readable(_seeds.summary(table)),
            "loss of faithfulness": _losses(lost),
            "test accuracy": _seeds.accuracies(table),
        },
        figures={"faithfulness by resolution": draw(table)},
        sources=(
            *(
                xaijax.fg_cam,
                xaijax.grad_cam,
                xaijax.lrp,
                metrics.deletion_auc,
                metrics.insertion_auc,
            ),
            *(metrics.average_drop, metrics.relevance_mass, metrics.complexity),
        ),
    )


def loss(table: pd.DataFrame, metric: str, name: str) -> Any:
    """By how much a map is worse than the coarse one, as a part of the distance of that to a random map."""
    numbers = _seeds.wide(table, metric)
    scale = numbers["random"] - numbers[COARSE]
    return ((numbers[name] - numbers[COARSE]) / scale).to_numpy()


def draw(table: pd.DataFrame) -> Any:
    """The loss of faithfulness, with a line where it is too large, and the share on the object."""
    names = [n for n in dict.fromkeys(table.explainer) if n != "oracle"]
    share = _seeds.wide(table, "share on the object")
    losses = {
        f"loss by {metric}, of the distance to random": {n: loss(table, metric, n) for n in names}
        for metric in ("deletion", "insertion")
    }
    return _figures.dots(
        {**{k: {"": v} for k, v in losses.items()}, "share on the object": {"": share[names]}},
        controls=CONTROLS,
        lines=dict.fromkeys(losses, MARGIN),
        width=3.6,
    )


def _against(table: pd.DataFrame, finest: str) -> str:
    """FG-CAM at the pixels beside LRP there, in a sentence."""
    if FINER[finest] is not None:
        return ""
    rows = []
    for name in ("LRP EpsilonPlus", "LRP z+"):
        deletion, share = (
            _seeds.difference(table, metric, f"FG-CAM, {finest}", name)
            for metric in ("deletion", "share on the object")
        )
        rows.append(
            f"{name} {_cell(deletion, 3)} by deletion and {_cell(share)} of the share on the object"
        )
    return f"At the pixels FG-CAM differs from {'; from '.join(rows)}. "


def _losses(lost: Any) -> pd.DataFrame:
    names = list(dict.fromkeys(name for name, _ in lost))
    return pd.DataFrame(
        [
            {"explainer": n, **{m: _cell(lost[n, m]) for m in ("deletion", "insertion")}}
            for n in names
            if n != "random"
        ]
    )


def _cell(interval: Any, digits: int = 2) -> str:
    return _tables.interval(*interval[:3], digits=digits)
