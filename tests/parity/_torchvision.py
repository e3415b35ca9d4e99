"""torchvision beside a PyTorch without CUDA.

Its wheel from the package index is built for CUDA. Beside a PyTorch for the CPU alone its compiled operators do not
load, and `import torchvision` fails where it describes two of them. They are of detection; the classifiers need none.
So they get a declaration, without which the import works as everywhere else.

Use it inside a fixture, so that collecting the tests does not load PyTorch:

    @pytest.fixture(scope="module")
    def torchvision():
        from tests.parity._torchvision import torchvision
        return torchvision
"""

import functools
import importlib
import importlib.util
from pathlib import Path

import pytest

_DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def __getattr__(name):
    if name == "torchvision":
        return _load()
    raise AttributeError(name)


@functools.cache
def _load():
    torch = pytest.importorskip("torch")
    spec = importlib.util.find_spec("torchvision")
    if spec is None:
        pytest.skip("needs torchvision")
    if not _load_operators(torch, Path(spec.origin).parent):
        library = torch.library.Library("torchvision", "DEF")
        for declaration in _DECLARATIONS:
            library.define(declaration)
        _load.library = library  # it undeclares them when it is collected
    return importlib.import_module("torchvision")


def _load_operators(torch, folder):
    for path in folder.glob("_C.*"):
        try:
            torch.ops.load_library(path)
        except OSError:
            return False
        return True
    return False
