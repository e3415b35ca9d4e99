"""`python -m benchmarks.peer LIBRARY --data DIR --device cpu|gpu`: the process of a peer.

It reads a command a line, as JSON, and answers with a line of JSON; at the end of the input it ends. What a library
prints goes to the standard error. An exception ends the process: whoever asked sees its last line.

    {"do": "hello"}                                         -> {"version": "...", "methods": [...]}
    {"do": "time", "method": NAME}                          -> {"seconds": of one call}
    {"do": "output", "method": NAME, "path": "result.npy"}  -> {"shape": [...]}

`python -m benchmarks.peer weights --data DIR` writes networks with random weights into the folder and ends.
"""

import argparse
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _timing
from benchmarks.peer import _torch
from benchmarks.peer._data import Data
from benchmarks.peer._libraries import LIBRARIES, version


def main() -> None:
    """Answer."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peer", description=__doc__)
    parser.add_argument("library", help=f"weights, or one of {', '.join(LIBRARIES)}")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder with what is explained"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--variant", choices=("plain", "best"), default="plain")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.library == "weights":
        return _torch.write_weights(options.data)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    data = Data(options.data, options.device, options.variant)
    session = Session(options.library, data, options.threads)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(session, command.pop("do"))(**command)
        print(json.dumps(answer), file=answers, flush=True)
    return None


class Session:
    """A library that is asked. The name of another module than ours has a dot."""

    def __init__(self, library: str, data: Data, threads: int) -> None:
        self.library, self.data = LIBRARIES.get(library), data
        if self.library and self.library.is_torch:
            _torch.prepare(data, threads)
        name = library if "." in library else f"benchmarks.peer.{library}"
        self.methods: Mapping[str, Callable[[], Any]] = importlib.import_module(name).methods(data)
        self.timers: dict[str, _timing.Timer] = {}
        self.warm: set[str] = set()

    def hello(self) -> dict[str, Any]:
        """Which version, and what it can do."""
        found = version(self.library) if self.library else None
        return {"version": found, "methods": list(self.methods)}

    def time(self, method: str) -> dict[str, Any]:
        """The seconds of one call; the first time, the method runs before, to warm up."""
        if method not in self.timers:
            run = functools.partial(self._run, method)
            if method not in self.warm:
                run()
            self.timers[method] = _timing.timer(run)
        return {"seconds": self.timers[method]()}

    def output(self, method: str, path: str) -> dict[str, Any]:
        """Save what the method returns."""
        found = self._run(method)
        array = np.asarray(found.detach().cpu() if hasattr(found, "detach") else found)
        np.save(path, array)
        return {"shape": list(array.shape)}

    def _run(self, method: str) -> Any:
        found = self.methods[method]()
        self.warm.add(method)
        if self.library and self.library.is_torch:
            _torch.synchronize(self.data)
        return found


if __name__ == "__main__":
    main()
