"""Wine: chemical analyses of wines, and which of three growers made them.

Aeberhard and Forina, UCI Machine Learning Repository, 1992, as scikit-learn has it.
"""

import numpy as np

from xaijax.data._packaged import Contents, Packaged, raw
from xaijax.data._scikit_learn import read_scikit_learn


class Wine(Packaged, skip_registration=True):
    """The 178 wines of scikit-learn, with 13 measures each, sorted by class."""

    example = raw((13,), np.float64)
    class_names = ("class_0", "class_1", "class_2")
    feature_names = (
        "alcohol",
        "malic_acid",
        "ash",
        "alcalinity_of_ash",
        "magnesium",
        "total_phenols",
        "flavanoids",
        "nonflavanoid_phenols",
        "proanthocyanins",
        "color_intensity",
        "hue",
        "od280/od315_of_diluted_wines",
        "proline",
    )

    def read(self) -> Contents:
        """Read them from scikit-learn."""
        return read_scikit_learn("wine")
