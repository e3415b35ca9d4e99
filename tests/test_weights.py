"""`load_torch` on checkpoints written by hand, opcode by opcode, so that no test needs PyTorch."""

import io
import os
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from xaijax.models import load_torch

FORMATS = ("zip", "legacy")

# --- A writer of checkpoints: each function returns the opcodes that leave one value on the stack.


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    raw = value.to_bytes(16, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def sequence(*items):
    return b"(" + b"".join(items) + b"t"


def call(function, *arguments):
    return function + sequence(*arguments) + b"R"


def ordered_dict(**items):
    pairs = b"".join(text(key) + value for key, value in items.items())
    return name("collections", "OrderedDict") + b")R(" + pairs + b"u"


def storage(kind, key, size, format, type_name=None):
    view = [b"N"] if format == "legacy" else []
    parts = text("storage"), name("torch", type_name or kind), text(key), text("cpu")
    return sequence(*parts, integer(size), *view) + b"Q"


def tensor(source, shape, strides, offset=0, metadata=()):
    return call(
        name("torch._utils", "_rebuild_tensor_v2"),
        source,
        integer(offset),
        sequence(*map(integer, shape)),
        sequence(*map(integer, strides)),
        b"\x89",
        ordered_dict(),
        *metadata,
    )


def dump(body):
    return b"\x80\x02" + body + b"."


def write_zip(path, body, arrays, byteorder="little", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("model/data.pkl", dump(body))
        if byteorder is not None:
            archive.writestr("model/byteorder", byteorder)
        for key, array in arrays.items():
            archive.writestr(f"model/data/{key}", array.tobytes())
        archive.writestr("model/version", "3\n")


def write_legacy(path, body, arrays, little=True, sizes=None, protocol=1001):
    sizes = sizes or {}
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}
    with open(path, "wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, 2)
        pickle.dump(protocol, file, 2)
        pickle.dump(system, file, 2)
        file.write(dump(body))
        pickle.dump(list(arrays), file, 2)
        for key, array in arrays.items():
            file.write(struct.pack("<q", sizes.get(key, array.size)))
            file.write(array.tobytes())


def write(path, format, body, arrays, **options):
    {"zip": write_zip, "legacy": write_legacy}[format](path, body, arrays, **options)
    return path


KINDS = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
}


def example(format):
    """A state dict of three tensors, of which two share a storage."""
    weight = np.arange(24, dtype=np.float32)
    count = np.array([7], np.int64)
    body = ordered_dict(
        weight=tensor(storage("FloatStorage", "0", 24, format), (2, 3, 4), (12, 4, 1)),
        view=tensor(storage("FloatStorage", "0", 24, format), (3, 2), (2, 6), 5),
        count=tensor(storage("LongStorage", "1", 1, format), (), ()),
    )
    return body, {"0": weight, "1": count}


@pytest.fixture(params=FORMATS)
def format(request):
    return request.param


# --- Checkpoints that are fine.


def test_views_of_a_storage(tmp_path, format):
    loaded = load_torch(write(tmp_path / "a.pth", format, *example(format)))
    base = np.arange(24, dtype=np.float32)
    assert list(loaded) == ["weight", "view", "count"]
    np.testing.assert_array_equal(loaded["weight"], base.reshape(2, 3, 4))
    np.testing.assert_array_equal(loaded["view"], base[5 : 5 + 12].reshape(2, 6)[:, :6:2].T)
    assert loaded["view"].strides == (8, 24)
    assert loaded["count"].shape == ()
    assert loaded["count"] == 7
    assert np.shares_memory(loaded["weight"], loaded["view"])
    assert not loaded["weight"].flags.writeable
    assert all(array.flags.aligned for array in loaded.values())


@pytest.mark.parametrize("kind", KINDS)
def test_dtypes(tmp_path, format, kind):
    array = np.array([0, 1, 1, 0, 1]).astype(KINDS[kind])
    body = ordered_dict(x=tensor(storage(kind, "0", 5, format), (5,), (1,)))
    loaded = load_torch(write(tmp_path / "a.pth", format, body, {"0": array}))["x"]
    assert loaded.dtype == KINDS[kind]
    np.testing.assert_array_equal(loaded, array)


def test_empty_and_expanded_tensors(tmp_path, format):
    source = storage("FloatStorage", "0", 1, format)
    body = ordered_dict(
        empty=tensor(source, (0, 3), (3, 1)), expanded=tensor(source, (10**6,), (0,))
    )
    path = write(tmp_path / "a.pth", format, body, {"0": np.ones(1, np.float32)})
    loaded = load_torch(path)
    assert loaded["empty"].shape == (0, 3)
    assert loaded["expanded"].shape == (10**6,)
    assert loaded["expanded"].strides == (0,)


def test_parameters_sizes_and_module_versions(tmp_path, format):
    inner = tensor(storage("FloatStorage", "0", 2, format), (2,), (1,))
    parameter = call(name("torch._utils", "_rebuild_parameter"), inner, b"\x88", ordered_dict())
    metadata = b"}" + text("_metadata") + ordered_dict() + b"s"
    body = b"}(" + text("state_dict") + ordered_dict(p=parameter) + metadata + b"b"
    body += text("epoch") + integer(3)
    body += text("size") + call(name("torch", "Size"), sequence(integer(2))) + b"u"
    path = write(tmp_path / "a.pth", format, body, {"0": np.ones(2, np.float32)})
    assert list(load_torch(path)) == ["p"]


def test_accepts_strings_and_archives_without_byteorder(tmp_path):
    path = tmp_path / "a.pth"
    write_zip(path, *example("zip"), byteorder=None)
    assert len(load_torch(str(path))) == 3


# --- Files that are not checkpoints.


def test_missing_file(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"load_torch: path must be an existing file.*no\.p"
    ):
        load_torch(tmp_path / "no.pth")


def test_directory(tmp_path):
    with pytest.raises(ValueError, match="got the directory"):
        load_torch(tmp_path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
        b"some text\n",
        b"PK but no archive",
        b"\x80",
        pickle.dumps({"a": 1}, 2),
        pickle.dumps([1, 2], 4),
    ],
)
def test_other_files(tmp_path, data):
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"load_torch: path must be a PyTorch checkpoint.*a\.pth"):
        load_torch(path)


def test_other_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "no model")
    with pytest.raises(ValueError, match=r"0 members '<name>/data.pkl'"):
        load_torch(tmp_path / "a.zip")


def test_compressed_archive(tmp_path):
    # A compressed record could unpack to any size.
    path = tmp_path / "a.pth"
    write_zip(path, *example("zip"), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed members"):
        load_torch(path)


@pytest.mark.parametrize("part", range(20))
def test_truncated(tmp_path, format, part):
    data = write(tmp_path / "a.pth", format, *example(format)).read_bytes()
    (tmp_path / "b.pth").write_bytes(data[: len(data) * part // 20])
    with pytest.raises(ValueError, match=r"load_torch: path must be .*b\.pth"):
        load_torch(tmp_path / "b.pth")


def test_last_byte_missing_and_one_too_many(tmp_path):
    data = write(tmp_path / "a.pth", "legacy", *example("legacy")).read_bytes()
    (tmp_path / "b.pth").write_bytes(data[:-1])
    with pytest.raises(ValueError, match="is truncated: the storage '1' needs 8 bytes and 7"):
        load_torch(tmp_path / "b.pth")
    (tmp_path / "b.pth").write_bytes(data + b"x")
    with pytest.raises(ValueError, match="1 bytes after its last storage"):
        load_torch(tmp_path / "b.pth")


def test_damaged_bytes_raise_nothing_but_value_errors(tmp_path, format):
    data = write(tmp_path / "a.pth", format, *example(format)).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.pth"
    refused = 0
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load_torch(path)
        except ValueError:
            refused += 1
    assert refused > len(data) / 4


def test_big_endian(tmp_path):
    write_zip(tmp_path / "a.pth", *example("zip"), byteorder="big")
    write_legacy(tmp_path / "b.pth", *example("legacy"), little=False)
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match="not marked as little-endian"):
            load_torch(path)


def test_unknown_protocol(tmp_path):
    write_legacy(tmp_path / "a.pth", *example("legacy"), protocol=1002)
    with pytest.raises(ValueError, match="unknown protocol version 1002"):
        load_torch(tmp_path / "a.pth")


# --- Sizes that lie.


@pytest.mark.parametrize("size", [25, 23, 2**40, 2**62, 2**70, -1])
def test_storage_sizes_that_lie(tmp_path, format, size):
    body = ordered_dict(x=tensor(storage("FloatStorage", "0", size, format), (24,), (1,)))
    path = write(tmp_path / "a.pth", format, body, {"0": np.zeros(24, np.float32)})
    with pytest.raises(ValueError, match="storage '0' has"):
        load_torch(path)


@pytest.mark.parametrize("size", [-1, 2**40, 2**62])
def test_legacy_storage_sizes_that_lie_twice(tmp_path, size):
    body = ordered_dict(x=tensor(storage("FloatStorage", "0", size, "legacy"), (24,), (1,)))
    path = tmp_path / "a.pth"
    write_legacy(path, body, {"0": np.zeros(24, np.float32)}, sizes={"0": size})
    with pytest.raises(ValueError, match=r"is truncated|has the size"):
        load_torch(path)


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((25,), (1,), 0),
        ((24,), (1,), 1),
        ((2,), (24,), 0),
        ((2**62, 2**62), (1, 1), 0),
        ((1,), (1,), 2**66),
        ((3,), (-1,), 2),
        ((-3,), (1,), 0),
        ((3, 1), (1,), 0),
        ((0, 2**62, 2**62), (1, 1, 1), 0),
        ((1,) * 99, (1,) * 99, 0),
        ((2**62, 2**62), (0, 0), 0),
    ],
)
def test_tensors_outside_their_storage(tmp_path, format, shape, strides, offset):
    source = storage("FloatStorage", "0", 24, format)
    body = ordered_dict(x=tensor(source, shape, strides, offset))
    path = write(tmp_path / "a.pth", format, body, {"0": np.zeros(24, np.float32)})
    with pytest.raises(ValueError, match=r"reaches element|malformed|cannot be an array"):
        load_torch(path)


@pytest.mark.parametrize(
    "body",
    [
        b"r\xff\xff\xff\x7f",  # a memo index that would allocate 16 GiB
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x00",  # a string of 2**56 bytes
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x00",  # bytes of that length
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x00",  # a bytearray of that length
    ],
)
def test_opcodes_that_would_allocate(tmp_path, format, body):
    path = write(tmp_path / "a.pth", format, b"}" + body, {})
    with pytest.raises(ValueError, match=r"memo index|truncated|opcode"):
        load_torch(path)


def test_storage_missing_or_described_twice(tmp_path, format):
    body, arrays = example(format)
    del arrays["1"]
    with pytest.raises(ValueError, match=r"without the member|is not the one"):
        load_torch(write(tmp_path / "a.pth", format, body, arrays))
    twice = ordered_dict(
        a=tensor(storage("FloatStorage", "0", 24, format), (1,), (1,)),
        b=tensor(storage("IntStorage", "0", 24, format), (1,), (1,)),
    )
    with pytest.raises(ValueError, match="described in two ways"):
        load_torch(write(tmp_path / "b.pth", format, twice, {"0": np.zeros(24, np.float32)}))


# --- Contents that are no state dict.


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"}", "an empty dict"),
        (b"N", "NoneType"),
        (integer(3), "int"),
        (b"}" + text("epoch") + integer(3) + b"s", "'epoch' is of type int"),
        (b"}" + text("model") + b"}s", "'model' is of type dict"),
        (b"}" + text("state_dict") + integer(3) + b"s", "which holds int"),
        (text("x") + b"Q", "something other than a storage"),
    ],
)
def test_no_state_dict(tmp_path, format, body, match):
    with pytest.raises(ValueError, match=match):
        load_torch(write(tmp_path / "a.pth", format, body, {}))


def test_conjugate_tensors_are_refused(tmp_path, format):
    source = storage("ComplexFloatStorage", "0", 1, format)
    metadata = b"}" + text("conj") + b"\x88s"
    body = ordered_dict(x=tensor(source, (1,), (1,), metadata=[metadata]))
    path = write(tmp_path / "a.pth", format, body, {"0": np.zeros(1, np.complex64)})
    with pytest.raises(ValueError, match="conjugate"):
        load_torch(path)


# --- Pickles that would run code.


def system_call(command):
    return call(name(os.system.__module__, "system"), text(command))


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_nothing_runs(tmp_path, format):
    command = f"touch {tmp_path / 'ran'}"
    body = ordered_dict(x=system_call(command))
    path = write(tmp_path / "a.pth", format, body, {})
    with pytest.raises(ValueError, match=r"names '\w+\.system'; it is refused, because a pickle"):
        load_torch(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", range(5))
def test_nothing_runs_in_any_pickle_of_the_legacy_format(tmp_path, protocol, place):
    good = write(tmp_path / "a.pth", "legacy", *example("legacy")).read_bytes()
    stream = io.BytesIO(good)
    starts = []
    for _ in range(place + 1):
        starts.append(stream.tell())
        for _ in pickle_opcodes(stream):
            pass
    bad = pickle.dumps(Malicious(f"touch {tmp_path / 'ran'}"), protocol)
    (tmp_path / "b.pth").write_bytes(good[: starts[-1]] + bad + good[stream.tell() :])
    with pytest.raises(ValueError, match="load_torch: path must be"):
        load_torch(tmp_path / "b.pth")
    assert not (tmp_path / "ran").exists()


def pickle_opcodes(stream):
    import pickletools

    return pickletools.genops(stream)


@pytest.mark.parametrize(
    ("module", "attribute"),
    [
        ("builtins", "eval"),
        ("__builtin__", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch._utils", "_rebuild_device_tensor_from_numpy"),
        ("torch.storage", "_load_from_bytes"),
        ("collections", "OrderedDict.fromkeys"),
        ("numpy._core.multiarray", "scalar"),
        ("xaijax.models", "load_torch"),
    ],
)
def test_other_names_are_refused(tmp_path, format, module, attribute):
    body = ordered_dict(x=name(module, attribute))
    with pytest.raises(ValueError, match=f"names '{module}.{attribute}'"):
        load_torch(write(tmp_path / "a.pth", format, body, {}))


def test_names_from_the_stack_and_old_instances_are_refused(tmp_path, format):
    stack = text("os") + text("system") + b"\x93"
    with pytest.raises(ValueError, match=r"names 'os\.system'"):
        load_torch(write(tmp_path / "a.pth", format, stack, {}))
    instance = b"(" + text("true") + b"ios\nsystem\n"
    with pytest.raises(ValueError, match="opcode INST"):
        load_torch(write(tmp_path / "b.pth", format, instance, {}))


def test_a_pickle_cannot_change_the_reader(tmp_path, format):
    # BUILD sets attributes on what is on the stack: here the defaults of the tensor function.
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    state = sequence(b"N", b"}" + text("__defaults__") + sequence(b"N", b"N", integer(1)) + b"s")
    path = write(tmp_path / "a.pth", format, b"}" + text("x") + rebuild + state + b"bs", {})
    with pytest.raises(ValueError, match="is of type function"):
        load_torch(path)
    assert len(load_torch(write(tmp_path / "b.pth", format, *example(format)))) == 3
