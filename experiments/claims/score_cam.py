"""Is Score-CAM less noisy than Grad-CAM and Grad-CAM++, and does it withstand attacks better?

Claim: Score-CAM's maps have less noise than those of methods that weigh by gradients, and keep to the object when the
image is attacked (Wang et al. 2020, "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks").

Networks of several seeds learn to tell `shapes` apart; of their images it is known to the pixel where the object is.
All methods explain the true class at the last convolution. Paper and code of Score-CAM disagree about the weights, so
all four ways of `xaijax.score_cam` take part; that of the authors' code decides.

Measured: for noise, the share of a map's energy on the object (energy pointing game), and beside it total variation,
entropy, average drop and increase in confidence; for attacks, of the fast gradient sign method, of projected gradient
descent and of random signs of the same size, the structural similarity (SSIM) of the maps of the original class before
and after, and the share of energy on the object after, for all images and for those whose answer changes.
Unit of replication: the network; images are averaged. Comparisons are paired by network, their intervals Student's t
at a level that holds for the four of them together (Bonferroni).

The four comparisons that decide are with Grad-CAM and with Grad-CAM++: energy on the object, and SSIM after the fast
gradient sign method at the largest size. Each holds if the interval of Score-CAM's advantage lies above 0. The claim is
supported if all four hold, and refuted if none does.

Expected: Score-CAM is no less noisy than Grad-CAM here: its weights of the authors' code are probabilities and never
negative, so channels that speak for other classes stay in the map. For the same reason its maps change less under
attacks: SSIM above 0.9, where Grad-CAM's falls below. Test accuracy of the networks: at least 99 %.

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
from experiments import _figures, _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import shapes_network, shapes_test
from xaijax import attacks, metrics, plot
from xaijax.metrics._similarity import comparison

ATTACKS = ("FGSM", "PGD", "random signs")
OTHERS = ("Grad-CAM", "Grad-CAM++")
NOTHING = ("edges", "random")
NOISE = "energy_pointing_game"


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      epochs: of training.
      num_train: images that they learn from.
      num_images: explained as they are.
      num_attacked: of those, how many are attacked.
      epsilons: sizes of the attacks; objects are 0.6 to 1 bright.
      num_steps: of projected gradient descent.
      methods: which; all by default.
    """

    seeds: int = 5
    epochs: int = 6
    num_train: int = 8000
    num_images: int = 100
    num_attacked: int = 32
    epsilons: tuple[float, ...] = (0.02, 0.05, 0.1)
    num_steps: int = 10
    methods: tuple[str, ...] = ()


SMOKE = Config(
    seeds=2,
    epochs=1,
    num_train=400,
    num_images=4,
    num_attacked=2,
    epsilons=(0.1,),
    num_steps=2,
    methods=("Grad-CAM", "Grad-CAM++", "Score-CAM"),
)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods; Score-CAM as in the authors' code first."""
    modes = ("softmax_prob", "softmax_logit", "cic")
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "Grad-CAM++": xaijax.bind(xaijax.grad_cam_pp, f),
        "LayerCAM": xaijax.bind(xaijax.layer_cam, f),
        "Score-CAM": xaijax.bind(xaijax.score_cam, f),
        **{f"Score-CAM, {mode}": xaijax.bind(xaijax.score_cam, f, mode=mode) for mode in modes},
    }
    return {name: found[name] for name in config.methods or found}


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The maps of one network, of images as they are and attacked."""
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    f, drawn = trained.model, shapes_test(config.num_images)
    found = metrics.evaluate(
        explainers(f, config),
        [
            metrics.energy_pointing_game,
            metrics.total_variation,
            metrics.complexity,
            metrics.average_drop,
            metrics.increase_in_confidence,
        ],
        xaijax.probabilities(f),
        drawn.images,
        drawn.labels,
        jax.random.key(seed),
        masks=drawn.masks,
        batch_size=32,
    )
    rows = _seeds.means(found.table, accuracy=trained.accuracy)
    n = config.num_attacked
    keys = jax.random.split(jax.random.key(seed), n)
    images = (drawn.images[:n], drawn.labels[:n], drawn.masks[:n])
    moved, flipped = moves(config.epsilons, config.num_steps, f, *images[:2], keys)
    flipped = np.asarray(flipped)
    for name, explain in explainers(f, config).items():
        alike, energy = (np.asarray(a, np.float64) for a in stability(explain, f, *images, moved))
        for which, kept in (("all", np.ones_like(flipped)), ("flipped", flipped)):
            rows += [
                row | {"explainer": name, "which": which, "accuracy": trained.accuracy}
                for row in _attacked(config, alike, energy, kept)
            ]
    return rows


@functools.partial(jax.jit, static_argnums=(0, 1))
def moves(
    epsilons: tuple[float, ...], num_steps: int, f: Any, xs: Any, ys: Any, keys: Any
) -> tuple[jax.Array, jax.Array]:
    """Each image after each attack of each size, and whether the answer has changed."""
    sizes = jnp.array(epsilons)

    def one(row: Any) -> tuple[jax.Array, jax.Array]:
        x, y, key = row
        made = (
            jax.vmap(lambda e: attacks.fgsm(f, x, y, epsilon=e))(sizes),
            jax.vmap(lambda e: attacks.pgd(f, x, y, key, epsilon=e, num_steps=num_steps))(sizes),
            jax.vmap(lambda e: attacks.random_noise(x, key, epsilon=e))(sizes),
        )
        images = jnp.concatenate(made)
        return images, jax.vmap(f)(images).argmax(-1) != f(x).argmax()

    return jax.lax.map(one, (xs, ys, keys))


@jax.jit
def stability(
    explain: Any, f: Any, xs: Any, ys: Any, masks: Any, moved: Any
) -> tuple[jax.Array, jax.Array]:
    """How alike the map of the original class is to that before, and its share of energy on the object."""

    def one(row: Any) -> tuple[jax.Array, jax.Array]:
        x, y, mask, images = row
        before = explain(x, y)
        same = comparison("score_cam", "ssim", True, f, x)

        def after(image: jax.Array) -> tuple[jax.Array, jax.Array]:
            a = explain(image, y)
            return same(before, a), metrics.energy_pointing_game(metrics.pixel_map(f, x, a), mask)

        return jax.lax.map(after, images)

    return jax.lax.map(one, (xs, ys, masks, moved))


def _attacked(
    config: Config, alike: np.ndarray, energy: np.ndarray, kept: np.ndarray
) -> list[dict[str, Any]]:
    """Means over the images that are kept, for each attack and size."""
    rows = []
    names = [(attack, e) for attack in ATTACKS for e in config.epsilons]
    for i, (attack, epsilon) in enumerate(names):
        here = kept[:, i].astype(bool)
        for title, values in (("SSIM", alike), ("energy", energy)):
            known = values[here, i][np.isfinite(values[here, i])]
            rows.append(
                {
                    "control": False,
                    "metric": f"{title}, {attack} {epsilon:g}",
                    "better": "higher",
                    "attack": attack,
                    "epsilon": epsilon,
                    "value": round(float(known.mean()), 6) if len(known) else None,
                    "examples": len(known),
                }
            )
    return rows


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which of the four comparisons hold."""
    clean, attacked = table[table.attack.isna()], table[table.which == "all"]
    last = f"SSIM, FGSM {config.epsilons[-1]:g}"
    level = 1 - 0.05 / (2 * len(OTHERS))
    decisive = {}
    for title, part, metric in (("noise", clean, NOISE), ("attack", attacked, last)):
        for other in OTHERS:
            decisive[title, other] = _seeds.difference(
                part, metric, "Score-CAM", other, level=level
            )
    holds = [key for key, found in decisive.items() if found.low > 0]
    said = {"noise": "less noise", "attack": "more robustness to attacks"}
    shown = [f"{said[title]} than {other}" for title, other in holds]
    means = {
        name: _seeds.wide(part, metric).mean()
        for name, part, metric in (("noise", clean, NOISE), ("attack", attacked, last))
    }
    effect = "; ".join(
        f"{title}: Score-CAM {means[key]['Score-CAM']:.2f}, "
        + ", ".join(f"against {o} {_signed(decisive[key, o])}" for o in OTHERS)
        for key, title in (
            ("noise", "share of energy on the object"),
            ("attack", f"SSIM of maps after FGSM of {config.epsilons[-1]:g}"),
        )
    )
    flips = table[(table.which == "flipped") & (table.explainer == "Score-CAM")]
    flips = flips[flips.metric == last].examples.sum()
    networks = table.drop_duplicates("unit")
    text = (
        f"Score-CAM has the claimed advantage in {len(holds)} of {len(decisive)} comparisons"
        + (f": {'; '.join(shown)}. " if shown else ". ")
        + f"{flips} of {config.seeds * config.num_attacked} answers change by FGSM of {config.epsilons[-1]:g}. A map "
        "that always shows the same is robust, too: its share of energy on the object after the attack, in the tables, "
        f"tells whether it shows anything. The networks' test accuracy is {networks.accuracy.min():.3f} to "
        f"{networks.accuracy.max():.3f}."
    )
    return Conclusion(
        verdict="supported" if len(holds) == len(decisive) else "only if" if holds else "refuted",
        only_if="" if len(holds) in (0, len(decisive)) else f"it is about {'; '.join(shown)}",
        effect=f"{effect} (n={config.seeds} networks).",
        text=text,
        tables={
            "maps": _seeds.readable(_seeds.summary(clean)),
            "after attacks": _after(attacked),
            "after attacks, answers that changed": _after(table[table.which == "flipped"]),
            "networks": _seeds.accuracies(table),
        },
        figures={
            "noise and robustness": _dots(clean, attacked, last),
            "attacks": _curves(config, attacked),
        },
        sources=(
            *(xaijax.score_cam, xaijax.grad_cam, xaijax.grad_cam_pp, xaijax.layer_cam),
            *(attacks.fgsm, attacks.pgd, attacks.random_noise),
            *(metrics.energy_pointing_game, metrics.total_variation, metrics.complexity),
            *(metrics.average_drop, metrics.increase_in_confidence),
        ),
    )


def _signed(found: metrics.Interval) -> str:
    return _tables.interval(*found[:3], digits=2)


def _after(rows: pd.DataFrame) -> pd.DataFrame:
    """SSIM of the maps and energy on the object, for each attack, size and explainer."""
    known = rows.dropna(subset=["value"]).assign(title=rows.metric.str.split(",").str[0])
    keys = ["attack", "epsilon", "explainer"]
    found: dict[Any, dict[str, Any]] = {}
    for (*key, title), part in known.groupby([*keys, "title"], sort=False):
        row = found.setdefault(tuple(key), dict(zip(keys, key, strict=True)))
        row[str(title)] = _signed(metrics.mean_interval(part.value.to_numpy()))
        row["images"] = int(part.examples.sum())
    return pd.DataFrame(list(found.values()))


def _dots(clean: pd.DataFrame, attacked: pd.DataFrame, last: str) -> Any:
    """Energy on the object, beside maps that know nothing, and likeness after the attack."""
    own = clean[~clean.control.astype(bool) | clean.explainer.isin(NOTHING)]
    panels = {}
    for label, part, metric in (
        ("share of energy on the object", own, NOISE),
        (f"{last}: likeness of the maps", attacked, last),
    ):
        numbers = _seeds.wide(part, metric)
        panels[label] = {"": {name: numbers[name].to_numpy() for name in numbers}}
    return _figures.dots(panels, controls=NOTHING)


def _curves(config: Config, attacked: pd.DataFrame) -> Any:
    """Likeness over the size of the attack, one panel for each attack."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(ATTACKS), figsize=(4.6 * len(ATTACKS), 3.8), layout="constrained"
    )
    for axis, attack in zip(axes, ATTACKS, strict=True):
        curves = {}
        for name, part in attacked[attacked.attack == attack].groupby("explainer", sort=False):
            here = part[part.metric.str.startswith("SSIM")]
            wide = here.pivot(index="unit", columns="epsilon", values="value")
            curves[name] = np.column_stack([np.ones(len(wide)), wide.to_numpy()])
        plot.curves(
            curves,
            x=(0.0, *config.epsilons),
            unit="networks",
            x_label=f"largest change of a pixel, {attack}",
            y_label="SSIM to the map before",
            ax=axis,
        )
        axis.set_ylim(top=1.02)
    return figure
