"""The gradient family against captum, on the same weights."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import xaijax
from tests.parity._nets import (
    IMAGES,
    NETWORKS,
    TARGETS,
    conv,
    evaluated,
    explain,
    flax_network,
    linen_variables,
    our_maps,
    to_torch,
    torch,
    torch_network,
)

attr = pytest.importorskip("captum.attr")

pytestmark = pytest.mark.parity

BASELINE = np.random.default_rng(1).normal(size=IMAGES.shape[1:])
# Our quadratures and captum's names for them.
RULES = {"gauss_legendre": "gausslegendre", "midpoint": "riemann_middle"}
STEPS = 11


@pytest.fixture(autouse=True)
def in_double_precision(monkeypatch, x64):
    """Captum's quadratures have their weights in single precision: they are kept in double here."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_parity(actual, expected, limit=1e-10):
    """Images of ours, the channels last, and a batch of PyTorch's."""
    expected = np.moveaxis(expected.detach().numpy(), 1, -1)
    assert actual.shape == expected.shape
    for a, e in zip(actual, expected, strict=True):
        assert np.abs(e).max() > 0
        np.testing.assert_allclose(a, e, rtol=0, atol=limit * np.abs(e).max())


def inputs():
    return to_torch(IMAGES).requires_grad_()


def ours(method, network, **settings):
    f = flax_network(network, "float64")
    return explain(xaijax.bind(method, f, **settings), "float64")


# --- At the input


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients(network):
    model, _ = torch_network(network)
    expected = attr.Saliency(model).attribute(inputs(), target=TARGETS)
    assert_parity(ours(xaijax.saliency, network), expected)
    expected = attr.InputXGradient(model).attribute(inputs(), target=TARGETS)
    assert_parity(ours(xaijax.input_x_gradient, network), expected)


@pytest.mark.parametrize("quadrature", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_integrated_gradients(network, quadrature):
    model, _ = torch_network(network)
    expected = attr.IntegratedGradients(model).attribute(
        inputs(), to_torch(BASELINE[None]), TARGETS, n_steps=STEPS, method=RULES[quadrature]
    )
    settings = {"baseline": jnp.asarray(BASELINE), "num_steps": STEPS, "quadrature": quadrature}
    assert_parity(ours(xaijax.integrated_gradients, network, **settings), expected)


# --- At layers


@pytest.mark.parametrize("network", NETWORKS)
def test_layer_gradient_times_activation(network):
    model, modules = torch_network(network)
    gradients = our_maps(xaijax.layer_gradient, network, "float64")
    f, X = flax_network(network, "float64"), jnp.asarray(IMAGES, "float64")
    for name, module, G in zip(NETWORKS[network].layers, modules, gradients, strict=True):
        prefix, _ = xaijax.split(f, X[0], name)
        A = jax.jit(jax.vmap(prefix))(X)
        expected = attr.LayerGradientXActivation(model, module).attribute(inputs(), TARGETS)
        assert_parity(np.asarray(G * A).reshape(len(IMAGES), *G.shape[-3:]), expected)


@pytest.mark.parametrize("quadrature", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def test_internal_influence(network, quadrature):
    model, modules = torch_network(network)
    influences = our_maps(
        xaijax.internal_influence, network, "float64", num_steps=STEPS, quadrature=quadrature
    )
    for module, found in zip(modules, influences, strict=True):
        expected = attr.InternalInfluence(model, module).attribute(
            inputs(), 0.0, TARGETS, n_steps=STEPS, method=RULES[quadrature]
        )
        assert_parity(found.reshape(len(IMAGES), *found.shape[-3:]), expected)


def test_one_unit():
    """Captum's neuron attributions are ours of the part before the layer."""
    model, (module, _) = torch_network("plain")
    f = flax_network("plain", "float64")
    images = jnp.asarray(IMAGES[::2], "float64")
    units, _ = xaijax.split(f, images[0], "relu#1")

    def unit(A):
        return A[7, 5, 2]

    gradient = jax.vmap(lambda x: xaijax.saliency(units, x, unit))(images)
    integral = jax.vmap(lambda x: xaijax.integrated_gradients(units, x, unit, num_steps=STEPS))(
        images
    )
    x = to_torch(IMAGES[::2]).requires_grad_()
    expected = attr.NeuronGradient(model, module).attribute(x, (2, 7, 5)).abs()
    shown = expected.detach().numpy().any((1, 2, 3))
    assert shown.any()
    assert_parity(np.asarray(gradient)[shown], expected[shown])
    expected = attr.NeuronIntegratedGradients(model, module).attribute(
        x, (2, 7, 5), n_steps=STEPS, method="gausslegendre"
    )
    assert_parity(np.asarray(integral)[shown], expected[shown])


# --- Conductance


class TorchSmooth(torch.nn.Module):
    """Smooth below the second layer, linear above it."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.tanh1, self.tanh2 = torch.nn.Tanh(), torch.nn.Tanh()
        self.head = torch.nn.Linear(8, 10)

    def forward(self, x):
        x = self.tanh2(self.conv2(self.tanh1(self.conv1(x))))
        return self.head(x.mean((2, 3)))


class Smooth(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(conv(6, 3, "conv1")(x))
        x = jnp.tanh(conv(8, 3, "conv2", stride=2)(x))
        return nn.Dense(10, name="head")(x.mean((0, 1)))


def smooth():
    model = evaluated(TorchSmooth).double()
    f = Partial(Smooth().apply, linen_variables(model, "float64"))
    layers = xaijax.layers(f, jnp.asarray(IMAGES[0], "float64"))
    names = [at.name for at in layers if at.operation == "tanh"]
    return f, names, model, [model.tanh1, model.tanh2]


def test_conductance_is_the_mean_of_captums_in_both_directions():
    """Captum takes the gradient at the end of a step it comes from; on the way back that is the other end."""
    f, names, model, modules = smooth()
    for name, module in zip(names, modules, strict=True):

        def captum(x, baseline, module=module):
            conductance = attr.LayerConductance(model, module)
            return conductance.attribute(
                x, baseline, TARGETS, n_steps=9, method="riemann_trapezoid"
            )

        zeros = torch.zeros_like(inputs())
        there, back = captum(inputs(), zeros), captum(zeros.requires_grad_(), inputs().detach())
        bound = xaijax.bind(xaijax.conductance, f, layer=name, num_steps=9)
        assert_parity(explain(bound, "float64"), (there - back) / 2)


def test_conductance_is_nearer_to_its_limit_than_captums():
    """The error of ours falls by 16 with four times the steps, captum's by 4."""
    f, names, model, modules = smooth()
    image, target, conductance = IMAGES[:1], TARGETS[:1], attr.LayerConductance(model, modules[0])

    def captum(n_steps):
        x = to_torch(image).requires_grad_()
        found = conductance.attribute(x, 0.0, target, n_steps=n_steps, method="riemann_trapezoid")
        return np.moveaxis(found.detach().numpy(), 1, -1)

    def ours(num_steps):
        bound = xaijax.bind(xaijax.conductance, f, layer=names[0], num_steps=num_steps)
        return explain(bound, "float64", images=image, targets=target)

    limit = ours(1000)
    for estimate, order in ((captum, 1), (ours, 2)):
        few, many = (np.abs(estimate(n) - limit).max() for n in (40, 160))
        np.testing.assert_allclose(few / many, 4**order, rtol=0.1)
