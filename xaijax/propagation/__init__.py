"""Rule-based backpropagation: the backward pass of a paper in the place of the gradient's."""

from xaijax.propagation._composites import (
    Composite,
    attn_lrp,
    cp_lrp,
    epsilon_alpha2_beta1,
    epsilon_alpha2_beta1_flat,
    epsilon_gamma_box,
    epsilon_plus,
    epsilon_plus_flat,
    plus_box,
    uniform,
)
from xaijax.propagation._deep_lift import deep_lift
from xaijax.propagation._deep_shap import deep_shap
from xaijax.propagation._guided_backprop import deconvnet, guided_backprop
from xaijax.propagation._lrp import lrp
from xaijax.propagation._lrp_audit import LrpAudit, lrp_audit
from xaijax.propagation._relevance import propagate
from xaijax.propagation._rules import (
    alpha_beta,
    epsilon,
    flat,
    gamma,
    own_sign,
    pass_,
    w_square,
    z_box,
    z_plus,
)

__all__ = [
    "Composite",
    "LrpAudit",
    "alpha_beta",
    "attn_lrp",
    "cp_lrp",
    "deconvnet",
    "deep_lift",
    "deep_shap",
    "epsilon",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "epsilon_plus",
    "epsilon_plus_flat",
    "flat",
    "gamma",
    "guided_backprop",
    "lrp",
    "lrp_audit",
    "own_sign",
    "pass_",
    "plus_box",
    "propagate",
    "uniform",
    "w_square",
    "z_box",
    "z_plus",
]
