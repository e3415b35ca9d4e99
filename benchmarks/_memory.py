"""Peak memory of each method of a group, in a process of its own: `python -m benchmarks._memory BENCHMARK GROUP`.

On Linux, where a process can ask for its peak to be forgotten. Large blocks go back to the system when they are freed
(the driver says so to the allocator), or one method would run in what the one before left.
"""

import gc
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax

# Blocks of at least this size are the system's again once they are free.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def peaks(benchmark: str, group: str) -> dict[str, int]:
    """The bytes that each method's call takes beyond what was there before; none where the system does not tell."""
    if not Path("/proc/self/clear_refs").exists() or jax.default_backend() != "cpu":
        return {}
    command = [sys.executable, "-m", "benchmarks._memory", benchmark, group]
    done = subprocess.run(
        command, env={**os.environ, **_MALLOC}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def _measured(benchmark: str, group: str) -> dict[str, int]:
    found = {}
    for case in importlib.import_module(f"benchmarks.{benchmark}").groups()[group]():
        compiled = case.program.lower(*case.arguments).compile()
        jax.block_until_ready(compiled(*case.arguments))
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
        jax.block_until_ready(compiled(*case.arguments))
        found[case.method] = max(_status("VmHWM") - before, 0)
    return found


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text("utf-8")
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None, field
    return int(found.group(1)) * 1024


if __name__ == "__main__":
    print(json.dumps(_measured(*sys.argv[1:3])))
