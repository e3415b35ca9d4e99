"""What `import xaijax` gives, loaded when it is first used; `__init__.py` reads this file, and so do type checkers."""

from .activation import (
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
from .combine import (
    aug_smooth,
    grad_cam_lrp,
    guided_grad_cam,
    smooth_grad,
    smooth_grad_squared,
    var_grad,
)
from .core._binding import Bound, bind, checked
from .core._citation import citation
from .core._explainer import Explainer, Taxonomy, explainer
from .core._interpreter import DEFER, Interpreter, Site, trace
from .core._layers import Layer, Layers, layers
from .core._least_squares import LinearFit, weighted_ridge
from .core._lower import lower, plain_convolutions
from .core._maps import blur, normalize, resize
from .core._mask import Mask, columns, segments, tokens
from .core._model import as_model, black_box, probabilities
from .core._progress import progress
from .core._provenance import provenance
from .core._score import Target, score
from .core._superpixels import superpixels
from .core._tap import Tap, split, tap
from .gradient import (
    blur_integrated_gradients,
    conductance,
    expected_gradients,
    input_x_gradient,
    integrated_gradients,
    internal_influence,
    layer_gradient,
    saliency,
)
from .perturbation import LimeFit, feature_ablation, lime, lime_fit, occlusion, rise
from .propagation import (
    LrpAudit,
    deconvnet,
    deep_lift,
    deep_shap,
    guided_backprop,
    lrp,
    lrp_audit,
)
from .shapley import ShapleyValues, permutation_shap, shapley_values

__version__: str

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
    "LrpAudit",
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
    "blur_integrated_gradients",
    "cam",
    "cam_maps",
    "checked",
    "citation",
    "columns",
    "conductance",
    "deconvnet",
    "deep_lift",
    "deep_shap",
    "eigen_cam",
    "eigen_grad_cam",
    "expected_gradients",
    "explainer",
    "explainers",
    "feature_ablation",
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
    "input_x_gradient",
    "integrated_gradients",
    "internal_influence",
    "is_cam",
    "kpca_cam",
    "layer_cam",
    "layer_gradient",
    "layers",
    "lime",
    "lime_fit",
    "lower",
    "lrp",
    "lrp_audit",
    "normalize",
    "occlusion",
    "permutation_shap",
    "plain_convolutions",
    "probabilities",
    "progress",
    "provenance",
    "random_cam",
    "resize",
    "rise",
    "saliency",
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

def explainers() -> dict[str, Explainer]: ...
