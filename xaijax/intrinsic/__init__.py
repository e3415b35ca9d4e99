"""Models that explain themselves: decision trees and linear models, from scikit-learn, XGBoost and LightGBM.

A convolutional network is one by its design if it ends in a global average pooling and a linear layer:
`xaijax.cam` reads its class activation map off the weights.
"""

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
    "Linear",
    "Trees",
    "impurity_importance",
    "odds_ratios",
    "read_linear",
    "read_trees",
    "standardised_coefficients",
    "tree_rules",
    "tree_shap",
    "tree_shap_interactions",
]
