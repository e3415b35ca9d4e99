"""Class activation maps against torchcam, on the same weights: its maps before they are scaled to [0, 1].

Where it computes something else than the paper, the map is computed a third time with what differs as a switch: one
way it is its map, the other way ours.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.parity._nets import (
    IMAGES,
    NETWORKS,
    TARGETS,
    assert_maps,
    computing_in,
    differences,
    explain,
    flax_network,
    our_maps,
    to_torch,
    torch,
    torch_network,
)

methods = pytest.importorskip("torchcam.methods")

pytestmark = [pytest.mark.parity, pytest.mark.parametrize("network", NETWORKS)]

LIMITS = {"float32": 1e-5, "float64": 1e-10}
# It adds 1e-8 to the range of each channel, before a softmax of 30 times the scores.
OF_SCORES = {"float32": 1e-5, "float64": 1e-6}

# The scores of masked images differ little, and their softmax is nearly uniform: of 30 times the scores it is not.
GAIN = 30 * np.eye(10)[TARGETS]


def theirs(method, network, layers=slice(None), noise=None, targets=None, **settings):
    """The maps of a method of torchcam, and the activations and gradients that it has seen last."""
    model, modules = torch_network(network)
    cam = getattr(methods, method)(model, modules[layers], **settings)
    if noise is not None:
        cam._distrib = noise
    scores = model(to_torch(IMAGES))
    asked = {"class_idx": TARGETS} if targets is None else {"targets": targets}
    maps = cam(scores=scores, normalized=False, **asked)
    inner = getattr(cam, "base_cam", cam)
    A, G = ([a if a is None else a.numpy() for a in seen] for seen in (inner.hook_a, inner.hook_g))
    cam.remove_hooks()
    return [a.numpy() for a in maps], A, G


def assert_equal(name, network, expected, limits=LIMITS, **settings):
    """Our maps of all layers are those expected, to the digits of the precision. Returns them in float64."""
    for dtype, limit in limits.items():
        found = our_maps(getattr(xaijax, name), network, dtype, **settings)
        for actual, signed in zip(found, expected, strict=True):
            assert actual.dtype == dtype
            assert_maps(actual, signed, limit)
    return found


def combined(weights, A):
    """The signed maps of weights of channels, `(B, K)`, or of each position, `(B, K, h, w)`."""
    pairs = zip(weights, A, strict=True)
    return [(w.reshape(*w.shape, *[1] * (4 - w.ndim)) * a).sum(1) for w, a in pairs]


def assert_positive_part(maps, whole):
    """Its maps are what is known with its sign, which is what rounding is measured by."""
    for cut, signed in zip(maps, whole, strict=True):
        assert_maps(cut, signed, 1e-12)


# --- Equal


def test_cam(network):
    (expected,), _, _ = theirs("CAM", network, slice(-1, None), fc_layer="head")
    for dtype, limit in LIMITS.items():
        bound = xaijax.bind(xaijax.cam, flax_network(network, dtype))
        actual = explain(bound, dtype)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, expected, rtol=0, atol=limit * np.abs(expected).max())


def test_grad_cam(network):
    maps, A, G = theirs("GradCAM", network)
    whole = combined([g.mean((2, 3)) for g in G], A)
    assert_positive_part(maps, whole)
    assert_equal("grad_cam", network, whole)


def test_layer_cam(network):
    maps, A, G = theirs("LayerCAM", network)
    whole = combined([np.maximum(g, 0) for g in G], A)
    assert_positive_part(maps, whole)
    ours = assert_equal("layer_cam", network, whole)
    for each in zip(*ours, strict=True):
        # To be fused they must be scaled to a maximum of 1 there.
        scaled = [torch.from_numpy(a / a.max())[None] for a in each]
        expected = methods.LayerCAM.fuse_cams(scaled, (24, 30))[0].numpy()
        with computing_in("float64"):
            actual = xaijax.fuse([jnp.asarray(a) for a in each], (24, 30))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_finer_cam(network):
    """With one reference; several it weighs alike, and the paper by their probabilities."""
    settings = {"gamma": 0.6, "num_references": 1}
    maps, A, G = theirs("FinerCAM", network, **settings)
    whole = combined([g.mean((2, 3)) for g in G], A)
    assert_positive_part(maps, whole)
    assert_equal("finer_cam", network, whole, **settings)


# --- Different


def test_xgrad_cam(network):
    """It adds 1e-8 to the sum of each channel, which is seen in float64."""
    maps, A, G = theirs("XGradCAM", network)

    def alpha(a, g, epsilon):
        total, weights = a.sum((2, 3)), (a * g).sum((2, 3))
        return np.divide(weights, total + epsilon, np.zeros_like(total), where=total != 0)

    pairs = list(zip(A, G, strict=True))
    assert_positive_part(maps, combined([alpha(a, g, 1e-8) for a, g in pairs], A))
    ours = assert_equal("xgrad_cam", network, combined([alpha(a, g, 0) for a, g in pairs], A))
    measured = max(differences(a, b).max() for a, b in zip(ours, maps, strict=True))
    assert 1e-10 < measured < 1e-7, measured


def test_grad_cam_pp(network):
    """It divides a copy of the squared gradients, which is dropped: its weights are sums of cubes of gradients."""
    maps, A, G = theirs("GradCAMpp", network)
    assert_positive_part(maps, combined([(np.maximum(g, 0) ** 3).sum((2, 3)) for g in G], A))


class Noise:
    """Samples that are known, in the place of torchcam's."""

    def __init__(self, samples):
        self.samples = iter(samples)

    def sample(self, size):
        return torch.from_numpy(np.broadcast_to(next(self.samples), size).astype("float64"))


def test_smooth_grad_cam_pp(network):
    """It sums activations times cubes of gradients; of the noisy copies the last one's map is weighed.

    The powers of the gradients are means over the copies, but the gradient itself and the activations are the last
    copy's. Ours is the mean of the maps of all. And its noise has one size for all images, ours a part of their range.
    """
    noise = np.random.default_rng(1).normal(0, 0.3, (2, *IMAGES.shape))
    noise = np.stack([np.zeros_like(noise[0]), *noise])
    _, clean, _ = theirs("GradCAM", network)
    gradients, shown = [], []
    for sample in noise:
        model, modules = torch_network(network)
        cam = methods.GradCAM(model, modules)
        cam(TARGETS, model(to_torch(IMAGES + sample)))
        gradients.append([g.numpy() for g in cam.hook_g])
        shown.append([a.numpy() for a in cam.hook_a])
        cam.remove_hooks()

    def by_hand(of, by_the_sum):
        weights = []
        for i, a in enumerate(clean):
            g = [gradients[n][i] for n in of]
            g2, g3 = (np.mean([one**power for one in g], 0) for power in (2, 3))
            if by_the_sum:
                denominator = 2 * g2 + a.sum((2, 3), keepdims=True) * g3
            else:
                denominator = 2 * g2 + (a * g3).sum((2, 3), keepdims=True) + 1e-8
            alpha = np.divide(g2, denominator, np.zeros_like(g2), where=g2 != 0)
            weights.append((alpha * np.maximum(g[-1], 0)).sum((2, 3)))
        return combined(weights, shown[of[-1]])

    # Without noise.
    maps, _, _ = theirs("SmoothGradCAMpp", network, noise=Noise(np.zeros((2, 1))), num_samples=2)
    assert_positive_part(maps, by_hand([0, 0], by_the_sum=False))
    # With noise.
    samples = np.moveaxis(noise[1:], -1, 2)
    noisy, _, _ = theirs("SmoothGradCAMpp", network, noise=Noise(samples), num_samples=2)
    assert_positive_part(noisy, by_hand([1, 2], by_the_sum=False))
    for dtype, limit in LIMITS.items():
        with computing_in(dtype):
            layers = tuple(NETWORKS[network].layers)
            bound = xaijax.bind(xaijax.grad_cam_pp, flax_network(network, dtype), layer=layers)
            smooth = xaijax.bind(xaijax.smooth_grad, bound, sigma=0.0, num_samples=2)
        ours = explain(smooth, dtype, jax.random.key(0))
        for actual, signed in zip(ours, by_hand([0], by_the_sum=True), strict=True):
            assert actual.dtype == dtype
            assert_maps(actual, signed, limit)


# --- Different: the image seen through masks


def asked(weights):
    return [lambda outputs, row=row: (outputs * torch.from_numpy(row)).sum() for row in weights]


def softmax_of_masked(network, A, coefficients, *, scaled_first, flat):
    """The softmax over the channels of the scores of the image seen through them, by our network.

    Args:
      network: which.
      A: the channels, `(B, K, h, w)`.
      coefficients: factors of the masks, over which the scores are averaged.
      scaled_first: whether channels are scaled to [0, 1] before they are resized, or after.
      flat: whether channels that are the same everywhere take part.
    """
    f = xaijax.lower(flax_network(network, "float64"))

    def score(x, a, c):
        def resize(a):
            return xaijax.resize(a, x.shape[:2])

        scale = jax.vmap(xaijax.normalize, -1, -1)
        masks = resize(scale(a)) if scaled_first else scale(resize(a))
        factors = jnp.asarray(coefficients)[:, None, None, None]
        seen = factors * jnp.moveaxis(masks, -1, 0)[:, None, ..., None] * x
        return jnp.vectorize(f, signature="(h,w,c)->(o)")(seen) @ c

    with computing_in("float64"):
        rows = (IMAGES.astype("float64"), np.moveaxis(A, 1, -1), GAIN)
        scores = jax.jit(jax.vmap(score))(*map(jnp.asarray, rows)).mean(-1)
        shown = flat | (A.max((2, 3)) > A.min((2, 3)))
        return np.asarray(jax.nn.softmax(jnp.where(shown, scores, -jnp.inf)))


@pytest.mark.parametrize(
    ("method", "name", "theirs_go", "ours_go"),
    [
        ("ScoreCAM", "score_cam", [1.0], [1.0]),
        # The paper's steps add up, and its own begin one later.
        ("ISCAM", "is_cam", np.arange(1, 5).cumsum() / 4, np.arange(1, 5) / 4),
    ],
)
def test_scores(network, method, name, theirs_go, ours_go):
    """It scales channels before it resizes them, and lets those take part that are the same everywhere.

    That its scores are differences to the image's own cancels in the softmax.
    """
    steps = {} if name == "score_cam" else {"num_samples": 4}
    maps, A, _ = theirs(method, network, targets=asked(GAIN), **steps)
    settings = {"mode": "softmax_logit"} if name == "score_cam" else {"num_steps": 4}

    def by_hand(coefficients, **switches):
        return combined([softmax_of_masked(network, a, coefficients, **switches) for a in A], A)

    for cut, signed in zip(maps, by_hand(theirs_go, scaled_first=True, flat=True), strict=True):
        assert_maps(cut, signed, 1e-6)  # it adds 1e-8 to the range of each channel
    expected = by_hand(ours_go, scaled_first=False, flat=False)
    for dtype, limit in LIMITS.items():
        targets = GAIN.astype(dtype)
        found = our_maps(getattr(xaijax, name), network, dtype, targets=targets, **settings)
        for actual, signed in zip(found, expected, strict=True):
            assert actual.dtype == dtype
            assert_maps(actual, signed, limit)


def test_ss_cam(network):
    """Each channel has noise of its own there; with the same noise, where nothing is resized, it is the same."""
    if network != "plain":
        pytest.skip(
            "has no layer of the image's size without channels that are the same everywhere"
        )
    key = jax.random.key(0)
    for dtype, limit in OF_SCORES.items():
        targets = GAIN.astype(dtype)
        actual, *_ = our_maps(xaijax.ss_cam, network, dtype, key, targets=targets, num_samples=3)
        with computing_in(dtype):
            noise = np.asarray(2.0 * jax.random.normal(key, (3, *IMAGES.shape[1:3]), dtype))
        settings = {"targets": asked(GAIN), "num_samples": 3}
        (expected,), _, _ = theirs("SSCAM", network, slice(0, 1), Noise(noise), **settings)
        assert actual.dtype == dtype
        assert_maps(actual, expected, limit)
