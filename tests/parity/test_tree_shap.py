"""Trees read from XGBoost and LightGBM, and their Shapley values as shap's C++ computes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax

pytestmark = pytest.mark.parity
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def shap():
    return pytest.importorskip("shap")


def rows(num_classes=2, missing=False):
    """Breast cancer in single precision, on which all of the libraries agree; classes and a number to predict."""
    datasets = pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_breast_cancer(return_X_y=True)
    X = X[:, :10].astype(np.float32)
    y = np.where((y == 1) & (X[:, 0] > 12), 2, y) if num_classes == 3 else y
    drawn = np.random.default_rng(0).random(X.shape)
    return np.where(missing & (drawn < 0.1), np.nan, X), y


def close(found, expected):
    """By the largest value."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


def values(f, X, target, explain=xaijax.tree_shap, **settings):
    return jax.jit(jax.vmap(lambda x: explain(f, x, target, **settings)))(jnp.asarray(X))


def of_output(values, target):
    """shap has a last axis of outputs where there are several."""
    return values[..., target] if values.ndim > 2 else values


@pytest.mark.parametrize("name", ["RandomForestClassifier", "GradientBoostingRegressor"])
def test_scikit_learn(shap, name):
    ensemble = pytest.importorskip("sklearn.ensemble")
    X, y = rows()
    model = getattr(ensemble, name)(n_estimators=10, max_depth=6, random_state=0).fit(X, y)
    f, some, behind = xaijax.read_trees(model), X[:30], X[100:150]
    target = f.num_outputs - 1
    expected = shap.TreeExplainer(model).shap_values(some)
    close(values(f, some, target), of_output(expected, target))
    explainer = shap.TreeExplainer(model, behind, feature_perturbation="interventional")
    expected = explainer.shap_values(some)
    close(values(f, some, target, background=behind), of_output(expected, target))


def test_interactions(shap):
    ensemble = pytest.importorskip("sklearn.ensemble")
    X, y = rows()
    model = ensemble.RandomForestRegressor(5, max_depth=5, random_state=0).fit(X, y)
    expected = shap.TreeExplainer(model).shap_interaction_values(X[:20])
    close(values(xaijax.read_trees(model), X[:20], 0, xaijax.tree_shap_interactions), expected)


XGBOOST = {
    "classes": {"objective": "binary:logistic"},
    "three classes": {"objective": "multi:softprob", "num_class": 3},
    "numbers": {"objective": "reg:squarederror", "base_score": 3.0},
    "counts": {"objective": "count:poisson"},
    "dropout": {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5},
    "forest": {"objective": "reg:squarederror", "num_parallel_tree": 3, "subsample": 0.5},
}


@pytest.mark.parametrize("parameters", XGBOOST.values(), ids=XGBOOST.keys())
def test_xgboost(parameters, tmp_path):
    """Raw scores, and its own Shapley values, in which the last number is the base value."""
    xgboost = pytest.importorskip("xgboost")
    num_outputs = parameters.get("num_class", 1)
    X, y = rows(max(num_outputs, 2), missing=True)
    data = xgboost.DMatrix(X, y)
    model = xgboost.train({**parameters, "max_depth": 5}, data, 6)
    model.save_model(tmp_path / "model.json")
    f, some = xaijax.read_trees(tmp_path / "model.json"), xgboost.DMatrix(X[:40])
    expected = model.predict(some, output_margin=True, training=False).reshape(40, num_outputs)
    close(jax.vmap(f)(jnp.asarray(X[:40])), expected)
    contributions = model.predict(some, pred_contribs=True).reshape(40, num_outputs, -1)
    close(values(f, X[:40], num_outputs - 1), contributions[:, -1, :-1])
    close(f.mean_outputs, contributions[0, :, -1])


LIGHTGBM = {
    "classes": {"objective": "binary"},
    "three classes": {"objective": "multiclass", "num_class": 3},
    "zeros are missing": {"objective": "binary", "zero_as_missing": True},
    "nothing is missing": {"objective": "regression", "use_missing": False},
    "forest": {
        "objective": "regression",
        "boosting": "rf",
        "bagging_freq": 1,
        "bagging_fraction": 0.5,
    },
}


@pytest.mark.parametrize("parameters", LIGHTGBM.values(), ids=LIGHTGBM.keys())
def test_lightgbm(parameters, tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    num_outputs = parameters.get("num_class", 1)
    X, y = rows(max(num_outputs, 2), missing=True)
    X = np.where(np.random.default_rng(1).random(X.shape) < 0.1, 0, X)
    settings = {**parameters, "num_leaves": 20, "verbosity": -1, "num_threads": 1}
    model = lightgbm.train(settings, lightgbm.Dataset(X, y), 6)
    model.save_model(tmp_path / "model.txt")
    f, some = xaijax.read_trees(tmp_path / "model.txt"), X[:40]
    # Its raw scores and contributions of a forest are sums over the trees, its predictions and ours means.
    number = 6 if parameters.get("boosting") == "rf" else 1
    expected = model.predict(some, raw_score=number == 1).reshape(40, num_outputs)
    close(jax.vmap(f)(jnp.asarray(some)), expected)
    contributions = model.predict(some, pred_contrib=True).reshape(40, num_outputs, -1) / number
    close(values(f, some, num_outputs - 1), contributions[:, -1, :-1])
    close(f.mean_outputs, contributions[0, :, -1])


def test_interventional_values_of_boosted_trees(shap, tmp_path):
    """With missing values in the rows and in the background."""
    xgboost = pytest.importorskip("xgboost")
    X, y = rows(missing=True)
    parameters = {"objective": "binary:logistic", "max_depth": 5}
    model = xgboost.train(parameters, xgboost.DMatrix(X, y), 6)
    model.save_model(tmp_path / "model.json")
    explainer = shap.TreeExplainer(model, X[100:150], feature_perturbation="interventional")
    found = values(
        xaijax.read_trees(tmp_path / "model.json"), X[:30], 0, background=jnp.asarray(X[100:150])
    )
    close(found, explainer.shap_values(X[:30]))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_categorical_splits_are_refused(library, tmp_path):
    pandas = pytest.importorskip("pandas")
    module = pytest.importorskip(library)
    kind = np.arange(300) % 6
    table = pandas.DataFrame({"a": np.zeros(300), "kind": pandas.Categorical(kind)})
    y = np.isin(kind, (0, 3)).astype(float)
    if library == "xgboost":
        data = module.DMatrix(table, y, enable_categorical=True)
        model = module.train({"max_depth": 4, "max_cat_to_onehot": 1}, data, 6)
    else:
        settings = {"verbosity": -1, "num_threads": 1, "min_data_per_group": 1}
        model = module.train(settings, module.Dataset(table, y), 6)
    path = tmp_path / ("model.json" if library == "xgboost" else "model.txt")
    model.save_model(path)
    with pytest.raises(ValueError, match="categorical splits, got some on features 1"):
        xaijax.read_trees(path)
