"""A tiny encoder with random weights under BERT's names, and a tokenizer of few words."""

import json

import numpy as np
from flax import nnx

from xaijax.models._checkpoint import create
from xaijax.models._minilm import MiniLM, _set_parameters
from xaijax.models._sentiment import SentenceClassifier
from xaijax.models._tokenizer import Tokenizer

WIDTH, DEPTH, HEADS, LENGTH = 8, 2, 2, 24
PIECES = ["a", "good", "bad", "film", "un", "##watch", "##able", ",", "!", "'", "s", "it"]


def arrays(seed=0):
    """Random arrays as a file of Hugging Face's BertModel has them, with what is not used."""
    rng = np.random.default_rng(seed)

    def dense(name, out, into):
        return {
            f"{name}.weight": rng.normal(0, 0.5, (out, into)),
            f"{name}.bias": rng.normal(0, 0.5, out),
        }

    def norm(name):
        return {
            f"{name}.LayerNorm.weight": rng.uniform(0.5, 2, WIDTH),
            f"{name}.LayerNorm.bias": rng.normal(0, 0.5, WIDTH),
        }

    found = norm("embeddings") | dense("pooler.dense", WIDTH, WIDTH)
    for name, size in (("word", 104), ("position", LENGTH), ("token_type", 2)):
        found[f"embeddings.{name}_embeddings.weight"] = rng.normal(size=(size, WIDTH))
    for i in range(DEPTH):
        at = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found |= dense(f"{at}.attention.self.{part}", WIDTH, WIDTH)
        found |= dense(f"{at}.attention.output.dense", WIDTH, WIDTH) | norm(
            f"{at}.attention.output"
        )
        found |= dense(f"{at}.intermediate.dense", 4 * WIDTH, WIDTH)
        found |= dense(f"{at}.output.dense", WIDTH, 4 * WIDTH) | norm(f"{at}.output")
    found = {name: array.astype(np.float32) for name, array in found.items()}
    return found | {"embeddings.position_ids": np.arange(LENGTH)[None]}


def build(rngs):
    sizes = {"vocabulary": 104, "max_length": LENGTH, "width": WIDTH, "depth": DEPTH}
    return MiniLM(**sizes, num_heads=HEADS, rngs=rngs)


def encoder(folder, given=None):
    """The encoder read from a file."""
    from safetensors.numpy import save_file

    path = folder / "tiny.safetensors"
    save_file(arrays() if given is None else given, path)
    return create("minilm", build, path, None, set_arrays=_set_parameters)


def classifier(folder):
    return SentenceClassifier(encoder(folder), width=WIDTH, rngs=nnx.Rngs(0))


def tokenizer(folder):
    """Of lower case and without accents, as BERT's."""
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    vocabulary = special | {piece: i + 1 for i, piece in enumerate(PIECES)}
    content = {
        "version": "1.0",
        "truncation": {
            "max_length": 4,
            "strategy": "LongestFirst",
            "stride": 0,
            "direction": "Right",
        },
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
            ],
            "pair": [],
            "special_tokens": {
                name: {"id": name, "ids": [special[name]], "tokens": [name]}
                for name in ("[CLS]", "[SEP]")
            },
        },
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content), "utf-8")
    return Tokenizer(path, max_length=LENGTH)
