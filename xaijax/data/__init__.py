"""Data to explain models of.

Real data that packages have, kept in records by TensorFlow Datasets without TensorFlow (`load`); photographs whose
classes are known; and images that are drawn, of which it is known, to the pixel, where what decides is: `shapes`, and
three in which something else gives the class away.
"""

from xaijax.data._cache import cache_folder
from xaijax.data._chest import Chest, chest
from xaijax.data._data_set import DataSet, Source
from xaijax.data._drawing import SHAPES
from xaijax.data._load import load, names
from xaijax.data._photographs import Photograph, photographs
from xaijax.data._propublica import propublica_filter
from xaijax.data._shapes import Shapes, shapes
from xaijax.data._watermark import Watermark, watermark
from xaijax.data._wolf_snow import WolfSnow, wolf_snow

__all__ = [
    "SHAPES",
    "Chest",
    "DataSet",
    "Photograph",
    "Shapes",
    "Source",
    "Watermark",
    "WolfSnow",
    "cache_folder",
    "chest",
    "load",
    "names",
    "photographs",
    "propublica_filter",
    "shapes",
    "watermark",
    "wolf_snow",
]
