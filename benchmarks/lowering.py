"""What `lower` gains: networks with their convolutions in the forms that the backend computes best, and as they are."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

import xaijax
from benchmarks._rows import Writer
from benchmarks._timing import interleave, timer
from benchmarks.workloads import workload

_BATCH = 8


def run(writer: Writer, *, rounds: int) -> None:
    """Forward passes and gradients of a batch."""
    for name in ("resnet50", "efficientnet_lite0", "vit_small_16"):
        w = workload(name)
        arguments = w.f, w.batch(_BATCH), jnp.int32(w.target)
        programs: dict[str, Any] = {}
        for what, evaluate in _EVALUATIONS.items():
            programs[f"{what}, as written"] = jax.jit(evaluate(lambda f: f))
            programs[f"{what}, lowered"] = jax.jit(evaluate(xaijax.lower))
        timers = {n: timer(functools.partial(p, *arguments)) for n, p in programs.items()}
        base = "forward, as written"
        done = interleave(timers, rounds, control=base, title=f"lowering, {name}")
        off = jnp.abs(programs["forward, lowered"](*arguments) - programs[base](*arguments)).max()
        for what in _EVALUATIONS:
            plain = f"{what}, as written"
            writer.add(
                "measure",
                what=f"{w.name}, batch {_BATCH}: {what}, lowered",
                seconds=done.seconds[f"{what}, lowered"],
                base=plain,
                base_seconds=done.seconds[plain],
                largest_difference=float(off),
                **done.trust(),
            )


def _forward(rewrite: Any) -> Any:
    return lambda f, xs, target: jax.vmap(rewrite(f))(xs)


def _gradient(rewrite: Any) -> Any:
    """As explainers do: the model and its derivative are rewritten at once."""

    def evaluate(f: Any, xs: Array, target: Array) -> Array:
        return jax.vmap(rewrite(jax.grad(lambda x: f(x)[target])))(xs)

    return evaluate


_EVALUATIONS = {"forward": _forward, "gradient": _gradient}
