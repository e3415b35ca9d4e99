"""Do SHAP's guarantees hold for the numbers that SHAP tools give?

Claim: SHAP has theoretical guarantees: its values add up to the prediction (local accuracy, efficiency) and do not fall
for a feature whose contribution rises (consistency), and no other method has them (Lundberg & Lee 2017). The theorem is
about exact Shapley values; tools give estimates.

A network on twelve columns of a table is explained, so that exact values, of all 4096 coalitions, are known.

Measured: (a) efficiency: the largest gap between the sum of the values and the score less the mean score of the
background. (b) The axiom of consistency: the model is changed so that what feature i adds to any coalition rises or
stays, f' = f + c [i present][j present] + d [k, l and m present], with c from 0 to 0.1 and d from -1 to 1, or 0; then
the value of i must not fall by more than 1e-5. Both models are explained by the same key. Exact values rise by c / 2.
(c) The error of estimates, root mean square over rows, keys and features and divided by that of the exact values, by
the budget of coalitions, each scored with every row of the background; sampling SHAP draws single rows, and gets as
many evaluations of the model; and its slope on double logarithmic scales. Unit of replication: the network, of its own
split and seed, averaged over rows and keys; Student's t intervals. For comparison LIME in the same game, and expected
gradients, whose values add up only in the mean.

The claim is supported if every estimator of Shapley values adds up to 1e-5 and never breaks the axiom, holds under a
condition if exact values do but an estimator does not, and is refuted if exact values do not. That slopes of -1/2 are
due is a check.

Expected: (a) below 1e-5 for all but LIME and expected gradients. (b) never for exact values and for permutations, whose
value of i hears nothing of the other features; sometimes for KernelSHAP and sampling SHAP, whose values of i share the
noise of the others; of LIME, too. (c) -1/2 for permutation and sampling SHAP, steeper for KernelSHAP, which takes
whole sizes of coalitions and has all of them in the end.

Runtime: two minutes.
Needs: pip install "xaijax[data,evaluate,plot]"
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

import xaijax
from experiments import _tables, _tabular
from experiments._experiment import Conclusion
from xaijax import metrics

TOLERANCE = 1e-5  # of float32 numbers of about 1
EXACT, LIME, GRADIENTS = "exact Shapley values", "LIME, same game", "expected gradients"
ESTIMATORS = ("KernelSHAP", "KernelSHAP (leverage)", "permutation SHAP", "sampling SHAP")
GUARANTEED = (EXACT, *ESTIMATORS, "DeepSHAP", "linear SHAP")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      dataset: a table of `xaijax.data` with two classes.
      num_columns: of its columns, which are the features.
      seeds: how many splits, each with its network.
      num_rows: test rows that are explained of each.
      num_background: rows that stand for absent columns.
      num_keys: explanations of each row by each estimator.
      num_trials: changes of the model.
      num_samples: the budget of estimators where it does not vary.
      budgets: coalitions, where it varies.
      estimators: which ones.
    """

    dataset: str = "breast_cancer"
    num_columns: int = 12
    seeds: int = 5
    num_rows: int = 8
    num_background: int = 10
    num_keys: int = 8
    num_trials: int = 200
    num_samples: int = 256
    budgets: tuple[int, ...] = (128, 256, 512, 1024, 2048)
    estimators: tuple[str, ...] = ESTIMATORS


SMOKE = Config(
    num_columns=6,
    seeds=2,
    num_rows=2,
    num_keys=2,
    num_trials=6,
    num_samples=48,
    budgets=(48,),
    estimators=("KernelSHAP", "permutation SHAP"),
)


def estimator(name: str, f: Any, mask: Any, budget: int) -> Any:
    """An estimator that may score so many coalitions; `None` if it cannot do with so few."""
    M, n = mask.num_features, budget
    rows = len(mask.background)
    settings: dict[str, tuple[Any, dict[str, Any]]] = {
        EXACT: (xaijax.exact_shapley, {}),
        "KernelSHAP": (xaijax.kernel_shap, {"num_samples": n}),
        "KernelSHAP (leverage)": (xaijax.kernel_shap, {"num_samples": n, "sampling": "leverage"}),
        "permutation SHAP": (xaijax.permutation_shap, {"num_permutations": n // (2 * M - 2)}),
        "sampling SHAP": (xaijax.sampling_shap, {"num_samples": n * rows // (2 * M)}),
        LIME: (xaijax.lime, {"num_samples": n}),
    }
    explain, numbers = settings[name]
    if numbers.get("num_permutations", 1) < 1 or (
        name == "sampling SHAP" and numbers["num_samples"] < 4
    ):
        return None
    return xaijax.bind(explain, f, mask=mask, **numbers)


def units(config: Config) -> list[str]:
    """One network each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The three measurements for one network."""
    seed = int(unit.split()[1])
    table = _tabular.table(config.dataset, seed, config.num_columns)
    fitted = _tabular.fit("MLP", table, seed)
    linear = _tabular.fit("logistic regression", table, seed)
    xs = jnp.asarray(table.test[0][: config.num_rows])
    background = jnp.asarray(table.train[0][: config.num_background])
    key = jax.random.key(seed)
    rows = efficiency(config, fitted.f, _tabular.logits(linear.f), (xs, background, key))
    rows += axiom(config, fitted.f, xs, key)
    rows += errors(config, fitted.f, (xs, background, key))
    return [{**row, "seed": seed, "accuracy": round(fitted.accuracy, 6)} for row in rows]


def repeated(config: Config, xs: Array, key: Any) -> tuple[Array, Array]:
    """Each row as often as it is explained, with the keys."""
    many = jnp.repeat(xs, config.num_keys, 0)
    return many, jax.random.split(key, len(many))


def efficiency(config: Config, f: Any, linear: Any, given: Any) -> list[dict[str, Any]]:
    """The largest gap of the sum, of every method."""
    xs, background, key = given
    mask, (many, keys) = xaijax.columns(background), repeated(config, xs, key)
    explain = {
        name: estimator(name, f, mask, config.num_samples)
        for name in (EXACT, *config.estimators, LIME)
    }
    explain["DeepSHAP"] = xaijax.bind(xaijax.deep_shap, f, background=background)
    explain[GRADIENTS] = xaijax.bind(
        xaijax.expected_gradients, f, baselines=background, num_samples=config.num_samples
    )
    explain["linear SHAP"] = xaijax.bind(xaijax.linear_shap, linear, background=background)
    rows = []
    for name, method in explain.items():
        if method is not None:
            y = _tabular.forward()(method.f, jnp.concatenate([many, background]))[:, 1]
            due = y[: len(many)] - y[len(many) :].mean()
            gap = jnp.abs(_explained(method, many, keys).sum(-1) - due).max()
            rows.append({"kind": "efficiency", "explainer": name, "value": float(gap)})
    return rows


def axiom(config: Config, f: Any, xs: Array, key: Any) -> list[dict[str, Any]]:
    """How often, and how far, the value of a feature falls whose contribution does not."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    n, M = config.num_trials, xs.shape[1]
    changes = {
        "places": jnp.asarray(np.stack([rng.permutation(M)[:5] for _ in range(n)])),
        "c": jnp.asarray(rng.uniform(0, 0.1, n), jnp.float32),
        "d": jnp.asarray(rng.uniform(-1, 1, n), jnp.float32),
        "row": jnp.asarray(xs[rng.integers(len(xs), size=n)]),
    }
    keys, mask = jax.random.split(key, n), xaijax.columns(jnp.zeros((1, M)))
    rows = []
    for name in (EXACT, *config.estimators, LIME):
        for others in (False, True):
            given = {**changes, "d": changes["d"] * others}
            explain = estimator(name, f, mask, config.num_samples)
            if explain is not None:
                rise = np.asarray(_rises(explain, f, given, keys))
                rows.append(
                    {
                        "kind": "axiom",
                        "explainer": name,
                        "others": others,
                        "value": float((rise < -TOLERANCE).mean()),
                        "fall": float(np.maximum(-rise, 0).max()),
                        "off": float(np.abs(rise - np.asarray(changes["c"]) / 2).max()),
                    }
                )
    return rows


def _changed(f: Any, change: dict[str, Array], x: Float[Array, " d"]) -> Float[Array, " 2"]:
    """The model with two terms more; a column is present if it is on the side of the mean where the row has it."""
    i, j, k, l, m = change["places"]  # noqa: E741
    present = x * jnp.sign(change["row"]) > 0
    more = change["c"] * present[i] * present[j]
    more += change["d"] * present[k] * present[l] * present[m]
    return f(x).at[1].add(more)


@jax.jit
def _rises(explain: Any, f: Any, changes: dict[str, Array], keys: Array) -> Float[Array, " n"]:
    """By how much the value of the first feature rises, change by change."""
    before = dict(changes, c=jnp.zeros_like(changes["c"]), d=jnp.zeros_like(changes["d"]))

    def one(given: Any) -> Float[Array, ""]:
        change, nothing, key = given

        def value(change: dict[str, Array]) -> Float[Array, ""]:
            model = jax.tree_util.Partial(_changed, f, change)
            bound = dataclasses.replace(explain, f=model)
            return _call(bound, change["row"], key)[change["places"][0]]

        return value(change) - value(nothing)

    return jax.lax.map(one, (changes, before, keys))


def errors(config: Config, f: Any, given: Any) -> list[dict[str, Any]]:
    """The error of each estimator at each budget."""
    xs, background, key = given
    mask = xaijax.columns(background)
    many, keys = repeated(config, xs, key)
    exact = _explained(estimator(EXACT, f, mask, 0), many, keys)
    rows = []
    for name in config.estimators:
        for budget in config.budgets:
            explain = estimator(name, f, mask, budget)
            if explain is not None:
                error = _explained(explain, many, keys) - exact
                value = jnp.sqrt((error**2).mean() / (exact**2).mean())
                rows.append(
                    {"kind": "error", "explainer": name, "budget": budget, "value": float(value)}
                )
    return rows


def _call(explain: Any, x: Array, key: Any) -> Array:
    return explain(x, 1, key) if explain.takes_key else explain(x, 1)


@jax.jit
def _explained(explain: Any, xs: Array, keys: Array) -> Float[Array, "n d"]:
    """The values of one row after the other; one program for all networks."""
    return jax.lax.map(lambda row: _call(explain, *row), (xs, keys))


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """Which guarantee holds for whom."""
    gap = table[table.kind == "efficiency"].groupby("explainer", sort=False).value.max()
    broken = table[table.kind == "axiom"].groupby("explainer", sort=False).value.max()
    slopes = fitted_slopes(table)
    bad_sum = [n for n in gap.index if n in GUARANTEED and gap[n] > TOLERANCE]
    bad_axiom = [n for n in broken.index if n in GUARANTEED and broken[n] > 0]
    bad = list(dict.fromkeys([*bad_sum, *bad_axiom]))
    good = [n for n in broken.index if n in GUARANTEED and n not in bad]
    verdict = "refuted" if EXACT in bad else "only if" if bad else "supported"
    often = _shares(table[table.others == True])  # noqa: E712  None where it is no trial
    worst = max((n for n in often if n != LIME), key=lambda n: often[n].mean)
    effect = (
        "Share of changes after which the value of a feature falls though its contribution does not: "
        f"{EXACT} {_percent(often[EXACT])}, {worst} {_percent(often[worst])}, LIME {_percent(often[LIME])} "
        f"(n={config.seeds} networks, {config.num_trials} changes each, budget {config.num_samples})."
    )
    accuracy = table.drop_duplicates("unit").accuracy
    steep = ", ".join(f"{name} {_tables.interval(*slopes[name][:3], digits=2)}" for name in slopes)
    apart = ", ".join(n for n in gap.index if gap[n] > TOLERANCE)
    kept = ", ".join(n for n in broken.index if broken[n] == 0)
    text = (
        f"The values add up to {TOLERANCE:g} for all but {apart or 'none'}; of the methods that ought to, "
        f"{', '.join(bad_sum) or 'none'} fails. The axiom of consistency is never broken by {kept or 'any'}. Slopes "
        f"of the error: {steep or 'not known from one budget'}. The networks' test accuracy is "
        f"{accuracy.min():.3f} to {accuracy.max():.3f}."
    )
    return Conclusion(
        verdict=verdict,
        only_if=f"the method is {' or '.join(good)}" if verdict == "only if" else "",
        effect=effect,
        text=text,
        tables={
            "efficiency": gap.rename("largest gap").map("{:.1e}".format).reset_index(),
            "axiom of consistency": _axiom_table(table),
            "error by budget": _error_table(table, slopes),
        },
        figures={"error and axiom": draw(table, often)},
        sources=_sources(),
    )


def fitted_slopes(table: pd.DataFrame) -> dict[str, metrics.Interval]:
    """The slope of the error on double logarithmic scales, over networks."""
    found = {}
    for name, part in table[table.kind == "error"].groupby("explainer", sort=False):
        wide = part.pivot_table(index="seed", columns="budget", values="value")
        log = np.log(wide.to_numpy(float))
        budgets = np.log(wide.columns.to_numpy(float))
        if len(budgets) > 1:
            found[str(name)] = metrics.mean_interval(np.polyfit(budgets, log.T, 1)[0])
    return found


def _shares(trials: pd.DataFrame) -> dict[str, metrics.Interval]:
    return {
        str(name): metrics.mean_interval(100 * part.value.to_numpy(float))
        for name, part in trials.groupby("explainer", sort=False)
    }


def draw(table: pd.DataFrame, often: dict[str, metrics.Interval]) -> Any:
    """Left the error by budget, right how often the axiom is broken."""
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    colours: dict[str, str] = dict(
        zip(ESTIMATORS, ("#1f6fb4", "#5aa9d6", "#d9730d", "#7a7a7a"), strict=True)
    )
    part = table[table.kind == "error"]
    for (name, lines), marker in zip(part.groupby("explainer", sort=False), "osD^", strict=False):
        wide = lines.pivot_table(index="seed", columns="budget", values="value")
        left.plot(wide.columns, wide.T, color=colours[str(name)], lw=0.6, alpha=0.5)
        left.plot(
            wide.columns, wide.mean(), f"{marker}-", color=colours[str(name)], label=str(name)
        )
    budgets = np.array(sorted(part.budget.unique()), float)
    first = part.value.max() * (budgets / budgets[0]) ** -0.5
    left.plot(budgets, first, ":", color="0.3", label="slope -1/2")
    left.set(xscale="log", yscale="log", xlabel="coalitions")
    left.set_ylabel("error, as a part of the exact values")
    left.set_xticks(budgets, [f"{n:.0f}" for n in budgets])
    left.minorticks_off()
    left.legend(frameon=False, fontsize=9)
    for y, found in enumerate(often.values()):
        right.plot([found.low, found.high], [y, y], color="#1f6fb4", lw=2)
        right.plot(found.mean, y, "o", color="#1f6fb4", ms=6)
    right.set_yticks(range(len(often)), list(often))
    right.invert_yaxis()
    right.set_xlabel("changes after which the value of i falls, %")
    right.set_xlim(left=min(-2.0, *(f.low for f in often.values())))
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="0.92")
        axis.set_axisbelow(True)
    return figure


def _percent(found: metrics.Interval) -> str:
    return f"{_tables.interval(*found[:3], digits=1)} %"


def _axiom_table(table: pd.DataFrame) -> pd.DataFrame:
    trials = table[table.kind == "axiom"]
    rows = []
    for (name, others), part in trials.groupby(["explainer", "others"], sort=False):
        found = metrics.mean_interval(100 * part.value.to_numpy(float))
        rows.append(
            {
                "explainer": name,
                "change": "of i and of others" if others else "of i",
                "value of i falls": _percent(found),
                "n, networks": found.n,
                "largest fall": f"{part.fall.max():.1e}",
                "farthest from c / 2": f"{part.off.max():.1e}",
            }
        )
    return pd.DataFrame(rows)


def _error_table(table: pd.DataFrame, slopes: dict[str, metrics.Interval]) -> pd.DataFrame:
    rows = []
    part = table[table.kind == "error"]
    for name, lines in part.groupby("explainer", sort=False):
        row: dict[str, Any] = {"explainer": name}
        for budget in sorted(part.budget.unique()):
            values = lines[lines.budget == budget].value.to_numpy(float)
            found = _tables.interval(*metrics.mean_interval(values)[:3])
            row[f"{budget:.0f}"] = found if len(values) else ""
        slope = slopes.get(str(name))
        rows.append({**row, "slope": _tables.interval(*slope[:3], digits=2) if slope else ""})
    return pd.DataFrame(rows)


def _sources() -> tuple[Any, ...]:
    names = "exact_shapley kernel_shap permutation_shap sampling_shap deep_shap linear_shap"
    return tuple(getattr(xaijax, n) for n in f"{names} expected_gradients lime".split())
