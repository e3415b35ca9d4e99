"""Two methods in one picture: each is what its paper's equation makes of the two, for the price of one forward pass."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import xaijax
from tests.networks import conv
from xaijax.combine import grad_cam_lrp, guided_grad_cam
from xaijax.core._maps import blur as blurred
from xaijax.propagation import guided_backprop, lrp

WIDTHS = (3, 16, 16, 16)


def network(weights, x, rectify=jax.nn.relu6):
    """Three convolutions, the last of which is the layer; a normalisation, so that LRP's forward pass is its own."""
    kernels, scale, V = weights
    for i, kernel in enumerate(kernels):
        with jax.named_scope(f"block{i}"):
            x = rectify(conv(x, kernel) * scale)
    return x.mean((0, 1)) @ V


@pytest.fixture
def f(rng):
    kernels = [
        jnp.float32(rng.normal(size=(3, 3, n, m)) / np.sqrt(9 * n))
        for n, m in itertools.pairwise(WIDTHS)
    ]
    return Partial(
        network, (kernels, jnp.float32(2.0), jnp.float32(rng.normal(size=(16, 4)) + 0.5))
    )


@pytest.fixture
def x(rng):
    return jnp.float32(rng.normal(size=(16, 16, 3)))


def operations(explain, f, x):
    return jax.jit(lambda f, x: explain(f, x, 1)).lower(f, x).compile().cost_analysis()["flops"]


def scaled(a):
    return a / a.max()


def test_guided_grad_cam_is_the_product(f, x):
    L = xaijax.resize(xaijax.grad_cam(f, x, 1), (16, 16))
    R = guided_backprop(f, x, 1)
    assert np.abs(R * L[..., None]).max() > 0
    np.testing.assert_allclose(guided_grad_cam(f, x, 1), R * L[..., None], 1e-5, 1e-7)


@pytest.mark.parametrize("threshold", [None, 0.6])
def test_grad_cam_lrp_is_the_product(threshold, f, x):
    G = np.asarray(scaled(xaijax.grad_cam(f, x, 1, layer="block1")))
    tau = G.mean() if threshold is None else threshold
    G = np.where(tau <= G, G, 0)
    R = np.asarray(lrp(f, x, 1).sum(-1))
    expected = np.asarray(xaijax.resize(G, (16, 16))) * scaled(np.maximum(R, 0))
    found = grad_cam_lrp(f, x, 1, layer="block1", threshold=threshold, sigma=0.0)
    assert 0 < (expected > 0).mean() < 1
    np.testing.assert_allclose(found, expected, 1e-4, 1e-6)


@pytest.mark.parametrize("rectify", [jax.nn.relu, jax.nn.relu6, lambda x: jnp.clip(x, 0, 6)])
def test_guided_grad_cam_costs_one_of_its_two(rectify, f, x):
    model = Partial(lambda weights, x: network(weights, x, rectify), f.args[0])
    both, one = (operations(method, model, x) for method in (guided_grad_cam, guided_backprop))
    assert both < 1.1 * one


def test_grad_cam_lrp_costs_one_of_its_two(f, x):
    both, one = (operations(method, f, x) for method in (grad_cam_lrp, lrp))
    blur = operations(lambda f, x, target: blurred(x.sum(-1), 3.0), f, x)
    assert both < 1.1 * one + blur
