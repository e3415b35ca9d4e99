"""Two sets of results, row by row: what became slower, what became faster, what cannot be compared.

The raw times of two runs differ by what else the machine did, so what is compared is a ratio within each run: the
overhead over the bare model, or the time over a base. Where a row has neither, its seconds have to do.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks import _numbers
from benchmarks._numbers import Run, lines
from benchmarks._timing import FEWEST_ROUNDS, Ratio

#: A difference within this factor is none, whatever its interval.
BOUND = 1.10
# What tells the rows of one benchmark apart; the workload has its version in its name.
_KEYS = (
    "row",
    "method",
    "workload",
    "batch",
    "axis",
    "value",
    "peer",
    "variant",
    "library",
    "wanted",
    "what",
)
_VERSION = re.compile(r"\s*\(v(\d+)\)$")
_COLUMNS = ("benchmark", "name", "of", "a", "b", "ratio", "low", "high", "verdict", "noisy", "note")


class Comparison(NamedTuple):
    """What became of the results.

    Attributes:
      table: a line for each row that both have: its quantity in a and b, the ratio b / a with a 95 % interval, and the
        verdict: slower, faster, same, or too few rounds.
      text: the same to be printed, with what could not be compared.
    """

    table: pd.DataFrame
    text: str

    def __str__(self) -> str:
        return self.text


def compare(a: Path, b: Path, force: bool = False) -> Comparison:
    """How the results in b differ from those in a.

    A row is slower or faster only if the whole interval is outside [1 / 1.10, 1.10]. Workloads of different versions
    are never compared.

    Args:
      a: a folder of results, or one file: what was.
      b: the same: what is.
      force: whether results of two machines are compared all the same.

    Raises:
      ValueError: there are no results, a file cannot be read, or they are of two machines.
    """
    before, after = _numbers.load(a), _numbers.load(b)
    foreign = _other_machine(before, after)
    if foreign and not force:
        raise ValueError(
            f"benchmarks: '{a}' and '{b}' must be of one machine, got {foreign}; "
            "times of two machines differ for reasons of their own. Compare them all the same with --force."
        )
    old, new = _rows(before), _rows(after)
    both = [_line(key, old[key], new[key]) for key in old if key in new]
    table = pd.DataFrame(both, columns=list(_COLUMNS))
    notes = [f"Two machines: {foreign}."] if foreign else []
    notes += _versions(before, after) + _unmatched(old, new)
    return Comparison(table, _text(table, notes))


def _other_machine(before: Sequence[Run], after: Sequence[Run]) -> str:
    """The fields in which the machines differ, of any two files; empty if they do not."""
    first = before[0].header["machine"]
    for run in (*before, *after):
        machine = run.header["machine"]
        fields = [f for f in {**first, **machine} if first.get(f) != machine.get(f)]
        if fields:
            return ", ".join(f"{f}: {first.get(f)!r} and {machine.get(f)!r}" for f in fields)
    return ""


def _rows(runs: Sequence[Run]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows that have a time, by what they are of."""
    return {
        (run.name, *(row.get(key) for key in _KEYS)): row
        for run in runs
        for row in run.rows
        if _quantity(row) is not None
    }


def _quantity(row: Mapping[str, Any]) -> tuple[str, np.ndarray] | None:
    """What of a row is compared, in every round."""
    if row["row"] == "peer":
        return "ours / peer", np.array(row["ours"]) / np.array(row["theirs"])
    if not row.get("seconds"):
        return None
    seconds = np.array(row["seconds"])
    if row["row"] == "cost" and (implied := _numbers.implied(dict(row))) is not None:
        return "overhead", seconds / implied
    if row.get("base_seconds"):
        return "over its base", seconds / np.array(row["base_seconds"])
    return "seconds", seconds


def _line(key: tuple[Any, ...], old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    (of, before), (_, after) = _both(old, new)
    found = difference(before, after)
    counts = [row.get("evaluations") for row in (old, new)]
    changed = f"evaluations {counts[0]:g} -> {counts[1]:g}" if counts[0] != counts[1] else ""
    return {
        "benchmark": key[0],
        "name": _name(key),
        "of": of,
        "a": float(np.median(before)),
        "b": float(np.median(after)),
        "ratio": found.median,
        "low": found.low,
        "high": found.high,
        "verdict": _verdict(found),
        "noisy": bool(old.get("noisy") or new.get("noisy")),
        "note": changed,
    }


def _both(old: dict[str, Any], new: dict[str, Any]) -> tuple[Any, Any]:
    """The same quantity of both rows: seconds, if only one has a base."""
    before, after = _quantity(old), _quantity(new)
    if before and after and before[0] == after[0]:
        return before, after
    return ("seconds", np.array(old["seconds"])), ("seconds", np.array(new["seconds"]))


def difference(before: np.ndarray, after: np.ndarray) -> Ratio:
    """The ratio of two medians, with a 95 % interval (bootstrap over the rounds of both).

    The runs share no rounds, so each is drawn for itself. With too few rounds the interval is NaN.
    """
    median = float(np.median(after) / np.median(before))
    if min(len(before), len(after)) < FEWEST_ROUNDS:
        return Ratio(median, math.nan, math.nan)
    rng = np.random.default_rng(0)
    drawn = [np.median(rng.choice(x, (2000, len(x))), axis=1) for x in (after, before)]
    low, high = np.quantile(drawn[0] / drawn[1], [0.025, 0.975])
    return Ratio(median, float(low), float(high))


def _verdict(found: Ratio) -> str:
    if math.isnan(found.low):
        return "too few rounds"
    if found.low > BOUND:
        return "slower"
    return "faster" if found.high < 1 / BOUND else "same"


def _name(key: tuple[Any, ...]) -> str:
    """What a row is of, in words."""
    named = dict(zip(_KEYS, key[1:], strict=True))
    parts = [
        str(named[k])
        for k in ("what", "peer", "variant", "library", "method", "workload")
        if named[k]
    ]
    parts += [f"{k} {named[k]:g}" for k in ("batch", "wanted") if named[k] is not None]
    if named["axis"]:
        parts.append(f"{named['value']:g} {named['axis']}")
    return ", ".join(parts)


def _unmatched(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> list[str]:
    """What only one has; if only the version of the workload differs, that it is not comparable."""
    only_old, only_new = [k for k in old if k not in new], [k for k in new if k not in old]
    other = {_plain(key): key for key in only_new}
    notes = []
    for key in only_old:
        successor = other.pop(_plain(key), None)
        if successor is None:
            notes.append(f"Only in a: {key[0]}: {_name(key)}.")
        else:
            versions = " and ".join(_version(k) for k in (key, successor))
            notes.append(
                f"Not comparable: {key[0]}: {_name(key)}: workloads of versions {versions}."
            )
    return notes + [f"Only in b: {key[0]}: {_name(key)}." for key in other.values()]


def _plain(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key without the version of its workload."""
    return tuple(_VERSION.sub("", part) if isinstance(part, str) else part for part in key)


def _version(key: tuple[Any, ...]) -> str:
    workload = key[1 + _KEYS.index("workload")]
    found = _VERSION.search(workload or "")
    return found[1] if found else "none"


def _versions(before: Sequence[Run], after: Sequence[Run]) -> list[str]:
    """What else is not the same: packages, commits."""
    old, new = (_software(runs) for runs in (before, after))
    return [
        f"{name}: {old.get(name, 'none')} in a, {new.get(name, 'none')} in b."
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _software(runs: Sequence[Run]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for run in runs:
        provenance = run.header["provenance"]
        versions = {**provenance.get("packages", {}), "commit": str(provenance.get("git_sha"))[:10]}
        for name, version in versions.items():
            found.setdefault(name, [])
            if version not in found[name]:
                found[name].append(version)
    return {name: ", ".join(versions) for name, versions in found.items()}


def _text(table: pd.DataFrame, notes: Sequence[str]) -> str:
    """What changed first, then a line for each row, then what was not compared."""
    counts = table.verdict.value_counts()
    order = ("slower", "faster", "same", "too few rounds")
    total = ", ".join(f"{counts.get(verdict, 0)} {verdict}" for verdict in order)
    found = [f"b / a of {len(table)} rows: {total}.", ""]
    ranked = table.assign(rank=table.verdict.map(order.index)).sort_values("rank", kind="stable")
    for row in lines(ranked):
        interval = "" if math.isnan(row.low) else f" [{row.low:.3f}, {row.high:.3f}]"
        extra = ", ".join(filter(None, ["NOISY" if row.noisy else "", row.note]))
        found.append(
            f"{row.verdict:14} {row.ratio:.3f}{interval}  {row.benchmark}: {row.name} ({row.of} "
            f"{row.a:.4g} -> {row.b:.4g}){'  ' + extra if extra else ''}"
        )
    return "\n".join([*found, *([""] if notes else []), *notes])
