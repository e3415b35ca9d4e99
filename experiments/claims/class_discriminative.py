"""Does Grad-CAM show the object of the class that it is asked for, and not the other one?

Claim: Grad-CAM shows where a convolutional network looks, and is class-discriminative (Selvaraju et al. 2017, sections
1 and 4.1; repeated in popular write-ups).

Networks learn to tell four shapes apart, one to an image, then explain images of two shapes of different classes, of
which each network's two highest scores are the right ones. Each image is explained twice, once for each class; the
masks of both objects are known. `grid_pointing` asks the same of networks with ImageNet weights.

Measured: of the positive attribution the share on the object that was asked for, the share on the other one, and their
difference; the first share over the part of the image that the object covers (lift); whether the highest value lies on
the object (pointing game); and in how many images the swap of the class moves attribution to the object that is then
asked for, for both of them. Whether maps change with the weights is asked by `randomisation`. Unit of replication: the
network; its images are averaged. Intervals are Student's t over networks, comparisons paired by network.

Supported if of Grad-CAM the lift lies above 1, the difference above 0 and above that of each control that is blind to
the class (intervals together 95 %, Bonferroni), and the swap succeeds in more than half of the images; only if, where
all but the last holds; else refuted.

Expected: controls within 0.03 of a difference of 0, and Eigen-CAM near them; Grad-CAM at least 0.1 above, although
its map has 4 x 4 positions of the size of an object; guided backpropagation below 0.1, for it hardly asks for the
class. Test accuracy of the networks: at least 99 %. About four minutes on two cores.

Needs: pip install "xaijax[evaluate,train]"
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _figures, _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import both_ways, recognised_pairs, shapes_network
from xaijax import metrics
from xaijax.propagation import epsilon_plus

CONTROLS = ("random", "input magnitude", "edges", "centre")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      num_images: how many images of each are explained, twice.
      epochs: of training.
      num_train: how many images the networks learn from.
      methods: which explainers beside Grad-CAM; all by default.
    """

    seeds: int = 5
    num_images: int = 100
    epochs: int = 6
    num_train: int = 8000
    methods: tuple[str, ...] = ()


SMOKE = Config(seeds=2, num_images=8, epochs=1, num_train=600, methods=("gradient",))


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the network."""
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "Grad-CAM++": xaijax.bind(xaijax.grad_cam_pp, f),
        "LayerCAM": xaijax.bind(xaijax.layer_cam, f),
        "Score-CAM": xaijax.bind(xaijax.score_cam, f),
        "Eigen-CAM": xaijax.bind(xaijax.eigen_cam, f),
        "Guided Grad-CAM": xaijax.bind(xaijax.guided_grad_cam, f),
        "guided backprop": xaijax.bind(xaijax.guided_backprop, f),
        "gradient": xaijax.bind(xaijax.saliency, f),
        "input x gradient": xaijax.bind(xaijax.input_x_gradient, f),
        "integrated gradients": xaijax.bind(xaijax.integrated_gradients, f, num_steps=16),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "occlusion": xaijax.bind(xaijax.occlusion, f, window=(6, 6), stride=(3, 3)),
    }
    chosen = ("Grad-CAM", *config.methods) if config.methods else tuple(found)
    return {name: found[name] for name in chosen}


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The means over the images of one network."""
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    pairs = recognised_pairs(trained.model, config.num_images)
    asked, other = both_ways(pairs)
    found = metrics.evaluate(
        explainers(trained.model, config),
        {"pointing game": metrics.pointing_game},
        trained.model,
        jnp.repeat(pairs.images, 2, 0),
        pairs.labels.reshape(-1),
        jax.random.key(seed),
        masks=asked,
        batch_size=20,
    )
    numbers = {name: _shares(jnp.asarray(a), asked, other) for name, a in found.maps.items()}
    controls = (*CONTROLS, "oracle")
    table = pd.DataFrame(
        [
            {"explainer": name, "control": name in controls, "metric": metric, "value": value}
            for name, by_metric in numbers.items()
            for metric, values in by_metric.items()
            for value in np.asarray(values)
        ]
    )
    # Of the other object neither more nor less is better: a map that is empty has nothing there.
    table["better"] = table.metric.map(lambda m: None if "other" in m else "higher")
    known = pd.concat([table, found.table])
    return _seeds.means(known, accuracy=trained.accuracy, images=len(pairs.images))


@jax.jit
def _shares(maps: jax.Array, asked: jax.Array, other: jax.Array) -> dict[str, Any]:
    """What is read off the maps: of each, and for the swap of each pair of them."""
    here = jax.vmap(metrics.energy_pointing_game.details)(maps, asked)
    there = jax.vmap(metrics.energy_pointing_game)(maps, other)
    # What an object has when the other one is asked for.
    swapped = there.reshape(-1, 2)[:, ::-1].reshape(-1)
    moved = (here.part > swapped).reshape(-1, 2).all(1)
    known = jnp.isfinite(here.part - swapped).reshape(-1, 2).all(1)
    return {
        "share on the object": here.part,
        "share on the other object": there,
        "difference": here.part - there,
        "lift": here.lift,
        "swap": jnp.where(known, moved, jnp.nan),
    }


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whether Grad-CAM follows the class, and beside it the others."""
    found = _seeds.summary(table)
    at = found.set_index(["metric", "explainer"])
    level = 1 - 0.05 / len(CONTROLS)
    above = [_seeds.difference(table, "difference", "Grad-CAM", c, level=level) for c in CONTROLS]
    grad_cam = {m: at.loc[(m, "Grad-CAM")] for m in ("difference", "lift", "swap")}
    shows = grad_cam["lift"].low > 1 and grad_cam["difference"].low > 0
    shows = shows and all(interval.low > 0 for interval in above)
    swaps = grad_cam["swap"].low > 0.5
    share, there = (at.loc[(f"share on the {o}", "Grad-CAM")] for o in ("object", "other object"))
    effect = (
        f"Grad-CAM puts {_cell(share)} of its attribution on the object that it is asked for and {_cell(there)} on the "
        f"other one: {_cell(grad_cam['lift'], 1)} times what the object's area gets from an even map "
        f"(n={config.seeds} networks, {int(table.images.min())} images each)."
    )
    difference = found[found.metric == "difference"]
    follow = difference[~difference.control & (difference.low > 0)].explainer
    blind = difference[~difference.control & ~(difference.low > 0)].explainer
    best = difference[difference.best].explainer
    text = (
        f"The swap of the class moves Grad-CAM's attribution to the right object, both ways, in a share of "
        f"{_cell(grad_cam['swap'])} of the images; its highest value lies on the object in "
        f"{_cell(at.loc[('pointing game', 'Grad-CAM')])}. The difference lies above 0 for: "
        f"{', '.join(follow) or 'none'}; not for: {', '.join(blind) or 'none'}. Largest, or not "
        f"significantly smaller: {', '.join(best)}. {_seeds.tested(table)}"
    )
    return Conclusion(
        verdict="refuted" if not shows else "supported" if swaps else "only if",
        only_if="many images are averaged; in single ones it often does not"
        if shows and not swaps
        else "",
        effect=effect,
        text=text,
        tables={"two objects": _seeds.readable(found), "test accuracy": _seeds.accuracies(table)},
        figures={"shares on both objects": draw(table, difference)},
        sources=(*_sources(), metrics.energy_pointing_game, metrics.pointing_game),
    )


def draw(table: pd.DataFrame, difference: pd.DataFrame) -> Any:
    """The shares on both objects, the most discriminative method on top."""
    order = difference.sort_values(["control", "mean"], ascending=[True, False]).explainer
    order = [name for name in order if name != "oracle"]
    shares = {
        title: {name: _seeds.wide(table, f"share on the {which}")[name] for name in order}
        for title, which in (("object asked for", "object"), ("other object", "other object"))
    }
    swap = _seeds.wide(table, "swap")
    return _figures.dots(
        {
            "share of the positive attribution": shares,
            "share of images in which the swap moves it": {
                "": {name: swap[name] for name in order}
            },
        },
        controls=CONTROLS,
    )


def _cell(row: Any, digits: int = 2) -> str:
    return _tables.interval(row["mean"], row.low, row.high, digits)


def _sources() -> tuple[Any, ...]:
    cams = "grad_cam grad_cam_pp layer_cam score_cam eigen_cam guided_grad_cam guided_backprop"
    others = "saliency input_x_gradient integrated_gradients lrp occlusion"
    return tuple(getattr(xaijax, name) for name in f"{cams} {others}".split())
