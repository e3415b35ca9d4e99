"""Every explainer is called alike, documented alike and cites its sources."""

import ast
import inspect
import re
import typing
from pathlib import Path

import pytest

import xaijax
from xaijax.core._citation import bibliography, citation_keys

PACKAGE = Path(xaijax.__file__).parent
EXPLAINERS = {
    name: getattr(xaijax, name)
    for name in xaijax.__all__
    if hasattr(getattr(xaijax, name), "taxonomy")
}
SECTIONS = ("Args", "Returns", "Raises", "Examples", "References")
each = pytest.mark.parametrize("explain", EXPLAINERS.values(), ids=EXPLAINERS.keys())


def sections(doc):
    """The text under each heading of a docstring."""
    parts = re.split(r"^(\w+):$", inspect.cleandoc(doc or ""), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def docstrings():
    """Every docstring of the package, with the place it stands at."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
                doc := ast.get_docstring(node)
            ):
                yield f"{path.relative_to(PACKAGE)}:{getattr(node, 'name', 'module')}", doc


def cited(doc):
    """The keys in the section `References`."""
    return re.findall(r"[\w-]+", sections(doc).get("References", ""))


@each
def test_parameters(explain):
    parameters = inspect.signature(explain).parameters.values()
    first = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    sampled = {"num_samples", "num_permutations"} & rest.keys() or explain is xaijax.random_cam
    explained = first[0]
    assert explained == "f" or (explained == "explain" and "combine" in explain.__module__)
    assert first == [explained, "x", "target", *(["key"] if sampled else [])]
    assert len(first) + len(rest) == len(parameters)  # no *args, no **kwargs
    # Nothing would be right for every input.
    assert {k for k, p in rest.items() if p.default is p.empty} <= {
        "window",
        "baselines",
        "background",
    }


@each
def test_sizes_are_static_and_numbers_are_traced(explain):
    parameters = inspect.signature(explain).parameters
    named = {"batch_size", "layer", "grid", "to", "align_corners", "flip", "denoise", "intensities"}
    named |= {"mode", "kernel", "utility", "base", "window", "stride", "grid_size", "quadrature"}
    named |= {"sampling", "index", "hierarchy"}
    named |= {"feature_selection", "keep_mean"}
    structure = [k for k in parameters if k.startswith("num_") or k in named]
    assert list(explain.static) == structure


@each
def test_docstring(explain):
    found = sections(explain.__doc__)
    missing = [name for name in SECTIONS if not found.get(name, "").strip()]
    assert not missing, f"{explain.__name__} has no section {', '.join(missing)}"
    described = re.findall(r"^  (\w+):", found["Args"], flags=re.MULTILINE)
    assert described == list(inspect.signature(explain).parameters)
    assert ">>>" in found["Examples"]
    statics = re.findall(
        r"^  (\w+):(?:(?!^  \w).)*Static\.", found["Args"], re.MULTILINE | re.DOTALL
    )
    assert statics == list(explain.static)


@each
def test_taxonomy(explain):
    hints = typing.get_type_hints(xaijax.Taxonomy)
    for field in ("scope", "access", "stage"):
        assert getattr(explain.taxonomy, field) in typing.get_args(hints[field])
    assert explain.taxonomy.models in {
        "any",
        "CNN or ViT",
        "neural network",
        "linear model",
        "trees",
    }


@each
def test_citation(explain):
    keys = cited(explain.__doc__)
    assert keys == citation_keys(explain)
    assert set(keys) <= bibliography().keys()
    entries = re.findall(r"^@\w+\{([\w-]+),", xaijax.citation(explain), flags=re.MULTILINE)
    assert entries == ["xaijax2026", *keys]


def test_references_and_bibliography_agree():
    used = {key: place for place, doc in docstrings() for key in cited(doc)}
    unknown = {key: place for key, place in used.items() if key not in bibliography()}
    assert not unknown, f"not in references.bib: {unknown}"
    unused = bibliography().keys() - used.keys() - {"xaijax2026"}
    assert not unused, f"in references.bib, but under no `References:`: {sorted(unused)}"


def test_bibliography_entries_are_complete():
    for key, entry in bibliography().items():
        fields = set(re.findall(r"^  (\w+)\s*=", entry, flags=re.MULTILINE))
        assert {"title", "author", "year"} <= fields, key
        assert re.search(r"\d{4}", key).group() == re.search(r"year\s*=\s*\{(\d+)\}", entry).group(
            1
        )


def test_all_is_complete():
    body = ast.parse((PACKAGE / "__init__.pyi").read_text("utf-8")).body
    names = {
        alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    names |= {node.name for node in body if isinstance(node, ast.FunctionDef)}
    assert names == set(xaijax.__all__)
    written = next(ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign))
    assert names == set(written)
    undocumented = [k for k in names if callable(v := getattr(xaijax, k)) and not v.__doc__]
    assert not undocumented
