"""Metrics against Quantus on the same maps, models and masks; where it differs from the papers, the difference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.parity._nets import IMAGES, NETWORKS, TARGETS, evaluated, flax_network
from xaijax import metrics

pytestmark = pytest.mark.parity

COUNT = 3
QUIET = {
    "disable_warnings": True,
    "display_progressbar": False,
    "return_aggregate": False,
    "normalise": False,
    "abs": False,
}
NETWORK = next(iter(NETWORKS))
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def quantus():
    from tests.parity._torchvision import torchvision  # noqa: F401 - makes its import work

    return pytest.importorskip("quantus")


@pytest.fixture(scope="module")
def case():
    """Images with the channels last, targets, positive maps without equal values, and masks."""
    rng = np.random.default_rng(0)
    xs = np.asarray(IMAGES[:COUNT], np.float32)
    maps = rng.exponential(size=xs.shape[:3]).astype(np.float32)
    masks = np.zeros(maps.shape, bool)
    for i, (y, x) in enumerate(rng.integers(0, maps.shape[1] // 2, (COUNT, 2))):
        masks[i, y : y + 5, x : x + 4] = True
    return xs, np.asarray(TARGETS[:COUNT]), maps, masks


def theirs(metric, case, model=None, maps=None, **rest):
    xs, targets, known, masks = case
    a = (known if maps is None else maps)[:, None]
    return metric(
        model=model,
        x_batch=np.moveaxis(xs, -1, 1).copy(),
        y_batch=targets,
        a_batch=a.copy(),
        s_batch=masks[:, None].copy(),
        device="cpu",
        **rest,
    )


def over(metric, *stacked, **settings):
    return jax.vmap(lambda *one: metric(*one, **settings))(*map(jnp.asarray, stacked))


# --- Maps alone, and masks


def test_sparseness_and_complexity(quantus, case):
    maps = case[2]
    found = theirs(quantus.Sparseness(**QUIET), case)
    np.testing.assert_allclose(over(metrics.sparseness, maps), found, atol=1e-5)
    found = theirs(quantus.Complexity(**QUIET), case)
    np.testing.assert_allclose(over(metrics.complexity, maps), found, rtol=1e-5)


def test_signed_maps_have_no_entropy_there(quantus, case):
    """Quantus divides by the sum of the magnitudes, but takes the logarithm of the values."""
    signed = case[2] - 1
    with np.errstate(invalid="ignore"):
        found = theirs(quantus.Complexity(**QUIET), case, maps=signed)
    assert np.isnan(found).all()
    assert np.isfinite(over(metrics.complexity, signed)).all()


def test_localisation(quantus, case):
    _, _, maps, masks = case
    for name, ours, peer in (
        ("pointing game", metrics.pointing_game, quantus.PointingGame(**QUIET)),
        ("mass", metrics.relevance_mass, quantus.RelevanceMassAccuracy(**QUIET)),
        ("rank", metrics.relevance_rank, quantus.RelevanceRankAccuracy(**QUIET)),
        ("auc", metrics.auc, quantus.AUC(**QUIET)),
    ):
        found = np.asarray(theirs(peer, case), float)
        np.testing.assert_allclose(over(ours, maps, masks), found, atol=1e-5, err_msg=name)
    found = theirs(quantus.TopKIntersection(k=10, **QUIET), case)
    np.testing.assert_allclose(
        over(metrics.top_k_intersection, maps, masks, k=10), found, atol=1e-6
    )


def test_flat_map_hits_there_and_is_chance_here(quantus, case):
    """Any of the tied positions counts as a hit in Quantus: a constant map always finds the object."""
    _, _, maps, masks = case
    flat = np.ones_like(maps) * np.arange(1, COUNT + 1)[:, None, None]
    assert all(theirs(quantus.PointingGame(**QUIET), case, maps=flat))
    np.testing.assert_allclose(
        over(metrics.pointing_game, flat, masks), masks.mean((1, 2)), rtol=1e-6
    )


def test_negative_values_leave_the_range_there(quantus, case):
    """Quantus sums up negative values, too: its part of the mass may be below 0 or above 1."""
    _, _, maps, masks = case
    wrong = np.where(masks, maps, -0.9 * maps.mean() * np.ones_like(maps)).astype(np.float32)
    found = np.asarray(theirs(quantus.RelevanceMassAccuracy(**QUIET), case, maps=wrong), float)
    assert ((found < 0) | (found > 1)).any()
    np.testing.assert_allclose(over(metrics.relevance_mass, wrong, masks), 1.0)


# --- With the model


@pytest.fixture(scope="module")
def models():
    """The same network in both; Quantus applies the softmax itself."""
    return xaijax.probabilities(flax_network(NETWORK, "float32")), evaluated(
        NETWORKS[NETWORK].torch
    )


def test_deletion_of_values(quantus, case, models):
    """With an attribution for each value both hide the same ones, and the scores are the same."""
    ours, net = models
    xs, targets, _, _ = case
    a = np.random.default_rng(1).exponential(size=xs.shape).astype(np.float32)
    step = 40  # Quantus wants a divisor of the pixels
    peer = quantus.PixelFlipping(features_in_step=step, perturb_baseline="black", **QUIET)
    found = np.asarray(
        peer(
            model=net,
            x_batch=np.moveaxis(xs, -1, 1).copy(),
            y_batch=targets,
            a_batch=np.moveaxis(a, -1, 1).copy(),
            device="cpu",
            softmax=True,
        )
    )
    for i in range(COUNT):
        curve = metrics.deletion_auc.details(
            ours,
            jnp.asarray(xs[i]),
            jnp.int32(targets[i]),
            jnp.asarray(a[i]),
            KEY,
            baseline=float(xs[i].min()),
            num_steps=a[0].size // step,
        )
        np.testing.assert_allclose(curve.scores[1:], found[i], atol=2e-5)


def test_completeness_is_a_number(quantus, case, models):
    """Quantus asks two floats to be equal: integrated gradients, complete to 1e-4, are not."""
    ours, net = models
    xs, targets, _, _ = case
    explain = xaijax.bind(xaijax.integrated_gradients, ours, num_steps=64)
    a = jax.vmap(explain)(jnp.asarray(xs), jnp.asarray(targets, jnp.int32))
    gap = jax.vmap(lambda x, t, a: metrics.completeness(ours, x, t, a))(
        jnp.asarray(xs), jnp.asarray(targets, jnp.int32), a
    )
    assert (np.asarray(gap) < 1e-3).all()
    peer = quantus.Completeness(perturb_baseline=0.0, **{**QUIET})
    found = peer(
        model=net,
        x_batch=np.moveaxis(xs, -1, 1).copy(),
        y_batch=targets,
        a_batch=np.moveaxis(np.asarray(a), -1, 1).copy(),
        device="cpu",
        softmax=True,
    )
    assert not any(found)


def test_scores_there_depend_on_the_batch_by_default(quantus, case):
    """Normalised by the largest value of all maps: another example changes an effective complexity."""
    maps = case[2]
    settings = {**QUIET, "normalise": True}
    peer = quantus.EffectiveComplexity(eps=0.05, **settings)
    beside = maps.copy()
    beside[1] *= 100
    alone, changed = (np.asarray(theirs(peer, case, maps=m))[0] for m in (maps, beside))
    assert alone != changed
