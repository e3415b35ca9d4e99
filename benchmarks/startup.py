"""What importing xaijax costs over `import jax`, in fresh processes that take turns; methods are loaded on use."""

import subprocess
import sys
import time

from benchmarks._rows import Writer
from benchmarks._timing import Timer, interleave

_BASE = "import jax"
_CODES = (_BASE, "import jax, xaijax", "import xaijax; xaijax.explainers()")


def run(writer: Writer, *, rounds: int) -> None:
    """Measure."""
    done = interleave(
        {code: _process(code) for code in _CODES}, rounds, control=_BASE, title="startup"
    )
    for code in _CODES:
        writer.add(
            "measure",
            what=code,
            seconds=done.seconds[code],
            base=_BASE,
            base_seconds=done.seconds[_BASE],
            **done.trust(),
        )


def _process(code: str) -> Timer:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return once
