"""The explainers: a class for each group of `benchmarks.explainers`."""

from benchmarks import explainers
from benchmarks.workloads import MissingError

from . import classes

globals().update(classes(explainers.groups, MissingError))
