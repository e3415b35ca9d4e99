"""Class activation maps against pytorch-grad-cam, on the same weights.

Its maps are taken before it cuts off what is negative, scales to [0, 1] and resizes. They are computed in float64, ours
in both precisions. Where it computes something else than the paper, the map is computed a third time, of its own
activations and gradients and with what differs as a switch: one way it is its map, the other way ours.
"""

from typing import Any, NamedTuple

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
from xaijax.activation._full_grad import full_gradients

pytestmark = [pytest.mark.parity, pytest.mark.parametrize("network", NETWORKS)]

SIZE = IMAGES.shape[1:3]

# The largest difference allowed, as a part of the map's largest value.
LIMITS = {"float32": 1e-5, "float64": 1e-10}
# It rounds projections to float32.
OF_PROJECTIONS = {"float32": 1e-5, "float64": 1e-7}
# The sigmoid kernel of small activations is almost constant: float32 leaves few digits of how it varies.
OF_KERNELS = {"float32": 3e-4, "float64": 1e-7}
# It takes scores and their softmax in float32.
OF_SCORES = {"float32": 1e-5, "float64": 1e-6}
# The same, and its weights are small differences of such scores.
OF_SCORE_DIFFERENCES = {"float32": 3e-5, "float64": 3e-6}


@pytest.fixture(scope="module")
def peer():
    from tests.parity._torchvision import torchvision  # noqa: F401

    return pytest.importorskip("pytorch_grad_cam")


@pytest.fixture(scope="module")
def targets(peer):
    return [peer.utils.model_targets.ClassifierOutputTarget(c) for c in TARGETS]


class Recorded(NamedTuple):
    """What a method of pytorch-grad-cam computed at a layer: `(B, K, h, w)`, and the signed map `(B, h, w)`."""

    A: np.ndarray
    G: Any
    maps: np.ndarray


def record(cam, targets, images=IMAGES):
    """The raw maps of each layer, and what is returned."""
    found, inner = [], cam.get_cam_image

    def spy(x, layer, targets, A, G, eigen_smooth):
        maps = inner(x, layer, targets, A, G, eigen_smooth)
        found.append(Recorded(A, G, maps))
        return maps

    cam.get_cam_image = spy
    returned = cam(to_torch(images), targets)
    cam.activations_and_grads.release()
    return found, returned


def assert_equal(name, network, expected, limits=LIMITS, **settings):
    """Our maps of all layers are those expected, to the digits of the precision. Returns them in float64."""
    for dtype, limit in limits.items():
        found = our_maps(getattr(xaijax, name), network, dtype, **settings)
        for actual, signed in zip(found, expected, strict=True):
            assert actual.dtype == dtype
            assert_maps(actual, signed, limit)
    return found


def resized(maps):
    """Maps of the images' size."""
    with computing_in("float64"):
        return np.asarray(jax.vmap(lambda a: xaijax.resize(a, SIZE))(jnp.asarray(maps)))


def normalized(maps):
    with computing_in("float64"):
        return np.asarray(jax.vmap(xaijax.normalize)(jnp.asarray(maps)))


# --- Equal


@pytest.mark.parametrize(
    ("theirs", "name"),
    [
        ("GradCAM", "grad_cam"),
        ("HiResCAM", "hires_cam"),
        ("GradCAMElementWise", "grad_cam_elementwise"),
        ("LayerCAM", "layer_cam"),
    ],
)
def test_gradients(peer, targets, network, theirs, name):
    found, _ = record(getattr(peer, theirs)(*torch_network(network)), targets)
    assert_equal(name, network, [at.maps for at in found])


@pytest.mark.parametrize("utility", ["rest", "score"])
def test_shapley_cam(peer, targets, network, utility):
    model, modules = torch_network(network)
    if utility == "rest":
        targets = [peer.utils.model_targets.ClassifierOutputReST(c) for c in TARGETS]
    # It frees the graph after one layer.
    found = [record(peer.ShapleyCAM(model, [module]), targets)[0][0] for module in modules]
    assert_equal("shapley_cam", network, [at.maps for at in found], utility=utility)


def test_finer_cam(peer, network):
    model, modules = torch_network(network)
    maps = []
    for x, c in zip(IMAGES, TARGETS, strict=True):
        finer = peer.FinerCAM(model, modules)
        # It takes one target for all images.
        finer.base_cam.forward = lambda x, *_, finer=finer, c=c: finer.forward(x, target_idx=c)
        maps.append([at.maps[0] for at in record(finer.base_cam, None, x[None])[0]])
    expected = [np.stack(rows) for rows in zip(*maps, strict=True)]
    # It adds 1e-9 to the sum of the probabilities.
    assert_equal("finer_cam", network, expected, {"float32": 1e-5, "float64": 1e-8})


@pytest.mark.parametrize(
    ("theirs", "name", "settings", "limits"),
    [
        ("EigenCAM", "eigen_cam", {}, OF_PROJECTIONS),
        ("EigenGradCAM", "eigen_grad_cam", {}, OF_PROJECTIONS),
        ("KPCA_CAM", "kpca_cam", {}, OF_KERNELS),
        ("KPCA_CAM", "kpca_cam", {"kernel": "rbf"}, OF_PROJECTIONS),
        ("KPCA_CAM", "kpca_cam", {"kernel": "linear"}, OF_PROJECTIONS),
    ],
)
def test_projections(peer, targets, network, theirs, name, settings, limits):
    """It leaves the sign to chance, and then cuts off what is negative: a map may be upside down."""
    found, _ = record(getattr(peer, theirs)(*torch_network(network), **settings), targets)
    utils = peer.utils.svd_on_activations
    signs = set()
    for dtype, limit in limits.items():
        ours = our_maps(getattr(xaijax, name), network, dtype, **settings)
        for maps, at in zip(ours, found, strict=True):
            assert maps.dtype == dtype
            tops = np.abs(at.maps).max((1, 2), keepdims=True)
            sign = np.sign((maps * at.maps).sum((1, 2), keepdims=True))
            np.testing.assert_allclose(maps / tops, sign * at.maps / tops, rtol=0, atol=limit)
            signs |= {*sign.ravel()}
            if name != "kpca_cam":
                # Its Seg-Eigen-CAM chooses the sign, and as ours do.
                values = at.A * at.G if name == "eigen_grad_cam" else at.A
                chosen = utils.get_2d_projection_with_sign_correction(values)
                np.testing.assert_allclose(maps / tops, chosen / tops, rtol=0, atol=limit)
    if name == "eigen_cam":
        assert signs == {-1, 1}


def test_final_map(peer, targets, network):
    """What it returns is the map after `resize` and `normalize`."""
    model, modules = torch_network(network)
    _, returned = record(peer.GradCAM(model, modules[-1:]), targets)
    actual = our_maps(xaijax.grad_cam, network, "float64")[-1]
    # It rounds to float32.
    np.testing.assert_allclose(normalized(resized(actual)), returned, rtol=0, atol=1e-6)


# --- Different


def weighted(weights, A):
    return np.einsum("bk,bkhw->bhw", weights, A)


def test_xgrad_cam(peer, targets, network):
    """It adds 1e-7 to the sum of each channel, which is seen in float64."""
    found, _ = record(peer.XGradCAM(*torch_network(network)), targets)

    def by_hand(at, epsilon):
        total, weights = at.A.sum((2, 3)), (at.A * at.G).sum((2, 3))
        alpha = np.divide(weights, total + epsilon, np.zeros_like(total), where=total != 0)
        return weighted(alpha, at.A)

    for at in found:
        np.testing.assert_allclose(by_hand(at, 1e-7), at.maps, atol=1e-13 * np.abs(at.maps).max())
    ours = assert_equal("xgrad_cam", network, [by_hand(at, 0) for at in found])
    assert_equal("xgrad_cam", network, [at.maps for at in found], {"float32": 1e-5})
    pairs = zip(ours, found, strict=True)
    measured = max(differences(maps, np.maximum(at.maps, 0)).max() for maps, at in pairs)
    assert 1e-9 < measured < 1e-6, measured


def test_grad_cam_pp(peer, targets, network):
    """It adds 1e-6 to a denominator of the size of the squared gradient, which is no more than that."""
    found, _ = record(peer.GradCAMPlusPlus(*torch_network(network)), targets)

    def by_hand(at, epsilon):
        denominator = 2 * at.G**2 + at.A.sum((2, 3), keepdims=True) * at.G**3 + epsilon
        alpha = np.divide(at.G**2, denominator, np.zeros_like(at.G), where=at.G != 0)
        return weighted((alpha * np.maximum(at.G, 0)).sum((2, 3)), at.A)

    for at in found:
        np.testing.assert_allclose(by_hand(at, 1e-6), at.maps, atol=1e-13 * np.abs(at.maps).max())
    ours = assert_equal("grad_cam_pp", network, [by_hand(at, 0) for at in found])
    for maps, at in zip(ours, found, strict=True):
        measured = differences(maps, np.maximum(at.maps, 0))
        assert 0.01 < measured.max() < 0.3, measured
        # And they are smaller, the more so the smaller the gradients.
        scale = maps.max((1, 2)) / at.maps.max((1, 2))
        assert scale.min() > 1
        assert 1.03 < scale.max() < 4, scale


def test_score_cam(peer, targets, network):
    """A channel that is the same everywhere masks everything away, and takes part in its softmax all the same."""
    model, modules = torch_network(network)
    found, _ = record(peer.ScoreCAM(model, modules), targets)
    kept = []
    for at, module in zip(found, modules, strict=True):
        cam = peer.ScoreCAM(model, [module])
        alpha = cam.get_cam_weights(to_torch(IMAGES), module, targets, at.A, None)
        cam.activations_and_grads.release()
        flat = at.A.max((2, 3)) == at.A.min((2, 3))
        kept.append(1 - (alpha * flat).sum(1)[:, None, None])
    expected = [at.maps / part for at, part in zip(found, kept, strict=True)]
    settings = {"mode": "softmax_logit", "align_corners": True}
    assert_equal("score_cam", network, expected, OF_SCORES, **settings)
    # So its maps are smaller by that part; their shape is the same. The inner layers have no such channels.
    assert 0.6 < kept[-1].min() < 0.95, kept
    assert all((part == 1).all() for part in kept[:-1])


def test_ablation_cam(peer, targets, network):
    """It divides by the signed score, and by default ablates with a large negative value where there is any."""

    class Zero(peer.AblationLayer):
        def __call__(self, x):
            for channels, k in zip(self.activations, self.indices, strict=False):
                channels[k] = 0
            return self.activations

    model, modules = torch_network(network)
    scores = model(to_torch(IMAGES)).detach().numpy()[np.arange(len(TARGETS)), TARGETS]
    sign = np.sign(scores)[:, None, None]
    found, _ = record(peer.AblationCAM(model, modules, ablation_layer=Zero()), targets)
    expected = [sign * at.maps for at in found]
    ours = assert_equal("ablation_cam", network, expected, OF_SCORE_DIFFERENCES)
    # Of a negative score its map shows what ours leaves dark.
    assert (scores < 0).any()
    for maps, at in zip(ours, found, strict=True):
        both = np.minimum(maps, np.maximum(at.maps, 0))[scores < 0]
        assert both.max() <= OF_SCORE_DIFFERENCES["float64"] * np.abs(at.maps).max()

    default, _ = record(peer.AblationCAM(model, modules), targets)
    for zeroed, at in zip(found, default, strict=True):
        measured = np.abs(zeroed.maps - at.maps).max() / np.abs(zeroed.maps).max()
        if at.A.min() < 0:  # the sum with the shortcut is cut off as well
            assert 0.5 < measured < 1.5, measured
        else:
            assert measured < OF_SCORE_DIFFERENCES["float64"]


def test_full_grad(peer, targets, network):
    """The terms are the same; it scales each channel to [0, 1] by itself, the paper's code a layer as a whole."""
    model, _ = torch_network(network)
    cam, found = peer.FullGrad(model, []), []
    inner = cam.compute_cam_per_layer

    def spy(x, targets, eigen_smooth):
        maps = inner(x, targets, eigen_smooth)
        found.extend([(x.grad * x.detach()).numpy(), maps[:, 0]])
        return maps

    cam.compute_cam_per_layer = spy
    cam(to_torch(IMAGES), targets)
    image, raw = found
    pairs = zip(cam.bias_data, cam.activations_and_grads.gradients, strict=True)
    terms = [bias[:, None, None] * gradient.numpy() for bias, gradient in pairs]
    cam.activations_and_grads.release()
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    names = [name for name, module in model.named_modules() if isinstance(module, kinds)]
    expected = dict(zip((f"{name.replace('.', '/')}/add" for name in names), terms, strict=True))

    f, places = flax_network(network, "float64"), []

    def decompose(x, c):
        found = full_gradients(f, x, c, where="full_grad")
        spatial = [(layer, bias) for layer, bias in found.biases if layer.is_spatial]
        places[:] = [layer.name for layer, _ in spatial]
        return found.image, [layer.feature_map(bias) for layer, bias in spatial]

    with computing_in("float64"):
        x, c = jnp.asarray(IMAGES, "float64"), jnp.asarray(TARGETS)
        first, biases = jax.tree.map(np.asarray, jax.jit(jax.vmap(decompose))(x, c))
    assert sorted(places) == sorted(expected)
    pairs = [(first, image), *zip(biases, map(expected.get, places), strict=True)]
    for ours, theirs in pairs:
        top = LIMITS["float64"] * np.abs(theirs).max()
        np.testing.assert_allclose(np.moveaxis(ours, -1, 1), theirs, rtol=0, atol=top)

    def by_hand(axes, epsilon):
        total = 0
        for term in (image, *terms):
            a = np.abs(term)
            a = a - a.min(axes, keepdims=True)
            a = a / (a.max(axes, keepdims=True) + epsilon)
            total = total + resized(np.moveaxis(a, 1, -1)).sum(-1)
        return total

    np.testing.assert_allclose(by_hand((2, 3), 1e-7), raw, rtol=1e-6)
    for dtype, limit in LIMITS.items():
        with computing_in(dtype):
            bound = xaijax.bind(xaijax.full_grad, flax_network(network, dtype))
        actual, whole = explain(bound, dtype), by_hand((1, 2, 3), 0)
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual, whole, rtol=0, atol=limit * whole.max())
    measured = differences(actual, raw)
    assert measured.min() > 0.1, measured
    assert measured.max() < 0.5, measured


def test_aug_smooth(peer, targets, network):
    """The copies are the same; it scales the map of each to [0, 1] before their mean."""
    model, modules = torch_network(network)
    cam = peer.GradCAM(model, modules[-1:])
    returned = cam(to_torch(IMAGES), targets, aug_smooth=True)
    forward, inner, found = cam.forward, cam.get_cam_image, []

    def raw(*args):
        forward(*args)
        return found[-1]

    def spy(*args):
        found.append(np.maximum(inner(*args), 0))
        return found[-1]

    cam.get_cam_image, cam.forward = spy, raw
    expected = cam(to_torch(IMAGES), targets, aug_smooth=True)
    cam.activations_and_grads.release()
    for dtype, limit in {"float32": 1e-5, "float64": 1e-6}.items():  # it rounds to float32
        with computing_in(dtype):
            bound = xaijax.bind(xaijax.grad_cam, flax_network(network, dtype))
            bound = xaijax.bind(xaijax.aug_smooth, bound)
        actual = explain(bound, dtype)
        assert actual.dtype == dtype
        assert_maps(actual, expected, limit)

    # Its own mean: of three intensities, then of the mirrored ones.
    assert len(found) == 6
    scaled = [normalized(resized(maps)) for maps in found]
    mirrored = [maps[..., ::-1] for maps in scaled[3:]]
    np.testing.assert_allclose(np.mean([*scaled[:3], *mirrored], 0), returned, rtol=0, atol=1e-6)
    measured = differences(resized(actual), returned)
    assert measured.max() > 0.05, measured


def test_one_target_for_a_batch(peer, targets, network):
    """Its second image has an empty map where there is one target for two (its issue 264); ours explains both."""
    images = IMAGES[1:3]
    found, _ = record(peer.LayerCAM(*torch_network(network)), targets[:1], images)
    both = [TARGETS[0]] * 2
    ours = our_maps(xaijax.layer_cam, network, "float64", images=images, targets=both)
    for maps, at in zip(ours, found, strict=True):
        assert not at.maps[1].any()
        assert maps[1].any()
        assert_maps(maps[:1], at.maps[:1], LIMITS["float64"])
