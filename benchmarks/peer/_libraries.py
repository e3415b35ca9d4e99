"""The peers: where each is found, and how it is installed."""

import importlib
import importlib.metadata
import importlib.util
from typing import Any, NamedTuple


class Library(NamedTuple):
    """A peer.

    Attributes:
      distribution: its name in the package index, of which the version is asked.
      needs: the modules that are imported.
      pip: the command that installs it.
      is_torch: it explains networks of PyTorch, so that PyTorch is also measured at its best.
    """

    distribution: str
    needs: tuple[str, ...]
    pip: str
    is_torch: bool = False


_TORCH = ("torch", "torchvision", "efficientnet_lite_pytorch")
_TORCH_PIP = "torch torchvision efficientnet-lite-pytorch==0.1.0"
LIBRARIES = {
    "pytorch_grad_cam": Library(
        "grad-cam",
        ("pytorch_grad_cam", *_TORCH),
        f"pip install grad-cam==1.5.7 {_TORCH_PIP}",
        is_torch=True,
    ),
    "captum": Library(
        "captum", ("captum", *_TORCH), f"pip install captum==0.9.0 {_TORCH_PIP}", is_torch=True
    ),
    "zennit": Library(
        "zennit", ("zennit", *_TORCH), f"pip install zennit==0.5.1 {_TORCH_PIP}", is_torch=True
    ),
    "quantus": Library(
        "quantus",
        ("quantus", *_TORCH),
        f"pip install --no-deps quantus==0.6.0; pip install opencv-python-headless {_TORCH_PIP}",
        is_torch=True,
    ),
    "lime": Library("lime", ("lime",), "pip install lime==0.2.0.1"),
    "shap": Library("shap", ("shap",), "pip install shap==0.51.0"),
    "shapiq": Library("shapiq", ("shapiq",), "pip install shapiq==1.4.1"),
}


def load(name: str) -> Any:
    """A module of a peer, which is there in its own process only."""
    return importlib.import_module(name)


def missing(library: Library) -> list[str]:
    """The modules that it needs and that are not there."""
    return [name for name in library.needs if importlib.util.find_spec(name) is None]


def version(library: Library) -> str:
    """Of the package that is installed."""
    return importlib.metadata.version(library.distribution)
