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


METHODS = {
    "none": "none",
    "forward": "forward_selection",
    "highest_weights": "highest_weights",
    "lasso_path": "lasso_path",
    "auto": "auto",
}


@pytest.fixture
def double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@functools.cache
def rows_of_a_table():
    """Training rows of four continuous columns and two of categories, and a row that is none of them."""
    rng = np.random.default_rng(3)
    continuous = rng.normal([0.0, 5.0, -2.0, 1.0], [1.0, 3.0, 0.5, 2.0], (250, 4))
    categories = np.stack([rng.choice([0, 1, 2], 250), rng.choice([3, 4], 250, p=[0.8, 0.2])], 1)
    return np.concatenate([continuous, categories], 1), np.array([0.7, 4.0, -2.3, 3.0, 1.0, 4.0])


def table_classifier(rows):
    logits = np.tanh(
        np.asarray(rows, np.float64) @ np.random.default_rng(4).normal(size=(6, 3)) / 2
    )
    p = np.exp(2 * logits)
    return p / p.sum(1, keepdims=True)


def fits_of_a_table(mask, num_samples, target, **settings):
    """Our surrogate, and the rows it asked for, the explained one first."""
    asked = []

    def record(rows):
        asked.append(np.asarray(rows))
        return table_classifier(rows)

    model = xaijax.black_box(record, 3)
    settings = {"mask": mask, "num_samples": num_samples, **settings}
    x = jnp.asarray(rows_of_a_table()[1])
    fit = xaijax.lime_fit(model, x, target, jax.random.key(0), **settings)
    jax.block_until_ready(fit)
    return fit, np.concatenate(sorted(asked, key=len))


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        *((kind, method) for kind in ("quartile", "instance") for method in METHODS),
        *((kind, "forward") for kind in ("decile", "entropy", "mean")),
    ],
)
def test_lime_tabular(kind, method, double, monkeypatch):
    """The reference's own explainer of tables, given the rows that ours drew in the place of its own."""
    lime_tabular = pytest.importorskip("lime.lime_tabular")
    data, x = rows_of_a_table()
    labels = table_classifier(data).argmax(1)
    if kind in ("mean", "instance"):
        mask = xaijax.gaussian_columns(data, kind, categorical=(4, 5))
        settings = {"discretize_continuous": False, "sample_around_instance": kind == "instance"}
    else:
        mask = xaijax.binned_columns(data, kind, categorical=(4, 5), labels=labels)
        settings = {"discretizer": kind}
    peer = lime_tabular.LimeTabularExplainer(
        data,
        training_labels=labels,
        categorical_features=[4, 5],
        feature_selection=METHODS[method],
        random_state=0,
        **settings,
    )
    for j, inner in getattr(peer.discretizer, "maxs", {}).items():
        ours = np.asarray(mask.bins.ends[j])
        np.testing.assert_allclose(ours[np.isfinite(ours)], inner[:-1], rtol=1e-12)

    some = {} if method == "none" else {"num_features": 3}
    fit, rows = fits_of_a_table(mask, 400, 1, feature_selection=method, **some)

    def drawn(self, row, num_samples):
        Z = rows.copy()
        codes = rows if self.discretizer is None else self.discretizer.discretize(rows)
        for j in self.categorical_features:
            Z[:, j] = codes[:, j] == codes[0, j]
        return Z, rows

    name = "_LimeTabularExplainer__data_inverse"
    monkeypatch.setattr(lime_tabular.LimeTabularExplainer, name, drawn)
    expected = peer.explain_instance(x, table_classifier, num_features=3, num_samples=400)
    weights = np.zeros(6)
    for j, weight in expected.local_exp[1]:
        weights[j] = weight
    assert_close(fit.weights, weights, 1e-8)
    assert_close(fit.intercept, expected.intercept[1], 1e-8)
    assert_close(fit.r2, expected.score, 1e-8)
    assert_close(fit.local_prediction, expected.local_pred[0], 1e-8)


def test_lime_tabular_draws_alike(double):
    """The neighbours of both, drawn apart, have the same means and deviations in every column."""
    lime_tabular = pytest.importorskip("lime.lime_tabular")
    data, x = rows_of_a_table()
    for settings, mask in (
        ({}, xaijax.binned_columns(data, categorical=(4, 5))),
        ({"discretize_continuous": False}, xaijax.gaussian_columns(data, categorical=(4, 5))),
    ):
        peer = lime_tabular.LimeTabularExplainer(
            data, categorical_features=[4, 5], random_state=0, **settings
        )
        theirs = peer._LimeTabularExplainer__data_inverse(x, 20000)[1][1:]
        ours = fits_of_a_table(mask, 20000, 0)[1][1:]
        error = 5 * np.sqrt(2 / 20000)
        scale = theirs.std(0)
        assert (np.abs(ours.mean(0) - theirs.mean(0)) < error * scale).all()
        np.testing.assert_allclose(ours.std(0), scale, rtol=error)


@pytest.mark.parametrize("bow", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_lime_text(method, bow, double, monkeypatch):
    """The reference's own explainer of texts, given the words that ours hid: width 25 there is 0.25 here."""
    lime_text = pytest.importorskip("lime.lime_text")
    text = "A good film: good cast, bad end - it is not so good, and long."
    table = np.random.default_rng(5).normal(size=256)

    def classify(texts):
        score = [
            np.tanh(sum(table[ord(c)] for c in t) / 3 + 0.3 * t.count("not so")) for t in texts
        ]
        return np.stack([np.array(score), -np.array(score)], 1)

    replacement = "" if bow else "UNKWORDZ"
    sentence = xaijax.words(text, bow=bow, replacement=replacement)
    peer = lime_text.LimeTextExplainer(feature_selection=METHODS[method], bow=bow, random_state=0)
    indexed = lime_text.IndexedString(text, bow=bow)
    assert list(sentence.names) == indexed.inverse_vocab
    asked = []

    def predict(texts):
        asked.extend(texts)
        return classify(texts)

    some = {} if method == "none" else {"num_features": 4}
    fit = xaijax.lime_fit(
        xaijax.black_box(lambda rows: predict([sentence.join(r) for r in rows]), 2),
        sentence.x,
        1,
        jax.random.key(0),
        mask=xaijax.even_sizes(sentence.mask),
        num_samples=300,
        feature_selection=method,
        batch_size=300,
        **some,
    )
    jax.block_until_ready(fit)
    Z = np.asarray(
        xaijax.even_sizes(sentence.mask).draw(jax.random.key(0), 300, len(sentence.names)), float
    )
    Z[0] = 1
    removed = [np.flatnonzero(z == 0) for z in Z[1:]]
    assert asked == [text, *(indexed.inverse_removing(r) for r in removed)]
    hidden = iter(removed)

    class Given:
        """Hides, when asked at random, what ours hid."""

        def randint(self, low, high, size):
            return np.array([len(r) for r in removed])

        def choice(self, features, size, replace):
            return next(hidden)

    monkeypatch.setattr(peer, "random_state", Given())
    expected = peer.explain_instance(text, classify, num_features=4, num_samples=300)
    weights = np.zeros(len(sentence.names))
    for j, weight in expected.local_exp[1]:
        weights[j] = weight
    tolerance = 1e-5  # a black box answers to integers in single precision
    assert_close(fit.weights, weights, tolerance)
    assert_close(fit.intercept, expected.intercept[1], tolerance)
    assert_close(fit.r2, expected.score, tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_lime_selection_of_image_masks(lime_base, method, double):
    """`LimeBase` on the very masks that were drawn, for each way to select."""
    x, rows, answers = np.random.default_rng(2).uniform(0.5, 2.0, 12), [], []

    def record(batch):
        rows.append(batch)
        answers.append(np.asarray(forest()(batch)))
        return answers[-1]

    model, some = xaijax.black_box(record, 3), {} if method == "none" else {"num_features": 5}
    settings = {"num_samples": 500, "batch_size": 500, "feature_selection": method}
    fit = xaijax.lime_fit(model, jnp.asarray(x), 2, jax.random.key(0), **settings, **some)
    Z = (np.concatenate(rows) == x).astype(float)
    base = lime_base.LimeBase(kernel_fn=functools.partial(kernel, kernel_width=0.25))
    distances = pairwise_distances(Z, Z[:1], metric="cosine").ravel()
    intercept, found, r2, local = base.explain_instance_with_data(
        Z, np.concatenate(answers), distances, 2, num_features=5, feature_selection=METHODS[method]
    )
    weights = np.zeros(12)
    for j, weight in found:
        weights[j] = weight
    assert_close(fit.weights, weights, 1e-8)
    assert_close(fit.intercept, intercept, 1e-8)
    assert_close(fit.r2, r2, 1e-8)
    assert_close(fit.local_prediction, local[0], 1e-8)


def test_submodular_pick():
    submodular = pytest.importorskip("lime.submodular_pick")
    rng = np.random.default_rng(0)
    W = rng.normal(size=(30, 12)) * (rng.random((30, 12)) < 0.2)

    class Explained:
        """An explanation of the reference: names and weights."""

        mode = "regression"

        def __init__(self, row):
            self.row = row

        def as_list(self, label):
            return [(j, self.row[j]) for j in np.flatnonzero(self.row)]

    class Explainer:
        def explain_instance(self, row, predict, **settings):
            return Explained(row)

    peer = submodular.SubmodularPick(Explainer(), W, None, method="full", num_exps_desired=8)
    np.testing.assert_array_equal(xaijax.submodular_pick(W, 8).rows, peer.V)


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
