"""Handwritten digits of 8 by 8 pixels.

The test part of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, UCI Machine Learning Repository,
1998), as scikit-learn has it: counts of 0 to 16 black pixels in squares of 4 by 4.
"""

import numpy as np

from xaijax.data._packaged import Contents, Packaged, raw
from xaijax.data._scikit_learn import read_scikit_learn


class Digits(Packaged, skip_registration=True):
    """The 1797 digits of scikit-learn."""

    example = raw((8, 8, 1), np.uint8)
    class_names = tuple("0123456789")

    def read(self) -> Contents:
        """Read them from scikit-learn."""
        contents = read_scikit_learn("digits")
        images = contents.x.reshape(-1, 8, 8, 1).astype(np.uint8)  # whole numbers, kept as float
        return contents._replace(x=images)
