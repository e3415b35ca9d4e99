"""Explanation that is trained in: networks that explain themselves, and losses that make explanations better."""

from xaijax.intrinsic._attention_map import attention_map
from xaijax.intrinsic._cam_fostering import (
    CamFostering,
    FosteredLoss,
    cam_fostering,
    fostered_cross_entropy,
)
from xaijax.intrinsic._indicators import contrast, dispersion, ellipse_area, entropy

__all__ = [
    "CamFostering",
    "FosteredLoss",
    "attention_map",
    "cam_fostering",
    "contrast",
    "dispersion",
    "ellipse_area",
    "entropy",
    "fostered_cross_entropy",
]
