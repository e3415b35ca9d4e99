"""The metrics: a class for each group of `benchmarks.metrics`."""

from benchmarks import metrics
from benchmarks.workloads import MissingError

from . import classes

globals().update(classes(metrics.groups, MissingError))
