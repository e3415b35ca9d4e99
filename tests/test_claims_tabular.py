"""The experiments on tables: models as JAX programs, and what has a closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from experiments import _tabular
from experiments.claims import local_and_global, shap_guarantees


@pytest.fixture(scope="module")
def three_classes():
    """A table on which the columns do not tell everything."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 5)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(int) + (x[:, 3] > 0.5)
    return _tabular.Table((x[:200], y[:200]), (x[200:], y[200:]), tuple("abcde"))


@pytest.mark.parametrize("kind", ["MLP", "random forest", "logistic regression"])
@pytest.mark.parametrize("classes", [2, 3])
def test_jax_program_says_what_scikit_learn_says(kind, classes, three_classes):
    parts = [(x, np.minimum(y, classes - 1)) for x, y in (three_classes.train, three_classes.test)]
    table = _tabular.Table(*parts, three_classes.names)
    x_test = table.test[0]
    fitted = _tabular.fit(kind, table, 0)
    theirs = fitted.model.predict_proba(x_test)
    np.testing.assert_allclose(_tabular.forward()(fitted.f, x_test), theirs, atol=1e-6)
    assert fitted.accuracy == (theirs.argmax(1) == table.test[1]).mean()


def test_exact_value_rises_by_half_of_the_interaction():
    config = shap_guarantees.Config(num_columns=6, num_trials=8, estimators=("permutation SHAP",))
    weights = jax.random.normal(jax.random.key(0), (6, 2))
    f = jax.tree_util.Partial(lambda w, x: jnp.tanh(x @ w), weights)
    xs = jax.random.normal(jax.random.key(1), (3, 6))
    rows = shap_guarantees.axiom(config, f, xs, jax.random.key(2))
    exact = [row for row in rows if row["explainer"] != shap_guarantees.LIME]
    assert len(exact) == 4
    for row in exact:
        assert row["value"] == 0
        assert row["off"] < 1e-6
    # A change among the others alone moves LIME's weight of the feature, and often down.
    assert [row["off"] > 0.01 for row in rows if row["explainer"] == shap_guarantees.LIME][1]


def test_rank_correlations_are_with_the_mean_shapley_value():
    head = {"unit": "u", "dataset": "d", "kind": "k", "seed": 0}
    table = pd.DataFrame(
        [
            {**head, "importance": local_and_global.SHAP, "values": [1.0, 2.0, 3.0]},
            {**head, "importance": "same order", "values": [0.1, 0.5, 9.0]},
            {**head, "importance": "reverse", "values": [3.0, 2.0, 1.0]},
            {**head, "importance": "coverage", "values": None},
        ]
    )
    found = local_and_global.spearmans(table)
    assert dict(zip(found.importance, found.value, strict=True)) == {
        "same order": pytest.approx(1),
        "reverse": pytest.approx(-1),
    }
