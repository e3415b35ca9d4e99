"""Pictures of attributions: they take plain arrays, and draw on an axis or a figure of yours, or on a new one.

A figure of yours makes room for names and colour bars if it has `layout="constrained"`.
"""

from xaijax.plot._bar import bar
from xaijax.plot._beeswarm import beeswarm
from xaijax.plot._critical_difference import RankComparison, compare_ranks, critical_difference
from xaijax.plot._curves import curves
from xaijax.plot._force import force
from xaijax.plot._grid import grid
from xaijax.plot._heatmap import heatmap
from xaijax.plot._image import image
from xaijax.plot._layers import layers
from xaijax.plot._overlay import overlay
from xaijax.plot._parallel import parallel
from xaijax.plot._save import save
from xaijax.plot._scatter import scatter
from xaijax.plot._text import text, text_terminal
from xaijax.plot._waterfall import waterfall

__all__ = [
    "RankComparison",
    "bar",
    "beeswarm",
    "compare_ranks",
    "critical_difference",
    "curves",
    "force",
    "grid",
    "heatmap",
    "image",
    "layers",
    "overlay",
    "parallel",
    "save",
    "scatter",
    "text",
    "text_terminal",
    "waterfall",
]
