"""What the machine can do at most, in the same rounds: matrix products, convolutions and a stream through memory."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks._timing import Timer, timer

_ON_CPU = {"side": 1536, "images": 8, "stream": 2**26}
_ON_GPU = {"side": 8192, "images": 128, "stream": 2**30}
_CHANNELS, _PIXELS = 128, 28


def _sizes() -> dict[str, int]:
    return _ON_CPU if jax.default_backend() == "cpu" else _ON_GPU


def work() -> dict[str, float]:
    """Floating-point operations of `gemm` and `conv`, bytes of `stream`."""
    n = _sizes()
    conv = 2 * n["images"] * _PIXELS**2 * _CHANNELS**2 * 9
    # Read and written, four bytes each.
    return {"gemm": 2.0 * n["side"] ** 3, "conv": float(conv), "stream": 2.0 * n["stream"]}


@functools.cache
def timers() -> dict[str, Timer]:
    """Their timers, for arrays of single precision."""
    n, key = _sizes(), jax.random.key(0)
    a = jax.random.normal(key, (n["side"], n["side"]))
    x = jax.random.normal(key, (n["images"], _PIXELS, _PIXELS, _CHANNELS))
    w = jax.random.normal(key, (3, 3, _CHANNELS, _CHANNELS))
    held = [jax.random.normal(key, (n["stream"] // 4,))]
    product = jax.jit(jnp.matmul)
    convolve = jax.jit(
        lambda x, w: jax.lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )
    # Into the same memory: a new array of this size costs ten times as much on a CPU, for its pages.
    add = jax.jit(lambda a: a + 1, donate_argnums=0)

    def stream() -> Any:
        held[0] = add(held[0])
        return held[0]

    return {
        "gemm": timer(lambda: product(a, a)),
        "conv": timer(lambda: convolve(x, w)),
        "stream": timer(stream),
    }


def rates(seconds: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Operations or bytes a second, round by round."""
    return {name: [amount / s for s in seconds[name]] for name, amount in work().items()}
