"""What is explained in the benchmarks: networks with a photo of scikit-image, an MLP with a table of scikit-learn."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

import xaijax
from xaijax.models import efficientnet_lite0, preprocess

#: The class "espresso".
TARGET = 967


@functools.cache
def photo() -> tuple[Any, jax.Array, Any]:
    """The pixels of the coffee cup, the model's input, and its superpixels as a mask."""
    from skimage import data

    image, x = preprocess(Image.fromarray(data.coffee()))
    return image, jnp.asarray(x), xaijax.segments(xaijax.superpixels(image))


@functools.cache
def model() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights."""
    return efficientnet_lite0()


def images(batch: int) -> jax.Array:
    """A batch of the photo: different images, or XLA would compute one."""
    _, x, _ = photo()
    return jnp.stack([x * (1 + 0.01 * i) for i in range(batch)])


@functools.cache
def resnet50() -> Any:
    """ResNet-50 with random weights, on which its time does not depend."""
    from flax import nnx

    from xaijax import models

    return models.resnet50(rngs=nnx.Rngs(0))


@functools.cache
def resnet18() -> Any:
    """ResNet-18 with random weights, on which its time does not depend."""
    from flax import nnx

    from xaijax import models

    return models.resnet18(rngs=nnx.Rngs(0))


@functools.cache
def torch_resnet50() -> tuple[Any, Any]:
    """The ResNet-50 of torchvision with random weights, and ours with the same."""
    import tempfile

    import torch

    from tests.parity._torchvision import torchvision
    from xaijax import models

    net = torchvision.models.resnet50(weights=None).eval()
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(net.state_dict(), file)
        file.flush()
        return net, models.resnet50(file.name)


def chunked_forwards(model: Any, images: jax.Array, count: int) -> jax.Array:
    """`count` bare forwards of a chunk of images over and over: what an explainer cannot go below.

    Each pass sees other images (scaled by a little), or XLA would compute it once.
    """
    chunk = images.shape[0]

    def body(i: jax.Array) -> jax.Array:
        return jax.vmap(xaijax.lower(model))(images * (1 + i * 1e-6))[:, TARGET]

    return jax.lax.map(body, jnp.arange(count // chunk, dtype=images.dtype))


@functools.cache
def breast_cancer(num_features: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """The 569 standardised rows of scikit-learn's breast cancer data, and their classes."""
    from sklearn.datasets import load_breast_cancer

    X, y = load_breast_cancer(return_X_y=True)
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
