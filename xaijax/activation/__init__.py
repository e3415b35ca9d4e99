"""Class activation maps: feature maps of a convolutional network or a vision transformer, weighed for a class."""

from xaijax.activation._ablation_cam import ablation_cam
from xaijax.activation._cam import cam
from xaijax.activation._cam_maps import CamMaps, cam_maps
from xaijax.activation._eigen_cam import eigen_cam
from xaijax.activation._eigen_grad_cam import eigen_grad_cam
from xaijax.activation._fg_cam import fg_cam
from xaijax.activation._finer_cam import finer_cam
from xaijax.activation._full_grad import full_grad
from xaijax.activation._grad_cam import grad_cam
from xaijax.activation._grad_cam_elementwise import grad_cam_elementwise
from xaijax.activation._grad_cam_pp import grad_cam_pp
from xaijax.activation._hires_cam import hires_cam
from xaijax.activation._is_cam import is_cam
from xaijax.activation._kpca_cam import kpca_cam
from xaijax.activation._layer_cam import fuse, layer_cam
from xaijax.activation._random_cam import random_cam
from xaijax.activation._score_cam import score_cam
from xaijax.activation._shapley_cam import shapley_cam
from xaijax.activation._ss_cam import ss_cam
from xaijax.activation._xgrad_cam import xgrad_cam

__all__ = [
    "CamMaps",
    "ablation_cam",
    "cam",
    "cam_maps",
    "eigen_cam",
    "eigen_grad_cam",
    "fg_cam",
    "finer_cam",
    "full_grad",
    "fuse",
    "grad_cam",
    "grad_cam_elementwise",
    "grad_cam_pp",
    "hires_cam",
    "is_cam",
    "kpca_cam",
    "layer_cam",
    "random_cam",
    "score_cam",
    "shapley_cam",
    "ss_cam",
    "xgrad_cam",
]
