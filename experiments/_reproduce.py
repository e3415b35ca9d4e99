"""Running a finished run again, and saying whether the same came out.

The criteria are those that were measured between versions of JAX, where units of rectified networks flip at roundings:
a few numbers move far while almost all stay.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import xaijax
from experiments import _config, _experiment
from experiments._run import RunError, run_folder
from experiments._store import read_json, read_lines

# Of the numbers of all rows: half of them within, nine tenths within, and so many at all within the last.
_MEDIAN, _NINE_TENTHS = 1e-5, 1e-3
_VERDICTS = {"IDENTICAL": 0, "EQUIVALENT": 0, "DIFFERENT": 3}


def reproduce(folder: Path) -> int:
    """Run it again in a folder that is thrown away, compare, and print the verdict.

    Returns:
      The exit status: 0 for IDENTICAL and EQUIVALENT, 3 for DIFFERENT.

    Raises:
      RunError: it is no finished run of this version.
    """
    header = read_json(folder / "config.json")
    module = _experiment.load(header["experiment"])
    config = _config.from_settings(module.Config, header["config"])
    expected = folder / "results.jsonl"
    before = read_lines(expected)
    if [record["unit"] for record in before] != list(module.units(config)):
        raise RunError(f"experiments: '{folder}' must be finished, got {len(before)} units.")
    old = read_json(folder / "provenance.json")
    with tempfile.TemporaryDirectory() as out:
        # A process of its own: the size of JAX's thread pool decides the last digits, and is set before it starts.
        environment = {**os.environ, "NPROC": str(old["cpu_threads"])}
        settings = Path(out, "settings.toml")
        settings.write_text(_toml(header["config"]), "utf-8")
        command = [sys.executable, "-m", "experiments", "run", header["experiment"]]
        command += ["--config", str(settings), "--out", out]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        again = run_folder(header["experiment"], config, Path(out)) / "results.jsonl"
        verdict, details = compare(before, read_lines(again))
        if again.read_bytes() == expected.read_bytes():
            verdict = "IDENTICAL"
    print(f"{verdict}: {folder}")
    if verdict != "IDENTICAL":
        print(f"  {details}")
        new = xaijax.provenance()
        for key in sorted(old.keys() | new.keys()):
            if old.get(key) != new.get(key):
                print(f"  {key}: {old.get(key)} then, {new.get(key)} now")
    return _VERDICTS[verdict]


def compare(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> tuple[str, str]:
    """EQUIVALENT or DIFFERENT, and by how much: of all numbers, relative to the largest of their column."""
    old, new = (list(_numbers(records)) for records in (before, after))
    if [name for name, _ in old] != [name for name, _ in new]:
        return "DIFFERENT", "the rows have other columns, texts or numbers of rows"
    a, b = (np.array([v for _, v in numbers], float) for numbers in (old, new))
    if (np.isnan(a) != np.isnan(b)).any():
        return "DIFFERENT", "another number is missing"
    columns = np.array([name.split(":")[0] for name, _ in old])
    size = np.ones(len(a))
    for column in np.unique(columns):
        here = columns == column
        size[here] = max(np.nanmax(np.abs(a[here]), initial=0.0), 1e-30)
    off = np.nan_to_num(np.abs(a - b) / size)
    median, nine_tenths, most = np.quantile(off, [0.5, 0.9, 1.0]) if len(off) else (0.0, 0.0, 0.0)
    details = f"relative differences: median {median:.1e}, nine tenths within {nine_tenths:.1e}, at most {most:.1e}"
    same = median <= _MEDIAN and nine_tenths <= _NINE_TENTHS
    return ("EQUIVALENT" if same else "DIFFERENT"), details


def _numbers(records: list[dict[str, Any]]) -> Any:
    """Every number by the column that it stands in, and every text as part of such a name."""
    for record in records:
        for row in record["rows"]:
            texts = "|".join(f"{k}={v}" for k, v in row.items() if isinstance(v, str))
            for key, value in row.items():
                for i, number in enumerate(value if isinstance(value, list) else [value]):
                    if number is None or isinstance(number, int | float):
                        yield (
                            f"{key}:{record['unit']}:{texts}:{i}",
                            np.nan if number is None else number,
                        )


def _toml(config: dict[str, Any]) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's.
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items())
