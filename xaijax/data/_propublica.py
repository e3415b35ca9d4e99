"""The defendants of COMPAS that ProPublica's regression is about."""

import numpy as np

from xaijax.core._errors import complaint
from xaijax.data._data_set import DataSet


def propublica_filter(compas: DataSet) -> DataSet:
    """Leave out what ProPublica's notebook leaves out: 6172 of the 7214 remain.

    Those whose arrest was not within 30 days of the score, which may be about another case, and those of whom the table
    does not know whether they were arrested again. Ordinary traffic offences and defendants without a score, which the
    notebook leaves out, too, are not in the table. ProPublica's rates of errors are of all 7214.

    Args:
      compas: `load("compas", ...)`, or some of its rows.

    Returns:
      The rows that remain, in their order.

    Raises:
      ValueError: it is another data set.
    """
    if compas.name != "compas":
        rule, fix = "be the data set of that name", 'Give load("compas", "all").'
        raise ValueError(complaint("propublica_filter", "compas", rule, repr(compas.name), fix))
    days, again = compas.columns(["days_b_screening_arrest", "is_recid"]).T
    return compas.rows((np.abs(days) <= 30) & (again != -1))  # no day, NaN, is not within 30
