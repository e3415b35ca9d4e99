"""LIME and permutation SHAP against the packages `lime` and `shap`, on the same samples and models."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import pairwise_distances

import xaijax

pytestmark = pytest.mark.parity

# The largest difference allowed, as a part of the largest value.
TOLERANCE = {"float32": 1e-4, "float64": 1e-8}


@pytest.fixture(params=TOLERANCE)
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


def assert_close(actual, expected, tolerance):
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --- LIME


def kernel(distances, kernel_width):
    """The kernel of `LimeImageExplainer`."""
    return np.sqrt(np.exp(-(distances**2) / kernel_width**2))


@pytest.fixture
def lime_base():
    return pytest.importorskip("lime.lime_base")


def lime_base_fit(lime_base, Z, answers, target, kernel_width):
    """Intercept, coefficients, score and local prediction by the reference implementation."""
    base = lime_base.LimeBase(functools.partial(kernel, kernel_width=kernel_width))
    distances = pairwise_distances(Z, Z[:1], metric="cosine").ravel()
    intercept, weights, r2, local = base.explain_instance_with_data(
        Z, answers, distances, target, num_features=Z.shape[1], feature_selection="none"
    )
    return intercept, np.array([w for _, w in sorted(weights)]), r2, local[0]


@functools.cache
def forest():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] * X[:, 2] > 0)
    return RandomForestClassifier(20, random_state=0).fit(X, y).predict_proba


def network():
    rng = np.random.default_rng(1)
    w1, w2 = rng.normal(size=(12, 16)), rng.normal(size=(16, 3))

    def predict(rows):
        logits = np.tanh(rows @ w1) @ w2
        p = np.exp(logits - logits.max(1, keepdims=True))
        return p / p.sum(1, keepdims=True)

    return predict


@pytest.mark.parametrize(("num_samples", "kernel_width"), [(60, 1.0), (1000, 0.25)])
@pytest.mark.parametrize("target", range(3))
@pytest.mark.parametrize("model", [forest, network])
def test_lime_surrogate(lime_base, model, target, num_samples, kernel_width, precision):
    x = np.random.default_rng(2).uniform(0.5, 2.0, 12).astype(precision)
    predict, rows, answers = model(), [], []

    def record(batch):
        rows.append(batch)
        answers.append(np.asarray(predict(batch)))
        return answers[-1]

    fit = xaijax.lime_fit(
        xaijax.black_box(record, 3),
        jnp.asarray(x),
        target,
        jax.random.key(0),
        num_samples=num_samples,
        kernel_width=kernel_width,
        batch_size=num_samples,
    )
    # No value of x is zero, so that what was hidden shows in the rows that the model was given.
    Z = (np.concatenate(rows) == x).astype(np.float64)
    assert Z.shape == (num_samples, 12)
    assert Z[0].all()
    assert len(np.unique(Z, axis=0)) > 50
    intercept, weights, r2, local = lime_base_fit(
        lime_base, Z, np.concatenate(answers), target, kernel_width
    )

    tolerance = TOLERANCE[precision]
    assert fit.weights.dtype == precision
    assert_close(fit.weights, weights, tolerance)
    assert_close(fit.intercept, intercept, tolerance)
    assert_close(fit.r2, r2, tolerance)
    assert_close(fit.local_prediction, local, tolerance)


# --- Shapley values


def linear(x):
    """Each feature alone."""
    return jnp.stack([3.0 * x[0] - 2.0 * x[1] + x[3] + 1.0, x.sum()])


def order_two(x):
    """Interactions of two features and no more: a walk and its reverse have no error."""
    return jnp.stack([x[0] * x[1] + 2.0 * x[2] * x[3] - x[0] * x[4] + x[1], x[0] ** 2 * x[2]])


@pytest.mark.parametrize("target", range(2))
@pytest.mark.parametrize("model", [linear, order_two])
def test_permutation_shap(model, target):
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    background = rng.normal(size=(20, 5)).astype(np.float32)
    x = rng.normal(size=5).astype(np.float32)
    predict = jax.jit(jax.vmap(model))

    masker = shap.maskers.Independent(background, max_samples=20)
    explainer = shap.PermutationExplainer(lambda rows: np.asarray(predict(rows)), masker, seed=0)
    expected = explainer(x[None], max_evals=200)
    result = xaijax.shapley_values(
        model, x, target, jax.random.key(0), mask=xaijax.columns(background)
    )
    assert_close(result.values, expected.values[0, :, target], 1e-5)
    assert_close(result.base_value, expected.base_values[0, target], 1e-5)
