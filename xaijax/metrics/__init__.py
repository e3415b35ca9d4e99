"""Metrics of explanations: what makes a good one, as numbers that can be trusted.

A metric judges one example and returns one number; a batch is `jax.vmap`. It takes what it needs, by these names and in
this order: `f` the model or `explain` an explainer with its model, `x`, `target`, `attribution`, `truth` the mask that
should have been found, `key`. `metric.kind` tells what it measures and which way is better; `metric.details`, where
there is more than the number, gives the curve or the parts behind it.

No metric normalises an attribution, takes its magnitude or adds up its channels unless its paper does; none depends on
the other examples of a batch.
"""

from xaijax.metrics._active_features import active_features
from xaijax.metrics._complexity import complexity
from xaijax.metrics._deletion import deletion_auc
from xaijax.metrics._high_frequency_share import high_frequency_share
from xaijax.metrics._insertion import insertion_auc
from xaijax.metrics._max_sensitivity import max_sensitivity
from xaijax.metrics._metric import Kind, Metric, metric
from xaijax.metrics._pointing_game import pointing_game
from xaijax.metrics._removal import RemovalCurve
from xaijax.metrics._sparseness import sparseness
from xaijax.metrics._total_variation import total_variation

__all__ = [
    "Kind",
    "Metric",
    "RemovalCurve",
    "active_features",
    "complexity",
    "deletion_auc",
    "high_frequency_share",
    "insertion_auc",
    "max_sensitivity",
    "metric",
    "pointing_game",
    "sparseness",
    "total_variation",
]
