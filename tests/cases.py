"""One row per public explainer: how to call it. `test_contract.py` holds all of them to one contract."""

import dataclasses
import functools
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import xaijax
from tests.oracles import trees as oracle

# Seeds of networks without a dead map: something speaks for every output, in every image below.
FIRST, SECOND = 1, 10


class CNN(nnx.Module):
    """conv - relu - conv - relu - global average pooling - dense, on one image (h, w, 3)."""

    def __init__(self, rngs, width=8, num_outputs=4):
        self.conv1 = nnx.Conv(3, width, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(width, num_outputs, rngs=rngs)

    def features(self, x):
        return jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(x))))

    def head(self, A):
        return self.dense(A.mean((0, 1)))

    def __call__(self, x):
        return self.head(self.features(x))


@functools.cache
def _fresh() -> CNN:
    """Flax draws weights in as much time as a test's explanation takes: once is enough, for their shapes."""
    return CNN(nnx.Rngs(0))


def cnn(seed, dtype=jnp.float32) -> CNN:
    """The same weights in every precision, with biases: a fresh module has zeros there."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda w: jnp.asarray(rng.normal(size=w.shape) / (w.size / w.shape[-1]) ** 0.5, dtype),
        _fresh(),
    )


def _perceptron(parameters, x):
    *hidden, (W, b) = parameters
    for V, c in hidden:
        x = jnp.tanh(x @ V + c)
    return x @ W + b


def mlp(seed, dtype=jnp.float32, sizes=(6, 16, 4)):
    """A multilayer perceptron as a plain function and its parameters."""
    rng = np.random.default_rng(seed)
    layers = [
        (
            jnp.asarray(rng.normal(size=(n, m)) / n**0.5, dtype),
            jnp.asarray(rng.normal(size=m), dtype),
        )
        for n, m in pairwise(sizes)
    ]
    return jax.tree_util.Partial(_perceptron, layers)


def linear(seed, dtype=jnp.float32):
    """One layer of it: linear in the row."""
    return mlp(seed, dtype, sizes=(6, 4))


def trees(seed, dtype=jnp.float32):
    """Trees of two levels, one for each output, which differ in their numbers."""
    model = oracle.random_model(0, num_features=6, num_outputs=4, num_trees=4, depth=2)
    rng = np.random.default_rng(seed)
    f = xaijax.read_trees(model)
    values = jnp.asarray(f.values * (1 + rng.random(f.values.shape)))
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a,
        dataclasses.replace(f, values=values),
    )


def curved(seed, dtype=jnp.float32):
    """The convolutional network with bounded outputs: its gradient depends on the image."""
    return jax.tree_util.Partial(_bounded, cnn(seed, dtype))


def _bounded(f, x):
    return jnp.tanh(f(x))


def attended(seed, dtype=jnp.float32):
    """The convolutional network, with features that a map of their own weighs."""
    return jax.tree_util.Partial(_attended, cnn(seed, dtype))


def _attended(f, x):
    A = f.features(x)
    with jax.named_scope("attention_map"):
        M = jax.nn.sigmoid(A.sum(-1, keepdims=True))
    return f.head((1 + M) * A)


def image(seed, dtype=jnp.float32, size=8):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(size, size, 3)), dtype)


def row(seed, dtype=jnp.float32, size=6):
    return jnp.asarray(np.random.default_rng(seed).normal(size=size), dtype)


@dataclasses.dataclass(frozen=True)
class Case:
    """How the contract calls an explainer.

    Attributes:
      explain: the explainer.
      model: seed, dtype -> a small model of four outputs.
      x: seed, dtype -> one example.
      settings: dtype -> keyword arguments of every call: a mask, sizes that keep the tests short.
      knobs: the traced numbers, each with a value that is not the one of the other tests.
      fresh: static settings that no other test uses, so that a program is compiled for them.
      random: whether it takes a key.
      smooth: whether its derivative is compared with finite differences.
      agnostic: whether the target changes nothing.
      one_class: whether only a class can be its target in the tests: it compares classes, or nothing of its map is
        left for the weights that the others get.
      switches: whether a rectifier that switches in half precision changes a whole pixel of it.
      wrap: model -> what is explained: the model itself, or another explainer with the model.
    """

    explain: Any
    model: Callable[..., Any]
    x: Callable[..., Any]
    settings: Callable[[Any], dict[str, Any]] = lambda dtype: {}
    knobs: dict[str, float] = dataclasses.field(default_factory=dict)
    fresh: dict[str, Any] = dataclasses.field(default_factory=dict)
    random: bool = False
    smooth: bool = False
    agnostic: bool = False
    one_class: bool = False
    switches: bool = False
    wrap: Callable[[Any], Any] = lambda f: f

    def bind(self, f, dtype=jnp.float32, **settings):
        """The explainer with the model and settings: `(x, target[, key]) -> attribution`."""
        return xaijax.bind(self.explain, self.wrap(f), **{**self.settings(dtype), **settings})

    def keys(self, seed=0) -> tuple[Any, ...]:
        """The key, for a method that takes one."""
        return (jax.random.key(seed),) if self.random else ()


def _pieces(dtype):
    """An image (8, 8, 3) as six rectangles."""
    labels = xaijax.superpixels(np.zeros((8, 8, 3)), "grid", rows=2, columns=3)
    return xaijax.segments(labels)


def _background(dtype):
    return xaijax.columns(jnp.stack([row(seed, dtype) for seed in (7, 8, 9)]))


def _around(dtype):
    """Neighbours of a row."""
    return xaijax.gaussian_columns(np.random.default_rng(3).normal(size=(20, 6)), "instance")


def _cam(explain, settings=lambda dtype: {}, *, fresh=None, smooth=True, **rest):
    """A class activation map: of a photo, at a layer that no other test uses."""
    return Case(
        explain, cnn, image, settings, fresh=fresh or {"layer": "relu#1"}, smooth=smooth, **rest
    )


def _rows(dtype):
    """Three baselines for a row."""
    return jnp.stack([row(seed, dtype) for seed in (7, 8, 9)])


def _along_path(explain, settings, fresh, **rest):
    """An integral of gradients, of few steps."""
    few = {"num_steps": 5, **settings}
    return Case(explain, mlp, row, lambda dtype: few, fresh=fresh, smooth=True, **rest)


# A public explainer without a row here fails `test_contract.py`.
CASES = {
    "cam": _cam(xaijax.cam, fresh={"layer": "relu#2"}),
    "grad_cam": _cam(xaijax.grad_cam),
    "grad_cam_pp": _cam(xaijax.grad_cam_pp),
    "hires_cam": _cam(xaijax.hires_cam),
    "xgrad_cam": _cam(xaijax.xgrad_cam),
    "grad_cam_elementwise": _cam(xaijax.grad_cam_elementwise),
    "layer_cam": _cam(xaijax.layer_cam),
    "score_cam": _cam(xaijax.score_cam, one_class=True),
    "score_cam, softmax_logit": _cam(xaijax.score_cam, lambda dtype: {"mode": "softmax_logit"}),
    "score_cam, cic": _cam(xaijax.score_cam, lambda dtype: {"mode": "cic"}),
    "ss_cam": _cam(
        xaijax.ss_cam, lambda dtype: {"num_samples": 3}, knobs={"sigma": 0.5}, random=True
    ),
    "is_cam": _cam(xaijax.is_cam, lambda dtype: {"num_steps": 3}),
    "ablation_cam": _cam(xaijax.ablation_cam),
    "eigen_cam": _cam(xaijax.eigen_cam, agnostic=True),
    "eigen_grad_cam": _cam(xaijax.eigen_grad_cam),
    "kpca_cam": _cam(
        xaijax.kpca_cam, lambda dtype: {"gamma": 0.1}, knobs={"gamma": 0.2}, agnostic=True
    ),
    "full_grad": Case(xaijax.full_grad, cnn, image, smooth=True, switches=True),
    "random_cam": _cam(xaijax.random_cam, random=True, agnostic=True),
    "shapley_cam": _cam(xaijax.shapley_cam),
    "finer_cam": _cam(
        xaijax.finer_cam, lambda dtype: {"num_references": 2}, knobs={"gamma": 0.5}, one_class=True
    ),
    **{
        explain.__name__: Case(
            explain,
            cnn,
            image,
            lambda dtype: {"num_samples": 4},
            knobs={"sigma": 0.3},
            fresh={"num_samples": 5},
            random=True,
            smooth=True,
            wrap=lambda f: xaijax.bind(xaijax.grad_cam_pp, f),
        )
        for explain in (xaijax.smooth_grad, xaijax.smooth_grad_squared, xaijax.var_grad)
    },
    "fg_cam": _cam(xaijax.fg_cam),
    "fg_cam, score_cam": _cam(
        xaijax.fg_cam,
        lambda dtype: {"base": "score_cam", "denoise": True, "to": "relu#1"},
        knobs={"rank": 0.5},
        fresh={"to": None},
    ),
    "guided_backprop": Case(xaijax.guided_backprop, cnn, image),
    "deconvnet": Case(xaijax.deconvnet, cnn, image),
    "deep_lift": Case(xaijax.deep_lift, cnn, image, knobs={"baseline": 0.5}, smooth=True),
    "deep_shap": Case(
        xaijax.deep_shap,
        mlp,
        row,
        lambda dtype: {"background": _rows(dtype)},
        fresh={"batch_size": 2},
        smooth=True,
    ),
    "lrp": Case(xaijax.lrp, cnn, image, smooth=True),
    "lrp_audit": Case(xaijax.lrp_audit, cnn, image),
    "guided_grad_cam": _cam(xaijax.guided_grad_cam),
    "grad_cam_lrp": _cam(
        xaijax.grad_cam_lrp,
        lambda dtype: {"threshold": 0.1},
        knobs={"threshold": 0.3, "sigma": 1.0},
        one_class=True,
    ),
    "aug_smooth": Case(
        xaijax.aug_smooth,
        cnn,
        image,
        fresh={"intensities": (1.0, 1.5)},
        smooth=True,
        wrap=lambda f: xaijax.bind(xaijax.layer_cam, f),
    ),
    "attention_map": Case(
        xaijax.attention_map,
        attended,
        image,
        fresh={"layer": "attention_map/logistic"},
        smooth=True,
        agnostic=True,
    ),
    "saliency": Case(xaijax.saliency, curved, image, smooth=True),
    "input_x_gradient": Case(xaijax.input_x_gradient, curved, image, smooth=True),
    "integrated_gradients": _along_path(
        xaijax.integrated_gradients, {}, {"num_steps": 6}, knobs={"baseline": 0.5}
    ),
    "expected_gradients": Case(
        xaijax.expected_gradients,
        mlp,
        row,
        lambda dtype: {"num_samples": 30, "baselines": _rows(dtype)},
        fresh={"num_samples": 31},
        random=True,
        smooth=True,
    ),
    "blur_integrated_gradients": Case(
        xaijax.blur_integrated_gradients,
        curved,
        image,
        lambda dtype: {"num_steps": 20},
        knobs={"max_sigma": 5.0},
        fresh={"num_steps": 21},
        smooth=True,
    ),
    "layer_gradient": Case(
        xaijax.layer_gradient,
        curved,
        image,
        fresh={"layer": "relu#1"},
        smooth=True,
    ),
    "conductance": _along_path(
        xaijax.conductance, {"layer": "tanh"}, {"layer": "0/add"}, knobs={"baseline": 0.5}
    ),
    "internal_influence": _along_path(
        xaijax.internal_influence, {"layer": "0/add"}, {"layer": "0/dot"}, knobs={"baseline": 0.5}
    ),
    "occlusion": Case(
        xaijax.occlusion,
        cnn,
        image,
        lambda dtype: {"window": (3, 4), "stride": (2, 3)},
        knobs={"baseline": 0.5},
        fresh={"window": (3, 3)},
        smooth=True,
    ),
    "feature_ablation": Case(
        xaijax.feature_ablation,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype)},
        fresh={"batch_size": 5},
        smooth=True,
    ),
    "rise": Case(
        xaijax.rise,
        cnn,
        image,
        lambda dtype: {"num_samples": 30, "grid_size": 3},
        knobs={"p": 0.3, "baseline": 0.5},
        fresh={"num_samples": 31},
        random=True,
        smooth=True,
    ),
    "lime": Case(
        xaijax.lime,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype), "num_samples": 30, "kernel_width": 0.25},
        knobs={"kernel_width": 0.5, "ridge": 0.1},
        fresh={"num_samples": 31},
        random=True,
        smooth=True,
    ),
    "lime_fit": Case(
        xaijax.lime_fit,
        mlp,
        row,
        lambda dtype: {"num_samples": 30, "kernel_width": 0.25},
        knobs={"kernel_width": 0.5, "ridge": 0.1},
        fresh={"num_samples": 31},
        random=True,
    ),
    "lime_fit, gaussian_columns": Case(
        xaijax.lime_fit,
        mlp,
        row,
        lambda dtype: {"num_samples": 30, "mask": _around(dtype), "kernel_width": 2.0},
        knobs={"kernel_width": 1.5, "ridge": 0.1},
        fresh={"num_samples": 32},
        random=True,
    ),
    "exact_shapley": Case(
        xaijax.exact_shapley,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype)},
        fresh={"batch_size": 50},
        smooth=True,
    ),
    "kernel_shap": Case(
        xaijax.kernel_shap,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype), "num_samples": 30},
        fresh={"num_samples": 32},
        random=True,
        smooth=True,
    ),
    "kernel_shap_values": Case(
        xaijax.kernel_shap_values,
        mlp,
        row,
        lambda dtype: {"mask": _background(dtype), "num_samples": 30, "sampling": "leverage"},
        fresh={"num_samples": 32},
        random=True,
    ),
    "sampling_shap": Case(
        xaijax.sampling_shap,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype), "num_samples": 6},
        fresh={"num_samples": 5},
        random=True,
        smooth=True,
    ),
    "sampling_shap_values": Case(
        xaijax.sampling_shap_values,
        mlp,
        row,
        lambda dtype: {"mask": _background(dtype), "num_samples": 6},
        fresh={"num_samples": 5},
        random=True,
    ),
    "linear_shap": Case(
        xaijax.linear_shap,
        linear,
        row,
        lambda dtype: {"background": _rows(dtype)},
        fresh={"batch_size": 2},
        smooth=True,
    ),
    "tree_shap": Case(
        xaijax.tree_shap,
        trees,
        row,
        lambda dtype: {"background": _rows(dtype)},
        fresh={"batch_size": 3},
    ),
    "tree_shap, path-dependent": Case(xaijax.tree_shap, trees, row, fresh={"batch_size": 2}),
    "tree_shap_interactions": Case(
        xaijax.tree_shap_interactions,
        trees,
        row,
        lambda dtype: {"background": _rows(dtype)},
        fresh={"batch_size": 3},
    ),
    "banzhaf": Case(
        xaijax.banzhaf,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype), "num_samples": 30},
        fresh={"num_samples": 31},
        random=True,
        smooth=True,
    ),
    "banzhaf_values": Case(
        xaijax.banzhaf_values,
        mlp,
        row,
        lambda dtype: {"mask": _background(dtype), "num_samples": 30},
        fresh={"num_samples": 31},
        random=True,
    ),
    "owen": Case(
        xaijax.owen,
        cnn,
        image,
        lambda dtype: {
            "mask": _pieces(dtype),
            "hierarchy": ((0, 1, 2), (3, 4, 5)),
            "num_samples": 20,
        },
        fresh={"num_samples": 10},
        random=True,
        smooth=True,
    ),
    "owen_values": Case(
        xaijax.owen_values,
        mlp,
        row,
        lambda dtype: {
            "mask": _background(dtype),
            "hierarchy": (0, (1, 2), (3, 4, 5)),
            "num_samples": 30,
        },
        fresh={"num_samples": 20},
        random=True,
    ),
    "shapley_interactions": Case(
        xaijax.shapley_interactions,
        mlp,
        row,
        fresh={"index": "STII"},
        smooth=True,
    ),
    "permutation_shap": Case(
        xaijax.permutation_shap,
        cnn,
        image,
        lambda dtype: {"mask": _pieces(dtype), "num_permutations": 3},
        fresh={"num_permutations": 4},
        random=True,
        smooth=True,
    ),
    "shapley_values": Case(
        xaijax.shapley_values,
        mlp,
        row,
        lambda dtype: {"mask": _background(dtype), "num_permutations": 3},
        fresh={"num_permutations": 4},
        random=True,
    ),
    "shapley_values, tolerance": Case(
        xaijax.shapley_values,
        mlp,
        row,
        lambda dtype: {"mask": _background(dtype), "num_permutations": 32, "tolerance": 0.03},
        knobs={"tolerance": 0.5},
        fresh={"num_permutations": 31},
        random=True,
    ),
}
