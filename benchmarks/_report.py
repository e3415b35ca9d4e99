"""The report of a folder of results: one page, and its tables and figures as files that a paper can take.

The page begins with what limits the numbers (the machine, the versions, the controls) and names what it does not show.
"""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmarks import _figures, _numbers, _rows
from benchmarks._numbers import (
    FLAT,
    GRADIENT_BATCH,
    GRADIENT_LIMIT,
    SAMPLING_LIMIT,
    TABLE_LIMIT,
    Run,
    groups,
    lines,
    where,
)
from benchmarks._timing import CONTROL
from experiments._store import write

#: Prose for the report, if the folder has it: the causes of what misses its limit.
NOTES = "notes.md"
_NO_GPU = "Nothing was measured on a GPU: there was none."
_READING = f"""\
**How to read this.** What is compared ran in turn, in rounds of random order. Times are medians over rounds, with
quartiles; ratios are medians of the ratios within a round, with a 95 % interval (bootstrap over rounds). *Overhead* is
the time of a method over that of its model evaluations, each at the best batch: 1 is the bound of any method that makes
them. It is **bold** over its limit: {GRADIENT_LIMIT:.2f} for gradients and class activation maps at batch
{GRADIENT_BATCH} or more, {SAMPLING_LIMIT:.2f} for what hides parts of images, {TABLE_LIMIT:.2f} for what hides columns
or words. The *control* is a function against itself; a row is NOISY where it is outside
[{CONTROL[0]:.2f}, {CONTROL[1]:.2f}]."""


class _Table(NamedTuple):
    """A table as a reader has it, and the numbers in it."""

    name: str
    shown: pd.DataFrame
    numbers: pd.DataFrame


def report(folder: Path) -> list[Path]:
    """Write `report.md`, `tables/` (Markdown, CSV, LaTeX) and `figures/` (PNG, PDF) from the results in a folder.

    Returns:
      The files.

    Raises:
      ValueError: there are no results, or one cannot be read.
    """
    runs = _numbers.load(folder)
    costs, points = _numbers.costs(runs), _numbers.curves(runs)
    slopes = _numbers.slopes(points)
    found = {"peers": _numbers.peers(runs), "errors": _numbers.errors(runs)}
    tables = [t for name in _names(costs) for t in _cost_tables(name, _of(costs, name))]
    tables += _other_tables(found["peers"], slopes, found["errors"], _numbers.measures(runs))
    figures = _drawn(costs, found["peers"], points, slopes, found["errors"])
    files = [file for table in tables for file in _save_table(table, folder / "tables")]
    files += [file for name in figures for file in _save_figure(figures[name], folder, name)]
    parts = [_head(runs), _exceptions(costs, found["peers"], _numbers.skipped(runs))]
    parts += [_notes(folder), _cost_sections(costs, figures), _sections(tables, figures)]
    write(folder / "report.md", "\n\n".join(filter(None, [*parts, _gpu(folder, runs)])) + "\n")
    return [folder / "report.md", *files]


def control_line(run: Run) -> str:
    """How the controls of a file came out: one ratio, or their range."""
    controls = [c for row in run.rows if (c := _numbers.control(row))]
    if not controls:
        return "no control"
    noisy = sum(bool(row.get("noisy")) for row in run.rows)
    if len(controls) == 1:
        return f"control {_interval(*controls[0])}" + (", NOISY" if noisy else "")
    medians = pd.Series([c.median for c in controls])
    text = f"control {medians.median():.3f}, {medians.min():.3f} to {medians.max():.3f}"
    text += f" over {len(controls)} rows"
    return text + (f", {noisy} of them NOISY" if noisy else "")


# The page


def _head(runs: Sequence[Run]) -> str:
    machines = dict.fromkeys(_machine(run) for run in runs)
    versions = dict.fromkeys(_versions(run) for run in runs)
    head = ["| results | commit | rounds | load before | |", "|---|---|---|---|---|"]
    for run in runs:
        commit = (run.header["provenance"].get("git_sha") or "unknown")[:10]
        load = " ".join(f"{v:.1f}" for v in run.header.get("load_average", ()))
        rounds, line = run.header.get("rounds", ""), control_line(run)
        head.append(f"| `{run.name}.jsonl` | {commit} | {rounds} | {load} | {line} |")
    made = "Made by `python -m benchmarks report DIR` from the JSON lines beside it."
    parts = ["# Benchmarks", made, *machines, *versions, "\n".join(head), _READING]
    return "\n\n".join(parts)


def _machine(run: Run) -> str:
    machine = run.header["machine"]
    flags = machine.get("xla_flags") or "none"
    return (
        f"Device: **{machine.get('device')}**; processor {machine.get('cpu')}, {machine.get('cores')} "
        f"cores; XLA flags: {flags}."
    )


def _versions(run: Run) -> str:
    provenance = run.header["provenance"]
    packages = ", ".join(
        f"{name} {v or 'unknown'}" for name, v in provenance.get("packages", {}).items()
    )
    python, platform = provenance.get("python"), provenance.get("platform")
    return f"Versions: {packages}; Python {python} on {platform}."


def _exceptions(costs: pd.DataFrame, peers: pd.DataFrame, skipped: pd.DataFrame) -> str:
    """What a reader should know before any number: limits that were missed, faster peers, what was skipped."""
    late = where(costs, costs.over_limit) if len(costs) else costs
    ahead = where(peers, peers.faster == "the peer") if len(peers) else peers
    parts = [
        "## Exceptions",
        _listed("Over their limit", late, _late),
        _listed("A peer is faster", ahead, _ahead) if len(peers) else "No peer was measured.",
        _listed("Not measured", skipped, lambda row: f"{row.what}: {row.why}"),
    ]
    return "\n\n".join(parts)


def _listed(title: str, table: pd.DataFrame, text: Callable[[Any], str]) -> str:
    rows = [f"- {text(row)}" for row in lines(table)]
    return "\n".join([f"{title} ({len(rows)}):", "", *rows]) if rows else f"{title}: none."


def _late(row: Any) -> str:
    noisy = ", NOISY" if row.noisy else ""
    overhead = _ratio(row, "overhead")
    return f"{row.method} on {row.workload}, batch {row.batch}: {overhead}, limit {row.limit:.2f}{noisy}"


def _ahead(row: Any) -> str:
    variant = f" ({row.variant})" if row.variant else ""
    text = f"{row.method}: {row.peer}{variant} takes {_ratio(row, 'ratio')} of our time on "
    text += f"{row.workload}, batch {row.batch}"
    if not math.isnan(row.forwards):
        text += f": its bare model {row.forwards:.2f}, its overhead {row.overheads:.2f} of ours"
    return text + (", NOISY" if row.noisy else "")


def _notes(folder: Path) -> str:
    path = folder / NOTES
    return path.read_text("utf-8").strip() if path.exists() else ""


def _cost_sections(costs: pd.DataFrame, figures: dict[str, Any]) -> str:
    """A section for each benchmark, in it one for each workload."""
    parts = []
    for name in _names(costs):
        parts.append(f"## {name.replace('_', ' ').capitalize()}")
        parts += [_picture(n) for n in (f"overhead-{name}", f"throughput-{name}") if n in figures]
        for workload, group in groups(_of(costs, name), "workload"):
            parts.append(f"### {workload}")
            tables = _cost_tables(name, group)
            parts += [_markdown(table.shown.drop(columns="workload")) for table in tables]
    return "\n\n".join(parts)


def _sections(tables: Sequence[_Table], figures: dict[str, Any]) -> str:
    parts = []
    by_name = {table.name: table for table in tables}
    for name, title, text in _SECTIONS:
        if name in by_name:
            picture = [_picture(name)] if name in figures else []
            parts += [f"## {title}", text, *picture, _markdown(by_name[name].shown)]
    return "\n\n".join(parts)


def _gpu(folder: Path, runs: Sequence[Run]) -> str:
    """What there is of a GPU: this, a folder beside this one, or nothing."""
    head = "## GPU\n\n"
    if any(_on_gpu(run.header) for run in runs):
        return (
            head + f"All of this was measured on a GPU, {runs[0].header['machine'].get('device')}."
        )
    links = []
    for beside in sorted(folder.resolve().parent.glob("*/")):
        header = None if beside == folder.resolve() else _header(beside)
        if header is not None and _on_gpu(header):
            device = header["machine"].get("device")
            links.append(f"The same on {device}: [{beside.name}](../{beside.name}/report.md).")
    return head + ("\n\n".join(links) or _NO_GPU)


def _header(folder: Path) -> dict[str, Any] | None:
    """Of the first file of a folder; None where there is none that can be read."""
    try:
        return _rows.read(next(iter(_rows.files(folder))))[0]
    except ValueError:
        return None


def _on_gpu(header: dict[str, Any]) -> bool:
    return header["provenance"].get("backend") not in (None, "cpu")


_SECTIONS = (
    (
        "peers",
        "Peers",
        """\
Each peer ran in a process of its own with the same threads and weights, its rounds between ours. *Peer / ours* is the
ratio of the times: over 1, xaijax is faster. It is the product of two: of the *bare models*, and of the *overheads*,
each library's time over that of its own bare model. *Difference* is the largest of the outputs, relative to the largest
of the peer's.""",
    ),
    (
        "scaling",
        "Scaling",
        f"""\
Log-log slopes of the median time, by least squares with a 95 % interval (t distribution): 1 is proportional. A curve is
*flat* as long as it stays within {100 * (FLAT - 1):.0f} % of its first point; *beyond* is the slope from there.""",
    ),
    (
        "errors",
        "Time to a given error",
        "How long one explanation took until it was as near to the exact values as was wanted.",
    ),
    ("measures", "Other times", "What else was timed, over the base that is named."),
)


# Tables


def _cost_tables(name: str, costs: pd.DataFrame) -> list[_Table]:
    """Of one benchmark: how fast, how near to the machine's peak, how long until the first answer."""
    speed, hardware, start = ([_COLUMNS[c] for c in group] for group in (_SPEED, _HARDWARE, _START))
    return [
        _Table(f"{name}-{part}", _shown(costs, columns), costs)
        for part, columns in (("speed", speed), ("hardware", hardware), ("start", start))
    ]


def _other_tables(*found: pd.DataFrame) -> list[_Table]:
    columns = (_PEERS, _SLOPES, _ERRORS, _MEASURES)
    names = ("peers", "scaling", "errors", "measures")
    return [
        _Table(name, _shown(table, column), table)
        for name, table, column in zip(names, found, columns, strict=True)
        if len(table)
    ]


def _shown(
    table: pd.DataFrame, columns: Sequence[tuple[str, Callable[[Any], str]]]
) -> pd.DataFrame:
    rows = [[text(row) for _, text in columns] for row in lines(table)]
    return pd.DataFrame(rows, columns=[name for name, _ in columns], dtype=str)


def _interval(median: float, low: float, high: float, digits: int = 3) -> str:
    """A ratio with its interval, if there were rounds enough for one."""
    if median != median:
        return ""
    text = f"{median:.{digits}f}"
    return text if low != low else f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def _ratio(row: Any, name: str) -> str:
    """Three digits after the point near 1, where limits are; none where a ratio is in the hundreds."""
    median, low, high = (getattr(row, name + end) for end in ("", "_low", "_high"))
    return _interval(median, low, high, 3 if median < 2 else 2 if median < 100 else 0)


def _few(row: Any) -> str:
    """A note where there were too few rounds for an interval."""
    return f" (n={row.rounds})" if row.rounds < _numbers.FEWEST_ROUNDS else ""


def _overhead(row: Any) -> str:
    text = _ratio(row, "overhead")
    return f"**{text}**{_few(row)}" if row.over_limit else text and text + _few(row)


def _number(value: float, digits: int = 3) -> str:
    """Three digits that count, without powers of ten between a thousandth and a million."""
    if value is None or value != value:
        return ""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}"
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def _milliseconds(row: Any) -> str:
    values = [row.seconds, row.seconds_q25, row.seconds_q75]
    median, low, high = (_number(1e3 * value) for value in values)
    return f"{median} [{low}, {high}]"


def _percent(share: float, of: str = "") -> str:
    return "" if share != share else f"{100 * share:.1f} %{of}"


def _quality(row: Any) -> str:
    return f"{row.quality} {_number(row.quality_value, 2)}" if isinstance(row.quality, str) else ""


def _evaluations(row: Any) -> str:
    kinds = {"forward": "forwards", "gradient": "gradients"}
    if row.evaluation not in kinds:
        return "none"
    counted = "" if row.counted else ", by definition"
    return f"{_number(row.evaluations, 4)} {kinds[row.evaluation]}{counted}"


def _column(name: str) -> tuple[str, Callable[[Any], str]]:
    return name, lambda row: str(getattr(row, name))


def _value(title: str, name: str) -> tuple[str, Callable[[Any], str]]:
    return title, lambda row: _number(getattr(row, name))


_NOISY = ("", lambda row: "NOISY" if row.noisy else "")
_COLUMNS = {
    "method": _column("method"),
    "workload": _column("workload"),
    "batch": _column("batch"),
    "evaluations": ("evaluations each", _evaluations),
    "overhead": ("overhead", _overhead),
    "rate": _value("explanations/s", "explanations_per_second"),
    "evaluation rate": _value("evaluations/s", "evaluations_per_second"),
    "time": ("ms [quartiles]", _milliseconds),
    "quality": ("quality", _quality),
    "noisy": _NOISY,
    "flops": (
        "useful FLOP of peak",
        lambda row: _percent(row.flops_of_peak, " of conv" if row.peak == "conv" else " of GEMM"),
    ),
    "bytes": ("bytes of stream", lambda row: _percent(row.bytes_of_stream)),
    "temp": _value("temporary MiB", "temp_mib"),
    "peak": _value("peak MiB", "peak_mib"),
    **{step: _value(f"{step} s", f"{step}_seconds") for step in _numbers.STEPS},
}
_SPEED = ("method", "workload", "batch", "evaluations", "overhead", "rate", "evaluation rate")
_SPEED += ("time", "quality", "noisy")
_HARDWARE = ("method", "workload", "batch", "flops", "bytes", "temp", "peak", "noisy")
_START = ("method", "workload", "batch", *_numbers.STEPS)
_PEERS = (
    ("peer", lambda row: f"{row.peer} {row.version or ''}".strip()),
    _column("variant"),
    _column("method"),
    _column("workload"),
    _column("batch"),
    ("peer / ours", lambda row: _ratio(row, "ratio") + _few(row)),
    ("bare models", lambda row: _ratio(row, "forwards")),
    ("overheads", lambda row: _ratio(row, "overheads")),
    _column("faster"),
    ("difference", lambda row: _number(row.difference, 2) + _of_random(row)),
    ("of", lambda row: row.compared or ""),
    _NOISY,
)
_SLOPES = (
    _column("axis"),
    _column("workload"),
    _column("method"),
    ("from", lambda row: f"{row.start:g}"),
    ("to", lambda row: f"{row.end:g}"),
    ("slope", lambda row: _interval(row.slope, row.slope_low, row.slope_high, 2)),
    ("flat to", lambda row: "" if row.flat_to != row.flat_to else f"{row.flat_to:g}"),
    ("beyond", lambda row: _interval(row.beyond, row.beyond_low, row.beyond_high, 2)),
    _NOISY,
)
_ERRORS = (
    _column("workload"),
    _column("method"),
    _column("library"),
    _value("wanted", "wanted"),
    _value("error", "error"),
    ("reached", lambda row: "yes" if row.reached else "**no**"),
    _column("coalitions"),
    ("ms [quartiles]", _milliseconds),
    _NOISY,
)
_MEASURES = (
    _column("benchmark"),
    _column("what"),
    ("ms [quartiles]", _milliseconds),
    ("base", lambda row: row.base or ""),
    ("over the base", lambda row: _ratio(row, "ratio") + _few(row)),
    ("difference", lambda row: _number(row.difference, 2)),
    _NOISY,
)


def _of_random(row: Any) -> str:
    return "" if row.deterministic or row.difference != row.difference else " (random)"


# Files


def _drawn(
    costs: pd.DataFrame,
    peers: pd.DataFrame,
    points: pd.DataFrame,
    slopes: pd.DataFrame,
    errors: pd.DataFrame,
) -> dict[str, Any]:
    """The figures that there are rows for, by name."""
    figures: dict[str, Any] = {}
    for name in _names(costs):
        group = _of(costs, name)
        if group.overhead.notna().any():
            figures[f"overhead-{name}"] = _figures.overhead(group)
        figures[f"throughput-{name}"] = _figures.throughput(group)
    if len(peers):
        figures["peers"] = _figures.peers(peers)
    if len(points):
        figures["scaling"] = _figures.scaling(points, slopes)
    if len(errors):
        figures["errors"] = _figures.time_to_error(errors)
    return figures


def _save_figure(figure: Any, folder: Path, name: str) -> list[Path]:
    """Write a figure; the same rows give the same bytes, so no date goes into it."""
    place = folder / "figures"
    place.mkdir(parents=True, exist_ok=True)
    picture, page = place / f"{name}.png", place / f"{name}.pdf"
    figure.savefig(picture, dpi=150, metadata={"Software": None})
    figure.savefig(page, metadata={"CreationDate": None})
    return [picture, page]


def _save_table(table: _Table, folder: Path) -> list[Path]:
    """Write a table: as a reader has it in Markdown and LaTeX, its numbers in CSV."""
    paths = [folder / f"{table.name}{end}" for end in (".md", ".tex", ".csv")]
    latex = table.shown.to_latex(index=False, escape=True)
    bold = re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", latex)
    texts = (
        _markdown(table.shown) + "\n",
        bold,
        table.numbers.to_csv(index=False, float_format="%.6g"),
    )
    for path, text in zip(paths, texts, strict=True):
        write(path, text)
    return paths


def _markdown(table: pd.DataFrame) -> str:
    """Text stays as it is: numbers have their digits already."""
    return table.to_markdown(index=False, disable_numparse=True)


def _picture(name: str) -> str:
    return f"![{name}](figures/{name}.png)"


def _names(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(table.benchmark)) if len(table) else []


def _of(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return where(table, table.benchmark == name)
