"""Class activation maps: what the feature maps of a convolutional network saw."""

from xaijax.activation._grad_cam import CamMaps, cam_maps, grad_cam

__all__ = ["CamMaps", "cam_maps", "grad_cam"]
