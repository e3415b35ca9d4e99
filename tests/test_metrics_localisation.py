"""Metrics of localisation: against loops, scikit-learn, closed forms and their edge cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import xaijax
from tests.cases import FIRST, cnn, image
from tests.oracles import localisation as oracle
from xaijax import metrics

SHAPE, SMALL = (4, 6), (3, 4)
PARTS = (
    metrics.energy_pointing_game,
    metrics.relevance_mass,
    metrics.relevance_rank,
    metrics.grid_pointing_game,
)
ORACLES = {
    metrics.pointing_game: oracle.pointing_game,
    metrics.energy_pointing_game: oracle.positive_mass,
    metrics.relevance_mass: oracle.positive_mass,
    metrics.grid_pointing_game: oracle.positive_mass,
    metrics.relevance_rank: oracle.relevance_rank,
    metrics.auc: oracle.auc,
}
each = pytest.mark.parametrize("metric", ORACLES, ids=lambda metric: metric.__name__)

# Few different values: ties, zeros and negative ones in every example.
maps = st.lists(st.integers(-2, 3), min_size=12, max_size=12).map(
    lambda values: np.reshape(values, SMALL).astype(float)
)
masks = st.lists(st.booleans(), min_size=12, max_size=12).map(lambda on: np.reshape(on, SMALL))


def in_x64(metric, a, s, **settings):
    return float(metric(jnp.asarray(a, jnp.float64), jnp.asarray(s), **settings))


# --- Against loops


@pytest.fixture(scope="module")
def double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@each
@given(a=maps, s=masks)
@settings(max_examples=25)
def test_as_a_loop_over_positions(metric, double, a, s):
    np.testing.assert_allclose(in_x64(metric, a, s), ORACLES[metric](a, s), rtol=1e-10)


@given(a=maps, s=masks)
@settings(max_examples=25)
def test_settings_as_a_loop_over_positions(double, a, s):
    for tolerance in (1, 2, 3):
        np.testing.assert_allclose(
            in_x64(metrics.pointing_game, a, s, tolerance=tolerance),
            oracle.pointing_game(a, s, tolerance),
        )
    for k in (1, 5, 12):
        np.testing.assert_allclose(
            in_x64(metrics.top_k_intersection, a, s, k=k),
            oracle.top_hits(a, s, k) if s.any() else np.nan,
            rtol=1e-10,
        )
    for threshold in (0.15, 0.7):
        np.testing.assert_allclose(
            in_x64(metrics.iou, a, s, threshold=threshold), oracle.iou(a, s, threshold), rtol=1e-10
        )


def test_without_ties_as_a_loop_over_positions(rng, x64):
    a, s = rng.normal(size=(9, 11)), rng.random((9, 11)) < 0.3
    for metric, expected in ORACLES.items():
        np.testing.assert_allclose(in_x64(metric, a, s), expected(a, s), rtol=1e-10)
    found = in_x64(metrics.top_k_intersection, a, s, k=20)
    np.testing.assert_allclose(found, oracle.top_hits(a, s, 20), rtol=1e-10)


def test_the_area_under_the_curve_is_that_of_scikit_learn(rng):
    """Also where single precision could not count the pairs: one pixel beside the object of 224 x 224."""
    a = rng.integers(0, 50, (224, 224)).astype(np.float32)
    for s in (rng.random(a.shape) < 0.2, np.arange(a.size).reshape(a.shape) > 0):
        np.testing.assert_allclose(
            metrics.auc(a, s), roc_auc_score(s.ravel(), a.ravel()), rtol=1e-5
        )


@pytest.mark.parametrize("tolerance", [1, 5, 15])
def test_near_is_within_the_distance(tolerance, rng):
    """Every pixel of the image as the highest, against the distance to each pixel of the object."""
    s = rng.random((13, 17)) < 0.02
    assert s.any()
    each_pixel = jnp.eye(s.size).reshape(-1, *s.shape)
    hits = jax.vmap(lambda a: metrics.pointing_game(a, s, tolerance=tolerance))(each_pixel)
    expected = [oracle.pointing_game(a, s, tolerance) for a in np.asarray(each_pixel)]
    np.testing.assert_array_equal(hits, expected)
    assert np.mean(expected) > 0
    assert tolerance == 15 or np.mean(expected) < 1


# --- Closed forms


@each
def test_the_mask_itself_is_the_best_map(metric):
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    assert metric(s.astype(jnp.float32), s) == 1
    assert metric(1.0 - s, s) == 0


@each
def test_a_flat_map_gets_what_chance_does(metric):
    """The part of the image that the object covers; of the area under a curve a half."""
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    expected = 0.5 if metric is metrics.auc else 6 / 24
    np.testing.assert_allclose(metric(jnp.full(SHAPE, 0.3), s), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", PARTS, ids=lambda metric: metric.__name__)
def test_lift_over_the_area(metric):
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    flat = metric.details(jnp.full(SHAPE, 0.3), s)
    best = metric.details(s.astype(jnp.float32), s)
    np.testing.assert_allclose([flat.area, flat.lift], [0.25, 1], rtol=1e-6)
    np.testing.assert_allclose([best.part, best.area, best.lift], [1, 0.25, 4], rtol=1e-6)


def test_other_settings_in_closed_form():
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    best, flat = s.astype(jnp.float32), jnp.full(SHAPE, 0.3)
    np.testing.assert_allclose(metrics.top_k_intersection(best, s, k=3), 1)
    np.testing.assert_allclose(metrics.top_k_intersection(best, s, k=24), 0.25)
    np.testing.assert_allclose(metrics.top_k_intersection(best, s, k=12), 0.5)
    np.testing.assert_allclose(metrics.top_k_intersection.details(flat, s, k=12).lift, 1)
    np.testing.assert_allclose(metrics.iou(best, s), 1)
    np.testing.assert_allclose(metrics.iou(flat, s), 0.25)


def test_negative_values_count_as_nothing():
    """Without that the share of this map would be 3 / 2."""
    s = jnp.array([True, False, False])
    assert metrics.energy_pointing_game(jnp.array([3.0, 0.0, -1.0]), s) == 1


def test_boxes_that_are_not_square_are_not_transposed():
    a = jnp.zeros((4, 6)).at[0, 5].set(1.0)
    assert metrics.energy_pointing_game(a, metrics.box_mask((0, 4, 2, 6), (4, 6))) == 1
    assert metrics.energy_pointing_game(a, metrics.box_mask((2, 0, 4, 2), (4, 6))) == 0


# --- Masks of nothing and of everything, maps of nothing


def test_empty_and_full_masks(rng):
    a = jnp.asarray(rng.normal(size=SHAPE), jnp.float32)
    empty, full = jnp.zeros(SHAPE, bool), jnp.ones(SHAPE, bool)
    for metric in ORACLES:
        assert np.isnan(metric(a, empty))
        expected = np.nan if metric is metrics.auc else 1
        np.testing.assert_allclose(metric(a, full), expected, rtol=1e-6)
    assert np.isnan(metrics.iou(a, empty))
    assert np.isnan(metrics.top_k_intersection(a, empty, k=3))
    assert metrics.top_k_intersection(a, full, k=3) == 1
    np.testing.assert_allclose(metrics.iou(a, full), (a >= 0.15 * a.max()).mean())
    assert np.isnan(metrics.energy_pointing_game.details(a, empty).lift)


def test_maps_without_a_positive_value(rng):
    """There is no share of nothing; ranks there are."""
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    for a in (jnp.zeros(SHAPE), -1.0 - jnp.asarray(rng.random(SHAPE), jnp.float32)):
        for metric in (
            metrics.energy_pointing_game,
            metrics.relevance_mass,
            metrics.grid_pointing_game,
            metrics.iou,
        ):
            assert np.isnan(metric(a, s))
        for metric in (metrics.relevance_rank, metrics.auc, metrics.pointing_game):
            assert np.isfinite(metric(a, s))


def test_sums_do_not_overflow():
    s = metrics.box_mask((1, 2, 3, 5), SHAPE)
    for size in (3e38, 2e-38):
        np.testing.assert_allclose(
            metrics.relevance_mass(jnp.full(SHAPE, size), s), 0.25, rtol=1e-5
        )


@pytest.mark.parametrize("k", [0, 25, 2.0])
def test_numbers_of_positions_that_there_are_not(k):
    with pytest.raises((ValueError, TypeError), match="top_k_intersection: k must be"):
        metrics.top_k_intersection(jnp.ones(SHAPE), jnp.ones(SHAPE, bool), k=k)


# --- Properties


@given(a=maps, s=masks)
@settings(max_examples=20)
def test_more_attribution_on_the_object_is_better(a, s):
    """Pixels of the object rise to the maximum: no metric falls."""
    if not s.any() or s.all() or a.max() <= 0:
        return
    better = np.where(s, a.max(), a)
    for metric in (metrics.auc, metrics.energy_pointing_game, metrics.relevance_rank):
        before, after = metric(a.astype(np.float32), s), metric(better.astype(np.float32), s)
        assert after >= before - 1e-6
        assert 0 <= before <= 1 + 1e-6


# --- Masks and mosaics


def test_boxes(rng):
    """Half-open, the union of several, cut off at the border; traced as well."""
    expected = np.zeros((7, 9), bool)
    expected[1:3, 2:8] = True
    expected[5:, :4] = True
    boxes = [(1, 2, 3, 8), (5, -3, 99, 4), (2, 2, 2, 9)]
    np.testing.assert_array_equal(metrics.box_mask(boxes, (7, 9)), expected)
    traced = jax.jit(lambda boxes: metrics.box_mask(boxes, (7, 9)))(jnp.array(boxes))
    np.testing.assert_array_equal(traced, expected)
    assert not metrics.box_mask(np.zeros((0, 4), int), (7, 9)).any()


def test_bad_boxes_are_refused():
    with pytest.raises(ValueError, match=r"box_mask: boxes must end .* got \(0, 5, 2, 3\)"):
        metrics.box_mask([(0, 0, 2, 2), (0, 5, 2, 3)], (7, 9))
    with pytest.raises(ValueError, match=r"box_mask: boxes must be \(y0, x0, y1, x1\).*\(3,\)"):
        metrics.box_mask((0, 1, 2), (7, 9))
    with pytest.raises(TypeError, match="box_mask: boxes must be integers, got float64"):
        metrics.box_mask((0.0, 1.0, 2.0, 3.5), (7, 9))


def test_mosaic_tile_by_tile(rng):
    images = rng.normal(size=(6, 3, 5, 2)).astype(np.float32)
    made = metrics.mosaic(list(images), grid=(2, 3))
    assert made.image.shape == (6, 15, 2)
    for i, (picture, truth) in enumerate(zip(images, made.truths, strict=True)):
        row, column = divmod(i, 3)
        tile = np.s_[3 * row : 3 * row + 3, 5 * column : 5 * column + 5]
        np.testing.assert_array_equal(made.image[tile], picture)
        expected = np.zeros((6, 15), bool)
        expected[tile] = True
        np.testing.assert_array_equal(truth, expected)


def test_mosaics_that_do_not_fill_are_refused(rng):
    with pytest.raises(ValueError, match=r"mosaic: grid must have a tile for each of the 6 images"):
        metrics.mosaic(jnp.ones((6, 3, 5)))
    with pytest.raises(ValueError, match="mosaic: images must be images of one size"):
        metrics.mosaic([jnp.ones((3, 5)), jnp.ones((5, 3))])


def test_gradients_of_a_mosaic_are_where_the_model_looks(rng):
    """A model that reads one colour finds the tile of that colour; Focus takes two of them."""
    tiles = jnp.stack([jnp.zeros((4, 4, 3)).at[..., i % 3].set(1.0) for i in range(4)])
    made = metrics.mosaic(tiles)
    f = jax.tree_util.Partial(lambda w, x: (x @ w).mean((0, 1)), jnp.eye(3))
    for colour in (1, 2):
        a = xaijax.input_x_gradient(f, made.image, colour).sum(-1)
        assert metrics.grid_pointing_game(a, made.truths[colour]) == 1
    a = xaijax.input_x_gradient(f, made.image, 0).sum(-1)
    assert metrics.grid_pointing_game(a, made.truths[0]) == 0.5
    assert metrics.grid_pointing_game(a, made.truths[0] | made.truths[3]) == 1


def test_a_network_takes_the_mosaic():
    made = metrics.mosaic(jnp.stack([image(seed) for seed in range(4)]))
    a = xaijax.resize(xaijax.grad_cam(cnn(FIRST), made.image, 1), (16, 16))
    shares = [metrics.grid_pointing_game(a, truth) for truth in made.truths]
    np.testing.assert_allclose(sum(shares), 1, rtol=1e-6)


def test_zeros_of_both_signs_are_ties():
    truth = jnp.array([True, True, False, False])
    assert metrics.auc(jnp.array([0.0, 0.0, -0.0, -0.0]), truth) == 0.5
    assert metrics.auc(jnp.array([-0.0, -0.0, 0.0, 0.0]), truth) == 0.5
