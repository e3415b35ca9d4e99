"""Results as JSON lines: the truth of a benchmark, from which every table and figure is made again.

A file `NAME.jsonl` holds one run of the benchmark NAME: a header, then a row for each thing that was measured, written
when it is known, so that an interrupted run keeps what it has. Times are lists in the order of the rounds.
"""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

import xaijax

#: Raised when what a row says changes its meaning: rows of two versions are not compared.
VERSION = 1


class Writer:
    """The file of one run, which begins with its header."""

    def __init__(self, folder: Path, name: str, **settings: Any) -> None:
        self.path = folder / f"{name}.jsonl"
        folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text("", "utf-8")
        self.add(
            "header",
            version=VERSION,
            benchmark=name,
            machine=machine(),
            provenance=xaijax.provenance(),
            load_average=list(os.getloadavg()),
            **settings,
        )

    def add(self, row: str, **values: Any) -> None:
        """Write a row of the kind `row`; it is on the disk when this returns."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"row": row, **rounded(values)}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; a last line that was torn off is left out.

    Raises:
      ValueError: a line is no JSON, or the file is of another version.
    """
    lines = path.read_text("utf-8").splitlines(keepends=True)
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            break
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"benchmarks: '{path}', line {number}, must be JSON: {error}"
            ) from error
    if not rows or rows[0].get("version") != VERSION:
        got = rows[0].get("version") if rows else "an empty file"
        raise ValueError(
            f"benchmarks: '{path}' must be a result of version {VERSION}, got {got}; run it again."
        )
    return rows


def files(folder: Path) -> Iterator[Path]:
    """The result files of a folder.

    Raises:
      ValueError: there is none.
    """
    found = sorted(folder.glob("*.jsonl"))
    if not found:
        raise ValueError(
            f"benchmarks: '{folder}' must hold results, got no *.jsonl; run one first."
        )
    yield from found


def machine() -> dict[str, Any]:
    """What two runs must share for their times to be compared."""
    return {
        "device": jax.devices()[0].device_kind,
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def rounded(value: Any) -> Any:
    """A value as JSON has it, six digits each: nothing here is known to more."""
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if hasattr(value, "tolist"):
        return rounded(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if value - value == 0 else None
    return value
