"""Metrics of explanations: what makes a good one, as numbers that can be trusted.

A metric judges one example and returns one number; a batch is `jax.vmap`. It takes what it needs, by these names and in
this order: `f` the model or `explain` an explainer with its model, `x`, `target`, `attribution`, `other` what another
explainer gave, `truth` the mask that should have been found, `key`. `metric.kind` tells what it measures and which way
is better; `metric.details`, where there is more than the number, gives the curve or the parts behind it.

No metric normalises an attribution, takes its magnitude or adds up its channels unless its paper does; none depends on
the other examples of a batch.
"""

from xaijax.metrics._active_features import active_features
from xaijax.metrics._adcc import Adcc, adcc
from xaijax.metrics._auc import auc
from xaijax.metrics._average_drop import AverageDrop, average_drop
from xaijax.metrics._avg_sensitivity import avg_sensitivity
from xaijax.metrics._box_mask import box_mask
from xaijax.metrics._completeness import Completeness, completeness
from xaijax.metrics._complexity import complexity
from xaijax.metrics._conservation import Conservation, conservation
from xaijax.metrics._continuity import continuity
from xaijax.metrics._deletion import deletion_auc
from xaijax.metrics._effective_complexity import EffectiveComplexity, effective_complexity
from xaijax.metrics._efficient_mprt import ComplexityRise, efficient_mprt
from xaijax.metrics._energy_pointing_game import energy_pointing_game
from xaijax.metrics._evaluate import Evaluation, evaluate
from xaijax.metrics._faithfulness_correlation import faithfulness_correlation
from xaijax.metrics._faithfulness_estimate import faithfulness_estimate
from xaijax.metrics._grid_pointing_game import Mosaic, grid_pointing_game, mosaic
from xaijax.metrics._high_frequency_share import high_frequency_share
from xaijax.metrics._increase_in_confidence import IncreaseInConfidence, increase_in_confidence
from xaijax.metrics._infidelity import Infidelity, infidelity
from xaijax.metrics._input_invariance import input_invariance
from xaijax.metrics._insertion import insertion_auc
from xaijax.metrics._iou import iou
from xaijax.metrics._irof import Irof, irof
from xaijax.metrics._local_lipschitz import local_lipschitz
from xaijax.metrics._located import Located
from xaijax.metrics._max_sensitivity import max_sensitivity
from xaijax.metrics._metric import Kind, Metric, metric
from xaijax.metrics._model_parameter_randomisation import (
    ParameterRandomisation,
    model_parameter_randomisation,
)
from xaijax.metrics._monotonicity import MonotonicityCurve, monotonicity
from xaijax.metrics._monotonicity_correlation import FeatureChanges, monotonicity_correlation
from xaijax.metrics._neighbours import Neighbours
from xaijax.metrics._non_sensitivity import NonSensitivity, non_sensitivity
from xaijax.metrics._pixel_flipping import pixel_flipping
from xaijax.metrics._pixel_map import pixel_map
from xaijax.metrics._pointing_game import pointing_game
from xaijax.metrics._random_logit import RandomLogit, random_logit
from xaijax.metrics._region_perturbation import RegionPerturbation, region_perturbation
from xaijax.metrics._relative_stability import (
    RelativeStability,
    relative_input_stability,
    relative_output_stability,
    relative_representation_stability,
)
from xaijax.metrics._relevance_mass import relevance_mass
from xaijax.metrics._relevance_rank import relevance_rank
from xaijax.metrics._removal import RemovalCurve
from xaijax.metrics._repeatability import Repeatability, repeatability
from xaijax.metrics._road import Road, road
from xaijax.metrics._selectivity import selectivity
from xaijax.metrics._sensitivity_n import SensitivityN, sensitivity_n
from xaijax.metrics._sparseness import sparseness
from xaijax.metrics._statistics import Difference, Interval, holm, mean_interval, paired_difference
from xaijax.metrics._subsets import HiddenSubsets
from xaijax.metrics._sufficiency import sufficiency
from xaijax.metrics._tables import differences, meta_evaluation, rank_agreement, summary
from xaijax.metrics._top_k_intersection import top_k_intersection
from xaijax.metrics._total_variation import total_variation
from xaijax.metrics._win_rate import WinRate, win_rate

__all__ = [
    "Adcc",
    "AverageDrop",
    "Completeness",
    "ComplexityRise",
    "Conservation",
    "Difference",
    "EffectiveComplexity",
    "Evaluation",
    "FeatureChanges",
    "HiddenSubsets",
    "IncreaseInConfidence",
    "Infidelity",
    "Interval",
    "Irof",
    "Kind",
    "Located",
    "Metric",
    "MonotonicityCurve",
    "Mosaic",
    "Neighbours",
    "NonSensitivity",
    "ParameterRandomisation",
    "RandomLogit",
    "RegionPerturbation",
    "RelativeStability",
    "RemovalCurve",
    "Repeatability",
    "Road",
    "SensitivityN",
    "WinRate",
    "active_features",
    "adcc",
    "auc",
    "average_drop",
    "avg_sensitivity",
    "box_mask",
    "completeness",
    "complexity",
    "conservation",
    "continuity",
    "deletion_auc",
    "differences",
    "effective_complexity",
    "efficient_mprt",
    "energy_pointing_game",
    "evaluate",
    "faithfulness_correlation",
    "faithfulness_estimate",
    "grid_pointing_game",
    "high_frequency_share",
    "holm",
    "increase_in_confidence",
    "infidelity",
    "input_invariance",
    "insertion_auc",
    "iou",
    "irof",
    "local_lipschitz",
    "max_sensitivity",
    "mean_interval",
    "meta_evaluation",
    "metric",
    "model_parameter_randomisation",
    "monotonicity",
    "monotonicity_correlation",
    "mosaic",
    "non_sensitivity",
    "paired_difference",
    "pixel_flipping",
    "pixel_map",
    "pointing_game",
    "random_logit",
    "rank_agreement",
    "region_perturbation",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
    "relevance_mass",
    "relevance_rank",
    "repeatability",
    "road",
    "selectivity",
    "sensitivity_n",
    "sparseness",
    "sufficiency",
    "summary",
    "top_k_intersection",
    "total_variation",
    "win_rate",
]
