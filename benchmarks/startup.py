"""What importing xaijax costs over `import jax`, in fresh processes that take turns; methods are loaded on use."""

import subprocess
import sys
from typing import Any

from benchmarks._paired import is_noisy, measure


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""

    def python(code: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True).returncode

    codes = {
        "import jax": "import jax",
        "import jax, xaijax": "import jax, xaijax",
        "import xaijax and its explainers": "import xaijax; xaijax.explainers()",
    }
    time = measure(
        {name: python(code) for name, code in codes.items()}, base="import jax", rounds=rounds
    )
    base = time["import jax"]["seconds"]
    more = {name: time[name]["seconds"] - base for name in list(codes)[1:]}
    return {"time": time, "noisy": is_noisy(time), "seconds_more": more}
