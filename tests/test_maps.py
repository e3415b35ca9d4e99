"""Resizing and normalising a map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xaijax
from tests.oracles.resize import bilinear
from xaijax import normalize

resize = jax.jit(xaijax.resize, static_argnums=1, static_argnames=("method", "align_corners"))

SIZES = [
    ((7, 7), (20, 33)),
    ((1, 1), (4, 5)),
    ((1, 6), (3, 12)),
    ((9, 8), (4, 3)),
    ((5, 5), (1, 1)),
]


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("old", "new"), SIZES)
def test_bilinear(old, new, align_corners, rng):
    a = rng.normal(size=old).astype(np.float32)
    expected = bilinear(a, new, align_corners)
    np.testing.assert_allclose(
        resize(a, new, align_corners=align_corners), expected, atol=1e-5 * np.abs(a).max()
    )


def test_channels_are_resized_alike(rng):
    a = rng.normal(size=(3, 4, 2)).astype(np.float32)
    out = resize(a, (6, 7))
    for k in range(2):
        np.testing.assert_allclose(out[..., k], resize(a[..., k], (6, 7)), rtol=1e-6)


def test_nearest():
    expected = [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    np.testing.assert_array_equal(
        resize(jnp.array([[1.0, 2.0], [3.0, 4.0]]), (4, 4), method="nearest"), expected
    )


def test_same_size_is_the_same_map(rng):
    a = rng.normal(size=(5, 4)).astype(np.float32)
    for align_corners in (False, True):
        np.testing.assert_allclose(resize(a, (5, 4), align_corners=align_corners), a, atol=1e-6)


def test_corners(rng):
    a = rng.normal(size=(4, 3)).astype(np.float32)
    out = resize(a, (9, 8), align_corners=True)
    np.testing.assert_allclose(out[::8, ::7], a[::3, ::2], rtol=1e-5)


floats = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (3, 4), elements=floats))
def test_normalized_from_zero_to_one(a):
    out = np.asarray(normalize(a))
    if a.max() - a.min() < np.finfo(np.float32).tiny:
        np.testing.assert_array_equal(out, np.zeros((3, 4)))
    else:
        assert out.min() == 0
        assert abs(out.max() - 1) <= np.finfo(np.float32).eps
        # The order of the pixels is kept, up to those that rounding makes equal.
        assert (np.diff(out.ravel()[np.argsort(a, axis=None)]) >= 0).all()


def test_normalize_keeps_a_derivative_where_it_is_flat():
    assert np.isfinite(jax.grad(lambda a: normalize(a)[0])(jnp.ones(3))).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_is_kept(dtype):
    a = jnp.arange(6, dtype=dtype).reshape(2, 3)
    assert normalize(a).dtype == dtype
    for align_corners in (False, True):
        assert resize(a, (4, 4), align_corners=align_corners).dtype == dtype
