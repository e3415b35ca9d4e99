"""Figures on the real network: what an explainer costs over its model evaluations, counted and not timed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import xaijax
from xaijax.models import efficientnet_lite0, preprocess


@pytest.fixture(scope="module")
def setting():
    data = pytest.importorskip("skimage.data")
    image, x = preprocess(Image.fromarray(data.coffee()))
    mask = xaijax.segments(xaijax.superpixels(image, "grid", rows=5, columns=5))
    return efficientnet_lite0(), jnp.asarray(x), mask


def test_grad_cam_costs_the_flops_of_a_forward_pass(setting):
    f, x, _ = setting
    forward = jax.jit(lambda f, x: xaijax.lower(f)(x)).lower(f, x).compile()
    cam = xaijax.grad_cam.program(f, x, 967).compile()
    assert cam.cost_analysis()["flops"] <= 1.05 * forward.cost_analysis()["flops"]


@pytest.mark.parametrize("method", ["lime", "shapley"])
def test_memory_does_not_grow_with_the_samples(setting, method):
    f, x, mask = setting
    f, key, pair = xaijax.probabilities(f), jax.random.key(0), 2 * (mask.num_features - 1)

    def temporary_bytes(samples):
        if method == "lime":
            program = xaijax.lime.program(
                f, x, 0, key, mask=mask, num_samples=samples, batch_size=8
            )
        else:
            count = max(samples // pair, 1)
            program = xaijax.permutation_shap.program(
                f, x, 0, key, mask=mask, num_permutations=count, batch_size=8
            )
        return program.compile().memory_analysis().temp_size_in_bytes

    assert temporary_bytes(2**12) <= 1.10 * temporary_bytes(2**6)


def test_the_maps_lie_on_the_object(setting):
    """Of the coffee cup, the coffee speaks for "espresso": the middle of the photo, not its border."""
    f, x, mask = setting
    p, key = xaijax.probabilities(f), jax.random.key(0)
    maps = {
        "grad_cam": xaijax.grad_cam(f, x, 967),
        "lime": xaijax.lime(p, x, 967, key, mask=mask, num_samples=200),
        "shapley": xaijax.permutation_shap(p, x, 967, key, mask=mask, num_permutations=2),
    }
    cup = np.zeros((224, 224), bool)
    cup[0:130, 30:190] = True
    for name, map_ in maps.items():
        positive = np.maximum(np.asarray(xaijax.resize(map_, (224, 224))), 0)
        inside = positive[cup].sum() / positive.sum()
        # A map that knows nothing has the share of the area, 0.41.
        assert inside > 1.5 * cup.mean(), (name, inside)
