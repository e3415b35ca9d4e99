"""pytorch-grad-cam beside our class activation maps.

At the last block of ResNet-50 with random weights, one image and eight; Ablation-CAM and Score-CAM, which evaluate the
network once for each channel, at the 320 channels of the last block of EfficientNet-Lite0; FullGrad there as well,
since theirs takes minutes on a ResNet-50.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import xaijax
from benchmarks.peer import _torch
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import Images, Pair, Workload, image_workload, scaled

_BATCHES = (8, 1)
_MAPS = "maps scaled to [0, 1], at 224 x 224"
_SIGN = f"{_MAPS}; it leaves the sign of a map to chance"
# Our name, theirs, how ours is called, and what is compared.
_GRADIENT: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("grad_cam", "GradCAM", {}, _MAPS),
    ("grad_cam_pp", "GradCAMPlusPlus", {}, f"{_MAPS}; it adds 1e-6 to a denominator"),
    ("hires_cam", "HiResCAM", {}, _MAPS),
    ("xgrad_cam", "XGradCAM", {}, _MAPS),
    ("layer_cam", "LayerCAM", {}, _MAPS),
    ("grad_cam_elementwise", "GradCAMElementWise", {}, _MAPS),
    ("eigen_cam", "EigenCAM", {}, _SIGN),
    ("eigen_grad_cam", "EigenGradCAM", {}, _SIGN),
    ("kpca_cam", "KPCA_CAM", {}, _SIGN),
    ("shapley_cam", "ShapleyCAM", {}, _MAPS),
    ("finer_cam", "FinerCAM", {}, _MAPS),
)
# Of eight images, the five that are used most: the others would say the same, and theirs take seconds.
_OF_EIGHT = 5
_LAYER = "blocks/15"
_CHANNELS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    (
        "ablation_cam",
        "AblationCAM",
        {},
        f"{_MAPS}; asked to ablate with 0, as the paper, and not with a large negative value",
    ),
    (
        "score_cam",
        "ScoreCAM",
        {"mode": "softmax_logit", "align_corners": True},
        f"{_MAPS}; in its softmax constant channels take part",
    ),
    ("full_grad", "FullGrad", {}, f"{_MAPS}; it scales each channel by itself"),
)


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    _torch.torchvision()
    found: dict[str, Callable[[], Any]] = {}
    for batch in _BATCHES:
        net, xs = _torch.network(data, "resnet50"), _torch.images(data, batch)
        target, prefix = data.target("resnet50"), image_workload("resnet50", batch)
        for name, run in _torch.bare(net, xs, target).items():
            found[f"{prefix}: {name}"] = run
        for name, theirs, _, _ in _of(batch):
            found[f"{prefix}: {name}"] = functools.partial(
                _map, theirs, net, net.layer4[-1], xs, target
            )
    net, xs = _torch.network(data, "efficientnet_lite0"), _torch.images(data, 1)
    target, prefix = data.target("efficientnet_lite0"), image_workload("efficientnet_lite0", 1)
    for name, run in _torch.bare(net, xs, target).items():
        found[f"{prefix}: {name}"] = run
    for name, theirs, _, _ in _CHANNELS:
        found[f"{prefix}: {name}"] = functools.partial(
            _map, theirs, net, net._blocks[15], xs, target
        )
    return found


def _of(batch: int) -> tuple[Any, ...]:
    return _GRADIENT if batch == 1 else _GRADIENT[:_OF_EIGHT]


def _map(name: str, net: Any, layer: Any, xs: Any, target: int) -> Any:
    """As its documentation calls it; its hooks are gone afterwards, or other methods would run them as well."""
    package = load("pytorch_grad_cam")
    kinds = load("pytorch_grad_cam.utils.model_targets")
    maker, layers = getattr(package, name), [] if name == "FullGrad" else [layer]
    more = {"ablation_layer": _zeroing(package.AblationLayer)} if name == "AblationCAM" else {}
    with maker(model=net, target_layers=layers, **more) as explain:
        if name == "FinerCAM":
            return explain(xs, target_idx=target)
        kind = kinds.ClassifierOutputReST if name == "ShapleyCAM" else kinds.ClassifierOutputTarget
        return explain(xs, [kind(target)] * len(xs))


def _zeroing(base: Any) -> Any:
    class Zero(base):
        # A block of EfficientNet is called with more than its input.
        def __call__(self, x: Any, *_: Any, **__: Any) -> Any:
            for channels, k in zip(self.activations, self.indices, strict=False):
                channels[k] = 0
            return self.activations

    return Zero()


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    for batch in _BATCHES:
        yield _workload(Images(data, "resnet50", batch), _of(batch))
    yield _workload(Images(data, "efficientnet_lite0", 1), _CHANNELS, layer=_LAYER)


def _workload(images: Images, table: Any, **more: Any) -> Workload:
    found = [
        Pair(
            name,
            images.program(
                functools.partial(
                    getattr(xaijax, name), **settings, **(more if name != "full_grad" else {})
                )
            ),
            "bare forward",
            compared,
            scaled,
            deterministic=compared is not _SIGN,
        )
        for name, _, settings, compared in table
    ]
    return Workload(images.name, len(images.xs), images.bare(), found)
