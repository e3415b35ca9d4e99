"""The experiment on confounding: what the structure that it draws from says in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from experiments.claims import confounding

STRENGTH = 1.5
COUNT = 40_000


@pytest.mark.parametrize("arm", confounding.ARMS)
def test_only_what_makes_y_changes_it_if_set(arm):
    test = confounding.draw_sample(0, COUNT, STRENGTH, arm)
    change = {
        name: confounding.effect(0, test, STRENGTH, arm, name) for name in confounding.COLUMNS
    }
    for name in ("spurious", "noise", "fourth"):  # to write another number for z does not change z
        np.testing.assert_array_equal(change[name], 0)
    assert change["cause"].min() == 0
    assert change["cause"].mean() > 0.1


@pytest.mark.parametrize("arm", confounding.ARMS)
@pytest.mark.parametrize("strength", [0.0, STRENGTH])
def test_best_prediction_leaves_nothing_that_goes_with_a_column(arm, strength):
    test = confounding.draw_sample(1, COUNT, strength, arm)
    best = confounding.known_functions(strength, arm)[confounding.BEST]
    residual = test.y - np.asarray(jax.vmap(best)(jnp.asarray(test.x)))[:, 1]
    for part in (*test.x.T, *np.sign(test.x.T), test.x[:, 0] * test.x[:, 1]):
        assert abs(residual @ part) < 4 * np.linalg.norm(residual * part)


@pytest.mark.parametrize("cause", [-1.0, 0.5])
def test_causal_effect_is_how_often_y_is_1_if_columns_are_set(cause):
    do = {"cause": np.full(COUNT, cause), "spurious": np.full(COUNT, 2.0)}
    y = confounding.draw_sample(2, COUNT, STRENGTH, "hidden", do).y
    causal = confounding.known_functions(STRENGTH, "hidden")[confounding.CAUSAL]
    expected = float(causal(jnp.array([cause, 2.0, 0.0, 0.0]))[1])
    assert y.mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(COUNT))


def test_shapley_values_of_the_causal_effect_are_of_the_cause_alone():
    x = confounding.draw_sample(3, 100, STRENGTH, "hidden").x
    causal = confounding.known_functions(STRENGTH, "hidden")[confounding.CAUSAL]
    explain = xaijax.bind(xaijax.exact_shapley, causal, mask=xaijax.columns(jnp.asarray(x[:16])))
    found = confounding.shares(explain, x[:4], 0)
    assert found == {"cause": 1, "spurious": 0, "noise": 0, "fourth": 0}
