"""The command line: what it writes, what it refuses, and that nothing is lost."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import xaijax
from xaijax.cli import main
from xaijax.cli._interrupt import check, interruptible

FILES = {"explanation.png", "explanation.npz", "result.json", "refs.bib"}
FAST = ["--samples", "40", "--superpixels", "grid"]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """One whole run on the photo that comes with the installation, compiled as users have it."""
    out = tmp_path_factory.mktemp("explain") / "out"
    command = [sys.executable, "-c", "import sys, xaijax.cli; sys.exit(xaijax.cli.main())"]
    environment = {**os.environ, "XLA_FLAGS": ""}
    subprocess.run([*command, "explain", *FAST, "--out", str(out)], env=environment, check=True)
    return out


def test_explain_writes_all_its_files_and_nothing_else(result):
    assert {path.name for path in result.iterdir()} == FILES
    assert [path.name for path in result.parent.iterdir()] == ["out"]


def test_the_record_agrees_with_the_archive(result):
    record = json.loads((result / "result.json").read_text())
    arrays = np.load(result / "explanation.npz")
    assert record["target"]["label"] == "espresso"
    assert record["target"]["index"] == arrays["logits"].argmax()
    p = np.exp(arrays["logits"] - arrays["logits"].max())
    np.testing.assert_allclose(record["target"]["probability"], p.max() / p.sum(), rtol=1e-5)

    assert arrays["grad_cam"].shape == (7, 7)
    assert arrays["grad_cam"].min() >= 0
    assert record["methods"]["grad_cam"]["layer_shape"] == [7, 7, 1280]

    # The raw values, not scaled for showing: Shapley values sum to the difference they explain.
    shapley = record["methods"]["shapley"]
    difference = shapley["prediction"] - shapley["base_value"]
    np.testing.assert_allclose(arrays["shapley_values"].sum(), difference, atol=1e-5)
    np.testing.assert_allclose(shapley["prediction"], record["target"]["probability"], rtol=1e-4)
    for name in ("lime", "shapley"):
        weights = arrays[{"lime": "lime_weights", "shapley": "shapley_values"}[name]]
        np.testing.assert_array_equal(arrays[name], weights[arrays["segments"]])
        assert set(record["methods"][name]["seconds"]) == {"trace", "compile", "run"}
    assert record["methods"]["lime"]["evaluations"] == 40
    assert record["provenance"]["packages"]["jax"]


def test_refs_are_those_of_the_methods(result):
    keys = re.findall(r"^@\w+\{([^,]+),", (result / "refs.bib").read_text(), re.M)
    assert keys[:3] == ["xaijax2026", "selvaraju2017gradcam", "ribeiro2016lime"]
    assert "castro2009polynomial" in keys


def test_the_picture_is_a_picture(result):
    with Image.open(result / "explanation.png") as image:
        image.load()
        assert min(image.size) > 400
        # Not blank: many colours in it.
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 1000


def test_results_are_not_replaced_without_force(result, capsys):
    before = (result / "result.json").read_bytes()
    assert main(["explain", *FAST, "--out", str(result)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (result / "result.json").read_bytes() == before


def test_other_files_in_the_folder_survive_force(result, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "refs.bib").write_text("old")
    arguments = ["explain", "--methods", "grad_cam", "--out", str(tmp_path), "--force"]
    assert main(arguments) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "refs.bib").read_text() != "old"


def photo(folder, size=(64, 64), name="photo.png", mode="RGB"):
    path = folder / name
    Image.new(mode, size).save(path)
    return str(path)


def damaged(folder):
    path = folder / "cut.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    return str(path)


def text_file(folder):
    path = folder / "text.jpg"
    path.write_text("no image")
    return str(path)


BAD = {
    "missing photo": (lambda d: [str(d / "none.jpg")], r"PHOTO must exist"),
    "a folder": (lambda d: [str(d)], r"PHOTO must be an image file"),
    "truncated": (lambda d: [damaged(d)], r"PHOTO must be a whole image"),
    "not an image": (lambda d: [text_file(d)], r"PHOTO must be an image, got .*text\.jpg"),
    "1x1": (lambda d: [photo(d, (1, 1))], r"at least 32 pixels a side.* got 1x1"),
    "20000x20000": (lambda d: [photo(d, (20000, 20000), mode="1")], r"at most 80 million"),
    "method": (
        lambda d: ["--methods", "grad_cam,lim"],
        r"--methods .* got 'lim'\. Nearest: 'lime'",
    ),
    "no method": (lambda d: ["--methods", ","], r"--methods must name one of"),
    "label": (lambda d: ["--target", "expresso"], r"'expresso'.*espresso"),
    "target": (lambda d: ["--target", "1000"], r"--target must be a class index in \[0, 1000\)"),
    "negative target": (lambda d: ["--target=-1"], r"--target must be a class index"),
    "layer": (lambda d: ["--layer", "haed"], r"layer must name a layer.* got 'haed'.*'head"),
    "superpixels": (
        lambda d: ["--superpixels", "slick"],
        r"method must be one of.*'slick'.*'slic'",
    ),
    "samples": (lambda d: ["--samples", "0"], r"--samples must be at least 2, got 0"),
    "seed": (lambda d: ["--seed", "-1"], r"--seed must be in \[0, 2\*\*32\), got -1"),
    "out is a file": (
        lambda d: ["--out", photo(d, name="out.png")],
        r"--out must be a folder, got a file",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_and_writes_nothing(case, tmp_path, capsys):
    arguments, message = BAD[case]
    given = arguments(tmp_path)
    out = [] if "--out" in given else ["--out", str(tmp_path / "out")]
    before = sorted(tmp_path.iterdir())
    assert main(["explain", *given, *out]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert sorted(tmp_path.iterdir()) == before


def test_folder_that_is_not_writable(tmp_path, capsys, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    # Instead of its mode bits, which do not stop a superuser.
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    assert main(["explain", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(r"--out must be writable, got .*out' \(Permission denied\)", error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number, tmp_path):
    command = [sys.executable, "-c", "import sys; from xaijax.cli import main; sys.exit(main())"]
    options = [
        "explain",
        "--methods",
        "lime",
        "--samples",
        "100000",
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        # The classes are printed just before the long computation.
        assert process.stderr is not None
        assert "espresso" in process.stderr.readline()
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_is_heard_that_python_dropped():
    """What is raised in a destructor goes nowhere."""

    class Deaf:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    with interruptible():
        Deaf()
        with pytest.raises(KeyboardInterrupt):
            check()


def test_the_layer_and_the_target_can_be_chosen(tmp_path):
    out = tmp_path / "out"
    arguments = [
        "--methods",
        "grad_cam",
        "--target",
        "cup",
        "--layer",
        "blocks/10",
        "--out",
        str(out),
    ]
    assert main(["explain", *arguments]) == 0
    record = json.loads((out / "result.json").read_text())
    assert record["target"]["label"] == "cup"
    assert record["methods"]["grad_cam"]["layer_shape"] == [14, 14, 112]


def test_layers_methods_and_cite(capsys):
    assert main(["layers"]) == 0
    listed = capsys.readouterr().out
    assert "blocks/0/depthwise/conv" in listed
    assert re.search(r"7x7x1280 +<- layer=None", listed)

    assert main(["methods"]) == 0
    table = capsys.readouterr().out
    assert all(name in table for name in xaijax.explainers())

    assert main(["cite", "lime"]) == 0
    assert "ribeiro2016lime" in capsys.readouterr().out

    assert main(["cite", "lyme"]) == 2
    assert "Nearest: 'lime'" in capsys.readouterr().err


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as status:
        main(["explain", "--help"])
    assert status.value.code == 0
    text = capsys.readouterr().out
    for word in ("PHOTO", "--methods", "--target", "--samples", "--seed", "--out", "result.json"):
        assert word in text
