"""What class activation maps cost over the model, and against pytorch-grad-cam on the same weights.

Gradient-based maps at the last feature map against one forward pass, alone and in a batch of eight; Ablation-CAM
over all channels; Score-CAM against as many bare forwards in the best chunks. ResNet-50 with random weights (its time
does not depend on them) and EfficientNet-Lite0.
"""

import functools
import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._paired import flops, is_noisy, measure
from benchmarks._workload import (
    TARGET,
    chunked_forwards,
    images,
    model,
    photo,
    resnet50,
    torch_resnet50,
)

_GRADIENT = ("grad_cam", "grad_cam_pp", "hires_cam", "xgrad_cam", "layer_cam")
_PEERS = {
    "grad_cam": "GradCAM",
    "grad_cam_pp": "GradCAMPlusPlus",
    "hires_cam": "HiResCAM",
    "xgrad_cam": "XGradCAM",
    "layer_cam": "LayerCAM",
}
_BATCH = 8


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    record: dict[str, Any] = {"gradient": {}, "ablation": ablation(max(rounds // 3, 5))}
    for name, f in (("resnet50", resnet50()), ("efficientnet_lite0", model())):
        for batch in (1, _BATCH):
            record["gradient"][f"{name}, batch {batch}"] = gradient(f, batch, rounds)
    record["score_cam"] = score(max(rounds // 6, 5))
    if importlib.util.find_spec("pytorch_grad_cam") is not None:
        for batch in (1, _BATCH):
            record[f"pytorch_grad_cam, batch {batch}"] = peer(batch, max(rounds // 2, 5))
    return record


def _programs(
    f: Any, batch: int, target: int = TARGET
) -> dict[str, tuple[Any, Any, tuple[Any, ...]]]:
    """A forward pass and the maps, of one image or of a batch: how to call, how to lower, with which arguments."""
    xs, targets = images(batch), jnp.full(batch, target, jnp.int32)
    explainers = {name: getattr(xaijax, name) for name in _GRADIENT}
    if batch == 1:
        forward = jax.jit(lambda f, x: xaijax.lower(f)(x))
        one = {name: (e, e.program, (f, xs[0], target)) for name, e in explainers.items()}
        return {"forward": (forward, forward.lower, (f, xs[0])), **one}
    forward = jax.jit(lambda f, xs: jax.vmap(xaijax.lower(f))(xs))
    jitted = {name: jax.jit(jax.vmap(e, (None, 0, 0))) for name, e in explainers.items()}
    many = {name: (e, e.lower, (f, xs, targets)) for name, e in jitted.items()}
    return {"forward": (forward, forward.lower, (f, xs)), **many}


def _contestants(programs: dict[str, tuple[Any, Any, tuple[Any, ...]]]) -> dict[str, Any]:
    return {name: functools.partial(run, *args) for name, (run, _, args) in programs.items()}


def gradient(f: Any, batch: int, rounds: int) -> dict[str, Any]:
    """Gradient-based maps over one forward pass."""
    programs = _programs(f, batch)
    time = measure(_contestants(programs), base="forward", rounds=rounds)
    count = {name: flops(lower(*args)) for name, (_, lower, args) in programs.items()}
    more = {name: count[name] / count["forward"] for name in _GRADIENT}
    return {"time": time, "noisy": is_noisy(time), "flops_over_forward": more}


def ablation(rounds: int) -> dict[str, Any]:
    """Ablation-CAM at the last block of ResNet-50, 2048 channels, over one forward pass."""
    f, (_, x, _) = resnet50(), photo()
    forward = jax.jit(lambda f, x: xaijax.lower(f)(x))
    time = measure(
        {
            "forward": lambda: forward(f, x),
            "ablation_cam": lambda: xaijax.ablation_cam(f, x, TARGET),
        },
        base="forward",
        rounds=rounds,
    )
    return {"time": time, "noisy": is_noisy(time)}


def score(rounds: int) -> dict[str, Any]:
    """Score-CAM at a layer of EfficientNet-Lite0 over 1 + K bare forwards in the best chunks."""
    f, (_, x, _) = model(), photo()
    layer = "blocks/15"
    channels = xaijax.layers(f, x).find("benchmark", layer).shape[-1]
    count = channels + 1
    forwards = jax.jit(chunked_forwards, static_argnums=2)
    contestants: dict[str, Any] = {}
    evaluated = {}
    for chunk in (2, 4, 8):
        images = jnp.broadcast_to(x, (chunk, *x.shape))
        contestants[f"forwards, chunks of {chunk}"] = lambda images=images: forwards(
            f, images, count
        )
        evaluated[chunk] = count // chunk * chunk
    contestants["score_cam"] = lambda: xaijax.score_cam(f, x, TARGET, layer=layer)
    time = measure(contestants, base="forwards, chunks of 4", rounds=rounds)
    best = min(time[f"forwards, chunks of {n}"]["ratio"] / evaluated[n] for n in evaluated)
    return {
        "time": time,
        "noisy": is_noisy(time),
        "channels": channels,
        "overhead_per_evaluation": time["score_cam"]["ratio"] / best / count,
    }


def peer(batch: int, rounds: int) -> dict[str, Any]:
    """The same maps by pytorch-grad-cam, on the same weights of ResNet-50, in one interleaved run."""
    import torch

    net, f = torch_resnet50()  # first: it makes torchvision's import work
    pytorch_grad_cam: Any = importlib.import_module("pytorch_grad_cam")
    targets_module: Any = importlib.import_module("pytorch_grad_cam.utils.model_targets")
    # The class with the highest score: its maps are not empty.
    target = int(jax.jit(xaijax.lower(f))(images(1)[0]).argmax())
    contestants = _contestants(_programs(f, batch, target))
    xs = torch.from_numpy(np.array(images(batch))).permute(0, 3, 1, 2).contiguous()
    wanted = [targets_module.ClassifierOutputTarget(target)] * batch

    def bare() -> Any:
        with torch.no_grad():
            return net(xs)

    contestants["torch, forward"] = bare
    difference = {}
    for ours, theirs in _PEERS.items():
        maker = getattr(pytorch_grad_cam, theirs)(model=net, target_layers=[net.layer4[-1]])
        contestants[f"torch, {ours}"] = lambda maker=maker: maker(xs, wanted)
        a = np.asarray(contestants[ours]())
        a = a if batch > 1 else a[None]
        b = maker(xs, wanted)
        # Both as the peer gives it: scaled to [0, 1], resized, scaled again.
        scaled = np.stack([xaijax.normalize(xaijax.resize(m, (224, 224))) for m in a])
        difference[ours] = float(
            np.abs(scaled - np.stack([xaijax.normalize(m) for m in jnp.asarray(b)])).max()
        )
    time = measure(contestants, base="forward", rounds=rounds)
    ratio = {
        name: time[f"torch, {name}"]["ratio"] / time[name]["ratio"]
        for name in (*_GRADIENT, "forward")
    }
    return {
        "time": time,
        "noisy": is_noisy(time),
        "largest_difference": difference,
        "torch_over_ours": ratio,
    }
