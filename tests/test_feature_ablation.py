"""Feature ablation against a loop over the features, with each kind of mask."""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import xaijax
from tests.oracles import perturbation as oracle
from tests.test_lime import Recorder
from tests.test_occlusion import curved


def test_segments(rng, x64):
    labels = np.array([[0, 0, 1], [2, 1, 1]])
    x, hidden = rng.normal(size=(2, 3, 3)), rng.normal(size=3)
    mask = xaijax.segments(labels, hidden=hidden)
    found = xaijax.feature_ablation(lambda x: curved(x)[None], jnp.asarray(x), 0, mask=mask)
    expected = oracle.feature_ablation(curved, x, labels, hidden)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_elements_against_zero_by_default(rng, x64):
    x = rng.normal(size=(2, 3))
    f = Partial(lambda x: curved(x)[None])
    found = xaijax.feature_ablation(f, jnp.asarray(x), 0, batch_size=4)
    expected = oracle.feature_ablation(curved, x, np.arange(6).reshape(2, 3), 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    windows = xaijax.occlusion(f, jnp.asarray(x), 0, window=(1, 1))
    np.testing.assert_allclose(windows, expected, rtol=1e-10)


def test_columns_lose_the_mean_over_the_background(rng, x64):
    x, background = rng.normal(size=4), rng.normal(size=(5, 4))
    mask = xaijax.columns(background)
    found = xaijax.feature_ablation(lambda x: curved(x)[None], jnp.asarray(x), 0, mask=mask)
    rows = [oracle.feature_ablation(curved, x, np.arange(4), row) for row in background]
    np.testing.assert_allclose(found, np.mean(rows, 0), rtol=1e-10)


def test_tokens():
    text = jnp.array([101, 7, 8, 102])
    mask = xaijax.tokens(text, mask_token=103, keep=(101, 102))
    found = xaijax.feature_ablation(lambda x: x.sum()[None] * 1.0, text, 0, mask=mask)
    np.testing.assert_array_equal(found, [0, 7 - 103, 8 - 103, 0])


def test_every_feature_is_hidden_once():
    recorder = Recorder(lambda rows: rows.sum(1))
    xaijax.feature_ablation(recorder.model, jnp.ones(5), 0, batch_size=3)
    assert [len(rows) for rows in recorder.asked] == [3, 3]
    np.testing.assert_array_equal(recorder.rows, [np.ones(5), *(1 - np.eye(5))])
