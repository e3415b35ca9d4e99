"""One row per public metric: how to call it. `test_metrics.py` holds all of them to one contract."""

import dataclasses
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from tests.cases import FIRST, cnn, curved, image, row
from xaijax import metrics


def scores(seed, dtype=jnp.float32):
    """The convolutional network's probabilities: of one image (8, 8, 3)."""
    return xaijax.probabilities(cnn(seed, dtype))


def a_map(seed, dtype=jnp.float32):
    """An attribution (8, 8), signed and without equal values."""
    return jnp.asarray(np.random.default_rng(seed + 50).normal(size=(8, 8)), dtype)


def a_row(seed, dtype=jnp.float32):
    """An attribution of a row."""
    return row(seed + 50, dtype)


def a_truth(seed, dtype=jnp.float32):
    """A rectangle in an image (8, 8)."""
    y, x = np.random.default_rng(seed + 90).integers(0, 5, 2)
    return jnp.zeros((8, 8), bool).at[y : y + 3, x : x + 4].set(True)


@dataclasses.dataclass(frozen=True)
class MetricCase:
    """How the contract calls a metric.

    Attributes:
      metric: the metric.
      model: seed, dtype -> what is explained.
      x: seed, dtype -> one example.
      attribution: seed, dtype -> what is judged.
      explain: the explainer that a metric of explainers judges, and its settings.
      settings: keyword arguments of every call: sizes that keep the tests short.
      knobs: the traced numbers, each with a value that is not the one of the other tests.
      scale: how the number changes with the attribution's scale: not at all (0), with it (1), with its square (2); or
        otherwise (`None`).
    """

    metric: Any
    model: Any = scores
    x: Any = image
    attribution: Any = a_map
    explain: Any = xaijax.input_x_gradient
    explain_settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    knobs: dict[str, Any] = dataclasses.field(default_factory=dict)
    scale: int | None = 0

    @property
    def needs(self) -> list[str]:
        """What it takes by position."""
        parameters = inspect.signature(self.metric).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def arguments(self, seed=0, dtype=jnp.float32, model_seed=FIRST) -> dict[str, Any]:
        """What it takes, by name."""
        f = self.model(model_seed, dtype)
        everything = {
            "f": lambda: f,
            "explain": lambda: xaijax.bind(self.explain, f, **self.explain_settings),
            "x": lambda: self.x(seed, dtype),
            "target": lambda: jnp.int32(1),
            "attribution": lambda: self.attribution(seed, dtype),
            "other": lambda: self.attribution(seed + 1, dtype),
            "truth": lambda: a_truth(seed),
            "key": lambda: jax.random.key(seed),
        }
        return {name: everything[name]() for name in self.needs}

    def __call__(self, arguments, **settings):
        return self.metric(*arguments.values(), **{**self.settings, **settings})


# A public metric without a row here fails `test_metrics.py`.
METRICS = {
    **{
        stability.__name__: MetricCase(
            stability,
            curved,
            # Steps that change the outputs by much more than rounding does.
            settings={"num_samples": 5, "sigma": 0.5},
            knobs={"sigma": 0.1, "epsilon_min": 1e-3},
        )
        for stability in (
            metrics.relative_input_stability,
            metrics.relative_output_stability,
            metrics.relative_representation_stability,
        )
    },
    "active_features": MetricCase(metrics.active_features, knobs={"threshold": 0.1}),
    "adcc": MetricCase(metrics.adcc, cnn, explain=xaijax.grad_cam),
    "auc": MetricCase(metrics.auc),
    "average_drop": MetricCase(metrics.average_drop, knobs={"baseline": 0.5}),
    "avg_sensitivity": MetricCase(
        metrics.avg_sensitivity, curved, settings={"num_samples": 5}, knobs={"radius": 0.1}
    ),
    "completeness": MetricCase(metrics.completeness, knobs={"baseline": 0.5}, scale=None),
    "complexity": MetricCase(metrics.complexity),
    "conservation": MetricCase(metrics.conservation, scale=None),
    "continuity": MetricCase(
        metrics.continuity, curved, settings={"num_samples": 5}, knobs={"sigma": 0.2}
    ),
    "deletion_auc": MetricCase(
        metrics.deletion_auc, settings={"num_steps": 8}, knobs={"baseline": 0.5}
    ),
    "effective_complexity": MetricCase(
        metrics.effective_complexity,
        settings={"num_steps": 8, "num_samples": 5},
        knobs={"tolerance": 0.2},
    ),
    "efficient_mprt": MetricCase(metrics.efficient_mprt, settings={"num_bins": 20}),
    "energy_pointing_game": MetricCase(metrics.energy_pointing_game),
    "faithfulness_correlation": MetricCase(
        metrics.faithfulness_correlation, settings={"num_samples": 20}, knobs={"baseline": 0.5}
    ),
    "faithfulness_estimate": MetricCase(
        metrics.faithfulness_estimate, settings={"num_steps": 8}, knobs={"baseline": 0.5}
    ),
    "grid_pointing_game": MetricCase(metrics.grid_pointing_game),
    "high_frequency_share": MetricCase(metrics.high_frequency_share, knobs={"cutoff": 0.3}),
    "increase_in_confidence": MetricCase(metrics.increase_in_confidence, knobs={"baseline": 0.5}),
    "infidelity": MetricCase(
        metrics.infidelity, settings={"num_samples": 10}, knobs={"sigma": 0.1}, scale=None
    ),
    "infidelity, features": MetricCase(
        metrics.infidelity,
        settings={"num_samples": 10, "perturbation": "features"},
        knobs={"baseline": 0.5},
        scale=None,
    ),
    "infidelity, square": MetricCase(
        metrics.infidelity,
        settings={"num_samples": 10, "perturbation": "square", "side": 3},
        scale=None,
    ),
    "input_invariance": MetricCase(metrics.input_invariance, curved, knobs={"shift": 0.5}),
    "insertion_auc": MetricCase(metrics.insertion_auc, settings={"num_steps": 8}),
    "iou": MetricCase(metrics.iou, knobs={"threshold": 0.5}),
    "irof": MetricCase(metrics.irof),
    "local_lipschitz": MetricCase(
        metrics.local_lipschitz, curved, settings={"num_samples": 5}, knobs={"sigma": 0.2}
    ),
    "max_sensitivity": MetricCase(
        metrics.max_sensitivity, curved, settings={"num_samples": 5}, knobs={"radius": 0.1}
    ),
    "model_parameter_randomisation": MetricCase(metrics.model_parameter_randomisation, curved),
    "monotonicity": MetricCase(metrics.monotonicity, settings={"num_steps": 8}),
    "monotonicity_correlation": MetricCase(
        metrics.monotonicity_correlation, settings={"num_samples": 3}
    ),
    "non_sensitivity": MetricCase(
        metrics.non_sensitivity, settings={"num_samples": 3}, knobs={"tolerance": 0.1}
    ),
    "pixel_flipping": MetricCase(metrics.pixel_flipping, settings={"num_steps": 8}),
    "pointing_game": MetricCase(metrics.pointing_game),
    "pointing_game, tolerance": MetricCase(metrics.pointing_game, settings={"tolerance": 2}),
    "random_logit": MetricCase(metrics.random_logit, curved, settings={"similarity": "spearman"}),
    "region_perturbation": MetricCase(
        metrics.region_perturbation, settings={"region_size": 3, "num_draws": 2}
    ),
    "relevance_mass": MetricCase(metrics.relevance_mass),
    "relevance_rank": MetricCase(metrics.relevance_rank),
    "repeatability": MetricCase(
        metrics.repeatability,
        explain=xaijax.rise,
        explain_settings={"num_samples": 20, "grid_size": 3},
        settings={"num_repeats": 3, "num_top": 6},
    ),
    "road": MetricCase(
        metrics.road, settings={"num_steps": 3}, knobs={"noise": 0.1, "tolerance": 1e-4}
    ),
    "selectivity": MetricCase(
        metrics.selectivity, settings={"patch_size": 2}, knobs={"baseline": 0.5}
    ),
    "sensitivity_n": MetricCase(metrics.sensitivity_n, settings={"num_samples": 5}),
    "sparseness": MetricCase(metrics.sparseness),
    "top_k_intersection": MetricCase(metrics.top_k_intersection, settings={"k": 10}),
    "total_variation": MetricCase(metrics.total_variation),
    "win_rate": MetricCase(metrics.win_rate, knobs={"baseline": 0.5}),
}
