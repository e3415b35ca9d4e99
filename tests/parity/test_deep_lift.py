"""DeepLIFT and Deep SHAP against captum, on the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

from xaijax import deep_lift, deep_shap

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:Setting forward, backward hooks"),
]


class TorchNet(torch.nn.Module):
    """Activation functions that captum has the rescale rule for, a shortcut, a norm in evaluation, a pooling.

    Between any two of them there is something linear, without which captum is wrong: see the last test.
    """

    def __init__(self, between, pool):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.between, self.pool = torch.nn.BatchNorm2d(8), between, pool
        # By default PyTorch's softplus is the identity above 20.
        smooth = [torch.nn.Softplus(threshold=50.0), torch.nn.Sigmoid(), torch.nn.Tanh()]
        self.activations = torch.nn.ModuleList([torch.nn.ReLU(), torch.nn.LeakyReLU(), *smooth])
        sizes = [(72, 12), (12, 12), (12, 12), (12, 4)]
        self.dense = torch.nn.ModuleList([torch.nn.Linear(*size) for size in sizes])

    def forward(self, x):
        x = self.pool(self.between(self.activations[0](self.conv1(x))))
        x = self.activations[1](x + self.norm(self.conv2(x))).flatten(1)
        for dense, activation in zip(self.dense, self.activations[2:], strict=False):
            x = activation(dense(x))
        return self.dense[3](x)


def net(pool, w, x):
    def conv(x, name, padding):
        x = lax.conv(x[None], w[f"{name}.weight"], (1, 1), padding)[0]
        return x + w[f"{name}.bias"][:, None, None]

    def dense(x, i):
        return w[f"dense.{i}.weight"] @ x + w[f"dense.{i}.bias"]

    x = pool(jax.nn.relu(conv(x, "conv1", "VALID")))
    mean, var, scale, shift = (
        w[f"norm.{m}"][:, None, None] for m in ("running_mean", "running_var", "weight", "bias")
    )
    y = (conv(x, "conv2", "SAME") - mean) * lax.rsqrt(var + 1e-5) * scale + shift
    x = jax.nn.leaky_relu(x + y).reshape(-1)
    for i, activation in enumerate([jax.nn.softplus, jax.nn.sigmoid, jnp.tanh]):
        x = activation(dense(x, i))
    return dense(x, 3)


def average_pool(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 4, 4), (1, 4, 4), "VALID") / 16


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 4, 4), (1, 4, 4), "VALID")


def both(ours, theirs, between=None):
    """The network with a pooling in both frameworks, and four images."""
    torch.manual_seed(0)
    model = TorchNet(between or torch.nn.Identity(), theirs(4)).double().eval()
    for parameter in [*model.parameters(), model.norm.running_mean]:
        torch.nn.init.normal_(parameter, std=0.3)
    w = {k: jnp.asarray(v.numpy()) for k, v in model.state_dict().items() if v.ndim}
    f = Partial(Partial(net, ours), w)
    x = np.random.default_rng(0).normal(size=(4, 3, 14, 14))
    expected = model(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(jax.vmap(f)(x), expected, rtol=1e-10)
    return f, model, x


def captum(model, x, baseline, target):
    """captum's DeepLIFT, and how far its sum is from the difference of the scores."""
    tensor = torch.from_numpy(x)[None].requires_grad_()
    stands = torch.from_numpy(np.broadcast_to(baseline, x.shape).copy())[None]
    found, delta = attr.DeepLift(model).attribute(
        tensor, stands, target=target, return_convergence_delta=True
    )
    return found[0].detach().numpy(), delta.item()


def close(actual, expected):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_deep_lift(x64):
    f, model, (x, *others) = both(average_pool, torch.nn.AvgPool2d)
    for target, baseline in enumerate((0.0, 0.5, *others[:2])):
        expected, delta = captum(model, x, baseline, target)
        assert abs(delta) < 1e-10 * np.abs(expected).sum()
        close(deep_lift(f, x, target, baseline=baseline), expected)


def test_deep_shap(x64):
    f, model, (x, *others) = both(average_pool, torch.nn.AvgPool2d)
    tensor = torch.from_numpy(x)[None].requires_grad_()
    background = torch.from_numpy(np.stack(others))
    expected = attr.DeepLiftShap(model).attribute(tensor, background, target=1)[0]
    close(deep_shap(f, x, 1, background=np.stack(others)), expected.detach().numpy())


def test_max_pooling(x64):
    """With something linear before it (here a pooling of one pixel), and windows that do not overlap, as captum."""
    f, model, (x, baseline, *_) = both(max_pool, torch.nn.MaxPool2d, torch.nn.AvgPool2d(1))
    expected, delta = captum(model, x, baseline, 1)
    assert abs(delta) < 1e-10 * np.abs(expected).sum()
    close(deep_lift(f, x, 1, baseline=baseline), expected)


def test_max_pooling_after_a_relu_is_where_captum_is_not_complete(x64):
    """Of two nonlinear modules in a row, captum 0.9.0 gives the lower one the upper one's plain gradient.

    Both hang a hook on the tensor between them, and hooks run in the order in which they were registered: the ReLU
    notes the gradient of its output before the max-pooling has replaced it by multipliers. So its attributions miss
    the difference of the scores by its own account, the convergence delta. (Where windows overlap it is not complete
    either: `max_unpool2d` keeps one of the values that two windows hand to their common maximum.)
    """
    f, model, (x, baseline, *_) = both(max_pool, torch.nn.MaxPool2d)
    theirs, delta = captum(model, x, baseline, 1)
    ours, difference = deep_lift(f, x, 1, baseline=baseline), (f(x) - f(baseline))[1]
    assert abs(ours.sum() - difference) < 1e-10 * abs(difference)
    assert abs(delta) > 1e-3 * abs(difference)
    assert np.abs(ours - theirs).max() > 1e-2 * np.abs(ours).max()
