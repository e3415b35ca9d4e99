"""The experiment on shortcuts in radiographs: what has a closed form."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.claims import medical_shortcut


def test_area_is_how_often_the_second_is_higher():
    honest, shortcut = np.array([1.0, 2.0, np.nan]), np.array([2.0, 3.0, 0.0])
    # Of six pairs three are higher and one is a tie.
    assert medical_shortcut.auc(honest, shortcut) == pytest.approx(3.5 / 6)


@pytest.mark.parametrize("area", [0.0, 0.5, 0.9, 1.0])
def test_interval_ends_where_the_area_is_z_standard_errors_away(area):
    m, n, z = 10, 14, 1.959964
    low, high = medical_shortcut.auc_interval(area, m, n)
    assert (low == 0) == (area == 0)
    assert (high == 1) == (area == 1)
    for end in {low, high} - {0, 1}:
        more = (m + n) / 2 - 1
        q1, q2 = end / (2 - end), 2 * end**2 / (1 + end)  # Hanley & McNeil's
        variance = (end * (1 - end) + more * (q1 - end**2) + more * (q2 - end**2)) / (m * n)
        assert abs(area - end) == pytest.approx(z * np.sqrt(variance), rel=1e-4)
        assert (end < area) == (end == low)


def test_interval_has_the_true_area_in_it_as_often_as_it_says():
    from scipy import stats

    rng, found = np.random.default_rng(0), []
    true = stats.norm.cdf(1 / np.sqrt(2))  # of normal numbers that are one deviation apart
    for honest, shortcut in zip(
        rng.normal(size=(500, 10)), rng.normal(1, size=(500, 10)), strict=True
    ):
        area = medical_shortcut.auc(honest, shortcut)
        low, high = medical_shortcut.auc_interval(area, 10, 10)
        found.append(low < true < high)
    assert 0.92 < np.mean(found) < 0.99


def test_audits_of_maps_whose_mass_is_known():
    lesions = np.zeros((2, 32, 32), bool)
    lesions[:, 16:20, 16:20] = True
    maps = np.zeros((2, 32, 32), np.float32)
    maps[0, 2, 2], maps[0, 17, 17], maps[0, 30, 30] = 1, 2, 1  # with the marker
    maps[1, 17, 17], maps[1, 0, 0] = 1, -5  # without
    found = medical_shortcut.audits(jnp.asarray(maps), jnp.asarray(lesions))
    expected = {"marker known": [0.25], "marker shown": [0.5], "marker absent": [0.0]}
    assert {name: np.asarray(values).tolist() for name, values in found.items()} == expected


def test_images_differ_in_the_marker_alone():
    marked, clean = (medical_shortcut.explained(6, c) for c in (1.0, 0.0))
    assert len(marked.images) == 6
    assert np.asarray(marked.labels).all()
    np.testing.assert_array_equal(marked.masks, clean.masks)
    assert not np.asarray(clean.markers).any()
    different = np.asarray(marked.images != clean.images)[..., 0]
    np.testing.assert_array_equal(different, np.asarray(marked.markers))
    corner = np.zeros((32, 32), bool)
    corner[: medical_shortcut.CORNER, : medical_shortcut.CORNER] = True
    assert (np.asarray(marked.markers) <= corner).all()
