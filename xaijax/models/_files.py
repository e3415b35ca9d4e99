"""What the readers of weight files share: getting the bytes, and saying what is wrong with them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from xaijax.core._errors import complaint


class FileError(Exception):
    """What is wrong with the content of a file, and what to do about it."""

    def __init__(self, problem: str, fix: str = "Download or save the file again.") -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


@contextlib.contextmanager
def reading(where: str, path: Path, kind: str) -> Iterator[None]:
    """Turn a `FileError` of the block into a ValueError that names the file.

    Args:
        where: The caller, for the message.
        path: The file.
        kind: What it must be: "a PyTorch checkpoint of tensors".
    """
    try:
        yield
    except FileError as error:
        got = f"'{path}', {error.problem}"
        raise ValueError(complaint(where, "path", f"be {kind}", got, error.fix)) from error


def read_bytes(
    where: str, path: str | os.PathLike[str], *, fix: str = "Check the spelling of the path."
) -> bytes:
    """Read a file, or say that there is none.

    Args:
        where: The caller, for the message.
        path: The file.
        fix: How to get a file that is missing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is a directory.
    """
    path = Path(path)
    if path.is_dir():
        got, inside = f"the directory '{path}'", "Give the file inside it."
        raise ValueError(complaint(where, "path", "be a file", got, inside))
    if not path.is_file():
        raise FileNotFoundError(complaint(where, "path", "be an existing file", f"'{path}'", fix))
    return path.read_bytes()
