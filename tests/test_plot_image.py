"""Signed pictures: which colour stands on which pixel."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from tests.test_plot import check_layout
from xaijax import plot, resize
from xaijax.plot._features import NEGATIVE, POSITIVE

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(size=(12, 16, 3))
SEGMENTS = np.arange(12 * 16).reshape(12, 16) // 64  # three bands of four rows


def expected(a, top, alpha=0.85):
    """Paper, darkened by the photo, under one of two inks."""
    grey = 0.35 + 0.65 * IMAGE.mean(-1)[..., None]
    ink = np.where(a[..., None] < 0, to_rgb(NEGATIVE), to_rgb(POSITIVE))
    opacity = alpha * np.abs(a[..., None]) / top
    return opacity * ink + (1 - opacity) * grey


def test_segments_have_the_colours_of_their_values():
    ax = plot.image(np.array([1.0, -2.0, 0.0]), IMAGE, SEGMENTS, title="LIME", unit="logit")
    a = np.repeat([1.0, -2.0, 0.0], 4)[:, None] * np.ones(16)
    np.testing.assert_allclose(ax.images[0].get_array(), expected(a, 2), atol=1e-6)
    assert ax.images[0].get_clim() == (-2, 2)
    borders = np.array(ax.collections[0].get_segments())
    assert len(borders) == 2 * 16
    assert set(borders[:, :, 1].ravel()) == {3.5, 7.5}
    assert ax.figure.axes[1].get_ylabel() == "attribution (logit)"
    check_layout(ax.figure)


def test_maps_are_resized_and_even_around_zero():
    a = -RNG.uniform(size=(3, 4))
    ax = plot.image(a, IMAGE, alpha=0.5)
    values = np.asarray(resize(a, (12, 16)))
    shown = ax.images[0].get_array()
    np.testing.assert_allclose(shown, expected(values, np.abs(a).max(), 0.5), atol=1e-6)
    assert ax.images[0].get_clim() == (a.min(), -a.min())
    check_layout(ax.figure)


def test_the_bar_goes_from_one_ink_over_white_to_the_other():
    ax = plot.image(np.array([1.0, -2.0, 0.0]), IMAGE, SEGMENTS)
    solids = ax.figure.axes[1].collections[-1]
    low, middle, high = solids.cmap(solids.norm([-2.0, 0.0, 2.0]))[:, :3]
    for end, ink in ((low, NEGATIVE), (high, POSITIVE)):
        np.testing.assert_allclose(end, 0.85 * np.array(to_rgb(ink)) + 0.15, atol=1e-6)
    np.testing.assert_allclose(middle, 1, atol=0.01)


def test_one_segment_is_one_colour_and_nothing_is_said_to_be_flat():
    one = plot.image([3.0], IMAGE, np.zeros((12, 16), int))
    np.testing.assert_allclose(
        one.images[0].get_array(), expected(np.full((12, 16), 3.0), 3), atol=1e-6
    )
    nothing = plot.image(np.zeros((2, 2)), IMAGE)
    assert [text.get_text() for text in nothing.texts] == ["flat (0)"]
    assert len(nothing.figure.axes) == 1


@pytest.mark.parametrize(
    ("draw", "error", "match"),
    [
        (
            lambda: plot.image(np.ones(3), IMAGE),
            ValueError,
            "attribution must be a map .* Pass segm",
        ),
        (
            lambda: plot.image(np.ones((2, 2, 3)), IMAGE),
            ValueError,
            "image: attribution must be a map",
        ),
        (
            lambda: plot.image(np.full((2, 2), np.nan), IMAGE),
            ValueError,
            "attribution must be finite",
        ),
        (
            lambda: plot.image(np.ones(2), IMAGE, SEGMENTS),
            ValueError,
            r"in \[0, 2\), .* got 0 to 2",
        ),
        (
            lambda: plot.image(np.ones(3), IMAGE, SEGMENTS[1:]),
            ValueError,
            r"segments .* \(12, 16\)",
        ),
        (
            lambda: plot.image(np.ones(3), IMAGE, SEGMENTS / 2),
            TypeError,
            "segments must be integers",
        ),
        (
            lambda: plot.image(np.ones((2, 2)), IMAGE - 1),
            ValueError,
            "image must be uint8, or floats",
        ),
        (lambda: plot.image(np.ones((2, 2)), IMAGE, alpha=2), ValueError, "alpha must be above 0"),
    ],
)
def test_errors(draw, error, match):
    with pytest.raises(error, match=match):
        draw()
