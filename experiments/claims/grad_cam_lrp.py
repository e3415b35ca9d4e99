"""Is the product of Grad-CAM and LRP a cleaner explanation than either, or only a smaller one?

Claim: multiplying a denoised Grad-CAM with LRP, and blurring the product, gives explanations of lower complexity than
both, and better than at least one of them in faithfulness, robustness, localisation and randomisation (Dhore et al.
2024, "Enhancing Explainable AI: A Hybrid Approach Combining GradCAM and LRP for CNN Interpretability").

A product of two sparse maps is sparse whatever they mean. So the hybrid is compared, too, with LRP cut to as many
pixels and blurred as much, and with Grad-CAM times the size of the input, which knows the object's pixels for nothing.
Networks that tell shapes apart explain images of one shape that they recognise. LRP is EpsilonPlus. The paper names
neither threshold nor blur: Grad-CAM is cut at its mean, the blur is 1 pixel, and other settings of both are shown.

Measured: entropy (complexity) and Gini index (sparseness) of the map; the area under the probability of the class as
pixels are replaced by the background's 0 (deletion) or shown on it (insertion), in 32 steps; the share of the positive
attribution on the object; how far the explanation changes at most when the pixels change by up to 0.05 (Max-
Sensitivity); how much of its ranks is left as the layers are randomised from the outputs down (MPRT).
Unit of replication: the network; its images are averaged. Intervals are Student's t over networks, comparisons paired
by network.

Cleaner than both: complexity lower, and deletion and share on the object not significantly worse, than Grad-CAM's and
LRP's. More than smaller: deletion or the share significantly better than that of LRP cut to as many pixels, and neither
worse. Supported if both hold; only if, where only the first does, or both or the first hold of the hybrid without its
blur; else refuted. That the hybrid without blur is judged, too, was chosen when three networks had been measured.

Expected: complexity lower than both by at least 0.1 nats; deletion within 0.02 of LRP's; no difference to LRP cut to as
many pixels beyond 0.02 in deletion and 0.05 in the share; Max-Sensitivity between those of the two. Test accuracy of
the networks: at least 99 %. About five minutes on two cores.

Needs: pip install "xaijax[evaluate,train]"
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import pandas as pd
from jaxtyping import Array

import xaijax
from experiments import _figures, _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import recognised_shapes, shapes_network
from xaijax import metrics
from xaijax.propagation import epsilon_plus

HYBRID, BARE = "hybrid", "hybrid without blur"
#: What each hybrid has to beat to be more than smaller: LRP of as many pixels and as much blur.
ALIKE = {HYBRID: "LRP cut alike", BARE: "LRP cut alike without blur"}
DECISIVE = ("deletion", "share on the object")
PARENTS = ("Grad-CAM", "LRP")
CONTROLS = ("random", "input magnitude", "edges", "centre")
SIGMA = 1.0
_EPSILON_PLUS = epsilon_plus()
_as_explainer = xaijax.explainer(
    scope="local", access="white box", stage="post-hoc", models="CNN", not_negative=("sigma",)
)


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      num_images: how many images of each are explained.
      num_steps: of deletion and insertion.
      num_samples: of Max-Sensitivity.
      epochs: of training.
      num_train: how many images the networks learn from.
      metrics: which metrics beside those that decide.
      methods: which other thresholds and blurs of the hybrid.
    """

    seeds: int = 5
    num_images: int = 40
    num_steps: int = 32
    num_samples: int = 16
    epochs: int = 6
    num_train: int = 8000
    metrics: tuple[str, ...] = ("sparseness", "insertion", "Max-Sensitivity", "MPRT")
    methods: tuple[str, ...] = (
        "hybrid blurred by 2",
        "hybrid cut at 0",
        "hybrid cut at 0.75",
    )


SMOKE = Config(
    seeds=2,
    num_images=4,
    num_steps=4,
    epochs=1,
    num_train=600,
    metrics=(),
    methods=(),
)


@_as_explainer
def lrp_cut_alike(f: Any, x: Array, target: Any, *, sigma: float = SIGMA) -> Array:
    """LRP's highest positive pixels, as many as the hybrid has before its blur, and blurred as that is."""
    hybrid = xaijax.grad_cam_lrp(f, x, target, sigma=0.0)
    R = jax.nn.relu(xaijax.lrp(f, x, target, composite=_EPSILON_PLUS).sum(-1))
    place = jnp.argsort(jnp.argsort(-R.reshape(-1))).reshape(R.shape)
    return xaijax.blur(jnp.where(place < (hybrid > 0).sum(), R, 0.0), sigma)


@_as_explainer
def grad_cam_times_input(f: Any, x: Array, target: Any, *, sigma: float = SIGMA) -> Array:
    """The hybrid with the size of the input in the place of LRP: no network is asked for the pixels."""
    G = xaijax.grad_cam(f, x, target)
    G = xaijax.resize(jnp.where(G.mean() <= G, G, 0.0), (x.shape[0], x.shape[1]))
    return xaijax.blur(G * jnp.abs(x).sum(-1), sigma)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the network."""
    others = {
        "hybrid blurred by 2": xaijax.bind(xaijax.grad_cam_lrp, f, sigma=2.0),
        "hybrid cut at 0": xaijax.bind(xaijax.grad_cam_lrp, f, sigma=SIGMA, threshold=0.0),
        "hybrid cut at 0.75": xaijax.bind(xaijax.grad_cam_lrp, f, sigma=SIGMA, threshold=0.75),
    }
    return {
        HYBRID: xaijax.bind(xaijax.grad_cam_lrp, f, sigma=SIGMA),
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "LRP": xaijax.bind(xaijax.lrp, f, composite=_EPSILON_PLUS),
        BARE: xaijax.bind(xaijax.grad_cam_lrp, f, sigma=0.0),
        **{
            name: xaijax.bind(lrp_cut_alike, f, sigma=sigma)
            for name, sigma in zip(ALIKE.values(), (SIGMA, 0.0), strict=True)
        },
        "Grad-CAM x |input|": xaijax.bind(grad_cam_times_input, f),
        **{name: others[name] for name in config.methods},
    }


def judged(config: Config) -> dict[str, Any]:
    """The metrics, by what the tables call them."""
    steps = {"num_steps": config.num_steps, "baseline": 0.0}
    others = {
        "sparseness": metrics.sparseness,
        "insertion": functools.partial(metrics.insertion_auc, **steps),
        "Max-Sensitivity": functools.partial(
            metrics.max_sensitivity, radius=0.05, num_samples=config.num_samples
        ),
        "MPRT": metrics.model_parameter_randomisation,
    }
    return {
        "complexity": metrics.complexity,
        "deletion": functools.partial(metrics.deletion_auc, **steps),
        "share on the object": metrics.relevance_mass,
        **{name: others[name] for name in config.metrics},
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
        judged(config),
        xaijax.probabilities(trained.model),
        known.images,
        known.labels,
        jax.random.key(seed),
        masks=known.masks,
        batch_size=20,
    )
    return _seeds.means(found.table, accuracy=trained.accuracy, images=len(known.images))


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whether the hybrid is cleaner than both, and more than smaller."""
    cleaner = {name: _is_cleaner(table, name) for name in ALIKE}
    more = {name: _is_more(table, name) for name in ALIKE}
    gains = [f"than {n} by {_gains(table, n)}" for n in (*PARENTS, ALIKE[HYBRID])]
    size = f"n={config.seeds} networks, {int(table.images.min())} images each"
    effect = f"The hybrid is better {'; '.join(gains)} ({size})."
    robust = {
        title: ", ".join(f"{n} {_cell(_mean(table, title, n))}" for n in (HYBRID, BARE, *PARENTS))
        for title in ("Max-Sensitivity", "MPRT")
        if title in set(table.metric)
    }
    text = (
        f"Cleaner than both: {_names(cleaner)}. More than smaller: {_names(more)}. "
        f"{' '.join(f'{title} (lower is better): {cells}.' for title, cells in robust.items())} Grad-CAM times the "
        f"input, of which no network was asked for the pixels, has a deletion of "
        f"{_cell(_mean(table, 'deletion', 'Grad-CAM x |input|'))} and a share on the object of "
        f"{_cell(_mean(table, 'share on the object', 'Grad-CAM x |input|'))}; the hybrid "
        f"{_cell(_mean(table, 'deletion', HYBRID))} and {_cell(_mean(table, 'share on the object', HYBRID))}. "
        f"{_seeds.tested(table)}"
    )
    verdict, only_if = _verdict(cleaner, more)
    return Conclusion(
        verdict=verdict,
        only_if=only_if,
        effect=effect,
        text=text,
        tables={
            "hybrid and parents": _seeds.readable(_seeds.summary(table)),
            "test accuracy": _seeds.accuracies(table),
        },
        figures={"hybrid and parents": draw(table)},
        sources=(xaijax.grad_cam_lrp, xaijax.grad_cam, xaijax.lrp, *_metrics(config)),
    )


def draw(table: pd.DataFrame) -> Any:
    """Four properties of the hybrid, its parents and what it is compared with."""
    names = [n for n in dict.fromkeys(table.explainer) if n not in ("oracle", *CONTROLS)]
    labels = {
        "complexity": "complexity, nats (lower is better)",
        "deletion": "area under deletion (lower is better)",
        "share on the object": "share on the object (higher is better)",
        "Max-Sensitivity": "Max-Sensitivity (lower is better)",
    }
    measured = set(table.metric)
    panels = {
        label: {"": {n: _seeds.wide(table, metric)[n] for n in names}}
        for metric, label in labels.items()
        if metric in measured
    }
    return _figures.dots(panels, controls=(*ALIKE.values(), "Grad-CAM x |input|"), width=2.9)


def _better(table: pd.DataFrame, metric: str, name: str, than: str) -> metrics.Interval:
    """By how much one explainer is better than another, above 0 where it is."""
    lower = table[table.metric == metric].better.iloc[0] == "lower"
    return _seeds.difference(table, metric, *((than, name) if lower else (name, than)))


def _is_cleaner(table: pd.DataFrame, name: str) -> bool:
    """Whether a hybrid's complexity is lower than both parents', and what decides not worse."""
    lower = all(_better(table, "complexity", name, p).low > 0 for p in PARENTS)
    return lower and all(_better(table, m, name, p).high >= 0 for m in DECISIVE for p in PARENTS)


def _is_more(table: pd.DataFrame, name: str) -> bool:
    """Whether a hybrid is better than LRP of as many pixels."""
    found = [_better(table, m, name, ALIKE[name]) for m in DECISIVE]
    return any(d.low > 0 for d in found) and all(d.high >= 0 for d in found)


def _verdict(
    cleaner: dict[str, bool], more: dict[str, bool]
) -> tuple[Literal["supported", "refuted", "only if"], str]:
    smaller = "cleaner means smaller: LRP cut to as many pixels is as good"
    if cleaner[HYBRID]:
        return ("supported", "") if more[HYBRID] else ("only if", smaller)
    if cleaner[BARE]:
        return "only if", "it is not blurred" + ("" if more[BARE] else f", and {smaller}")
    return "refuted", ""


def _names(holds: dict[str, bool]) -> str:
    return ", ".join(name for name, yes in holds.items() if yes) or "none"


def _gains(table: pd.DataFrame, than: str) -> str:
    judged_by = ("complexity", *DECISIVE)
    return ", ".join(f"{_cell(_better(table, m, HYBRID, than))} in {m}" for m in judged_by)


def _mean(table: pd.DataFrame, metric: str, name: str) -> metrics.Interval:
    return metrics.mean_interval(_seeds.wide(table, metric)[name].to_numpy())


def _cell(interval: metrics.Interval) -> str:
    return _tables.interval(*interval[:3], digits=3)


def _metrics(config: Config) -> tuple[Any, ...]:
    return tuple(getattr(m, "func", m) for m in judged(config).values())
