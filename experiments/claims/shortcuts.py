"""Do explanations show that a network reads the watermark, or the snow, instead of the object?

Claim: explanations unmask a network that relies on an artefact: the watermark beside the horse (Lapuschkin et al. 2019,
"Unmasking Clever Hans predictors"), the snow behind the wolf (Ribeiro, Singh & Guestrin 2016, the husky and the wolf).

Images are drawn so that a tag in the corner goes with the class "disc", or snow with the class "wolf", with a chosen
correlation. At 0.5 the artefact says nothing of the class: networks trained on that are the control. At 1 it is as good
as the object. All networks then explain the same images, discs with a tag and wolves on snow, for their true class.

Measured: for each network its accuracy on new images of its own correlation and on swapped ones, where the artefact
goes with the other classes; for each method the share of its positive attribution that lies in the artefact: the 8 x 8
pixels of the corner with the tag (1/16 of the image), or all that is not the animal. Unit of replication: the network,
each with its own weights and training images; images are averaged. Networks of one seed are paired. Intervals are
Student's t, at a level that holds for all methods and tasks together (Bonferroni).

The claim needs two things on both tasks. Networks rely on the artefact: their accuracy falls further by the swap at
correlation 1 than at 0.5. Explanations show it: the share in the artefact is higher at correlation 1 than at 0.5, with
an interval above 0. It holds of the methods for which the second is so. The criterion was set when the accuracy of one
network for each task and correlation was known, and no explanation.

Expected: by the swap less than 0.02 is lost at correlation 0.5 and more than 0.5 at 1; at 0.9 less than half of that,
for the object is still needed to be right. LIME's, occlusion's and LRP's share in the artefact rises by at least 0.2;
Grad-CAM's by less on the tag, for which its 4 x 4 map is coarse. Networks of correlation 0.5 have a test accuracy of at
least 99 %.

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
from experiments import _tables
from experiments._experiment import Conclusion
from experiments._train import CNN, Examples, Training, train
from xaijax import data, metrics, plot
from xaijax.propagation import epsilon_plus

SIZE = 32
CELL = 4  # pixels of a side of LIME's and occlusion's squares
CONTROL, SHORTCUT = 0.5, 1.0


@dataclasses.dataclass(frozen=True)
class Task:
    """What is drawn, and what of it is explained.

    Attributes:
      draw: the generator.
      target: the class that the artefact goes with.
      title: of the target and its artefact.
      hidden: the colour of what LIME and occlusion hide, which is neither object nor artefact.
      part: of the images and epochs that this task needs for an accuracy of 99 %.
    """

    draw: Any
    target: int
    title: str
    hidden: float
    part: float


TASKS = {
    "watermark": Task(data.watermark, 0, "disc, tag", 0.0, 1.0),
    "wolf": Task(data.wolf_snow, 1, "wolf, snow", 0.5, 0.5),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      tasks: "watermark", "wolf".
      correlations: of artefact and class in training; 0.5 and 1 are always among them.
      seeds: how many networks for each.
      num_train: training images of a network.
      epochs: of training.
      num_test: images that the accuracy is measured on.
      num_images: explained.
      num_samples: of LIME.
      methods: which explainers, LIME among them; all by default.
    """

    tasks: tuple[str, ...] = ("watermark", "wolf")
    correlations: tuple[float, ...] = (0.5, 0.9, 1.0)
    seeds: int = 5
    num_train: int = 4000
    epochs: int = 6
    num_test: int = 1000
    num_images: int = 16
    num_samples: int = 512
    methods: tuple[str, ...] = ()


SMOKE = Config(
    tasks=("watermark",),
    correlations=(0.5, 1.0),
    seeds=2,
    num_train=600,
    epochs=4,
    num_test=200,
    num_images=4,
    num_samples=64,
    methods=("LIME", "Grad-CAM"),
)


def explainers(f: Any, task: Task, config: Config) -> dict[str, Any]:
    """The methods, each with the network's logits or probabilities."""
    p = xaijax.probabilities(f)
    cells = SIZE // CELL
    squares = xaijax.superpixels(np.zeros((SIZE, SIZE, 1)), "grid", rows=cells, columns=cells)
    mask = xaijax.segments(squares, hidden=task.hidden)
    found = {
        "LIME": xaijax.bind(xaijax.lime, p, mask=mask, num_samples=config.num_samples),
        "occlusion": xaijax.bind(
            xaijax.occlusion, p, window=(CELL, CELL), stride=(CELL, CELL), baseline=task.hidden
        ),
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "integrated gradients": xaijax.bind(xaijax.integrated_gradients, f, num_steps=16),
        "gradient": xaijax.bind(xaijax.saliency, f),
    }
    return {name: found[name] for name in config.methods or found}


def units(config: Config) -> list[str]:
    """One network each."""
    return [
        f"{task}, correlation {correlation}, seed {seed}"
        for task in config.tasks
        for correlation in config.correlations
        for seed in range(config.seeds)
    ]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """Accuracies, and what the explanations of one network put into the artefact, the mean over images."""
    name, _, rest = unit.partition(", correlation ")
    correlation, _, seed = rest.partition(", seed ")
    task, number = TASKS[name], int(seed)
    trained = network(config, name, float(correlation), number)
    swapped = accuracy(trained.model, test(name, 0.0, config.num_test))
    xs, artefacts = explained(name, config.num_images)
    found = metrics.evaluate(
        explainers(trained.model, task, config),
        [metrics.relevance_mass, metrics.pointing_game],
        trained.model,
        xs,
        jnp.full(len(xs), task.target),
        jax.random.key(number),
        masks=artefacts,
    )
    common = {
        "task": name,
        "correlation": float(correlation),
        "seed": number,
        "accuracy": trained.accuracy,
        "swapped": swapped,
    }
    keys = ["explainer", "control", "metric"]
    means = found.table.groupby(keys, sort=False).value.mean().reset_index()
    rows = [common | row | {"value": round(row["value"], 6)} for row in means.to_dict("records")]
    for row in rows:
        # The figure shows LIME's squares for one image, of networks of the first seed.
        if row["explainer"] == "LIME" and row["metric"] == "relevance_mass" and number == 0:
            row["squares"] = found.maps["LIME"][0, ::CELL, ::CELL].round(5).tolist()
    return rows


def network(config: Config, name: str, correlation: float, seed: int) -> Any:
    """A trained network, with its accuracy on new images of the same correlation."""
    task = TASKS[name]
    count = int(config.num_train * task.part)
    drawn = _split(task.draw(jax.random.key(1 + seed), count, correlation=correlation))
    known = Examples(
        drawn, test(name, correlation, config.num_test), f"{name} {correlation} {count} {seed}"
    )
    channels, classes = drawn[0].shape[-1], int(drawn[1].max()) + 1
    settings = Training(epochs=max(int(config.epochs * task.part), 1), batch_size=64)
    return train(lambda rngs: CNN(channels, classes, rngs=rngs), known, settings, seed)


@functools.cache
def test(name: str, correlation: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """New images: of all correlations the same but for the artefact."""
    return _split(TASKS[name].draw(jax.random.key(0), count, correlation=correlation))


def _split(drawn: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(drawn.images), np.asarray(drawn.labels)


def accuracy(f: Any, examples: tuple[np.ndarray, np.ndarray]) -> float:
    """How many images have their label as the highest score."""
    x, y = examples
    return float((_answers(f, x) == y).mean())


@jax.jit
def _answers(f: Any, x: jax.Array) -> jax.Array:
    return jax.vmap(f)(x).argmax(-1)


@functools.cache
def explained(name: str, count: int) -> tuple[jax.Array, jax.Array]:
    """Images of the target with its artefact, and where that lies."""
    task = TASKS[name]
    drawn = task.draw(jax.random.key(1000), 8 * count, correlation=1.0)
    chosen = np.flatnonzero(np.asarray(drawn.labels) == task.target)[:count]
    places = np.asarray(drawn.tags if name == "watermark" else drawn.backgrounds)[chosen]
    if name == "watermark":  # a square of 8 x 8 around the letter, which lies in one
        blocks = places.reshape(-1, SIZE // 8, 8, SIZE // 8, 8).any((2, 4))
        places = blocks.repeat(8, 1).repeat(8, 2)
    return drawn.images[chosen], jnp.asarray(places)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Who relies on the artefact, and whose explanations show it."""
    mass = table[table.metric == "relevance_mass"]
    methods = list(dict.fromkeys(mass[~mass.control].explainer))
    level = 1 - 0.05 / (len(methods) * len(config.tasks))
    networks = table.drop_duplicates("unit")
    lost = networks.assign(value=networks.accuracy - networks.swapped, explainer="accuracy")
    reliance = {name: _rise(lost[lost.task == name], 0.95) for name in config.tasks}
    rises = {
        (name, m): _rise(mass[(mass.task == name) & (mass.explainer == m)], level)
        for name in config.tasks
        for m in methods
    }
    relies = [name for name in config.tasks if _above(reliance[name])]
    show = [m for m in methods if all(_above(rises[name, m]) for name in config.tasks)]
    best = max(methods, key=lambda m: min(rises[name, m].mean for name in config.tasks))
    holds = len(show) == len(methods) and len(relies) == len(config.tasks)
    fails = not relies or not show
    condition = "" if holds or fails else f"the method is {_or(show)}"
    if len(relies) < len(config.tasks) and condition:
        condition += f", and of {_or(relies)} alone"
    effect = "; ".join(
        f"{name}: {best}'s share in the artefact rises by {_text(rises[name, best])}, and the accuracy that is lost by "
        f"the swap by {_text(reliance[name])}"
        for name in config.tasks
    )
    return Conclusion(
        verdict="supported" if holds else "refuted" if fails else "only if",
        only_if=condition,
        effect=f"From correlation 0.5 to 1, {effect} (n={config.seeds} networks, paired by seed).",
        text=_says(networks, rises, methods),
        tables={
            "accuracy": _accuracies(networks),
            "share in the artefact": _shares(mass, rises, config),
            "highest value in the artefact": _shares(
                table[table.metric == "pointing_game"], {}, config
            ),
        },
        figures={"shortcuts": draw(config, mass, networks, methods)},
        sources=(
            *(xaijax.lime, xaijax.occlusion, xaijax.grad_cam, xaijax.lrp),
            *(xaijax.integrated_gradients, xaijax.saliency),
            *(metrics.relevance_mass, metrics.pointing_game),
        ),
    )


def _rise(rows: pd.DataFrame, level: float) -> metrics.Interval:
    """How far a value at correlation 1 lies above that at 0.5, over the seeds."""
    wide = rows.pivot(index="seed", columns="correlation", values="value")
    return metrics.mean_interval((wide[SHORTCUT] - wide[CONTROL]).to_numpy(), level=level)


def _above(found: metrics.Interval) -> bool:
    return bool(found.low > 0)  # no interval, no evidence


def _text(found: metrics.Interval) -> str:
    return _tables.interval(*found[:3], digits=2)


def _or(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _says(networks: pd.DataFrame, rises: Any, methods: list[str]) -> str:
    """What the numbers say beyond the effect."""
    parts = []
    for name, part in networks.groupby("task", sort=False):
        means = part.groupby("correlation")[["accuracy", "swapped"]].mean()
        swapped = ", ".join(f"{row.swapped:.2f} at {c:g}" for c, row in means.iterrows())
        shown = [m for m in methods if _above(rises[name, m])]
        silent = [m for m in methods if m not in shown]
        parts.append(
            f"{name}: accuracy on new images of the same correlation is at least {part.accuracy.min():.3f}, on swapped "
            f"ones {swapped}; the share in the artefact rises for {', '.join(shown) or 'none'}, and not surely for "
            f"{', '.join(silent) or 'none'}."
        )
    return (
        " ".join(parts)
        + " What an explanation shows is that the artefact counts; how much the object still counts, "
        "only the swap tells."
    )


def _accuracies(networks: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (name, correlation), part in networks.groupby(["task", "correlation"], sort=False):
        columns = {"same correlation": part.accuracy, "swapped": part.swapped}
        found = {title: metrics.mean_interval(v.to_numpy()) for title, v in columns.items()}
        cells = {title: _tables.interval(*v[:3]) for title, v in found.items()}
        rows.append({"task": name, "correlation": correlation, **cells, "networks": len(part)})
    return pd.DataFrame(rows)


def _shares(rows: pd.DataFrame, rises: Any, config: Config) -> pd.DataFrame:
    """Explainers by correlations; the rise, and how the share goes with what the swap costs, over all networks."""
    from scipy import stats

    found = []
    for (name, explainer), part in rows.groupby(["task", "explainer"], sort=False):
        cells = {}
        for correlation in config.correlations:
            values = part[part.correlation == correlation].value.to_numpy()
            cells[f"{correlation:g}"] = _text(metrics.mean_interval(values))
        cells |= {"rise from 0.5 to 1": "", "rank correlation with the loss": ""}  # of controls
        rise = rises.get((name, explainer))
        if rise is not None:
            cells["rise from 0.5 to 1"] = _text(rise) + (" *" if _above(rise) else "")
            known = part.dropna(subset=["value"])
            order = stats.spearmanr(known.value, known.accuracy - known.swapped).statistic
            cells["rank correlation with the loss"] = f"{order:.3f}"
        found.append({"task": name, "explainer": explainer, **cells})
    return pd.DataFrame(found)


def draw(config: Config, mass: pd.DataFrame, networks: pd.DataFrame, methods: list[str]) -> Any:
    """LIME's squares for an honest network and one with a shortcut; shares and accuracies over the correlation."""
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(13, 2.4 * len(config.tasks)), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.05))
    _pictures(left, mass, config)
    axes = right.subplots(len(config.tasks), 2, sharex=True, squeeze=False)
    for row, name in enumerate(config.tasks):
        here = mass[mass.task == name]
        shares = {m: _curves(here[here.explainer == m], "value") for m in (*methods, "random")}
        part = networks[networks.task == name]
        accuracies = {
            "same correlation": _curves(part, "accuracy"),
            "swapped": _curves(part, "swapped"),
        }
        label = "correlation in training" if row == len(config.tasks) - 1 else ""
        artefact = TASKS[name].title.split(", ")[1]
        for axis, curves, controls, title in (
            (axes[row, 0], shares, ("random",), f"share in the {artefact}"),
            (axes[row, 1], accuracies, (), "accuracy"),
        ):
            plot.curves(
                curves,
                x=config.correlations,
                controls=controls,
                unit="networks",
                x_label=label,
                y_label=title,
                y_limits=(-0.03, 1.03),
                ax=axis,
            )
    return figure


def _curves(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Networks by correlations."""
    return rows.pivot(index="seed", columns="correlation", values=column).to_numpy()


def _pictures(figure: Any, rows: pd.DataFrame, config: Config) -> None:
    """An image of each task, and the squares that LIME finds for two networks."""
    shown = rows[(rows.explainer == "LIME") & (rows.seed == 0)].set_index(["task", "correlation"])
    images, maps = [], {c: [] for c in (CONTROL, SHORTCUT)}
    for name in config.tasks:
        image = np.clip(np.asarray(explained(name, config.num_images)[0][0]), 0, 1)
        images.append(image if image.shape[-1] == 3 else image[..., 0])
        for correlation, found in maps.items():
            squares = np.array(shown.squares[name, correlation])
            found.append(squares.repeat(CELL, 0).repeat(CELL, 1))
    plot.grid(
        images,
        {f"LIME, trained at {c:g}": found for c, found in maps.items()},
        labels=[TASKS[name].title for name in config.tasks],
        scale="row",
        unit="probability",
        figure=figure,
    )
