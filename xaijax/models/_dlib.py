"""Read networks that dlib saved (`.dnn`), to the last byte.

What the bytes mean, from the `serialize` functions of dlib 19.24 and the files of its earlier versions:

    integer   a byte whose low four bits are a number of bytes and whose highest bit is the sign; then those bytes
    string    an integer, the number of characters, and the characters
    float     two integers, mantissa and exponent: mantissa * 2 ** exponent
    boolean   the character 0 or 1
    tensor    the integer 2, four integers (samples, channels, rows, columns), and as many float32
    alias     the integer 1 and four integers: the shape of a part of a tensor

All numbers are little-endian. A network is nested, from its loss to its input, so that a file reads: the loss; of each
wrapper from the output to the input its version; the input; and of each wrapper from the input to the output its
content; at last the names of the classes. A wrapper is a layer (version 2), or a tag or skip (version 1), which names
a place in the network and has no content. A layer's content is its kind (a string with a version of its own), what
belongs to the kind, three booleans and three tensors: gradients and outputs of the last training step.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from xaijax.models._files import FileError


class DnnLayer(NamedTuple):
    """A layer as the file has it.

    Attributes:
        kind: "con", "affine", "relu", "max_pool", "avg_pool", "add_prev", "fc", or "tag" for a tag or skip.
        settings: Of "con" the number of filters and, as of the poolings, rows and columns of the window, of the
            stride and of the padding; of "fc" the number of outputs and inputs; of the others nothing.
        parameters: The trained arrays, in dlib's layouts: filters (O, I, H, W), weights (I, O).
    """

    kind: str
    settings: tuple[int, ...] = ()
    parameters: dict[str, np.ndarray] = {}  # noqa: RUF012 (never changed)


class DnnNetwork(NamedTuple):
    """A network of images of one size to classes.

    Attributes:
        mean: Of red, green and blue, subtracted from the pixels before they are divided by 256.
        size: Rows and columns of the input.
        layers: From the input to the output.
        labels: The names of the classes.
    """

    mean: tuple[float, float, float]
    size: tuple[int, int]
    layers: list[DnnLayer]
    labels: tuple[str, ...]


def read_dnn(data: bytes) -> DnnNetwork:
    """Read a classifier that dlib saved with the names of its classes.

    Args:
        data: The content of the file.

    Raises:
        FileError: It is not such a file, is damaged, or has layers of other kinds.
    """
    file = _Reader(data)
    file.expect("version of the loss", file.integer(), 1)
    file.expect("loss", file.string(), "loss_multiclass_log_")
    versions, number = [], file.integer()
    while number in (_TAG, _LAYER):
        versions.append(number)
        number = file.integer()
    file.expect("input", file.characters(number), "input_rgb_image_sized")
    mean = file.float(), file.float(), file.float()
    size = file.count(), file.count()
    layers = [_read_layer(file) if v == _LAYER else DnnLayer("tag") for v in reversed(versions)]
    labels = tuple(file.string() for _ in range(file.count()))
    file.expect("number of bytes after the names of the classes", file.left, 0)
    return DnnNetwork(mean, size, layers, labels)


_TAG, _LAYER = 1, 2


def _read_layer(file: "_Reader") -> DnnLayer:
    kind = file.string()
    if kind == "con_4":
        parameters = file.tensor()
        window = file.counts(7)  # filters, kernel, stride, padding
        layer = DnnLayer("con", window, file.split(parameters, "filters", "biases"))
        file.multipliers()
    elif kind == "affine_":
        parameters = file.tensor()
        layer = DnnLayer("affine", (), file.split(parameters, "gamma", "beta"))
        file.expect("mode of an affine layer (one number per channel)", file.integer(), 0)
    elif kind == "fc_2":
        sizes = file.counts(2)
        parameters = file.tensor()
        layer = DnnLayer("fc", sizes, file.split(parameters, "weights", "biases"))
        file.expect("mode of a fully connected layer (with biases)", file.integer(), 0)
        file.multipliers()
    elif kind in ("max_pool_2", "avg_pool_2"):
        layer = DnnLayer(kind[:-2], file.counts(6))
    elif kind in ("relu_", "add_prev_"):
        layer = DnnLayer(kind[:-1])
    else:
        raise FileError(f"which has a layer of the unknown kind {kind[:80]!r}", _FIX)
    for _ in range(3):
        file.boolean()
    for _ in range(3):
        file.tensor()
    return layer


_FIX = "Give the file resnet34_1000_imagenet_classifier.dnn as dlib's author published it."


class _Reader:
    """The elements of the format, each checked against the bytes that are left."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def expect(self, what: str, got: Any, expected: Any) -> None:
        if got != expected:
            got = repr(got[:80] if isinstance(got, str) else got)
            raise FileError(f"whose {what} is {got} instead of {expected!r}", _FIX)

    def _take(self, size: int) -> memoryview:
        if size > self.left:
            at, left = self._position, self.left
            raise FileError(f"which is truncated: at byte {at}, {size} are needed and {left} left")
        self._position += size
        return self._data[self._position - size : self._position]

    def integer(self) -> int:
        head = self._take(1)[0]
        size = head & 0x0F
        if head & 0x70 or not 1 <= size <= 8:
            raise FileError(f"which has no integer at byte {self._position - 1}", _FIX)
        value = int.from_bytes(self._take(size), "little")
        return -value if head & 0x80 else value

    def count(self) -> int:
        value = self.integer()
        if value < 0:
            raise FileError(f"which has the size {value} before byte {self._position}")
        return value

    def counts(self, number: int) -> tuple[int, ...]:
        return tuple(self.count() for _ in range(number))

    def characters(self, number: int) -> str:
        raw = bytes(self._take(max(number, 0)))
        if not raw.isascii():
            raise FileError(f"which has no text before byte {self._position}", _FIX)
        return raw.decode("ascii")

    def string(self) -> str:
        return self.characters(self.count())

    def float(self) -> float:
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1000:  # 32000 and above stand for infinities and NaN
            raise FileError(f"which has no finite number before byte {self._position}")
        return math.ldexp(mantissa, exponent)

    def boolean(self) -> bool:
        value = bytes(self._take(1))
        if value not in (b"0", b"1"):
            raise FileError(f"which has no boolean at byte {self._position - 1}", _FIX)
        return value == b"1"

    def tensor(self) -> np.ndarray:
        self.expect("version of a tensor", self.integer(), 2)
        shape = self.counts(4)
        raw = self._take(4 * math.prod(shape))
        return np.frombuffer(raw, "<f4").reshape(shape)

    def _alias(self) -> tuple[int, ...]:
        self.expect("version of an alias", self.integer(), 1)
        return self.counts(4)

    def split(self, parameters: np.ndarray, *names: str) -> dict[str, np.ndarray]:
        """Read the shapes of the parts of a tensor, and cut it up."""
        shapes = [self._alias() for _ in names]
        sizes = [math.prod(shape) for shape in shapes]
        self.expect(f"number of {' and '.join(names)}", parameters.size, sum(sizes))
        parts = np.split(parameters.ravel(), np.cumsum(sizes)[:-1])
        return {n: p.reshape(s) for n, p, s in zip(names, parts, shapes, strict=True)}

    def multipliers(self) -> None:
        """Read what the layer multiplies the learning rate and the weight decay by."""
        for _ in range(4):
            self.float()
