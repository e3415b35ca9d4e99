"""One page of all finished runs: the verdicts first, then a section for each claim."""

import base64
import inspect
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2
import markupsafe
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
    page = _environment.get_template("_report.html").render(runs=found, version=xaijax.__version__)
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
    rows = [
        f"| [{r.question}](#{r.name}) | {r.verdict} | {_tables.cell(r.conclusion['effect'])} |"
        for r in found
    ]
    lines += [head, *rows, ""]
    for run in found:
        lines += [f'<a id="{run.name}"></a>', "", f"## {run.question}", "", run.description, ""]
        lines += [f"**{run.verdict}.** {run.conclusion['effect']}", "", run.conclusion["text"], ""]
        for title in run.conclusion["figures"][:1]:
            place = (run.folder / "figures" / f"{title}.png").relative_to(out)
            lines += [f"![{title}]({quote(place.as_posix())})", ""]
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


_loader = jinja2.FileSystemLoader(Path(__file__).parent)
_environment = jinja2.Environment(
    loader=_loader,
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_environment.filters["table"] = lambda table: markupsafe.Markup(_html(table))
