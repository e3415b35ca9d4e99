"""Explainers made of explainers: of any, as `bind` makes it with its model, or of two that are named."""

from xaijax.combine._aug_smooth import aug_smooth
from xaijax.combine._grad_cam_lrp import grad_cam_lrp
from xaijax.combine._guided_grad_cam import guided_grad_cam
from xaijax.combine._smooth_grad import smooth_grad, smooth_grad_squared, var_grad

__all__ = [
    "aug_smooth",
    "grad_cam_lrp",
    "guided_grad_cam",
    "smooth_grad",
    "smooth_grad_squared",
    "var_grad",
]
