"""Chunks, random bits, and sums on two levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from xaijax.core._sampling import Moments, chunk_size, map_chunks, random_bits


def like(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


# --- Chunks

on_a_cpu = pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is no cache to fit")


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_chunks_are_even(batch_size, num_samples):
    """No larger than asked, no more of them than needed, and fewer fillers than chunks."""
    chunk = chunk_size("test", batch_size, num_samples, like())
    count = -(-num_samples // chunk)
    assert 1 <= chunk <= batch_size
    assert count == -(-num_samples // batch_size)
    assert chunk * count - num_samples < count


@on_a_cpu
def test_default_chunks_are_smaller_where_less_is_dropped():
    """Four pixel images fit the cache: six chunks of three for 17, not five of four."""
    assert chunk_size("test", None, 16, like(224, 224, 3)) == 4
    assert chunk_size("test", None, 17, like(224, 224, 3)) == 3
    assert chunk_size("test", 4, 17, like(224, 224, 3)) == 4


def test_default_chunk_is_smaller_for_a_larger_input():
    sizes = [chunk_size("test", None, 10**6, like(n, n, 3)) for n in (32, 224, 4096)]
    assert sizes[0] > sizes[1] >= sizes[2] >= 1
    assert chunk_size("test", None, 50, like(32, 32, 3)) == 50


@on_a_cpu
def test_ids_count_as_the_vectors_that_they_stand_for():
    ids, pixels = jax.ShapeDtypeStruct((64,), jnp.int32), jax.ShapeDtypeStruct((64,), jnp.uint8)
    sizes = [chunk_size("test", None, 10**6, x) for x in (ids, like(64), pixels)]
    assert 2 < sizes[0] < sizes[1] / 100
    assert sizes[1] < sizes[2]


@on_a_cpu
def test_rows_of_a_few_numbers_count_as_what_a_model_makes_of_them():
    """Alone, and in a table; not so the channels of a pixel."""
    row, wider, table, image = (
        chunk_size("test", None, 10**6, like(*shape))
        for shape in ((8,), (64,), (10, 8), (16, 16, 1))
    )
    assert row == chunk_size("test", None, 10**6, like(32))
    assert row / 2.1 < wider < row / 1.9
    assert row / 11 < table < row / 9
    assert image > table


@on_a_cpu
@pytest.mark.parametrize("around", [lambda f: f, xaijax.probabilities])
def test_a_black_box_is_asked_for_all_its_rows_at_once(around, key):
    """Each call of it costs; the model of a chunk that fits a cache would be called again and again."""
    calls = []

    def predict(rows):
        calls.append(len(rows))
        return np.stack([rows.sum(1), rows[:, 0]], 1)

    f = around(xaijax.black_box(predict, 2))
    mask, rows = xaijax.columns(np.zeros((100, 30))), 100 * (2 + 10 * 2 * 29)
    xaijax.permutation_shap(f, jnp.ones(30), 1, key, mask=mask).block_until_ready()
    assert calls == [rows]
    assert chunk_size("test", None, rows, like(30)) < rows


@pytest.mark.parametrize("chunk", [1, 3, 4, 12])
def test_map_in_chunks(chunk, rng):
    xs = {"a": jnp.asarray(rng.normal(size=(11, 3))), "b": jnp.arange(11)}
    out = map_chunks(lambda x: (x["a"].sum() * x["b"], x["a"] + 1), xs, min(chunk, 11))
    np.testing.assert_allclose(out[0], np.sum(xs["a"], axis=1) * np.arange(11), rtol=1e-5)
    np.testing.assert_allclose(out[1], xs["a"] + 1)


# --- Random bits


@pytest.mark.parametrize("num_features", [1, 31, 32, 33, 64])
def test_more_samples_begin_with_the_same(num_features, key):
    few, many = random_bits(key, 7, num_features), random_bits(key, 100, num_features)
    assert few.shape == (7, num_features)
    np.testing.assert_array_equal(few, many[:7])


def test_more_features_in_a_word_begin_with_the_same(key):
    np.testing.assert_array_equal(random_bits(key, 50, 5), random_bits(key, 50, 32)[:, :5])


def test_bits_are_fair(key):
    """Every bit of a word, and every pair of neighbours, within five standard errors."""
    bits = np.asarray(random_bits(key, 10_000, 96), float)
    np.testing.assert_allclose(bits.mean(0), 0.5, atol=5 * 0.5 / 100)
    both = (bits[:, 1:] * bits[:, :-1]).mean(0)
    np.testing.assert_allclose(both, 0.25, atol=5 * np.sqrt(0.25 * 0.75) / 100)


# --- Moments


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 20), min_size=1, max_size=5))
def test_moments_of_blocks(seed, sizes):
    rng = np.random.default_rng(seed)
    blocks = [rng.normal(3, 2, size=(n, 2)).astype(np.float32) for n in sizes]
    total = Moments.empty((2,), jnp.float32)
    for block in blocks:
        total = total.merge(Moments.of(block, np.ones(len(block), bool)))
    samples = np.concatenate(blocks).astype(np.float64)
    n = len(samples)
    assert total.number == n
    np.testing.assert_allclose(total.mean, samples.mean(0), rtol=1e-4, atol=1e-5)
    squares = ((samples - samples.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(total.squares, squares, rtol=1e-4, atol=1e-5)
    error = np.sqrt(squares / max(n - 1, 1) / n) if n > 1 else np.full(2, np.inf)
    np.testing.assert_allclose(total.standard_error, error, rtol=1e-4, atol=1e-6)


def test_samples_that_do_not_count():
    samples = jnp.array([[1.0], [100.0], [3.0]])
    total = Moments.of(samples, jnp.array([True, False, True]))
    assert (total.number, total.mean[0], total.squares[0]) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("first", [True, False])
def test_block_of_which_nothing_counts(first):
    """It changes nothing, and gives no NaN."""
    some = Moments.of(jnp.array([[1.0], [3.0]]), jnp.ones(2, bool))
    none = Moments.of(jnp.array([[5.0], [7.0]]), jnp.zeros(2, bool))
    total = none.merge(some) if first else some.merge(none)
    assert (total.number, total.mean[0], total.squares[0]) == (2.0, 2.0, 2.0)


def test_many_samples_of_low_precision_are_counted():
    """In bfloat16 256 + 1 is 256."""
    one = Moments.of(jnp.ones((1, 1), jnp.bfloat16), jnp.ones(1, bool))
    total = Moments.empty((1,), jnp.bfloat16)
    for _ in range(300):
        total = total.merge(one)
    assert total.number == 300


def test_variance_survives_a_large_mean():
    """A sum of squares would lose it in float32: the mean is 1e4 standard deviations."""
    samples = np.random.default_rng(0).normal(1e4, 1.0, size=(4096, 1)).astype(np.float32)
    total = Moments.empty((1,), jnp.float32)
    for block in samples.reshape(64, 64, 1):
        total = total.merge(Moments.of(block, np.ones(64, bool)))
    expected = samples.astype(np.float64).std(ddof=1) / 64
    np.testing.assert_allclose(total.standard_error[0], expected, rtol=1e-3)
