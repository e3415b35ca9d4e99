"""Models, precision and a count of compiled programs, for all tests."""

import contextlib
import itertools
import os
from importlib.metadata import version

# Most of the suite's time is the compiler's, for thousands of small programs that run once: LLVM may leave out its
# optimisations, and take each program as one module. XLA's own stay. What is compiled as users have it are the
# comparisons with other libraries on networks of real size, and the benchmarks: see .ci/run.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    # A third of the rest was XLA's newer emitter of loops, which is set up anew for each program: the plain one does,
    # where there still is one. A flag that XLA does not know ends the process.
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.9."),
)

import jax
import numpy as np
import pytest
from hypothesis import settings
from jax import monitoring
from xdist.scheduler import LoadScopeScheduling

from tests.cases import CNN, FIRST, cnn, mlp

CONTRACTS = ("tests/test_contract.py", "tests/test_metrics.py")


class _Scopes(LoadScopeScheduling):
    """One process runs a file, where tests share fixtures and compiled programs; of the contracts, a method's rows."""

    def _split_scope(self, nodeid):
        file, _, test = nodeid.partition("::")
        if file not in CONTRACTS:
            return file
        row = test.partition("[")[2].removesuffix("]")  # "score_cam, cic" is one of score_cam's
        return f"{file}::{row.partition(', ')[0]}"


def pytest_xdist_make_scheduler(config, log):
    return _Scopes(config, log)


# The same examples in every run: what fails, fails again.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

_COMPILE = "/jax/core/compile/backend_compile_duration"
_compiled: list[str] = []


def _record(event, duration, **details):
    if event == _COMPILE:
        name = str(details.get("fun_name", ""))
        _compiled.append(name.removeprefix("jit(").removesuffix(")"))


monitoring.register_event_duration_secs_listener(_record)


@contextlib.contextmanager
def _compiles():
    """The names of the programs that were compiled inside the block; the list fills at its end."""
    names: list[str] = []
    start = len(_compiled)
    yield names
    names.extend(_compiled[start:])


_done = itertools.count(1)


def pytest_runtest_teardown():
    """Forget compiled programs now and then: each holds a few of the 65530 memory maps that Linux gives a process."""
    if next(_done) % 250 == 0:
        jax.clear_caches()


@pytest.fixture
def count_compiles():
    return _compiles


@pytest.fixture
def x64():
    # Not the context manager: it does not reach the threads that callbacks run in.
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def model() -> CNN:
    """A convolutional network for images (8, 8, 3)."""
    return cnn(FIRST)


@pytest.fixture(scope="session")
def table_model():
    """A multilayer perceptron for rows (6,)."""
    return mlp(FIRST)
