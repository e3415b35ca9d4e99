"""Tree ensembles as XGBoost's JSON, walked node by node, and what an absent feature is to them."""

import numpy as np


def random_model(seed, num_features=5, num_outputs=1, num_trees=3, depth=4, prune=0.2):
    """A model of random trees that split on some feature several times on one way."""
    rng = np.random.default_rng(seed)
    outputs = [i % num_outputs for i in range(num_trees)]
    trees = [_random_tree(rng, num_features, depth, prune) for _ in range(num_trees)]
    return model_of(trees, num_features, outputs, num_outputs)


def model_of(trees, num_features, outputs=None, num_outputs=1):
    """The file that XGBoost writes, as far as it is read."""
    model = {"trees": trees, "tree_info": outputs or [0] * len(trees)}
    parameters = {
        "base_score": "5E-1",
        "num_class": str(num_outputs if num_outputs > 1 else 0),
        "num_target": "1",
        "num_feature": str(num_features),
    }
    learner = {
        "gradient_booster": {"name": "gbtree", "model": model},
        "learner_model_param": parameters,
        "objective": {"name": "reg:squarederror"},
        "feature_names": [],
    }
    return {"learner": learner, "version": [3, 1, 0]}


def chain(num_features):
    """A tree whose longest way splits on every feature once."""
    inner = range(num_features)
    leaf = [-1] * (num_features + 1)
    return {
        "left_children": [*(num_features + j for j in inner), *leaf],
        "right_children": [*(j + 1 for j in inner[:-1]), 2 * num_features, *leaf],
        "split_indices": [*inner, *([0] * (num_features + 1))],
        "split_conditions": [*np.linspace(-0.6, 0.1, num_features), *np.arange(num_features + 1.0)],
        "default_left": [1, 0] * num_features + [0],
        "sum_hessian": [
            *np.arange(2.0 * num_features, num_features, -1),
            *([1.0] * num_features),
            3.0,
        ],
        "loss_changes": [1.0] * num_features + [0.0] * (num_features + 1),
        "tree_param": {},
    }


def _random_tree(rng, num_features, depth, prune):
    fields = {
        k: [] for k in ("left_children", "right_children", "split_indices", "split_conditions")
    }
    fields |= {k: [] for k in ("default_left", "sum_hessian", "loss_changes")}

    def grow(level, cover):
        node = len(fields["left_children"])
        leaf = level == depth or (level > 1 and rng.random() < prune)
        row = (-1, -1, rng.integers(num_features), rng.normal(), rng.integers(2), cover, 1.0)
        for field, value in zip(fields.values(), row, strict=True):
            field.append(value)
        if not leaf:
            share = rng.uniform(0.1, 0.9)
            fields["left_children"][node] = grow(level + 1, cover * share)
            fields["right_children"][node] = grow(level + 1, cover * (1 - share))
        return node

    grow(0, 100.0)
    return {**fields, "tree_param": {}}


def _ways(tree, node):
    """The two children; of x the left one, if x goes left."""
    return tree["left_children"][node], tree["right_children"][node]


def _child(tree, node, x):
    """x < t in single precision; a missing value by the node's direction."""
    here = np.float32(x[tree["split_indices"][node]])
    if np.isnan(here):
        goes_left = tree["default_left"][node]
    else:
        goes_left = here < np.float32(tree["split_conditions"][node])
    return _ways(tree, node)[0 if goes_left else 1]


def _value(tree, node):
    return np.float64(np.float32(tree["split_conditions"][node]))


def _parts(model):
    parts = model["learner"]["gradient_booster"]["model"]
    num_outputs = max(1, int(model["learner"]["learner_model_param"]["num_class"]))
    return parts["trees"], parts["tree_info"], num_outputs


def predict(model, x):
    """The raw scores of one example."""
    trees, outputs, num_outputs = _parts(model)
    total = np.full(num_outputs, 0.5)
    for tree, output in zip(trees, outputs, strict=True):
        node = 0
        while tree["left_children"][node] >= 0:
            node = _child(tree, node, x)
        total[output] += _value(tree, node)
    return total


def path_dependent(model, x, kept):
    """Splits on features that are not kept send the example both ways, weighted by their cover."""
    trees, outputs, num_outputs = _parts(model)

    def below(tree, node):
        if tree["left_children"][node] < 0:
            return _value(tree, node)
        if kept[tree["split_indices"][node]]:
            return below(tree, _child(tree, node, x))
        cover = np.array([tree["sum_hessian"][child] for child in _ways(tree, node)])
        both = np.array([below(tree, child) for child in _ways(tree, node)])
        return (cover * both).sum() / cover.sum()

    total = np.full(num_outputs, 0.5)
    for tree, output in zip(trees, outputs, strict=True):
        total[output] += below(tree, 0)
    return total


def interventional(model, x, kept, background):
    """Features that are not kept are those of a row, on average."""
    rows = [predict(model, np.where(kept, x, row)) for row in background]
    return np.mean(rows, 0)
