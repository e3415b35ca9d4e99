"""xaijax: explainable AI in JAX.

Every explainer is a pure function of one example, `(f, x, target[, key]) -> attribution`, under `jit`, `vmap` and
`grad`, for any JAX model without hooks or edits.
"""

from xaijax.activation import (
    CamMaps,
    ablation_cam,
    cam,
    cam_maps,
    eigen_cam,
    eigen_grad_cam,
    fg_cam,
    finer_cam,
    full_grad,
    fuse,
    grad_cam,
    grad_cam_elementwise,
    grad_cam_pp,
    hires_cam,
    is_cam,
    kpca_cam,
    layer_cam,
    random_cam,
    score_cam,
    shapley_cam,
    ss_cam,
    xgrad_cam,
)
from xaijax.combine import (
    aug_smooth,
    grad_cam_lrp,
    guided_grad_cam,
    smooth_grad,
    smooth_grad_squared,
    var_grad,
)
from xaijax.core._binding import Bound, bind, checked
from xaijax.core._citation import citation
from xaijax.core._explainer import Explainer, Taxonomy, explainer
from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._layers import Layer, Layers, layers
from xaijax.core._least_squares import LinearFit, weighted_ridge
from xaijax.core._lower import lower, plain_convolutions
from xaijax.core._maps import blur, normalize, resize
from xaijax.core._mask import Mask, columns, segments, tokens
from xaijax.core._model import as_model, black_box, probabilities
from xaijax.core._progress import progress
from xaijax.core._provenance import provenance
from xaijax.core._score import Target, score
from xaijax.core._superpixels import superpixels
from xaijax.core._tap import Tap, split, tap
from xaijax.perturbation import LimeFit, lime, lime_fit
from xaijax.propagation import deconvnet, guided_backprop, lrp
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
    "ablation_cam",
    "as_model",
    "aug_smooth",
    "bind",
    "black_box",
    "blur",
    "cam",
    "cam_maps",
    "checked",
    "citation",
    "columns",
    "deconvnet",
    "eigen_cam",
    "eigen_grad_cam",
    "explainer",
    "explainers",
    "fg_cam",
    "finer_cam",
    "full_grad",
    "fuse",
    "grad_cam",
    "grad_cam_elementwise",
    "grad_cam_lrp",
    "grad_cam_pp",
    "guided_backprop",
    "guided_grad_cam",
    "hires_cam",
    "is_cam",
    "kpca_cam",
    "layer_cam",
    "layers",
    "lime",
    "lime_fit",
    "lower",
    "lrp",
    "normalize",
    "permutation_shap",
    "plain_convolutions",
    "probabilities",
    "progress",
    "provenance",
    "random_cam",
    "resize",
    "score",
    "score_cam",
    "segments",
    "shapley_cam",
    "shapley_values",
    "smooth_grad",
    "smooth_grad_squared",
    "split",
    "ss_cam",
    "superpixels",
    "tap",
    "tokens",
    "trace",
    "var_grad",
    "weighted_ridge",
    "xgrad_cam",
]


def explainers() -> dict[str, Explainer]:
    """Every method that gives an attribution, by name.

    Examples:
      >>> "grad_cam" in explainers()
      True
    """
    public = {name: globals()[name] for name in __all__}
    return {name: item for name, item in public.items() if getattr(item, "attribution", False)}
