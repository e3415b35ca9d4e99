"""LIME against the oracle and scikit-learn, on the very samples that it drew.

With ones as input and zeros to hide them, a masked input is the mask itself: a black box writes it down.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

import xaijax
from tests.oracles import lime as oracle


class Recorder:
    """A game on masks `(n, d)` as a black box of one output that remembers what it was asked."""

    def __init__(self, game):
        self.game, self.asked = game, []

    def __call__(self, Z):
        self.asked.append(Z.copy())
        return self.game(Z.astype(np.float64))[:, None]

    @property
    def rows(self):
        return np.concatenate(self.asked)

    @property
    def model(self):
        return xaijax.black_box(self, 1)


def linear(w, b=0.0):
    return Recorder(lambda Z: Z @ w + b)


def curved(Z):
    """Interactions, so that a linear surrogate leaves a residual."""
    return np.sin(3 * Z @ np.linspace(-1, 1, Z.shape[1])) + Z[:, 0] * Z[:, -1]


def fit(recorder, d, key, **settings):
    recorder.asked.clear()
    return xaijax.lime_fit(recorder.model, jnp.ones(d), 0, key, **settings)


# --- Against other implementations

CURVED = Recorder(curved)  # one for all tests: a program is compiled for each black box


@pytest.mark.parametrize("kernel_width", [0.1, 0.25, 2.0])
@pytest.mark.parametrize("ridge", [0.0, 1.0, 10.0])
def test_oracle(kernel_width, ridge, key, x64):
    result = fit(CURVED, 9, key, num_samples=200, kernel_width=kernel_width, ridge=ridge)
    Z = CURVED.rows
    expected = oracle.lime(Z, curved(Z), kernel_width, ridge)
    np.testing.assert_allclose(result.weights, expected.coefficients, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.intercept, expected.intercept, rtol=1e-9)
    np.testing.assert_allclose(result.r2, expected.r2, rtol=1e-9)
    assert 0 < result.r2 < 1
    local = expected.intercept + expected.coefficients.sum()
    np.testing.assert_allclose(result.local_prediction, local, rtol=1e-9)
    np.testing.assert_allclose(result.prediction, curved(np.ones((1, 9)))[0], rtol=1e-12)


def test_scikit_learn(key):
    result = fit(CURVED, 9, key, num_samples=200)
    Z = CURVED.rows
    weights = oracle.sample_weights(Z, 0.25)
    peer = Ridge(alpha=1.0).fit(Z, curved(Z), sample_weight=weights)
    np.testing.assert_allclose(result.weights, peer.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(result.intercept, peer.intercept_, rtol=1e-4)
    r2 = peer.score(Z, curved(Z), sample_weight=weights)
    np.testing.assert_allclose(result.r2, r2, rtol=1e-4)


# --- Closed forms


@pytest.mark.parametrize("num_features", [1, 2, 33, 64])
def test_linear_game_is_recovered(num_features, key):
    w = np.random.default_rng(0).normal(size=num_features)
    settings = {"num_samples": 400, "kernel_width": 1.0}
    recorder, errors = linear(w, b=0.5), []
    for ridge in (1.0, 1e-2, 1e-6):
        result = fit(recorder, num_features, key, ridge=ridge, **settings)
        errors.append(np.abs(result.weights - w).max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-5
    np.testing.assert_allclose(result.intercept, 0.5, atol=1e-4)
    np.testing.assert_allclose(result.r2, 1.0, atol=1e-6)
    np.testing.assert_allclose(result.local_prediction, w.sum() + 0.5, rtol=1e-5, atol=1e-5)


def test_one_feature_with_ridge(key, x64):
    """The weighted variance of the only column shrinks its coefficient: 3 s / (s + ridge)."""
    recorder = linear(np.array([3.0]))
    result = fit(recorder, 1, key, num_samples=50, ridge=2.0)
    z = recorder.rows[:, 0]
    pi = np.where(z == 1, 1.0, np.exp(-8.0))  # distances 0 and 1, kernel width 1/4
    s = pi @ (z - pi @ z / pi.sum()) ** 2
    np.testing.assert_allclose(result.weights, [3 * s / (s + 2)], rtol=1e-9)


def test_constant_model(key):
    result = fit(linear(np.zeros(5), b=7.0), 5, key, num_samples=40)
    # Nothing, next to the rounding of a score of 7.
    np.testing.assert_allclose(result.weights, np.zeros(5), atol=7 * np.finfo(np.float32).eps)
    assert np.isnan(result.r2)
    np.testing.assert_allclose([result.intercept, result.local_prediction], 7.0, rtol=1e-6)


def test_fewer_samples_than_features(key):
    """Without a penalty many surrogates fit: a finite one is given, and the condition tells."""
    recorder = linear(np.arange(40.0))
    result = fit(recorder, 40, key, num_samples=20, ridge=0.0)
    assert np.isinf(result.condition)
    assert np.isfinite(result.weights).all()
    fitted = recorder.rows @ np.asarray(result.weights) + result.intercept
    np.testing.assert_allclose(fitted, recorder.rows @ np.arange(40.0), rtol=1e-3)
    penalised = fit(recorder, 40, key, num_samples=20, ridge=1.0)
    assert penalised.condition < 100


# --- The samples


def test_first_sample_is_the_input(key):
    recorder = linear(np.arange(6.0))
    result = fit(recorder, 6, key, num_samples=25)
    assert recorder.rows.shape == (25, 6)
    np.testing.assert_array_equal(recorder.rows[0], np.ones(6))
    assert result.num_evaluations == 25
    assert result.prediction == 15.0
    assert oracle.sample_weights(recorder.rows, 0.25)[0] == 1.0


@pytest.mark.parametrize("num_features", [33, 64])
def test_samples_are_fair_and_distinct(num_features, key):
    """Also across the words of 32 bits that they are drawn as."""
    recorder = linear(np.zeros(num_features))
    fit(recorder, num_features, key, num_samples=2001)
    Z = recorder.rows[1:]
    assert set(np.unique(Z)) == {0.0, 1.0}
    five_errors = 5 / np.sqrt(2000)
    np.testing.assert_allclose(Z.mean(0), 0.5, atol=five_errors / 2)
    correlation = np.corrcoef(Z.T) - np.eye(num_features)
    np.testing.assert_allclose(correlation, 0, atol=five_errors)
    assert len(np.unique(Z, axis=0)) == 2000


def test_more_samples_keep_the_first_ones(key):
    few, many = linear(np.zeros(40)), linear(np.zeros(40))
    fit(few, 40, key, num_samples=10)
    fit(many, 40, key, num_samples=30)
    np.testing.assert_array_equal(few.rows, many.rows[:10])


def test_chunks_evaluate_the_same_samples(key):
    whole, pieces = linear(np.zeros(12)), linear(np.zeros(12))
    fit(whole, 12, key, num_samples=30)
    fit(pieces, 12, key, num_samples=30, batch_size=8)
    assert [len(Z) for Z in pieces.asked] == [8, 8, 8, 8]  # the last is filled up
    np.testing.assert_array_equal(pieces.rows[:30], whole.rows)


def test_one_key_for_a_batch_means_the_same_samples_for_all(key):
    recorder = linear(np.zeros(12))
    explain = xaijax.bind(xaijax.lime, recorder.model, num_samples=20)
    xs = jnp.array([[1.0], [2.0], [3.0]]) * jnp.ones(12)
    jax.vmap(explain, (0, None, None))(xs, 0, key)
    rows = recorder.rows.reshape(-1, 12)
    assert len(rows) == 60
    one, two, three = ((rows[rows.max(1) == scale] > 0) for scale in (1, 2, 3))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one, three)
    alone = linear(np.zeros(12))
    fit(alone, 12, key, num_samples=20)
    np.testing.assert_array_equal(one, alone.rows[alone.rows.any(1)] > 0)

    asked_apart = linear(np.zeros(12))
    explain = xaijax.bind(xaijax.lime, asked_apart.model, num_samples=20)
    jax.vmap(explain, (None, None, 0))(jnp.ones(12), 0, jax.random.split(key, 2))
    first, second = asked_apart.rows.reshape(2, 20, 12)
    assert (first != second).mean() > 0.3


def test_one_key_for_a_batch_factorises_once(key):
    explain = xaijax.bind(xaijax.lime, lambda x: jnp.stack([x.sum()]), num_samples=20)
    batch = jax.vmap(explain, (0, None, None))
    text = str(jax.make_jaxpr(batch)(jnp.ones((7, 5)), 0, key))
    assert "f32[5,5] = cholesky" in text
    assert "f32[7,5,5]" not in text


# --- Masks


def test_image_by_segments(key):
    """A linear model of an image: hiding a segment takes away its deviation from the mean colour."""
    labels = np.array([[0, 0, 1], [2, 2, 1]])
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 3)), jnp.float32)
    W = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 3)), jnp.float32)
    mask = xaijax.segments(labels, hidden=0.0)
    settings = {"mask": mask, "num_samples": 100, "ridge": 0.0, "kernel_width": 1.0}
    values = xaijax.lime(lambda x: jnp.stack([(x * W).sum()]), x, 0, key, **settings)
    contributions = np.asarray((x * W).sum(-1))
    for label in range(3):
        here = labels == label
        np.testing.assert_allclose(values[here], contributions[here].sum(), atol=1e-4)


def test_mean_over_a_background(key):
    """The surrogate is of the mean score over the background rows."""
    background = np.random.default_rng(0).normal(size=(5, 3))
    w = np.array([1.0, -2.0, 3.0])
    x = np.array([1.0, 2.0, 3.0])
    values = xaijax.lime(
        lambda x: (x @ jnp.asarray(w, jnp.float32))[None],
        jnp.asarray(x, jnp.float32),
        0,
        key,
        mask=xaijax.columns(background.astype(np.float32)),
        num_samples=100,
        ridge=0.0,
    )
    np.testing.assert_allclose(values, w * (x - background.mean(0)), atol=1e-3)
