"""`load_safetensors` on files written byte by byte, and on those of the library's own writer."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest

from xaijax.models import _safetensors
from xaijax.models._safetensors import load_safetensors

pytest.importorskip("safetensors")

TYPES = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def write(path, tensors):
    """The format: a length of 8 bytes, a header in JSON, the bytes of the tensors."""
    header, body = {}, b""
    for name, (kind, array) in tensors.items():
        raw = array.tobytes()
        offsets = [len(body), len(body) + len(raw)]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": offsets}
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


@pytest.mark.parametrize("kind", TYPES)
def test_types(tmp_path, kind):
    array = np.array([[0, 1, 1], [0, 1, 0]]).astype(TYPES[kind])
    loaded = load_safetensors(write(tmp_path / "a.safetensors", {"x": (kind, array)}))
    assert loaded["x"].dtype == TYPES[kind]
    np.testing.assert_array_equal(loaded["x"], array)


def test_files_of_the_library(tmp_path):
    from safetensors.numpy import save_file

    tensors = {
        "kernel": np.random.default_rng(0).normal(size=(2, 3, 4)),
        "count": np.array(7, np.int64),
        "none": np.zeros((0, 3), np.float32),
    }
    save_file(tensors, tmp_path / "a.safetensors", {"format": "np"})
    loaded = load_safetensors(str(tmp_path / "a.safetensors"))
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)


def test_missing_files_and_directories(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"load_safetensors: path must be an existing file"):
        load_safetensors(tmp_path / "no.safetensors")
    with pytest.raises(ValueError, match="load_safetensors: path must be a file, got the directo"):
        load_safetensors(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{}", b"\x80\x02}q\x00.", b"\xff" * 40, b"PK\x03\x04" * 9])
def test_other_files(tmp_path, data):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"path must be a safetensors file, got '.*a\.bin', which"):
        load_safetensors(path)


def test_truncated_and_too_long(tmp_path):
    data = write(tmp_path / "a.safetensors", {"x": ("F32", np.ones(5, np.float32))}).read_bytes()
    for changed in (*(data[:size] for size in range(0, len(data), 7)), data + b"x"):
        (tmp_path / "b.safetensors").write_bytes(changed)
        with pytest.raises(ValueError, match=r"load_safetensors: path must be .*b\.safetensors"):
            load_safetensors(tmp_path / "b.safetensors")


def test_types_without_equivalent(tmp_path, monkeypatch):
    # Which types the library reads grows with its versions, so one of the old ones is forgotten here.
    monkeypatch.delitem(_safetensors._DTYPES, "F16")
    path = write(tmp_path / "a.safetensors", {"x": ("F16", np.zeros(4, np.float16))})
    with pytest.raises(ValueError, match=r"whose tensor 'x' is of type F16\. Convert it to one of"):
        load_safetensors(path)


def test_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(_safetensors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "xaijax\[models\]"'):
        load_safetensors(tmp_path / "a.safetensors")
