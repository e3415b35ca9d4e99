"""Does Grad-CAM work on any convolutional network as it is?

Claim: Grad-CAM needs no change of the network and no new training, and applies to a wide family of convolutional
networks (Selvaraju et al. 2017); CAM needs global average pooling before one dense layer (Zhou et al. 2016).

Networks of six kinds learn to tell `shapes` apart: plain convolutions as in VGG, residual, depthwise separable and
dilated ones, with global average pooling or dense layers at the end. Each is explained by the same call,
`grad_cam(f, x, target)`, without naming a layer, on images that none was trained on. CAM gets the same call.

Measured: whether the call gives a map; the share of images whose map is finite and not the same everywhere; and the
lift, the share of the map's energy on the object (energy pointing game) over the share of the image that the object
covers: 1 for a map that knows nothing. Beside it the controls random, edges and input magnitude. Unit of replication:
the network; images are averaged. Intervals are Student's t over networks of several seeds.

The claim holds for a kind of network if the call gives a map, at least 95 % of the maps say something, and the lift
lies above that of the random map with an interval of the paired difference above 0, at a level that holds for all kinds
together (Bonferroni). That a map must also beat the edges of the image is no part of the claim, but said.

Expected: a map for all six, flat for less than 2 % of images; a lift above 2 for all, highest where the last map is
largest (dilated, 8 x 8). CAM gives a map for the networks with global average pooling and an error for the others. Test
accuracy at least 99 %.

Needs: pip install "xaijax[evaluate,plot,train]"
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _figures, _tables
from experiments._architectures import ARCHITECTURES, trained
from experiments._experiment import Conclusion
from experiments._networks import shapes_test
from xaijax import metrics

ENOUGH = 0.95  # of the maps must say something
#: A network is so small that its training keeps one core busy.
THREADS = 2


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      kinds: names of `ARCHITECTURES`.
      seeds: how many networks of each.
      epochs: of training, for each kind; depthwise convolutions take longest to learn.
      num_train: images that they learn from.
      num_images: explained.
    """

    kinds: tuple[str, ...] = tuple(ARCHITECTURES)
    seeds: int = 3
    epochs: tuple[int, ...] = (12, 12, 12, 12, 16, 12)
    num_train: int = 8000
    num_images: int = 200


SMOKE = Config(kinds=("plain, dense",), seeds=2, epochs=(1,), num_train=400, num_images=8)


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"{kind}, seed {seed}" for kind in config.kinds for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The maps of one network, judged."""
    kind, _, seed = unit.partition(", seed ")
    epochs = config.epochs[config.kinds.index(kind)]
    network = trained(kind, int(seed), epochs=epochs, num_train=config.num_train)
    f, drawn = network.model, shapes_test(config.num_images)
    common = {"kind": kind, "seed": int(seed), "accuracy": network.accuracy}
    found = metrics.evaluate(
        {"Grad-CAM": xaijax.bind(xaijax.grad_cam, f)},
        [metrics.energy_pointing_game],
        f,
        drawn.images,
        drawn.labels,
        jax.random.key(int(seed)),
        masks=drawn.masks,
        batch_size=32,
    )
    area = np.asarray(drawn.masks, np.float64).mean((1, 2))
    rows = [
        common
        | {
            "explainer": name,
            "lift": round(float(np.nanmean(part.value.to_numpy() / area)), 6),
            "said": round(_says_something(found.maps[name]), 6) if name in found.maps else None,
        }
        for name, part in found.table.groupby("explainer", sort=False)
    ]
    layer = xaijax.cam_maps(xaijax.bind(xaijax.grad_cam, f), drawn.images[0], drawn.labels[0]).layer
    rows[0] |= {"layer": layer.name, "size": "x".join(map(str, layer.shape[:-1]))}
    return [*rows, common | {"explainer": "CAM", "answer": _answer(f, drawn)}]


def _says_something(maps: np.ndarray) -> float:
    """The share of maps that are finite and not the same everywhere."""
    flat = maps.reshape(len(maps), -1)
    return float((np.isfinite(flat).all(1) & (flat.max(1) > flat.min(1))).mean())


def _answer(f: Any, drawn: Any) -> str:
    """What CAM has to say of a network: a map, or why there is none."""
    try:
        a = xaijax.cam(f, drawn.images[0], drawn.labels[0])
    except ValueError as error:
        return str(error)
    return "a map" if bool(jnp.isfinite(a).all()) else "not finite"


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """For which kinds the claim holds."""
    level = 1 - 0.05 / len(config.kinds)
    judged = {kind: _judge(table[table.kind == kind], level) for kind in config.kinds}
    holds = [kind for kind, row in judged.items() if row["holds"]]
    edges = [kind for kind, row in judged.items() if row["beats edges"]]
    lifts = {kind: row["lift of Grad-CAM"] for kind, row in judged.items()}
    answers = table[table.explainer == "CAM"].groupby("kind", sort=False).answer.first()
    with_cam = [kind for kind in config.kinds if answers[kind] == "a map"]
    refused = [kind for kind in config.kinds if kind not in with_cam]
    least = min(row["said"] for row in judged.values())
    networks = table.drop_duplicates("unit")
    text = (
        f"The same call gives a map of every network, and at least {100 * least:.1f} % of the maps of a kind say "
        f"something. The lift is surely above that of the random map for {_list(holds)}, and above that of the image's "
        f"edges for {_list(edges)}. CAM gives a map for {_list(with_cam)}, and an error for {_list(refused)}. The "
        f"networks' test accuracy is {networks.accuracy.min():.3f} to {networks.accuracy.max():.3f}."
    )
    shown = [
        {k: v for k, v in row.items() if k not in ("holds", "said")} for row in judged.values()
    ]
    return Conclusion(
        verdict="supported" if len(holds) == len(judged) else "only if" if holds else "refuted",
        only_if="" if len(holds) in (0, len(judged)) else f"the network is {_list(holds)}",
        effect="Energy on the object over its area: "
        + "; ".join(f"{kind} {lift}" for kind, lift in lifts.items())
        + f" (n={config.seeds} networks of each kind, {config.num_images} images each).",
        text=text,
        tables={
            "kinds": pd.DataFrame(shown),
            "CAM": answers.rename("answer").reset_index(),
            "networks": networks[["unit", "accuracy"]].reset_index(drop=True),
        },
        figures={"lift": _draw(config, table)},
        sources=(xaijax.grad_cam, xaijax.cam, metrics.energy_pointing_game),
    )


def _judge(part: pd.DataFrame, level: float) -> dict[str, Any]:
    """What is known of a kind of network."""
    wide = part.dropna(subset=["lift"]).pivot(index="seed", columns="explainer", values="lift")
    own = part[part.explainer == "Grad-CAM"]
    over = {
        name: metrics.mean_interval((wide["Grad-CAM"] - wide[name]).to_numpy(), level=level)
        for name in ("random", "edges")
    }
    said = float(own.said.min())
    lifts = {
        f"lift of {name}": _tables.interval(*metrics.mean_interval(wide[name])[:3], digits=2)
        for name in ("Grad-CAM", "random", "edges", "input magnitude")
    }
    return {
        "network": own.kind.iloc[0],
        "layer": own.layer.iloc[0],
        "size": own["size"].iloc[0],
        **lifts,
        "maps that say something": f"{100 * said:.1f} %",
        "said": said,
        "above random": _tables.interval(*over["random"][:3], digits=2),
        "above edges": _tables.interval(*over["edges"][:3], digits=2),
        "accuracy": round(float(own.accuracy.mean()), 4),
        "beats edges": bool(over["edges"].low > 0),
        "holds": bool(said >= ENOUGH and over["random"].low > 0),
    }


def _list(names: list[str]) -> str:
    return "; ".join(names) or "none"


def _draw(config: Config, table: pd.DataFrame) -> Any:
    """The lift of Grad-CAM and of the image's edges for each kind."""
    series = {
        name: {
            kind: table[(table.kind == kind) & (table.explainer == name)].lift.to_numpy()
            for kind in config.kinds
        }
        for name in ("Grad-CAM", "edges")
    }
    label = "energy on the object over its area"
    return _figures.dots({label: series}, lines={label: 1.0}, width=5.5)
