"""Gradients of the score: at the input, along a path to it, and at layers inside the model."""

from xaijax.gradient._blur_integrated_gradients import blur_integrated_gradients
from xaijax.gradient._conductance import conductance
from xaijax.gradient._expected_gradients import expected_gradients
from xaijax.gradient._input_x_gradient import input_x_gradient
from xaijax.gradient._integrated_gradients import integrated_gradients
from xaijax.gradient._internal_influence import internal_influence
from xaijax.gradient._layer_gradient import layer_gradient
from xaijax.gradient._saliency import saliency

__all__ = [
    "blur_integrated_gradients",
    "conductance",
    "expected_gradients",
    "input_x_gradient",
    "integrated_gradients",
    "internal_influence",
    "layer_gradient",
    "saliency",
]
