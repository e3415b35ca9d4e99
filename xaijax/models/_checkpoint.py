"""From a file of PyTorch's to a Flax model: which reader, which names, which layouts.

A model here is built of the modules of its PyTorch original under the same names, so that the way from one to the
other is mechanical:

    layer1.0.conv1.weight, (O, I, H, W)        layer1.0.conv1.kernel, (H, W, I, O)
    fc.weight, (O, I)                          fc.kernel, (I, O)
    bn1.weight, bn1.bias                       bn1.scale, bn1.bias
    bn1.running_mean, bn1.running_var          bn1.mean, bn1.var
    bn1.num_batches_tracked                    (a counter of training)
    pos_embed                                  pos_embed
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import numpy as np
from flax import nnx

from xaijax.core._errors import complaint
from xaijax.models._safetensors import load_safetensors
from xaijax.models._state import check_arrays, set_parameters, variable_shapes
from xaijax.models._weights import load_torch

Model = TypeVar("Model", bound=nnx.Module)

_TORCH_NAMES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
# The axes of a kernel with so many axes in the other layout.
_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}
_FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0)}


def load_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the named arrays of a PyTorch checkpoint or a safetensors file, whatever its name ends in.

    Args:
        path: The file.

    Returns:
        Names to arrays.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is neither, or damaged.
    """
    # A safetensors file starts with the length of its header, in 8 bytes, and the header, which is JSON.
    if Path(path).is_file() and _read_start(path)[8:] == b"{":
        return load_safetensors(path)
    return load_torch(path)


def _read_start(path: str | os.PathLike[str]) -> bytes:
    with open(path, "rb") as file:
        return file.read(9)


def set_torch_parameters(
    where: str,
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
    rename: Callable[[str], str] = lambda name: name,
) -> None:
    """Set every variable of a model from arrays with PyTorch's names and layouts.

    Args:
        where: The caller, for the error message.
        model: The model, whose variables may be abstract (`nnx.eval_shape`).
        arrays: Name to array, as in the file.
        source: The file, for the error message.
        rename: From the name that PyTorch's module has to that in this file.

    Raises:
        ValueError: The file lacks an array, has one of another shape, or one that the model has not.
    """
    shapes = variable_shapes(model)
    names = {path: rename(_torch_name(path)) for path in shapes}
    expected = {names[path]: torch_shape(path, shape) for path, shape in shapes.items()}
    check_arrays(where, without_counters(arrays), expected, source)
    ours = {path: from_torch(path, arrays[name]) for path, name in names.items()}
    set_parameters(where, model, ours, source, names=names)


def without_counters(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays without what batch norm counts in training, of which evaluation makes no use."""
    return {k: v for k, v in arrays.items() if not k.endswith("num_batches_tracked")}


def torch_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch's layout of the variable at a path."""
    return tuple(shape[axis] for axis in _TO_TORCH[len(shape)]) if _is_kernel(path) else shape


def from_torch(path: str, array: np.ndarray) -> np.ndarray:
    """An array of PyTorch's in the layout of the variable at a path."""
    return array.transpose(_FROM_TORCH[array.ndim]) if _is_kernel(path) else array


def _is_kernel(path: str) -> bool:
    return path.endswith("kernel")


def _torch_name(path: str) -> str:
    *module, name = path.split(".")
    return ".".join([*module, _TORCH_NAMES.get(name, name)])


class Setter(Protocol):
    """Sets every parameter of a model from the arrays of a file."""

    def __call__(
        self,
        where: str,
        model: Any,
        arrays: Mapping[str, np.ndarray],
        source: str | os.PathLike[str],
    ) -> None: ...


def create(
    where: str,
    build: Callable[[nnx.Rngs], Model],
    weights: str | os.PathLike[str] | None,
    rngs: nnx.Rngs | None,
    *,
    set_arrays: Setter = set_torch_parameters,
    packaged: Mapping[str, Callable[[], Path]] = MappingProxyType({}),
) -> Model:
    """Make a model in evaluation mode, with random parameters or those of a file.

    Args:
        where: The function that the user called.
        build: Makes the model with random parameters.
        weights: The file, one of `packaged`, or None for random parameters.
        rngs: Draws the random parameters.
        set_arrays: Sets the parameters from the arrays of the file.
        packaged: The weights that come with a package, by name, and what finds their file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: rngs does not go with weights, or the file does not go with the model.
    """
    if weights is None:
        if rngs is None:
            rule, fix = "be given with weights=None", "Pass rngs=nnx.Rngs(seed)."
            raise ValueError(complaint(where, "rngs", rule, rngs, fix))
        model = build(rngs)
    else:
        if rngs is not None:
            rule, fix = "be None with weights", "Pass weights=None for random parameters."
            raise ValueError(complaint(where, "rngs", rule, type(rngs).__name__, fix))
        find = packaged.get(weights) if isinstance(weights, str) else None
        file = find() if find else weights
        # The shapes without the cost of drawing parameters that would be thrown away.
        model = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
        set_arrays(where, model, load_arrays(file), file)
    model.eval()
    return model
