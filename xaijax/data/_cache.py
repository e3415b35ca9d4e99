"""Prepared once, whole or not at all: the folder that a user's data sets are kept in."""

import contextlib
import fcntl
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xaijax.data._packaged import Packaged


def cache_folder() -> Path:
    """The folder of prepared data sets: `xaijax/data` in `$XDG_CACHE_HOME`, by default in `~/.cache`.

    Examples:
      >>> cache_folder().parts[-2:]
      ('xaijax', 'data')
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG specification: what is not absolute is to be ignored.
    return (home if home.is_absolute() else Path.home() / ".cache") / "xaijax" / "data"


def prepare(builder: "Packaged") -> None:
    """Write the records of a data set, unless they are there.

    TFDS writes into a folder of another name and renames it at the end. One process at a time does; the lock ends with
    its process, however that ends, and so whoever has it may remove what killed ones have left.
    """
    if builder.data_path.exists():
        return
    home = Path(builder.data_path.parent)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if builder.data_path.exists():  # by another process, meanwhile
            return
        for left in home.glob("incomplete.*"):
            shutil.rmtree(left)
        with _quiet():
            builder.download_and_prepare(download_dir=home / "incomplete.downloads")
        shutil.rmtree(home / "incomplete.downloads", ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TFDS tells of downloads, of which there are none, and has bars for what takes seconds."""
    from tensorflow_datasets.core.utils import tqdm_utils

    before = tqdm_utils._active
    tqdm_utils.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(before)
