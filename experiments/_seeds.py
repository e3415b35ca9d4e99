"""What networks of several seeds say: the mean of each, compared by Student's t over the networks.

The network is the unit of replication: examples are averaged first. Comparisons are paired by network and take
Student's t, not flips of signs: of five networks no flip is rarer than one in sixteen. Their p-values are Holm's.
"""

from typing import Any

import numpy as np
import pandas as pd

from experiments import _tables
from xaijax import metrics


def means(found: pd.DataFrame, **what: Any) -> list[dict[str, Any]]:
    """A table of `metrics.evaluate` of one network as rows: the mean of each explainer and metric over the examples.

    Args:
      found: the table.
      **what: further columns, the same in all rows.
    """
    keys = ["explainer", "control", "metric", "better"]
    parts = found.groupby(keys, sort=False, dropna=False).value
    return [
        {
            **dict(zip(keys, key, strict=True)),
            **what,
            "value": round(float(part.mean()), 6),
            "examples": int(part.count()),
        }
        for key, part in parts
    ]


def wide(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The numbers of a metric, networks by explainers."""
    part = table[table.metric == metric]
    return part.pivot(index="unit", columns="explainer", values="value")[
        list(dict.fromkeys(part.explainer))
    ]


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """The mean of each explainer and metric over the networks, with its interval.

    `best` marks, among what is no control, the best and whatever is not significantly worse than it.
    """
    rows = []
    for metric, part in table.groupby("metric", sort=False):
        numbers, first = (
            wide(table, str(metric)),
            part.drop_duplicates("explainer").set_index("explainer"),
        )
        own = [name for name in numbers if not first.control[name] and numbers[name].notna().any()]
        sign = {"higher": 1, "lower": -1}.get(first.better.iloc[0], 0)
        best = max(own, key=lambda name: sign * numbers[name].mean()) if sign and own else None
        p = dict(zip(own, holm_to(numbers[own], best), strict=True)) if best else {}
        for name in numbers:
            mean, low, high, n = metrics.mean_interval(numbers[name].to_numpy())
            shown = {"metric": metric, "explainer": name, "control": first.control[name]}
            tie = bool(best) and (name == best or p.get(name, 0.0) >= 0.05)
            rows.append({**shown, "mean": mean, "low": low, "high": high, "n": n, "best": tie})
    return pd.DataFrame(rows)


def holm_to(numbers: pd.DataFrame, to: str) -> np.ndarray:
    """The corrected p-values of the paired differences of all columns to one of them, whose own is NaN."""
    from scipy import stats

    found = []
    for name in numbers:
        d = (numbers[name] - numbers[to]).dropna()
        if name == to or len(d) < 2:
            found.append(np.nan)
        else:
            found.append(stats.ttest_1samp(d, 0).pvalue if d.std() > 0 else float(not d.any()))
    return metrics.holm(found)


def difference(
    table: pd.DataFrame, metric: str, a: str, b: str, *, level: float = 0.95
) -> metrics.Interval:
    """How far one explainer is above another on the same networks."""
    numbers = wide(table, metric)
    return metrics.mean_interval((numbers[a] - numbers[b]).to_numpy(), level=level)


def readable(found: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """A `summary` for readers: explainers by metrics, * at the best and what is not significantly worse."""
    cells = found.assign(
        cell=[
            _tables.interval(r["mean"], r.low, r.high, digits) + (" *" if r.best else "")
            for _, r in found.iterrows()
        ]
    )
    shown = cells.pivot(index="explainer", columns="metric", values="cell")
    order = list(dict.fromkeys(found.explainer)), list(dict.fromkeys(found.metric))
    return shown.loc[order].reset_index().rename_axis(columns=None)


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """The networks' accuracies on examples that took no part in training."""
    return table.drop_duplicates("unit")[["unit", "accuracy"]].reset_index(drop=True)
