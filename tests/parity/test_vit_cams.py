"""Class activation maps of a vision transformer against pytorch-grad-cam, on the same weights."""

import jax
import numpy as np
import pytest
from flax import nnx

import xaijax
from tests.parity._nets import TARGETS, assert_maps, computing_in, explain, to_torch, torch
from xaijax.models._checkpoint import set_torch_parameters
from xaijax.models._vit import ViT

pytestmark = pytest.mark.parity

LIMITS = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(scope="module")
def peer():
    from tests.parity._torchvision import torchvision  # noqa: F401

    return pytest.importorskip("pytorch_grad_cam")


@pytest.fixture(scope="module")
def model(peer):
    """Two blocks on 4 x 4 patches and a class token."""
    timm = pytest.importorskip("timm.models.vision_transformer")
    torch.manual_seed(0)
    size = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    model = timm.VisionTransformer(**size, num_classes=10).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def flax_model(model, dtype):
    size = {"image_size": 32, "patch_size": 8, "width": 24, "depth": 2, "num_heads": 3}
    f = nnx.eval_shape(lambda: ViT(10, **size, rngs=nnx.Rngs(0)))
    arrays = {name: value.float().numpy() for name, value in model.state_dict().items()}
    set_torch_parameters("ViT", f, arrays, "timm")
    with computing_in(dtype):
        return jax.tree.map(lambda a: a.astype(dtype), f)


def without_class_token(tokens):
    return tokens[:, 1:].reshape(len(tokens), 4, 4, -1).permute(0, 3, 1, 2)


@pytest.mark.parametrize("layer", [None, "blocks/1/norm1", "blocks/0/norm2"])
@pytest.mark.parametrize(
    ("theirs", "name"),
    [("GradCAM", "grad_cam"), ("HiResCAM", "hires_cam"), ("LayerCAM", "layer_cam")],
)
def test_vision_transformer(peer, model, theirs, name, layer):
    targets = [peer.utils.model_targets.ClassifierOutputTarget(c) for c in TARGETS]
    images = np.random.default_rng(0).normal(size=(6, 32, 32, 3)).astype("float32")
    double = model.double()
    module = double.get_submodule((layer or "blocks/1/norm1").replace("/", "."))
    cam = getattr(peer, theirs)(double, [module], without_class_token)
    cam(to_torch(images), targets)
    seen = cam.activations_and_grads
    A, G = seen.activations[0].numpy(), seen.gradients[0].numpy()
    expected = cam.get_cam_image(None, None, None, A, G, False)
    seen.release()
    for dtype, limit in LIMITS.items():
        with computing_in(dtype):
            bound = xaijax.bind(getattr(xaijax, name), flax_model(model, dtype), layer=layer)
        actual = explain(bound, dtype, images=images)
        assert actual.dtype == dtype
        assert_maps(actual, expected, limit)
