"""The files of MNIST and of what took its place: idx, plain or compressed."""

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from xaijax.core._errors import complaint
from xaijax.data._packages import check_content


def read_idx(
    where: str, folders: Sequence[Path], sha256: Mapping[str, str], fix: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, labels, and which of them are for the test.

    Args:
      where: the caller, for the message.
      folders: where the files may be; the first that has one counts.
      sha256: of each file's content before compression, by name: images and labels of training, then of the test.
      fix: how to get the files.

    Raises:
      FileNotFoundError: a file is in none of the folders.
      ValueError: the content of a file is another.
    """
    arrays = []
    for name, digest in sha256.items():
        places = [folder / f"{name}{end}" for folder in folders for end in ("", ".gz")]
        path = next((path for path in places if path.is_file()), None)
        if path is None:
            got = f"no {name} in " + (", ".join(f"'{f}'" for f in folders) or "any node_modules")
            raise FileNotFoundError(complaint(where, "folder", "have the files", got, fix))
        raw = path.read_bytes()
        content = check_content(
            where, path, gzip.decompress(raw) if path.suffix == ".gz" else raw, digest
        )
        # Two zeros, the type (8: unsigned bytes), the number of axes; the length of each axis; the bytes.
        shape = np.frombuffer(content, ">i4", content[3], offset=4)
        arrays.append(np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape))
    train, train_labels, test, test_labels = arrays
    is_test = np.arange(len(train) + len(test)) >= len(train)
    x, y = np.concatenate([train, test])[..., None], np.concatenate([train_labels, test_labels])
    return x, y.astype(np.int64), is_test
