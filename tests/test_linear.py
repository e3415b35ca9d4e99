"""Linear models that are read from scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, linear_model, pipeline, preprocessing, tree

import xaijax


def breast_cancer():
    X, y = datasets.load_breast_cancer(return_X_y=True)
    return X[:, :5], y


MODELS = {
    "linear": linear_model.LinearRegression(),
    "ridge": linear_model.Ridge(),
    "lasso": linear_model.Lasso(0.01),
    "logistic": linear_model.LogisticRegression(),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_outputs_of_scikit_learn(model, x64):
    """Behind a scaler, which is folded in."""
    X, y = breast_cancer()
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), model).fit(X, y)
    expected = getattr(model, "decision_function", getattr(model, "predict", None))(X)
    f = xaijax.read_linear(model)
    np.testing.assert_allclose(jax.vmap(f)(X)[:, 0], expected, rtol=1e-9, atol=1e-9)


def test_several_classes():
    X, y = datasets.load_wine(return_X_y=True)
    model = linear_model.LogisticRegression(max_iter=50)
    fitted = pipeline.make_pipeline(preprocessing.StandardScaler(), model).fit(X, y)
    f = xaijax.read_linear(fitted)
    np.testing.assert_allclose(jax.vmap(f)(X), fitted.decision_function(X), atol=1e-4)
    with pytest.raises(ValueError, match="regression of two classes, got 3 outputs"):
        xaijax.odds_ratios(f)


def test_standardised_coefficients_are_those_of_standardised_features(x64):
    X, y = breast_cancer()
    scaled = preprocessing.StandardScaler().fit_transform(X)
    expected = linear_model.LinearRegression().fit(scaled, y).coef_
    f = xaijax.read_linear(linear_model.LinearRegression().fit(X, y))
    found = xaijax.standardised_coefficients(f, X)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_odds_ratios_are_of_the_probabilities(x64):
    X, y = breast_cancer()
    model = linear_model.LogisticRegression(max_iter=5000).fit(X, y)
    f, x = xaijax.read_linear(model), X[0]

    def odds(x):
        p = model.predict_proba(x[None])[0]
        return p[1] / p[0]

    for ratios, step in ((xaijax.odds_ratios(f), 1), (xaijax.odds_ratios(f, X), X.std(0)[3])):
        moved = x + step * (np.arange(5) == 3)
        np.testing.assert_allclose(ratios[3], odds(moved) / odds(x), rtol=1e-6)


def test_contributions_are_weights_times_distances_from_the_mean():
    X, y = breast_cancer()
    f = xaijax.read_linear(linear_model.LinearRegression().fit(X, y))
    found = xaijax.linear_shap(f, jnp.asarray(X[0], jnp.float32), 0, background=X[:50])
    np.testing.assert_allclose(found, f.weights[0] * (X[0] - X[:50].mean(0)), rtol=1e-3, atol=1e-5)


def test_bad_input():
    X, y = breast_cancer()
    with pytest.raises(TypeError, match=r"a linear model of scikit-learn, .* DecisionTree"):
        xaijax.read_linear(tree.DecisionTreeClassifier().fit(X, y))
    with pytest.raises(ValueError, match="be fitted, got a Ridge that is not"):
        xaijax.read_linear(linear_model.Ridge())
    steps = [preprocessing.PolynomialFeatures(), linear_model.Ridge()]
    with pytest.raises(ValueError, match=r"no step but StandardScaler .* got PolynomialFeatures"):
        xaijax.read_linear(pipeline.make_pipeline(*steps).fit(X, y))
    f = xaijax.read_linear(linear_model.LinearRegression().fit(X, y))
    with pytest.raises(ValueError, match="of two classes, got 1 outputs with the link 'identity'"):
        xaijax.odds_ratios(f)
    with pytest.raises(ValueError, match=r"rows must be examples \(n, 5\), got shape \(3, 4\)"):
        xaijax.standardised_coefficients(f, np.ones((3, 4)))
