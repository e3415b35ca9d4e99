"""Masks: which features an input has, and what it looks like without some of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.oracles import shapley as oracle
from xaijax.core._game import Game, game
from xaijax.core._mask import default_mask, paint

LABELS = np.array([[0, 0, 1], [2, 1, 1]])
IMAGE = jnp.arange(12.0).reshape(2, 3, 2)


def bits(*kept):
    return jnp.array(kept, bool)


# --- Segments


def test_segments_show_their_mean_colour():
    mask = xaijax.segments(LABELS)
    assert mask.num_features == 3
    out = mask(IMAGE, bits(True, False, False))
    for place in zip(*np.nonzero(LABELS == 1), strict=True):
        np.testing.assert_allclose(out[place], [(4 + 8 + 10) / 3, (5 + 9 + 11) / 3], rtol=1e-6)
    np.testing.assert_array_equal(out[0, :2], IMAGE[0, :2])
    np.testing.assert_array_equal(out[1, 0], IMAGE[1, 0])  # the mean of one pixel is itself


@pytest.mark.parametrize("hidden", [7.0, np.full((2, 3, 2), 7.0), jnp.array([7.0, 7.0])])
def test_segments_show_what_they_are_told(hidden):
    out = xaijax.segments(LABELS, hidden)(IMAGE, bits(False, True, True))
    expected = np.where(LABELS[..., None] == 0, 7.0, IMAGE)
    np.testing.assert_array_equal(out, expected)


def test_segments_keep_everything():
    np.testing.assert_array_equal(xaijax.segments(LABELS)(IMAGE, bits(True, True, True)), IMAGE)


def test_segments_of_an_image_without_channels():
    out = xaijax.segments(LABELS)(IMAGE[..., 0], bits(False, True, True))
    np.testing.assert_array_equal(out, [[1, 1, 4], [6, 8, 10]])


def test_segments_paint():
    painted = xaijax.segments(LABELS).paint(jnp.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(painted, [[1, 1, 2], [3, 2, 2]])


def test_background_is_computed_once():
    """However many masks: the mean colours stay outside of the map over them."""
    show = xaijax.segments(LABELS).at(IMAGE)
    text = str(jax.make_jaxpr(jax.vmap(show))(jnp.ones((5, 3), bool)))
    assert "scatter" not in text


# --- Columns


def test_columns_show_the_background():
    background = jnp.array([[10.0, 20.0], [30.0, 40.0]])
    mask = xaijax.columns(background)
    x = jnp.array([1.0, 2.0])
    assert mask.num_features == 2
    np.testing.assert_array_equal(mask(x, bits(True, False)), [[1, 20], [1, 40]])
    np.testing.assert_array_equal(mask(x, bits(True, True)), [[1, 2], [1, 2]])
    np.testing.assert_array_equal(mask(x, bits(False, False)), background)
    np.testing.assert_array_equal(mask.paint(jnp.array([5.0, 6.0])), [5, 6])


def test_columns_of_an_array():
    mask = xaijax.columns(jnp.zeros((1, 2, 2)))
    out = mask(jnp.ones((2, 2)), bits(True, False, False, True))
    np.testing.assert_array_equal(out, [[[1, 0], [0, 1]]])
    np.testing.assert_array_equal(mask.paint(jnp.arange(4.0)), [[0, 1], [2, 3]])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_columns_keep_the_dtype_of_x(dtype):
    """The model gets what it was made for, whatever the background is stored as."""
    mask = xaijax.columns(np.zeros((3, 2), np.float32))
    assert mask(jnp.ones(2, dtype), bits(True, False)).dtype == dtype


def test_columns_in_groups():
    """Numbered in the order of the groups; a negative one is never hidden and has no value."""
    mask = xaijax.columns(jnp.zeros((1, 2, 2)), groups=np.array([[7, -1], [3, 7]]))
    assert mask.num_features == 2
    out = mask(jnp.array([[1.0, 2.0], [3.0, 4.0]]), bits(True, False))
    np.testing.assert_array_equal(out, [[[0, 2], [3, 0]]])
    np.testing.assert_array_equal(mask.paint(jnp.array([5.0, 6.0])), [[6, 0], [5, 6]])


def tabular(row):
    """Two outputs with interactions of any order."""
    w1, w2 = np.sin(np.arange(20.0)).reshape(5, 4), np.cos(np.arange(8.0)).reshape(4, 2)
    return jnp.tanh(row @ w1.astype(np.float32)) @ w2.astype(np.float32)


ROW = np.array([1.0, -1.0, 0.5, 2.0, 0.0], np.float32)
BACKGROUND = np.sin(3 * np.arange(20, dtype=np.float32)).reshape(4, 5)
WEIGHTS = np.array([1.0, 0.0, 4.0, 2.0])


def test_exact_shapley_of_weighted_rows_and_groups():
    groups = np.array([2, 0, 2, 1, 0])

    def v(z):
        rows = np.where(z[groups] > 0, ROW, BACKGROUND)
        return sum(w * float(tabular(row)[1]) for w, row in zip(WEIGHTS, rows, strict=True)) / 7

    mask = xaijax.columns(BACKGROUND, WEIGHTS, groups=groups)
    found = xaijax.exact_shapley(tabular, jnp.asarray(ROW), 1, mask=mask)
    np.testing.assert_allclose(found, oracle.shapley_values(v, 3)[groups], atol=1e-6)


def test_weights_are_like_repeated_rows():
    """Through `even_sizes` too, which hands on what its mask knows; and a link is of the weighted mean."""
    repeated = xaijax.columns(np.repeat(BACKGROUND, WEIGHTS.astype(int), 0))
    target = xaijax.linked(0, jnp.exp)
    expected = game("test", tabular, jnp.asarray(ROW), target, repeated)
    weighted = xaijax.even_sizes(xaijax.columns(BACKGROUND, WEIGHTS.astype(int)))
    found = game("test", tabular, jnp.asarray(ROW), target, weighted)
    z = bits(True, False, True, False, False)
    np.testing.assert_allclose(found(z), expected(z), rtol=1e-6)
    np.testing.assert_allclose(found.outputs(z), expected.outputs(z), rtol=1e-6)


def test_weighted_mean_in_half_precision():
    """The sum of the weights, 4096 * 1000, is out of float16's reach."""
    mask = xaijax.columns(jnp.ones((4096, 1), jnp.float16), np.full(4096, 1000.0))
    v = game("test", lambda x: 3 * x, jnp.zeros(1, jnp.float16), 0, mask)(bits(False))
    assert v == 3
    assert v.dtype == jnp.float16


def test_traced_weights():
    def explain(weights):
        mask = xaijax.columns(BACKGROUND, weights)
        return xaijax.exact_shapley(tabular, jnp.asarray(ROW), 0, mask=mask)

    found = jax.jit(jax.vmap(explain))(jnp.stack([jnp.ones(4), jnp.asarray(WEIGHTS)]))
    np.testing.assert_allclose(found[1], explain(WEIGHTS), atol=1e-6)
    assert not np.allclose(found[0], found[1])


def test_row_weights_of_a_mask_that_stacks_nothing():
    class Weighted(Halves):
        row_weights = jnp.ones(3)

    x = {"left": jnp.ones(2), "right": jnp.array(10.0)}
    with pytest.raises(ValueError, match=r"mask must have one of its row_weights for each input"):
        game("test", square, x, 0, Weighted())


# --- k-means


def test_k_means_gives_values_of_the_columns():
    """Two clouds far apart: their centres, moved to values that there are; no two of one row."""
    pytest.importorskip("sklearn")
    rows = np.array([[0, 1], [1, 0], [1, 1], [90, 50], [91, 50]], np.float32)
    centres, weights = xaijax.k_means(rows, 2)
    order = centres[:, 0].argsort()
    np.testing.assert_array_equal(centres[order], [[1, 1], [90, 50]])
    np.testing.assert_array_equal(weights[order], [3, 2])
    assert centres.dtype == rows.dtype


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_k_means_of_duplicated_rows():
    """Fewer rows than clusters: what nothing is in is left out."""
    pytest.importorskip("sklearn")
    centres, weights = xaijax.k_means(np.ones((4, 2, 3)), 3)
    np.testing.assert_array_equal(centres, np.ones((1, 2, 3)))
    np.testing.assert_array_equal(weights, [4])


def test_k_means_without_scikit_learn(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"k_means needs .*: pip install scikit-learn"):
        xaijax.k_means(np.ones((4, 2)), 3)


# --- Tokens


def test_tokens():
    text = jnp.array([101, 7, 8, 7, 102])
    mask = xaijax.tokens(text, mask_token=103, keep=(101, 102))
    assert mask.num_features == 3
    out = mask(text, bits(False, True, False))
    np.testing.assert_array_equal(out, [101, 103, 8, 103, 102])
    assert out.dtype == text.dtype
    np.testing.assert_array_equal(mask.paint(jnp.array([1.0, 2.0, 3.0])), [0, 1, 2, 3, 0])


def test_shapley_values_of_a_text(key):
    """A bag of words with a weight for each: the weight, less that of the mask token."""
    weights = jnp.array([0.0, 5.0, -2.0, 1.0])
    text = jnp.array([1, 2, 2, 0])
    values = xaijax.permutation_shap(
        lambda ids: weights[ids].sum()[None],
        text,
        0,
        key,
        mask=xaijax.tokens(text, mask_token=3, keep=(0,)),
        num_permutations=1,
    )
    np.testing.assert_allclose(values, [4.0, -3.0, -3.0, 0.0], atol=1e-5)


# --- Any callable, any tree


@jax.tree_util.register_static
class Halves:
    """Two features of an input that is a tree: it needs no `paint`."""

    num_features = 2

    def __call__(self, x, z):
        return {"left": x["left"] * z[0], "right": x["right"] * z[1]}


def test_own_mask_for_a_tree(key):
    x = {"left": jnp.array([1.0, 2.0]), "right": jnp.array(10.0)}
    values = xaijax.permutation_shap(
        lambda x: jnp.stack([x["left"].sum() + 2 * x["right"]]), x, 0, key, mask=Halves()
    )
    np.testing.assert_allclose(values, [3.0, 20.0])


# --- The game


def square(x):
    return jnp.stack([x.sum() ** 2])


def test_game_is_the_mean_score_not_the_score_of_the_mean():
    mask = xaijax.columns(jnp.array([[1.0, 1.0], [3.0, 3.0]]))
    v = game("test", square, jnp.array([0.0, 2.0]), 0, mask)
    assert isinstance(v, Game)
    assert v(bits(False, False)) == (2**2 + 6**2) / 2
    assert v(bits(False, True)) == (3**2 + 5**2) / 2
    assert v(bits(True, True)) == 2**2


@pytest.mark.parametrize("lengths", [(0, 0), (2, 3)])
def test_mask_that_stacks_nothing_or_unevenly(lengths):
    x = {"left": jnp.ones(2), "right": jnp.array(10.0)}

    class Stack(Halves):
        def __call__(self, x, z):
            return {k: jnp.stack([v] * 3)[:n] for n, (k, v) in zip(lengths, x.items(), strict=True)}

    with pytest.raises(ValueError, match=r"test: mask must return inputs like x, .*, got \["):
        game("test", square, x, 0, Stack())


def test_default_mask_hides_with_zeros():
    x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    mask = default_mask("test", x, None)
    v = game("test", square, x, 0, mask)
    assert v(bits(True, False, False, True)) == 5.0**2
    np.testing.assert_array_equal(paint(mask, jnp.arange(4.0)), [[0, 1], [2, 3]])


def test_stack_of_as_many_rows_as_features():
    """A background of d rows for d features is a stack, and an input of shape (d, d) is not."""
    stacked = game("test", square, jnp.ones(2), 0, xaijax.columns(jnp.zeros((2, 2))))
    assert stacked.stacked
    alone = game("test", square, jnp.ones((2, 2)), 0, xaijax.segments(np.array([[0, 1], [2, 3]])))
    assert not alone.stacked


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16"])
def test_mean_colour_of_a_large_segment_in_a_narrow_dtype(dtype):
    """1600 pixels: their sum and their number are out of such a dtype's reach."""
    pixels = np.where(np.arange(1600) % 4 == 0, 100, 200).reshape(40, 40, 1)
    image = jnp.asarray(pixels, dtype)
    hidden = xaijax.segments(np.zeros((40, 40), int))(image, jnp.array([False]))
    assert hidden.dtype == image.dtype
    np.testing.assert_allclose(np.asarray(hidden, np.float64), 175, rtol=0.004)
