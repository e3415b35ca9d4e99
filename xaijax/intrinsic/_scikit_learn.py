"""scikit-learn's fitted trees, read from their arrays; the library itself is not imported."""

import warnings
from typing import Any

import numpy as np

from xaijax.core._errors import complaint
from xaijax.intrinsic._trees import Tree, Trees, assemble, at_most, widest


def read_scikit_learn(model: Any) -> Trees:
    """The trees of a fitted estimator of scikit-learn."""
    kinds = {kind.__name__ for kind in type(model).__mro__}
    readers = {
        "BaseDecisionTree": lambda model: _forest(model, [model]),
        "BaseForest": lambda model: _forest(model, model.estimators_),
        "BaseGradientBoosting": _gradient_boosting,
        "BaseHistGradientBoosting": _histogram_boosting,
    }
    found = [reader for kind, reader in readers.items() if kind in kinds]
    if not found:
        rule = "be a fitted tree ensemble of scikit-learn, or a file of XGBoost or LightGBM"
        fix = "Save theirs with booster.save_model: to a name that ends in .json or .txt. Any other model: black_box."
        raise TypeError(complaint("read_trees", "model", rule, type(model).__name__, fix))
    if not hasattr(model, "n_features_in_"):
        rule, got = "be fitted", f"a {type(model).__name__} that is not"
        raise ValueError(complaint("read_trees", "model", rule, got, "Call its fit first."))
    return found[0](model)


def names(model: Any) -> list[str]:
    """The names of an estimator's features; x0, x1, ... if it was fitted without."""
    given = getattr(model, "feature_names_in_", None)
    return [f"x{j}" for j in range(model.n_features_in_)] if given is None else list(given)


def _forest(model: Any, estimators: Any) -> Trees:
    """A tree, or the mean of several."""
    classifies = hasattr(model, "classes_")
    if classifies and model.n_outputs_ > 1:
        got = f"a {type(model).__name__} of {model.n_outputs_} outputs"
        raise ValueError(complaint("read_trees", "model", "classify one output", got))
    trees = []
    for estimator in estimators:
        value = estimator.tree_.value
        # Counts of classes or, since scikit-learn 1.3, their parts; or the outputs of a regression.
        value = value[:, 0] / value[:, 0].sum(-1, keepdims=True) if classifies else value[:, :, 0]
        tree = _tree(estimator.tree_, value / len(estimators))
        # As it weighs the importance of features: that of each tree sums to 1.
        trees.append(tree._replace(gain=tree.gain / max(tree.gain[tree.left >= 0].sum(), 1e-300)))
    takes_missing = hasattr(estimators[0].tree_, "missing_go_to_left")
    base = np.zeros(trees[0].value.shape[1])
    return assemble(trees, base, names(model), takes_missing=takes_missing)


def _gradient_boosting(model: Any) -> Trees:
    """A constant and the sum of trees, those of each round one for each output."""
    initial = type(model.init_).__name__
    if model.init_ != "zero" and initial not in ("DummyClassifier", "DummyRegressor"):
        rule = "be boosted from a constant"
        raise ValueError(complaint("read_trees", "model", rule, f"init={initial}"))
    num_outputs = model.estimators_.shape[1]
    trees = []
    for round_ in model.estimators_:
        for output, estimator in zip(np.eye(num_outputs), round_, strict=True):
            value = model.learning_rate * estimator.tree_.value[:, 0] * output
            trees.append(_tree(estimator.tree_, value))
    # What its raw score has beyond the trees, at any example.
    anywhere = np.zeros((1, model.n_features_in_), np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the example has no names of features
        raw = getattr(model, "decision_function", model.predict)(anywhere).reshape(-1)
        leaves = [tree.tree_.apply(anywhere)[0] for tree in model.estimators_.reshape(-1)]
    spoken = sum(tree.value[leaf] for tree, leaf in zip(trees, leaves, strict=True))
    return assemble(trees, raw - spoken, names(model), takes_missing=False)


def _tree(tree: Any, value: np.ndarray) -> Tree:
    weight, left, right = tree.weighted_n_node_samples, tree.children_left, tree.children_right
    loss = weight * tree.impurity
    missing_left = getattr(tree, "missing_go_to_left", np.zeros(len(left), bool))
    return Tree(
        left=left,
        right=right,
        feature=tree.feature,
        # It casts x to single precision and compares it with a threshold in double.
        threshold=at_most(tree.threshold, np.float32),
        missing_left=np.asarray(missing_left, bool),
        value=value,
        cover=weight,
        gain=(loss - loss[left] - loss[right]) / weight[0],
    )


def _histogram_boosting(model: Any) -> Trees:
    """A constant and the sum of trees, those of each round one for each output; x is compared in double precision."""
    if model.is_categorical_ is not None and np.any(model.is_categorical_):
        columns = ", ".join(map(str, np.flatnonzero(model.is_categorical_)))
        rule, got = "have no categorical features", f"features {columns}"
        raise ValueError(complaint("read_trees", "model", rule, got))
    trees = []
    for round_ in model._predictors:
        for output, predictor in zip(np.eye(len(round_)), round_, strict=True):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            tree = Tree(
                left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
                right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
                feature=nodes["feature_idx"],
                threshold=at_most(nodes["num_threshold"], widest()),
                missing_left=nodes["missing_go_to_left"].astype(bool),
                value=nodes["value"][:, None] * output,
                cover=nodes["count"].astype(np.float64),
                gain=nodes["gain"],
            )
            trees.append(tree)
    return assemble(trees, np.reshape(model._baseline_prediction, -1), names(model))
