"""Sorting, where XLA's CPU backend needs help."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, UInt

_INTEGERS, _WORDS = {4: jnp.int32, 8: jnp.int64}, {4: jnp.uint32, 8: jnp.uint64}


@jax.custom_jvp
def ascending(a: Float[Array, "*batch n"]) -> Float[Array, "*batch n"]:
    """The numbers along the last axis from the lowest to the highest; one that is not a number comes last.

    As `jnp.sort`, which on a CPU takes about five times as long: there a comparison of floats, which must put zeros of
    both signs and numbers that are none in order, is called for every pair; integers are compared by the processor.

    Examples:
      >>> ascending(jnp.array([2.0, -3.0, 0.5]))
      Array([-3. ,  0.5,  2. ], dtype=float32)
    """
    wide = jnp.promote_types(a.dtype, jnp.float32)
    ordered = _folded(lax.sort(order_keys(a)))
    return lax.bitcast_convert_type(ordered, wide).astype(a.dtype)


def order_keys(a: Float[Array, "*shape"]) -> Int[Array, "*shape"]:
    """Integers that stand in the order of the numbers, equal where these are; the highest integer is none of them."""
    wide = a.astype(jnp.promote_types(a.dtype, jnp.float32))
    # Of one zero only, and of one bit pattern that is no number, which is above all others.
    # Adding zero would do for the first, but not in a compiled program, from which it is left out.
    wide = jnp.where(jnp.isnan(wide), jnp.nan, jnp.where(wide == 0, 0.0, wide))
    return _folded(lax.bitcast_convert_type(wide, _INTEGERS[wide.dtype.itemsize]))


def num_below_and_up_to(
    ordered: Int[Array, " n"], keys: Int[Array, "*shape"]
) -> tuple[Int[Array, "*shape"], Int[Array, "*shape"]]:
    """How many of the ascending integers are below each key, and how many are below or equal to it.

    As `jnp.searchsorted` from both sides, which in a batch takes more than twice as long on a CPU.

    Examples:
      >>> num_below_and_up_to(jnp.array([2, 5, 5]), jnp.array([1, 5, 6]))
      (Array([0, 1, 3], dtype=int32), Array([0, 3, 3], dtype=int32))
    """
    n = ordered.size
    largest = n.bit_length() - 1

    def halve(i: Any, found: Array) -> Array:
        further = found + (1 << (largest - i))
        is_below = ordered[jnp.minimum(further, n) - 1] < keys
        return lax.select((further <= n) & is_below, further, found)

    below = lax.fori_loop(0, largest + 1, halve, jnp.zeros(keys.shape, jnp.int32))

    # Most keys are equal to none or to few: from there on the search is short.
    def equal(further: Array) -> Array:
        return (further <= n) & (ordered[jnp.minimum(further, n) - 1] == keys)

    rounds = lax.while_loop(lambda i: equal(below + (1 << i)).any(), lambda i: i + 1, 0)

    def halve_again(i: Any, found: Array) -> Array:
        further = found + (1 << (rounds - 1 - i))
        return lax.select(equal(further), further, found)

    return below, lax.fori_loop(0, rounds, halve_again, below)


def kth_lowest(words: UInt[Array, " n"], k: Any) -> UInt[Array, ""]:
    """The number that is k-th when they are sorted, the first for k = 1, bit by bit: without the sort.

    Examples:
      >>> kth_lowest(jnp.array([7, 3, 9, 3], jnp.uint32), 3)
      Array(7, dtype=uint32)
    """
    # Floats count to 2^24; XLA's CPU backend sums them faster than integers.
    one = jnp.ones((), jnp.float32 if words.size < 2**24 else jnp.int32)
    dtype, bits = words.dtype, 8 * words.dtype.itemsize

    def with_bit(i: Any, found: Array) -> Array:
        more = found | (jnp.asarray(1 << (bits - 1), dtype) >> i)
        below = jnp.where(words < more, one, 0).sum()
        return lax.select(below < k, more, found)

    zero = jnp.zeros((), dtype)
    return lax.fori_loop(zero, jnp.asarray(bits, dtype), with_bit, zero)


def kth_lowest_of_floats(a: Float[Array, "*shape"], k: Any) -> Float[Array, ""]:
    """The same of floats; one that is not a number is above all.

    Examples:
      >>> kth_lowest_of_floats(jnp.array([2.0, -3.0, 0.5]), 2)
      Array(0.5, dtype=float32)
    """
    wide = jnp.promote_types(a.dtype, jnp.float32)
    keys = order_keys(a.reshape(-1))
    # Its one bit, turned, makes the order of integers that of words.
    lowest = jnp.iinfo(keys.dtype).min
    words = lax.bitcast_convert_type(keys ^ lowest, _WORDS[keys.dtype.itemsize])
    found = lax.bitcast_convert_type(kth_lowest(words, k), keys.dtype) ^ lowest
    return lax.bitcast_convert_type(_folded(found), wide).astype(a.dtype)


def _folded(bits: Array) -> Array:
    """The bits of floats as integers of the same order, and back: of negative ones all but the sign are turned."""
    return jnp.where(bits < 0, bits ^ jnp.iinfo(bits.dtype).max, bits)


@ascending.defjvp
def _(primals: tuple[Any], tangents: tuple[Any]) -> tuple[Array, Array]:
    (a,), (da,) = primals, tangents
    return ascending(a), jnp.take_along_axis(da, jnp.argsort(a, -1), -1)
