"""Read PyTorch checkpoints without PyTorch.

A checkpoint holds a pickle that describes tensors, and the raw bytes of their storages. The pickle
is only ever read as a description: every opcode is checked first, an unpickler that admits a
handful of names turns it into plain tuples, and only then are the bytes looked at, each size
checked against the file before an array is made.
"""

import functools
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from xaijax.models._files import FileError, read_bytes, reading
from xaijax.models._unpickle import Admitted, describe, is_count, is_counts, unpickle

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

_STORAGE_DTYPES = {
    "BoolStorage": np.dtype("bool"),
    "ByteStorage": np.dtype("uint8"),
    "CharStorage": np.dtype("int8"),
    "ShortStorage": np.dtype("<i2"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
}

# What a damaged archive makes `zipfile` raise; RuntimeError stands for an encrypted member.
_ZIP_ERRORS = (zipfile.BadZipFile, ValueError, EOFError, RuntimeError, struct.error)


class _StorageType(NamedTuple):
    name: str


class _Storage(NamedTuple):
    key: str
    type_name: str
    size: int  # elements


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int  # elements
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # elements


class _OrderedDict(dict):
    """What stands in for `collections.OrderedDict`: it drops the attributes a pickle sets.

    PyTorch stores the version of each module there, which is of no use here.
    """

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        del state


def load_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the state dict of a PyTorch checkpoint without PyTorch.

    Both formats of `torch.save` are read: the zip archive and the older sequence of pickles. No
    code in the file can run: a pickle that names anything but tensors and plain containers is
    refused.

    Args:
        path: The file. It holds a state dict (names to tensors), or a dict with a state dict under
            the key `state_dict`, whose other entries are ignored.

    Returns:
        Names to arrays, in the order of the file. The arrays have the shape, strides and dtype of
        the tensors (`bfloat16` is `ml_dtypes.bfloat16`) and are read-only; tensors that share a
        storage share memory.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a PyTorch checkpoint, is truncated or inconsistent, holds
            big-endian data, names anything that could run code, or holds no state dict.

    Example:
        >>> load_torch("no_such_file.pth")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        FileNotFoundError: load_torch: path must be an existing file, got 'no_such_file.pth'. ...
    """
    data = read_bytes("load_torch", path)
    with reading("load_torch", Path(path), "a PyTorch checkpoint of tensors"):
        content, storages = (_read_zip if data.startswith(b"PK") else _read_legacy)(data)
        return {
            name: _make_array(name, tensor, storages)
            for name, tensor in _find_state_dict(content).items()
        }


_RESAVE = "Save the state dict alone: torch.save(model.state_dict(), path)."


def _read_zip(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Read the zip format: `<name>/data.pkl`, `<name>/byteorder` and `<name>/data/<key>`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _ZIP_ERRORS as error:
        raise FileError(f"a zip archive that is truncated or damaged ({error})") from error
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        # PyTorch never compresses, and a record that is stored as it is cannot unpack to more
        # than the file holds.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise FileError("a zip archive with compressed members", _RESAVE)
        if sum(info.file_size for info in members.values()) > len(data):
            raise FileError("a zip archive whose members claim more bytes than it has")

        def read(name: str) -> bytes:
            if name not in members:
                raise FileError(f"a zip archive without the member '{name}'")
            try:
                return archive.read(name)
            except _ZIP_ERRORS as error:
                raise FileError(f"whose member '{name}' is damaged ({error})") from error

        pickles = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise FileError(
                f"a zip archive with {len(pickles)} members '<name>/data.pkl'",
                "Give a file written by torch.save.",
            )
        root = pickles[0].split("/")[0]
        if f"{root}/byteorder" in members:
            _check_byte_order(read(f"{root}/byteorder") == b"little")
        wanted: dict[str, _Storage] = {}
        content, _ = _unpickle(read(pickles[0]), 0, wanted)
        storages = {}
        for key, storage in wanted.items():
            raw = read(f"{root}/data/{key}")
            itemsize = _STORAGE_DTYPES[storage.type_name].itemsize
            if len(raw) != storage.size * itemsize:
                raise FileError(
                    f"whose storage '{key}' has {len(raw)} bytes where {storage.size} elements "
                    f"of {itemsize} bytes are described"
                )
            storages[key] = np.frombuffer(raw, np.uint8)
    return content, storages


def _read_legacy(data: bytes) -> tuple[Any, dict[str, np.ndarray]]:
    """Read the older format: five pickles, then the storages in the order of the fifth."""
    not_a_checkpoint = FileError(
        "which is an empty file" if not data else "which starts like no PyTorch checkpoint",
        "Give a file written by torch.save.",
    )
    if not data.startswith(b"\x80"):
        raise not_a_checkpoint
    wanted: dict[str, _Storage] = {}
    magic, position = _unpickle(data, 0, None)
    if magic != _LEGACY_MAGIC:
        raise not_a_checkpoint
    protocol, position = _unpickle(data, position, None)
    if protocol != _LEGACY_PROTOCOL:
        raise FileError(f"of the unknown protocol version {describe(protocol)}", _RESAVE)
    system, position = _unpickle(data, position, None)
    _check_byte_order(isinstance(system, dict) and system.get("little_endian") is True)
    content, position = _unpickle(data, position, wanted)
    keys, position = _unpickle(data, position, None)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise FileError("whose list of storages is no list of names")
    if sorted(keys) != sorted(wanted):
        raise FileError("whose list of storages is not the one its tensors use")
    storages = {}
    for key in keys:
        storage = wanted[key]
        if position + 8 > len(data):
            raise FileError(f"which is truncated before the storage '{key}'")
        (count,) = struct.unpack_from("<q", data, position)
        position += 8
        if count != storage.size:
            raise FileError(
                f"whose storage '{key}' has {count} elements where {storage.size} are described"
            )
        size = count * _STORAGE_DTYPES[storage.type_name].itemsize
        if size > len(data) - position:
            raise FileError(
                f"which is truncated: the storage '{key}' needs {size} bytes and "
                f"{len(data) - position} are left"
            )
        # A copy, because a storage starts at any byte of the file and arrays want to be aligned.
        storages[key] = np.frombuffer(data, np.uint8, size, position).copy()
        position += size
    if position != len(data):
        raise FileError(f"which has {len(data) - position} bytes after its last storage")
    return content, storages


def _check_byte_order(is_little: bool) -> None:
    if not is_little:
        raise FileError(
            "which is not marked as little-endian", "Save it again on a little-endian machine."
        )


def _unpickle(data: bytes, start: int, wanted: dict[str, _Storage] | None) -> tuple[Any, int]:
    """Read one pickle as plain containers and `_Tensor` descriptions.

    Args:
        data: The bytes of the file.
        start: Where in them the pickle starts.
        wanted: Filled with the storages that the pickle refers to, by key; None if it must have none.

    Returns:
        The content, and where the pickle ends.
    """
    persistent = None if wanted is None else functools.partial(_describe_storage, wanted)
    return unpickle(data, start, _ADMITTED, persistent=persistent, fix=_RESAVE)


def _describe_storage(wanted: dict[str, _Storage], pid: Any) -> _Storage:
    # ("storage", type, key, device, count), and in the older format a view of the storage.
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise FileError("whose pickle refers to something other than a storage", _RESAVE)
    _, storage_type, key, _, count = pid[:5]
    if len(pid) == 6 and pid[5] is not None:
        raise FileError("which has views of storages (PyTorch before 0.4)", _RESAVE)
    if not isinstance(storage_type, _StorageType) or not isinstance(key, str):
        raise FileError("whose pickle has a storage without a type or a key")
    if not is_count(count):
        raise FileError(f"whose storage '{key}' has the size {describe(count)}")
    storage = _Storage(key, storage_type.name, count)
    if wanted.setdefault(key, storage) != storage:
        raise FileError(f"whose storage '{key}' is described in two ways")
    return storage


def _make_rebuild_tensor() -> Callable[..., _Tensor]:
    def rebuild_tensor(
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> _Tensor:
        del requires_grad, hooks
        if metadata:
            raise FileError("which has a tensor with conjugate or negative bit", _RESAVE)
        if not isinstance(storage, _Storage):
            raise FileError("whose pickle has a tensor without a storage")
        if (
            not is_count(offset)
            or not is_counts(shape)
            or not is_counts(strides)
            or len(shape) != len(strides)
        ):
            raise FileError("whose pickle has a tensor with a malformed shape or stride")
        return _Tensor(storage, offset, tuple(shape), tuple(strides))

    return rebuild_tensor


def _make_rebuild_parameter() -> Callable[..., Any]:
    def rebuild_parameter(tensor: Any, requires_grad: Any = True, hooks: Any = None) -> Any:
        del requires_grad, hooks
        return tensor

    return rebuild_parameter


_ADMITTED: Admitted = {
    (module, name): functools.partial(_StorageType, name)
    for module in ("torch", "torch.storage")
    for name in _STORAGE_DTYPES
} | {
    ("collections", "OrderedDict"): lambda: _OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _make_rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _make_rebuild_parameter,
    ("torch", "Size"): lambda: tuple,
}


def _find_state_dict(content: Any) -> dict[str, _Tensor]:
    if isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict) or not content:
        raise FileError(
            f"which holds {'an empty dict' if content == {} else type(content).__name__} "
            "instead of names and tensors",
            _RESAVE,
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise FileError(
                f"whose entry {describe(name)} is of type {type(value).__name__} instead of a "
                "tensor and which has no entry 'state_dict'",
                _RESAVE,
            )
    return content


def _make_array(name: str, tensor: _Tensor, storages: dict[str, np.ndarray]) -> np.ndarray:
    dtype = _STORAGE_DTYPES[tensor.storage.type_name]
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    is_empty = 0 in tensor.shape
    if not is_empty and last >= tensor.storage.size:
        raise FileError(
            f"whose tensor '{name}' reaches element {last} of a storage of {tensor.storage.size}"
        )
    try:
        if is_empty:
            array = np.empty(tensor.shape, dtype)
        else:
            array = np.ndarray(
                tensor.shape,
                dtype,
                storages[tensor.storage.key],
                tensor.offset * dtype.itemsize,
                tuple(stride * dtype.itemsize for stride in tensor.strides),
            )
    except (ValueError, OverflowError) as error:
        raise FileError(f"whose tensor '{name}' cannot be an array ({error})") from error
    array.flags.writeable = False
    return array
