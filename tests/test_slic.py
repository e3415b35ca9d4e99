"""SLIC superpixels in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.oracles import slic as oracle
from xaijax.core._slic import _lab

IMAGES = np.random.default_rng(0).uniform(size=(2, 12, 18, 3)).astype(np.float32)


@pytest.mark.parametrize("m", [10.0, 60.0])
def test_slic_is_that_of_the_oracle(m):
    """6 segments of 12 x 18 pixels: 2 x 3 cells of 6 x 6, and so S = 6."""
    found = xaijax.slic(IMAGES[0], num_segments=6, compactness=m, num_iterations=4)
    expected = oracle.slic(np.asarray(_lab(jnp.asarray(IMAGES[0])), np.float64), 2, 3, 6, m, 4)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == jnp.int32


def test_slic_of_a_batch():
    """Each image is cut as if it were alone."""
    found = jax.jit(jax.vmap(lambda image: xaijax.slic(image, num_segments=6)))(IMAGES)
    for labels, image in zip(found, IMAGES, strict=True):
        np.testing.assert_array_equal(labels, xaijax.slic(image, num_segments=6))


def test_very_compact_segments_are_the_grid():
    found = xaijax.slic(IMAGES[0], num_segments=6, compactness=1e4)
    np.testing.assert_array_equal(found, xaijax.superpixels(IMAGES[0], "grid", rows=2, columns=3))


def test_colours_are_cielab():
    """White, black, red, and grey of 119 bytes: tables of sRGB colours."""
    rgb = jnp.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [119, 119, 119]]], jnp.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [50.03, 0, 0]]
    np.testing.assert_allclose(_lab(rgb)[0], expected, atol=0.02)
    np.testing.assert_allclose(_lab(rgb / 255.0), _lab(rgb), atol=1e-4)
