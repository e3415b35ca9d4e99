"""Pictures of attributions: they take plain arrays, and draw on an axis or a figure of yours, or on a new one."""

from xaijax.plot._grid import grid
from xaijax.plot._layers import layers
from xaijax.plot._overlay import overlay
from xaijax.plot._save import save

__all__ = ["grid", "layers", "overlay", "save"]
