"""torchvision beside a PyTorch without CUDA, as the peers of the benchmarks import it.

Use it inside a fixture, so that collecting the tests does not load PyTorch:

    @pytest.fixture(scope="module")
    def torchvision():
        from tests.parity._torchvision import torchvision
        return torchvision
"""

import importlib.util

import pytest


def __getattr__(name):
    if name != "torchvision":
        raise AttributeError(name)
    pytest.importorskip("torch")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("needs torchvision")
    from benchmarks.peer import _torch

    return _torch.torchvision()
