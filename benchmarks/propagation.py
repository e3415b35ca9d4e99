"""What gradients and relevance cost over the model's own gradient, and against zennit and captum on the same weights.

ResNet-50 with random weights (its time does not depend on them), weights as arguments of the program. Integrated
gradients and SmoothGrad against as many bare gradients in batches of the best size.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._paired import flops, is_noisy, measure
from benchmarks._workload import TARGET, images, model, photo, resnet50, torch_resnet50
from xaijax.propagation import (
    epsilon,
    epsilon_alpha2_beta1,
    epsilon_gamma_box,
    epsilon_plus,
    uniform,
)

_BATCH = 8
_STEPS = 48
# The range of the pixels after the usual normalisation.
_LOW = np.array([-2.118, -2.036, -1.804], np.float32)
_HIGH = np.array([2.249, 2.429, 2.640], np.float32)
COMPOSITES: dict[str, Callable[[], Any]] = {
    "epsilon": lambda: uniform(epsilon()),
    "epsilon_plus": epsilon_plus,
    "epsilon_gamma_box": lambda: epsilon_gamma_box(_LOW, _HIGH),
    "epsilon_alpha2_beta1": epsilon_alpha2_beta1,
}


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    record = {
        "lrp": relevance(max(rounds // 3, 5)),
        "paths": paths(max(rounds // 6, 5)),
        "memory": memory(),
    }
    if importlib.util.find_spec("zennit") is not None:
        record["zennit"] = zennit(max(rounds // 6, 5))
    if importlib.util.find_spec("captum") is not None:
        record["captum"] = captum(max(rounds // 6, 5))
    return record


@jax.jit
def _value_and_grad(f: Any, xs: jax.Array, target: Any) -> Any:
    """What is differentiated for a gradient: the model as every explainer evaluates it."""
    return jax.vmap(jax.value_and_grad(lambda x: xaijax.lower(f)(x)[target]))(xs)


@jax.jit
def _plain_value_and_grad(f: Any, xs: jax.Array, target: Any) -> Any:
    return jax.vmap(jax.value_and_grad(lambda x: f(x)[target]))(xs)


@jax.jit
def _lrp(f: Any, xs: jax.Array, target: Any, composite: Any) -> jax.Array:
    return jax.vmap(lambda x: xaijax.lrp(f, x, target, composite=composite))(xs)


def relevance(rounds: int) -> dict[str, Any]:
    """LRP of eight images over their value and gradient, weights as arguments."""
    f, xs, target = resnet50(), images(_BATCH), jnp.int32(TARGET)
    contestants: dict[str, Any] = {
        "value_and_grad": functools.partial(_value_and_grad, f, xs, target),
        "value_and_grad, as written": functools.partial(_plain_value_and_grad, f, xs, target),
    }
    count = {"value_and_grad": flops(_value_and_grad.lower(f, xs, target))}
    for name, make in COMPOSITES.items():
        contestants[name] = functools.partial(_lrp, f, xs, target, make())
        count[name] = flops(_lrp.lower(f, xs, target, make()))
    times = measure(contestants, base="value_and_grad", rounds=rounds)
    more = {name: count[name] / count["value_and_grad"] for name in COMPOSITES}
    return {"time": times, "noisy": is_noisy(times), "flops_over_gradient": more}


def paths(rounds: int) -> dict[str, Any]:
    """Integrated gradients and SmoothGrad over as many bare gradients, in batches of the best size, outside a loop."""
    _, x, _ = photo()
    networks = {"EfficientNet-Lite0": (model(), 48), "ResNet-50": (resnet50(), 16)}
    return {name: _path(f, x, steps, rounds) for name, (f, steps) in networks.items()}


def _path(f: Any, x: jax.Array, steps: int, rounds: int) -> dict[str, Any]:
    explain, target = xaijax.bind(xaijax.saliency, f), jnp.int32(TARGET)

    def gradients(batch: int) -> Any:
        xs = images(batch)
        return lambda: [_value_and_grad(f, xs, target) for _ in range(steps // batch)]

    contestants: dict[str, Any] = {
        f"gradients, batches of {batch}": gradients(batch) for batch in (2, 4, 8)
    }
    contestants["integrated_gradients"] = lambda: xaijax.integrated_gradients(
        f, x, target, num_steps=steps
    )
    contestants["smooth_grad"] = lambda: xaijax.smooth_grad(
        explain, x, target, jax.random.key(0), num_samples=steps
    )
    times = measure(contestants, base="gradients, batches of 4", rounds=rounds)
    best = min(t["ratio"] for name, t in times.items() if name.startswith("gradients"))
    names = ("integrated_gradients", "smooth_grad")
    return {
        "steps": steps,
        "time": times,
        "noisy": is_noisy(times),
        "overhead_per_gradient": {name: times[name]["ratio"] / best for name in names},
    }


def memory() -> dict[str, Any]:
    """Temporary bytes of integrated gradients from 16 to 1024 steps."""
    f, (_, x, _) = model(), photo()

    def temporary(num_steps: int) -> int:
        program = xaijax.integrated_gradients.program(
            f, x, TARGET, num_steps=num_steps, batch_size=8
        )
        return program.compile().memory_analysis().temp_size_in_bytes

    return {"integrated_gradients_bytes": {n: temporary(n) for n in (16, 128, 1024)}}


def _difference(ours: Any, theirs: Any) -> float:
    """The largest difference as a part of the largest value."""
    theirs = theirs.detach().permute(0, 2, 3, 1).numpy()
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def zennit(rounds: int) -> dict[str, Any]:
    """LRP by zennit, on the same weights of ResNet-50, one image, in an interleaved run."""
    import torch

    net, f = torch_resnet50()  # first: it makes torchvision's import work
    from zennit import composites
    from zennit.torchvision import ResNetCanonizer

    low, high = (torch.from_numpy(end)[None, :, None, None] for end in (_LOW, _HIGH))
    peers = {
        "epsilon_plus": composites.EpsilonPlus(canonizers=[ResNetCanonizer()]),
        "epsilon_gamma_box": composites.EpsilonGammaBox(
            low=low, high=high, canonizers=[ResNetCanonizer()]
        ),
    }
    xs = images(1)
    pixels = torch.from_numpy(np.array(xs)).permute(0, 3, 1, 2).contiguous()
    contestants: dict[str, Any] = {}
    difference = {}
    for name, composite in peers.items():

        def theirs(composite: Any = composite) -> Any:
            x = pixels.clone().requires_grad_()
            with composite.context(net) as modified:
                logits = modified(x)
                seed = torch.zeros_like(logits)
                seed[:, TARGET] = logits[:, TARGET]
                return torch.autograd.grad(logits, x, seed.detach())[0]

        ours = functools.partial(_lrp, f, xs, jnp.int32(TARGET), COMPOSITES[name]())
        contestants |= {name: ours, f"zennit, {name}": theirs}
        difference[name] = _difference(ours(), theirs())
    times = measure(contestants, base="epsilon_plus", rounds=rounds)
    return {
        "time": times,
        "noisy": is_noisy(times),
        "largest_relative_difference": difference,
        "zennit_over_ours": {
            name: times[f"zennit, {name}"]["ratio"] / times[name]["ratio"] for name in peers
        },
    }


def captum(rounds: int) -> dict[str, Any]:
    """Gradients and integrated gradients by captum, on the same weights of ResNet-50.

    Its DeepLIFT refuses that network, which uses a ReLU more than once.
    """
    import torch
    from captum import attr

    net, f = torch_resnet50()
    xs, target = images(1), jnp.int32(TARGET)
    pixels = torch.from_numpy(np.array(xs)).permute(0, 3, 1, 2).contiguous()
    steps = 16
    peers: dict[str, Any] = {
        "saliency": lambda: attr.Saliency(net).attribute(pixels.clone(), target=TARGET),
        "integrated_gradients": lambda: attr.IntegratedGradients(net).attribute(
            pixels, target=TARGET, n_steps=steps, internal_batch_size=4
        ),
        "guided_backprop": lambda: attr.GuidedBackprop(net).attribute(pixels, target=TARGET),
    }
    ours: dict[str, Any] = {
        "saliency": lambda: xaijax.saliency(f, xs[0], target),
        "integrated_gradients": lambda: xaijax.integrated_gradients(
            f, xs[0], target, num_steps=steps
        ),
        "guided_backprop": lambda: xaijax.guided_backprop(f, xs[0], target),
    }
    contestants = {**ours, **{f"captum, {name}": run for name, run in peers.items()}}
    difference = {name: _difference(ours[name]()[None], peers[name]()) for name in peers}
    times = measure(contestants, base="saliency", rounds=rounds)
    return {
        "time": times,
        "noisy": is_noisy(times),
        "largest_relative_difference": difference,
        "captum_over_ours": {
            name: times[f"captum, {name}"]["ratio"] / times[name]["ratio"] for name in peers
        },
    }
