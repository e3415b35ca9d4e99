"""Metrics of explanations: what makes a good one, as numbers that can be trusted.

A metric judges one example and returns one number; a batch is `jax.vmap`. It takes what it needs, by these names and in
this order: `f` the model or `explain` an explainer with its model, `x`, `target`, `attribution`, `truth` the mask that
should have been found, `key`. `metric.kind` tells what it measures and which way is better; `metric.details`, where
there is more than the number, gives the curve or the parts behind it.

No metric normalises an attribution, takes its magnitude or adds up its channels unless its paper does; none depends on
the other examples of a batch.
"""

from xaijax.metrics._avg_sensitivity import avg_sensitivity
from xaijax.metrics._continuity import continuity
from xaijax.metrics._deletion import deletion_auc
from xaijax.metrics._efficient_mprt import ComplexityRise, efficient_mprt
from xaijax.metrics._insertion import insertion_auc
from xaijax.metrics._local_lipschitz import local_lipschitz
from xaijax.metrics._max_sensitivity import max_sensitivity
from xaijax.metrics._metric import Kind, Metric, metric
from xaijax.metrics._model_parameter_randomisation import (
    ParameterRandomisation,
    model_parameter_randomisation,
)
from xaijax.metrics._neighbours import Neighbours
from xaijax.metrics._pointing_game import pointing_game
from xaijax.metrics._random_logit import RandomLogit, random_logit
from xaijax.metrics._relative_stability import (
    RelativeStability,
    relative_input_stability,
    relative_output_stability,
    relative_representation_stability,
)
from xaijax.metrics._removal import RemovalCurve
from xaijax.metrics._repeatability import Repeatability, repeatability
from xaijax.metrics._sparseness import sparseness

__all__ = [
    "ComplexityRise",
    "Kind",
    "Metric",
    "Neighbours",
    "ParameterRandomisation",
    "RandomLogit",
    "RelativeStability",
    "RemovalCurve",
    "Repeatability",
    "avg_sensitivity",
    "continuity",
    "deletion_auc",
    "efficient_mprt",
    "insertion_auc",
    "local_lipschitz",
    "max_sensitivity",
    "metric",
    "model_parameter_randomisation",
    "pointing_game",
    "random_logit",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
    "repeatability",
    "sparseness",
]
