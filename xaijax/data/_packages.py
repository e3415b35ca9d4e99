"""What is in installed packages: finding files without importing anything, and making sure what they are."""

import hashlib
import importlib.util
import os
from pathlib import Path

from xaijax.core._errors import complaint


def package_folder(where: str, package: str, command: str) -> Path:
    """The folder of an installed package, which is not imported.

    Args:
      where: the caller, for the message.
      package: its name in an import.
      command: what installs it.

    Raises:
      ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        rule, fix = "be installed, which has the data", f"Run: {command}"
        raise ModuleNotFoundError(
            complaint(where, f"the package {package}", rule, "no such package", fix)
        )
    return Path(spec.submodule_search_locations[0])


def check_content(where: str, path: str | os.PathLike[str], content: bytes, sha256: str) -> bytes:
    """The content; raises ValueError unless it is what it was when this reader was written."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        rule = f"have the content of SHA-256 {sha256[:12]}..."
        fix = "Install the version that the documentation names."
        raise ValueError(complaint(where, f"'{path}'", rule, f"{found[:12]}...", fix))
    return content
