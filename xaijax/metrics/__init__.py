"""Metrics of explanations: what makes a good one, as numbers that can be trusted.

A metric judges one example and returns one number; a batch is `jax.vmap`. It takes what it needs, by these names and in
this order: `f` the model or `explain` an explainer with its model, `x`, `target`, `attribution`, `truth` the mask that
should have been found, `key`. `metric.kind` tells what it measures and which way is better; `metric.details`, where
there is more than the number, gives the curve or the parts behind it.

No metric normalises an attribution, takes its magnitude or adds up its channels unless its paper does; none depends on
the other examples of a batch.
"""

from xaijax.metrics._active_features import active_features
from xaijax.metrics._completeness import Completeness, completeness
from xaijax.metrics._complexity import complexity
from xaijax.metrics._conservation import Conservation, conservation
from xaijax.metrics._deletion import deletion_auc
from xaijax.metrics._effective_complexity import EffectiveComplexity, effective_complexity
from xaijax.metrics._faithfulness_correlation import faithfulness_correlation
from xaijax.metrics._faithfulness_estimate import faithfulness_estimate
from xaijax.metrics._high_frequency_share import high_frequency_share
from xaijax.metrics._infidelity import Infidelity, infidelity
from xaijax.metrics._input_invariance import input_invariance
from xaijax.metrics._insertion import insertion_auc
from xaijax.metrics._max_sensitivity import max_sensitivity
from xaijax.metrics._metric import Kind, Metric, metric
from xaijax.metrics._monotonicity import MonotonicityCurve, monotonicity
from xaijax.metrics._monotonicity_correlation import FeatureChanges, monotonicity_correlation
from xaijax.metrics._non_sensitivity import NonSensitivity, non_sensitivity
from xaijax.metrics._pointing_game import pointing_game
from xaijax.metrics._removal import RemovalCurve
from xaijax.metrics._sensitivity_n import SensitivityN, sensitivity_n
from xaijax.metrics._sparseness import sparseness
from xaijax.metrics._subsets import HiddenSubsets
from xaijax.metrics._sufficiency import sufficiency
from xaijax.metrics._total_variation import total_variation

__all__ = [
    "Completeness",
    "Conservation",
    "EffectiveComplexity",
    "FeatureChanges",
    "HiddenSubsets",
    "Infidelity",
    "Kind",
    "Metric",
    "MonotonicityCurve",
    "NonSensitivity",
    "RemovalCurve",
    "SensitivityN",
    "active_features",
    "completeness",
    "complexity",
    "conservation",
    "deletion_auc",
    "effective_complexity",
    "faithfulness_correlation",
    "faithfulness_estimate",
    "high_frequency_share",
    "infidelity",
    "input_invariance",
    "insertion_auc",
    "max_sensitivity",
    "metric",
    "monotonicity",
    "monotonicity_correlation",
    "non_sensitivity",
    "pointing_game",
    "sensitivity_n",
    "sparseness",
    "sufficiency",
    "total_variation",
]
