"""Shapley values: what each feature contributes, averaged over the coalitions of the others."""

from xaijax.shapley._banzhaf import banzhaf, banzhaf_values
from xaijax.shapley._exact import exact_shapley
from xaijax.shapley._interactions import shapley_interactions
from xaijax.shapley._kernel import kernel_shap, kernel_shap_values
from xaijax.shapley._linear import linear_shap
from xaijax.shapley._owen import hierarchy, owen, owen_values
from xaijax.shapley._permutation import permutation_shap, shapley_values
from xaijax.shapley._sage import sage
from xaijax.shapley._sampling_shap import sampling_shap, sampling_shap_values
from xaijax.shapley._scores import GameValues, History

__all__ = [
    "GameValues",
    "History",
    "banzhaf",
    "banzhaf_values",
    "exact_shapley",
    "hierarchy",
    "kernel_shap",
    "kernel_shap_values",
    "linear_shap",
    "owen",
    "owen_values",
    "permutation_shap",
    "sage",
    "sampling_shap",
    "sampling_shap_values",
    "shapley_interactions",
    "shapley_values",
]
