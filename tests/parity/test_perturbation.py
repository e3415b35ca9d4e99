"""Occlusion and feature ablation against captum, on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.parity._nets import IMAGES, TARGETS, flax_network, to_torch, torch_network

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

pytestmark = pytest.mark.parity

X, TARGETS = IMAGES[1:3].astype(np.float64), TARGETS[1:3]
GREY = np.array([0.3, -0.2, 0.5])  # a colour


def assert_same(actual, expected):
    expected = np.moveaxis(expected.numpy(), 1, -1)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def ours(method, network, **settings):
    """What a method says of both images."""
    explain = xaijax.bind(method, flax_network(network, "float64"), **settings)
    return jax.vmap(explain)(jnp.asarray(X), jnp.asarray(TARGETS))


def captum_occlusion(model, **settings):
    """captum's means in double precision.

    It divides its sums in single precision, whatever the model's: they are divided here, by the same whole numbers.
    """
    peer = attr.Occlusion(model)
    settings |= {"target": TARGETS, "perturbations_per_eval": 8}
    means = peer.attribute(to_torch(X), **settings)
    assert means.dtype == torch.float32
    peer.use_weights = False
    sums = peer.attribute(to_torch(X), **settings)
    return sums / (sums / means).round()


#: Windows over (height, width) of images of 20 x 16: without and with a rest, cut off at the edge, as large as it.
WINDOWS = [((5, 4), (5, 4)), ((6, 5), (4, 3)), ((20, 3), (7, 2))]


@pytest.mark.parametrize(("window", "stride"), WINDOWS)
@pytest.mark.parametrize("network", ["plain", "residual"])
def test_occlusion(network, window, stride, x64):
    model, _ = torch_network(network)
    for baseline in (0.0, GREY):
        expected = captum_occlusion(
            model,
            sliding_window_shapes=(3, *window),
            strides=(3, *stride),
            baselines=to_torch(np.broadcast_to(baseline, X[:1].shape)),
        )
        found = ours(xaijax.occlusion, network, window=window, stride=stride, baseline=baseline)
        assert_same(found, expected)


def test_occlusion_of_single_channels(x64):
    """Windows over all axes; captum's axes are (channel, height, width)."""
    model, _ = torch_network("plain")
    expected = captum_occlusion(model, sliding_window_shapes=(2, 7, 6), strides=(1, 5, 6))
    found = ours(xaijax.occlusion, "plain", window=(7, 6, 2), stride=(5, 6, 1))
    assert_same(found, expected)


def test_feature_ablation(x64):
    model, _ = torch_network("plain")
    labels = xaijax.superpixels(np.zeros((20, 16, 3)), "grid", rows=3, columns=4)
    for baseline in (0.0, GREY):
        expected = attr.FeatureAblation(model).attribute(
            to_torch(X),
            feature_mask=torch.from_numpy(np.asarray(labels, np.int64))[None, None],
            baselines=to_torch(np.broadcast_to(baseline, X[:1].shape)),
            target=TARGETS,
        )
        mask = xaijax.segments(labels, hidden=baseline)
        found = ours(xaijax.feature_ablation, "plain", mask=mask)
        assert_same(np.broadcast_to(found[..., None], X.shape), expected)
