"""Does LayerCAM work at shallow layers, where Grad-CAM does not?

Claim: Grad-CAM is coarse, and depends on the last layer; LayerCAM is reliable at shallow layers, too, and so gives fine
maps (Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization").

Networks that tell shapes apart explain images of two shapes, asked for each of them, at four layers: after each of
three poolings (16 x 16, 8 x 8 and 4 x 4 positions) and after the last convolution (4 x 4). Maps are interpolated
linearly to the image. Beside them stand what no network is needed for, of the same coarseness: the image's edges and
the mask itself, averaged to the layer's positions. The mask tells what coarseness alone costs.

Measured: of the positive attribution the share on the object over the part of the image that it covers (lift); the
share on the object minus that on the other one (difference); the highest value on the object (pointing game); the
overlap with the object of what is above a half of the highest value (IoU); the slope of the lift over the layers. And
how many high frequencies a map has at the layer before a pooling (checkerboard), beside the map after it at the same
number of positions. Unit of replication: the network; its images are averaged. Intervals are Student's t over networks,
comparisons paired by network.

LayerCAM works at a layer before the last if its difference lies above 0, and its lift above Grad-CAM's there and above
that of the edges. Supported if so at all three; only if, at some; else refuted.

Expected: Grad-CAM's lift falls from the last layer to the first by at least 1, LayerCAM's rises; at the last layer the
methods are within 20 % of each other; before a pooling at least twice the high frequencies of after it. Test accuracy
of the networks: at least 99 %. About three minutes on two cores.

Needs: pip install "xaijax[evaluate,plot,train]"
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import both_ways, recognised_pairs, shapes_network
from xaijax import metrics, plot
from xaijax.metrics._controls import edges

#: After a pooling or the last ReLU, by what a reader calls them.
LAYERS = {
    "pool 1": "norms/max_pool#1",
    "pool 2": "norms/max_pool#2",
    "pool 3": "norms/max_pool#3",
    "last": "norms/relu#4",
}
#: Right before the poolings.
BEFORE = {"pool 1": "norms/relu#1", "pool 2": "norms/relu#2", "pool 3": "norms/relu#3"}
METHODS = {
    "Grad-CAM": xaijax.grad_cam,
    "Grad-CAM++": xaijax.grad_cam_pp,
    "HiResCAM": xaijax.hires_cam,
    "LayerCAM": xaijax.layer_cam,
}
CONTROLS = ("edges", "the mask itself")
#: LayerCAM of several layers as one map; at which layer it stands makes no difference.
FUSIONS = ("LayerCAM, highest of all layers", "LayerCAM, mean of all layers")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      num_images: how many images of each are explained, twice.
      epochs: of training.
      num_train: how many images the networks learn from.
    """

    seeds: int = 5
    num_images: int = 100
    epochs: int = 6
    num_train: int = 8000


SMOKE = Config(seeds=2, num_images=4, epochs=1, num_train=600)


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The means over the images of one network, for each method and layer."""
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    pairs = recognised_pairs(trained.model, config.num_images)
    asked, other = both_ways(pairs)
    xs, targets = jnp.repeat(pairs.images, 2, 0), pairs.labels.reshape(-1)
    found: dict[tuple[str, str], dict[str, jax.Array]] = {}
    at: dict[str, jax.Array] = {}
    for name, method in METHODS.items():
        explain = xaijax.bind(method, trained.model, layer=(*LAYERS.values(), *BEFORE.values()))
        maps = _maps(explain, xs, targets)
        at, before = dict(zip(LAYERS, maps, strict=False)), maps[len(LAYERS) :]
        found |= {(name, layer): _numbers(a, asked, other) for layer, a in at.items()}
        for layer, a in zip(BEFORE, before, strict=True):
            found[name, layer] |= {"before": _roughness(a, a), "after": _roughness(at[layer], a)}
        if name == "LayerCAM":
            for title, a in zip(FUSIONS, _fused(maps[: len(LAYERS)], xs), strict=True):
                found[title, "all"] = _numbers(a, asked, other)
    of_edges = jax.vmap(functools.partial(edges, trained.model))(xs, targets)
    for layer, a in at.items():
        found["edges", layer] = _numbers(_averaged(of_edges, a), asked, other)
        found["the mask itself", layer] = _numbers(_averaged(1.0 * asked, a), asked, other)
    return [
        {
            "explainer": name,
            "layer": layer,
            "metric": metric,
            "value": round(float(np.nanmean(np.asarray(values, np.float64))), 6),
            "accuracy": trained.accuracy,
            "images": len(pairs.images),
        }
        for (name, layer), by_metric in found.items()
        for metric, values in by_metric.items()
    ]


@jax.jit
def _maps(explain: Any, xs: jax.Array, targets: jax.Array) -> tuple[jax.Array, ...]:
    """The maps at all layers, each with the layer's positions."""
    return jax.vmap(explain)(xs, targets)


@jax.jit
def _numbers(maps: jax.Array, asked: jax.Array, other: jax.Array) -> dict[str, jax.Array]:
    """What is read off maps of any size."""

    def one(a: jax.Array, asked: jax.Array, other: jax.Array) -> dict[str, jax.Array]:
        a = xaijax.resize(a, (asked.shape[0], asked.shape[1]))
        here = metrics.energy_pointing_game.details(a, asked)
        return {
            "lift": here.lift,
            "difference": here.part - metrics.energy_pointing_game(a, other),
            "pointing game": metrics.pointing_game(a, asked),
            "IoU": metrics.iou(a, asked, threshold=0.5),
        }

    return jax.vmap(one)(maps, asked, other)


@jax.jit
def _roughness(maps: jax.Array, like: jax.Array) -> jax.Array:
    """The share of high frequencies in maps, at the number of positions that others have."""
    _, h, w = like.shape
    one = lambda a: metrics.high_frequency_share(xaijax.resize(a, (h, w)))  # noqa: E731
    return jax.vmap(one)(maps)


@jax.jit
def _fused(maps: tuple[jax.Array, ...], xs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """LayerCAM of several layers as one map: as in the paper, and the mean of the maps scaled to 1."""

    def one(maps: tuple[jax.Array, ...], x: jax.Array) -> tuple[jax.Array, jax.Array]:
        size = (x.shape[0], x.shape[1])
        scaled = [xaijax.resize(a / jnp.maximum(a.max(), 1e-30), size) for a in maps]
        return xaijax.fuse(maps, size), jnp.stack(scaled).mean(0)

    return jax.vmap(one)(maps, xs)


def _averaged(maps: jax.Array, like: jax.Array) -> jax.Array:
    """Maps of the image's size, averaged to the number of positions that others have."""
    (n, height, width), (h, w) = maps.shape, like.shape[1:]
    return maps.reshape(n, h, height // h, w, width // w).mean((2, 4))


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """At which layers LayerCAM works, and what becomes of the others."""
    networks = len(table.unit.unique())
    shallow = list(LAYERS)[:-1]
    works = [layer for layer in shallow if _works(table, layer)]
    slopes = {name: metrics.mean_interval(_slopes(table, name)) for name in METHODS}
    apart = metrics.mean_interval(_slopes(table, "LayerCAM") - _slopes(table, "Grad-CAM"))
    first = {name: _mean(table, "lift", name, "pool 1") for name in (*METHODS, *CONTROLS)}
    last = {name: _mean(table, "lift", name, "last") for name in (*METHODS, *CONTROLS)}
    effect = (
        f"From the last layer to the first pooling LayerCAM's lift goes from {_cell(last['LayerCAM'])} to "
        f"{_cell(first['LayerCAM'])}, Grad-CAM's from {_cell(last['Grad-CAM'])} to {_cell(first['Grad-CAM'])}; "
        f"the slopes over the layers differ by {_cell(apart)} a layer (n={networks} networks, "
        f"{int(table.images.min())} images each)."
    )
    rough = [f"{layer}: {_ratio(table, layer):.1f}" for layer in BEFORE]
    fused = [
        f"{n.removeprefix('LayerCAM, ')} {_cell(_mean(table, 'lift', n, 'all'))}" for n in FUSIONS
    ]
    leading = [f"{layer}: {_leading(table, layer)}" for layer in LAYERS]
    text = (
        f"LayerCAM works at: {', '.join(works) or 'none'} of {', '.join(shallow)}. Slopes of the lift, for each layer "
        f"deeper: {', '.join(f'{n} {_cell(s)}' for n, s in slopes.items())}. Largest difference: "
        f"{', '.join(leading)}. The mask itself, as coarse as the last layer, reaches "
        f"{_cell(last['the mask itself'])}, at the first pooling {_cell(first['the mask itself'])}; the edges there "
        f"{_cell(first['edges'])}. LayerCAM of all layers as one map: {', '.join(fused)}. High frequencies of LayerCAM "
        f"before a pooling, as a multiple of those after it: {', '.join(rough)}. {_seeds.tested(table)}"
    )
    everywhere = works == shallow
    return Conclusion(
        verdict="supported" if everywhere else "only if" if works else "refuted",
        only_if="" if everywhere or not works else f"the layer is {' or '.join(works)}",
        effect=effect,
        text=text,
        tables={
            **{
                metric: _by_layer(table, metric)
                for metric in ("lift", "difference", "pointing game", "IoU")
            },
            "high frequencies": _frequencies(table),
            "test accuracy": _seeds.accuracies(table),
        },
        figures={"lift and difference by layer": draw(table)},
        sources=(*METHODS.values(), xaijax.fuse, *_metrics()),
    )


def draw(table: pd.DataFrame) -> Any:
    """The lift and the difference over the layers, one line for each method."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    labels = {"lift": "lift over an even map", "difference": "share on the object - on the other"}
    sizes = dict(zip(LAYERS, ("16 x 16", "8 x 8", "4 x 4", "4 x 4"), strict=True))
    for axis, (metric, label) in zip(axes, labels.items(), strict=True):
        plot.curves(
            {name: _curve(table, metric, name) for name in (*METHODS, *CONTROLS)},
            x=[f"{layer}, {size}" for layer, size in sizes.items()],
            controls=CONTROLS,
            unit="networks",
            x_label="layer and its positions",
            y_label=label,
            ax=axis,
        )
    return figure


def _works(table: pd.DataFrame, layer: str) -> bool:
    at = table[table.layer == layer]
    lifts = [_seeds.difference(at, "lift", "LayerCAM", to) for to in ("Grad-CAM", "edges")]
    return _mean(table, "difference", "LayerCAM", layer).low > 0 and all(d.low > 0 for d in lifts)


def _leading(table: pd.DataFrame, layer: str) -> str:
    """Whose difference is the largest at a layer."""
    return max(METHODS, key=lambda name: _mean(table, "difference", name, layer).mean)


def _curve(table: pd.DataFrame, metric: str, explainer: str) -> np.ndarray:
    """Networks by layers."""
    part = table[(table.metric == metric) & (table.explainer == explainer)]
    return part.pivot(index="unit", columns="layer", values="value")[list(LAYERS)].to_numpy(float)


def _slopes(table: pd.DataFrame, explainer: str) -> np.ndarray:
    """By how much the lift of each network rises a layer, by least squares."""
    return np.polyfit(np.arange(len(LAYERS)), _curve(table, "lift", explainer).T, 1)[0]


def _mean(table: pd.DataFrame, metric: str, explainer: str, layer: str) -> metrics.Interval:
    part = table[(table.metric == metric) & (table.explainer == explainer)]
    return metrics.mean_interval(part[part.layer == layer].value.to_numpy(float))


def _ratio(table: pd.DataFrame, layer: str) -> float:
    before, after = (_mean(table, which, "LayerCAM", layer).mean for which in ("before", "after"))
    return before / after


def _by_layer(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Explainers by layers; * at the best of a layer and what is not significantly worse."""
    part = table[(table.metric == metric) & (table.layer != "all")]
    part = part.assign(metric=part.layer, better="higher", control=part.explainer.isin(CONTROLS))
    return _seeds.readable(_seeds.summary(part), 2)


def _frequencies(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "explainer": name,
                "pooling": layer,
                **{f"{w} it": _cell(_mean(table, w, name, layer)) for w in ("before", "after")},
            }
            for name in METHODS
            for layer in BEFORE
        ]
    )


def _cell(interval: metrics.Interval) -> str:
    return _tables.interval(*interval[:3], digits=2)


def _metrics() -> tuple[Any, ...]:
    names = "energy_pointing_game pointing_game iou high_frequency_share"
    return tuple(getattr(metrics, name) for name in names.split())
