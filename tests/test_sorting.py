"""Sorting of floats as integers: as NumPy sorts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from xaijax.core._sorting import (
    ascending,
    kth_lowest,
    kth_lowest_of_floats,
    num_below_and_up_to,
    order_keys,
)

INTEGERS = st.integers(-3, 3) | st.just(0)


@given(arrays.arrays(np.float32, 7, elements=st.floats(width=32)))
def test_any_floats_as_numpy_sorts_them(a):
    """Infinite ones, tiny ones, zeros of both signs, and what is no number."""
    found = np.asarray(ascending(jnp.asarray(a)))
    tiny = np.abs(a) < np.finfo(np.float32).tiny  # XLA rounds them to zero
    np.testing.assert_array_equal(found, np.sort(np.where(tiny, 0, a)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_every_precision_and_the_last_axis(dtype, x64, rng):
    a = jnp.asarray(rng.normal(size=(3, 4, 20)), dtype)
    found = ascending(a)
    assert found.dtype == dtype
    np.testing.assert_array_equal(
        np.asarray(found, np.float64), np.sort(np.asarray(a, np.float64), -1)
    )


# Compiled once: all examples have one shape.
searched = jax.jit(jax.vmap(num_below_and_up_to, (0, None)))
lowest = jax.jit(jax.vmap(kth_lowest, (None, 0)))


@given(arrays.arrays(np.int32, (2, 11), elements=INTEGERS))
def test_numbers_below_and_up_to_as_numpy_finds_them(a):
    """Also in a batch, where one row has more equal ones than the other."""
    keys = np.array([-4, -1, 0, 2, 3, 4, np.iinfo(np.int32).max], np.int32)
    ordered = np.sort(a, -1)
    below, up_to = searched(ordered, keys)
    for i, row in enumerate(ordered):
        np.testing.assert_array_equal(below[i], np.searchsorted(row, keys))
        np.testing.assert_array_equal(up_to[i], np.searchsorted(row, keys, "right"))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 9])
def test_numbers_below_and_up_to_of_any_length(n):
    for ordered in (np.arange(n), np.zeros(n), np.repeat([0, 2], n)[:n], np.repeat([0, 2], n)[-n:]):
        keys = np.arange(-1, n + 1)
        found = num_below_and_up_to(jnp.asarray(ordered, jnp.int32), jnp.asarray(keys))
        for side, numbers in zip(("left", "right"), found, strict=True):
            np.testing.assert_array_equal(numbers, np.searchsorted(ordered, keys, side))


WORDS = st.sampled_from([0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@given(arrays.arrays(np.uint32, 7, elements=WORDS))
def test_kth_lowest_as_numpy_sorts_them(words):
    found = lowest(words, np.arange(1, len(words) + 1))
    np.testing.assert_array_equal(found, np.sort(words))


@given(arrays.arrays(np.float32, 6, elements=st.floats(width=32)))
def test_keys_compare_as_the_numbers(a):
    a = np.where(
        np.abs(a) < np.finfo(np.float32).tiny, np.copysign(0, a), a
    )  # XLA rounds them to zero
    keys = np.asarray(jax.jit(order_keys)(jnp.asarray(a)))
    numbers = ~np.isnan(a)
    known, ordered = keys[numbers], a[numbers]
    np.testing.assert_array_equal(known[:, None] < known, ordered[:, None] < ordered)
    assert keys.max(initial=0) < np.iinfo(np.int32).max


def test_derivative_is_that_of_the_permutation(rng):
    a = jnp.asarray(rng.normal(size=9), jnp.float32)
    w = jnp.arange(9.0)
    expected = np.empty(9)
    expected[np.argsort(a)] = w
    np.testing.assert_array_equal(jax.grad(lambda a: ascending(a) @ w)(a), expected)
    many = jax.vmap(jax.grad(lambda a: ascending(a) @ w))(jnp.stack([a, -a]))
    np.testing.assert_array_equal(many[0], expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_kth_of_floats_as_numpy_sorts_them(dtype, x64, rng):
    """Also of zeros of both signs, infinite ones and what is no number."""
    a = rng.normal(size=9)
    a[:5] = 0.0, -0.0, np.inf, -np.inf, np.nan
    found = jax.vmap(kth_lowest_of_floats, (None, 0))(jnp.asarray(a, dtype), jnp.arange(1, 10))
    assert found.dtype == dtype
    expected = np.sort(np.asarray(jnp.asarray(a, dtype), np.float64))
    np.testing.assert_array_equal(np.asarray(found, np.float64), expected)
