"""What changes when parts of the input are hidden: methods that only ask the model."""

from xaijax.perturbation._feature_ablation import feature_ablation
from xaijax.perturbation._lime import LimeFit, lime, lime_fit
from xaijax.perturbation._occlusion import occlusion
from xaijax.perturbation._rise import rise

__all__ = ["LimeFit", "feature_ablation", "lime", "lime_fit", "occlusion", "rise"]
