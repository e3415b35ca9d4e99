"""Texts: tokens replaced, taken out, in groups; words of a sentence; values on characters; LIME of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.test_lime import linear

TEXT = jnp.array([101, 7, 8, 7, 102, 0])


def bits(*values):
    return jnp.array(values, bool)


def test_tokens_taken_out():
    mask = xaijax.tokens(TEXT, pad_token=0, keep=(101, 102, 0))
    assert mask.num_features == 3
    np.testing.assert_array_equal(mask(TEXT, bits(0, 1, 1)), [101, 8, 7, 102, 0, 0])
    np.testing.assert_array_equal(mask(TEXT, bits(0, 0, 0)), [101, 102, 0, 0, 0, 0])
    np.testing.assert_array_equal(mask(TEXT, bits(1, 1, 1)), TEXT)


def test_groups_of_tokens():
    """All occurrences of a token; and the pieces of words, of which -1 are in none."""
    mask = xaijax.tokens(TEXT, mask_token=103, keep=(101, 102, 0), groups=TEXT)
    assert mask.num_features == 2
    np.testing.assert_array_equal(mask(TEXT, bits(0, 1)), [101, 103, 8, 103, 102, 0])
    np.testing.assert_array_equal(mask.paint(jnp.array([1.0, 2.0])), [0, 1, 2, 1, 0, 0])
    mask = xaijax.tokens(TEXT, mask_token=103, groups=np.array([-1, 0, 0, 5, -1, -1]))
    np.testing.assert_array_equal(mask(TEXT, bits(0, 1)), [101, 103, 103, 7, 102, 0])


def test_words_of_a_sentence():
    sentence = xaijax.words("It's good, so good!")
    assert sentence.names == ("It", "s", "good", "so")
    assert sentence.join(sentence.x) == sentence.text
    hidden = sentence.mask(sentence.x, bits(1, 1, 0, 1))
    assert sentence.join(hidden) == "It's , so !"
    alone = xaijax.words("It's good, so good!", bow=False, replacement="_")
    assert alone.names == ("It", "s", "good", "so", "good")
    assert alone.join(alone.mask(alone.x, bits(1, 0, 1, 1, 0))) == "It'_ good, so _!"
    assert xaijax.words(" ab", split=r"\s").names == ("ab",)


def test_values_on_characters():
    sentence = xaijax.words("so good, so")
    values = sentence.mask.paint(jnp.array([1.0, 2.0]))
    np.testing.assert_array_equal(sentence.characters(values), [1, 1, 0, 2, 2, 2, 2, 0, 0, 1, 1])


def test_lime_of_a_sentence(key):
    """A classifier of strings that counts: each occurrence of a word speaks for it."""

    def predict(texts):
        return np.array([[t.count("good") - 2.0 * t.count("bad"), 0.0] for t in texts])

    sentence = xaijax.words("good film, bad end, good cast")
    values = xaijax.lime(
        sentence.model(predict, 2),
        sentence.x,
        0,
        key,
        mask=xaijax.even_sizes(sentence.mask),
        num_samples=200,
        num_features=2,
        ridge=0.0,
    )
    shown = sentence.characters(values)
    np.testing.assert_allclose(shown[:4], 2.0, atol=1e-4)
    np.testing.assert_allclose(shown[11:14], -2.0, atol=1e-4)
    np.testing.assert_allclose(np.delete(shown, [*range(4), *range(11, 14), *range(20, 24)]), 0)


def test_even_sizes(key):
    """Each number of hidden features is drawn as often, and any features of that number alike."""
    d, n = 5, 4000
    recorder = linear(np.zeros(d))
    mask = xaijax.even_sizes(xaijax.columns(jnp.zeros((1, d))))
    xaijax.lime(recorder.model, jnp.ones(d), 0, key, mask=mask, num_samples=n + 1)
    Z = recorder.rows
    np.testing.assert_array_equal(Z[0], 1)
    hidden = np.bincount((d - Z[1:].sum(1)).astype(int), minlength=d + 1)
    assert hidden[0] == 0
    five_errors = 5 * np.sqrt(n * 0.2 * 0.8)
    np.testing.assert_allclose(hidden[1:], n / d, atol=five_errors)
    share = 1 - (d + 1) / (2 * d)
    np.testing.assert_allclose(Z[1:].mean(0), share, atol=5 * np.sqrt(share * (1 - share) / n))
    pairs = np.bincount((Z[1:][Z[1:].sum(1) == d - 2] == 0) @ (2 ** np.arange(d)))
    assert np.count_nonzero(pairs) == d * (d - 1) / 2


def test_even_sizes_keep_the_mask(key):
    """What the mask computes once, and its way to paint; as a game it is the mask's."""
    image = jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 3)), jnp.float32)
    mask = xaijax.segments(np.array([[0, 0], [1, 1]]))
    even = xaijax.even_sizes(mask)
    np.testing.assert_array_equal(even(image, bits(0, 1)), mask(image, bits(0, 1)))
    f = jax.tree_util.Partial(lambda x: x.sum((0, 1)))
    shap = [xaijax.permutation_shap(f, image, 0, key, mask=m) for m in (mask, even)]
    assert shap[0].shape == (2, 2)
    np.testing.assert_array_equal(*shap)


BAD = {
    "no word": (lambda: xaijax.words("?!"), r"words: text must have a word .*, got '\?!'"),
    "no string": (lambda: xaijax.words(None), r"words: text must be a string, got None"),
    "no way to hide": (lambda: xaijax.tokens(TEXT), r"tokens: mask_token must be given unless pad"),
    "two ways to hide": (
        lambda: xaijax.tokens(TEXT, 103, pad_token=0),
        r"mask_token must be given unless pad_token is, and not both, got 103 and 0",
    ),
    "groups of another length": (
        lambda: xaijax.tokens(TEXT, 103, groups=np.arange(3)),
        r"tokens: groups must be integers, one per token \(6,\), got int64 \(3,\)",
    ),
    "nothing to hide": (
        lambda: xaijax.tokens(TEXT, 103, groups=np.full(6, -1)),
        r"tokens: x must have a token that may be hidden",
    ),
    "spans of other tokens": (
        lambda: xaijax.to_characters(np.ones(3), [(0, 1)], 4),
        r"spans must be a pair for each value, \(3, 2\), got shape \(1, 2\)",
    ),
    "spans outside": (
        lambda: xaijax.to_characters(np.ones(1), [(0, 9)], 4),
        r"spans must be in \[0, 4\], got 0 to 9",
    ),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
