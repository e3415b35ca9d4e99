"""`xaijax explain --text`: what it writes, what it refuses. With a tiny model; the real one is in tests/parity."""

import csv
import json
import re

import numpy as np
import pytest

from tests import tiny_minilm as tiny
from xaijax.cli import main

pytest.importorskip("tokenizers")
FILES = {"explanation.html", "explanation.csv", "result.json", "refs.bib"}
TEXT = "It's a good film & <b>bad</b>!"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return tiny.classifier(folder), tiny.tokenizer(folder)


@pytest.fixture(autouse=True)
def use_tiny(models, monkeypatch):
    from xaijax.cli import _text

    classifier, tokenizer = models

    def make():
        return classifier

    make.__doc__ = _text.minilm_sentiment.__doc__
    monkeypatch.setattr(_text, "minilm_sentiment", make)
    monkeypatch.setattr(_text, "minilm_tokenizer", lambda: tokenizer)


def explain(*arguments):
    return main(["explain", *arguments])


def test_a_sentence(tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        explain("--text", TEXT, "--samples", "60", "--target", "positive", "--out", str(out)) == 0
    )
    assert {path.name for path in out.iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    shown = capsys.readouterr()
    assert re.search(r"negative [\d.]+%, positive [\d.]+%", shown.err)
    assert shown.out.count(TEXT) == 2

    record = json.loads((out / "result.json").read_text("utf-8"))
    names = ["It", "s", "a", "good", "film", "b", "bad", "b"]
    assert record["words"] == names
    assert record["target"]["label"] == "positive"
    with (out / "explanation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [TEXT[int(r["start"]) : int(r["end"])] for r in rows] == names
    values = np.array([float(r["shapley"]) for r in rows])
    shapley = record["methods"]["shapley"]
    difference = shapley["prediction"] - shapley["base_value"]
    np.testing.assert_allclose(values.sum(), difference, atol=1e-5)
    np.testing.assert_allclose(shapley["prediction"], record["target"]["probability"], atol=1e-5)
    errors = [float(r["shapley_standard_error"]) for r in rows]
    np.testing.assert_allclose(errors, shapley["standard_error"])
    assert record["methods"]["lime"]["evaluations"] == 60
    largest = names[np.abs(values).argmax()]
    assert re.search(rf"Shapley values\n.*\n.*\nlargest: {largest} [+−]", shown.out)

    page = (out / "explanation.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "<b>" not in page  # the sentence is text, not HTML
    assert page.count(">good</span>") == 2
    keys = re.findall(r"^@\w+\{([^,]+),", (out / "refs.bib").read_text(), re.M)
    assert keys[1] == "ribeiro2016lime"
    assert "reimers2019sentencebert" in keys


BAD = {
    "no word": (["--text", "?!"], r"text must have a word between what matches .* got '\?!'"),
    "empty": (["--text", ""], r"text must have a word"),
    "too long": (["--text", "good " * 30], r"text must have at most 24 tokens, got 32"),
    "class": (
        ["--text", "good", "--target", "positiv"],
        r"--target must be auto, a class, or its index in \[0, 2\), got 'positiv'\. Nearest: 'posit",
    ),
    "index": (["--text", "good", "--target", "2"], r"index in \[0, 2\), got '2'"),
    "method": (
        ["--text", "good", "--methods", "grad_cam"],
        r"--methods must be of lime, shapley, got",
    ),
    "samples": (["--text", "good", "--samples", "1"], r"--samples must be at least 2, got 1"),
    "a photo, too": (
        ["cup.jpg", "--text", "good"],
        r"the input must be one of PHOTO, --text and --ta",
    ),
    "a layer": (["--text", "good", "--layer", "x"], r"--layer must go with a photo, got a text"),
    "a model": (["--text", "good", "--model", "x"], r"--model must go with a table, got a text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_and_writes_nothing(case, tmp_path, capsys):
    arguments, message = BAD[case]
    assert explain(*arguments, "--out", str(tmp_path / "out")) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert list(tmp_path.iterdir()) == []


def test_one_word(tmp_path):
    """All of the difference is its own."""
    out = tmp_path / "out"
    assert explain("--text", "good!", "--methods", "shapley", "--out", str(out)) == 0
    record = json.loads((out / "result.json").read_text())["methods"]["shapley"]
    row = (out / "explanation.csv").read_text().splitlines()[1].split(",")
    np.testing.assert_allclose(
        float(row[3]), record["prediction"] - record["base_value"], atol=1e-6
    )
