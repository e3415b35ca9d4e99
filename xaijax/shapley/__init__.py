"""Shapley values: what each feature contributes, averaged over the coalitions of the others."""

from xaijax.shapley._banzhaf import banzhaf, banzhaf_values
from xaijax.shapley._exact import exact_shapley
from xaijax.shapley._interactions import shapley_interactions
from xaijax.shapley._kernel import kernel_shap, kernel_shap_values
from xaijax.shapley._linear import linear_shap
from xaijax.shapley._permutation import ShapleyValues, permutation_shap, shapley_values
from xaijax.shapley._sampling_shap import sampling_shap, sampling_shap_values
from xaijax.shapley._scores import GameValues

__all__ = [
    "GameValues",
    "ShapleyValues",
    "banzhaf",
    "banzhaf_values",
    "exact_shapley",
    "kernel_shap",
    "kernel_shap_values",
    "linear_shap",
    "permutation_shap",
    "sampling_shap",
    "sampling_shap_values",
    "shapley_interactions",
    "shapley_values",
]
