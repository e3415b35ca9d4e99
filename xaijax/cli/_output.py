"""An output folder that gets all of its files or none."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from xaijax.core._errors import complaint


@contextlib.contextmanager
def output_folder(
    path: str | os.PathLike[str], files: Sequence[str], *, force: bool
) -> Iterator[Path]:
    """Give a hidden folder to write into; its files move to `path` once all are written without an error.

    Args:
      path: the output folder; made if it does not exist. Other files in it are left alone.
      files: the names that will be written.
      force: whether files of these names may be replaced.

    Raises:
      FileExistsError: such a file is there already.
      NotADirectoryError: `path` is a file.
      PermissionError: nothing can be written there.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        fix = "Give another folder with --out."
        raise NotADirectoryError(
            complaint("explain", "--out", "be a folder", f"a file, '{folder}'", fix)
        )
    _check_free(folder, files, force)
    parent = next(p for p in (folder, *folder.resolve().parents) if p.is_dir())
    try:
        # Beside its destination, so that a move is a rename.
        hidden = Path(tempfile.mkdtemp(prefix=".xaijax-", dir=parent))
    except OSError as error:
        fix = "Give another folder with --out."
        got = f"'{folder}' ({error.strerror})"
        raise type(error)(complaint("explain", "--out", "be writable", got, fix)) from None
    try:
        yield hidden
        folder.mkdir(parents=True, exist_ok=True)
        # Somebody else may have written there meanwhile.
        _check_free(folder, files, force)
        for name in files:
            if (hidden / name).exists():
                os.replace(hidden / name, folder / name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _check_free(folder: Path, files: Sequence[str], force: bool) -> None:
    there = [name for name in files if (folder / name).exists()]
    if any((folder / name).is_dir() for name in there):
        rule, fix = "have no folders named like the results", "Give another folder with --out."
        raise IsADirectoryError(complaint("explain", "--out", rule, f"'{folder}'", fix))
    if there and not force:
        rule = "be a folder without earlier results"
        fix = "Give another folder with --out, or replace them with --force."
        got = f"'{folder}' with {', '.join(there)}"
        raise FileExistsError(complaint("explain", "--out", rule, got, fix))
