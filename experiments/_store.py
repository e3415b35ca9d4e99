"""The directory of a run: what is measured goes into it piece by piece, and survives a kill at any moment.

`results.jsonl` is the truth: one line for each unit of work, in the order of the units, written and flushed at its end.
A run that was interrupted goes on after the last whole line, and ends with the same bytes as one that was not.
Everything else (tables, figures, the report) is made of it again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments._config import settings
from xaijax.core._errors import complaint

#: Raised when the meaning of the files changes: a run of another one is not gone on with.
VERSION = 1


class RunError(Exception):
    """A run directory that cannot be used, and why."""


class Store:
    """One run directory, open for writing by one process."""

    def __init__(self, folder: Path, name: str, config: Any):
        self.folder, self.name = folder, name
        self.header = {"version": VERSION, "experiment": name, "config": settings(config)}

    @contextlib.contextmanager
    def opened(self) -> Iterator["Store"]:
        """Hold the directory; nobody else may write to it in the block.

        Raises:
          RunError: it is another run's, another process writes to it, or it cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.folder / ".lock", "w")  # noqa: SIM115 - held to the end of the block
        except OSError as error:
            raise RunError(
                _refused("be a folder that can be written to", self.folder, error)
            ) from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                rule = "be free: another process writes to it"
                raise RunError(_refused(rule, self.folder, "a lock")) from None
            self._begin()
            yield self

    def _begin(self) -> None:
        path = self.folder / "config.json"
        if not path.exists():
            write(path, json.dumps(self.header, indent=2, sort_keys=True) + "\n")
            return
        there = read_json(path)
        if there != self.header:
            old, new = (dict(h, **h.get("config", {})) for h in (there, self.header))
            keys = sorted(
                k for k in old.keys() | new.keys() if k != "config" and old.get(k) != new.get(k)
            )
            difference = ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} here" for k in keys)
            raise RunError(_refused("be of this config and version", self.folder, difference))

    def done(self, units: Sequence[str]) -> list[dict[str, Any]]:
        """The records of the units that are done; a line that a kill tore off is cut away.

        Raises:
          RunError: a line is not what was written.
        """
        path = self.folder / "results.jsonl"
        if not path.exists():
            return []
        text = path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        records = read_lines(path, whole)
        for record, unit in zip(records, units, strict=False):
            if record["unit"] != unit:
                rule = f"have the unit {unit!r} in its place"
                raise RunError(_refused(rule, path, repr(record["unit"])))
        if len(records) > len(units):
            raise RunError(_refused(f"have {len(units)} units", path, len(records)))
        if len(whole) < len(text):
            os.truncate(path, len(whole))
        return records

    def add(self, unit: str, rows: Sequence[dict[str, Any]]) -> None:
        """Write what a unit measured; it is on the disk when this returns."""
        line = encode(unit, rows)
        file = os.open(self.folder / "results.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            while line:
                line = line[os.write(file, line) :]
            os.fsync(file)
        finally:
            os.close(file)

    def event(self, what: str, **details: Any) -> None:
        """Note what happened to the run: not part of its results, which are the same on every machine."""
        with open(self.folder / "events.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": what, **details}, sort_keys=True) + "\n")


def encode(unit: str, rows: Sequence[dict[str, Any]]) -> bytes:
    """A unit's line, with a checksum of its rows."""
    body = json.dumps(rows, sort_keys=True, separators=(",", ":"))
    checksum = hashlib.sha256(body.encode()).hexdigest()[:16]
    return f'{{"unit":{json.dumps(unit)},"sha256":"{checksum}","rows":{body}}}\n'.encode()


def read_lines(path: Path, text: bytes | None = None) -> list[dict[str, Any]]:
    """The records of a results file, each checked.

    Raises:
      RunError: a line is not what was written.
    """
    text = path.read_bytes() if text is None else text
    records = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        try:
            record = json.loads(line)
            sound = encode(record["unit"], record["rows"]) == line
        except (ValueError, KeyError, TypeError):
            sound, record = False, {}
        if not sound:
            rule = "be as it was written; delete the run's folder to start anew"
            raise RunError(_refused(rule, path, f"another line {number}"))
        records.append(record)
    return records


def read_json(path: Path) -> Any:
    """A JSON file of a run.

    Raises:
      RunError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise RunError(_refused("have this file", path, "none")) from None
    except ValueError as error:
        raise RunError(_refused("be JSON", path, error)) from error


def write(path: Path, text: str | bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    data = text.encode() if isinstance(text, str) else text
    with open(new, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def _refused(rule: str, path: Path, got: Any) -> str:
    return complaint("experiments", f"'{path}'", rule, got)
