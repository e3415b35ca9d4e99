"""What follows from a table of `evaluate`: means with their certainty, who is best, whether metrics agree.

The functions take the table itself, also one that was read back from a file, and give tables.
"""

from typing import TYPE_CHECKING

import numpy as np

from xaijax.core._errors import complaint, nearest
from xaijax.metrics._statistics import holm, mean_interval, paired_difference

if TYPE_CHECKING:
    import pandas as pd


def summary(table: "pd.DataFrame", *, level: float = 0.95) -> "pd.DataFrame":
    """The mean of each explainer and metric over the examples, with its interval, and who is best.

    An explainer that is not significantly worse than the best one is marked as best, too: by sign flips of the paired
    differences on the same examples, with Holm's correction over the explainers of a metric. Controls are compared, but
    never best.

    Args:
      table: as `evaluate` gives it.
      level: of confidence.

    Returns:
      A table with a row for each metric and explainer: `mean`, `low`, `high`, `n` the examples that have a number,
      `best`, and `p`, the corrected p-value of the difference to the best one.

    Examples:
      >>> import pandas as pd
      >>> rows = {"explainer": list("aaabbb"), "example": [0, 1, 2] * 2, "value": [1, 2, 3, 1, 2, 3.5]}
      >>> table = pd.DataFrame({**rows, "metric": "m", "category": "c", "better": "higher", "control": False})
      >>> summary(table)[["explainer", "mean", "n", "best"]].round(2)
        explainer  mean  n  best
      0         a  2.00  3  True
      1         b  2.17  3  True
    """
    import pandas as pd

    rows = []
    for metric, part in table.groupby("metric", sort=False):
        wide = _by_example(part)
        first = part.drop_duplicates("explainer").set_index("explainer")
        best = _best(wide, first)
        corrected = _against(best, wide, level)
        for name in wide:
            mean, low, high, n = mean_interval(wide[name], level=level)
            tie = name == best or corrected.get(name, 0.0) >= 1 - level
            rows.append(
                {
                    "metric": metric,
                    "category": first.category[name],
                    "better": first.better[name],
                    "explainer": name,
                    "control": first.control[name],
                    "mean": mean,
                    "low": low,
                    "high": high,
                    "n": n,
                    "best": bool(tie and best is not None and not first.control[name]),
                    "p": corrected.get(name, np.nan),
                }
            )
    return pd.DataFrame(rows)


def differences(table: "pd.DataFrame", to: str, *, level: float = 0.95) -> "pd.DataFrame":
    """How far each explainer is above one of them, on the same examples.

    Args:
      table: as `evaluate` gives it.
      to: the explainer that the others are compared with.
      level: of confidence.

    Returns:
      A table with a row for each metric and other explainer: the mean `difference`, `low` and `high` of its interval,
      `p` of the sign-flip test, corrected by Holm over the whole table, `effect` the mean over the standard deviation
      of the differences, and `n`.

    Raises:
      ValueError: there is no such explainer.
    """
    import pandas as pd

    names = list(dict.fromkeys(table.explainer))
    if to not in names:
        rule = "name an explainer of the table"
        raise ValueError(complaint("differences", "to", rule, repr(to), nearest(to, names)))
    rows = []
    for metric, part in table.groupby("metric", sort=False):
        wide = _by_example(part)
        better = part.better.iloc[0]
        for name in wide:
            if name != to:
                (mean, low, high, n), p, effect = paired_difference(
                    wide[name], wide[to], level=level
                )
                numbers = {"difference": mean, "low": low, "high": high, "p": p, "effect": effect}
                rows.append(
                    {"metric": metric, "better": better, "explainer": name, **numbers, "n": n}
                )
    found = pd.DataFrame(rows)
    found["p"] = holm(found["p"].to_numpy())
    return found


def rank_agreement(table: "pd.DataFrame") -> "pd.DataFrame":
    """How alike two metrics rank the explainers: Kendall's tau-b of their means, turned so that higher is better.

    Metrics of which neither way is better take no part; nor do explainers without a number.

    Args:
      table: as `evaluate` gives it.

    Returns:
      A square table of the metrics: 1 for the same order, -1 for the reverse, NaN where a metric knows no order.
    """
    return _means(table).corr(method="kendall")


def meta_evaluation(table: "pd.DataFrame") -> "pd.DataFrame":
    """Whether metrics can tell the known answer from noise: judges the metrics, not the explainers.

    Of examples whose right attribution is known: a synthetic task, masks of a mosaic, a linear model.

    Args:
      table: as `evaluate` gives it, with its controls `oracle` and `random`.

    Returns:
      A table with a row for each metric, over the examples: `oracle_first`, how often nothing is better than the
      oracle; `random_last`, how often nothing is worse than the random map; `oracle_over_random`, how often the oracle
      is better than the random map, ties counted half; and `n`.

    Raises:
      ValueError: the table has no such controls.
    """
    import pandas as pd

    missing = {"oracle", "random"} - set(table.explainer)
    if missing:
        fix = "evaluate(..., masks=..., controls=True), or oracle=."
        rule = "have the controls oracle and random"
        raise ValueError(complaint("meta_evaluation", "table", rule, f"no {sorted(missing)}", fix))
    rows = []
    for metric, part in table.dropna(subset=["better"]).groupby("metric", sort=False):
        wide = pd.DataFrame(_by_example(part)) * _sign(part)
        wide = wide[wide.oracle.notna() & wide.random.notna()]
        over = (wide.oracle > wide.random) + 0.5 * (wide.oracle == wide.random)
        rows.append(
            {
                "metric": metric,
                "category": part.category.iloc[0],
                "oracle_first": wide.oracle.ge(wide.max(axis=1)).mean(),
                "random_last": wide.random.le(wide.min(axis=1)).mean(),
                "oracle_over_random": over.mean(),
                "n": len(wide),
            }
        )
    return pd.DataFrame(rows)


def _by_example(part: "pd.DataFrame") -> dict[str, np.ndarray]:
    """The numbers of each explainer, in the order of the examples."""
    wide = part.pivot(index="example", columns="explainer", values="value")
    return {name: wide[name].to_numpy() for name in dict.fromkeys(part.explainer)}


def _sign(part: "pd.DataFrame") -> float:
    """What turns a metric's numbers so that higher is better."""
    return {"higher": 1.0, "lower": -1.0}.get(part.better.iloc[0], np.nan)


def _best(wide: dict[str, np.ndarray], first: "pd.DataFrame") -> str | None:
    """The explainer with the best mean, no control; `None` if the metric knows no better or nobody has a number."""
    sign = _sign(first)
    means = {k: sign * mean_interval(v).mean for k, v in wide.items() if not first.control[k]}
    known = {k: mean for k, mean in means.items() if np.isfinite(mean)}
    return max(known, key=lambda k: known[k]) if known else None


def _against(best: str | None, wide: dict[str, np.ndarray], level: float) -> dict[str, float]:
    """The corrected p-values of the differences to the best explainer, of the others."""
    if best is None:
        return {}
    others = [name for name in wide if name != best]
    p = [paired_difference(wide[name], wide[best], level=level).p for name in others]
    return dict(zip(others, holm(p).tolist(), strict=True))


def _means(table: "pd.DataFrame") -> "pd.DataFrame":
    """Explainers by metrics: the means, turned so that higher is better."""
    judged = table.dropna(subset=["better"])
    means = judged.pivot_table(
        index="explainer", columns="metric", values="value", aggfunc="mean", sort=False
    )
    signs = {metric: _sign(part) for metric, part in judged.groupby("metric", sort=False)}
    return means * [signs[metric] for metric in means]
