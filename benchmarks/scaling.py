"""How time grows: with the batch, the samples, the features, the pixels and the devices."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks._rows import Writer
from benchmarks._timing import FEWEST_ROUNDS, interleave, timer
from benchmarks.workloads import grid, table, workload

_DEVICES = (1, 2, 4, 8)
# Of the rounds: a slope rests on its points, and the largest take long.
_PART = 4


def run(writer: Writer, *, rounds: int, only: str = "") -> None:
    """Measure every curve whose axis matches."""
    rounds = max(rounds // _PART, FEWEST_ROUNDS)
    for axis, make in _CURVES.items():
        if re.search(only, axis):
            for method, name, points in make():
                _curve(writer, method, name, axis, points, rounds)
    if re.search(only, "devices") and jax.default_backend() == "cpu":
        _devices(writer, rounds)


def _curve(
    writer: Writer,
    method: str,
    name: str,
    axis: str,
    points: dict[int, Callable[[], Any]],
    rounds: int,
) -> None:
    timers = {str(value): timer(point) for value, point in points.items()}
    smallest = next(iter(timers))
    done = interleave(timers, rounds, control=smallest, title=f"{method}, {axis}")
    for value in points:
        writer.add(
            "curve",
            method=method,
            workload=name,
            axis=axis,
            value=value,
            seconds=done.seconds[str(value)],
            **done.trust(),
        )


Curve = tuple[str, str, dict[int, Callable[[], Any]]]


def _batch() -> list[Curve]:
    w = workload("efficientnet_lite0")
    program = jax.jit(jax.vmap(xaijax.grad_cam, (None, 0, None)))
    sizes = (1, 4, 16, 64, 256)
    points = {n: functools.partial(program, w.f, w.batch(n), w.target) for n in sizes}
    return [("grad_cam", w.name, points)]


def _samples() -> list[Curve]:
    w, key = workload("efficientnet_lite0"), jax.random.key(0)
    p, x, counts = xaijax.probabilities(w.f), w.xs[0], (4, 16, 64, 256, 1024)
    hide: dict[str, Any] = {"mask": w.mask}
    lime = {
        n: functools.partial(xaijax.lime, p, x, w.target, key, num_samples=n, **hide)
        for n in counts[1:]
    }
    walks = {
        n: functools.partial(
            xaijax.permutation_shap, p, x, w.target, key, num_permutations=n // 16, **hide
        )
        for n in counts[1:]
    }
    steps = {
        n: functools.partial(xaijax.integrated_gradients, w.f, x, w.target, num_steps=n)
        for n in counts[:4]
    }
    return [
        ("lime", w.name, lime),
        ("permutation_shap", w.name, walks),
        ("integrated_gradients", w.name, steps),
    ]


def _features() -> list[Curve]:
    """Of one row of a table, the number of coalitions the same: what grows is the model and the least squares."""
    key, found = jax.random.key(0), []
    tables = {n: table(n) for n in (8, 32, 128, 512)}
    methods = {
        "lime": (xaijax.lime, {"num_samples": 2048}),
        "kernel_shap": (xaijax.kernel_shap, {"num_samples": 2048}),
        "permutation_shap": (xaijax.permutation_shap, {"num_permutations": 2}),
    }
    for method, (explain, settings) in methods.items():
        points = {
            n: functools.partial(
                explain, xaijax.probabilities(t.f), t.xs[0], 1, key, mask=t.mask, **settings
            )
            for n, t in tables.items()
        }
        found.append((method, "MLP 64-64, breast cancer, background 100 (v1)", points))
    return found


def _pixels() -> list[Curve]:
    """Of images from 32 x 32 to 224 x 224, on a network that takes any size."""
    w, key = workload("resnet18"), jax.random.key(0)
    sides = (32, 64, 112, 160, 224)
    images = {n: jax.image.resize(w.xs[0], (n, n, 3), "linear") for n in sides}
    p = xaijax.probabilities(w.f)
    cams = {n**2: functools.partial(xaijax.grad_cam, w.f, x, w.target) for n, x in images.items()}
    limes = {
        n**2: functools.partial(
            xaijax.lime, p, x, w.target, key, mask=grid(3, 4, n), num_samples=64
        )
        for n, x in images.items()
    }
    return [("grad_cam", "ResNet-18 (v1)", cams), ("lime", "ResNet-18 (v1)", limes)]


_CURVES: dict[str, Callable[[], list[Curve]]] = {
    "batch": _batch,
    "samples": _samples,
    "features": _features,
    "pixels": _pixels,
}


def _devices(writer: Writer, rounds: int) -> None:
    """Virtual devices share the machine's cores: what the curve shows is what sharding itself costs."""
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={max(_DEVICES)}"
    )
    command = [sys.executable, "-m", "benchmarks.scaling", str(rounds)]
    done = subprocess.run(
        command, env={**os.environ, "XLA_FLAGS": flags}, check=True, capture_output=True, text=True
    )
    for row in json.loads(done.stdout):
        writer.add("curve", **row)


def _sharded(rounds: int) -> list[dict[str, Any]]:
    """Grad-CAM of 32 images, the batch spread over devices."""
    w = workload("efficientnet_lite0")
    xs = w.batch(32)
    points = {}
    program = jax.jit(jax.vmap(xaijax.grad_cam, (None, 0, None)))
    for count in _DEVICES:
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), ("batch",))
        spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        f = jax.device_put(w.f, everywhere)
        target = jax.device_put(jnp.int32(w.target), everywhere)
        points[count] = functools.partial(program, f, jax.device_put(xs, spread), target)
    done = interleave({str(n): timer(p) for n, p in points.items()}, rounds, control="1")
    shared = {"method": "grad_cam", "workload": f"{w.name}, batch 32", "axis": "devices"}
    shared |= done.trust()
    return [{**shared, "value": n, "seconds": done.seconds[str(n)]} for n in _DEVICES]


if __name__ == "__main__":
    print(json.dumps(_sharded(int(sys.argv[1]))))
