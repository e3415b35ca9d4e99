"""Tree ensembles as models, and their Shapley values against all coalitions."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import base, datasets, ensemble, linear_model, tree

import xaijax
from tests.oracles import shapley, trees
from xaijax.intrinsic._trees import at_most

# Read under single and double precision alike: the thresholds are in single precision.
MODEL = trees.random_model(0, num_outputs=2, num_trees=4)
CHAIN = trees.model_of([trees.chain(10)], 10)


def rows(seed, count, num_features=5, missing=True):
    """Examples, in some of which a value is missing."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(count, num_features)).astype(np.float32)
    return np.where(missing & (rng.random(drawn.shape) < 0.15), np.nan, drawn)


def brute_force(model, x, target, background=None):
    def v(z):
        if background is None:
            return trees.path_dependent(model, x, z > 0)[target]
        return trees.interventional(model, x, z > 0, background)[target]

    return v


def test_outputs():
    f, xs = xaijax.read_trees(MODEL), rows(1, 40)
    expected = [trees.predict(MODEL, x) for x in xs]
    np.testing.assert_allclose(jax.vmap(f)(xs), expected, rtol=1e-6)


@pytest.mark.parametrize("background", [None, rows(2, 7)], ids=["path-dependent", "interventional"])
def test_shapley_values_and_interactions_of_all_coalitions(background, x64):
    """Features several times on a way, missing values in the example and in the background, two outputs."""
    f, xs = xaijax.read_trees(MODEL), rows(3, 4)
    assert np.isnan(xs).any()
    assert {len(group.features[0]) for group in f.paths} == {2, 4}
    for target in (0, 1):
        explain = xaijax.bind(xaijax.tree_shap, f, background=background)
        found = jax.jit(jax.vmap(explain, (0, None)))(jnp.asarray(xs, float), target)
        pairs = jax.jit(
            jax.vmap(
                xaijax.bind(xaijax.tree_shap_interactions, f, background=background), (0, None)
            )
        )(jnp.asarray(xs, float), target)
        for x, values, matrix in zip(xs, found, pairs, strict=True):
            v = brute_force(MODEL, x, target, background)
            expected = shapley.shapley_values(v, 5)
            np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
            index = shapley.interactions(v, 5, "k-SII")
            halves = (index + np.diag(np.diagonal(index))) / 2
            np.testing.assert_allclose(matrix, halves, rtol=0, atol=1e-12)
            np.testing.assert_allclose(matrix.sum(1), values, rtol=0, atol=1e-12)


def test_long_ways(x64):
    """Of 10 features there is no table: the rows of the background are summed."""
    f, x, background = xaijax.read_trees(CHAIN), rows(1, 1, 10)[0], rows(2, 3, 10)
    assert {len(group.features[0]) for group in f.paths} == {2, 4, 6, 8, 12}
    for given in (None, background):
        expected = shapley.shapley_values(brute_force(CHAIN, x, 0, given), 10)
        found = xaijax.tree_shap(f, jnp.asarray(x, float), 0, background=given)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_features_that_no_split_reads_get_exactly_nothing():
    model = trees.model_of([trees.chain(3)], 6)
    f, x = xaijax.read_trees(model), jnp.ones(6)
    for background in (None, jnp.asarray(rows(1, 9, 6, missing=False))):
        assert not xaijax.tree_shap(f, x, 0, background=background)[3:].any()


def test_margins_are_differences_of_values():
    f, x = xaijax.read_trees(MODEL), jnp.ones(5)
    margin = xaijax.tree_shap(f, x, jnp.array([-1.0, 2.0]))
    found = 2 * xaijax.tree_shap(f, x, 1) - xaijax.tree_shap(f, x, 0)
    np.testing.assert_allclose(margin, found, atol=1e-6)


def test_targets_that_are_not_linear_are_refused():
    f, x = xaijax.read_trees(MODEL), jnp.ones(5)
    explain = xaijax.bind(xaijax.tree_shap, f)
    assert np.isnan(explain(x, lambda outputs: jnp.exp(outputs[0]))).all()
    checked = xaijax.checked(lambda x: explain(x, lambda outputs: jnp.exp(outputs[0])))
    with pytest.raises(ValueError, match="tree_shap: target must be linear in the outputs"):
        checked(x)


def test_derivative_by_what_the_leaves_say():
    """The values are linear in it."""
    f, x = xaijax.read_trees(MODEL), jnp.ones(5)

    def total(values):
        return xaijax.tree_shap(dataclasses.replace(f, values=values), x, 0)[0]

    product = (jax.grad(total)(f.values) * f.values).sum()
    np.testing.assert_allclose(product, total(f.values), rtol=1e-5)


# --- Readers


def breast_cancer(missing=False):
    X, y = datasets.load_breast_cancer(return_X_y=True)
    X, drawn = X[:, :8].astype(np.float32), np.random.default_rng(0).random((len(X), 8))
    return np.where(missing & (drawn < 0.1), np.nan, X), y


FITTED = {
    "tree": (tree.DecisionTreeClassifier(max_depth=4, random_state=0), True),
    "forest": (ensemble.RandomForestRegressor(4, max_depth=4, random_state=0), True),
    "boosting": (ensemble.GradientBoostingClassifier(n_estimators=4, random_state=0), False),
    "histograms": (ensemble.HistGradientBoostingClassifier(max_iter=4), True),
}


@pytest.mark.parametrize(("model", "missing"), FITTED.values(), ids=FITTED.keys())
@pytest.mark.parametrize("num_classes", [2, 3])
def test_outputs_of_scikit_learn(model, missing, num_classes):
    X, y = breast_cancer(missing)
    y = np.where((y == 1) & (X[:, 0] > 12), 2, y) if num_classes == 3 else y
    model = base.clone(model).fit(X, y)
    predict = [getattr(model, k, None) for k in ("decision_function", "predict_proba", "predict")]
    expected = next(p for p in predict if p)(X).reshape(len(X), -1)
    f = xaijax.read_trees(model)
    np.testing.assert_allclose(jax.vmap(f)(jnp.asarray(X)), expected, rtol=1e-5, atol=1e-6)


def test_importance_of_scikit_learn():
    X, y = breast_cancer()
    for model, _ in (FITTED["tree"], FITTED["forest"]):
        model = base.clone(model).fit(X, y)
        found = xaijax.impurity_importance(xaijax.read_trees(model))
        np.testing.assert_allclose(found, model.feature_importances_, atol=1e-6)


def test_thresholds_in_single_precision_decide_as_in_double():
    """Also next to a threshold, and at zero, beside which XLA takes subnormal numbers for zero."""
    thresholds = np.array([0.1, 1 / 3, 0.0, -1e-40, 1e-40, 1e-35, 16777217.0])
    for strict in (False, True):
        found = at_most(thresholds, np.float32, strict=strict)
        for t, given in zip(thresholds, found, strict=True):
            near = np.float32(t)
            close = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)]
            xs = np.array([near, *close, 0.0, -1e-30, 1e-30], np.float32)
            xs = xs[(np.abs(xs) > np.finfo(np.float32).tiny) | (xs == 0)]
            expected = xs < t if strict else xs <= t
            np.testing.assert_array_equal(jax.jit(lambda x, t: x <= t)(xs, given), expected)


def lightgbm_text(**changes):
    """Two trees by hand: x0 <= 0.5, then x1 <= 2, where zero is missing and goes left; and a leaf alone."""
    fields = {
        "num_leaves": "3",
        "num_cat": "0",
        "split_feature": "0 1",
        "split_gain": "5 2",
        "threshold": "0.5 2",
        "decision_type": "8 6",
        "left_child": "-1 -2",
        "right_child": "1 -3",
        "leaf_value": "1 2 3",
        "leaf_count": "4 5 1",
        "internal_count": "10 6",
        "is_linear": "0",
        **changes,
    }
    head = "tree\nversion=v4\nnum_tree_per_iteration=1\nfeature_names=a b\n\n"
    first = "\n".join(f"{k}={v}" for k, v in fields.items())
    second = "num_leaves=1\nnum_cat=0\nleaf_value=10\n"
    return f"{head}\nTree=0\n{first}\n\nTree=1\n{second}\nend of trees\n\nparameters:\n[x: 1]\n"


def test_missing_values_of_lightgbm(tmp_path):
    """Feature a says NaN is missing and goes right; of b, zero and NaN are missing and go left."""
    (tmp_path / "model.txt").write_text(lightgbm_text())
    f = xaijax.read_trees(tmp_path / "model.txt")
    nan = np.nan
    xs = jnp.array([[0.0, 9], [1.0, 1.0], [1.0, 9.0], [nan, 9.0], [nan, nan], [1.0, 0.0], [1.0, 3]])
    np.testing.assert_array_equal(jax.vmap(f)(xs)[:, 0], [11, 12, 13, 13, 12, 12, 13])
    assert f.feature_names == ("a", "b")
    swapped = lightgbm_text(threshold="0.5 -2", decision_type="0 4")
    (tmp_path / "model.txt").write_text(swapped)
    f = xaijax.read_trees(str(tmp_path / "model.txt"))
    xs = jnp.array([[nan, 9.0], [1.0, 0.0], [1.0, -3.0], [1.0, nan]])  # of a, NaN counts as 0
    np.testing.assert_array_equal(jax.vmap(f)(xs)[:, 0], [11, 13, 12, 13])


def changed(**parts):
    """The model with something else in its file."""
    model = json.loads(json.dumps(trees.model_of([trees.chain(2)], 2)))
    tree, learner = model["learner"]["gradient_booster"]["model"]["trees"][0], model["learner"]
    tree.update(parts.pop("tree", {}))
    learner["objective"]["name"] = parts.pop("objective", "reg:squarederror")
    learner["gradient_booster"]["name"] = parts.pop("booster", "gbtree")
    return {**model, **parts}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (changed(version=[9, 0, 0]), r"JSON model of XGBoost 1, 2, 3, got version \[9, 0, 0\]"),
        ({"trees": []}, "got no `learner`"),
        (changed(booster="gblinear"), "'gbtree' or 'dart', got 'gblinear'"),
        (changed(objective="mine"), "objective whose base score is known, got 'mine'"),
        (
            changed(tree={"split_type": [0, 1, 0, 0, 0]}),
            "categorical splits, got some on features 1",
        ),
        (changed(tree={"tree_param": {"size_leaf_vector": "3"}}), "leaves of several targets"),
        (lightgbm_text().replace("version=v4", "version=v9"), "v3 or v4, got version v9"),
        (lightgbm_text(decision_type="1 2"), "categorical splits, got some on features 0"),
        (lightgbm_text(is_linear="1"), "got linear leaves"),
        ("{", "must be a JSON file of XGBoost"),
        ("binf", "must be a text file of XGBoost or LightGBM, got model"),
        (ensemble.RandomForestClassifier(), "be fitted, got a RandomForestClassifier that is not"),
    ],
)
def test_what_is_not_read(model, message, tmp_path):
    if isinstance(model, str):
        (tmp_path / "model").write_text(model)
        model = tmp_path / "model"
    with pytest.raises(ValueError, match=message):
        xaijax.read_trees(model)


def test_other_models_are_no_trees():
    with pytest.raises(TypeError, match="fitted tree ensemble of scikit-learn, or a file"):
        xaijax.read_trees(linear_model.LinearRegression())
    with pytest.raises(FileNotFoundError, match=r"be fitted trees, or the path .*, got 'no\.json'"):
        xaijax.read_trees("no.json")
    with pytest.raises(TypeError, match="tree_shap: f must be a tree ensemble, got function"):
        xaijax.tree_shap(lambda x: x, jnp.ones(2), 0)


def test_missing_values_where_the_model_takes_none():
    X, y = breast_cancer()
    f = xaijax.read_trees(base.clone(FITTED["boosting"][0]).fit(X, y))
    x = jnp.ones(8).at[jnp.array([2, 5])].set(jnp.nan)
    message = r"missing where the model takes missing values, got 2 of 8 values .* in features 2, 5"
    with pytest.raises(ValueError, match=message):
        xaijax.tree_shap(f, x, 0)
    with pytest.raises(ValueError, match=r"background must be finite, or missing .* features 2, 5"):
        xaijax.tree_shap(f, jnp.ones(8), 0, background=x)
    assert np.isnan(f(x)).all()
    assert np.isnan(jax.jit(xaijax.bind(xaijax.tree_shap, f))(x, 0)).all()
    with pytest.raises(ValueError, match="got 1 of 5 values NaN or infinite in features 0"):
        xaijax.tree_shap(xaijax.read_trees(MODEL), jnp.ones(5).at[0].set(jnp.inf), 0)
    with pytest.raises(ValueError, match="exact_shapley: x must be finite, got 1 of 5"):
        xaijax.exact_shapley(xaijax.read_trees(MODEL), jnp.ones(5).at[0].set(jnp.nan), 0)


# --- Rules


def carried_out(text, names, x):
    """What printed rules answer to an example."""
    row = dict(zip(names, x, strict=True))

    def holds(condition):
        condition = condition.strip("()")
        condition, *missing = condition.split(" or ")
        words = condition.split(" ")
        name = next(word for word in words if word in row)
        if np.isnan(row[name]):
            return bool(missing)
        bounds = [np.float32(w) for w in words if w not in (name, "<", "<=", ">")]
        if len(bounds) == 2:
            return bounds[0] < row[name] <= bounds[1]
        return row[name] <= bounds[0] if "<=" in words else row[name] > bounds[0]

    total, count = 0.0, 0
    for line in text.splitlines():
        if line.startswith("start: "):
            total = np.array(line.removeprefix("start: ").split(", "), float)
        elif line.startswith("IF "):
            conditions, says = line.removeprefix("IF ").split(" THEN ")
            if all(holds(part) for part in conditions.split(" AND ")):
                total, count = total + np.array(says.split(", "), float), count + 1
    return total, count


def test_rules_are_the_model():
    """As text, carried out word by word."""
    f, xs = xaijax.read_trees(MODEL), rows(4, 60)
    text = xaijax.tree_rules(f, missing=True)
    found, counts = zip(*(carried_out(text, f.feature_names, x) for x in xs), strict=True)
    assert set(counts) == {len(f.roots)}  # one rule of each tree
    np.testing.assert_allclose(found, jax.vmap(f)(xs), rtol=1e-6)


def test_rules_with_names():
    X, y = breast_cancer()
    model = base.clone(FITTED["tree"][0]).set_params(max_depth=2).fit(X, y)
    text = xaijax.tree_rules(xaijax.read_trees(model), outputs=["malignant", "benign"])
    assert "IF x7 <= 0.05142 AND x3 <= 696.25 THEN malignant 0.02719" in text
    with pytest.raises(ValueError, match="outputs must name each of the 2 outputs, got 1 names"):
        xaijax.tree_rules(xaijax.read_trees(model), outputs=["benign"])
