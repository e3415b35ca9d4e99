"""The peers beside ours: each in a process of its own, on the same inputs and weights, in the same rounds.

A process of a peer is asked for one call at a time and answers with its seconds, while this one waits: the two never
compute at the same time. Methods of a workload run in the same rounds, in random order, with the bare model of both
sides, so that a ratio of two explainers splits into the ratio of their models and that of their overheads. PyTorch is
measured as it comes and as fast as it gets. Slow methods get fewer rounds.
"""

import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks import _timing
from benchmarks._rows import Writer
from benchmarks.peer import _data, _pairs
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import LIBRARIES, missing
from benchmarks.peer._pairs import Pair, Workload

#: How PyTorch is run: the name of the variant in a row, by device and the worker's option.
VARIANTS = {
    "cpu": {"plain": "as it comes", "best": "channels last, allocator thresholds raised"},
    "gpu": {"plain": "as it comes", "best": "channels last, cuDNN benchmark"},
}
# glibc keeps the memory of large tensors rather than giving it back each time; JAX leaves a GPU's memory to others.
_RAISED = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**32))
_SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
_ENVIRONMENT = {"cpu": {"best": _RAISED}, "gpu": {"plain": _SHARED, "best": _SHARED}}
# Methods of which a call takes longer than this run in rounds of their own.
_SLOW = 1.0
# There are as many rounds as fit into this time, but not fewer than say something.
_SECONDS = 40.0
# Beyond this a call of a peer is not measured.
_PATIENCE = 60.0


class PeerError(Exception):
    """The process of a peer ended before it answered."""


class Worker:
    """The process of a peer; a context manager that ends it."""

    def __init__(
        self, library: str, folder: Path, *, device: str = "cpu", variant: str = "plain"
    ) -> None:
        self.command = [sys.executable, "-m", "benchmarks.peer", library]
        self.command += ["--data", str(folder), "--device", device, "--variant", variant]
        self.command += ["--threads", str(_threads())]
        self.environment = {**os.environ, **_ENVIRONMENT[device].get(variant, {})}
        self.errors = folder / f"{library}, {variant}.txt"
        self.process: subprocess.Popen[str] | None = None

    def ask(self, do: str, **command: str) -> dict[str, Any]:
        """What it answers; it is started when it is not running.

        Raises:
          PeerError: it ended, and with what last line.
        """
        process = self.process = self.process or self._start()
        assert process.stdin
        assert process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has ended, as the answer will say
            process.stdin.write(json.dumps({"do": do, **command}) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            status = process.wait()
            self._forget()
            lines = self.errors.read_text("utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "nothing said")
            raise PeerError(f"its process ended with status {status}: {last.strip()}")
        return json.loads(answer)

    def timer(self, method: str) -> _timing.Timer:
        """The seconds of one of its calls."""
        return lambda: self.ask("time", method=method)["seconds"]

    def output(self, method: str) -> np.ndarray:
        """What a method returns."""
        path = self.errors.with_suffix(".npy")
        self.ask("output", method=method, path=str(path))
        return np.load(path)

    def _start(self) -> "subprocess.Popen[str]":
        with open(self.errors, "w", encoding="utf-8") as errors:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                encoding="utf-8",
                env=self.environment,
            )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process:
            self.process.kill()
            self._forget()

    def _forget(self) -> None:
        """Wait for a process that ends, and close its pipes; what was not sent is lost."""
        assert self.process
        with contextlib.suppress(BrokenPipeError), self.process:
            self.process = None


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(writer: Writer, *, rounds: int, device: str, only: str = "") -> None:
    """Measure, a row for each method of each peer.

    Args:
      writer: of the file.
      rounds: how many; slow methods get fewer.
      device: `"cpu"` or `"gpu"`, on which both sides run.
      only: which peers: those whose name matches.
    """
    there = []
    for name in (n for n in LIBRARIES if re.search(only, n)):
        if lacking := missing(LIBRARIES[name]):
            why = f"not installed ({', '.join(lacking)}): {LIBRARIES[name].pip}"
            writer.add("skipped", what=name, why=why)
        else:
            there.append(name)
    if not there:
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder), device)
        write(data, with_networks=any(LIBRARIES[name].is_torch for name in there))
        for name in there:
            _library(writer, name, data, rounds)


def write(data: Data, *, with_networks: bool) -> None:
    """Write what is explained; networks of PyTorch in a process of their own."""
    _data.write(data.folder)
    networks: dict[str, Any] = {"efficientnet_lite0": _data.efficientnet()}
    if with_networks:
        command = ["-m", "benchmarks.peer", "weights", "--data", str(data.folder)]
        subprocess.run([sys.executable, *command], check=True)
        networks |= {name: _pairs.network(data, name) for name in ("resnet50", "squeezenet1_1")}
    _data.write_targets(data.folder, networks)


def _library(writer: Writer, name: str, data: Data, rounds: int) -> None:
    """All workloads of a peer."""
    options = ("plain", "best") if LIBRARIES[name].is_torch else ("plain",)
    module = importlib.import_module(f"benchmarks.peer.{name}")
    with contextlib.ExitStack() as stack:
        workers = {
            VARIANTS[data.device][option]: stack.enter_context(
                Worker(name, data.folder, device=data.device, variant=option)
            )
            for option in options
        }
        for workload in module.pairs(data):
            for row in measure(name, workload, workers, rounds):
                writer.add(row.pop("row"), **row)


class _Ready(NamedTuple):
    """A method that both sides have done once: the seconds of a call of ours and of theirs, and the differences."""

    pair: Pair
    seconds: list[float]
    differences: dict[str, float | None]


def measure(
    name: str, workload: Workload, workers: Mapping[str, Worker], rounds: int
) -> Iterator[dict[str, Any]]:
    """Rows of the methods of a workload, the quick ones first; skipped ones say why."""
    ready: list[_Ready] = []
    for pair in workload.pairs:
        try:
            ready.append(_once(workload, pair, workers))
        except (PeerError, TypeError, ValueError) as error:  # theirs, or ours
            what = f"{name}, {pair.method}, {workload.name}"
            yield {"row": "skipped", "what": what, "why": str(error)}
    quick = [r for r in ready if max(r.seconds) < _SLOW]
    slow = [r for r in ready if max(r.seconds) >= _SLOW]
    for group in filter(None, (quick, slow)):
        fit = int(_SECONDS / sum(sum(r.seconds) for r in group))
        count = int(np.clip(fit, min(_timing.FEWEST_ROUNDS, rounds), rounds))
        try:
            yield from _measure_group(name, workload, workers, group, count)
        except PeerError as error:
            methods = ", ".join(r.pair.method for r in group)
            what = f"{name}, {methods}, {workload.name}"
            yield {"row": "skipped", "what": what, "why": str(error)}


def _once(workload: Workload, pair: Pair, workers: Mapping[str, Worker]) -> _Ready:
    """Run both sides; each has compiled and warmed up after that."""
    method, differences, seconds = f"{workload.name}: {pair.method}", {}, []
    for variant, worker in workers.items():
        worker.ask("hello")  # a process that starts takes its time
        start = time.perf_counter()
        output = worker.output(method)
        if (took := time.perf_counter() - start) > _PATIENCE:
            raise PeerError(f"a call took {took:.0f} s, more than {_PATIENCE:.0f} s")
        differences[variant] = _pairs.difference(pair, output)
        seconds.append(worker.timer(method)())
    return _Ready(pair, [_timing.timer(pair.ours)(), *seconds], differences)


def _measure_group(
    name: str,
    workload: Workload,
    workers: Mapping[str, Worker],
    group: Sequence[_Ready],
    rounds: int,
) -> Iterator[dict[str, Any]]:
    """Interleave methods with the bare models of both sides; the first method of ours is the control."""
    timers: dict[str, _timing.Timer] = {}
    for bare in dict.fromkeys(ready.pair.bare for ready in group if ready.pair.bare):
        jax.block_until_ready(workload.bare[bare]())
        timers[f"ours: {bare}"] = _timing.timer(workload.bare[bare])
    for pair in (ready.pair for ready in group):
        timers[f"ours: {pair.method}"] = _timing.timer(pair.ours)
    asked = dict.fromkeys(m for r in group for m in (r.pair.bare, r.pair.method) if m)
    for variant, worker in workers.items():
        for method in asked:
            timers[f"{variant}: {method}"] = worker.timer(f"{workload.name}: {method}")
            timers[f"{variant}: {method}"]()
    control = f"ours: {group[0].pair.method}"
    title = f"{name}, {workload.name}"
    done = _timing.interleave(timers, rounds, control=control, title=title)
    for ready in group:
        for variant, worker in workers.items():
            row = _row(workload, ready, variant, done.seconds)
            peer = {"peer": name, "version": worker.ask("hello")["version"]}
            yield {"row": "peer", **peer, **row, **done.trust()}


def _row(
    workload: Workload, ready: _Ready, variant: str, seconds: Mapping[str, list[float]]
) -> dict[str, Any]:
    pair = ready.pair
    return {
        "variant": variant,
        "method": pair.method,
        "workload": workload.name,
        "batch": workload.batch,
        "bare": pair.bare,
        "ours": seconds[f"ours: {pair.method}"],
        "theirs": seconds[f"{variant}: {pair.method}"],
        "our_bare": seconds[f"ours: {pair.bare}"] if pair.bare else None,
        "their_bare": seconds[f"{variant}: {pair.bare}"] if pair.bare else None,
        "rounds": len(seconds["control"]),
        "difference": ready.differences[variant],
        "compared": pair.compared,
        "deterministic": pair.deterministic,
    }
