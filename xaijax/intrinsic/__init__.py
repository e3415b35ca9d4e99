"""Models that explain themselves, and explanation that is trained in.

Decision trees and linear models, read from scikit-learn, XGBoost and LightGBM, with their exact Shapley values, rules
and coefficients; the attention map of an Attention Branch Network; CAM fostering, a loss that makes maps concentrated,
and how concentrated they are. A convolutional network that ends in a global average pooling and a linear layer explains
itself by its design: `xaijax.cam` reads its class activation map off the weights.
"""

from xaijax.intrinsic._attention_map import attention_map
from xaijax.intrinsic._cam_fostering import (
    CamFostering,
    FosteredLoss,
    cam_fostering,
    fostered_cross_entropy,
)
from xaijax.intrinsic._indicators import contrast, dispersion, ellipse_area, entropy
from xaijax.intrinsic._linear import (
    Linear,
    odds_ratios,
    read_linear,
    standardised_coefficients,
)
from xaijax.intrinsic._read_trees import read_trees
from xaijax.intrinsic._rules import impurity_importance, tree_rules
from xaijax.intrinsic._tree_shap import tree_shap, tree_shap_interactions
from xaijax.intrinsic._trees import Trees

__all__ = [
    "CamFostering",
    "FosteredLoss",
    "Linear",
    "Trees",
    "attention_map",
    "cam_fostering",
    "contrast",
    "dispersion",
    "ellipse_area",
    "entropy",
    "fostered_cross_entropy",
    "impurity_importance",
    "odds_ratios",
    "read_linear",
    "read_trees",
    "standardised_coefficients",
    "tree_rules",
    "tree_shap",
    "tree_shap_interactions",
]
