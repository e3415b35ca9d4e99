"""Do a linear model and a small tree explain themselves, and do the methods say of them what they are?

Claim: linear models and simple decision trees are intrinsically interpretable, and as a whole (global, white box): the
model can be read, and no method has to explain it afterwards (Molnar 2022, "Interpretable Machine Learning").

A logistic regression and a decision tree of depth 3 learn from columns of a table, beside a forest that nobody reads.

Measured: (a) what each feature contributes to a score of the regression, computed from its coefficients by hand,
w_j (x_j - mean_j) with the mean of a background, against `linear_shap` and against `kernel_shap` on all coalitions.
(b) Fidelity of the tree's rules: they are printed, the text is read back and carried out word by word, and its answers
on test rows are compared with scikit-learn's. (c) `tree_shap` of the tree and the forest against Shapley values by
definition, from the scores of all coalitions. (a) and (c) are largest differences over rows and features as parts of
the largest value. (d) How long the rules are, and the test accuracy of all three. Unit of replication: the split, with
its models.

The claim is supported if in every split the largest differences of (a) and (c) are at most 1e-5, what single precision
leaves, and the fidelity of (b) is 1; otherwise it is refuted.

Expected: differences of 1e-6, a fidelity of 1, at most 8 rules, and a tree that is a few points less accurate than the
forest.

Runtime: a minute.
Needs: pip install "xaijax[data,evaluate,plot]"
"""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

import xaijax
from experiments import _tables, _tabular
from experiments._experiment import Conclusion
from xaijax import metrics

TOLERANCE = 1e-5  # of single precision
BY_HAND, KERNEL = "linear_shap, by hand", "kernel_shap, by hand"
TREE, FOREST = "tree_shap, tree", "tree_shap, forest"
COMPARED = (BY_HAND, KERNEL, TREE, FOREST)
# A condition of a printed rule: `1.5 < mean radius <= 2.0`, `mean radius > 2.0`.
CONDITION = re.compile(r"(?:(?P<low>\S+) < )?(?P<name>.+) (?P<sign><=|>) (?P<bound>\S+)")


@dataclasses.dataclass(frozen=True)
class Config:
    """How much is measured.

    Attributes:
      dataset: a table of `xaijax.data` with two classes.
      num_columns: of its columns, which are the features.
      seeds: how many splits.
      num_rows: test rows that are explained of each.
      num_background: rows that stand for absent columns.
      depth: of the tree.
      num_trees: of the forest.
    """

    dataset: str = "breast_cancer"
    num_columns: int = 10
    seeds: int = 5
    num_rows: int = 16
    num_background: int = 20
    depth: int = 3
    num_trees: int = 50


SMOKE = Config(num_columns=4, seeds=2, num_rows=3, num_background=5, depth=2, num_trees=3)


def units(config: Config) -> list[str]:
    """One split each."""
    return [f"seed {seed}" for seed in range(config.seeds)]


def measure(config: Config, unit: str) -> list[dict[str, Any]]:
    """The comparisons and the rules of one split."""
    seed = int(unit.split()[1])
    table = _tabular.table(config.dataset, seed, config.num_columns)
    models = fitted(config, table, seed)
    xs = jnp.asarray(table.test[0][: config.num_rows])
    background = jnp.asarray(table.train[0][: config.num_background])
    found = linear_differences(models["regression"], xs, background, jax.random.key(seed))
    for name, model in ((TREE, models["tree"]), (FOREST, models["forest"])):
        found[name] = tree_difference(model, xs, background)
    rows: list[dict[str, Any]] = [
        {"kind": "difference", "name": name, "value": value} for name, value in found.items()
    ]
    rows += rules(models["tree"], table)
    rows += [
        {"kind": "accuracy", "name": name, "value": float(model.score(*table.test))}
        for name, model in models.items()
    ]
    return rows


def fitted(config: Config, table: _tabular.Table, seed: int) -> dict[str, Any]:
    """The three models of scikit-learn."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    models = {
        "regression": LogisticRegression(max_iter=1000),
        "tree": DecisionTreeClassifier(max_depth=config.depth, random_state=seed),
        "forest": RandomForestClassifier(config.num_trees, random_state=seed, max_depth=6),
    }
    return {name: model.fit(*table.train) for name, model in models.items()}


def linear_differences(model: Any, xs: Array, background: Array, key: Any) -> dict[str, float]:
    """How far both methods are from the coefficients times the distances from the mean."""
    f, mask = xaijax.read_linear(model), xaijax.columns(background)
    by_hand = model.coef_[0] * (np.asarray(xs) - np.asarray(background).mean(0))
    every = 2 ** xs.shape[1] - 2
    exact = xaijax.bind(xaijax.linear_shap, f, background=background)
    kernel = xaijax.bind(xaijax.kernel_shap, f, mask=mask, num_samples=every)
    return {
        BY_HAND: difference(jax.vmap(lambda x: exact(x, 0))(xs), by_hand),
        KERNEL: difference(jax.vmap(lambda x: kernel(x, 0, key))(xs), by_hand),
    }


def tree_difference(model: Any, xs: Array, background: Array) -> float:
    """How far the values of trees are from those of all coalitions, which ask the model alone."""
    f = xaijax.read_trees(model)
    fast = xaijax.bind(xaijax.tree_shap, f, background=background)
    asked = xaijax.bind(xaijax.exact_shapley, f, mask=xaijax.columns(background))
    values = jax.vmap(lambda x: fast(x, 1))(xs)
    return difference(values, jax.lax.map(lambda x: asked(x, 1), xs))


def difference(found: Any, expected: Any) -> float:
    """The largest, as a part of the largest value."""
    expected = np.asarray(expected, np.float64)
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def rules(model: Any, table: _tabular.Table) -> list[dict[str, Any]]:
    """The tree's rules as text, what they answer, and how many there are."""
    f = xaijax.read_trees(model)
    f = dataclasses.replace(f, feature_names=table.names)
    text = xaijax.tree_rules(f)
    answers = np.array([answered(text, table.names, x) for x in table.test[0]])
    same = np.abs(answers - model.predict_proba(table.test[0])).max(1) < TOLERANCE
    return [
        {"kind": "fidelity", "name": "rules", "value": float(same.mean())},
        {"kind": "length", "name": "rules", "value": float(text.count("IF "))},
        {"kind": "text", "name": text, "value": 0.0},
    ]


def answered(text: str, names: tuple[str, ...], x: np.ndarray) -> np.ndarray:
    """What printed rules answer to a row: nothing but the text is asked."""
    row = dict(zip(names, x, strict=True))

    def holds(condition: str) -> bool:
        found = CONDITION.fullmatch(condition)
        if found is None:  # "anything"
            return True
        value, bound = row[found["name"]], np.float32(found["bound"])
        above = found["low"] is None or np.float32(found["low"]) < value
        return bool(above and (value <= bound if found["sign"] == "<=" else value > bound))

    total = np.zeros(1)
    for line in text.splitlines():
        if line.startswith("start: "):
            total = total + np.array(line.removeprefix("start: ").split(", "), float)
        elif line.startswith("IF "):
            conditions, says = line.removeprefix("IF ").split(" THEN ")
            if all(map(holds, conditions.split(" AND "))):
                total = total + np.array(says.split(", "), float)
    return total


def conclude(config: Config, table: pd.DataFrame) -> Conclusion:
    """The largest differences, the fidelity, and the rules of the first split."""
    kinds = ("difference", "fidelity", "length", "text", "accuracy")
    parts = {kind: table[table.kind == kind] for kind in kinds}
    largest = parts["difference"].groupby("name", sort=False).value.max()
    fidelity, length = parts["fidelity"].value, parts["length"].value
    accuracy = {
        str(name): metrics.mean_interval(100 * part.value.to_numpy(float))
        for name, part in parts["accuracy"].groupby("name", sort=False)
    }
    holds = bool((largest <= TOLERANCE).all() and (fidelity == 1).all())
    shown = {n: f"{_tables.interval(*found[:3], digits=1)} %" for n, found in accuracy.items()}
    effect = (
        f"The largest difference is {largest.max():.1e} of the largest value ({largest.idxmax()}), and the printed "
        f"rules answer {100 * fidelity.min():.1f} % of the test rows as the tree does in the worst of "
        f"{len(fidelity)} splits."
    )
    text = (
        f"The tree is {length.min():.0f} to {length.max():.0f} rules. Test accuracy: {shown['tree']} of the tree, "
        f"{shown['regression']} of the regression, {shown['forest']} of the forest (95 % intervals over splits)."
    )
    return Conclusion(
        verdict="supported" if holds else "refuted",
        effect=effect,
        text=text,
        tables={
            "largest differences": pd.DataFrame(
                {"compared": largest.index, "largest difference": [f"{v:.1e}" for v in largest]}
            ),
            "models": pd.DataFrame({"model": list(shown), "test accuracy": list(shown.values())}),
        },
        figures={"rules": draw(str(parts["text"]["name"].iloc[0]), parts["difference"])},
        sources=(xaijax.linear_shap, xaijax.kernel_shap, xaijax.tree_shap, xaijax.exact_shapley),
    )


def draw(text: str, differences: pd.DataFrame) -> Any:
    """Above the rules of the first split's tree, below the differences of all splits."""
    from matplotlib import pyplot as plt

    lines = [line for line in text.splitlines() if line.startswith("IF ")]
    shown = [_rounded(line) for line in lines]
    height = 0.24 * len(shown) + 0.3
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(10, height + 2.4), height_ratios=(height, 2.4), layout="constrained"
    )
    above.text(0, 1, "\n".join(shown), family="monospace", fontsize=8.5, va="top")
    above.set_title(
        "The tree of the first split: its rules (standardised features), and the chances of both classes",
        loc="left",
        fontsize=10,
    )
    above.axis("off")
    for y, (name, part) in enumerate(differences.groupby("name", sort=False)):
        below.plot(np.maximum(part.value, 1e-9), [y] * len(part), "o", color="#1f6fb4", ms=5)
        below.text(2e-9, y - 0.28, str(name), fontsize=9, color="0.3")
    below.axvline(TOLERANCE, color="0.3", lw=1, ls="--")
    below.text(TOLERANCE, -0.65, " criterion", fontsize=9, color="0.3", va="center")
    below.set(xscale="log", xlim=(1e-9, 1e-3), ylim=(3.5, -0.9), yticks=[])
    below.set_xlabel("largest difference, as a part of the largest value; a point for each split")
    below.spines[["top", "right", "left"]].set_visible(False)
    return figure


def _rounded(line: str) -> str:
    """A rule with numbers of two digits, to be looked at."""
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda found: f"{float(found[0]):.2f}", line)
