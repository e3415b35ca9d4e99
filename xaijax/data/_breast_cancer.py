"""Breast Cancer Wisconsin (Diagnostic): tumours, and whether they are benign.

Measures of cell nuclei in digitised images (Wolberg, Mangasarian, Street and Street, UCI Machine Learning Repository,
1995), as scikit-learn has it.
"""

import numpy as np

from xaijax.data._packaged import Contents, Packaged, raw
from xaijax.data._scikit_learn import read_scikit_learn

_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)


class BreastCancer(Packaged, skip_registration=True):
    """The 569 tumours of scikit-learn, of which 357 are benign, with 30 measures each."""

    example = raw((30,), np.float64)
    class_names = ("malignant", "benign")
    feature_names = (
        *(f"mean {measure}" for measure in _MEASURES),
        *(f"{measure} error" for measure in _MEASURES),
        *(f"worst {measure}" for measure in _MEASURES),
    )

    def read(self) -> Contents:
        """Read them from scikit-learn."""
        return read_scikit_learn("breast_cancer")
