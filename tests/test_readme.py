"""The README's Python runs as it stands, and its table lists every method."""

import re
from pathlib import Path

import xaijax
from xaijax import metrics

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for the figure that is saved
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # for the data set that is kept
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.M | re.S)
    scope: dict = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), scope)
    # What the comments beside the code promise.
    assert scope["cam"].shape == (7, 7)
    assert scope["maps"].shape == (2, 7, 7)
    assert scope["weights"].shape == (224, 224)
    assert scope["fused"].shape == (224, 224)
    assert scope["smooth"].shape == scope["margin"].shape == (7, 7)
    assert scope["marked"].masks.shape == scope["marked"].tags.shape == (8, 32, 32)
    assert scope["digits"].x.shape == (347, 8, 8, 1)
    assert scope["told"].layer.name == "relu6#2"
    assert (tmp_path / "methods.pdf").stat().st_size > 10_000


def test_every_method_stands_in_the_table_with_its_taxonomy():
    rows = re.findall(
        r"^\|[^|\n]+\| `(\w+)`[^|\n]*\|([^|\n]+)\|([^|\n]+)\|([^|\n]+)\|([^|\n]+)\|", README, re.M
    )
    table = {name: [cell.strip() for cell in cells] for name, *cells in rows}
    assert table.keys() == xaijax.explainers().keys()
    for name, explain in xaijax.explainers().items():
        scope, access, stage, models = table[name]
        t = explain.taxonomy
        assert (scope, access, stage) == (t.scope, t.access, t.stage)
        assert models.endswith(t.models)


def test_every_metric_stands_in_the_table_with_what_is_better():
    listed = dict(re.findall(r"`(\w+)` ([↑↓])", README))
    known = {k: m.kind for k in metrics.__all__ if hasattr(m := getattr(metrics, k), "kind")}
    assert listed == {k: {"higher": "↑", "lower": "↓"}[kind.better] for k, kind in known.items()}


def test_files_that_the_readme_links_to_exist():
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (root / link).exists()] == []
