"""FG-CAM: against its equations one share at a time, principal components by eigenvectors, closed forms, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import xaijax
from xaijax.activation._fg_cam import denoised


def patches(w, x):
    """A convolution of patches of 2 x 2 without overlap."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x[None], w, (2, 2), "VALID", dimension_numbers=numbers)[0]


def network(w, x):
    for i, kernel in enumerate(w["kernels"]):
        with jax.named_scope(f"conv{i}"):
            x = jax.nn.relu(patches(kernel, x))
    return x.mean((0, 1)) @ w["dense"]


@pytest.fixture
def net(rng):
    kernels = [rng.normal(size=(2, 2, 3, 5)), rng.normal(size=(2, 2, 5, 4))]
    w = {"kernels": kernels, "dense": rng.normal(size=(4, 6))}
    x = rng.normal(size=(12, 8, 3))
    return jax.tree.map(jnp.asarray, w), jnp.asarray(x)


def components(w, x, target):
    """What each channel of the last map says of each position: its weight by Grad-CAM, times its activation."""
    A = np.asarray(jax.nn.relu(patches(w["kernels"][1], jax.nn.relu(patches(w["kernels"][0], x)))))
    alpha = np.asarray(w["dense"])[:, target] / (A.shape[0] * A.shape[1])
    return alpha * A


def handed_down(x, kernel, Ik, low=None, high=None):
    """To each input of a patch its share of what the patch's channels have, one at a time."""
    out = np.zeros(x.shape)
    for i, j, k in np.ndindex(Ik.shape):
        patch, w = x[2 * i : 2 * i + 2, 2 * j : 2 * j + 2], kernel[..., k]
        plus, minus = np.maximum(w, 0), np.minimum(w, 0)
        if low is None:  # behind a rectifier
            shares = patch * plus
        else:
            shares = patch * w - low * plus - high * minus
        if shares.sum() > 0:
            out[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] += shares / shares.sum() * Ik[i, j, k]
    return out


def first_components(Ik, kept):
    """By the eigenvectors of the positions' covariance."""
    M = Ik.reshape(-1, Ik.shape[-1]).T
    mean = M.mean(1, keepdims=True)
    _, vectors = np.linalg.eigh((M - mean).T @ (M - mean))
    V = vectors[:, -kept:]
    return ((M - mean) @ V @ V.T).T.reshape(Ik.shape), mean.T


@pytest.mark.parametrize("settings", [{}, {"denoise": True, "rank": 0.5}], ids=["all", "half"])
def test_each_share_by_its_equation(x64, net, settings):
    w, x = net
    Ik = components(w, x, 2)
    if settings:
        Ik, _ = first_components(Ik, 2)  # of four channels by six positions
    A = np.asarray(jax.nn.relu(patches(w["kernels"][0], x)))
    kernels = [np.asarray(kernel) for kernel in w["kernels"]]
    middle = handed_down(A, kernels[1], Ik)
    x0 = np.asarray(x)
    expected = handed_down(x0, kernels[0], middle, x0.min(), x0.max())
    f = Partial(network, w)
    found = xaijax.fg_cam(f, x, 2, to="conv0/relu", **settings)
    np.testing.assert_allclose(found, middle.sum(-1), atol=1e-12)
    found = xaijax.fg_cam(f, x, 2, **settings)
    np.testing.assert_allclose(found, expected.sum(-1), atol=1e-12)


@pytest.mark.parametrize(
    ("rank", "kept"), [(0.01, 1), (0.1, 1), (0.3, 3), (0.7, 7), (0.99, 9), (1, 10)]
)
def test_principal_components(rank, kept, rng, x64):
    Ik = rng.normal(size=(4, 5, 10)) + rng.normal(size=10)
    expected, mean = first_components(Ik, kept)
    np.testing.assert_allclose(denoised(jnp.asarray(Ik), rank, False), expected, atol=1e-12)
    np.testing.assert_allclose(denoised(jnp.asarray(Ik), rank, True), expected + mean, atol=1e-12)


def test_all_components_and_their_means_are_the_map(net):
    w, x = jax.tree.map(jnp.float32, net)
    f = Partial(network, w)
    plain = xaijax.fg_cam(f, x, 1)
    whole = xaijax.fg_cam(f, x, 1, denoise=True, rank=1.0, keep_mean=True)
    np.testing.assert_allclose(whole, plain, atol=1e-5 * np.abs(plain).max())


def test_weights_of_score_cam(x64, net):
    """Their components, handed down as those of Grad-CAM are."""
    w, x = net
    f = Partial(network, w)
    coarse = xaijax.cam_maps(xaijax.bind(xaijax.score_cam, f, mode="prob"), x, 0)
    found = xaijax.cam_maps(xaijax.bind(xaijax.fg_cam, f, base="score_cam"), x, 0)
    np.testing.assert_allclose(found.weights, coarse.weights, rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0.0}, r"fg_cam: rank must be above 0, got 0\.0"),
        ({"base": "layer_cam"}, r"fg_cam: base must be 'grad_cam' or 'score_cam', got 'layer_cam'"),
    ],
)
def test_errors(net, settings, message):
    w, x = net
    with pytest.raises(ValueError, match=message):
        xaijax.fg_cam(Partial(network, w), x, 0, **settings)
