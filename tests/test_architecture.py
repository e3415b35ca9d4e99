"""The layout of the package: what imports what, and what stays out."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xaijax

PACKAGE = Path(xaijax.__file__).parent
# Reading order is import order: a part imports only itself and what stands before it.
ORDER = (
    "core",
    "gradient",
    "propagation",
    "activation",
    "perturbation",
    "shapley",
    "combine",
    "intrinsic",
    "attacks",
    "metrics",
    "plot",
    "models",
    "data",
    "cli",
)
# They see the library from outside; `import xaijax` does not load them.
APART = {"plot", "models", "data", "cli"}
FILES = sorted(PACKAGE.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])


def parse(path):
    return ast.walk(ast.parse(path.read_text("utf-8")))


def part(path):
    """The part of the package a file belongs to; the package's own `__init__` and `__main__` to none."""
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return None if name.startswith("__") else name


def imported(path):
    """The full names that a file imports, wherever it does."""
    for node in parse(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@each_file
def test_imports_go_downwards(path):
    here = part(path)
    assert here in (None, *ORDER), f"say in ORDER where {here} stands"
    if here is None:
        allowed = set(ORDER) - (APART if path.name == "__init__.py" else set())
    else:
        allowed = set(ORDER[: ORDER.index(here) + 1])
    ours = {name for name in imported(path) if name.split(".")[0] == "xaijax"}
    if here in APART:
        ours.discard("xaijax")
    wrong = {name for name in ours if [*name.split("."), ""][1] not in allowed}
    assert not wrong, f"{here} may not import {', '.join(sorted(wrong))}"


@each_file
def test_no_private_jax(path):
    assert not [name for name in imported(path) if name.startswith("jax._src")]
    assert not [
        node.lineno
        for node in parse(path)
        if isinstance(node, ast.Attribute) and node.attr == "_src"
    ]


@each_file
def test_nothing_is_printed(path):
    prints = [n.lineno for n in parse(path) if isinstance(n, ast.Name) and n.id == "print"]
    assert not prints or part(path) == "cli"


@each_file
def test_no_error_is_swallowed(path):
    """A handler names what it expects, or hands on what it caught."""
    for node in parse(path):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"bare except in line {node.lineno}"
            caught = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)}
            assert "Exception" not in caught, f"except Exception in line {node.lineno}"
            used = {n.id for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name)}
            assert "BaseException" not in caught or node.name in used, f"line {node.lineno}"


@each_file
def test_jaxprs_are_read_in_one_file(path):
    if path == PACKAGE / "core" / "_interpreter.py":
        return
    assert not [name for name in imported(path) if name.startswith("jax.extend")]
    names = {n.attr for n in parse(path) if isinstance(n, ast.Attribute)}
    names |= {n.id for n in parse(path) if isinstance(n, ast.Name)}
    assert not names & {"make_jaxpr", "eqns", "jaxpr_as_fun", "ClosedJaxpr"}


def fresh(code):
    """What a new Python process prints."""
    command = [sys.executable, "-c", code]
    root = PACKAGE.parent
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_explainers_load_no_extra():
    code = "import sys, xaijax; xaijax.explainers(); print(*{n.split('.')[0] for n in sys.modules})"
    loaded = fresh(code)
    assert "jax" in loaded
    extras = {"flax", "matplotlib", "skimage", "sklearn", "torch", "PIL", "tqdm", "optax"}
    extras |= {"tensorflow_datasets", "array_record"}
    assert not extras & set(loaded)


def test_import_is_quick():
    """Against what JAX itself costs, in the best of five processes; methods are loaded when they are used."""
    code = (
        "import time; start = time.perf_counter(); import jax; middle = time.perf_counter();"
        "import xaijax; print((time.perf_counter() - middle) / (middle - start))"
    )
    assert min(float(fresh(code)[0]) for _ in range(5)) < 0.05
