"""Diabetes: patients, and how far the disease had progressed a year later.

Efron, Hastie, Johnstone and Tibshirani, "Least Angle Regression", Annals of Statistics 32(2), 2004, as scikit-learn has
it. The columns are in their own units, years and body mass index, which an explanation can speak of; `load_diabetes`
standardises them unless it is told not to.

References:
    efron2004least
"""

import numpy as np

from xaijax.data._packaged import Contents, Packaged, raw
from xaijax.data._scikit_learn import read_scikit_learn


class Diabetes(Packaged, skip_registration=True):
    """The 442 patients of scikit-learn, with 10 measures each; a regression."""

    example = raw((10,), np.float64)
    feature_names = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")

    def read(self) -> Contents:
        """Read them from scikit-learn."""
        return read_scikit_learn("diabetes", scaled=False)
