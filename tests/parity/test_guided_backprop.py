"""Guided backpropagation and DeconvNet against captum, on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

from xaijax.propagation import deconvnet, guided_backprop

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Setting .* hooks on ReLU activations"),
]

METHODS = [(guided_backprop, "GuidedBackprop"), (deconvnet, "Deconvolution")]


class TorchNet(torch.nn.Module):
    """A rectifier before and after everything: pooling of both kinds, a norm, a shortcut, a layer norm, a GELU."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.layer_norm = torch.nn.BatchNorm2d(8), torch.nn.GroupNorm(1, 8)
        self.relus = torch.nn.ModuleList([torch.nn.ReLU() for _ in range(4)])
        self.max_pool, self.average_pool = torch.nn.MaxPool2d(2), torch.nn.AvgPool2d(2)
        self.dense1, self.dense2 = torch.nn.Linear(72, 12), torch.nn.Linear(12, 4)

    def forward(self, x):
        x = self.max_pool(self.relus[0](self.conv1(x)))
        x = self.relus[1](x + self.norm(self.conv2(x)))
        x = self.relus[2](self.layer_norm(x))
        x = torch.nn.functional.gelu(self.average_pool(x)).flatten(1)
        return self.dense2(self.relus[3](self.dense1(x)))


def net(w, x):
    def conv(x, name, padding):
        x = lax.conv(x[None], w[f"{name}.weight"], (1, 1), padding)[0]
        return x + w[f"{name}.bias"][:, None, None]

    def scaled(x, name):
        return x * w[f"{name}.weight"][:, None, None] + w[f"{name}.bias"][:, None, None]

    def pool(x, start, combine):
        return lax.reduce_window(x, start, combine, (1, 2, 2), (1, 2, 2), "VALID")

    x = pool(jax.nn.relu(conv(x, "conv1", "VALID")), -jnp.inf, lax.max)
    mean, var = (w[f"norm.running_{m}"][:, None, None] for m in ("mean", "var"))
    y = scaled((conv(x, "conv2", "SAME") - mean) * lax.rsqrt(var + 1e-5), "norm")
    x = jnp.maximum(x + y, 0)
    # As Flax computes it: a maximum that keeps the variance from rounding below zero, and is no rectifier.
    var = jnp.maximum(0.0, (x**2).mean() - x.mean() ** 2)
    x = scaled((x - x.mean()) * lax.rsqrt(var + 1e-5), "layer_norm")
    x = pool(jnp.where(x > 0, x, 0), 0.0, lax.add) / 4
    x = jax.nn.gelu(x, approximate=False).reshape(-1)
    x = jnp.clip(w["dense1.weight"] @ x + w["dense1.bias"], 0, None)
    return w["dense2.weight"] @ x + w["dense2.bias"]


@pytest.mark.parametrize(("method", "reference"), METHODS)
def test_network(method, reference, x64):
    torch.manual_seed(0)
    model = TorchNet().double().eval()
    for parameter in [*model.parameters(), model.norm.running_mean]:
        torch.nn.init.normal_(parameter, std=0.5)
    w = {k: jnp.asarray(v.numpy()) for k, v in model.state_dict().items() if v.ndim}
    x = np.random.default_rng(0).normal(size=(3, 14, 14))
    np.testing.assert_allclose(net(w, x), model(torch.from_numpy(x)[None]).detach()[0], rtol=1e-10)
    for target in range(4):
        tensor = torch.from_numpy(x)[None].requires_grad_()
        expected = getattr(attr, reference)(model).attribute(tensor, target=target)[0]
        expected = expected.detach().numpy()
        actual = method(Partial(net, w), jnp.asarray(x), target)
        assert np.abs(expected).max() > 0
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
