"""Densely connected networks (Huang, Liu, van der Maaten and Weinberger, CVPR 2017; arXiv:1608.06993).

References:
    huang2017densenet
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._checkpoint import create, set_torch_parameters
from xaijax.models._imagenet import TORCHVISION
from xaijax.models._layers import average_pool, batch_norm, check_image, convolution, max_pool

_STEM_CHANNELS = 64
_GROWTH = 32  # channels that each layer adds
_BOTTLENECK = 4  # channels of the 1 x 1 convolution before, in multiples of these


class DenseLayer(nnx.Module):
    """Batch norm, ReLU and a 1 x 1 convolution, then the same with 3 x 3.

    Args:
        features_in: Input channels.
        rngs: Draws the kernels.
    """

    def __init__(self, features_in: int, *, rngs: nnx.Rngs) -> None:
        width = _BOTTLENECK * _GROWTH
        self.norm1 = batch_norm(features_in, rngs=rngs)
        self.conv1 = convolution(features_in, width, 1, bias=False, rngs=rngs)
        self.norm2 = batch_norm(width, rngs=rngs)
        self.conv2 = convolution(width, _GROWTH, 3, padding=1, bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... H W G"]:
        """Compute the new channels from all channels before, with any leading axes."""
        x = self.conv1(jax.nn.relu(self.norm1(x)))
        return self.conv2(jax.nn.relu(self.norm2(x)))


class DenseBlock(nnx.Dict):
    """Layers of which each sees the block's input and the new channels of all layers before it.

    Args:
        features_in: Input channels.
        depth: Number of layers.
        rngs: Draws the kernels.
    """

    def __init__(self, features_in: int, depth: int, *, rngs: nnx.Rngs) -> None:
        super().__init__(
            {
                f"denselayer{i + 1}": DenseLayer(features_in + i * _GROWTH, rngs=rngs)
                for i in range(depth)
            }
        )

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... H W O"]:
        """Map feature maps with any leading axes."""
        # By name: as a pytree, a dict sorts its keys, and layer 10 comes before layer 2.
        for i in range(len(self)):
            x = jnp.concatenate([x, self[f"denselayer{i + 1}"](x)], -1)
        return x


class Transition(nnx.Module):
    """Halve the channels by a 1 x 1 convolution, and rows and columns by average pooling.

    Args:
        features_in: Input channels.
        rngs: Draws the kernel.
    """

    def __init__(self, features_in: int, *, rngs: nnx.Rngs) -> None:
        self.norm = batch_norm(features_in, rngs=rngs)
        self.conv = convolution(features_in, features_in // 2, 1, bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Map feature maps with any leading axes."""
        return average_pool(self.conv(jax.nn.relu(self.norm(x))), 2, stride=2)


class DenseNet(nnx.Module):
    """A densely connected network with bottlenecks and halving transitions (DenseNet-BC, growth rate 32).

    Its modules have the names of torchvision's.

    Args:
        depths: How many layers each of the dense blocks has.
        num_classes: Number of logits.
        rngs: Draws the parameters. `densenet121` loads trained ones.

    References:
        huang2017densenet
    """

    preprocessing = TORCHVISION

    def __init__(self, depths: Sequence[int], num_classes: int = 1000, *, rngs: nnx.Rngs) -> None:
        width = _STEM_CHANNELS
        features: dict[str, Any] = {
            "conv0": convolution(3, width, 7, stride=2, padding=3, bias=False, rngs=rngs),
            "norm0": batch_norm(width, rngs=rngs),
        }
        for i, depth in enumerate(depths, 1):
            features[f"denseblock{i}"] = DenseBlock(width, depth, rngs=rngs)
            width += depth * _GROWTH
            if i < len(depths):
                features[f"transition{i}"] = Transition(width, rngs=rngs)
                width //= 2
        features["norm5"] = batch_norm(width, rngs=rngs)
        self.num_blocks = len(depths)
        self.features = nnx.Dict(features)
        self.classifier = nnx.Linear(width, num_classes, rngs=rngs)

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
        check_image("DenseNet", x)
        features = self.features
        x = jax.nn.relu(features["norm0"](features["conv0"](x)))
        x = max_pool(x, 3, stride=2, padding=1)
        for i in range(1, self.num_blocks):
            x = features[f"transition{i}"](features[f"denseblock{i}"](x))
        x = features[f"denseblock{self.num_blocks}"](x)
        x = jax.nn.relu(features["norm5"](x))
        return self.classifier(x.mean((-3, -2)))


def densenet121(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> DenseNet:
    """Make DenseNet-121.

    Args:
        weights: The path of a checkpoint with torchvision's names (`.pth` or `.safetensors`, read without PyTorch), or
            None for random parameters. The older names of the file that torchvision publishes
            (`denselayer1.norm.1.weight` for `denselayer1.norm1.weight`) are understood too.
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
        >>> model = nnx.eval_shape(lambda: densenet121(num_classes=10, rngs=nnx.Rngs(0)))
        >>> model.features["denseblock1"]["denselayer1"].conv2.kernel.shape
        (3, 3, 128, 32)

    References:
        huang2017densenet
    """
    return create(
        "densenet121",
        lambda rngs: DenseNet((6, 12, 24, 16), num_classes, rngs=rngs),
        weights,
        rngs,
        set_arrays=_set_parameters,
    )


def _set_parameters(
    where: str,
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
) -> None:
    is_old = any(".norm.1." in name for name in arrays)
    rename = _old_name if is_old else str
    set_torch_parameters(where, model, arrays, source, rename)


def _old_name(name: str) -> str:
    return re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name)
