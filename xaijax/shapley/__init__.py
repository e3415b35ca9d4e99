"""Shapley values: what each feature contributes, averaged over the coalitions of the others."""

from xaijax.shapley._permutation import ShapleyValues, permutation_shap, shapley_values

__all__ = ["ShapleyValues", "permutation_shap", "shapley_values"]
