"""XGBoost's JSON models (Chen & Guestrin, KDD 2016), as `save_model("model.json")` writes them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from xaijax.core._errors import complaint
from xaijax.intrinsic._trees import Tree, Trees, assemble, at_most

# Major versions whose files are known.
_VERSIONS = (1, 2, 3)
# Objectives by how they make a raw score of the base score, which stands in units of the prediction.
_LOGISTIC = ("binary:logistic", "binary:logitraw", "reg:logistic")
_EXPONENTIAL = (
    "count:poisson",
    "reg:gamma",
    "reg:tweedie",
    "survival:cox",
    "survival:aft",
)
_IDENTITY = (
    "binary:hinge",
    "multi:softmax",
    "multi:softprob",
    "rank:map",
    "rank:ndcg",
    "rank:pairwise",
    "reg:absoluteerror",
    "reg:linear",
    "reg:pseudohubererror",
    "reg:quantileerror",
    "reg:squarederror",
    "reg:squaredlogerror",
)


def read_xgboost(model: Mapping[str, Any]) -> Trees:
    """The trees of a model of XGBoost: boosted (`gbtree`), with dropout (`dart`) or a forest."""
    version = model.get("version")
    if "learner" not in model or not version or int(version[0]) not in _VERSIONS:
        rule = f"be a JSON model of XGBoost {', '.join(map(str, _VERSIONS))}"
        got = "no `learner`" if "learner" not in model else f"version {version}"
        raise ValueError(complaint("read_trees", "model", rule, got))
    learner = model["learner"]
    booster, names = learner["gradient_booster"], learner.get("feature_names") or None
    kind = booster["name"]
    if kind not in ("gbtree", "dart"):
        rule = "be an XGBoost model of trees, 'gbtree' or 'dart'"
        raise ValueError(complaint("read_trees", "model", rule, repr(kind)))
    ensemble = booster["gbtree"] if kind == "dart" else booster
    trees, outputs = ensemble["model"]["trees"], ensemble["model"]["tree_info"]
    weights = booster["weight_drop"] if kind == "dart" else [1.0] * len(trees)
    parameters = learner["learner_model_param"]
    width = max(int(parameters.get(k, 0)) for k in ("num_class", "num_target"))
    spoken = np.eye(max(width, 1))
    found = [
        _tree(tree, spoken[output] * weight)
        for tree, output, weight in zip(trees, outputs, weights, strict=True)
    ]
    names = names or [f"x{j}" for j in range(int(parameters["num_feature"]))]
    return assemble(found, _base(learner, len(spoken)), names)


def _tree(tree: Mapping[str, Any], output: np.ndarray) -> Tree:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        rule, got = "have one number at each leaf", "leaves of several targets (multi_output_tree)"
        fix = "Train it with multi_strategy='one_output_per_tree'."
        raise ValueError(complaint("read_trees", "model", rule, got, fix))
    left = np.asarray(tree["left_children"])
    feature = np.asarray(tree["split_indices"])
    categorical = (np.asarray(tree.get("split_type", np.zeros(len(left)))) == 1) & (left >= 0)
    if categorical.any():
        columns = ", ".join(map(str, np.unique(feature[categorical])))
        rule, got = "have no categorical splits", f"some on features {columns}"
        raise ValueError(complaint("read_trees", "model", rule, got, "Encode them as numbers."))
    # Of an inner node the threshold, of a leaf its value. x < t, both in single precision.
    condition = np.asarray(tree["split_conditions"], np.float32)
    return Tree(
        left=left,
        right=np.asarray(tree["right_children"]),
        feature=feature,
        threshold=at_most(condition, np.float32, strict=True),
        missing_left=np.asarray(tree["default_left"]).astype(bool),
        value=condition[:, None].astype(np.float64) * output,
        cover=np.asarray(tree["sum_hessian"], np.float64),
        gain=np.asarray(tree["loss_changes"], np.float64),
    )


def _base(learner: Mapping[str, Any], num_outputs: int) -> np.ndarray:
    """The raw score before any tree: the link function of the base score."""
    text = learner["learner_model_param"]["base_score"]
    # One number; since XGBoost 3.1 a list of them, one for each output.
    score = np.array([float(part) for part in text.strip("[]").split(",")])
    objective = learner["objective"]["name"]
    if objective in _LOGISTIC:
        score = np.log(score / (1 - score))
    elif objective in _EXPONENTIAL:
        score = np.log(score)
    elif objective not in _IDENTITY:
        rule = "have an objective whose base score is known"
        raise ValueError(complaint("read_trees", "model", rule, repr(objective)))
    return np.broadcast_to(score, num_outputs)
