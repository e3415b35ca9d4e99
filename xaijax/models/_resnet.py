"""Residual networks (He, Zhang, Ren and Sun, CVPR 2016; arXiv:1512.03385).

References:
    he2016resnet
"""

import os
from collections.abc import Sequence

import jax
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._checkpoint import create
from xaijax.models._imagenet import TORCHVISION
from xaijax.models._layers import batch_norm, check_image, convolution, max_pool

_CHANNELS = (64, 128, 256, 512)


class BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        features_in: Input channels.
        channels: Channels of each convolution, and of the output.
        stride: Of the first convolution.
        rngs: Draws the kernels.
    """

    expansion = 1

    def __init__(self, features_in: int, channels: int, *, stride: int, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(
            features_in, channels, 3, stride=stride, padding=1, bias=False, rngs=rngs
        )
        self.bn1 = batch_norm(channels, rngs=rngs)
        self.conv2 = convolution(channels, channels, 3, padding=1, bias=False, rngs=rngs)
        self.bn2 = batch_norm(channels, rngs=rngs)
        self.downsample = _projection(features_in, channels, stride, rngs)

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Map feature maps with any leading axes."""
        shortcut = _shorten(self.downsample, x)
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return jax.nn.relu(y + shortcut)


class Bottleneck(nnx.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution beside a shortcut.

    Args:
        features_in: Input channels.
        channels: Channels of the first two convolutions; the output has four times as many.
        stride: Of the 3 x 3 convolution.
        rngs: Draws the kernels.
    """

    expansion = 4

    def __init__(self, features_in: int, channels: int, *, stride: int, rngs: nnx.Rngs) -> None:
        features_out = channels * self.expansion
        self.conv1 = convolution(features_in, channels, 1, bias=False, rngs=rngs)
        self.bn1 = batch_norm(channels, rngs=rngs)
        self.conv2 = convolution(
            channels, channels, 3, stride=stride, padding=1, bias=False, rngs=rngs
        )
        self.bn2 = batch_norm(channels, rngs=rngs)
        self.conv3 = convolution(channels, features_out, 1, bias=False, rngs=rngs)
        self.bn3 = batch_norm(features_out, rngs=rngs)
        self.downsample = _projection(features_in, features_out, stride, rngs)

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Map feature maps with any leading axes."""
        shortcut = _shorten(self.downsample, x)
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = jax.nn.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return jax.nn.relu(y + shortcut)


def _projection(
    features_in: int, features_out: int, stride: int, rngs: nnx.Rngs
) -> nnx.List | None:
    """What a shortcut needs to fit what it is added to; None where that is nothing."""
    if stride == 1 and features_in == features_out:
        return None
    projection = convolution(features_in, features_out, 1, stride=stride, bias=False, rngs=rngs)
    return nnx.List([projection, batch_norm(features_out, rngs=rngs)])


def _shorten(projection: nnx.List | None, x: Array) -> Array:
    for layer in projection or ():
        x = layer(x)
    return x


class ResNet(nnx.Module):
    """A residual network.

    Its modules have the names of torchvision's.

    Differs from the paper as torchvision does: a bottleneck has its stride in the 3 x 3 convolution instead of in the
    first 1 x 1 (known as version 1.5).

    Args:
        block: `BasicBlock` or `Bottleneck`.
        depths: How many blocks each of the four stages has.
        num_classes: Number of logits.
        rngs: Draws the parameters. `resnet18`, `resnet34` and `resnet50` load trained ones.

    References:
        he2016resnet
    """

    preprocessing = TORCHVISION

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        *,
        rngs: nnx.Rngs,
    ) -> None:
        width = _CHANNELS[0]
        self.conv1 = convolution(3, width, 7, stride=2, padding=3, bias=False, rngs=rngs)
        self.bn1 = batch_norm(width, rngs=rngs)
        stages = []
        for stage, (depth, channels) in enumerate(zip(depths, _CHANNELS, strict=True)):
            blocks = []
            for i in range(depth):
                stride = 2 if stage > 0 and i == 0 else 1
                blocks.append(block(width, channels, stride=stride, rngs=rngs))
                width = channels * block.expansion
            stages.append(nnx.List(blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nnx.Linear(width, num_classes, rngs=rngs)

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
        check_image("ResNet", x)
        x = jax.nn.relu(self.bn1(self.conv1(x)))
        x = max_pool(x, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = block(x)
        return self.fc(x.mean((-3, -2)))


def resnet18(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """Make ResNet-18.

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
        >>> model = nnx.eval_shape(lambda: resnet18(num_classes=10, rngs=nnx.Rngs(0)))
        >>> len(model.layer3), model.fc.kernel.shape
        (2, (512, 10))

    References:
        he2016resnet
    """
    return create(
        "resnet18",
        lambda rngs: ResNet(BasicBlock, (2, 2, 2, 2), num_classes, rngs=rngs),
        weights,
        rngs,
    )


def resnet34(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """Make ResNet-34.

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
        >>> model = nnx.eval_shape(lambda: resnet34(num_classes=10, rngs=nnx.Rngs(0)))
        >>> len(model.layer3), model.fc.kernel.shape
        (6, (512, 10))

    References:
        he2016resnet
    """
    return create(
        "resnet34",
        lambda rngs: ResNet(BasicBlock, (3, 4, 6, 3), num_classes, rngs=rngs),
        weights,
        rngs,
    )


def resnet50(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> ResNet:
    """Make ResNet-50.

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
        >>> model = nnx.eval_shape(lambda: resnet50(num_classes=10, rngs=nnx.Rngs(0)))
        >>> len(model.layer3), model.fc.kernel.shape
        (6, (2048, 10))

    References:
        he2016resnet
    """
    return create(
        "resnet50",
        lambda rngs: ResNet(Bottleneck, (3, 4, 6, 3), num_classes, rngs=rngs),
        weights,
        rngs,
    )
