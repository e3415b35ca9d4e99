"""One page of all finished runs: the verdicts first, then a section for each claim."""

import base64
import inspect
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

import xaijax
from experiments import _experiment, _tables
from experiments._config import digest
from experiments._store import read_json, write


class Finished(NamedTuple):
    """A run with everything that is shown of it."""

    name: str
    folder: Path
    question: str
    description: str
    conclusion: dict[str, Any]
    config: dict[str, Any]
    provenance: dict[str, Any]
    is_default: bool

    @property
    def verdict(self) -> str:
        """The verdict with its condition."""
        return " ".join(filter(None, (self.conclusion["verdict"], self.conclusion["only_if"])))

    @property
    def command(self) -> str:
        """How to run it again."""
        module = _experiment.load(self.name)
        default = module.Config()
        changed = [f"{k}={_text(v)}" for k, v in self.config.items() if v != _plain(default, k)]
        return " ".join(["python -m experiments run", self.name, *changed])

    @property
    def figures(self) -> list[tuple[str, str]]:
        """Title and picture, as a data URL."""
        found = []
        for title in self.conclusion["figures"]:
            data = (self.folder / "figures" / f"{title}.png").read_bytes()
            found.append((title, f"data:image/png;base64,{base64.b64encode(data).decode()}"))
        return found

    @property
    def tables(self) -> list[tuple[str, pd.DataFrame]]:
        """Title and table."""
        paths = [(t, self.folder / "tables" / f"{t}.csv") for t in self.conclusion["tables"]]
        return [(title, pd.read_csv(path)) for title, path in paths]


def report(runs: Path, out: Path) -> list[Path]:
    """Write `index.html`, which needs no other file, and `README.md`.

    Returns:
      The files.

    Raises:
      ValueError: there is no finished run.
    """
    found = finished(runs)
    if not found:
        raise ValueError(f"experiments: '{runs}' must hold finished runs, got none.")
    page = _PAGE.render(runs=found, version=xaijax.__version__)
    write(out / "index.html", page)
    write(out / "README.md", _markdown(found, out))
    return [out / "index.html", out / "README.md"]


def finished(runs: Path) -> list[Finished]:
    """The runs under a folder that are finished, those of the default settings only where there are several."""
    found = []
    for path in sorted(runs.glob("*/*/conclusion.json")):
        header = read_json(path.parent / "config.json")
        name, config = header["experiment"], header["config"]
        module = _experiment.load(name)
        question, _, rest = (inspect.getdoc(module) or "").partition("\n")
        is_default = digest(name, module.Config()) == path.parent.name
        parts = (read_json(path), config, read_json(path.parent / "provenance.json"), is_default)
        found.append(Finished(name, path.parent, question, rest.strip(), *parts))
    standard = {run.name for run in found if run.is_default}
    return [run for run in found if run.is_default or run.name not in standard]


def _markdown(found: list[Finished], out: Path) -> str:
    lines = ["# Claims, measured", "", "Made by `python -m experiments report`.", ""]
    head = "| claim | verdict | effect |\n|---|---|---|"
    rows = [f"| [{r.question}](#{r.name}) | {r.verdict} | {r.conclusion['effect']} |" for r in found]
    lines += [head, *rows, ""]
    for run in found:
        lines += [f'<a id="{run.name}"></a>', "", f"## {run.question}", "", run.description, ""]
        lines += [f"**{run.verdict}.** {run.conclusion['effect']}", "", run.conclusion["text"], ""]
        for title in run.conclusion["figures"][:1]:
            place = (run.folder / "figures" / f"{title}.png").relative_to(out)
            lines += [f"![{title}]({place})", ""]
        for title, table in run.tables:
            lines += [f"{title}:", "", _tables.markdown(table), ""]
        lines += [f"Again: `{run.command}`", ""]
    return "\n".join(lines)


def _plain(config: Any, key: str) -> Any:
    value = getattr(config, key)
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _html(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, float_format="{:.3f}".format, na_rep="–")


_environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_environment.filters["table"] = lambda table: jinja2.filters.Markup(_html(table))
_PAGE = _environment.from_string("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Claims about explanations, measured</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
  body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
  h1 { font-size: 1.7rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 3rem; }
  .wide { overflow-x: auto; }
  table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
  th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
  .verdict { font-weight: 600; white-space: nowrap; }
  .verdicts .verdict { white-space: normal; min-width: 6rem; }
  img { max-width: 100%; height: auto; background: white; border-radius: 4px; }
  figure { margin: 1rem 0; } figcaption, .again { font-size: .85rem; opacity: .75; }
  code { overflow-wrap: anywhere; } pre { white-space: pre-wrap; font: inherit; font-size: .92rem; opacity: .85; }
  details { margin: .7rem 0; }
</style>
</head>
<body>
<h1>Claims about explanations, measured</h1>
<p>What is said of Grad-CAM, LIME, SHAP and their kin, each with the experiment that decides it. Made by
<code>python -m experiments report</code> of xaijax {{ version }}.</p>
<div class="wide"><table class="verdicts">
<tr><th>Question</th><th>Verdict</th><th>Effect</th></tr>
{% for run in runs %}
<tr><td><a href="#{{ run.name }}">{{ run.question }}</a></td><td class="verdict">{{ run.verdict }}</td>
<td>{{ run.conclusion.effect }}</td></tr>
{% endfor %}
</table></div>
{% for run in runs %}
<section id="{{ run.name }}">
<h2>{{ run.question }}</h2>
<p><span class="verdict">{{ run.verdict }}.</span> {{ run.conclusion.effect }}</p>
<p>{{ run.conclusion.text }}</p>
{% for title, source in run.figures %}
<figure><img src="{{ source }}" alt="{{ title }}"><figcaption>{{ title }}</figcaption></figure>
{% endfor %}
{% for title, table in run.tables %}
<details{% if loop.first %} open{% endif %}><summary>{{ title }}</summary>
<div class="wide">{{ table | table }}</div></details>
{% endfor %}
<details><summary>How it was measured</summary><pre>{{ run.description }}</pre></details>
<p class="again">Again: <code>{{ run.command }}</code> · {{ run.provenance.platform }}, jax
{{ run.provenance.packages.jax }}</p>
</section>
{% endfor %}
</body>
</html>
""")
