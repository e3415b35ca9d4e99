"""Prepared once, whole or not at all: the folder that a user's data sets are kept in."""

import contextlib
import fcntl
import io
import os
import shutil
from collections.abc import Callable, Iterator
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


def prepared(make: "Callable[[], Packaged]") -> "Packaged":
    """A builder of a data set whose records are there; they are written if they are not.

    TFDS writes into a folder of another name and renames it at the end. One process at a time does; the lock ends with
    its process, however that ends, and so whoever has it may remove what killed ones have left.

    Args:
      make: makes the builder, which reads what is there when it is made.
    """
    builder = make()
    if builder.data_path.exists():
        return builder
    home = Path(builder.data_path.parent)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        if not builder.data_path.exists():  # else another process was first
            for left in home.glob("incomplete.*"):
                shutil.rmtree(left)
            downloads = home / "incomplete.downloads"  # TFDS makes the folder, for nothing
            with _quiet():
                builder.download_and_prepare(download_dir=downloads)
            shutil.rmtree(downloads)
    return make()


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
