"""The processes of peers: what they are asked and answer, and what happens when there is none or it dies."""

import importlib
import importlib.util
import sys

import numpy as np
import pytest

FAKE = """
import os
import numpy as np

def methods(data):
    print("noise on the standard output")
    x = data.read("images")
    return {
        "toy: mean": lambda: x.mean((1, 2)),
        "toy: bare forward": lambda: x.sum(),
        "toy: fails": lambda: {}["the key it lacks"],
        "toy: dies": lambda: os._exit(3),
    }
"""


@pytest.fixture
def peers():
    """The driver; the tests of an installed package have no benchmarks."""
    if importlib.util.find_spec("benchmarks") is None:
        pytest.skip("needs the folder benchmarks")
    from benchmarks import peers

    return peers


@pytest.fixture
def worker(peers, tmp_path, monkeypatch):
    """The process of a library of four methods."""
    package = tmp_path / "fakes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "toy.py").write_text(FAKE, "utf-8")
    np.save(tmp_path / "images.npy", np.arange(24.0).reshape(2, 3, 4, 1))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(p for p in sys.path if p)}")
    with peers.Worker("fakes.toy", tmp_path) as worker:
        yield worker


def workload(*methods):
    from benchmarks.peer._pairs import Pair, Workload, as_they_are

    ours = np.arange(24.0).reshape(2, 3, 4, 1).mean((1, 2)) + 1
    found = [Pair(m, lambda: ours, "bare forward", "means", as_they_are) for m in methods]
    return Workload("toy", 2, {"bare forward": lambda: ours}, found)


def test_protocol(worker):
    """One process answers all; what it prints by the way is no answer."""
    hello = worker.ask("hello")
    assert hello["methods"] == ["toy: mean", "toy: bare forward", "toy: fails", "toy: dies"]
    process = worker.process
    np.testing.assert_array_equal(worker.output("toy: mean"), [[5.5], [17.5]])
    assert 0 < worker.timer("toy: mean")() < 1
    assert worker.process is process


def test_rows(peers, worker):
    (row,) = peers.measure("toy", workload("mean"), {"as it comes": worker}, 2)
    assert row["row"] == "peer"
    assert row["method"] == "mean"
    assert row["difference"] == pytest.approx(1 / 17.5)
    assert row["rounds"] == 2
    for key in ("ours", "theirs", "our_bare", "their_bare"):
        assert len(row[key]) == 2, key
        assert min(row[key]) > 0, key
    assert set(row["control"]) == {"median", "low", "high"}


def test_dead_process_is_named_and_started_again(peers, worker):
    rows = list(peers.measure("toy", workload("fails", "dies", "mean"), {"as it comes": worker}, 2))
    assert [row["row"] for row in rows] == ["skipped", "skipped", "peer"]
    assert rows[0]["what"] == "toy, fails, toy"
    assert "status 1: KeyError: 'the key it lacks'" in rows[0]["why"]
    assert "status 3" in rows[1]["why"]


def test_leaving_ends_the_process(worker):
    worker.ask("hello")
    process = worker.process
    with worker:
        pass
    assert process.poll() is not None


def test_missing_library_is_a_row(peers, tmp_path, monkeypatch):
    from benchmarks import _rows
    from benchmarks.peer._libraries import LIBRARIES

    absent = LIBRARIES["shapiq"]._replace(needs=("no_such_module",))
    monkeypatch.setitem(LIBRARIES, "shapiq", absent)
    writer = _rows.Writer(tmp_path, "peers")
    peers.run(writer, rounds=2, device="cpu", only="shapiq")
    (row,) = _rows.read(writer.path)[1:]
    assert row["row"] == "skipped"
    assert row["what"] == "shapiq"
    assert row["why"].endswith("no_such_module): pip install shapiq==1.4.1")


# --- One method of each peer. The limits are those of the other parity tests, or what the peer computes otherwise.

LIMITS = {
    "pytorch_grad_cam": ("grad_cam", "batch 1", 1e-4),
    # Not the gradient: on a network of this depth a rounding closes some ReLU, and pixels differ by 0.4 %.
    "captum": ("guided_backprop", "batch 1", 1e-4),
    "zennit": ("epsilon_plus", "batch 1", 1e-3),
    "lime": ("lime, quartiles", "batch 4", None),
    "shap": ("exact_shapley", "batch 4", 1e-5),
    "shapiq": ("shapley_interactions", "batch 4", 1e-5),
    "quantus": ("sparseness", "batch 8", 1e-5),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    from benchmarks import peers
    from benchmarks.peer._data import Data

    pytest.importorskip("torch")
    found = Data(tmp_path_factory.mktemp("data"))
    peers.write(found, with_networks=True)
    return found


@pytest.mark.parity
@pytest.mark.parametrize("library", LIMITS)
def test_outputs(peers, data, library):
    from benchmarks.peer import _pairs
    from benchmarks.peer._libraries import LIBRARIES, missing

    if lacking := missing(LIBRARIES[library]):
        pytest.skip(f"needs {', '.join(lacking)}")
    method, batch, limit = LIMITS[library]
    module = importlib.import_module(f"benchmarks.peer.{library}")
    found, name = next(
        (pair, f"{at.name}: {method}")
        for at in module.pairs(data)
        for pair in at.pairs
        if pair.method == method and batch in at.name
    )
    with peers.Worker(library, data.folder) as worker:
        assert name in worker.ask("hello")["methods"]
        difference = _pairs.difference(found, worker.output(name))
    if limit is None:
        assert np.isfinite(difference)
    else:
        assert difference < limit
