"""The experiment on accuracy and interpretability: description lengths that are counted by hand."""

import numpy as np
import pandas as pd
import pytest
from flax import nnx
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from experiments._train import CNN
from experiments.claims import accuracy_interpretability as experiment


@pytest.mark.parametrize(
    ("model", "classes", "expected"),
    [
        (DecisionTreeClassifier(max_depth=1), 2, 2 + 2),  # column, threshold; an answer each
        (DecisionTreeClassifier(max_depth=1), 3, 2 + 2 * 2),
        (RandomForestClassifier(5, max_depth=1, random_state=0), 2, 5 * 4),
        (GradientBoostingClassifier(n_estimators=5, max_depth=1), 2, 5 * 4),
        (GradientBoostingClassifier(n_estimators=5, max_depth=1), 3, 3 * 5 * 4),
        (LogisticRegression(), 2, 3 + 1),  # the fourth column is always 0
        (LogisticRegression(), 3, 3 * (3 + 1)),
        (MLPClassifier((7,), max_iter=200, tol=1e9), 2, 4 * 7 + 7 + 7 + 1),
    ],
)
def test_numbers_to_write_down(model, classes, expected):
    x = np.random.default_rng(0).normal(size=(90, 4))
    x[:, 3] = 0
    y = np.digitize(x[:, 0], (-0.5, 0.5)[: classes - 1])
    assert experiment.description_length(model.fit(x, y)) == expected


def test_weights_of_the_cnn():
    convolutions = sum(9 * n * m + m for n, m in ((1, 16), (16, 32), (32, 64), (64, 64)))
    norms, dense = 2 * (16 + 32 + 64 + 64), 64 * 10 + 10
    found = experiment.num_weights(CNN(1, 10, rngs=nnx.Rngs(0)))
    assert found == convolutions + norms + dense


def test_shortest_model_that_is_near_the_best():
    rows = [
        {"seed": seed, "model": name, "length": length, "accuracy": accuracy}
        for seed, noise in enumerate((0.0, 0.01, -0.01, 0.005))
        for name, length, accuracy in (
            (experiment.LINEAR, 10, 0.5 + noise),
            ("about as good", 20, 0.9 + 0.4 * noise),
            ("of no account", 30, 0.89 + 8 * noise),
            ("best", 1000, 0.945),
        )
    ]
    found = experiment.compared(pd.DataFrame(rows)).set_index("model")
    assert found.index[found.best].tolist() == ["best"]
    assert found.tie.tolist() == [
        False,
        False,
        True,
        True,
    ]
    assert found.near.tolist() == [False, False, False, True]
    closer = pd.DataFrame(rows).replace({"accuracy": 0.945}, 0.905)
    found = experiment.compared(closer[closer.model != "of no account"]).set_index("model")
    assert found.near.to_dict() == {experiment.LINEAR: False, "about as good": True, "best": True}
    assert found.below[experiment.LINEAR].mean == pytest.approx(0.40375)


def test_rank_correlation_is_the_mean_over_splits():
    accuracies = [(0.1, 0.2, 0.3), (0.1, 0.3, 0.2)]
    rows = [
        {"seed": seed, "length": length, "accuracy": accuracy}
        for seed, values in enumerate(accuracies)
        for length, accuracy in zip((1, 20, 300), values, strict=True)
    ]
    assert experiment.correlations(pd.DataFrame(rows)).mean == pytest.approx((1 + 0.5) / 2)
