"""ResNet-34 as dlib trained it on ImageNet.

The residual network of 34 layers (He et al., 2016, arXiv:1512.03385) with the differences of dlib's example program:
convolutions of stride 2, the first one included, and the poolings have no padding; where a block halves the resolution
its shortcut is an average pooling, whose missing channels count as zeros, instead of a convolution; and batch norm is
replaced by what it was in evaluation, a factor and a shift of each channel. Measured on 24 photographs, the logits
are those of dlib 19.24 itself to 2e-5, where the largest is 23.

References:
    he2016resnet
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.models._dlib import DnnLayer, DnnNetwork, read_dnn
from xaijax.models._files import FileError, read_bytes, reading
from xaijax.models._imagenet import Preprocessing
from xaijax.models._state import set_parameters

_Four = tuple[int, int, int, int]
_BLOCKS: _Four = (3, 4, 6, 3)
_WIDTHS: _Four = (64, 128, 256, 512)
_SIZE = 227  # rows and columns of the input
_GET = (
    "The file is in the Debian source package dlib: with a deb-src list, run "
    "`apt-get source --download-only dlib` and `tar -xjf dlib_*.orig-dlib-models.tar.bz2 --wildcards "
    "'*/resnet34_1000_imagenet_classifier.dnn'`; its sha256 is "
    "399bbdef8114d0ae69ff6a36810df1f0f9265a237b64da1eeb211da9bf1cc950."
)
_FIX = "Give the file resnet34_1000_imagenet_classifier.dnn."


class Affine(nnx.Module):
    """A factor and a shift of each channel.

    Args:
        features: Number of channels.
        rngs: Not used: the factors start at 1 and the shifts at 0.
    """

    def __init__(self, features: int, *, rngs: nnx.Rngs) -> None:
        del rngs
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Float[Array, "... C"]) -> Float[Array, "... C"]:
        """Map feature maps with any leading axes."""
        return x * self.scale[...] + self.bias[...]


class DlibBlock(nnx.Module):
    """Two convolutions beside a shortcut.

    Args:
        features_in: Input channels.
        features_out: Output channels.
        stride: Of the first convolution, and of the pooling in the shortcut.
        rngs: Draws the kernels.
    """

    def __init__(self, features_in: int, features_out: int, *, stride: int, rngs: nnx.Rngs) -> None:
        self.conv1 = _conv(features_in, features_out, 3, stride, rngs)
        self.affine1 = Affine(features_out, rngs=rngs)
        self.conv2 = _conv(features_out, features_out, 3, 1, rngs)
        self.affine2 = Affine(features_out, rngs=rngs)
        self.stride = stride

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Map feature maps with any leading axes."""
        y = jax.nn.relu(self.affine1(self.conv1(x)))
        y = self.affine2(self.conv2(y))
        if self.stride > 1:
            x = nnx.avg_pool(x, (2, 2), (self.stride, self.stride))
        return jax.nn.relu(_add(y, x))


def _conv(features_in: int, features_out: int, size: int, stride: int, rngs: nnx.Rngs) -> nnx.Conv:
    padding = size // 2 if stride == 1 else 0
    init = jax.nn.initializers.he_uniform()
    window = (size, size)
    return nnx.Conv(
        features_in, features_out, window, stride, padding=padding, kernel_init=init, rngs=rngs
    )


def _add(x: Array, y: Array) -> Array:
    """Add two stacks of feature maps; what one of them lacks in channels, rows or columns is zero."""
    shape = [max(sizes) for sizes in zip(x.shape, y.shape, strict=True)]

    def extend(x: Array) -> Array:
        missing = [(0, size - have) for size, have in zip(shape, x.shape, strict=True)]
        return jnp.pad(x, missing) if any(after for _, after in missing) else x

    return extend(x) + extend(y)


def _stage(
    blocks: int, features_in: int, features_out: int, stride: int, rngs: nnx.Rngs
) -> nnx.List:
    first = DlibBlock(features_in, features_out, stride=stride, rngs=rngs)
    rest = (DlibBlock(features_out, features_out, stride=1, rngs=rngs) for _ in range(blocks - 1))
    return nnx.List([first, *rest])


class DlibResNet(nnx.Module):
    """A residual network of dlib's, by default of 34 layers.

    Args:
        num_classes: Number of logits.
        blocks: Number of blocks of each stage.
        widths: Channels of each stage; each but the first halves the resolution.
        rngs: Draws the parameters. `dlib_resnet34` loads trained ones.

    Attributes:
        labels: The names of the classes, as the file has them.

    References:
        he2016resnet
    """

    preprocessing = Preprocessing((122.782, 117.001, 104.298), (256, 256, 256), crop=_SIZE)

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        blocks: _Four = _BLOCKS,
        widths: _Four = _WIDTHS,
        rngs: nnx.Rngs,
    ) -> None:
        self.conv1 = _conv(3, widths[0], 7, 2, rngs)
        self.affine1 = Affine(widths[0], rngs=rngs)
        self.layer1 = _stage(blocks[0], widths[0], widths[0], 1, rngs)
        self.layer2 = _stage(blocks[1], widths[0], widths[1], 2, rngs)
        self.layer3 = _stage(blocks[2], widths[1], widths[2], 2, rngs)
        self.layer4 = _stage(blocks[3], widths[2], widths[3], 2, rngs)
        self.fc = nnx.Linear(widths[3], num_classes, rngs=rngs)
        self.labels: tuple[str, ...] = ()

    def __call__(self, x: Float[Array, "*batch H W 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch, as `preprocess(image, model.preprocessing)` scales them; at least 55 x 55
                pixels, of which 227 x 227 is the size of training.

        Returns:
            The logits.

        Raises:
            ValueError: x is no image of three channels and at least 55 x 55 pixels.
        """
        if jnp.ndim(x) < 3 or x.shape[-1] != 3 or min(x.shape[-3:-1]) < 55:
            rule = "have the shape (..., H, W, 3) with H and W at least 55"
            fix = "Put channels last and resize, as `preprocess` does."
            raise ValueError(complaint("DlibResNet", "x", rule, jnp.shape(x), fix))
        x = jax.nn.relu(self.affine1(self.conv1(x)))
        x = nnx.max_pool(x, (3, 3), (2, 2))
        for block in (*self.layer1, *self.layer2, *self.layer3, *self.layer4):
            x = block(x)
        return self.fc(x.mean((-3, -2)))


def dlib_resnet34(path: str | os.PathLike[str]) -> DlibResNet:
    """Load dlib's ResNet-34 for ImageNet from a file that dlib wrote.

    The file comes with no Python package. It is public domain, in the Debian source package `dlib`: the error for a
    path that does not exist says how to get it.

    Args:
        path: `resnet34_1000_imagenet_classifier.dnn`.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., 1000)` logits, with the attributes `preprocessing` (its mean is that
        of the file) and `labels`.

    Raises:
        FileNotFoundError: There is no such file; the message says how to get it.
        ValueError: The file is damaged, or holds another network.

    Example:
        >>> dlib_resnet34("resnet34.dnn")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        FileNotFoundError: dlib_resnet34: path must be an existing file, got 'resnet34.dnn'. The file is in ...

    References:
        he2016resnet
        king2009dlib
    """
    return _load("dlib_resnet34", path, 1000, _BLOCKS, _WIDTHS)


def _load(
    where: str,
    path: str | os.PathLike[str],
    num_classes: int,
    blocks: _Four,
    widths: _Four,
) -> DlibResNet:
    data = read_bytes(where, path, fix=_GET)
    with reading(where, Path(path), "dlib's ResNet-34"):
        network = read_dnn(data)
        arrays = _match(network, num_classes, blocks, widths)
    # The shapes without the cost of drawing parameters that would be thrown away.
    model = nnx.eval_shape(
        lambda: DlibResNet(num_classes, blocks=blocks, widths=widths, rngs=nnx.Rngs(0))
    )
    set_parameters(where, model, arrays, path)
    model.preprocessing = Preprocessing(network.mean, (256, 256, 256), crop=_SIZE)
    model.labels = network.labels
    return model


def _match(
    network: DnnNetwork, num_classes: int, blocks: _Four, widths: _Four
) -> dict[str, np.ndarray]:
    """Compare a file's network with ours, layer by layer.

    Returns:
        The path of each variable to its array.

    Raises:
        FileError: The network is another one.
    """
    if network.size != (_SIZE, _SIZE):
        raise FileError(f"whose input is {network.size} instead of {(_SIZE, _SIZE)}", _FIX)
    if len(network.labels) != num_classes:
        raise FileError(f"which names {len(network.labels)} of {num_classes} classes", _FIX)
    arrays = {}
    expected = _name_layers(num_classes, blocks, widths)
    pairs = itertools.zip_longest(network.layers, expected)
    for number, (layer, ours) in enumerate(pairs):
        got = None if layer is None else (layer.kind, layer.settings)
        wanted = None if ours is None else ours[1:]
        if layer is None or ours is None or got != wanted:
            raise FileError(f"whose layer {number} is {got} instead of {wanted}", _FIX)
        arrays |= {f"{ours[0]}.{name}": array for name, array in _translate(layer)}
    return arrays


def _name_layers(
    num_classes: int, blocks: _Four, widths: _Four
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Give the path in the model, the kind and the settings of each layer, from the input to the output."""
    yield "conv1", "con", (widths[0], 7, 7, 2, 2, 0, 0)
    yield "affine1", "affine", ()
    yield "", "relu", ()
    yield "", "max_pool", (3, 3, 2, 2, 0, 0)
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), 1):
        same, half = (width, 3, 3, 1, 1, 1, 1), (width, 3, 3, 2, 2, 0, 0)
        for block in range(count):
            path, halves = f"layer{stage}.{block}", stage > 1 and block == 0
            yield "", "tag", ()
            yield f"{path}.conv1", "con", half if halves else same
            yield f"{path}.affine1", "affine", ()
            yield "", "relu", ()
            yield f"{path}.conv2", "con", same
            yield f"{path}.affine2", "affine", ()
            if halves:
                yield "", "tag", ()  # here
                yield "", "tag", ()  # and back to the first tag
                yield "", "avg_pool", (2, 2, 2, 2, 0, 0)
            yield "", "add_prev", ()
            yield "", "relu", ()
    yield "", "avg_pool", (0, 0, 1, 1, 0, 0)  # of everything
    yield "fc", "fc", (num_classes, widths[3])


def _translate(layer: DnnLayer) -> Iterator[tuple[str, np.ndarray]]:
    """Give the variables of a layer in our names and layouts."""
    for name, array in layer.parameters.items():
        if name == "filters":
            yield "kernel", array.transpose(2, 3, 1, 0)
        elif name == "weights":
            yield "kernel", array.reshape(len(array), -1)
        else:
            yield "scale" if name == "gamma" else "bias", array.ravel()
