"""Do metrics agree on which explanation is better, and do they know the right one when they see it?

Claim: explanations such as Grad-CAM's are hard to evaluate quantitatively (popular write-ups); against it, that
metrics of faithfulness, robustness, complexity and localisation evaluate improvements of them (Hedström et al. 2023,
"Quantus").

Networks of several seeds learn to tell `shapes` apart. Eight explainers are judged by ten metrics of four categories,
together with two maps of which the order is known: the object itself (oracle), which is right as far as the network
looks at the object, and random numbers. Five of the metrics are also computed by other settings: another baseline,
fewer steps, patches instead of pixels, another radius.

Measured: Kendall's tau between the orders that two metrics give to the explainers; the share of metrics that put the
oracle first, and of images on which they do; tau between settings of one metric; a table of all. Unit of replication:
the network; images are averaged, orders are those of a network's means. Intervals are Student's t over networks. The
oracle is no explainer, so it has no robustness, and that metric does not vote on it.

The claim has two parts. Metrics disagree: the mean tau between metrics of different categories is below 0.5, with its
interval. They do not know the right answer: fewer than half of the metrics put the oracle first, with its interval. It
is supported if both hold, and refuted if neither does.

Expected: a mean tau between categories of 0 to 0.3, within a category above 0.5 except for faithfulness; all metrics of
localisation put the oracle first, for it is their own yardstick, and few others do; settings of one metric agree with a
tau above 0.6. Test accuracy of the networks: at least 99 %.

Needs: pip install "xaijax[evaluate,plot,train]"
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd

import xaijax
from experiments import _seeds, _tables
from experiments._experiment import Conclusion
from experiments._networks import shapes_network, shapes_test
from xaijax import metrics
from xaijax.propagation import epsilon_plus

KNOWN = ("oracle", "random")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      seeds: how many networks.
      epochs: of training.
      num_train: images that they learn from.
      num_images: explained.
      num_steps: of metrics that remove pixels, and of integrated gradients.
      num_samples: of sampling methods and metrics.
      methods: which explainers; all by default.
      judges: which metrics; all by default.
    """

    seeds: int = 5
    epochs: int = 6
    num_train: int = 8000
    num_images: int = 32
    num_steps: int = 32
    num_samples: int = 8
    methods: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()


SMOKE = Config(
    seeds=2,
    epochs=1,
    num_train=400,
    num_images=4,
    num_steps=4,
    num_samples=2,
    methods=("Grad-CAM", "gradient", "integrated gradients"),
    judges=("deletion", "deletion, grey", "sparseness", "relevance mass"),
)


def explainers(f: Any, config: Config) -> dict[str, Any]:
    """The methods that are judged."""
    gradient = xaijax.bind(xaijax.saliency, f)
    steps = {"num_steps": config.num_steps}
    found = {
        "Grad-CAM": xaijax.bind(xaijax.grad_cam, f),
        "Grad-CAM++": xaijax.bind(xaijax.grad_cam_pp, f),
        "Score-CAM": xaijax.bind(xaijax.score_cam, f),
        "LRP EpsilonPlus": xaijax.bind(xaijax.lrp, f, composite=epsilon_plus()),
        "integrated gradients": xaijax.bind(xaijax.integrated_gradients, f, **steps),
        "gradient": gradient,
        "SmoothGrad": xaijax.bind(xaijax.smooth_grad, gradient, num_samples=config.num_samples),
        "occlusion": xaijax.bind(xaijax.occlusion, f, window=(4, 4), stride=(4, 4)),
    }
    return {name: found[name] for name in config.methods or found}


@functools.cache
def judges(config: Config) -> dict[str, Callable[..., Any]]:
    """The metrics; what stands after a comma is another setting of the one before."""
    steps, samples = {"num_steps": config.num_steps}, {"num_samples": config.num_samples}
    squares = xaijax.superpixels(np.zeros((32, 32, 1)), "grid", rows=8, columns=8)
    deletion = functools.partial(metrics.deletion_auc, **steps)
    insertion = functools.partial(metrics.insertion_auc, **steps)
    sensitivity = functools.partial(metrics.max_sensitivity, radius=0.1, **samples)
    correlation = functools.partial(metrics.faithfulness_correlation, num_samples=64)
    found = {
        "deletion": deletion,
        "insertion": insertion,
        "faithfulness correlation": correlation,
        "average drop": metrics.average_drop,
        "max-sensitivity": sensitivity,
        "complexity": metrics.complexity,
        "sparseness": metrics.sparseness,
        "relevance mass": metrics.relevance_mass,
        "pointing game": metrics.pointing_game,
        "AUC": metrics.auc,
        "deletion, grey": functools.partial(deletion, baseline=0.5),
        "deletion, fewer steps": functools.partial(
            deletion, num_steps=max(config.num_steps // 4, 1)
        ),
        "deletion, patches": functools.partial(deletion, mask=xaijax.segments(squares, hidden=0.0)),
        "insertion, black": functools.partial(insertion, baseline=0.0),
        "faithfulness correlation, grey": functools.partial(correlation, baseline=0.5),
        "average drop, grey": functools.partial(metrics.average_drop, baseline=0.5),
        "max-sensitivity, smaller": functools.partial(sensitivity, radius=0.02),
    }
    return {name: found[name] for name in config.judges or found}


def category(judge: Any) -> str:
    """Of a metric, with settings or without."""
    while isinstance(judge, functools.partial):
        judge = judge.func
    return judge.kind.category


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The mean of every explainer by every metric, and on how many images the oracle comes first."""
    seed = int(unit.split()[1])
    trained = shapes_network(seed, epochs=config.epochs, num_train=config.num_train)
    f, drawn = trained.model, shapes_test(config.num_images)
    found = metrics.evaluate(
        explainers(f, config),
        judges(config),
        xaijax.probabilities(f),
        drawn.images,
        drawn.labels,
        jax.random.key(seed),
        masks=drawn.masks,
        batch_size=32,
    )
    rows = _seeds.means(found.table, accuracy=trained.accuracy, kind="mean")
    known = found.table[~found.table.control | found.table.explainer.isin(KNOWN)]
    for row in metrics.meta_evaluation(known).to_dict("records"):
        numbers = {k: round(float(row[k]), 6) for k in ("oracle_first", "oracle_over_random")}
        rows.append({"kind": "images", "metric": row["metric"], "n": int(row["n"]), **numbers})
    return rows


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whether metrics agree, and whether they know the right answer."""
    kinds = {name: category(judge) for name, judge in judges(config).items()}
    means = table[table.kind == "mean"]
    ranked = means[~means.control.astype(bool) | means.explainer.isin(KNOWN)]
    orders = [_order(part) for _, part in ranked.groupby("unit", sort=False)]
    main = [name for name in kinds if ", " not in name]
    across = [p for p in itertools.combinations(main, 2) if kinds[p[0]] != kinds[p[1]]]
    within = [p for p in itertools.combinations(main, 2) if kinds[p[0]] == kinds[p[1]]]
    settings = [(name.split(", ")[0], name) for name in kinds if ", " in name]
    tau = {
        title: metrics.mean_interval([_mean(order, pairs) for order in orders])
        for title, pairs in (("across", across), ("within", within), ("settings", settings))
    }
    first = _oracle_first(ranked, main)
    share = metrics.mean_interval(first.mean(axis=1).to_numpy())
    disagree, blind = bool(tau["across"].high < 0.5), bool(share.high < 0.5)
    words = {True: "metrics disagree", False: "they do not know the right answer"}
    effect = (
        f"Kendall's tau between metrics of different categories {_text(tau['across'])}; "
        f"{_text(share)} of the metrics that judge the oracle put it first (n={config.seeds} networks)."
    )
    networks = table.drop_duplicates("unit")
    text = (
        f"Within a category tau is {_text(tau['within'])}, between settings of one metric {_text(tau['settings'])}. "
        f"The oracle is first on every network by {_list(first, 1.0)}, and on none by {_list(first, 0.0)}. The "
        f"networks' test accuracy is {networks.accuracy.min():.3f} to {networks.accuracy.max():.3f}."
    )
    return Conclusion(
        verdict="supported"
        if disagree and blind
        else "only if"
        if disagree or blind
        else "refuted",
        only_if=f"it says that {words[disagree]}" if disagree != blind else "",
        effect=effect,
        text=text,
        tables={
            "leaderboard": _leaderboard(means, kinds, main),
            "means": _seeds.readable(_seeds.summary(means[means.metric.isin(main)])),
            "oracle": _oracle_table(table, kinds, first),
            "settings": _settings(orders, settings),
            "agreement": _matrix(orders, list(kinds)).round(2).rename_axis("metric").reset_index(),
            "networks": _seeds.accuracies(means),
        },
        figures={"agreement": draw(_matrix(orders, main), kinds, first)},
        sources=_sources(),
    )


def _order(part: pd.DataFrame) -> pd.DataFrame:
    """Kendall's tau between all metrics on one network."""
    return metrics.rank_agreement(part.dropna(subset=["value"]))


def _mean(order: pd.DataFrame, pairs: list[tuple[str, str]]) -> float:
    values = np.array([order.loc[a, b] for a, b in pairs if {a, b} <= set(order)], float)
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _matrix(orders: list[pd.DataFrame], names: list[str]) -> pd.DataFrame:
    """The mean of tau over the networks."""
    stacked = np.stack([order.reindex(index=names, columns=names).to_numpy() for order in orders])
    known = np.isfinite(stacked).sum(0)
    mean = np.where(np.isfinite(stacked), stacked, 0).sum(0) / np.where(known, known, np.nan)
    return pd.DataFrame(mean, names, names)


def _oracle_first(ranked: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Networks by metrics: whether nothing has a better mean than the oracle."""
    columns = {}
    for name in names:
        wide = _seeds.wide(ranked, name)
        if "oracle" in wide and wide["oracle"].notna().any():
            better = ranked[ranked.metric == name].better.iloc[0]
            wide = wide if better == "higher" else -wide
            columns[name] = (wide["oracle"] >= wide.max(axis=1)).astype(float)
    return pd.DataFrame(columns)


def _list(first: pd.DataFrame, share: float) -> str:
    return ", ".join(name for name in first if first[name].mean() == share) or "none"


def _text(found: metrics.Interval) -> str:
    return _tables.interval(*found[:3], digits=2)


def _leaderboard(means: pd.DataFrame, kinds: dict[str, str], names: list[str]) -> pd.DataFrame:
    """The mean rank of each explainer in each category, 1 the best."""
    own = means[~means.control.astype(bool) & means.metric.isin(names)]
    sign = own.better.map({"higher": -1.0, "lower": 1.0})
    scored = own.assign(score=own.value * sign, category=own.metric.map(kinds))
    scored["rank"] = scored.groupby(["unit", "metric"]).score.rank()
    rows: dict[str, dict[str, str]] = {name: {} for name in dict.fromkeys(own.explainer)}
    for (name, kind), part in scored.groupby(["explainer", "category"], sort=False):
        ranks = part.groupby("unit")["rank"].mean().to_numpy()
        rows[str(name)][str(kind)] = _text(metrics.mean_interval(ranks))
    total = scored.groupby("explainer")["rank"].mean().sort_values()
    return pd.DataFrame(rows).T.loc[list(total.index)].rename_axis("explainer").reset_index()


def _oracle_table(table: pd.DataFrame, kinds: dict[str, str], first: pd.DataFrame) -> pd.DataFrame:
    """How often each metric puts the oracle first, over networks and over images."""
    rows = []
    for name, part in table[table.kind == "images"].groupby("metric", sort=False):
        judged = part[part.n > 0]
        rows.append(
            {
                "metric": name,
                "category": kinds[str(name)],
                "first by the mean, networks": f"{int(first[name].sum())} of {len(first)}"
                if name in first
                else "",
                "first, share of images": _of_images(judged.oracle_first),
                "over random, share of images": _of_images(judged.oracle_over_random),
            }
        )
    return pd.DataFrame(rows)


def _of_images(values: pd.Series) -> str:
    return _text(metrics.mean_interval(values.to_numpy())) if len(values) else ""


def _settings(orders: list[pd.DataFrame], pairs: list[tuple[str, str]]) -> pd.DataFrame:
    """How alike a metric orders by its own and by other settings."""
    return pd.DataFrame(
        [
            {
                "metric": a,
                "other setting": b.split(", ")[1],
                "Kendall's tau": _text(metrics.mean_interval([_mean(o, [(a, b)]) for o in orders])),
            }
            for a, b in pairs
        ]
    )


def draw(tau: pd.DataFrame, kinds: dict[str, str], first: pd.DataFrame) -> Any:
    """Agreement of metrics, with the categories framed; beside it how often each puts the oracle first."""
    from matplotlib import pyplot as plt

    names, n = list(tau), len(tau)
    figure, (left, right) = plt.subplots(
        1,
        2,
        figsize=(3.8 + 0.72 * n, 1.6 + 0.5 * n),
        width_ratios=(n, 2.2),
        layout="constrained",
        sharey=True,
    )
    drawn = left.imshow(tau.to_numpy(), cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(tau.to_numpy()):
        colour = "white" if abs(value) > 0.6 else "0.1"
        left.text(j, i, f"{value:.1f}", ha="center", va="center", fontsize=9, color=colour)
    left.set_yticks(range(n), [f"{name}  ({kinds[name]})" for name in names])
    left.set_xticks(range(n), names, rotation=40, ha="right")
    start = 0
    for _, group in itertools.groupby(names, key=lambda name: kinds[name]):
        size = len(list(group))
        frame = plt.Rectangle((start - 0.5, start - 0.5), size, size, fill=False, lw=2, ec="black")
        left.add_patch(frame)
        start += size
    left.set_title("Kendall's tau of the orders; a category is framed", fontsize=10, loc="left")
    figure.colorbar(drawn, ax=left, fraction=0.04, pad=0.02)
    for i, name in enumerate(names):
        if name in first:
            right.barh(i, first[name].mean(), color="#0072B2")
            right.text(0.02, i, "never" if not first[name].any() else "", va="center", fontsize=9)
        else:
            right.text(0.02, i, "has no number", va="center", fontsize=9, color="0.4")
    right.set(xlim=(0, 1))
    right.set_title("oracle first\n(share of networks)", fontsize=10, loc="left")
    right.spines[["top", "right"]].set_visible(False)
    return figure


def _sources() -> tuple[Any, ...]:
    methods = (
        "grad_cam grad_cam_pp score_cam lrp integrated_gradients saliency smooth_grad occlusion"
    )
    used = "deletion_auc insertion_auc faithfulness_correlation average_drop max_sensitivity complexity sparseness"
    return (
        *(getattr(xaijax, name) for name in methods.split()),
        *(getattr(metrics, name) for name in f"{used} relevance_mass pointing_game auc".split()),
    )
