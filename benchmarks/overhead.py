"""What the explainers cost over the model evaluations that they need.

Grad-CAM against one forward pass: flops (exact) and time. LIME and Shapley values, by permutations and by KernelSHAP,
against as many bare forwards in chunks of the best size. Memory from 2^6 to 2^12 samples.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

import xaijax
from benchmarks._paired import flops, is_noisy, measure
from benchmarks._workload import TARGET, chunked_forwards, model, photo, resnet18

_EVALUATIONS = 256
_CHUNK = 8


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""
    return {
        "grad_cam": grad_cam(rounds),
        "sampling": sampling(max(rounds // 2, 5)),
        "memory": memory(),
    }


def grad_cam(rounds: int) -> dict[str, Any]:
    """Grad-CAM at the default layer against a forward pass of the same model."""
    f, (_, x, _) = model(), photo()
    forward = jax.jit(lambda f, x: xaijax.lower(f)(x))
    time = measure(
        {
            "forward": lambda: forward(f, x),
            "grad_cam": lambda: xaijax.grad_cam(f, x, TARGET),
        },
        base="forward",
        rounds=rounds,
    )
    more = flops(xaijax.grad_cam.program(f, x, TARGET)) / flops(forward.lower(f, x))
    return {"time": time, "noisy": is_noisy(time), "flops_over_forward": more}


def sampling(rounds: int) -> dict[str, Any]:
    """The sampling methods on two networks."""
    networks = {"EfficientNet-Lite0": model(), "ResNet-18": resnet18()}
    return {name: _sampling(xaijax.probabilities(f), rounds) for name, f in networks.items()}


def _sampling(f: Any, rounds: int) -> dict[str, Any]:
    """LIME and Shapley values against as many forwards, in chunks of several sizes."""
    _, x, mask = photo()
    key, pair = jax.random.key(0), 2 * (mask.num_features - 1)
    permutations = _EVALUATIONS // pair
    regression = xaijax.kernel_shap_values(f, x, TARGET, key, mask=mask, num_samples=_EVALUATIONS)
    evaluations = {
        "lime": _EVALUATIONS,
        "permutation_shap": 2 + permutations * pair,
        "kernel_shap": int(regression.num_evaluations),
    }
    forwards = jax.jit(chunked_forwards, static_argnums=2)
    contestants: dict[str, Any] = {
        f"forwards, chunks of {chunk}": functools.partial(
            forwards, f, jnp.broadcast_to(x, (chunk, *x.shape)), _EVALUATIONS
        )
        for chunk in (2, 4, 8, 16)
    }
    contestants["lime"] = lambda: xaijax.lime(
        f, x, TARGET, key, mask=mask, num_samples=_EVALUATIONS
    )
    contestants["permutation_shap"] = lambda: xaijax.permutation_shap(
        f, x, TARGET, key, mask=mask, num_permutations=permutations
    )
    contestants["kernel_shap"] = lambda: xaijax.kernel_shap(
        f, x, TARGET, key, mask=mask, num_samples=_EVALUATIONS
    )
    time = measure(contestants, base=f"forwards, chunks of {_CHUNK}", rounds=rounds)
    best = min(t["ratio"] for name, t in time.items() if name.startswith("forwards"))
    overhead = {
        name: time[name]["ratio"] / best * _EVALUATIONS / count
        for name, count in evaluations.items()
    }
    return {
        "time": time,
        "noisy": is_noisy(time),
        "evaluations": evaluations,
        "overhead_per_evaluation": overhead,
    }


def memory() -> dict[str, Any]:
    """Temporary bytes of the compiled programs from 2^6 to 2^12 samples."""
    f, (_, x, mask) = xaijax.probabilities(model()), photo()
    key, pair = jax.random.key(0), 2 * (mask.num_features - 1)

    def temporary(lowered: Any) -> int:
        return lowered.compile().memory_analysis().temp_size_in_bytes

    lime, shapley = {}, {}
    for n in (2**6, 2**9, 2**12):
        lime[n] = temporary(
            xaijax.lime.program(f, x, TARGET, key, mask=mask, num_samples=n, batch_size=_CHUNK)
        )
        permutations = max(n // pair, 1)
        shapley[2 + permutations * pair] = temporary(
            xaijax.permutation_shap.program(
                f, x, TARGET, key, mask=mask, num_permutations=permutations, batch_size=_CHUNK
            )
        )
    return {"lime_bytes": lime, "shapley_bytes": shapley}
