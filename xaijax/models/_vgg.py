"""VGG (Simonyan and Zisserman, ICLR 2015; arXiv:1409.1556): 3 x 3 convolutions, max pooling and three dense layers.

References:
    simonyan2015vgg
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._checkpoint import create, set_torch_parameters
from xaijax.models._imagenet import TORCHVISION
from xaijax.models._layers import check_image, convolution, max_pool

# Table 1 of the paper: the convolutions before each max pooling, and their channels.
_VGG11 = (1, 1, 2, 2, 2)  # column A
_VGG16 = (2, 2, 3, 3, 3)  # column D
_CHANNELS = (64, 128, 256, 512, 512)
_GRID = 7  # rows and columns of the features that the dense layers see


class VGG(nnx.Module):
    """VGG without batch norm.

    Its modules have the names of torchvision's; the first dense layer sees the features flattened as they lie, with the
    channel as the fastest axis (torchvision has it as the slowest). Before it stands torchvision's adaptive average
    pooling to 7 x 7, which leaves the features of 224 x 224 pixels as they are.

    Differs from the paper in having no dropout: the model is made for evaluation.

    Args:
        depths: How many convolutions each of the five stages has.
        num_classes: Number of logits.
        hidden_size: Features of the two hidden dense layers.
        rngs: Draws the parameters. `vgg11` and `vgg16` load trained ones.

    References:
        simonyan2015vgg
    """

    preprocessing = TORCHVISION

    def __init__(
        self,
        depths: Sequence[int],
        num_classes: int = 1000,
        *,
        hidden_size: int = 4096,
        rngs: nnx.Rngs,
    ) -> None:
        features: list[Any] = []
        width = 3
        for depth, channels in zip(depths, _CHANNELS, strict=True):
            for _ in range(depth):
                features += [convolution(width, channels, 3, padding=1, rngs=rngs), jax.nn.relu]
                width = channels
            features.append(_halve)
        self.features = nnx.List(features)
        # A checkpoint counts the dropouts: each leaves its number behind.
        self.classifier = nnx.List[Any](
            [
                nnx.Linear(_GRID * _GRID * width, hidden_size, rngs=rngs),
                jax.nn.relu,
                _no_dropout,
                nnx.Linear(hidden_size, hidden_size, rngs=rngs),
                jax.nn.relu,
                _no_dropout,
                nnx.Linear(hidden_size, num_classes, rngs=rngs),
            ]
        )

    def __call__(self, x: Float[Array, "*batch H W 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch, as `preprocess(image, model.preprocessing)` scales them; at least 32 x 32 pixels,
                of which 224 x 224 is the size of training.

        Returns:
            The logits.

        Raises:
            ValueError: x is no image of three channels and at least 32 x 32 pixels.
        """
        check_image("VGG", x)
        for layer in self.features:
            x = layer(x)
        x = _adaptive_average_pool(x, _GRID)
        x = x.reshape(*x.shape[:-3], -1)
        for layer in self.classifier:
            x = layer(x)
        return x


def _halve(x: Float[Array, "... H W C"]) -> Float[Array, "... P Q C"]:
    return max_pool(x, 2, stride=2)


def _no_dropout(x: Array) -> Array:
    return x


def _adaptive_average_pool(
    x: Float[Array, "... H W C"], size: int
) -> Float[Array, "... size size C"]:
    """Pool to a grid of one size, by means over windows that cover the image and may overlap."""
    height, width = x.shape[-3:-1]
    if (height, width) == (size, size):
        return x
    rows, columns = (jnp.asarray(_windows(n, size), x.dtype) for n in (height, width))
    return jnp.einsum("ih,jw,...hwc->...ijc", rows, columns, x, precision="highest")


def _windows(length: int, size: int) -> Float[np.ndarray, "size length"]:
    """The mean over each window, as a matrix."""
    means = np.zeros((size, length))
    for i in range(size):
        start, stop = i * length // size, math.ceil((i + 1) * length / size)
        means[i, start:stop] = 1 / (stop - start)
    return means


def _set_parameters(
    where: str,
    model: VGG,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
) -> None:
    set_torch_parameters(where, model, arrays, source)
    # PyTorch flattens with the channels first. The kernel is turned once, instead of every feature map.
    dense = model.classifier[0]
    kernel = dense.kernel[...].reshape(_CHANNELS[-1], _GRID, _GRID, -1)
    dense.kernel = nnx.Param(kernel.transpose(1, 2, 0, 3).reshape(dense.kernel.shape))


def vgg11(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> VGG:
    """Make VGG-11 (without batch norm).

    Args:
        weights: The path of a checkpoint with torchvision's names (`.pth` or `.safetensors`, read without PyTorch), or
            None for random parameters.
        num_classes: Number of logits, which a checkpoint must have too.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., num_classes)` logits, in evaluation mode.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, or its keys or shapes are not those of this model; or rngs does not go
            with weights.

    Example:
        >>> from flax import nnx
        >>> model = nnx.eval_shape(lambda: vgg11(rngs=nnx.Rngs(0)))
        >>> model.features[0].kernel.shape
        (3, 3, 3, 64)

    References:
        simonyan2015vgg
    """
    return create(
        "vgg11",
        lambda rngs: VGG(_VGG11, num_classes, rngs=rngs),
        weights,
        rngs,
        set_arrays=_set_parameters,
    )


def vgg16(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> VGG:
    """Make VGG-16 (without batch norm).

    Args:
        weights: The path of a checkpoint with torchvision's names (`.pth` or `.safetensors`, read without PyTorch), or
            None for random parameters.
        num_classes: Number of logits, which a checkpoint must have too.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., num_classes)` logits, in evaluation mode.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, or its keys or shapes are not those of this model; or rngs does not go
            with weights.

    Example:
        >>> from flax import nnx
        >>> model = nnx.eval_shape(lambda: vgg16(num_classes=10, rngs=nnx.Rngs(0)))
        >>> model.classifier[6].kernel.shape
        (4096, 10)

    References:
        simonyan2015vgg
    """
    return create(
        "vgg16",
        lambda rngs: VGG(_VGG16, num_classes, rngs=rngs),
        weights,
        rngs,
        set_arrays=_set_parameters,
    )
