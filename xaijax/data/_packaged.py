"""What the builders of data sets share: TensorFlow Datasets without TensorFlow, on data that a package has.

The records are in array_record files, since TFDS writes no other format without TensorFlow that gives back all that was
written. Every record has its place in the source, so that examples come back in the order of the source.
"""

import abc
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from xaijax.data._data_set import Source


class Contents(NamedTuple):
    """All of a data set, as the source has it.

    Attributes:
      x: the examples.
      y: the labels.
      is_test: which of them are in the split "test".
      source: the package it was read from.
    """

    x: np.ndarray
    y: np.ndarray
    is_test: np.ndarray
    source: Source


def raw(shape: tuple[int, ...], dtype: Any) -> tfds.features.Tensor:
    """The feature of TFDS that keeps an array as it is: as numbers it would keep doubles in single precision."""
    return tfds.features.Tensor(shape=shape, dtype=dtype, encoding="bytes")


class Packaged(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder of a data set that a package has.

    It is not registered with TFDS, which has other builders of some of these names. What it prepared,
    `tfds.builder_from_directory` reads, too.

    Args:
      folder: the files, for those that are not in a Python package.
      **settings: TFDS's own.
    """

    VERSION = tfds.core.Version("1.0.0")
    # Nothing is downloaded. TFDS would look for checksums beside this file, by a package that it does not install.
    url_infos: ClassVar[Any] = {}  # pyright: ignore[reportIncompatibleVariableOverride]

    #: The feature of TFDS that an example is.
    example: ClassVar[Any]
    class_names: ClassVar[tuple[str, ...]] = ()
    feature_names: ClassVar[tuple[str, ...]] = ()
    categories: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(self, *, folder: str | None = None, **settings: Any) -> None:
        self.folder = folder
        super().__init__(file_format="array_record", **settings)

    @abc.abstractmethod
    def read(self) -> Contents:
        """Read all of it from the package."""

    def _info(self) -> tfds.core.DatasetInfo:
        names = self.class_names
        label = tfds.features.ClassLabel(names=names) if names else raw((), np.float64)
        features = {"x": self.example, "y": label, "index": np.int64}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        contents = self.read()
        assert self.info.metadata is not None
        self.info.metadata.update(contents.source._asdict())
        splits = {"train": ~contents.is_test, "test": contents.is_test}
        return {
            name: self._generate_examples(contents, np.flatnonzero(chosen))
            for name, chosen in splits.items()
        }

    def _generate_examples(
        self, contents: Contents, chosen: np.ndarray
    ) -> Iterator[tuple[int, dict]]:
        for i in chosen.tolist():
            yield i, {"x": contents.x[i], "y": contents.y[i], "index": i}


def every_fifth(count: int) -> np.ndarray:
    """A test split for a source that has none: the rows whose number, in digits, has a CRC-32 that 5 divides.

    About a fifth of any part of the source: rows are often sorted by class.
    """
    return np.array([zlib.crc32(str(i).encode()) % 5 == 0 for i in range(count)])
