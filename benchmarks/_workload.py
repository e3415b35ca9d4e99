"""What is explained in the benchmarks: EfficientNet-Lite0, ResNet-50 and a photo of scikit-image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
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
