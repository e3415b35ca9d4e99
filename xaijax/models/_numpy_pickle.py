"""Read NumPy arrays from a pickle without running anything in it."""

import math
from typing import Any

import numpy as np

from xaijax.models._files import FileError
from xaijax.models._unpickle import Admitted, describe, is_counts, unpickle

_FIX = "Save the arrays again, with numpy.savez."
_KINDS = frozenset({"b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"})


class _ArrayType:
    """What stands in for `numpy.ndarray`, which a pickle passes to `_reconstruct`."""

    __slots__ = ()


class _DType:
    """What stands in for a dtype: its kind and size at first, its byte order when its state is set."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: Any, align: Any, copy: Any) -> None:
        del align, copy
        if kind not in _KINDS:
            raise FileError(f"which has an array of the type {describe(kind)}", _FIX)
        self.kind, self.order = kind, None

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, and what only records and aligned types have)
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", "|"):
            raise FileError("which has an array that is not little-endian", _FIX)
        self.order = state[1]


class _Array:
    """What stands in for an array: empty at first, described when its state is set."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _make_reconstruct() -> Any:
    def reconstruct(subtype: Any, shape: Any, kind: Any) -> _Array:
        del shape, kind  # a placeholder's
        if not isinstance(subtype, _ArrayType):
            raise FileError("which has an array of a class of its own", _FIX)
        return _Array()

    return reconstruct


def _make_dtype() -> Any:
    return lambda kind, align, copy: _DType(kind, align, copy)


_ADMITTED: Admitted = {
    ("numpy", "ndarray"): _ArrayType,
    ("numpy", "dtype"): _make_dtype,
    ("numpy.core.multiarray", "_reconstruct"): _make_reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _make_reconstruct,
}


def read_arrays(data: bytes) -> dict[str, list[np.ndarray]]:
    """Read a pickle of names to lists of arrays.

    Args:
        data: The pickle, of protocol 2 to 4, written by Python 3.

    Returns:
        What it holds. The arrays are read-only.

    Raises:
        FileError: The pickle is damaged, or holds anything else.
    """
    content, end = unpickle(data, 0, _ADMITTED, fix=_FIX)
    if end != len(data):
        raise FileError(f"which has {len(data) - end} bytes after its pickle")
    if not isinstance(content, dict):
        raise FileError(f"which holds {describe(content)} instead of names and arrays", _FIX)
    arrays = {}
    for name, values in content.items():
        if not isinstance(name, str) or not isinstance(values, list):
            kind = type(values).__name__
            raise FileError(f"whose entry {describe(name)} is {kind} instead of a list", _FIX)
        arrays[name] = [_make_array(name, value) for value in values]
    return arrays


def _make_array(name: str, value: Any) -> np.ndarray:
    state = value.state if isinstance(value, _Array) else None
    if not isinstance(state, tuple) or len(state) != 5:
        raise FileError(f"whose entry '{name}' holds something other than arrays", _FIX)
    _, shape, dtype, is_fortran, raw = state
    if not is_counts(shape) or not isinstance(raw, bytes):
        raise FileError(f"whose entry '{name}' has an array with a malformed description")
    if not isinstance(dtype, _DType) or dtype.order is None:
        raise FileError(f"whose entry '{name}' has an array without a type")
    numpy_dtype = np.dtype(dtype.order + dtype.kind)
    expected = math.prod(shape) * numpy_dtype.itemsize
    if len(raw) != expected:
        raise FileError(
            f"whose entry '{name}' has an array of {len(raw)} bytes where {expected} are described"
        )
    try:
        array = np.frombuffer(raw, numpy_dtype).reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, OverflowError) as error:
        raise FileError(f"whose entry '{name}' cannot be an array ({error})") from error
    array.flags.writeable = False
    return array
