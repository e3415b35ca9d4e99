"""The benchmarks as airspeed velocity runs them, over the commits of the library.

    cd benchmarks/asv && asv run

A class for each group of cases, with a parameter for each method. What is timed is the compiled program alone; flops
and temporary bytes are exact, and tell a change that no clock would.
"""

import functools
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax

# At the end, so that the library is the one that asv installed, and not the one in this directory.
sys.path.append(str(Path(__file__).parents[3]))

_Groups = dict[str, Callable[[], list[Any]]]


class _Lazy:
    """An attribute of a class that is made when it is asked for: a group loads its model."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __get__(self, instance: Any, owner: Any) -> Any:
        return self.make()


class _Suite:
    """One group of cases; asv makes an object for each method, and a process for each number."""

    param_names = ("method",)
    timeout = 600

    @staticmethod
    def cases() -> dict[str, Any]:
        """The cases by method; none where something they need is not installed."""
        raise NotImplementedError

    def setup(self, method: str) -> None:
        """Compile, so that it is not timed."""
        found = self.cases()
        if method not in found:
            raise NotImplementedError  # which asv takes for: skip this one
        self.arguments = found[method].arguments
        self.lowered = found[method].program.lower(*self.arguments)
        self.compiled = self.lowered.compile()

    def time_call(self, method: str) -> None:
        """Seconds of one call, which explains or judges the whole batch."""
        jax.block_until_ready(self.compiled(*self.arguments))

    def track_flops(self, method: str) -> float:
        """Operations of the program as XLA counts them before it is compiled; of a loop, one step."""
        return float((self.lowered.cost_analysis() or {}).get("flops", 0))

    def track_temporary_bytes(self, method: str) -> int:
        """Memory beyond arguments and results."""
        analysis = self.compiled.memory_analysis()
        return analysis.temp_size_in_bytes if analysis is not None else 0

    track_flops.unit = "flops"  # type: ignore[attr-defined]
    track_temporary_bytes.unit = "bytes"  # type: ignore[attr-defined]


def classes(groups: Callable[[], _Groups], missing: type[Exception]) -> dict[str, type[_Suite]]:
    """A class for each group, by name.

    Args:
      groups: the cases of each group, by the name of the group.
      missing: what a group raises if something it needs is not installed: it is skipped.
    """
    return {name: _suite(name, make, missing) for name, make in _named(groups())}


def _named(groups: _Groups) -> Iterable[tuple[str, Callable[[], list[Any]]]]:
    for name, make in groups.items():
        yield "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", name)), make


def _suite(name: str, make: Callable[[], list[Any]], missing: type[Exception]) -> type[_Suite]:
    @functools.cache
    def cases() -> dict[str, Any]:
        try:
            return {case.method: case for case in make()}
        except missing:
            return {}

    def version() -> str:
        """The workloads: asv never compares numbers of two versions."""
        names = dict.fromkeys(f"{c.workload.name}, batch {c.batch}" for c in cases().values())
        return "; ".join(names) or "not installed"

    attributes = {
        "__doc__": f"The group {name}.",
        "__module__": __name__,
        "cases": staticmethod(cases),
        "params": _Lazy(lambda: [list(cases()) or ["not installed"]]),
        "version": _Lazy(version),
    }
    return type(name, (_Suite,), attributes)
