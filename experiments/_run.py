"""Running an experiment: measure what is not yet measured, then conclude."""

import contextlib
import datetime
import functools
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

import xaijax
from experiments import _tables
from experiments._config import digest
from experiments._experiment import Conclusion
from experiments._store import RunError, Store, read_lines, write

#: Where runs go, and where those stand that are committed.
RUNS = Path("experiments/results")


def run_folder(name: str, config: Any, out: Path = RUNS) -> Path:
    """Where a run of these settings goes: a function of the settings alone."""
    return out / name / digest(name, config)


def run(module: ModuleType, name: str, config: Any, out: Path = RUNS) -> tuple[Path, Conclusion]:
    """Measure an experiment, or what is left of it, and conclude.

    Returns:
      The run's directory and what it says.

    Raises:
      RunError: the directory cannot be used.
    """
    store = Store(run_folder(name, config, out), name, config)
    units = list(module.units(config))
    with store.opened():
        done = store.done(units)
        store.event("resume" if done else "start", at=_now(), pid=os.getpid(), units=len(done))
        left = units[len(done) :]
        measured = _in_order(
            functools.partial(module.measure, config), left, getattr(module, "THREADS", 1)
        )
        bar = tqdm(left, initial=len(done), total=len(units), desc=name, disable=None)
        for unit, rows in zip(bar, measured, strict=True):
            store.add(unit, [clean(row) for row in rows])
        record = store.folder / "provenance.json"
        if len(done) < len(units) or not record.exists():  # else it is that of what was measured
            write(record, _json(xaijax.provenance()))
        conclusion = conclude(module, config, store.folder)
        store.event("finish", at=_now(), pid=os.getpid(), units=len(units))
    return store.folder, conclusion


def _in_order(
    measure: Callable[[str], list[dict[str, Any]]], units: Sequence[str], threads: int
) -> Iterator[list[dict[str, Any]]]:
    """What the units measure, in their order, so many of them at once."""
    if threads == 1:
        yield from map(measure, units)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(measure, units)


def conclude(module: ModuleType, config: Any, folder: Path) -> Conclusion:
    """Make everything of the results of a finished run: tables, figures, references, the conclusion."""
    results = folder / "results.jsonl"
    records = read_lines(results)
    units = list(module.units(config))
    if [record["unit"] for record in records] != units:
        raise RunError(
            f"experiments: '{folder}' must be finished, got {len(records)} of {len(units)} units."
        )
    conclusion = module.conclude(config, _tables.rows(records))
    for made in ("tables", "figures"):  # of an earlier conclusion
        shutil.rmtree(folder / made, ignore_errors=True)
    for title, table in conclusion.tables.items():
        _tables.save(table, folder / "tables" / title)
    with _quiet_figures():
        for title, figure in conclusion.figures.items():
            for kind in ("pdf", "png"):
                path = folder / "figures" / f"{title}.{kind}"
                path.parent.mkdir(exist_ok=True)
                # No date: the same results give the same file.
                metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
                figure.savefig(path, dpi=150, bbox_inches="tight", metadata=metadata)
    write(folder / "refs.bib", xaijax.citation(*conclusion.sources))
    summary = {
        "verdict": conclusion.verdict,
        "only_if": conclusion.only_if,
        "effect": conclusion.effect,
        "text": conclusion.text,
        "figures": list(conclusion.figures),
        "tables": list(conclusion.tables),
        "results_sha256": hashlib.sha256(results.read_bytes()).hexdigest(),
    }
    write(folder / "conclusion.json", _json(summary))
    return conclusion


def clean(value: Any) -> Any:
    """A value as JSON has it: a number that is not finite is null."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [clean(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy's and JAX's
        return clean(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


@contextlib.contextmanager
def _quiet_figures() -> Iterable[None]:
    import matplotlib.pyplot as plt

    try:
        yield
    finally:
        plt.close("all")


def _json(value: Any) -> str:
    return json.dumps(clean(value), indent=2, sort_keys=True) + "\n"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
