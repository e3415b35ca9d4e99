"""Does a network explain itself better if the entropy of its Grad-CAM is part of its loss?

Claim: adding the entropy of the class activation map of the true class to the loss makes explanations easier to
interpret, at little cost in accuracy (Schöttl 2020, "A light-weight method to foster the (Grad)CAM interpretability").

Networks that learn to tell drawn shapes apart descend the cross entropy plus beta times the mean entropy of Grad-CAM
at the last convolution, 4 x 4 positions, for several beta; with beta = 0 the plain network. The term is a function of
the weights through the map. Published code of a later paper computes it from detached values: as a control, one more
network descends the largest beta with the term detached. All of a seed start alike and see the examples in the same
order, and one compiled program trains them all.

Measured: on test images, for the true class, the entropy, the ellipse area, the dispersion and the contrast of the map
(the paper's indicators), how often nothing in it speaks for the class (vanished), and what a concentrated map is for:
the share of the map on the object, which is known to the pixel, over the part of the image that it covers (lift), 0
for a map that vanished; the accuracy. Unit of replication: the seed. Intervals are Student's t over seeds, comparisons
paired by seed.

A beta above 0 helps if the lift rises above that of beta = 0, with its interval, and the mean accuracy falls by no more
than a percentage point. Supported if every beta does, only if some do; else refuted, also where the entropy falls: a
map may shrink to a point beside the object.

Expected: the entropy falls with every beta, and more with a larger one; the detached control has the same weights as
beta = 0 to the last bit; the lift rises by a tenth at most, since a position is as large as a small object. The betas
were chosen after trials of one or two seeds, in which 0.3 cost five points of accuracy, and 1 made most maps vanish,
which makes the term 0 as well. Accuracy with beta = 0: at least 99 %.

Runtime: twenty minutes on two cores. With the CNN of the other experiments a step took 1.7 times as long as a plain one
(batches of 64); see `Trained.examples_per_second`, which is no part of the results.

Needs: pip install "xaijax[evaluate,plot,train]"
"""

import dataclasses
import hashlib
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _attention, _networks, _tables
from experiments._experiment import Conclusion
from experiments._train import Trained, Training, train
from xaijax import data, intrinsic, metrics

INDICATORS = {
    "entropy": intrinsic.entropy,
    "ellipse area": intrinsic.ellipse_area,
    "dispersion": intrinsic.dispersion,
    "contrast": intrinsic.contrast,
}
DETACHED = "detached"
#: How far the accuracy may fall.
MARGIN = 0.01


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks for each beta.
      betas: how much a nat of the entropy counts beside one of the cross entropy; the first is 0.
      epochs: of training.
      num_train: how many images the networks learn from.
      num_images: how many images are explained.
    """

    seeds: int = 5
    betas: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1, 0.3)
    epochs: int = 6
    num_train: int = 8000
    num_images: int = 300


SMOKE = Config(seeds=2, betas=(0.0, 1.0), epochs=1, num_train=256, num_images=8)


def fostered(beta: jax.Array, detached: jax.Array, model: Any, x: jax.Array, y: jax.Array) -> Any:
    """The loss, with the term attached or not.

    The map is that of evaluation, with the running statistics of batch norm from before this step.
    """
    explain = xaijax.bind(xaijax.grad_cam, xaijax.as_model(model))
    found = intrinsic.fostered_cross_entropy(explain, model(x), x, y, beta=1.0)
    term = jnp.where(detached, jax.lax.stop_gradient(found.entropy), found.entropy)
    return found.cross_entropy + beta * term


def units(config: Config) -> list[str]:
    """One seed each, with its networks."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def arms(config: Config) -> dict[str, tuple[float, bool]]:
    """By name, beta and whether the term is detached."""
    found = {_name(beta): (beta, False) for beta in config.betas}
    return {**found, DETACHED: (max(config.betas), True)}


def _name(beta: float) -> str:
    return f"beta {beta:g}"


def network(config: Config, beta: float, detached: bool, seed: int) -> Trained:
    """A network that was trained with the term."""
    loss = jax.tree_util.Partial(fostered, jnp.float32(beta), jnp.bool(detached))
    return train(
        _attention.plain(len(data.SHAPES)),
        _networks.shapes_examples(config.num_train),
        Training(epochs=config.epochs, batch_size=64),
        seed,
        loss=loss,
        name=f"cam_fostering, beta {beta}, detached {detached}",
    )


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The means over the images for each network of a seed."""
    seed = int(unit.split()[1])
    drawn = _networks.shapes_test(config.num_images)
    rows = []
    for name, (beta, detached) in arms(config).items():
        trained = network(config, beta, detached, seed)
        found = _numbers(trained.model, drawn.images, drawn.labels, drawn.masks)
        values = {k: float(np.nanmean(np.asarray(v, np.float64))) for k, v in found.items()}
        values["accuracy"] = trained.accuracy
        kept = {"arm": name, "beta": beta, "weights": _digest(trained.model)}
        rows += [{**kept, "metric": k, "value": round(v, 6)} for k, v in values.items()]
    return rows


@jax.jit
def _numbers(f: Any, xs: jax.Array, labels: jax.Array, masks: jax.Array) -> dict[str, jax.Array]:
    """What is read off the map of each image; one that vanished has no indicator, and nothing of it on the object."""

    def one(x: jax.Array, label: jax.Array, mask: jax.Array) -> dict[str, jax.Array]:
        a = xaijax.grad_cam(f, x, label)
        vanished = ~(a > 0).any()
        resized = xaijax.resize(a, (x.shape[0], x.shape[1]))
        values = {name: indicator(a) for name, indicator in INDICATORS.items()}
        known = {name: jnp.where(vanished, jnp.nan, value) for name, value in values.items()}
        lift = metrics.energy_pointing_game.details(resized, mask).lift
        return {**known, "lift": jnp.where(vanished, 0.0, lift), "vanished": 1.0 * vanished}

    return jax.vmap(one)(xs, labels, masks)


def _digest(model: Any) -> str:
    """Of all weights and running statistics."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(model):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()[:16]


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """For which beta the maps lie better, and what became of the control."""
    positive = [beta for beta in config.betas if beta > 0]
    helps = [beta for beta in positive if _helps(table, beta)]
    lifts = {beta: _difference(table, "lift", beta) for beta in positive}
    entropies = [_mean(table, "entropy", _name(beta)).mean for beta in sorted(config.betas)]
    falls = all(after < before for before, after in itertools.pairwise(entropies))
    same = _control_is_plain(table)
    everywhere = len(helps) == len(positive)
    effect = "The lift changes against beta = 0 by " + (
        ", ".join(f"{_cell(lifts[beta])} with beta = {beta:g}" for beta in positive)
        + f" (n={config.seeds} seeds, {config.num_images} images each)."
    )
    shrunk = [
        beta
        for beta in positive
        if _difference(table, "entropy", beta).high < 0 and not lifts[beta].low > 0
    ]
    accuracies, vanished = (
        ", ".join(f"{name} {_cell(_mean(table, metric, name))}" for name in arms(config))
        for metric in ("accuracy", "vanished")
    )
    text = (
        f"The entropy {'falls' if falls else 'does not fall'} with every larger beta: "
        f"{', '.join(f'{e:.2f}' for e in entropies)} nats for {', '.join(f'{b:g}' for b in sorted(config.betas))}. "
        f"It falls without a higher lift at: {', '.join(f'{b:g}' for b in shrunk) or 'none'}. "
        f"Detached, the weights are {'' if same else 'not '}those of beta = 0 to the last bit. Accuracy: "
        f"{accuracies}. Part of the images whose map vanished: {vanished}."
    )
    return Conclusion(
        verdict="supported" if everywhere else "only if" if helps else "refuted",
        only_if=""
        if everywhere or not helps
        else f"beta is {' or '.join(f'{beta:g}' for beta in helps)}",
        effect=effect,
        text=text,
        tables={"by beta": _by_arm(table, config), "against beta 0": _against(table, positive)},
        figures={"accuracy and lift": draw(table, config)},
        sources=(xaijax.cam_fostering, xaijax.grad_cam, metrics.energy_pointing_game),
    )


def draw(table: pd.DataFrame, config: Config) -> Any:
    """The accuracy over the lift, and the entropy beside it: each beta with its seeds."""
    from matplotlib import pyplot as plt

    names = list(arms(config))
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(names) - 1))
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
    labels = {"lift": "lift over an even map", "entropy": "entropy of the map (nats)"}
    for axis, (metric, label) in zip(axes, labels.items(), strict=True):
        for i, name in enumerate(names):
            x, y = (_seeds(table, what, name) for what in (metric, "accuracy"))
            if name == DETACHED:
                style = {"marker": "o", "s": 110, "facecolors": "none", "edgecolors": "0.2"}
            else:
                style = {"marker": "osD^v<>"[i % 7], "s": 36, "color": colours[i]}
            axis.scatter(x, 100 * y, label=name, **style)
        axis.set_xlabel(label)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    axes[0].set_ylabel("test accuracy (%)")
    axes[0].set_title("one mark a seed", loc="left", fontsize=9)
    axes[1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _seeds(table: pd.DataFrame, metric: str, arm: str) -> np.ndarray:
    part = table[(table.metric == metric) & (table.arm == arm)]
    return part.set_index("unit").value[list(dict.fromkeys(table.unit))].to_numpy(float)


def _mean(table: pd.DataFrame, metric: str, arm: str) -> metrics.Interval:
    return metrics.mean_interval(_seeds(table, metric, arm))


def _difference(table: pd.DataFrame, metric: str, beta: float) -> metrics.Interval:
    """Of a beta to none, paired by seed."""
    numbers = (_seeds(table, metric, _name(b)) for b in (beta, 0.0))
    return metrics.mean_interval(np.subtract(*numbers))


def _helps(table: pd.DataFrame, beta: float) -> bool:
    lift, accuracy = (_difference(table, metric, beta) for metric in ("lift", "accuracy"))
    return bool(lift.low > 0 and accuracy.mean >= -MARGIN)


def _control_is_plain(table: pd.DataFrame) -> bool:
    first = table.drop_duplicates(["unit", "arm"]).set_index(["unit", "arm"]).weights.unstack()
    return bool((first[DETACHED] == first[_name(0.0)]).all())


def _by_arm(table: pd.DataFrame, config: Config) -> pd.DataFrame:
    order = ["accuracy", "lift", *INDICATORS, "vanished"]
    return pd.DataFrame(
        [
            {"network": name, **{m: _cell(_mean(table, m, name)) for m in order}}
            for name in arms(config)
        ]
    )


def _against(table: pd.DataFrame, betas: list[float]) -> pd.DataFrame:
    order = ["accuracy", "lift", "entropy"]
    return pd.DataFrame(
        [{"beta": f"{b:g}", **{m: _cell(_difference(table, m, b)) for m in order}} for b in betas]
    )


def _cell(interval: metrics.Interval) -> str:
    return _tables.interval(*interval[:3])
