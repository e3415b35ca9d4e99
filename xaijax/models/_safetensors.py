"""Read weights in the safetensors format, bfloat16 and float8 included."""

import importlib.util
import os
from pathlib import Path

import ml_dtypes
import numpy as np

from xaijax.core._errors import complaint
from xaijax.models._files import FileError, read_bytes, reading

# The format's names. NumPy has no types for three of them; `ml_dtypes` (which JAX needs anyway) has.
_DTYPES = {
    "BOOL": np.dtype("bool"),
    "U8": np.dtype("uint8"),
    "I8": np.dtype("int8"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "C64": np.dtype("<c8"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}


def load_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    The library `safetensors` reads and checks the file; this gives its bytes the right types, of which the
    library's own NumPy functions lack the float8 ones.

    Args:
        path: The file.

    Returns:
        Names to arrays. Types that NumPy lacks are those of `ml_dtypes`.

    Raises:
        ModuleNotFoundError: safetensors is not installed.
        FileNotFoundError: There is no such file.
        ValueError: The file is no safetensors file, is damaged, or has tensors of a type without NumPy equivalent.

    Example:
        >>> load_safetensors("no_such_file.safetensors")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        FileNotFoundError: load_safetensors: path must be an existing file, got 'no_such_file.safetensors'. ...
    """
    if importlib.util.find_spec("safetensors") is None:
        got, fix = "no such package", 'Run: pip install "xaijax[models]"'
        rule = "be installed to read this file"
        raise ModuleNotFoundError(complaint("load_safetensors", "safetensors", rule, got, fix))
    from safetensors import SafetensorError, deserialize

    data = read_bytes("load_safetensors", path)
    with reading("load_safetensors", Path(path), "a safetensors file"):
        try:
            tensors = deserialize(data)
        except SafetensorError as error:
            problem = f"which is damaged or of another format ({error})"
            raise FileError(problem) from error
        return {name: _make_array(name, **tensor) for name, tensor in tensors}


def _make_array(name: str, dtype: str, shape: list[int], data: bytes) -> np.ndarray:
    if dtype not in _DTYPES:
        fix = f"Convert it to one of {', '.join(_DTYPES)} first."
        raise FileError(f"whose tensor '{name}' is of type {dtype}", fix)
    return np.frombuffer(data, _DTYPES[dtype]).reshape(shape)
