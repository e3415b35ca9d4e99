"""Metrics that hide features: deletion and insertion, pixel flipping, regions, ROAD, average drop and ADCC."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from tests.oracles import removal as oracle
from xaijax import metrics
from xaijax.core._maps import blur
from xaijax.metrics._adcc import harmonic
from xaijax.metrics._features import Positions
from xaijax.metrics._removal import ranks
from xaijax.metrics._road import Imputed

SHAPE = (6, 5, 3)
PIXELS = np.arange(30).reshape(6, 5)
W = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def _bent(weights, x):
    V, U = weights
    return jax.nn.softmax(jnp.tanh(x.reshape(-1) @ V) @ U)


def bent(dtype):
    """A model of images (6, 5, 3) that is not linear, and answers probabilities."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(90, 8)) / 3, rng.normal(size=(8, 3))
    return jax.tree_util.Partial(_bent, jax.tree.map(lambda w: jnp.asarray(w, dtype), weights))


def an_image(dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(5).normal(size=SHAPE), dtype)


def a_map(dtype=jnp.float32, shape=SHAPE[:2]):
    """Signed, and without equal values."""
    return jnp.asarray(np.random.default_rng(6).normal(size=shape), dtype)


def linear(w):
    return jax.tree_util.Partial(lambda w, x: jnp.stack([jnp.sum(x * w)]), jnp.asarray(w))


ROW = linear(W.astype(np.float32))
ONES = jnp.ones(6)


@pytest.fixture
def exact(x64):
    """The model, its number for arrays, an image, a map and a key, all in double precision."""
    f = bent(jnp.float64)
    compiled = jax.jit(f)

    def number(x):
        return float(compiled(np.asarray(x))[1])

    return f, number, an_image(jnp.float64), a_map(jnp.float64), jax.random.key(0)


def close(found, expected, rtol=1e-10):
    np.testing.assert_allclose(found, expected, rtol=rtol)


def each_channel(labels):
    return np.repeat(np.asarray(labels)[..., None], SHAPE[2], 2)


# --- Against the oracles


@pytest.mark.parametrize("num_steps", [7, 100])
def test_deletion_as_the_paper(exact, num_steps):
    f, number, x, a, key = exact
    found = metrics.deletion_auc.details(f, x, 1, a, key, num_steps=num_steps, baseline=0.25)
    counts = oracle.steps(30, num_steps)
    scores = oracle.hidden_scores(number, x, 0.25, each_channel(PIXELS), np.ravel(a), counts)
    close(found.scores, scores)
    close(found.changed, np.array(counts) / 30)
    close(found.auc, oracle.area(scores, counts))


def test_insertion_as_the_paper(exact):
    f, number, x, a, key = exact
    found = metrics.insertion_auc.details(f, x, 1, a, key, num_steps=7)
    counts, blurred = oracle.steps(30, 7), np.asarray(blur(x, 5.0))
    scores = oracle.shown_scores(number, x, blurred, each_channel(PIXELS), np.ravel(a), counts)
    close(found.scores, scores)
    close(found.auc, oracle.area(scores, counts))


def test_a_value_for_each_channel_is_a_feature(exact):
    f, number, x, _, key = exact
    a = a_map(jnp.float64, SHAPE)
    labels, counts = np.arange(90).reshape(SHAPE), oracle.steps(90, 9)
    scores = oracle.hidden_scores(number, x, 0.0, labels, np.ravel(a), counts)
    close(metrics.deletion_auc(f, x, 1, a, key, num_steps=9), oracle.area(scores, counts))


def test_pixel_flipping_as_the_paper(exact):
    f, number, x, a, key = exact
    counts = oracle.steps(30, 784)
    assert len(counts) == 31  # one pixel at a time
    args = oracle.opposite(np.asarray(x)), each_channel(PIXELS), np.ravel(a), counts
    scores = oracle.hidden_scores(number, x, *args)
    found = metrics.pixel_flipping.details(f, x, 1, a, key)
    close(found.scores, scores)
    close(found.auc, oracle.area(scores, counts))


@pytest.mark.parametrize("shape", [SHAPE[:2], SHAPE])
def test_patches_as_the_papers(exact, shape):
    """Of 6 x 5 pixels, in squares of 2: the last column is one pixel wide."""
    f, number, x, _, key = exact
    a = a_map(jnp.float64, shape)
    labels = oracle.patch_labels(SHAPE[:2], 2)
    values = oracle.feature_means(a, labels)
    scores = oracle.hidden_scores(number, x, 0.5, each_channel(labels), values, range(10))

    found = metrics.selectivity.details(f, x, 1, a, key, patch_size=2, baseline=0.5)
    close(found.scores, scores)
    close(found.auc, oracle.area(scores, range(10)))
    region = {"region_size": 2, "baseline": 0.5}
    found = metrics.region_perturbation.details(f, x, 1, a, key, num_regions=4, **region)
    close(found.scores, scores[:5])
    close(found.changed, np.arange(5) / 9)
    close(found.aopc, oracle.aopc(scores[:5]))


@pytest.mark.parametrize("masked", [False, True])
def test_irof_as_the_paper(exact, masked):
    f, number, x, a, key = exact
    labels = oracle.patch_labels(SHAPE[:2], 3 if masked else 1)
    values, hidden = oracle.feature_means(a, labels), oracle.label_means(np.asarray(x), labels)
    counts = range(labels.max() + 2)
    mask = xaijax.segments(labels) if masked else None
    # Squares of one pixel are their mean: without a mask the image is too small to lose anything.
    scores = oracle.hidden_scores(number, x, hidden, each_channel(labels), values, counts)
    found = metrics.irof.details(f, x, 1, a, key, mask=mask)
    close(found.scores, scores)
    np.testing.assert_allclose(found.aoc, 1 - oracle.area(scores / scores[0], counts), atol=1e-12)
    assert bool(found.flat) == (not masked)


def test_the_squares_of_irof(exact):
    """Without a mask: 7 along the longest side, each as its mean colour; the same as segments."""
    _, _, _, _, key = exact
    rng = np.random.default_rng(0)
    x, a, w = (rng.normal(size=(14, 11, *more)) for more in ((3,), (), (3,)))
    f = jax.tree_util.Partial(lambda w, x: jnp.stack([jnp.tanh(jnp.sum(w * x)) + 2]), w)
    x, a = jnp.asarray(x), jnp.asarray(a)
    labels = oracle.patch_labels((14, 11), 2)
    assert labels.max() + 1 == 7 * 6
    expected = metrics.irof(f, x, 0, a, key, mask=xaijax.segments(labels))
    close(metrics.irof(f, x, 0, a, key), expected)
    each = jnp.repeat(a[..., None], 3, 2)
    close(metrics.irof(f, x, 0, each, key), expected)


def test_road_as_the_paper(exact):
    f, number, x, a, key = exact
    found = metrics.road.details(f, x, 1, a, key, noise=0.0, tolerance=1e-14)
    parts = np.arange(1, 10) / 10
    morf, lerf = oracle.road(number, np.asarray(x), np.asarray(a), parts)
    close(found.removed, parts)
    close(found.morf, morf)
    close(found.lerf, lerf)
    close(found.value, (lerf - morf).mean(), rtol=1e-9)


def test_average_drop_and_increase_as_the_paper(exact):
    f, number, x, a, _ = exact
    for baseline in (0.0, 0.5):
        drop = metrics.average_drop.details(f, x, 1, a, baseline=baseline)
        L = oracle.unit_map(a)[..., None]
        close(drop.drop, oracle.average_drop(number, x, a, baseline))
        close(drop.score, number(x))
        close(drop.shown, number(L * x + (1 - L) * baseline))
        close(drop.area, L.mean())
        for map_ in (a, -a):
            found = metrics.increase_in_confidence.details(f, x, 1, map_, baseline=baseline)
            assert found.increase == float(found.score < found.shown)


def test_adcc_as_the_paper(exact):
    """A map of the image's shape: to the oracle, of an image of one channel."""
    f, number, x, _, key = exact
    explain = xaijax.bind(xaijax.saliency, f)
    found = metrics.adcc.details(explain, x, 1, key, link=None)
    args = (lambda x: number(x[..., 0])), (lambda x: explain(jnp.asarray(x[..., 0]), 1))
    close(found.value, oracle.adcc(*args, np.asarray(x)[..., None]), rtol=1e-9)
    assert not found.degenerate


# --- Closed forms


def test_deletion_and_insertion_of_a_linear_model(key):
    """With equal contributions c in order: after k of d features v is the sum of the others."""
    best, worst = jnp.asarray(W, jnp.float32), jnp.asarray(-W, jnp.float32)
    falling = (63 / 2 + 31 + 15 + 7 + 3 + 1) / 6
    rising = 63 - falling
    assert float(metrics.deletion_auc(ROW, ONES, 0, best, key)) == pytest.approx(falling)
    assert float(metrics.deletion_auc(ROW, ONES, 0, worst, key)) == pytest.approx(rising)
    insert = {"baseline": 0.0}
    assert float(metrics.insertion_auc(ROW, ONES, 0, best, key, **insert)) == pytest.approx(rising)
    flip = metrics.pixel_flipping(ROW, ONES, 0, best, key, baseline=-1.0)  # from 63 to -63
    assert float(flip) == pytest.approx(2 * falling - 63)


def test_flipping_mirrors_each_channel_in_its_range(key):
    """Black becomes white whatever a channel was normalised to."""
    x = jnp.stack([jnp.array([[0.0, 1.0], [1.0, 1.0]]), jnp.array([[-3.0, 5.0], [5.0, -3.0]])], -1)
    f = jax.tree_util.Partial(lambda x: x.reshape(-1))
    for target, opposite in enumerate(jnp.stack([1 - x[..., 0], 2 - x[..., 1]], -1).reshape(-1)):
        last = metrics.pixel_flipping.details(f, x, target, jnp.ones((2, 2)), key).scores[-1]
        assert last == opposite


def test_noise_of_regions_is_uniform_in_each_channel(key):
    """The mean over the noise is the middle of the range, which every draw is in."""
    x = np.stack([np.linspace(0, 1, 16), np.linspace(-2, 6, 16)], -1).reshape(4, 4, 2)
    f = jax.tree_util.Partial(lambda x: x.reshape(-1))
    sizes = {"region_size": 4, "num_regions": 1}

    def last(key, target):
        x32 = x.astype(np.float32)
        return metrics.region_perturbation.details(f, x32, target, x32[..., 0], key, **sizes).scores

    targets = np.stack([np.ones(32), *np.eye(32)[:2]]).astype(np.float32)  # all, and two channels
    drawn = jax.vmap(jax.vmap(last, (0, None)), (None, 0))(jax.random.split(key, 400), targets)
    total, *pixels = np.asarray(drawn)[..., 1]
    mean, variance = 16 * (0.5 + 2), 16 * (1 + 64) / 12
    assert abs(total.mean() - mean) < 4 * (variance / 400) ** 0.5
    for seen, (low, high) in zip(pixels, ((0, 1), (-2, 6)), strict=True):
        assert low <= seen.min() < low + (high - low) / 20
        assert high - (high - low) / 20 < seen.max() <= high


def test_draws_of_the_noise_are_averaged(key):
    """And a region keeps its noise: what is perturbed first looks the same at every step."""
    x = np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4, 1)
    first = linear(np.eye(16, dtype=np.float32)[15].reshape(4, 4, 1))  # the highest attribution
    many = metrics.region_perturbation.details(
        first, x, 0, x[..., 0], key, region_size=2, num_draws=300
    )
    assert (many.scores[1:] == many.scores[1]).all()
    assert abs(many.scores[1] - 0.5) < 4 * (1 / 12 / 300) ** 0.5


def test_harmonic_mean():
    parts = [jnp.float32(p) for p in (0.9, 0.7, 0.9)]
    assert float(harmonic(*parts)) == pytest.approx(0.8217, abs=5e-5)
    for place in range(3):
        gone = [jnp.float32(0) if i == place else p for i, p in enumerate(parts)]
        assert float(harmonic(*gone)) == 0


def test_adcc_of_a_linear_model(key):
    """Input times gradient of x, then of x times its map: (4, 2, 0, -1) / 4, then that times the map."""
    f = jax.tree_util.Partial(lambda x: jnp.stack([x @ jnp.array([2.0, 1.0, 0.0, -1.0]), 0 * x[0]]))
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    x = jnp.array([2.0, 2.0, 2.0, 1.0])
    found = metrics.adcc.details(explain, x, 0, key, link=None)
    L, again = np.array([1, 0.5, 0, 0]), np.array([4, 1, 0, 0]) / 4
    coherency = (1 + np.corrcoef(L, again)[0, 1]) / 2
    assert float(found.coherency) == pytest.approx(coherency, abs=1e-6)
    assert float(found.complexity) == 0.375
    assert float(found.drop) == 0.0  # 5 from 5: what spoke against it is gone
    assert float(found.value) == pytest.approx(3 / (1 / coherency + 1 / 0.625 + 1), abs=1e-6)


def test_adcc_of_nothing_and_of_everything_is_zero(key):
    x = jnp.ones(4)
    for sign, complexity in ((1.0, 1.0), (-1.0, 0.0)):
        f = jax.tree_util.Partial(lambda s, x: jnp.stack([s * x.sum(), 0 * x[0]]), sign)
        found = metrics.adcc.details(xaijax.bind(xaijax.input_x_gradient, f), x, 0, key)
        assert (found.value, found.complexity, found.degenerate) == (0, complexity, True)


def test_adcc_resizes_a_map_of_a_layer(key):
    """And gives an explainer that draws its key."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32)

    def strided(kernel, x):
        layout = ("NHWC", "HWIO", "NHWC")
        out = jax.lax.conv_general_dilated(
            x[None], kernel, (2, 2), "SAME", dimension_numbers=layout
        )
        return jax.nn.relu(out).mean((0, 1, 2))

    explain = xaijax.bind(xaijax.random_cam, jax.tree_util.Partial(strided, kernel))
    x = np.random.default_rng(1).normal(size=(8, 6, 3)).astype(np.float32)
    small = explain(x, 0, key)
    assert small.shape == (4, 3)
    found = metrics.adcc.details(explain, x, 0, key)
    large = xaijax.resize(small, (8, 6))
    np.testing.assert_allclose(found.complexity, oracle.unit_map(large).mean(), rtol=1e-5)


@pytest.mark.parametrize(("a", "area"), [(jnp.ones(6), 1.0), (jnp.zeros(6), 0.0), (-ONES, 0.0)])
def test_maps_that_show_everything_or_nothing(a, area):
    found = metrics.average_drop.details(ROW, ONES, 0, a)
    assert (float(found.drop), float(found.area)) == (1 - area, area)
    assert metrics.increase_in_confidence(ROW, ONES, 0, a) == 0


def test_a_score_that_is_not_positive_has_no_drop():
    for w in (-W, 0 * W):
        f = linear(w.astype(np.float32))
        assert np.isnan(metrics.average_drop(f, ONES, 0, jnp.ones(6)))
        assert metrics.win_rate(f, ONES, 0, jnp.ones(6), -ONES) in (0, 0.5)


def test_win_rate():
    more, less = jnp.eye(6)[5], jnp.eye(6)[0]
    assert metrics.win_rate(ROW, ONES, 0, more, less) == 1
    assert metrics.win_rate(ROW, ONES, 0, less, more) == 0
    assert metrics.win_rate(ROW, ONES, 0, more, 3 * more) == 0.5
    up = linear(np.array([1, 2, 0, 0, 0, -4.0], np.float32))  # both raise the score: neither drops
    assert metrics.win_rate(up, ONES, 0, jnp.eye(6)[0], jnp.eye(6)[1]) == 0.5
    found = metrics.win_rate.details(ROW, ONES, 0, more, less)
    assert (found.score, *found.shown) == (63, 32, 1)


def test_the_other_attribution_is_checked_too():
    with pytest.raises(ValueError, match=r"^win_rate: other must be finite, got 1 of 6"):
        metrics.win_rate(ROW, ONES, 0, ONES, ONES.at[2].set(jnp.nan))
    with pytest.raises(TypeError, match=r"^win_rate: other must be one float array"):
        metrics.win_rate(ROW, ONES, 0, ONES, None)
    traced = jax.jit(lambda other: metrics.win_rate(ROW, ONES, 0, ONES, other))
    assert np.isnan(traced(ONES.at[2].set(jnp.inf)))
    assert traced(ONES) == 0.5


# --- Ties, flat curves, orders


def test_equal_features_come_in_every_order(key):
    """Two that are equal: either first, each half the time; the mean over orders is the expected curve."""
    a = jnp.array([1.0, 1.0, 0.0, -1.0, -2.0, -3.0])
    f = linear(np.array([8.0, 2.0, 0, 0, 0, 0], np.float32))

    def second(key, n=1):
        return metrics.deletion_auc.details(f, ONES, 0, a, key, num_orders=n).scores[1]

    seen = jax.vmap(second)(jax.random.split(key, 200))
    assert set(np.asarray(seen).tolist()) == {2.0, 8.0}
    assert abs(seen.mean() - 5) < 4 * 3 / 200**0.5
    assert abs(second(key, 100) - 5) < 4 * 3 / 100**0.5


def test_a_flat_map_gives_the_expected_curve(key):
    """Of a linear model, over all orders: a straight line."""
    details = metrics.deletion_auc.details
    found = jax.vmap(details, (None, None, None, None, 0))(
        ROW, ONES, 0, jnp.zeros(6), jax.random.split(key, 400)
    )
    error = found.scores.std(0) / 400**0.5
    assert (abs(found.scores.mean(0) - 63 * (1 - np.arange(7) / 6)) <= 4 * error + 1e-5).all()
    assert not found.flat.any()


def test_ranks_are_a_permutation_in_order(key):
    values = jnp.array([0.0, 3.0, 0.0, -0.0, 5.0, 0.0])
    rank = np.asarray(jax.vmap(lambda k: ranks(values, k))(jax.random.split(key, 50)))
    assert (np.sort(rank, 1) == np.arange(6)).all()
    assert (rank[:, [4, 1]] == [0, 1]).all()
    assert {len(set(rank[:, i].tolist())) for i in (0, 2, 3, 5)} == {4}


@pytest.mark.parametrize(
    ("metric", "more"),
    [
        (metrics.deletion_auc, {"baseline": ONES}),
        (metrics.pixel_flipping, {}),
        (metrics.selectivity, {"baseline": ONES}),
        (metrics.region_perturbation, {}),
        (metrics.irof, {}),
    ],
)
def test_a_curve_that_nothing_changes_says_so(metric, more, key):
    """The baseline is the input, or all of it is one value."""
    found = metric.details(ROW, ONES, 0, jnp.arange(6.0), key, **more)
    assert found.flat
    assert (found.scores == 63).all()
    expected = 0 if metric.kind.better == "higher" else 63
    assert float(getattr(found, metric.read)) == pytest.approx(expected, abs=1e-5)


def test_irof_of_a_score_of_zero_is_unknown(key):
    f = jax.tree_util.Partial(lambda x: jnp.stack([x[0] - x[1]]))
    assert np.isnan(metrics.irof(f, jnp.ones(2), 0, jnp.arange(2.0), key))


# --- Masks and layouts

LABELS = oracle.patch_labels(SHAPE[:2], 3)


@pytest.mark.parametrize("metric", [metrics.pixel_flipping, metrics.selectivity])
def test_segments(exact, metric):
    """A painted map is averaged over each segment; one value per segment is the same."""
    f, number, x, a, key = exact
    mask = xaijax.segments(LABELS)
    values = oracle.feature_means(a, LABELS)
    hidden = oracle.label_means(np.asarray(x), LABELS)
    counts = range(LABELS.max() + 2)
    scores = oracle.hidden_scores(number, x, hidden, each_channel(LABELS), values, counts)
    for given_ in (a, jnp.asarray(values)):
        close(metric.details(f, x, 1, given_, key, mask=mask).scores, scores)


def test_columns_average_over_their_background(exact):
    """Both ways round: shown on the background, hidden by it."""
    *_, key = exact
    rng = np.random.default_rng(1)
    w, x, a = rng.normal(size=(6, 2)), rng.normal(size=6), rng.normal(size=6)
    background = rng.normal(size=(3, 6))
    f = jax.tree_util.Partial(lambda w, x: jnp.tanh(x @ w), w)

    def number(x):
        return np.tanh(x @ w)[1]

    mask = xaijax.columns(background)
    args = f, jnp.asarray(x), 1, jnp.asarray(a), key
    for metric, scores in (
        (metrics.deletion_auc, oracle.hidden_scores),
        (metrics.insertion_auc, oracle.shown_scores),
    ):
        rows = [scores(number, x, row, np.arange(6), a, range(7)) for row in background]
        close(metric.details(*args, mask=mask).scores, np.mean(rows, 0))


def test_tokens_are_hidden_as_ids(key):
    """No baseline is asked of ids, which have none."""
    x = np.array([9, 1, 2, 3, 9])
    table = np.array([0.0, 1.0, 2.0, 4.0, 0, 0, 0, 0, 0, 0], np.float32)
    f = jax.tree_util.Partial(lambda table, ids: jnp.stack([table[ids].sum()]), table)
    mask = xaijax.tokens(x, mask_token=0, keep=(9,))
    for a in ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0, 0.0]):
        a = np.array(a, np.float32)
        found = metrics.deletion_auc.details(f, x, 0, a, key, mask=mask)
        assert found.scores.tolist() == [7, 3, 1, 0]
        found = metrics.insertion_auc.details(f, x, 0, a, key, mask=mask)
        assert found.scores.tolist() == [0, 4, 6, 7]


@pytest.mark.parametrize("metric", [metrics.insertion_auc, metrics.pixel_flipping, metrics.irof])
def test_channels_first(metric, key):
    """The same image to the same convolution, whichever axis its colours are in. Even one of 3 x 3 pixels."""
    kernel = np.random.default_rng(2).normal(size=(2, 3, 3, 3)).astype(np.float32)

    def first(kernel, x):
        out = jax.lax.conv(x[None], kernel, (1, 1), "SAME")
        return jax.nn.softmax(jnp.tanh(out).sum((0, 2, 3)))

    f = jax.tree_util.Partial(first, kernel)
    last = jax.tree_util.Partial(lambda kernel, x: first(kernel, x.transpose(2, 0, 1)), kernel)
    x, a = np.asarray(an_image())[:3, :3], np.asarray(a_map())[:3, :3]
    found = metric(f, x.transpose(2, 0, 1), 1, a, key)
    np.testing.assert_allclose(found, metric(last, x, 1, a, key), rtol=1e-5)


# --- ROAD's imputation


@pytest.mark.parametrize("channel", [2, 0, None])
def test_imputed_pixels_are_the_means_of_their_neighbours(x64, channel):
    """One large hole that reaches a corner, where a pixel has three neighbours."""
    image = np.random.default_rng(4).normal(size=(7, 6, 1 if channel is None else 2))
    kept = np.ones((7, 6), bool)
    kept[:4, :5] = kept[6, 5] = False
    x, expected = image, oracle.impute(image, kept)
    if channel is None:
        x, expected = image[..., 0], expected[..., 0]
    elif channel == 0:
        x, expected = image.transpose(2, 0, 1), expected.transpose(2, 0, 1)
    mask = Imputed(Positions(0.0, (7, 6), channel), np.zeros(x.shape), 1e-14)
    found = jax.jit(lambda mask, x, z: mask(x, z))(mask, x, kept.ravel())
    close(found, expected, rtol=1e-9)
    assert (found == x).sum() == kept.sum() * image.shape[2]


def test_noise_is_added_to_what_is_imputed_alone(key):
    """Of a constant image the noise is all there is."""
    x, a = jnp.full((20, 20, 3), 2.0), a_map(shape=(20, 20))
    f = jax.tree_util.Partial(lambda x: jnp.stack([x.sum(), ((x - 2) ** 2).sum()]))
    found = metrics.road.details(f, x, 1, a, key, noise=0.5, num_steps=1)
    for squares in (found.morf, found.lerf):  # 600 values of variance 1/4
        assert abs(float(squares[0]) - 150) < 4 * 0.25 * 1200**0.5
    silent = metrics.road.details(f, x, 1, a, key, noise=0.0, num_steps=1)
    np.testing.assert_allclose(silent.morf, 0, atol=1e-8)


def test_equations_that_were_not_solved_give_no_number(key):
    """Single precision cannot reach such a tolerance."""
    x, a = an_image(), a_map()
    f = bent(jnp.float32)
    assert np.isfinite(metrics.road.details(f, x, 1, a, key).value)
    assert np.isnan(metrics.road.details(f, x, 1, a, key, tolerance=1e-12).value)


def test_road_wants_a_value_for_each_pixel(key):
    x = an_image()
    with pytest.raises(
        ValueError, match=r"^road: attribution must be \(h, w\), got shape \(6, 5, 3"
    ):
        metrics.road(bent(jnp.float32), x, 1, x, key)


# --- Better maps are better, and numbers are in their range


@settings(max_examples=15)
@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6), st.integers(0, 5))
def test_the_contributions_themselves_are_the_best_map(values, seed):
    """Of a linear model with positive contributions, to all metrics of removal."""
    key, other = jax.random.key(seed), jnp.array(values, jnp.float32)
    best = jnp.asarray(W, jnp.float32)
    for metric, more in (
        (metrics.deletion_auc, {}),
        (metrics.insertion_auc, {"baseline": 0.0}),
        (metrics.region_perturbation, {"region_size": 1, "baseline": 0.0, "num_regions": 3}),
    ):
        better = metric(ROW, ONES, 0, best, key, **more)
        worse = metric(ROW, ONES, 0, other, key, **more)
        assert better <= worse if metric.kind.better == "lower" else better >= worse


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_ranges(seed):
    """Of probabilities, and any map."""
    key, f, x = jax.random.key(seed), bent(jnp.float32), an_image()
    a = np.random.default_rng(seed).normal(size=(6, 5)).astype(np.float32)
    road = metrics.road.details(f, x, 1, a, key)
    assert min(road.morf.min(), road.lerf.min()) >= 0
    assert max(road.morf.max(), road.lerf.max()) <= 1
    assert -1 <= road.value <= 1
    drop = metrics.average_drop.details(f, x, 1, a)
    assert 0 <= drop.drop <= 1
    assert 0 < drop.area < 1
    assert metrics.win_rate(f, x, 1, a, -a) + metrics.win_rate(f, x, 1, -a, a) == 1


# --- What it costs


def test_evaluations(key):
    """A curve costs its evaluations and no other."""
    rows = []

    def predict(batch):
        rows.append(len(batch))
        return batch.sum((1, 2, 3))[:, None]

    f = xaijax.black_box(predict, num_outputs=1)
    x, a = an_image(), a_map()
    for metric, more, count in (
        (metrics.deletion_auc, {"num_steps": 8, "num_orders": 2}, 18),
        (metrics.road, {"num_steps": 3}, 6),
        (metrics.average_drop, {}, 2),
    ):
        rows.clear()
        drawn = () if metric is metrics.average_drop else (key,)
        sizes = {"batch_size": 3} if drawn else {}
        metric(f, x, 0, a, *drawn, **sizes, **more).block_until_ready()
        assert sum(rows) == count


@pytest.mark.parametrize("metric", [metrics.deletion_auc, metrics.insertion_auc])
def test_memory_does_not_grow_with_the_steps(metric, key):
    """All images of 256 steps would take 3 MB."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(32, 32, 3)), jnp.float32)
    a = jnp.asarray(rng.normal(size=(32, 32)), jnp.float32)
    f = linear(np.asarray(rng.normal(size=x.shape), np.float32))

    def memory(num_steps):
        program = metric.program(f, x, 0, a, key, num_steps=num_steps, batch_size=4)
        return program.compile().memory_analysis().temp_size_in_bytes

    few, many = memory(16), memory(256)
    assert many < few + 20_000
    assert few < 400_000
