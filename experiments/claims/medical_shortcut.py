"""Can an explanation tell a network that finds the lesion from one that reads the hospital's marker?

Claim: explanations let physicians trust a network for radiographs, for they show whether it looks at the lesion
(popular of pneumonia and COVID-19). Against it: networks that detected COVID-19 read markers, and their accuracy fell
in other hospitals (DeGrave, Janizek & Lee 2021); and explanations miss a shortcut that nobody suspects (Adebayo et al.
2022, "Post hoc explanations may be ineffective for detecting unknown spurious correlation").

Pictures like radiographs have a lesion or none, and some the marker of a hospital. In the hospital where networks are
tested, the marker is where the lesion is. Half of the networks learnt there: the marker is as good as the lesion, a
shortcut. Honest ones learnt where the marker says nothing. The premise is that the hospital's own test images, the
internal ones, cannot tell them apart: their accuracies there are equal within 0.02. In another hospital, where the
marker says nothing, they may not be.

Measured: three audits, each a number that should be higher for a shortcut; of the positive attribution of "lesion" in
images with a lesion, averaged over images, it is

* marker known: the share in the marker, the 8 x 8 pixels of its corner (1/16 of the image);
* marker shown: the share beside the lesion, for whoever knows the lesion alone;
* marker absent: the same in images that are the same but for the marker, which they lack.

How well an audit tells networks apart is the area under the ROC curve (AUC): how often a network with a shortcut has
the higher number than an honest one; 0.5 is chance. Beside it, how often that is so on a single image. Intervals are
those of Newcombe (2006, method 5), p-values exact (Mann & Whitney), Holm's over the table. Controls: maps that do not
know the network.

Unit of replication: the network, with its own weights and training images.

An audit by an explainer tells networks apart if its interval lies above 0.75, half-way between chance and certainty,
and its p-value below 0.05. The claim is supported if all explainers tell them apart in all audits, refuted if none does
in any, and holds for those that do otherwise.

Expected: internal accuracies of at least 0.98; in the other hospital 0.98 of the honest networks and below 0.8 of the
others. AUC near 1 where the marker is known, lower where only the lesion is, and lowest where no marker is shown.

Runtime: four minutes.
Needs: pip install "xaijax[evaluate,plot,train]"
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float

import xaijax
from experiments import _figures, _tables
from experiments._experiment import Conclusion
from experiments._train import CNN, Examples, Trained, Training, train
from xaijax import data, metrics
from xaijax.propagation import epsilon_plus

SIZE = 32
CELL = 4  # pixels of a side of LIME's and occlusion's squares
CORNER = 8  # pixels of a side of the marker's corner
HIDDEN = 0.4  # what LIME and occlusion show instead: between lung and body
LESION = 1
#: What networks learnt, and how marker and lesion went together there.
GROUPS = {"honest": 0.5, "shortcut": 1.0}
INTERNAL, EXTERNAL = 1.0, 0.5
AUDITS = ("marker known", "marker shown", "marker absent")
EQUAL = 0.02
APART = 0.75


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks of each group.
      num_train: training images of a network.
      epochs: of training.
      num_test: images of either hospital that the accuracy is measured on.
      num_images: explained, each with the marker and without.
      num_samples: of LIME.
      methods: which explainers; all by default.
    """

    seeds: int = 10
    num_train: int = 3000
    epochs: int = 6
    num_test: int = 1000
    num_images: int = 16
    num_samples: int = 512
    methods: tuple[str, ...] = ()


SMOKE = Config(
    seeds=2, num_train=400, epochs=4, num_test=200, num_images=4, methods=("Grad-CAM", "gradient")
)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods, each with the network's logits or probabilities."""
    p = xaijax.probabilities(f)
    cells = SIZE // CELL
    squares = xaijax.superpixels(np.zeros((SIZE, SIZE, 1)), "grid", rows=cells, columns=cells)
    mask = xaijax.segments(squares, hidden=HIDDEN)
    window = (CELL, CELL)
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "integrated gradients": xaijax.bind(xaijax.integrated_gradients, f, num_steps=16),
        "gradient": xaijax.bind(xaijax.saliency, f),
        "occlusion": xaijax.bind(
            xaijax.occlusion, p, window=window, stride=window, baseline=HIDDEN
        ),
        "LIME": xaijax.bind(xaijax.lime, p, mask=mask, num_samples=config.num_samples),
    }
    return {name: found[name] for name in config.methods or found}


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"{group}, seed {seed}" for group in GROUPS for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The accuracies of one network, and the audits of its explanations, image by image."""
    group, _, number = unit.partition(", seed ")
    seed = int(number)
    trained = network(config, group, seed)
    marked, clean = (explained(config.num_images, correlation) for correlation in (1.0, 0.0))
    both = jax.tree.map(lambda *a: jnp.concatenate(a), marked, clean)
    found = metrics.evaluate(
        explainers(trained.model, config),
        [metrics.relevance_mass],
        trained.model,
        both.images,
        both.labels,
        jax.random.key(seed),
        masks=both.masks,
        batch_size=config.num_images,
    )
    head = {
        "group": group,
        "seed": seed,
        "internal": trained.accuracy,
        "external": hospital_accuracy(trained.model, config, EXTERNAL),
    }
    controls = set(found.table[found.table.control].explainer)
    return [
        {
            **head,
            "explainer": name,
            "control": name in controls,
            "audit": audit,
            "values": np.asarray(values, float).round(5).tolist(),
        }
        for name, maps in found.maps.items()
        if name != "oracle"
        for audit, values in audits(jnp.asarray(maps), both.masks).items()
    ]


@jax.jit
def audits(maps: jax.Array, lesions: jax.Array) -> dict[str, jax.Array]:
    """The three audits of each image: maps of images with the marker, then of the same images without it."""
    count = len(maps) // 2
    corner = jnp.zeros(maps.shape[1:], bool).at[:CORNER, :CORNER].set(True)
    beside = 1 - jax.vmap(metrics.relevance_mass)(maps, lesions)
    in_corner = jax.vmap(metrics.relevance_mass, (0, None))(maps[:count], corner)
    return dict(zip(AUDITS, (in_corner, beside[:count], beside[count:]), strict=True))


def network(config: Config, group: str, seed: int) -> Trained:
    """A trained network, with its accuracy in the hospital where networks are tested."""
    correlation, count = GROUPS[group], config.num_train
    drawn = data.chest(jax.random.key(1 + seed), count, correlation=correlation)
    known = Examples(
        (np.asarray(drawn.images), np.asarray(drawn.labels)),
        hospital(config.num_test, INTERNAL),
        f"chest {correlation} {count} {seed}",
    )
    settings = Training(epochs=config.epochs, batch_size=64)
    return train(lambda rngs: CNN(1, 2, rngs=rngs), known, settings, seed)


@functools.cache
def hospital(count: int, correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """New images of a hospital: the same for all but the marker."""
    drawn = data.chest(jax.random.key(0), count, correlation=correlation)
    return np.asarray(drawn.images), np.asarray(drawn.labels)


def hospital_accuracy(f: Any, config: Config, correlation: float) -> float:
    """How often a network is right in a hospital."""
    x, y = hospital(config.num_test, correlation)
    return float((np.asarray(_answers(f, jnp.asarray(x))) == y).mean())


@jax.jit
def _answers(f: Any, x: jax.Array) -> jax.Array:
    return jax.vmap(f)(x).argmax(-1)


@functools.cache
def explained(count: int, correlation: float) -> data.Chest:
    """Images with a lesion that no network has seen, all with the marker (1) or all without (0)."""
    drawn = data.chest(jax.random.key(1000), 4 * count, correlation=correlation)
    chosen = np.flatnonzero(np.asarray(drawn.labels) == LESION)[:count]
    return jax.tree.map(lambda a: a[chosen], drawn)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which audits tell the groups apart."""
    found = areas(table)
    own = found[~found.control]
    apart = own[(own.low > APART) & (own.p < 0.05)]
    verdict = "supported" if len(apart) == len(own) else "only if" if len(apart) else "refuted"
    networks = table.drop_duplicates("unit")
    accuracy_of = networks.set_index(["group", "seed"])[["internal", "external"]].unstack("group")
    first = {audit: _best(own[own.audit == audit]) for audit in AUDITS}
    effect = (
        "AUC of the explainer that does best: "
        + "; ".join(f"{audit}, {row.explainer} {_interval(row)}" for audit, row in first.items())
        + f" (n={config.seeds} and {config.seeds} networks)."
    )
    gap = accuracy_of["internal", "shortcut"] - accuracy_of["internal", "honest"]
    between = metrics.mean_interval(gap.to_numpy())
    equal = between.low > -EQUAL and between.high < EQUAL
    fallen = metrics.mean_interval(
        (accuracy_of["external", "shortcut"] - accuracy_of["external", "honest"]).to_numpy()
    )
    singles = ", ".join(f"{row.single:.2f} ({audit})" for audit, row in first.items())
    text = (
        "In the hospital of the test images, the accuracy of networks with the shortcut is "
        f"{_tables.interval(*between[:3])} above that of honest ones: {'equal' if equal else 'not surely equal'} "
        f"within {EQUAL:g}. In the other hospital the difference is {_tables.interval(*fallen[:3])}. "
        f"{_counts(own, apart)} On a single image, the same explainers have the higher number for the network with the "
        f"shortcut in {singles} of all pairs. Internal accuracies are {networks.internal.min():.3f} to "
        f"{networks.internal.max():.3f}."
    )
    return Conclusion(
        verdict=verdict,
        only_if=_condition(apart) if verdict == "only if" else "",
        effect=effect,
        text=text,
        tables={
            "AUC": _area_table(found),
            "audits": _audit_table(table),
            "accuracy": _accuracy_table(networks),
        },
        figures={
            "audits and accuracy": draw(table, str(first[AUDITS[0]].explainer)),
            "audits": draw_audits(table),
        },
        sources=(
            *(xaijax.grad_cam, xaijax.lrp, xaijax.integrated_gradients, xaijax.saliency),
            *(xaijax.occlusion, xaijax.lime, metrics.relevance_mass),
        ),
    )


def areas(table: pd.DataFrame) -> pd.DataFrame:
    """The AUC of each explainer and audit, over networks and on single images."""
    from scipy import stats

    rows = []
    for (audit, name), part in table.groupby(["audit", "explainer"], sort=False):
        honest, shortcut = (_numbers(part[part.group == group]) for group in GROUPS)
        of_networks = _means(honest), _means(shortcut)
        area = auc(*of_networks)
        images = zip(honest.T, shortcut.T, strict=True)
        rows.append(
            {
                "audit": audit,
                "explainer": name,
                "control": part.control.iloc[0],
                "area": area,
                **dict(
                    zip(
                        ("low", "high"), auc_interval(area, len(honest), len(shortcut)), strict=True
                    )
                ),
                "single": metrics.mean_interval([auc(*pair) for pair in images]).mean,
                "p": float(stats.mannwhitneyu(*of_networks, method="exact").pvalue),
            }
        )
    found = pd.DataFrame(rows)
    own = ~found.control.to_numpy(bool)
    p = np.full(len(found), np.nan)
    p[own] = metrics.holm(found.p.to_numpy()[own])
    return found.assign(p=p)


def _numbers(part: pd.DataFrame) -> np.ndarray:
    """Networks by images."""
    return np.array(part["values"].tolist(), float)


def _means(numbers: np.ndarray) -> np.ndarray:
    """Of the images that have a number: a map with nothing positive has none."""
    return np.array([metrics.mean_interval(of_images).mean for of_images in numbers])


def auc(honest: Float[np.ndarray, " m"], shortcut: Float[np.ndarray, " n"]) -> float:
    """How often the second has the higher number, ties half; of those that have one."""
    honest, shortcut = (a[np.isfinite(a)] for a in (honest, shortcut))
    if not len(honest) or not len(shortcut):
        return float("nan")
    d = shortcut[:, None] - honest
    return float(((d > 0) + 0.5 * (d == 0)).mean())


def auc_interval(area: float, m: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of an AUC (Newcombe 2006, method 5): areas from which the found one is not too far.

    Too far is more than z standard errors, which are those of Hanley & McNeil (1982) at that area, with half the number
    of both for the number of either. It stays within 0 and 1, and an area of 1 has an interval, too.

    Args:
      area: that was found.
      m: how many are in one group.
      n: how many are in the other.
      level: of confidence.
    """
    from scipy import optimize, stats

    z, more = stats.norm.ppf((1 + level) / 2), (m + n) / 2 - 1

    def beyond(t: float) -> float:
        of_both = (1 - t) / (2 - t) + t / (1 + t)
        return (area - t) ** 2 - z**2 * t * (1 - t) * (1 + more * of_both) / (m * n)

    # At 0 and at 1 the standard error is 0: an area there would be its own end.
    low = optimize.brentq(beyond, 0, area - 1e-9) if area > 0 else 0.0
    high = optimize.brentq(beyond, area + 1e-9, 1) if area < 1 else 1.0
    return float(low), float(high)  # pyright: ignore[reportArgumentType]


def _best(part: pd.DataFrame) -> Any:
    return part.loc[part.area.idxmax()]


def _interval(row: Any) -> str:
    return _tables.interval(row.area, row.low, row.high, digits=2)


def _counts(own: pd.DataFrame, apart: pd.DataFrame) -> str:
    """A sentence on how many explainers pass each audit."""
    parts = []
    for audit in AUDITS:
        total, told = (int((part.audit == audit).sum()) for part in (own, apart))
        parts.append(f"{told} of {total} ({audit})")
    return f"Of the explainers, the networks are told apart by {', '.join(parts)}."


def _condition(apart: pd.DataFrame) -> str:
    parts = [
        f"{audit}: {', '.join(part.explainer)}"
        for audit, part in apart.groupby("audit", sort=False)
    ]
    return f"audit and explainer are one of these: {'; '.join(parts)}"


def draw(table: pd.DataFrame, explainer: str) -> Any:
    """The audits of one explainer by the accuracy in the other hospital, network by network."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(AUDITS), figsize=(12, 3.9), layout="constrained")
    here = table[table.explainer == explainer]
    for axis, audit in zip(axes, AUDITS, strict=True):
        for group, mark, colour in (("honest", "o", "#0072B2"), ("shortcut", "s", "#D55E00")):
            part = here[(here.audit == audit) & (here.group == group)]
            means = _means(_numbers(part))
            axis.plot(part.external, means, mark, color=colour, label=group, alpha=0.8)
        where = "in the marker" if audit == AUDITS[0] else "beside the lesion"
        axis.set(xlabel="accuracy in the other hospital", ylabel=f"share {where}", title=audit)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    axes[0].legend(title=f"{explainer}, networks", frameon=False)
    return figure


def draw_audits(table: pd.DataFrame) -> Any:
    """The numbers of both groups in each audit, explainer by explainer."""
    panels: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for audit in AUDITS:
        where = "in the marker" if audit == AUDITS[0] else "beside the lesion"
        panels[f"share {where} ({audit})"] = {
            group: {
                str(name): _means(_numbers(each))
                for name, each in part.groupby("explainer", sort=False)
            }
            for group, part in table[table.audit == audit].groupby("group", sort=False)
        }
    return _figures.dots(panels, unit="networks", width=3.6)


def _area_table(found: pd.DataFrame) -> pd.DataFrame:
    cells = {
        "AUC": [_interval(row) for _, row in found.iterrows()],
        "p, Holm": ["" if p != p else f"{p:.4f}" for p in found.p],
        "AUC on one image": found.single.round(3),
    }
    return found[["audit", "explainer"]].assign(**cells)


def _audit_table(table: pd.DataFrame) -> pd.DataFrame:
    """Explainers by groups, the mean over networks."""
    rows = []
    for (audit, name), part in table.groupby(["audit", "explainer"], sort=False):
        row: dict[str, Any] = {"audit": audit, "explainer": name}
        for group, each in part.groupby("group", sort=False):
            means = _means(_numbers(each))
            row[str(group)] = _tables.interval(*metrics.mean_interval(means)[:3], digits=2)
        rows.append(row)
    return pd.DataFrame(rows)


def _accuracy_table(networks: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for group, part in networks.groupby("group", sort=False):
        cells = {
            f"{where} hospital": _tables.interval(
                *metrics.mean_interval(part[where].to_numpy())[:3]
            )
            for where in ("internal", "external")
        }
        rows.append({"networks": group, **cells, "n": len(part)})
    return pd.DataFrame(rows)
