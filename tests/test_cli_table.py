"""`xaijax explain --table`: what it writes, what it refuses, and that no model is loaded that was not trusted."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import jax
import joblib
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from xaijax.cli import main

FILES = {"explanation.png", "explanation.csv", "result.json", "refs.bib"}
NAMES = ["age", "dose", "weight"]
WEIGHTS = np.array([2.0, -1.0, 0.0])
ROWS = np.random.default_rng(0).normal(size=(40, 3)) * [10.0, 0.1, 1e3]


def write(path, rows=ROWS, names=NAMES):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(
            [
                [repr(v) if isinstance(v, float) else v for v in row]
                for row in np.asarray(rows).tolist()
            ]
        )
    return str(path)


def save(folder, model):
    path = folder / "model.joblib"
    joblib.dump(model, path)
    return str(path)


def linear():
    return LinearRegression().fit(ROWS, ROWS @ WEIGHTS + 5)


def classifier():
    scaled = ROWS / ROWS.std(0)
    return LogisticRegression().fit(ROWS / [1, 1, 1e3], np.where(scaled[:, 0] > 0, "ill", "well"))


def explain(*arguments):
    return main(["explain", *map(str, arguments)])


def read(out):
    with (out / "explanation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, json.loads((out / "result.json").read_text())


def test_a_row_of_a_linear_model(tmp_path, capsys):
    """Its Shapley values are known: w (x - mean of the other rows)."""
    table, model, out = write(tmp_path / "t.csv"), save(tmp_path, linear()), tmp_path / "out"
    arguments = ["--table", table, "--row", 3, "--model", model, "--trust-model", "--out", out]
    assert explain(*arguments, "--samples", 40) == 0
    assert {path.name for path in out.iterdir()} == FILES
    rows, record = read(out)
    assert [r["column"] for r in rows] == NAMES
    assert [float(r["value"]) for r in rows] == ROWS[3].tolist()  # to the last digit
    expected = WEIGHTS * (ROWS[3] - np.delete(ROWS, 3, 0).mean(0))
    np.testing.assert_allclose([float(r["shapley"]) for r in rows], expected, rtol=1e-8, atol=1e-8)
    assert record["methods"]["shapley"]["largest_standard_error"] < 1e-6
    assert record["target"]["label"] == "prediction"
    np.testing.assert_allclose(record["target"]["score"], ROWS[3] @ WEIGHTS + 5)
    assert record["background"] == 39
    assert record["rows"] == 40
    assert not jax.config.jax_enable_x64
    with Image.open(out / "explanation.png") as image:
        image.load()
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 50
    keys = re.findall(r"^@\w+\{([^,]+),", (out / "refs.bib").read_text(), re.M)
    assert keys[1] == "ribeiro2016lime"
    shown = capsys.readouterr()
    assert re.search(r"column +value +lime +shapley", shown.out)
    assert "row 3: prediction" in shown.err

    assert explain(*arguments) == 2
    assert "--force" in capsys.readouterr().err


def test_a_class_can_be_chosen(tmp_path):
    table, model = write(tmp_path / "t.csv", ROWS / [1, 1, 1e3]), save(tmp_path, classifier())
    signs = {}
    for target in ("ill", "1"):
        out = tmp_path / target
        arguments = ["--model", model, "--trust-model", "--methods", "shapley", "--samples", 20]
        assert (
            explain("--table", table, "--row", 0, *arguments, "--target", target, "--out", out) == 0
        )
        rows, record = read(out)
        assert record["target"]["label"] == {"ill": "ill", "1": "well"}[target]
        signs[target] = np.array([float(r["shapley"]) for r in rows])
    np.testing.assert_allclose(signs["ill"], -signs["1"], atol=1e-9)
    assert abs(signs["ill"][0]) > 10 * abs(signs["ill"][1:]).max()


def test_columns_are_found_by_name(tmp_path, capsys):
    """Another order, and a column more than the model was trained on."""
    pd = pytest.importorskip("pandas")
    model = LinearRegression().fit(pd.DataFrame(ROWS, columns=NAMES), ROWS @ WEIGHTS)
    turned = np.concatenate([ROWS[:, ::-1], np.full((40, 1), 7)], 1).astype(object)
    turned[:, 3] = "unread"
    table = write(tmp_path / "t.csv", turned, [*NAMES[::-1], "note"])
    out = tmp_path / "out"
    saved = save(tmp_path, model)
    assert (
        explain("--table", table, "--row", 1, "--model", saved, "--trust-model", "--out", out) == 0
    )
    rows, record = read(out)
    assert record["columns"] == [r["column"] for r in rows] == NAMES
    np.testing.assert_allclose(record["target"]["score"], ROWS[1] @ WEIGHTS)
    assert "not used by the model: note" in capsys.readouterr().err


class Trap:
    """Runs a program when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_no_model_is_loaded_that_was_not_trusted(tmp_path, capsys):
    trap = tmp_path / "sprung"
    model, table = save(tmp_path, Trap(str(trap))), write(tmp_path / "t.csv")
    arguments = ["--table", table, "--row", 0, "--model", model, "--out", tmp_path / "out"]
    assert explain(*arguments) == 2
    error = capsys.readouterr().err
    assert re.search(r"pickle: loading it runs whatever program.*--trust-model", error), error
    assert not trap.exists()
    assert explain(*arguments, "--trust-model") == 2  # what it made is no model
    assert trap.exists()


def cells(path, row, column, value):
    rows = ROWS.astype(object)
    rows[row, column] = value
    return write(path, rows)


def text(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


TABLES = {
    "missing cell": (
        lambda p: cells(p, 7, 1, ""),
        r"no missing cells, got '' in row 7 \(line 9\), column 'dose'",
    ),
    "word": (
        lambda p: cells(p, 7, 1, "low"),
        r"finite numbers, got 'low' in row 7 \(line 9\), column",
    ),
    "infinite": (lambda p: cells(p, 0, 2, "inf"), r"finite numbers, got 'inf' in row 0 \(line 2\)"),
    "another row out of range": (
        lambda p: write(p, ROWS[:3]),
        r"--row must be in \[0, 3\), .* got 3",
    ),
    "one row": (lambda p: write(p, ROWS[:1]), r"--table must have at least 2 rows, .* got 1"),
    "names alone": (lambda p: write(p, ROWS[:0]), r"at least 2 rows, .* got 0"),
    "empty": (lambda p: text(p, ""), r"--table must not be empty"),
    "no names": (lambda p: text(p, "1,2,3\n4,5,6\n"), r"must name its columns in the first line"),
    "a name twice": (lambda p: text(p, "a,b,a\n1,2,3\n"), r"each by another name, got 'a' twice"),
    "ragged": (
        lambda p: text(p, "a,b,c\n1,2,3\n4,5\n"),
        r"3 cells in each row, .* got 2 in line 3",
    ),
    "semicolons": (
        lambda p: text(p, "a;b;c\n1;2;3\n"),
        r"separate its cells by commas, got 'a;b;c'",
    ),
    "no text": (lambda p: text(p, b"\xff\xfe\x00a"), r"must be a CSV in UTF-8"),
    "columns": (
        lambda p: write(p, ROWS[:, :2], NAMES[:2]),
        r"the 3 columns of the model, .* got 2",
    ),
    "no file": (lambda p: str(p), r"--table must exist"),
    "folder": (lambda p: str(p.parent), r"--table must be a CSV file"),
}


@pytest.mark.parametrize("case", TABLES)
def test_bad_tables(case, tmp_path, capsys):
    make, message = TABLES[case]
    table, model = make(tmp_path / "t.csv"), save(tmp_path, linear())
    before = sorted(tmp_path.iterdir())
    arguments = ["--row", 3, "--model", model, "--trust-model", "--out", tmp_path / "out"]
    assert explain("--table", table, *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert sorted(tmp_path.iterdir()) == before


class Labels(LogisticRegression):
    """Says classes where scores belong."""

    def predict_proba(self, X):
        return self.predict(X)


class Failing(LinearRegression):
    def predict(self, X):
        raise KeyError("the user's own mistake")


def test_the_traceback_of_a_failing_model_survives(tmp_path):
    table, model = write(tmp_path / "t.csv"), save(tmp_path, Failing().fit(ROWS, ROWS[:, 0]))
    arguments = ["--row", 3, "--model", model, "--trust-model", "--out", tmp_path / "out"]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyError, match="own mistake") as caught:
        explain("--table", table, *arguments)
    assert caught.traceback[-1].path.name == "test_cli_table.py"
    assert sorted(tmp_path.iterdir()) == before


MODELS = {
    "labels for scores": (
        lambda: Labels().fit(ROWS, np.where(ROWS[:, 0] > 0, "ill", "well")),
        r"--model must answer a row with 2 finite scores, got \[\['(ill|well)'\]\]",
    ),
    "several numbers": (
        lambda: LinearRegression().fit(ROWS, ROWS[:, :2]),
        r"--model must answer a row with 1 finite scores, got \[\[",
    ),
    "not a model": (
        lambda: {"a": 1},
        r"--model must have predict_proba, or be a regression .* got dict",
    ),
    "no probabilities": (
        lambda: LinearSVC().fit(ROWS, ROWS[:, 0] > 0),
        r"have predict_proba, .* got LinearSVC\. A classifier without probabilities",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(case, tmp_path, capsys):
    make, message = MODELS[case]
    table, model = write(tmp_path / "t.csv"), save(tmp_path, make())
    arguments = ["--row", 3, "--model", model, "--trust-model", "--out", tmp_path / "out"]
    assert explain("--table", table, *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not (tmp_path / "out").exists()


OPTIONS = {
    "no row": (["--table", "t.csv", "--model", "m"], r"--row must be given with --table"),
    "no model": (["--table", "t.csv", "--row", "1"], r"--model must be given with --table"),
    "no such model": (
        ["--table", "t.csv", "--row", "1", "--model", "m"],
        r"--model must be an existing",
    ),
    "photo": (["--row", "1"], r"--row must go with a table, got a photo"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_do_not_go_together(case, capsys):
    arguments, message = OPTIONS[case]
    assert explain(*arguments) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_damaged_model(tmp_path, capsys):
    table, model = write(tmp_path / "t.csv"), text(tmp_path / "m.joblib", "no pickle")
    arguments = ["--row", 3, "--model", model, "--trust-model", "--out", tmp_path / "out"]
    assert explain("--table", table, *arguments) == 2
    assert re.search(
        r"--model must be a model saved by joblib, got .*m\.joblib", capsys.readouterr().err
    )


def test_an_interrupted_run_leaves_nothing(tmp_path):
    table, model = write(tmp_path / "t.csv"), save(tmp_path, linear())
    command = [sys.executable, "-c", "import sys; from xaijax.cli import main; sys.exit(main())"]
    options = ["--table", table, "--row", "3", "--model", model, "--trust-model"]
    out = ["--samples", "3000000", "--out", str(tmp_path / "out")]
    before = sorted(tmp_path.iterdir())
    process = subprocess.Popen(
        [*command, "explain", *options, *out], stderr=subprocess.PIPE, text=True
    )
    try:
        # The prediction is printed just before the long computation.
        assert process.stderr is not None
        assert "row 3" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "interrupted" in error
    assert sorted(tmp_path.iterdir()) == before
