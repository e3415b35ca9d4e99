"""A plain and a residual network, each in PyTorch and in Flax with the same weights, for the tests of this folder."""

import contextlib
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.tree_util import Partial

import xaijax

torch = pytest.importorskip("torch")

# --- A plain network


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


# --- A residual network


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


# --- Both with the same weights


class Network(NamedTuple):
    """A network in both frameworks.

    Attributes:
      flax: the class in Flax.
      torch: the class in PyTorch.
      layers: our names of some layers and PyTorch's, in the order of the forward pass; the last is the default.
    """

    flax: type
    torch: type
    layers: dict


NETWORKS = {
    "plain": Network(CNN, TorchCNN, {"relu#1": "relu1", None: "relu3"}),
    "residual": Network(ResNet, TorchResNet, {"block2/bn2": "block2.bn2", None: "block2"}),
}

#: Three images, each with two targets.
IMAGES = np.random.default_rng(0).normal(size=(3, 20, 16, 3)).astype(np.float32).repeat(2, 0)
TARGETS = [0, 1, 2, 3, 7, 9]


def torch_network(name):
    """A network of PyTorch's in evaluation, in float64, and its layers."""
    network = NETWORKS[name]
    model = evaluated(network.torch).double()
    return model, [model.get_submodule(layer) for layer in network.layers.values()]


def flax_network(name, dtype):
    """The same network as a function of one image."""
    network = NETWORKS[name]
    with computing_in(dtype):
        return Partial(network.flax().apply, linen_variables(evaluated(network.torch), dtype))


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


def to_torch(images):
    """Images with the channels last as a batch of PyTorch's, in float64."""
    return torch.from_numpy(np.moveaxis(np.asarray(images, np.float64), -1, 1).copy())


@contextlib.contextmanager
def computing_in(dtype):
    """Compute in a dtype inside the block."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", dtype == "float64")
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def our_maps(method, network, dtype, *key, images=IMAGES, targets=TARGETS, **settings):
    """The maps of a method for a batch, at each layer of a network."""
    f, layers = flax_network(network, dtype), tuple(NETWORKS[network].layers)
    with computing_in(dtype):
        bound = xaijax.bind(method, f, layer=layers, **settings)
    return explain(bound, dtype, *key, images=images, targets=targets)


def explain(bound, dtype, *key, images=IMAGES, targets=TARGETS):
    """What a bound explainer says of a batch."""

    @jax.jit
    def many(bound, images, targets, *key):
        return jax.vmap(lambda x, c: bound(x, c, *key))(images, targets)

    with computing_in(dtype):
        found = many(bound, jnp.asarray(images, dtype), jnp.asarray(targets), *key)
        return jax.tree.map(np.asarray, found)


def assert_maps(actual, signed, limit):
    """Maps are the positive part of others, which still have their sign.

    The limit is a part of the largest magnitude of each map before it is cut off: of a map that is almost everywhere
    negative, what is left is small and all of it is rounding.
    """
    assert actual.shape == signed.shape
    assert actual.any()
    for a, s in zip(actual, signed, strict=True):
        np.testing.assert_allclose(a, np.maximum(s, 0), rtol=0, atol=limit * np.abs(s).max())


def differences(actual, expected):
    """The largest difference between the maps of each pair that shows anything, both scaled to a maximum of 1."""
    shown = (actual.max((1, 2)) > 0) & (expected.max((1, 2)) > 0)
    assert shown.any()
    actual, expected = (
        maps[shown] / maps[shown].max((1, 2), keepdims=True) for maps in (actual, expected)
    )
    return np.abs(actual - expected).max((1, 2))
