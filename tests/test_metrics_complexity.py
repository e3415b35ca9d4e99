"""Metrics of a map alone, against sums written out, closed forms and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.oracles import maps as oracle
from xaijax import metrics

SHAPE = (5, 6)
FORMULAS = {
    "complexity": (metrics.complexity, {}, oracle.entropy),
    "sparseness": (metrics.sparseness, {}, oracle.gini),
    "active_features": (
        metrics.active_features,
        {"threshold": 0.3},
        lambda a: oracle.active(a, 0.3),
    ),
    "total_variation": (metrics.total_variation, {}, oracle.variation),
    "high_frequency_share": (
        metrics.high_frequency_share,
        {"cutoff": 0.6},
        lambda a: oracle.high_frequencies(a, 0.6),
    ),
}
each = pytest.mark.parametrize("name", FORMULAS)
some_maps = hnp.arrays(
    np.float32, SHAPE, elements=st.floats(-4, 4, width=16).filter(lambda v: v == 0 or abs(v) > 1e-3)
)


@each
def test_as_the_sums_written_out(name, x64, rng):
    metric, knobs, formula = FORMULAS[name]
    for a in (rng.normal(size=SHAPE), np.maximum(rng.normal(size=SHAPE), 0)):  # signed; with zeros
        np.testing.assert_allclose(metric(jnp.asarray(a), **knobs), formula(a), rtol=1e-10)


@each
def test_maps_without_values_have_no_number(name):
    assert np.isnan(FORMULAS[name][0](jnp.zeros(SHAPE)))


@given(a=some_maps)
@settings(max_examples=25)
def test_ranges(a):
    """What no map can leave, but for rounding; a map of zeros has no number."""
    d = a.size
    found = {name: float(metric(jnp.asarray(a))) for name, (metric, _, _) in FORMULAS.items()}
    if not a.any():
        assert all(map(np.isnan, found.values()))
        return
    tolerance = 1e-5
    assert -tolerance <= found["complexity"] <= np.log(d) + tolerance
    assert -tolerance <= found["sparseness"] <= 1 - 1 / d + tolerance
    assert 1 <= found["active_features"] <= d
    assert 0 <= found["total_variation"] <= 4 + tolerance
    assert -tolerance <= found["high_frequency_share"] <= 1 + tolerance
    # The entropy is highest where all active features are equal.
    assert found["complexity"] <= np.log(found["active_features"]) + 1e-3


def test_flat_and_single():
    flat, single = jnp.full((4, 4), -2.0), jnp.zeros((4, 4)).at[1, 2].set(-2.0)
    np.testing.assert_allclose(metrics.complexity(flat), np.log(16), rtol=1e-6)
    assert metrics.complexity(single) == 0
    assert metrics.sparseness(flat) == 0
    assert metrics.sparseness(single) == 15 / 16
    assert metrics.active_features(flat) == 16
    assert metrics.active_features(single) == 1
    assert metrics.total_variation(flat) == 0
    assert metrics.total_variation(single) == 4  # four neighbours
    assert metrics.high_frequency_share(flat) == 0


def test_spreading_the_attribution_is_seen_by_all_of_them():
    """From one feature over some to all."""
    rows = [jnp.zeros(8).at[:k].set(1.0) for k in range(1, 9)]
    entropies = [float(metrics.complexity(a)) for a in rows]
    np.testing.assert_allclose(entropies, np.log(np.arange(1, 9)), atol=1e-6)
    np.testing.assert_allclose(
        [metrics.sparseness(a) for a in rows], 1 - np.arange(1, 9) / 8, atol=1e-6
    )
    assert [int(metrics.active_features(a)) for a in rows] == list(range(1, 9))


@pytest.mark.parametrize("name", ["complexity", "sparseness", "active_features"])
def test_no_order_of_the_features_counts(name, rng):
    metric = FORMULAS[name][0]
    a = rng.normal(size=24).astype(np.float32)
    np.testing.assert_allclose(
        metric(jnp.asarray(rng.permutation(a)).reshape(4, 6)), metric(jnp.asarray(a)), rtol=1e-5
    )


def test_a_derivative_at_features_without_attribution():
    """The entropy's is finite where zeros are left out of the sum."""
    assert np.isfinite(jax.grad(metrics.complexity)(jnp.array([0.0, 1.0, 2.0]))).all()


def test_chessboard_and_waves():
    y, x = np.mgrid[:8, :8]
    board = jnp.asarray(1.0 - 2.0 * ((y + x) % 2))
    assert metrics.total_variation(board) == 2 * 2 * 7 * 8 / 64
    np.testing.assert_allclose(metrics.high_frequency_share(board), 1.0, rtol=1e-6)
    for cycles, high in (
        (1, 0.0),
        (2, 0.0),
        (3, 1.0),
        (4, 1.0),
    ):  # of 4, Nyquist's; 2 is the cutoff
        wave = jnp.asarray(np.cos(2 * np.pi * cycles * x / 8))
        np.testing.assert_allclose(metrics.high_frequency_share(wave), high, atol=1e-6)
        both = 1 + wave
        share = high * (2 if cycles == 4 else 1) / (2 + (2 if cycles == 4 else 1))
        np.testing.assert_allclose(metrics.high_frequency_share(both), share, atol=1e-6)


def test_smoothing_a_map_lowers_both_indices_of_noise(rng):
    from xaijax import blur

    a = jnp.asarray(rng.normal(size=(16, 16)) + 1, jnp.float32)
    for metric in (metrics.total_variation, metrics.high_frequency_share):
        values = [float(metric(blur(a, sigma))) for sigma in (0.0, 1.0, 2.0)]
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.3 * values[0]


def test_channels_of_a_map_count_together(rng):
    a = rng.normal(size=(5, 6, 3)).astype(np.float32)
    weights = np.abs(a).sum((0, 1))
    channels = [oracle.variation(a[..., c]) for c in range(3)]
    np.testing.assert_allclose(
        metrics.total_variation(jnp.asarray(a)), np.average(channels, weights=weights), rtol=1e-5
    )
    energies = (a**2).sum((0, 1))
    shares = [oracle.high_frequencies(a[..., c], 0.5) for c in range(3)]
    np.testing.assert_allclose(
        metrics.high_frequency_share(jnp.asarray(a)),
        np.average(shares, weights=energies),
        rtol=1e-5,
    )


@pytest.mark.parametrize("name", ["total_variation", "high_frequency_share"])
def test_what_is_no_image_map_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}: attribution must be an image map.*\(4,\)"):
        FORMULAS[name][0](jnp.ones(4))
