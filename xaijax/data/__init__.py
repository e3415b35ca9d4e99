"""Data to explain models of.

Real data that packages have, kept in records by TensorFlow Datasets without TensorFlow (`load`); and photographs whose
classes are known.
"""

from xaijax.data._cache import cache_folder
from xaijax.data._data_set import DataSet, Source
from xaijax.data._load import load, names
from xaijax.data._photographs import Photograph, photographs
from xaijax.data._propublica import propublica_filter

__all__ = [
    "DataSet",
    "Photograph",
    "Source",
    "cache_folder",
    "load",
    "names",
    "photographs",
    "propublica_filter",
]
