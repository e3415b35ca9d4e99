"""What the rows say: overheads, rates, ratios and slopes, one pandas table for each kind of row.

Only what ran in the same round is divided, and an interval is over rounds (`_timing.ratio`). With fewer rounds than an
interval needs there is a median and no interval: its ends are NaN.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import xaijax
from benchmarks import _rows, _timing
from benchmarks._timing import FEWEST_ROUNDS, Ratio

#: What an explainer may cost over its model evaluations: gradients and class activation maps, from this batch on.
GRADIENT_LIMIT, GRADIENT_BATCH = 1.10, 8
#: The same of what evaluates hidden inputs, on images and on tables.
SAMPLING_LIMIT, TABLE_LIMIT = 1.15, 1.5
#: Times this near to the first one are the same: up to there a curve is flat.
FLAT = 1.10
#: What happens before the first answer, each with seconds of its own.
STEPS = ("trace", "lower", "compile", "first")
_MIB = 2**20
# What the methods of a package do with the model; the others hide parts of the input.
_FAMILIES = {
    "activation": "CAM",
    "gradient": "gradient",
    "propagation": "gradient",
    "combine": "gradient",
}
# A network whose useful work is convolutions, which have a peak of their own.
_CONVOLUTIONAL = ("resnet", "efficientnet", "vgg", "squeezenet")


class Run(NamedTuple):
    """One file of results.

    Attributes:
      name: of the benchmark.
      header: its machine, provenance and settings.
      rows: what was measured.
    """

    name: str
    header: dict[str, Any]
    rows: list[dict[str, Any]]


class Slope(NamedTuple):
    """How time grows on log-log axes.

    Attributes:
      slope: by least squares on the logarithms of the medians; 1 is proportional, 0 is constant.
      low: of its 95 % interval (t distribution).
      high: of the same.
      flat: the largest value whose time is that of the smallest within 10 %; None where there is none.
    """

    slope: float
    low: float
    high: float
    flat: float | None


def load(path: Path) -> list[Run]:
    """The results in a folder, or of one file.

    Raises:
      ValueError: there are none, or one cannot be read.
    """
    runs = []
    for file in [path] if path.is_file() else _rows.files(path):
        header, *rows = _rows.read(file)
        runs.append(Run(str(header.get("benchmark", file.stem)), header, rows))
    return runs


def over(seconds: Sequence[float], base: Sequence[float]) -> Ratio:
    """How many times as long as the base; without an interval where there are too few rounds."""
    found = _timing.ratio(seconds, base)
    if len(seconds) < FEWEST_ROUNDS:
        return Ratio(found.median, math.nan, math.nan)
    return found


def implied(row: dict[str, Any]) -> np.ndarray | None:
    """The seconds of the model evaluations that a call implies, in every round; None where it implies none."""
    if row.get("evaluation") == "none" or not row.get("evaluations") or not row.get("bare_seconds"):
        return None
    return row["batch"] * row["evaluations"] * np.array(row["bare_seconds"])


def family(row: dict[str, Any]) -> str:
    """What a method does with the model, which is what its limit depends on."""
    if row.get("evaluation") == "none":
        return "no model"
    name = row["method"].partition(",")[0]
    package = getattr(getattr(xaijax, name, None), "__module__", "").split(".")
    kind = _FAMILIES.get(package[1]) if len(package) > 1 else None
    return kind or ("gradient" if row.get("evaluation") == "gradient" else "sampling")


def is_image(workload: str) -> bool:
    """Whether images are explained: the name tells their size."""
    return " x " in workload


def limit(row: dict[str, Any]) -> float | None:
    """What the overhead of a row should not exceed; None where nothing was promised."""
    kind = family(row)
    if kind == "sampling":
        return SAMPLING_LIMIT if is_image(row["workload"]) else TABLE_LIMIT
    if kind in ("CAM", "gradient") and row["batch"] >= GRADIENT_BATCH:
        return None if row.get("kind") == "metric" else GRADIENT_LIMIT
    return None


def costs(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for each explainer or metric on a workload."""
    return _table(runs, "cost", _cost)


def _cost(row: dict[str, Any]) -> dict[str, Any]:
    seconds = np.array(row["seconds"])
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    base, most = implied(row), limit(row)
    overhead = over(row["seconds"], base.tolist()) if base is not None else None
    evaluations = row.get("evaluations")
    rate = row["batch"] / median
    peak = "conv" if row["workload"].lower().startswith(_CONVOLUTIONAL) else "gemm"
    return {
        "kind": row.get("kind", "explainer"),
        "family": family(row),
        "method": row["method"],
        "workload": row["workload"],
        "batch": row["batch"],
        "evaluation": row.get("evaluation"),
        "evaluations": _known(evaluations),
        "counted": row.get("counted", True),
        **_named("overhead", overhead),
        "limit": _known(most),
        "over_limit": bool(most and overhead and overhead.median > most),
        "explanations_per_second": rate,
        "evaluations_per_second": rate * evaluations if base is not None else math.nan,
        "seconds": median,
        "seconds_q25": low,
        "seconds_q75": high,
        "rounds": len(seconds),
        "peak": peak,
        "flops_of_peak": _share(row.get("flops"), seconds, row.get(peak)),
        "bytes_of_stream": _share(row.get("bytes"), seconds, row.get("stream")),
        **{f"{step}_seconds": _known(row.get(f"{step}_seconds")) for step in STEPS},
        "temp_mib": _mib(row.get("temp_bytes")),
        "peak_mib": _mib(row.get("peak_bytes")),
        "quality": (row.get("quality") or {}).get("name"),
        "quality_value": _known((row.get("quality") or {}).get("value")),
        **_control(row),
    }


def peers(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for each method of another library: its time over ours, and the two ratios that this is made of."""
    return _table(runs, "peer", _peer)


def _peer(row: dict[str, Any]) -> dict[str, Any]:
    ours, theirs = np.array(row["ours"]), np.array(row["theirs"])
    total = over(row["theirs"], row["ours"])
    split: dict[str, Ratio | None] = {"forwards": None, "overheads": None}
    if row.get("our_bare") and row.get("their_bare"):
        split["forwards"] = over(row["their_bare"], row["our_bare"])
        overheads = theirs / row["their_bare"], ours / row["our_bare"]
        split["overheads"] = over(overheads[0].tolist(), overheads[1].tolist())
    return {
        "peer": row["peer"],
        "version": row.get("version"),
        "variant": row.get("variant", ""),
        "method": row["method"],
        "workload": row["workload"],
        "batch": row["batch"],
        **_named("ratio", total),
        **_named("forwards", split["forwards"]),
        **_named("overheads", split["overheads"]),
        "faster": _faster(total),
        "ours_seconds": float(np.median(ours)),
        "theirs_seconds": float(np.median(theirs)),
        "difference": _known(row.get("difference")),
        "compared": row.get("compared"),
        "deterministic": row.get("deterministic"),
        "rounds": len(ours),
        **_control(row),
    }


def curves(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for each point of a scaling curve."""
    return _table(runs, "curve", _curve)


def _curve(row: dict[str, Any]) -> dict[str, Any]:
    low, median, high = np.quantile(row["seconds"], [0.25, 0.5, 0.75])
    names = {key: row[key] for key in ("method", "workload", "axis", "value")}
    spread = {"seconds": median, "seconds_q25": low, "seconds_q75": high}
    return {**names, **spread, "rounds": len(row["seconds"]), **_control(row)}


def slopes(points: pd.DataFrame) -> pd.DataFrame:
    """A line for each curve: its slope, how far it is flat, and the slope from there on."""
    if points.empty:
        return points
    fitted = []
    keys = ["benchmark", "axis", "workload", "method"]
    for names, curve in groups(points, keys):
        curve = curve.sort_values("value")
        found = slope(curve.value, curve.seconds)
        rest = curve[curve.value >= found.flat] if found.flat is not None else curve.iloc[:0]
        beyond = slope(rest.value, rest.seconds)
        ends = {"start": curve.value.iloc[0], "end": curve.value.iloc[-1], "points": len(curve)}
        whole = {"slope": found.slope, "slope_low": found.low, "slope_high": found.high}
        after = {"beyond": beyond.slope, "beyond_low": beyond.low, "beyond_high": beyond.high}
        noisy = bool(curve.noisy.any())
        named = dict(zip(keys, names, strict=True))
        flat = {"flat_to": _known(found.flat)}
        fitted.append({**named, **ends, **whole, **flat, **after, "noisy": noisy})
    return pd.DataFrame(fitted)


def slope(values: Sequence[float], seconds: Sequence[float]) -> Slope:
    """The log-log slope of a curve, whose values ascend; NaN of one point, no interval of two."""
    from scipy import stats

    x, y = np.log(np.asarray(values, float)), np.log(np.asarray(seconds, float))
    same = np.logical_and.accumulate(np.abs(y - y[:1]) <= np.log(FLAT))
    flat = float(np.asarray(values)[same][-1]) if same.sum() > 1 else None
    if len(x) < 2:
        return Slope(math.nan, math.nan, math.nan, flat)
    fit: Any = stats.linregress(x, y)
    if len(x) < 3:
        return Slope(float(fit.slope), math.nan, math.nan, flat)
    half = stats.t.ppf(0.975, len(x) - 2) * fit.stderr
    return Slope(float(fit.slope), float(fit.slope - half), float(fit.slope + half), flat)


def errors(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for each estimate of a known answer: how long until it was near enough."""
    return _table(runs, "error", _error)


def _error(row: dict[str, Any]) -> dict[str, Any]:
    low, median, high = np.quantile(row["seconds"], [0.25, 0.5, 0.75])
    names = ("workload", "method", "library", "wanted", "coalitions", "error", "reached")
    spread = {"seconds": median, "seconds_q25": low, "seconds_q75": high}
    named = {name: row[name] for name in names}
    return {**named, **spread, "rounds": len(row["seconds"]), **_control(row)}


def measures(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for everything else that was timed against something."""
    return _table(runs, "measure", _measure)


def _measure(row: dict[str, Any]) -> dict[str, Any]:
    base = row.get("base_seconds")
    low, median, high = np.quantile(row["seconds"], [0.25, 0.5, 0.75])
    return {
        "what": row["what"],
        "seconds": median,
        "seconds_q25": low,
        "seconds_q75": high,
        "base": row.get("base"),
        **_named("ratio", over(row["seconds"], base) if base else None),
        "difference": _known(row.get("largest_difference")),
        "rounds": len(row["seconds"]),
        **_control(row),
    }


def skipped(runs: Sequence[Run]) -> pd.DataFrame:
    """A line for everything that was not measured, and why."""
    return _table(runs, "skipped", lambda row: {"what": row["what"], "why": row["why"]})


def lines(table: pd.DataFrame) -> Iterator[Any]:
    """The lines of a table; what they hold is known by the name of the column, which no type tells."""
    yield from table.itertuples()


def groups(table: pd.DataFrame, keys: str | list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The parts of a table that agree in some columns, in the order of the first line of each."""
    yield from table.groupby(keys, sort=False)


def where(table: pd.DataFrame, flags: Any) -> pd.DataFrame:
    """The lines of a table that are flagged."""
    return table.loc[flags]


def _table(runs: Sequence[Run], kind: str, line: Any) -> pd.DataFrame:
    found = []
    for run in runs:
        for number, row in enumerate(run.rows, 2):
            if row.get("row") != kind:
                continue
            try:
                found.append({"benchmark": run.name, **line(row)})
            except KeyError as error:
                raise ValueError(
                    f"benchmarks: line {number} of '{run.name}.jsonl', a row '{kind}', must have "
                    f"{error}, got {', '.join(row)}; run it again."
                ) from error
    return pd.DataFrame(found)


def _named(name: str, found: Ratio | None) -> dict[str, float]:
    median, low, high = found or (math.nan, math.nan, math.nan)
    return {name: median, f"{name}_low": low, f"{name}_high": high}


def _control(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **_named("control", control(row)),
        "noisy": bool(row.get("noisy", False)),
    }


def control(row: dict[str, Any]) -> Ratio | None:
    """The ratio of a function to itself beside which a row was measured."""
    found = row.get("control")
    if not found:
        return None
    return Ratio(*(_known(found.get(key)) for key in Ratio._fields))


def _share(work: float | None, seconds: np.ndarray, peak: Sequence[float] | None) -> float:
    """The median over rounds of a rate over its peak in the same round."""
    if not work or not peak:
        return math.nan
    return float(np.median(work / seconds / np.array(peak)))


def _mib(size: float | None) -> float:
    return _known(size) / _MIB


def _known(value: float | None) -> float:
    return math.nan if value is None else value


def _faster(ratio: Ratio) -> str:
    """Who is faster, if the interval says so."""
    if math.isnan(ratio.low):
        return "too few rounds"
    if ratio.low > 1:
        return "xaijax"
    return "the peer" if ratio.high < 1 else "neither"
