"""Many model evaluations in bounded memory: chunks, bits as masks, sums on two levels.

A chunk of samples is one `vmap`; chunks follow one another in a `scan`. All chunks have the same size, so the
model is compiled once; the last is filled up with samples whose results are dropped.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from xaijax.core import _progress
from xaijax.core._errors import check_positive

# Bytes of model input that one chunk holds by default. On a CPU a chunk should stay in the cache with all its
# activations (measured: `python -m benchmarks run scaling explainers`); an accelerator wants more to be busy.
_CHUNK_BYTES = {"cpu": 2_500_000}
_CHUNK_BYTES_ACCELERATOR = 64_000_000
# A black box plans its own work, and each call of it costs: as much at once as memory easily holds.
_CHUNK_BYTES_BLACK_BOX = 64_000_000
# An id stands for a vector inside the model, which is what fills the cache.
_BYTES_OF_AN_ID = 2048
# And so does a row of a few numbers: measured on an MLP with 8 features and hidden layers of 64.
_BYTES_OF_A_ROW = 128


def chunk_size(
    where: str, batch_size: int | None, num_samples: int, like: Any, *, black_box: bool = False
) -> int:
    """How many samples to evaluate at once.

    Args:
      where: the caller, for error messages.
      batch_size: the user's choice, or `None` for one by the size of an input and the backend.
      num_samples: how many samples there are.
      like: the input of one evaluation, or its shapes.
      black_box: whether the model is evaluated outside JAX.
    """
    chosen = batch_size is not None
    if batch_size is None:
        size = sum(map(_bytes, jax.tree.leaves(like)))
        budget = _CHUNK_BYTES.get(jax.default_backend(), _CHUNK_BYTES_ACCELERATOR)
        budget = _CHUNK_BYTES_BLACK_BOX if black_box else budget
        batch_size = max(1, budget // max(size, 1))
    check_positive(where, batch_size=batch_size)
    # Even chunks; and somewhat smaller ones, unless the user chose, where less is then computed to be dropped.
    largest = math.ceil(num_samples / math.ceil(num_samples / batch_size))
    return (
        largest
        if chosen
        else min(
            range(largest, max(largest // 2, largest - 8), -1), key=partial(_cost, num_samples)
        )
    )


def _cost(num_samples: int, chunk: int) -> float:
    """Of samples evaluated in chunks; a chunk costs about an eighth of a sample more (ResNet-50 on two cores)."""
    return math.ceil(num_samples / chunk) * (chunk + 0.125)


def _bytes(a: Any) -> int:
    """What an input weighs, or a table of rows with an input in it."""
    each = _BYTES_OF_AN_ID if jnp.issubdtype(a.dtype, jnp.signedinteger) else a.dtype.itemsize
    if a.ndim not in (1, 2):
        return math.prod(a.shape) * each
    return math.prod(a.shape[:-1]) * max(a.shape[-1] * each, _BYTES_OF_A_ROW)


def map_chunks(function: Callable[[Any], Any], xs: Any, chunk: int) -> Any:
    """`jax.vmap(function)(xs)`, `chunk` rows at a time."""
    count = jax.tree.leaves(xs)[0].shape[0]
    steps = math.ceil(count / chunk)
    over = steps * chunk - count

    def body(rows: Any) -> Any:
        out = jax.vmap(function)(rows)
        _progress.report(chunk)
        return out

    if steps == 1:
        return body(xs)
    padded = _filled(xs, over)
    rows = jax.tree.map(lambda a: a.reshape(steps, chunk, *a.shape[1:]), padded)
    out = lax.map(body, rows)
    return jax.tree.map(lambda a: a.reshape(steps * chunk, *a.shape[2:])[:count], out)


def _filled(xs: Any, over: int) -> Any:
    """The rows and some more, copies of the first: of keys too."""
    if not over:
        return xs
    return jax.tree.map(lambda a: jnp.concatenate([a, jnp.repeat(a[:1], over, 0)]), xs)


def normals(key: Key[Array, ""], shape: tuple[int, ...], dtype: Any) -> Float[Array, "*shape"]:
    """Standard normals, the same up to rounding in single and half precision."""
    drawn = jax.random.normal(key, shape, jnp.promote_types(dtype, jnp.float32))
    return drawn.astype(dtype)


def random_bits(key: Key[Array, ""], num_samples: int, num_features: int) -> Bool[Array, "n d"]:
    """Fair coins. The first rows are the same for every `num_samples`; 32 coins cost one random word."""
    words = math.ceil(num_features / 32)
    drawn = jax.random.bits(key, (num_samples, words), jnp.uint32)
    bits = (drawn[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
    return bits.reshape(num_samples, words * 32)[:, :num_features].astype(bool)


def moments(function: Callable[[Any], Any], xs: Any, chunk: int) -> Any:
    """The `Moments` of `jax.vmap(function)(xs)` over its rows, `chunk` rows at a time; one for each result."""
    count = jax.tree.leaves(xs)[0].shape[0]
    steps = math.ceil(count / chunk)
    padded = _filled(xs, steps * chunk - count)
    rows = jax.tree.map(lambda a: a.reshape(steps, chunk, *a.shape[1:]), padded)

    like = jax.eval_shape(function, jax.tree.map(lambda a: a[0, 0], rows))
    results, structure = jax.tree.flatten(like)

    def body(so_far: list[Moments], step: tuple[Array, Any]) -> tuple[list[Moments], None]:
        i, row = step
        found = jax.tree.leaves(jax.vmap(function)(row))
        _progress.report(chunk)
        counted = i * chunk + jnp.arange(chunk) < count
        pairs = zip(so_far, found, strict=True)
        return [total.merge(Moments.of(new, counted)) for total, new in pairs], None

    empty = [Moments.empty(result.shape, result.dtype) for result in results]
    total, _ = lax.scan(body, empty, (jnp.arange(steps), rows))
    return jax.tree.unflatten(structure, total)


class Moments(NamedTuple):
    """Number, mean and sum of squared deviations of some samples; of two such, `merge` makes one.

    Samples of a block are summed at once and blocks are merged: rounding grows with the number of blocks, not of
    samples (Chan, Golub & LeVeque 1983). All of it is in single precision at least: half of it cannot count to 257.
    """

    number: Float[Array, ""]
    mean: Float[Array, "*shape"]
    squares: Float[Array, "*shape"]

    @classmethod
    def of(cls, samples: Float[Array, "n *shape"], counted: Bool[Array, " n"]) -> "Moments":
        """The moments of a block of samples, of which only some count."""
        samples = samples.astype(jnp.promote_types(samples.dtype, jnp.float32))
        number = counted.sum().astype(samples.dtype)
        weight = counted.reshape(-1, *[1] * (samples.ndim - 1))
        mean = jnp.where(weight, samples, 0).sum(0) / jnp.maximum(number, 1)
        return cls(number, mean, jnp.where(weight, (samples - mean) ** 2, 0).sum(0))

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any) -> "Moments":
        """The moments of no samples of a dtype."""
        dtype = jnp.promote_types(dtype, jnp.float32)
        return cls(jnp.zeros((), dtype), jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both sets of samples together."""
        number = self.number + other.number
        share = other.number / jnp.maximum(number, 1)
        delta = other.mean - self.mean
        squares = self.squares + other.squares + delta**2 * self.number * share
        return Moments(number, self.mean + delta * share, squares)

    @property
    def standard_error(self) -> Float[Array, "*shape"]:
        """The standard error of the mean; infinite for a single sample."""
        known = self.number > 1
        variance = self.squares / jnp.where(known, self.number - 1, 1)
        return jnp.where(known, jnp.sqrt(variance / jnp.where(known, self.number, 1)), jnp.inf)
