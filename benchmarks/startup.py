"""What `import xaijax` costs over `import jax`, in fresh processes that take turns."""

import subprocess
import sys
from typing import Any

from benchmarks._paired import is_noisy, measure


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record."""

    def python(code: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True).returncode

    time = measure(
        {"import jax": python("import jax"), "import xaijax": python("import xaijax")},
        base="import jax",
        rounds=rounds,
    )
    more = time["import xaijax"]["seconds"] - time["import jax"]["seconds"]
    return {"time": time, "noisy": is_noisy(time), "seconds_more": more}
