"""What `load` gives: rows with labels, where they are from, and a fingerprint of what they are."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xaijax.core._errors import complaint, nearest


class Source(NamedTuple):
    """Where data are from.

    Attributes:
      package: the package and the version whose content they are: "scikit-learn==1.9.1".
      licence: what is said of their licence; that of a package need not cover the data in it.
    """

    package: str
    licence: str


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """Examples and their labels, as NumPy arrays.

    Attributes:
      name: as `load` takes it.
      split: as `load` takes it.
      x: the examples, `(n, *shape)`: images `(n, h, w, c)` as the source has them, rows `(n, features)`, or texts
        `(n,)`.
      y: class indices `(n,)`, or numbers to predict where there are no classes.
      class_names: of the classes; none for a regression.
      feature_names: of the columns of a table; none for images and texts.
      categories: the values that the numbers of a column stand for, by the name of the column.
      source: the package they are from, and the licence.
    """

    name: str
    split: str
    x: np.ndarray
    y: np.ndarray
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    categories: dict[str, tuple[str, ...]]
    source: Source

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.y)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the examples and labels: equal exactly if they are, in the same order."""
        return fingerprint(self.x, self.y)

    def rows(self, which: Any) -> "DataSet":
        """Some of the examples.

        Args:
          which: as NumPy's indexing takes it: indices, a slice, or true and false.

        Returns:
          The data set of these examples alone.
        """
        return dataclasses.replace(self, x=self.x[which], y=self.y[which])

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Columns of a table, in the order of the names.

        Args:
          names: of `feature_names`.

        Returns:
          The columns `(n, len(names))`.

        Raises:
          ValueError: there is no such column.
        """
        for name in names:
            if name not in self.feature_names:
                rule, fix = f"name columns of {self.name}", nearest(name, self.feature_names)
                raise ValueError(complaint("columns", "names", rule, repr(name), fix))
        return self.x[:, [self.feature_names.index(name) for name in names]]


def fingerprint(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays: of each its type, its shape and what is in it.

    >>> fingerprint(np.arange(3)) == fingerprint(np.arange(3))
    True
    >>> len({fingerprint(np.array(a, object)) for a in (["ab", "c"], ["a", "bc"])})
    2
    """
    digest = hashlib.sha256()
    for array in arrays:
        if array.dtype == object:  # texts, each with its length before it
            parts = [text.encode() for text in array]
            head, content = "text", b"".join(len(p).to_bytes(8, "little") + p for p in parts)
        else:
            # The same on every machine, whichever end it begins numbers with.
            ordered = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            head, content = ordered.dtype.str, ordered.tobytes()
        for part in (f"{head}{array.shape}".encode(), content):
            digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
