"""What changes when parts of the input are hidden: methods that only ask the model."""

from xaijax.perturbation._lime import LimeFit, lime, lime_fit

__all__ = ["LimeFit", "lime", "lime_fit"]
