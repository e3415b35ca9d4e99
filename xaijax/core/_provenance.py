"""Where a result comes from: what must be known to get it again."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

_PACKAGES = ("xaijax", "jax", "jaxlib", "flax", "numpy", "scikit-image", "pillow")


def provenance() -> dict[str, Any]:
    """Versions, device and the settings that change the last digits.

    Examples:
      >>> sorted(provenance())
      ['backend', 'cpu_threads', 'device', 'git_sha', 'matmul_precision', 'packages', 'platform', 'python', 'x64']
    """
    device = jax.devices()[0]
    return {
        "packages": {name: _version(name) for name in _PACKAGES},
        "git_sha": _git_sha(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "backend": jax.default_backend(),
        "device": device.device_kind,
        # The results of some CPU kernels depend on the size of the thread pool, which NPROC sets.
        "cpu_threads": os.environ.get("NPROC") or len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
        "matmul_precision": jax.config.jax_default_matmul_precision,  # type: ignore[attr-defined]
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git_sha() -> str | None:
    """The commit of a source checkout, marked if it was changed; None for an installed package."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        sha = _git(here, "rev-parse", "HEAD")
        return sha + (
            "+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
