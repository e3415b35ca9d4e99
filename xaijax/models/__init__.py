"""A small model zoo: EfficientNet-Lite0 with ImageNet weights, and a tutorial network.

The models are Flax modules that map one image to logits, or a batch. Nothing else in the library
needs them: explainers take any function.
"""

from xaijax.models._efficientnet_lite import EfficientNetLite0, efficientnet_lite0
from xaijax.models._imagenet import find_label, imagenet_labels, preprocess
from xaijax.models._simple_cnn import SimpleCNN, simple_cnn
from xaijax.models._weights import load_torch

__all__ = [
    "EfficientNetLite0",
    "SimpleCNN",
    "efficientnet_lite0",
    "find_label",
    "imagenet_labels",
    "load_torch",
    "preprocess",
    "simple_cnn",
]
