"""xaijax: explainable AI in JAX.

Every explainer is a pure function of one example, `(f, x, target[, key]) -> attribution`, under `jit`, `vmap` and
`grad`, for any JAX model without hooks or edits.
"""

from xaijax.activation import CamMaps, cam_maps, grad_cam
from xaijax.core._binding import Bound, bind, checked
from xaijax.core._citation import citation
from xaijax.core._explainer import Explainer, Taxonomy, explainer
from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._layers import Layer, Layers, layers
from xaijax.core._least_squares import LinearFit, weighted_ridge
from xaijax.core._lower import lower, plain_convolutions
from xaijax.core._maps import normalize, resize
from xaijax.core._mask import Mask, columns, segments, tokens
from xaijax.core._model import as_model, black_box, probabilities
from xaijax.core._progress import progress
from xaijax.core._provenance import provenance
from xaijax.core._score import Target, score
from xaijax.core._superpixels import superpixels
from xaijax.core._tap import Tap, split, tap
from xaijax.perturbation import LimeFit, lime, lime_fit
from xaijax.shapley import ShapleyValues, permutation_shap, shapley_values

__version__ = "0.1.0"

__all__ = [
    "DEFER",
    "Bound",
    "CamMaps",
    "Explainer",
    "Interpreter",
    "Layer",
    "Layers",
    "LimeFit",
    "LinearFit",
    "Mask",
    "ShapleyValues",
    "Site",
    "Tap",
    "Target",
    "Taxonomy",
    "as_model",
    "bind",
    "black_box",
    "cam_maps",
    "checked",
    "citation",
    "columns",
    "explainer",
    "explainers",
    "grad_cam",
    "layers",
    "lime",
    "lime_fit",
    "lower",
    "normalize",
    "permutation_shap",
    "plain_convolutions",
    "probabilities",
    "progress",
    "provenance",
    "resize",
    "score",
    "segments",
    "shapley_values",
    "split",
    "superpixels",
    "tap",
    "tokens",
    "trace",
    "weighted_ridge",
]


def explainers() -> dict[str, Explainer]:
    """Every method that gives an attribution, by name.

    Examples:
      >>> sorted(explainers())
      ['grad_cam', 'lime', 'permutation_shap']
    """
    public = {name: globals()[name] for name in __all__}
    return {name: item for name, item in public.items() if getattr(item, "attribution", False)}
