"""Data sets that scikit-learn has in its package."""

import importlib.metadata
from typing import Any

import numpy as np

from xaijax.data._data_set import Source
from xaijax.data._packaged import Contents, every_fifth
from xaijax.data._packages import package_folder


def read_scikit_learn(name: str, **settings: Any) -> Contents:
    """What `sklearn.datasets.load_<name>` has, with a test split."""
    package_folder("load", "sklearn", 'pip install "xaijax[data]"')
    import sklearn.datasets

    found = getattr(sklearn.datasets, f"load_{name}")(**settings)
    version = importlib.metadata.version("scikit-learn")
    source = Source(f"scikit-learn=={version}", "BSD-3-Clause, of the package")
    y = np.asarray(found.target)
    return Contents(np.asarray(found.data), y, every_fifth(len(y)), source)
