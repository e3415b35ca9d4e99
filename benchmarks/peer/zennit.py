"""zennit beside our layer-wise relevance propagation, of one image on ResNet-50 with random weights."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

import xaijax
from benchmarks.peer import _torch
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import load
from benchmarks.peer._pairs import Images, Pair, Workload, channels_last, image_workload
from xaijax.propagation import epsilon_alpha2_beta1, epsilon_gamma_box, epsilon_plus

_NETWORK = "resnet50"
# The range of the pixels after the usual normalisation.
_LOW = np.array([-2.118, -2.036, -1.804], np.float32)
_HIGH = np.array([2.249, 2.429, 2.640], np.float32)
_OURS: dict[str, Callable[[], Any]] = {
    "epsilon_plus": epsilon_plus,
    "epsilon_gamma_box": lambda: epsilon_gamma_box(_LOW, _HIGH),
    "epsilon_alpha2_beta1": epsilon_alpha2_beta1,
}


def methods(data: Data) -> dict[str, Callable[[], Any]]:
    """Theirs."""
    torch = load("torch")

    _torch.torchvision()
    composites, canonizer = load("zennit.composites"), load("zennit.torchvision").ResNetCanonizer

    net, target, device = _torch.network(data, _NETWORK), data.target(_NETWORK), _torch.device(data)
    merged = {"canonizers": [canonizer()]}
    low, high = (torch.from_numpy(end)[None, :, None, None].to(device) for end in (_LOW, _HIGH))
    rules = {
        "epsilon_plus": composites.EpsilonPlus(**merged),
        "epsilon_gamma_box": composites.EpsilonGammaBox(low=low, high=high, **merged),
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1(**merged),
    }
    xs, prefix = _torch.images(data, 1), image_workload(_NETWORK, 1)
    runs = _torch.bare(net, xs, target)
    for name, composite in rules.items():
        runs[name] = functools.partial(_relevance, composite, net, xs, target)
    return {f"{prefix}: {name}": run for name, run in runs.items()}


def _relevance(composite: Any, net: Any, xs: Any, target: int) -> Any:
    torch = load("torch")

    x = xs.detach().requires_grad_()
    with composite.context(net) as modified:
        logits = modified(x)
        seed = torch.zeros_like(logits)
        seed[:, target] = logits[:, target].detach()
        return torch.autograd.grad(logits, x, seed)[0]


def pairs(data: Data) -> Iterator[Workload]:
    """Ours."""
    compared = "relevance of pixels; zennit still divides by sqrt(1 + 1e-5) where it merged a norm"
    images = Images(data, _NETWORK, 1)
    found = [
        Pair(name, images.program(_explain(make())), "bare gradient", compared, channels_last)
        for name, make in _OURS.items()
    ]
    yield Workload(images.name, 1, images.bare(), found)


def _explain(composite: Any) -> Callable[..., jax.Array]:
    return lambda f, x, target: xaijax.lrp(f, x, target, composite=composite)
