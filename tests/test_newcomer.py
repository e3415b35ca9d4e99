"""What a newcomer does first: `grad_cam(f, x, target)` of any network of the zoo, with no other argument."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from xaijax import models
from xaijax.models._vit import ViT


def drawn(make, *args, **settings):
    """A network with random weights, without compiling a program for every shape of them."""
    model = nnx.eval_shape(lambda: make(*args, rngs=nnx.Rngs(0), **settings))
    rng = np.random.default_rng(0)

    def fill(path, like):
        kind = jax.tree_util.keystr(path)
        if "kernel" not in kind:
            return jnp.full(like.shape, float("scale" in kind or "var" in kind), like.dtype)
        values = rng.standard_normal(like.shape, np.float32)
        return jnp.asarray(values * np.sqrt(2 * like.shape[-1] / values.size))

    model = jax.tree_util.tree_map_with_path(fill, model)
    model.eval()
    return model


# Small images: what is asked does not depend on their size.
ARCHITECTURES = {
    **{
        name: functools.partial(drawn, getattr(models, name), None, num_classes=10)
        for name in (
            "vgg11",
            "vgg16",
            "resnet18",
            "resnet34",
            "resnet50",
            "densenet121",
            "squeezenet1_1",
            "efficientnet_lite0",
        )
    },
    "vit_small_16": lambda: drawn(models.vit_small_16, None, num_classes=10, image_size=64),
    "simple_cnn": lambda: drawn(models.simple_cnn),
}
SIZES = {"simple_cnn": 28}
# The last spatial activation: its module or operation, and its resolution for 64 x 64 pixels.
LAYERS = {
    "vgg11": ("max_pool", (2, 2)),
    "vgg16": ("max_pool", (2, 2)),
    "resnet18": ("layer4/1/relu", (2, 2)),
    "resnet34": ("layer4/2/relu", (2, 2)),
    "resnet50": ("layer4/2/relu", (2, 2)),
    "densenet121": ("relu", (2, 2)),
    "squeezenet1_1": ("relu", (3, 3)),
    "efficientnet_lite0": ("relu6", (2, 2)),
    "vit_small_16": ("blocks/11/norm1/add", (4, 4)),
    "simple_cnn": ("max_pool", (7, 7)),
}


@functools.cache
def explained(name):
    f, size = ARCHITECTURES[name](), SIZES.get(name, 64)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(size, size, 3)), jnp.float32)
    # The class with the highest score: something speaks for it.
    return f, x, int(jax.jit(xaijax.lower(f))(x).argmax())


# Deeper ones of a kind that is there.
DEEPER = {"vgg16", "resnet34"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if n in DEEPER else []) for n in ARCHITECTURES],
)
def test_no_other_argument(name):
    f, x, target = explained(name)
    found = xaijax.cam_maps(xaijax.bind(xaijax.grad_cam, f), x, target)
    operation, resolution = LAYERS[name]
    assert operation in found.layer.name
    assert found.map.shape == resolution
    assert not found.degenerate
    # Two programs, whose sums XLA may order differently.
    np.testing.assert_allclose(found.map, xaijax.grad_cam(f, x, target), rtol=1e-5)


def test_every_network_of_the_zoo_is_asked():
    functions = {k: v for k in models.__all__ if inspect.isfunction(v := getattr(models, k))}
    hints = {k: inspect.signature(v).return_annotation for k, v in functions.items()}
    networks = {k for k, v in hints.items() if isinstance(v, type) and issubclass(v, nnx.Module)}
    # One needs its file, one another network, and the others read texts.
    others = {"dlib_resnet34", "attention_branch_resnet", "minilm", "minilm_sentiment"}
    assert networks - others == ARCHITECTURES.keys()


def test_class_token_of_the_vit_alone_is_read_at_the_end():
    f, x, _ = explained("vit_small_16")
    assert isinstance(f, ViT)
    with pytest.raises(ValueError, match=r"positions the outputs depend on.*class token"):
        xaijax.grad_cam(f, x, 0, layer="blocks/11/mlp/fc2")
    with pytest.raises(ValueError, match=r"patch embedding, \(4, 4\), or left out"):
        xaijax.grad_cam(f, x, 0, grid=(2, 8))
