"""Do explanations name what goes with the outcome, also where it is no cause of it?

Claim: statistics asks for causes, a learning machine for correlations; so a model may learn a wrong cause (popular
introductions to explainable AI), and what explains the model then names it. The matter itself is that of Pearl (2009,
"Causality"): what is seen together with x is not what happens if x is set.

The structure is known, since we draw from it. All that is not set is standard normal; z is the confounder:

    spurious = r z + sqrt(1 - r^2) e,    y = 1 if cause + s z + t e' > 0, else 0

so that `spurious` goes with y through z alone, and setting it, do(spurious), leaves every y as it was. `noise` goes
with nothing: the control. A fourth column has z where the confounder is measured, and other noise where it is hidden.
Models learn y of the four columns. Beside them stand two functions that need no learning: the best prediction,
P(y | columns), which more data and a better model come near to, and the causal effect, P(y | do(columns)).

Measured: the share of a column in the attribution: the mean over rows of its |Shapley value| (exact, 32 rows in the
background) or |weight| (LIME, its neighbours drawn bin by bin), over the sum of all columns'. The change of y if a
column is set to one more, row by row with nothing else changed, against the change that the model predicts. The
accuracy on new rows, and on rows whose spurious column is set at random. Unit of replication: the sample, with its
models; intervals are Student's t.

The claim is supported if in every setting with a hidden confounder (strength s, model, explainer) the spurious column's
share lies above that of noise by more than 0.1, by the whole interval at a level that holds for all settings together
(Bonferroni), while no y changes by do(spurious); it is refuted if the share does so in none, and holds under a
condition otherwise.

Expected: shares of the spurious column of the best prediction, about s r / (1 + s r), of 0.47 at s = 1 and 0.64 at 2,
with those of models near them; 0 of the causal effect. With z measured, near 0 for the regression and above it for the
forest, which splits by whatever goes with y. At s = 0 as noise. Accuracy falls where the spurious column is set at
random.

Runtime: two minutes.
Needs: pip install "xaijax[data,evaluate,plot]"
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

import xaijax
from experiments import _figures, _tables, _tabular
from experiments._experiment import Conclusion
from xaijax import metrics

COLUMNS = ("cause", "spurious", "noise", "fourth")
ARMS = ("hidden", "measured")
BEST, CAUSAL = "best prediction", "causal effect"
SHAP, LIME = "Shapley values", "LIME"
CORRELATION = 0.9  # of the spurious column and z: r
SPREAD = 0.5  # of what else moves y: t
NUM_BACKGROUND = 32
MARGIN = 0.1


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      kinds: of models.
      strengths: how much of y the confounder makes: s.
      seeds: how many samples.
      num_rows: that models learn from; as many are tested.
      num_explained: test rows that are explained.
      num_samples: of LIME.
    """

    kinds: tuple[str, ...] = ("logistic regression", "MLP", "random forest")
    strengths: tuple[float, ...] = (0.0, 1.0, 2.0)
    seeds: int = 8
    num_rows: int = 2000
    num_explained: int = 64
    num_samples: int = 1000


SMOKE = Config(
    ("logistic regression", "random forest"),
    strengths=(1.0,),
    seeds=2,
    num_rows=300,
    num_explained=8,
    num_samples=100,
)


class Sample(NamedTuple):
    """Rows drawn from the structure.

    Attributes:
      x: the columns.
      y: what is to be predicted.
      z: the confounder.
      rest: what else moves y.
    """

    x: Float[np.ndarray, "n 4"]
    y: Float[np.ndarray, " n"]
    z: Float[np.ndarray, " n"]
    rest: Float[np.ndarray, " n"]


def draw_sample(
    seed: int, count: int, strength: float, arm: str, do: dict[str, Any] | None = None
) -> Sample:
    """Rows of the structure, from the top to the bottom.

    Args:
      seed: of all that is drawn: with another `do` all else stays the same.
      count: how many rows.
      strength: s.
      arm: whether the confounder is "hidden" or "measured".
      do: columns that are set, whatever would have made them.
    """
    z, cause, e, noise, other, rest = np.random.default_rng(seed).standard_normal((6, count))
    made = {
        "cause": cause,
        "spurious": CORRELATION * z + np.sqrt(1 - CORRELATION**2) * e,
        "noise": noise,
        "fourth": z if arm == "measured" else other,
    }
    made |= do or {}
    y = made["cause"] + strength * z + SPREAD * rest > 0
    x = np.stack([made[name] for name in COLUMNS], 1).astype(np.float32)
    return Sample(x, y.astype(int), z, rest)


def known_functions(strength: float, arm: str) -> dict[str, Any]:
    """The best prediction, and the effect of setting columns: closed forms, as JAX programs to probabilities.

    Given the spurious column, z is normal with mean r spurious and variance 1 - r^2. Who sets columns leaves z as it
    was, and then it is one more thing that moves y.
    """
    s, r, t = strength, CORRELATION, SPREAD
    if arm == "measured":
        best = np.array([1, 0, 0, s]) / t
    else:
        best = np.array([1, s * r, 0, 0]) / np.hypot(s * np.sqrt(1 - r**2), t)
    causal = np.array([1, 0, 0, 0]) / np.hypot(s, t)
    return {
        name: jax.tree_util.Partial(_normal, jnp.asarray(w, jnp.float32))
        for name, w in ((BEST, best), (CAUSAL, causal))
    }


def _normal(w: Float[Array, "4"], x: Float[Array, "4"]) -> Float[Array, "2"]:
    return jax.scipy.stats.norm.cdf(jnp.stack([-1.0, 1.0]) * (x @ w))


def explainers(f: Any, rows: np.ndarray, config: Config) -> dict[str, Any]:
    """The methods, each with the model's probabilities."""
    mask = xaijax.columns(jnp.asarray(rows[:NUM_BACKGROUND]))
    bins = xaijax.binned_columns(rows)
    return {
        SHAP: xaijax.bind(xaijax.exact_shapley, f, mask=mask),
        LIME: xaijax.bind(xaijax.lime, f, mask=bins, num_samples=config.num_samples),
    }


def units(config: Config) -> list[str]:
    """One sample each."""
    return [
        f"confounder {arm}, strength {strength}, seed {seed}"
        for arm in ARMS
        for strength in config.strengths
        for seed in range(config.seeds)
    ]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """Shares, effects and accuracies of all models of one sample."""
    arm, strength, number = (part.split()[-1] for part in unit.split(", "))
    s, seed = float(strength), int(number)
    train = draw_sample(1 + seed, config.num_rows, s, arm)
    # Rows to test on: of seeds that no model learns from.
    of_test = 10_000 + seed
    test = draw_sample(of_test, config.num_rows, s, arm)
    table = _tabular.Table(train[:2], test[:2], COLUMNS)
    models = {k: _tabular.fit(k, table, seed).f for k in config.kinds}  # pyright: ignore[reportArgumentType]
    head = {"arm": arm, "strength": s, "seed": seed}
    true = {name: effect(of_test, test, s, arm, name) for name in COLUMNS[:3]}
    at_random = np.random.default_rng(seed).permutation(test.x[:, 1])
    broken = draw_sample(of_test, config.num_rows, s, arm, {"spurious": at_random})
    rows = []
    for name, f in {**models, **known_functions(s, arm)}.items():
        scores = {
            "accuracy": accuracy(f, test),
            "set at random": accuracy(f, broken),
        }
        rows += [
            {**head, "model": name, "kind": "accuracy", **scores},
            {**head, "model": name, "kind": "effect", **effects(f, test, true)},
        ]
        for explainer, explain in explainers(f, train.x, config).items():
            found = shares(explain, test.x[: config.num_explained], seed)
            rows.append({**head, "model": name, "kind": "share", "explainer": explainer, **found})
    return rows


def shares(explain: Any, x: np.ndarray, seed: int) -> dict[str, float]:
    """Each column's part of the mean sizes of the attributions of y = 1."""
    key = (
        (jax.random.key(seed),) if explain.explain is xaijax.lime else ()
    )  # the other draws nothing
    sizes = np.abs(np.asarray(_explained(explain, jnp.asarray(x), key))).mean(0)
    return {n: round(float(v), 6) for n, v in zip(COLUMNS, sizes / sizes.sum(), strict=True)}


@jax.jit
def _explained(explain: Any, xs: Any, key: tuple[Any, ...]) -> Any:
    """All rows; one program for the models of a kind."""
    return jax.vmap(lambda x: explain(x, 1, *key))(xs)


def effect(seed: int, test: Sample, strength: float, arm: str, column: str) -> np.ndarray:
    """The change of each y if a column is set to one more than it is."""
    more = test.x[:, COLUMNS.index(column)].astype(float) + 1
    return draw_sample(seed, len(test.y), strength, arm, {column: more}).y - test.y


def effects(f: Any, test: Sample, true: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean change of y, and that of the model's probability, for one more of each column."""
    found = {}
    for name, change in true.items():
        step = np.eye(len(COLUMNS), dtype=np.float32)[COLUMNS.index(name)]
        predicted = _probability(f, test.x + step) - _probability(f, test.x)
        found[f"{name}, true"] = round(float(change.mean()), 6)
        found[f"{name}, predicted"] = round(float(predicted.mean()), 6)
        found[f"{name}, changed"] = int((change != 0).sum())
    return found


def _probability(f: Any, x: np.ndarray) -> np.ndarray:
    return np.asarray(_tabular.forward()(f, jnp.asarray(x)))[:, 1]


def accuracy(f: Any, rows: Sample) -> float:
    """How often the more probable class is y."""
    return round(float(((_probability(f, rows.x) > 0.5) == rows.y).mean()), 6)


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Whether attributions name the spurious column, and whether setting it does anything."""
    share, effect = (table[table.kind == kind] for kind in ("share", "effect"))
    found = compared(config, share)
    hidden = found[(found.arm == "hidden") & (found.strength > 0)]
    samples = effect.drop_duplicates("unit")
    changed, total = int(samples["spurious, changed"].sum()), len(samples) * config.num_rows
    named = hidden[hidden.low > MARGIN]
    holds = len(named) == len(hidden) and not changed
    verdict = "supported" if holds else "only if" if len(named) and not changed else "refuted"
    strongest = max(config.strengths)
    first = config.kinds[0]
    at = (share.arm == "hidden") & (share.strength == strongest) & (share.model == first)
    parts = [
        f"{name} {_text(part.spurious)} (noise {_text(part.noise)})"
        for name, part in share[at].groupby("explainer", sort=False)
    ]
    says = (
        f"Share of the spurious column at strength {strongest:g}, confounder hidden, {first}: "
        f"{', '.join(parts)}; of {total} y, {changed} changed by setting it (n={config.seeds} samples)."
    )
    missing = hidden[~(hidden.low > MARGIN)]
    rest = "; ".join(f"{r.explainer} of {r.model} at {r.strength:g}" for r in missing.itertuples())
    return Conclusion(
        verdict=verdict,
        only_if=f"it is not about {rest}" if verdict == "only if" else "",
        effect=says,
        text=_says(config, table, found),
        tables={
            "shares": _share_table(share),
            "spurious less noise": _difference_table(found),
            "effect of one more": _effect_table(effect),
            "accuracy": _accuracy_table(table[table.kind == "accuracy"]),
        },
        figures={
            "attribution and effect": draw(config, share, effect),
            "share by strength": draw_strengths(share),
        },
        sources=(xaijax.exact_shapley, xaijax.lime),
    )


def compared(config: Config, share: pd.DataFrame) -> pd.DataFrame:
    """How far the share of the spurious column is above that of noise, for each model that has learnt."""
    keys = ["arm", "strength", "model", "explainer"]
    learnt = share[share.model.isin(config.kinds)]
    tests = sum(s > 0 for s in config.strengths) * len(config.kinds) * 2
    rows = []
    for setting, part in learnt.groupby(keys, sort=False):
        d = (part.spurious - part.noise).to_numpy(float)
        head = dict(zip(keys, setting, strict=True))  # pyright: ignore[reportArgumentType]
        rows.append({**head, **metrics.mean_interval(d, level=1 - 0.05 / tests)._asdict()})
    return pd.DataFrame(rows)


def _says(config: Config, table: pd.DataFrame, found: pd.DataFrame) -> str:
    """What the numbers say beyond the effect."""
    s = max(config.strengths)
    here = table[table.strength == s]
    share, effect, right = (here[here.kind == kind] for kind in ("share", "effect", "accuracy"))
    causal = share[(share.model == CAUSAL) & (share.arm == "hidden")].groupby(
        "explainer", sort=False
    )
    measured = found[(found.arm == "measured") & (found.strength == s)]
    still = measured[measured.low > 0]
    of = ", ".join(f"{r.explainer} of {r.model}" for r in still.itertuples()) or "none"
    hidden = effect[(effect.arm == "hidden") & effect.model.isin(config.kinds)]
    mean = {
        name: _text(hidden[name].groupby(hidden.seed).mean(), 3)
        for name in ("spurious, predicted", "cause, predicted", "cause, true")
    }
    drops = right[(right.arm == "hidden") & right.model.isin(config.kinds)]
    lost = (drops.accuracy - drops["set at random"]).groupby(drops.seed).mean()
    return (
        f"At strength {s:g} with the confounder hidden, one more of the spurious column changes the models' "
        f"probability of y = 1 by {mean['spurious, predicted']}, and y by {hidden['spurious, true'].mean():.3f}; one "
        f"more of the cause changes them by {mean['cause, predicted']} and {mean['cause, true']}. Accuracy falls by "
        f"{_text(lost, 3)} where the spurious column is set at random. With the confounder measured, the share of the "
        f"spurious column is still surely above that of noise for: {of}. Asked about the causal effect instead of a "
        "model, the explainers put on the spurious column "
        f"{', '.join(f'{_text(part.spurious)} ({name})' for name, part in causal)}: what they explain is the function "
        "that they are given, and a model is one of what is seen together."
    )


def _text(values: Any, digits: int = 2) -> str:
    return _tables.interval(*metrics.mean_interval(np.asarray(values, float))[:3], digits=digits)


def draw(config: Config, share: pd.DataFrame, effect: pd.DataFrame) -> Any:
    """Shares beside effects, column by column, of every model and of both known functions."""
    s = max(config.strengths)
    share, effect = (
        part[(part.arm == "hidden") & (part.strength == s)] for part in (share, effect)
    )
    models = list(dict.fromkeys(share.model))
    rows = [(model, column) for model in models for column in COLUMNS[:3]]
    attributed, changes = {}, {"predicted": {}, "true, by do(x)": {}}
    for name, part in share.groupby("explainer", sort=False):
        attributed[name] = {f"{m}: {c}": part[part.model == m][c] for m, c in rows}
    for m, c in rows:
        part = effect[effect.model == m]
        changes["predicted"][f"{m}: {c}"] = part[f"{c}, predicted"]
        changes["true, by do(x)"][f"{m}: {c}"] = part[f"{c}, true"]
    panels = {
        "share of the attribution": attributed,
        "change of P(y = 1) by one more": changes,
    }
    lines = {"change of P(y = 1) by one more": 0.0}
    return _figures.dots(panels, lines=lines, unit="samples")


def draw_strengths(share: pd.DataFrame) -> Any:
    """The share of the spurious column in the Shapley values by strength, a panel for each arm."""
    panels = {
        f"share of the spurious column, confounder {arm}": {
            f"s = {strength:g}": {
                str(name): each.spurious for name, each in part.groupby("model", sort=False)
            }
            for strength, part in share[(share.arm == arm) & (share.explainer == SHAP)].groupby(
                "strength", sort=False
            )
        }
        for arm in ARMS
    }
    return _figures.dots(panels, controls=(BEST, CAUSAL), unit="samples")


def _share_table(share: pd.DataFrame) -> pd.DataFrame:
    keys = ["arm", "strength", "model", "explainer"]
    rows = []
    for setting, part in share.groupby(keys, sort=False):
        cells = {name: _text(part[name]) for name in COLUMNS}
        rows.append({**dict(zip(keys, setting, strict=True)), **cells, "n, samples": len(part)})  # pyright: ignore[reportArgumentType]
    return pd.DataFrame(rows).rename(columns={"arm": "confounder", "fourth": "fourth column"})


def _difference_table(found: pd.DataFrame) -> pd.DataFrame:
    shown = [_tables.interval(r["mean"], r.low, r.high, 2) for _, r in found.iterrows()]
    kept = found[["arm", "strength", "model", "explainer"]].rename(columns={"arm": "confounder"})
    return kept.assign(difference=shown, **{"n, samples": found.n})


def _effect_table(effect: pd.DataFrame) -> pd.DataFrame:
    keys = ["arm", "strength", "model"]
    rows = []
    for setting, part in effect.groupby(keys, sort=False):
        names = [f"{c}, {what}" for c in COLUMNS[:3] for what in ("true", "predicted")]
        cells = {name: _text(part[name], 3) for name in names}
        rows.append({**dict(zip(keys, setting, strict=True)), **cells})  # pyright: ignore[reportArgumentType]
    return pd.DataFrame(rows).rename(columns={"arm": "confounder"})


def _accuracy_table(part: pd.DataFrame) -> pd.DataFrame:
    keys = ["arm", "strength", "model"]
    rows = []
    for setting, each in part.groupby(keys, sort=False):
        lost = each.accuracy - each["set at random"]
        cells = {
            "new rows": _text(each.accuracy, 3),
            "spurious set at random": _text(each["set at random"], 3),
            "lost": _text(lost, 3),
        }
        rows.append({**dict(zip(keys, setting, strict=True)), **cells, "n, samples": len(each)})  # pyright: ignore[reportArgumentType]
    return pd.DataFrame(rows).rename(columns={"arm": "confounder"})
