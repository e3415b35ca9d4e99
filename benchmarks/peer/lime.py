"""lime beside ours: superpixels of an image on EfficientNet-Lite0, and rows of a table with and without bins."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import xaijax
from benchmarks.peer._data import TABLE_TARGET, Data, asked_in_numpy, efficientnet
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import Images, Pair, Workload, as_they_are, image_workload
from benchmarks.peer._tables import Asked, Table

_NETWORK = "efficientnet_lite0"
_IMAGES, _ROWS = 256, 5000  # samples
_FEATURES = 10
_CHUNK = 8
_WIDTH = 0.25  # of the kernel of an image


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    tables = load("lime.lime_tabular")

    asked, X = Asked(data), data.table()
    tabular = {
        "lime, no bins": tables.LimeTabularExplainer(
            X, discretize_continuous=False, random_state=0
        ),
        "lime, quartiles": tables.LimeTabularExplainer(X, random_state=0),
    }
    rows = {name: functools.partial(_row, e, asked.predict) for name, e in tabular.items()}
    return _image(data) | asked.methods(rows)


def _row(explainer: Any, predict: Any, row: np.ndarray) -> np.ndarray:
    found = explainer.explain_instance(
        row, predict, num_features=_FEATURES, num_samples=_ROWS, labels=(TABLE_TARGET,)
    )
    return _weights(found.local_exp[TABLE_TARGET], len(row))


def _weights(found: Any, count: int) -> np.ndarray:
    weights = np.zeros(count)
    for feature, weight in found:
        weights[feature] = weight
    return weights


def _image(data: Data) -> dict[str, Callable[[], Any]]:
    images = load("lime.lime_image")

    labels, (x,), target = data.read("segments"), data.images(1), data.target(_NETWORK)
    f = xaijax.probabilities(efficientnet())
    predict = asked_in_numpy(f, _CHUNK)
    explainer = images.LimeImageExplainer(kernel_width=_WIDTH, random_state=0)

    def explain() -> np.ndarray:
        found = explainer.explain_instance(
            x,
            predict,
            labels=(target,),
            top_labels=None,
            hide_color=0,
            num_features=labels.max() + 1,
            num_samples=_IMAGES,
            batch_size=_CHUNK,
            segmentation_fn=lambda _: labels,
        )
        # Each pixel has its superpixel's, as in ours.
        return _weights(found.local_exp[target], labels.max() + 1)[None, labels]

    prefix = image_workload(_NETWORK, 1)
    return {
        f"{prefix}: lime": explain,
        f"{prefix}: bare forward": functools.partial(asked_in_numpy(f, 1), x[None]),
    }


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    images = Images(data, _NETWORK, 1)
    mask = xaijax.segments(data.read("segments"), hidden=0.0)
    image = functools.partial(
        xaijax.lime, mask=mask, num_samples=_IMAGES, kernel_width=_WIDTH, feature_selection="none"
    )
    pair = Pair(
        "lime",
        images.random(image, xaijax.probabilities(images.f)),
        "bare forward",
        "values of superpixels; both draw at random",
        as_they_are,
        deterministic=False,
    )
    yield Workload(images.name, 1, images.bare(), [pair])

    table, X = Table(data), data.table()
    settings: dict[str, Any] = {"num_samples": _ROWS, "num_features": _FEATURES}
    plain = functools.partial(xaijax.lime, mask=xaijax.gaussian_columns(X), **settings)
    bins = functools.partial(xaijax.lime, mask=xaijax.binned_columns(X), **settings)
    yield table.workload(
        table.random("lime, no bins", plain), table.random("lime, quartiles", bins)
    )
