"""RISE: its masks against the reference's recipe, its map against the very masks that it drew, its mean exactly."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.oracles import perturbation as oracle
from tests.test_lime import Recorder
from xaijax.perturbation._rise import enlarge

# --- The masks


@pytest.mark.parametrize(("s", "size"), [(2, (5, 4)), (7, (20, 33)), (8, (8, 9))])
def test_masks_of_given_bits_and_offsets(s, size, rng):
    """The recipe of the authors' code: skimage enlarges the grid, NumPy cuts it."""
    transform = pytest.importorskip("skimage.transform")
    cell = [math.ceil(n / s) for n in size]
    whole = [(s + 1) * n for n in cell]
    make = jax.jit(lambda cells, offset: enlarge(cells, offset, size, jnp.float32))
    for _ in range(8):
        bits, (top, left) = rng.random((s, s)) < 0.5, [int(rng.integers(n)) for n in cell]
        large = transform.resize(
            bits.astype(np.float64), whole, order=1, mode="reflect", anti_aliasing=False
        )
        expected = large[top : top + size[0], left : left + size[1]]
        found = make(bits, np.array([top, left]))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        told = oracle.rise_mask(bits, (top, left), size)
        np.testing.assert_allclose(told, expected, rtol=0, atol=1e-12)


# An image of ones of one channel is its mask, and a black box writes it down.
SIZE, S, P, N = (8, 7), 3, 0.3, 600


@pytest.fixture(scope="module")
def drawn():
    """Masks, and the map of a model that answers their squared sum."""
    recorder = Recorder(lambda rows: rows.sum((1, 2, 3)) ** 2)
    settings = {"num_samples": N, "grid_size": S, "p": P, "batch_size": 100}
    map_ = xaijax.rise(recorder.model, jnp.ones((*SIZE, 1)), 0, jax.random.key(0), **settings)
    assert [len(rows) for rows in recorder.asked] == [100] * 6
    return recorder.rows[..., 0].astype(np.float64), np.asarray(map_)


def test_map_is_the_mean_of_the_weighted_masks(drawn):
    masks, found = drawn
    expected = np.einsum("i,ihw->hw", masks.sum((1, 2)) ** 2, masks) / (N * P)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_masks_are_cuts_of_enlarged_grids_of_random_bits(drawn):
    """Every mask is the oracle's of some bits and some offset; the bits have the mean p, the offsets are even."""
    masks, _ = drawn
    offsets = list(itertools.product(*(range(math.ceil(n / S)) for n in SIZE)))
    inverses = [
        [np.linalg.pinv(oracle.rise_shares(n, S, o)) for n, o in zip(SIZE, offset, strict=True)]
        for offset in offsets
    ]
    cells, places = [], []
    for mask in masks:
        fits = []
        for offset, (rows, columns) in zip(offsets, inverses, strict=True):
            bits = np.round(rows @ mask @ columns.T)
            if np.allclose(oracle.rise_mask(bits, offset, SIZE), mask, atol=1e-5):
                fits.append((bits, offset))
        assert fits
        assert set(np.unique(fits[0][0])) <= {0.0, 1.0}
        cells.append(fits[0][0])
        if len(fits) == 1:  # of a grid that is the same everywhere no offset can be told
            places.append(offsets.index(fits[0][1]))
    error = np.sqrt(P * (1 - P) / N)
    np.testing.assert_allclose(np.mean(cells, 0), P, atol=4.5 * error)
    flat = np.reshape(cells, (N, -1))
    np.testing.assert_allclose(np.corrcoef(flat.T), np.eye(S * S), atol=4.5 / np.sqrt(N))
    assert len(places) > 0.8 * N
    share = np.bincount(places, minlength=len(offsets)) / len(places)
    even = 1 / len(offsets)
    np.testing.assert_allclose(share, even, atol=4.5 * np.sqrt(even * (1 - even) / len(places)))


def test_one_key_for_a_batch_draws_once(key):
    explain = xaijax.bind(xaijax.rise, lambda x: x.sum((0, 1)), num_samples=20, grid_size=3)
    batch = jax.vmap(explain, (0, None, None))
    text = str(jax.make_jaxpr(batch)(jnp.ones((7, 8, 8, 1)), 0, key))
    assert "bool[20,3,3]" in text
    assert "bool[7,20,3,3]" not in text
    apart = jax.vmap(explain, (0, None, 0))
    text = str(jax.make_jaxpr(apart)(jnp.ones((7, 8, 8, 1)), 0, jax.random.split(key, 7)))
    assert "[7,20,3,3]" in text


# --- The mean


def test_mean_of_a_linear_model(rng):
    """Within four standard errors of the exact mean, at each pixel; and so is the mean mask, p."""
    w, x = rng.normal(size=(2, 6, 5))

    # The second output is always 1: of it the map is the mean of the masks over p.
    def f(x):
        return jnp.stack([(x[..., 0] * w).sum() + 0.5, 1.0 + 0 * x.sum()])

    keys = jax.random.split(jax.random.key(1), 400)
    inputs = jnp.asarray(x, jnp.float32)[..., None]

    @jax.jit
    def maps(p, target):
        explain = xaijax.bind(xaijax.rise, f, num_samples=64, grid_size=3, p=p)
        return jax.vmap(lambda key: explain(inputs, target, key))(keys)

    for p in (0.1, 0.5):
        exact = oracle.rise_of_linear_model(w, x, 3, p, bias=0.5)
        for target, expected in enumerate((exact, np.ones_like(exact))):
            found = np.asarray(maps(p, target))
            error = found.std(0, ddof=1) / np.sqrt(len(keys))
            assert (np.abs(found.mean(0) - expected) <= 4 * error).all()
            assert error.max() < 0.05 * max(np.abs(expected).max(), 1)  # small enough to tell


def test_baseline_where_the_mask_is_0(key, rng):
    """The image less the baseline, shown to the model that adds it again."""
    x, baseline = (jnp.asarray(rng.normal(size=(6, 5, 3)), jnp.float32) for _ in range(2))

    def f(x):
        return jnp.sin((x * x[::-1]).sum((0, 1)))

    settings = {"num_samples": 20, "grid_size": 3}
    found = xaijax.rise(f, x, 1, key, baseline=baseline, **settings)
    moved = jax.tree_util.Partial(lambda b, x: f(x + b), baseline)
    expected = xaijax.rise(moved, x - baseline, 1, key, **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_any_layout(key, rng):
    """Of a model with the channels first the map has the size of the last two axes."""
    kernel = jnp.asarray(rng.normal(size=(4, 3, 3, 3)), jnp.float32)

    def first(x):
        return jnp.tanh(jax.lax.conv(x[None], kernel, (1, 1), "SAME")).sum((2, 3))[0]

    x = jnp.asarray(rng.normal(size=(6, 5, 3)), jnp.float32)
    settings = {"num_samples": 20, "grid_size": 3, "baseline": 0.5}
    found = xaijax.rise(first, x.transpose(2, 0, 1), 1, key, **settings)
    expected = xaijax.rise(lambda x: first(x.transpose(2, 0, 1)), x, 1, key, **settings)
    assert found.shape == (6, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# --- Bad calls

BAD = {
    **{
        f"p {p}": ({"p": p}, ValueError, rf"p must be above 0 and below 1, got {float(p)}\.")
        for p in (0, 1, -0.1, 1.5, np.nan)
    },
    "p text": ({"p": "half"}, TypeError, r"p must be a number, got 'half'"),
    "grid_size one": ({"grid_size": 1}, ValueError, r"grid_size must be at least 2: .*, got 1\."),
    "grid_size zero": ({"grid_size": 0}, ValueError, r"grid_size must be at least 1, got 0\."),
    "grid_size fractional": ({"grid_size": 2.5}, TypeError, r"grid_size must be a Python integer"),
    "num_samples zero": (
        {"num_samples": 0},
        ValueError,
        r"num_samples must be at least 1, got 0\.",
    ),
    "baseline of another shape": (
        {"baseline": np.zeros((3, 4, 1))},
        ValueError,
        r"baseline must be a number or .* x, \(4, 4, 1\), got shape \(3, 4, 1\)\.",
    ),
    "baseline with infinity": (
        {"baseline": np.array([np.inf])},
        ValueError,
        r"baseline must be finite, got 1 of 1 values NaN or infinite",
    ),
    "x no image": (
        {"x": jnp.ones(4)},
        TypeError,
        r"x must be one image, with height, width and channels, got shape \(4,\)\.",
    ),
    "x of integers": (
        {"x": jnp.ones((4, 4, 1), int)},
        TypeError,
        r"x must be one float array, got int32\.",
    ),
}


@pytest.mark.parametrize(("settings", "error", "says"), BAD.values(), ids=BAD.keys())
def test_refused_before_anything_is_compiled(settings, error, says, key, count_compiles):
    arguments = {"x": jnp.ones((4, 4, 1)), "target": 0, "key": key, **settings}
    with count_compiles() as compiled, pytest.raises(error, match=rf"^rise: {says}"):
        xaijax.rise(lambda x: x.reshape(-1) * 1.0, **arguments)
    assert "rise" not in compiled
