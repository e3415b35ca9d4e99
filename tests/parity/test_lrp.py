"""LRP against zennit, on the same weights: every rule of its composites on a plain and a residual network."""

import dataclasses
import importlib
import importlib.util

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.tree_util import Partial

from xaijax.propagation import (
    epsilon,
    epsilon_alpha2_beta1,
    epsilon_alpha2_beta1_flat,
    epsilon_gamma_box,
    epsilon_plus,
    epsilon_plus_flat,
    lrp,
    uniform,
    w_square,
)

torch = pytest.importorskip("torch")
# zennit imports torchvision, which loads without its compiled part only in this way.
if importlib.util.find_spec("torchvision") is not None:
    importlib.import_module("tests.parity._torchvision").torchvision  # noqa: B018
pytest.importorskip("zennit")
from zennit import canonizers, composites, layer, rules, types  # noqa: E402

pytestmark = pytest.mark.parity

# The largest difference allowed, as a part of the largest relevance.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
LOW, HIGH = np.array([-2.5, -2.0, -3.0]), np.array([3.0, 2.5, 2.0])


@pytest.fixture
def precision(request):
    jax.config.update("jax_enable_x64", request.param == "float64")
    yield request.param
    jax.config.update("jax_enable_x64", False)


def in_precisions(*pairs):
    """What is compared, and in which precision."""
    return pytest.mark.parametrize(("name", "precision"), pairs, indirect=["precision"])


def box(precision):
    dtype = getattr(torch, precision)
    return [torch.tensor(end, dtype=dtype)[None, :, None, None] for end in (LOW, HIGH)]


def theirs(name, precision, **options):
    """A composite of zennit, with what is beside its convolutions and dense layers."""
    if name in ("epsilon", "w_square"):
        layers = [*composites.layer_map_base(), (types.Linear, rules.Epsilon())]
        first = [(types.Linear, rules.WSquare())] if name == "w_square" else []
        return composites.SpecialFirstLayerMapComposite(layers, first, **options)
    if name == "epsilon_gamma_box":
        low, high = box(precision)
        return composites.EpsilonGammaBox(low=low, high=high, **options)
    return {
        "epsilon_plus": composites.EpsilonPlus,
        "epsilon_plus_flat": composites.EpsilonPlusFlat,
        "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
        "epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat,
    }[name](**options)


OURS = {
    "epsilon": lambda: uniform(epsilon()),
    "w_square": lambda: dataclasses.replace(uniform(epsilon()), first=w_square()),
    "epsilon_plus": epsilon_plus,
    "epsilon_plus_flat": epsilon_plus_flat,
    "epsilon_gamma_box": lambda: epsilon_gamma_box(LOW, HIGH),
    "epsilon_alpha2_beta1": epsilon_alpha2_beta1,
    "epsilon_alpha2_beta1_flat": epsilon_alpha2_beta1_flat,
}


def their_relevance(model, composite, x, target):
    x = torch.from_numpy(x).permute(2, 0, 1)[None].requires_grad_()
    with composite.context(model) as modified:
        logits = modified(x)
        seed = torch.zeros_like(logits)
        seed[0, target] = logits[0, target]
        (R,) = torch.autograd.grad(logits, x, seed.detach())
    return logits[0].detach().numpy(), R[0].permute(1, 2, 0).numpy()


def error(f, model, x, precision, name, **options):
    """The largest difference of two targets, as a part of the largest relevance."""
    model, x, errors = model.to(getattr(torch, precision)), np.asarray(x, precision), []
    for target in (0, 3):
        logits, expected = their_relevance(model, theirs(name, precision, **options), x, target)
        np.testing.assert_allclose(f(jnp.asarray(x)), logits, rtol=1e-4)
        actual = np.asarray(lrp(f, jnp.asarray(x), target, composite=OURS[name]()))
        assert actual.dtype == precision
        errors.append(np.abs(actual - expected).max() / np.abs(expected).max())
    return max(errors)


# --- Two networks, in PyTorch and in Flax


class TorchVGG(torch.nn.Module):
    def __init__(self, norm=False):
        super().__init__()

        def block(features_in, features):
            bn = [torch.nn.BatchNorm2d(features)] if norm else []
            conv = torch.nn.Conv2d(features_in, features, 3, padding=1)
            return torch.nn.Sequential(conv, *bn, torch.nn.ReLU())

        self.conv1, self.conv2, self.conv3 = block(3, 8), block(8, 12), block(12, 16)
        self.max_pool, self.average_pool = torch.nn.MaxPool2d(2), torch.nn.AvgPool2d(2)
        self.dense1, self.dense2 = torch.nn.Linear(256, 20), torch.nn.Linear(20, 5)
        self.relu = torch.nn.ReLU()

    def forward(self, x):
        x = self.average_pool(self.conv2(self.max_pool(self.conv1(x))))
        x = self.conv3(x).permute(0, 2, 3, 1).flatten(1)  # Flax's order
        return self.dense2(self.relu(self.dense1(x)))


class VGG(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x):
        x = nn.max_pool(self.block(x[None], 8, "conv1"), (2, 2), (2, 2))
        x = nn.avg_pool(self.block(x, 12, "conv2"), (2, 2), (2, 2))
        x = self.block(x, 16, "conv3").reshape(-1)
        return nn.Dense(5, name="dense2")(nn.relu(nn.Dense(20, name="dense1")(x)))

    def block(self, x, features, name):
        x = nn.Conv(features, (3, 3), name=name)(x)
        return nn.relu(norm(f"{name}_norm")(x) if self.norm else x)


class TorchBlock(torch.nn.Module):
    def __init__(self, features_in, features, stride, norm):
        super().__init__()
        bn = torch.nn.BatchNorm2d if norm else lambda features: torch.nn.Identity()
        self.conv1 = torch.nn.Conv2d(features_in, features, 3, stride, 1)
        self.bn1 = bn(features)
        self.conv2 = torch.nn.Conv2d(features, features, 3, 1, 1)
        self.bn2 = bn(features)
        self.conv3 = torch.nn.Conv2d(features_in, features, 1, stride)
        self.bn3 = bn(features)
        self.project = stride != 1
        self.relu1, self.relu2, self.add = torch.nn.ReLU(), torch.nn.ReLU(), layer.Sum()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        x = self.bn3(self.conv3(x)) if self.project else x
        return self.relu2(self.add(torch.stack([y, x], dim=-1)))


class TorchResNet(torch.nn.Module):
    def __init__(self, norm=False):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = torch.nn.BatchNorm2d(8) if norm else torch.nn.Identity()
        self.relu, self.pool = torch.nn.ReLU(), torch.nn.MaxPool2d(3, 2, 1)
        self.block1, self.block2 = TorchBlock(8, 8, 1, norm), TorchBlock(8, 16, 2, norm)
        self.average = torch.nn.AdaptiveAvgPool2d(1)
        self.head = torch.nn.Linear(16, 5)

    def forward(self, x):
        x = self.pool(self.relu(self.bn1(self.conv1(x))))
        return self.head(self.average(self.block2(self.block1(x))).flatten(1))


class Block(nn.Module):
    features: int
    stride: int
    norm: bool

    @nn.compact
    def __call__(self, x):
        bn = norm if self.norm else lambda name: lambda x: x
        y = nn.relu(bn("bn1")(conv(self.features, 3, "conv1", self.stride)(x)))
        y = bn("bn2")(conv(self.features, 3, "conv2")(y))
        if self.stride != 1:
            x = bn("bn3")(conv(self.features, 1, "conv3", self.stride)(x))
        return nn.relu(y + x)


class ResNet(nn.Module):
    norm: bool = False

    @nn.compact
    def __call__(self, x):
        x = conv(8, 3, "conv1")(x)
        x = nn.relu(norm("bn1")(x) if self.norm else x)
        x = nn.max_pool(x, (3, 3), (2, 2), padding=[(1, 1), (1, 1)])
        x = Block(8, 1, self.norm, name="block1")(x)
        x = Block(16, 2, self.norm, name="block2")(x)
        return nn.Dense(5, name="head")(x.mean((0, 1)))


def conv(features, size, name, stride=1):
    pad = [(size // 2, size // 2)] * 2
    return nn.Conv(features, (size, size), stride, padding=pad, name=name)


def norm(name):
    return nn.BatchNorm(use_running_average=True, epsilon=1e-5, name=name)


def evaluated(model):
    """In evaluation; norms have random statistics, and scales of both signs."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def linen_variables(model, dtype):
    flat = {}
    for name, module in model.named_modules():
        # The VGG's blocks: `conv1.0` is the convolution, `conv1.1` its norm.
        path = tuple(name.replace(".0", "").split("."))
        if isinstance(module, torch.nn.Conv2d):
            flat["params", *path, "kernel"] = module.weight.permute(2, 3, 1, 0)
        elif isinstance(module, torch.nn.Linear):
            flat["params", *path, "kernel"] = module.weight.T
        elif isinstance(module, torch.nn.BatchNorm2d):
            path = (f"{path[0]}_norm",) if path[-1] == "1" else path
            flat["params", *path, "scale"] = module.weight
            flat["batch_stats", *path, "mean"] = module.running_mean
            flat["batch_stats", *path, "var"] = module.running_var
        else:
            continue
        flat["params", *path, "bias"] = module.bias
    arrays = {path: jnp.asarray(tensor.detach().numpy(), dtype) for path, tensor in flat.items()}
    return traverse_util.unflatten_dict(arrays)


each_net = pytest.mark.parametrize(("net", "reference"), [(VGG, TorchVGG), (ResNet, TorchResNet)])


@pytest.fixture(scope="module")
def noise():
    return np.clip(np.random.default_rng(0).normal(size=(16, 16, 3)), LOW, HIGH)


@in_precisions(
    *((name, "float64") for name in OURS),
    ("epsilon_plus", "float32"),
    ("epsilon_gamma_box", "float32"),
)
@each_net
def test_network(net, reference, name, noise, precision):
    model = evaluated(reference())
    f = Partial(net().apply, linen_variables(model, precision))
    assert error(f, model, noise, precision, name) < TOLERANCE[precision]


class Merge(canonizers.SequentialMergeBatchNorm):
    """Merges a norm into the layer before; the identity that is left does not divide by sqrt(1 + eps)."""

    def register(self, linears, batch_norm):
        super().register(linears, batch_norm)
        self.eps, batch_norm.eps = batch_norm.eps, 0.0

    def remove(self):
        super().remove()
        self.batch_norm.eps = self.eps


@in_precisions(
    ("epsilon", "float64"),
    ("epsilon_plus", "float64"),
    ("epsilon_gamma_box", "float64"),
    ("epsilon_alpha2_beta1", "float64"),
)
@each_net
def test_batch_norm(net, reference, name, noise, precision):
    model = evaluated(reference(norm=True))
    f = Partial(net(norm=True).apply, linen_variables(model, precision))
    assert error(f, model, noise, precision, name, canonizers=[Merge()]) < TOLERANCE[precision]


@in_precisions(("epsilon_plus", "float64"))
def test_known_difference_in_batch_norm(name, noise, precision):
    """zennit itself leaves the division by sqrt(1 + eps) in the place of every norm that it merged."""
    model = evaluated(TorchResNet(norm=True))
    f = Partial(ResNet(norm=True).apply, linen_variables(model, precision))
    options = {"canonizers": [canonizers.SequentialMergeBatchNorm()]}
    assert 1e-7 < error(f, model, noise, precision, name, **options) < 1e-3
