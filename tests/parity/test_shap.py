"""Shapley values and interactions against the package `shap` 0.51, on the same game: all coalitions, no lasso."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage

import xaijax

pytestmark = pytest.mark.parity

# The largest difference allowed, as a part of the largest value.
TOLERANCE = {"float32": 2e-6, "float64": 1e-12}


@pytest.fixture
def shap():
    return pytest.importorskip("shap")


@pytest.fixture(params=TOLERANCE)
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


def assert_close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def game(precision, num_features=6, num_rows=8):
    """Two outputs with interactions of any order, a row, and a background."""
    rng = np.random.default_rng(0)
    w1, w2 = rng.normal(size=(num_features, 12)), rng.normal(size=(12, 2))
    x, background = rng.normal(size=num_features), rng.normal(size=(num_rows, num_features))

    def predict(rows):
        return np.tanh(rows @ w1) @ w2

    def f(x):
        return jnp.tanh(x @ jnp.asarray(w1, precision)) @ jnp.asarray(w2, precision)

    return predict, f, x.astype(precision), background.astype(precision)


@pytest.mark.parametrize("target", range(2))
def test_exact(shap, precision, target):
    predict, f, x, background = game(precision)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    expected = shap.ExactExplainer(predict, masker)(x[None]).values[0, :, target]
    found = xaijax.exact_shapley(f, jnp.asarray(x), target, mask=xaijax.columns(background))
    assert_close(found, expected, TOLERANCE[precision])


@pytest.mark.parametrize("target", range(2))
def test_kernel(shap, precision, target):
    predict, f, x, background = game(precision)
    explainer = shap.KernelExplainer(predict, background)
    expected = explainer.shap_values(x, nsamples=2**6 - 2, l1_reg=False, silent=True)[:, target]
    mask, key = xaijax.columns(background), jax.random.key(0)
    found = xaijax.kernel_shap_values(f, jnp.asarray(x), target, key, mask=mask)
    assert_close(found.values, expected, TOLERANCE[precision])
    assert_close(found.base_value, explainer.expected_value[target], TOLERANCE[precision])


def test_kernel_of_a_summary(shap, precision):
    """The same centres, each counted as often as there are rows in its cluster."""
    predict, f, x, rows = game(precision, num_rows=60)
    summary = shap.kmeans(rows, 5)
    centres, weights = xaijax.k_means(rows, 5)
    np.testing.assert_array_equal(centres, summary.data)
    np.testing.assert_array_equal(weights / weights.sum(), summary.weights)
    explainer = shap.KernelExplainer(predict, summary)
    expected = explainer.shap_values(x, nsamples=2**6 - 2, l1_reg=False, silent=True)[:, 1]
    mask, key = xaijax.columns(centres, weights), jax.random.key(0)
    found = xaijax.kernel_shap_values(f, jnp.asarray(x), 1, key, mask=mask)
    assert_close(found.values, expected, TOLERANCE[precision])
    assert_close(found.base_value, explainer.expected_value[1], TOLERANCE[precision])


def test_linear(shap, precision):
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=6), 0.7
    x, background = rng.normal(size=6).astype(precision), rng.normal(size=(20, 6)).astype(precision)
    masker = shap.maskers.Independent(background, max_samples=20)
    expected = shap.LinearExplainer((w, b), masker).shap_values(x)

    def f(x):
        return (x @ jnp.asarray(w, precision) + b)[None]

    found = xaijax.linear_shap(f, jnp.asarray(x), 0, background=background)
    assert_close(found, expected, TOLERANCE[precision])


def test_interactions(shap, precision):
    """shap's exact explainer has those of STII, split in halves; the diagonal is each feature's score alone."""
    predict, f, x, background = game(precision)
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.ExactExplainer(lambda rows: predict(rows)[:, 0], masker)
    expected = explainer(x[None], interactions=True).values[0]
    mask = xaijax.columns(background)
    found = xaijax.shapley_interactions(f, jnp.asarray(x), 0, mask=mask, index="STII")
    halves = (np.asarray(found) + np.diag(np.diagonal(found))) / 2
    assert_close(halves, expected, TOLERANCE[precision])


def test_owen(shap, precision):
    """shap's partition explainer with a budget for the whole dendrogram, and its exact one."""
    predict, f, x, background = game(precision)
    joined = linkage(np.random.default_rng(1).normal(size=(6, 3)))
    masker = shap.maskers.Partition(background, max_samples=len(background), clustering=joined)
    partition = shap.PartitionExplainer(lambda rows: predict(rows)[:, 0], masker)
    parents = np.full(11, -1)
    for t, pair in enumerate(joined[:, :2].astype(int)):
        parents[pair] = 6 + t
    found = xaijax.owen(
        f,
        jnp.asarray(x),
        0,
        jax.random.key(0),
        mask=xaijax.columns(background),
        hierarchy=xaijax.hierarchy(parents),
    )
    for theirs in (
        partition(x[None], max_evals=5000, silent=True).values[0],
        shap.ExactExplainer(predict, masker)(x[None]).values[0, :, 0],
    ):
        assert_close(found, theirs, TOLERANCE[precision])


def test_sampling_in_distribution(shap):
    """Both means are the exact values, and as far from them, of as many evaluations: two a sample."""
    predict, f, x, background = game("float32")
    explainer = shap.SamplingExplainer(lambda rows: predict(rows)[:, 0], background)
    num_samples, mask = 40, xaijax.columns(background)
    np.random.seed(0)  # noqa: NPY002 - the generator that shap draws from
    settings = {"nsamples": num_samples * x.size, "min_samples_per_feature": 20, "silent": True}
    theirs = np.stack([explainer.shap_values(x, **settings) for _ in range(100)])

    def explain(key):
        settings = {"mask": mask, "num_samples": num_samples}
        return xaijax.sampling_shap_values(f, jnp.asarray(x), 0, key, **settings)

    ours = jax.vmap(explain)(jax.random.split(jax.random.key(0), 400))
    exact = xaijax.exact_shapley(f, jnp.asarray(x), 0, mask=mask)
    spread = [np.sqrt(np.mean((v - exact) ** 2)) for v in (ours.values, theirs)]
    np.testing.assert_allclose(spread[0], spread[1], rtol=0.15)
    np.testing.assert_allclose(np.sqrt(np.mean(ours.standard_error**2)), spread[0], rtol=0.1)
    for values in (ours.values, theirs):
        bound = 4 * values.std(0) / np.sqrt(len(values))
        assert (np.abs(values.mean(0) - exact) < bound).all()
