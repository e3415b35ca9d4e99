"""Data sets: what is loaded is what the packages have."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from xaijax import data
from xaijax.data import _fashion_mnist

needs_fashion_mnist = pytest.mark.skipif(
    not _fashion_mnist.FOLDER.is_dir(), reason="needs apt-get install dataset-fashion-mnist"
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def test_digits_are_those_of_scikit_learn(cache):
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), data.load("digits", "all", data_dir=cache)
    assert ours.x.shape == (1797, 8, 8, 1)
    assert ours.x.dtype == np.uint8
    np.testing.assert_array_equal(ours.x[..., 0], theirs.images)
    np.testing.assert_array_equal(ours.y, theirs.target)


@pytest.mark.slow
@needs_fashion_mnist
def test_fashion_mnist_is_whole(cache):
    train = data.load("fashion_mnist", data_dir=cache)
    test = data.load("fashion_mnist", "test", data_dir=cache)
    assert train.x.shape == (60000, 28, 28, 1)
    assert test.x.shape == (10000, 28, 28, 1)
    np.testing.assert_array_equal(np.bincount(train.y), [6000] * 10)
    np.testing.assert_array_equal(np.bincount(test.y), [1000] * 10)
    assert round(train.x.mean() / 255, 6) == 0.286041


def test_photographs():
    if importlib.util.find_spec("foolbox") is None or importlib.util.find_spec("alibi") is None:
        pytest.skip("needs pip install --no-deps foolbox==3.3.4 alibi==0.9.4")
    found = data.photographs()
    assert len(found) == 24
    assert [p.label for p in found[-4:]] == [281, 283, 284, 285]
    assert all(p.image.mode == "RGB" and min(p.image.size) >= 240 for p in found)


def test_no_tensorflow(cache):
    code = (
        "import sys; from xaijax import data;"
        f"assert not {{'tensorflow_datasets', 'PIL', 'sklearn'}} & set(sys.modules);"
        f"data.load('digits', data_dir={str(cache)!r}); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
