"""What changes when parts of the input are hidden: methods that only ask the model."""

from xaijax.perturbation._columns import binned_columns, gaussian_columns
from xaijax.perturbation._feature_ablation import feature_ablation
from xaijax.perturbation._lime import LimeFit, lime, lime_fit
from xaijax.perturbation._occlusion import occlusion
from xaijax.perturbation._rise import rise
from xaijax.perturbation._submodular_pick import SubmodularPick, submodular_pick

__all__ = [
    "LimeFit",
    "SubmodularPick",
    "binned_columns",
    "feature_ablation",
    "gaussian_columns",
    "lime",
    "lime_fit",
    "occlusion",
    "rise",
    "submodular_pick",
]
