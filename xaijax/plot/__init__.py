"""Pictures of attributions: they take plain arrays, and draw on an axis of yours."""

from xaijax.plot._overlay import overlay

__all__ = ["overlay"]
