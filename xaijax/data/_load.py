"""The door to the data sets: `load` of a name."""

import importlib
import importlib.util
import os
from typing import Any

import numpy as np

from xaijax.core._errors import complaint, nearest
from xaijax.data._cache import cache_folder, prepare
from xaijax.data._data_set import DataSet, Source

#: Each name, and the class in the file of that name.
_BUILDERS = {
    "digits": "Digits",
    "fashion_mnist": "FashionMnist",
}
_WITH_FOLDER = ("fashion_mnist", "mnist")


def names() -> tuple[str, ...]:
    """The names of the data sets that `load` knows.

    Examples:
      >>> "digits" in names()
      True
    """
    return tuple(_BUILDERS)


def load(
    name: str,
    split: str = "train",
    *,
    data_dir: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> DataSet:
    """Load a data set that an installed package has.

    The first time its records are written into a folder of the user; from then on they are read from there, and the
    package is not needed.

    | name | examples | package |
    |---|---|---|
    | `digits` | 1797 images `(8, 8, 1)` of 0 to 16, 10 classes | scikit-learn |
    | `fashion_mnist` | 60000 and 10000 images `(28, 28, 1)`, 10 classes | Debian's dataset-fashion-mnist |

    Args:
      name: one of `names()`.
      split: "train" or "test"; "all"; or a part in TFDS's notation: "train[:100]", "test[50%:]". Sources that have no
        test split get one: the rows whose number has a CRC-32 that 5 divides, about a fifth.
      data_dir: where prepared data sets are kept; by default `cache_folder()`.
      folder: for `fashion_mnist` and `mnist`, where the source's files are, if not where their package has them.

    Returns:
      The examples of the split, in the order of the source.

    Raises:
      ValueError: there is no such data set or split, nothing is in the split, the data set has no files of its own to
        be in a folder, or a file is not the one that it should be.
      ModuleNotFoundError: what reads records or has the data is not installed; the message has the command.
      FileNotFoundError: the folder lacks a file.

    Examples:
      >>> digits = load("digits", "test")  # doctest: +SKIP
      >>> digits.x.shape, digits.source.package  # doctest: +SKIP
      ((369, 8, 8, 1), 'scikit-learn==1.9.1')
    """
    if name not in _BUILDERS:
        fix = nearest(str(name), _BUILDERS) or f"There are: {', '.join(_BUILDERS)}."
        raise ValueError(complaint("load", "name", "name a data set", repr(name), fix))
    if folder is not None and name not in _WITH_FOLDER:
        rule, fix = f"be left out for {name}", "Its package has the data."
        raise ValueError(complaint("load", "folder", rule, f"'{os.fspath(folder)}'", fix))
    for package in ("tensorflow_datasets", "array_record"):
        if importlib.util.find_spec(package) is None:
            rule, fix = "be installed to keep data sets", 'Run: pip install "xaijax[data]"'
            raise ModuleNotFoundError(complaint("load", package, rule, "no such package", fix))
    module = importlib.import_module(f"xaijax.data._{name}")
    builder = getattr(module, _BUILDERS[name])(
        data_dir=os.fspath(cache_folder() if data_dir is None else data_dir),
        folder=None if folder is None else os.fspath(folder),
    )
    prepare(builder)
    x, y = _read(builder, split)
    return DataSet(
        name=name,
        split=split,
        x=x,
        y=y,
        class_names=builder.class_names,
        feature_names=builder.feature_names,
        categories=builder.categories,
        source=Source(**builder.info.metadata),
    )


def _read(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The examples and labels of a split, in the order of the source."""
    try:
        records = builder.as_data_source(split)
        examples = records.__getitems__(range(len(records)))
    except ValueError as error:
        rule = 'be "train", "test", "all" or a part of one, as in "train[:100]"'
        raise ValueError(
            complaint("load", "split", rule, repr(split), nearest(split, ("train", "test", "all")))
        ) from error
    if not examples:
        raise ValueError(complaint("load", "split", "have an example in it", repr(split)))
    examples.sort(key=lambda example: example["index"])
    x = [example["x"] for example in examples]
    if isinstance(x[0], bytes):
        texts = np.empty(len(x), object)
        texts[:] = [text.decode() for text in x]
        x = texts
    return np.asarray(x), np.asarray([example["y"] for example in examples])
