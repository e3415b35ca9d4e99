"""Explainers made of explainers: noise, mirrored and brightened copies, and both inside one another."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xaijax
from tests.cases import FIRST, cnn, image
from tests.networks import conv

KEY = jax.random.key(0)


def array(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values / np.sqrt(np.prod(shape[:-1], initial=1.0)), jnp.float32)


def compiled(function):
    """A program that runs once or twice: XLA shall not take long to make it fast."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)


def assert_close(actual, expected, rtol=1e-5):
    expected = np.asarray(expected)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def network(x):
    """Two layers without a convolution; the first map is as large as the image, the second half of it."""
    with jax.named_scope("one"):
        A = jax.nn.sigmoid(x @ array(0, 3, 5))
    with jax.named_scope("two"):
        B = jax.nn.relu(nnx.avg_pool(A[None], (2, 2), (2, 2))[0] @ array(1, 5, 6))
    return jnp.tanh(B.reshape(-1) @ array(2, 24, 6)) @ array(3, 6, 4)


@xaijax.explainer(scope="local", access="white box", stage="post-hoc", models="any")
def gradient_times_input(f, x, target):
    """An attribution as large as the input; of a linear model it is linear."""
    return x * jax.grad(lambda x: xaijax.score(f(x), target))(x)


X = image(0, size=4)  # (4, 4, 3)
LINEAR = array(4, 48, 2)


def linear(x):
    return x.reshape(-1) @ LINEAR


LAYER_CAM = xaijax.bind(xaijax.layer_cam, network, layer="one")
TWO_LAYERS = xaijax.bind(xaijax.layer_cam, network, layer=("one", "two"))
RANDOM = xaijax.bind(xaijax.random_cam, network, layer="one")
PRODUCT = xaijax.bind(gradient_times_input, linear)


# --- Noise


MOMENTS = (xaijax.smooth_grad, xaijax.smooth_grad_squared, xaijax.var_grad)


def moments(explain, **settings):
    """The mean, the mean square and the variance, over the same noise."""
    return compiled(lambda x: [method(explain, x, 1, KEY, **settings) for method in MOMENTS])


def test_without_noise_it_is_the_explainer():
    mean, squared, variance = moments(LAYER_CAM, sigma=0.0, num_samples=3)(X)
    assert_close(mean, LAYER_CAM(X, 1), 1e-6)
    assert_close(squared, LAYER_CAM(X, 1) ** 2, 1e-6)
    np.testing.assert_allclose(variance, np.zeros((4, 4)), atol=1e-12)


def test_an_image_without_range_gets_no_noise():
    """The noise is a part of the range of the input's values."""
    x = jnp.full((4, 4, 3), 0.7)
    assert_close(xaijax.smooth_grad(PRODUCT, x, 0, KEY, num_samples=2), PRODUCT(x, 0), 1e-6)


def test_several_layers_give_a_tuple():
    @compiled
    def smooth(x):
        explainers = (TWO_LAYERS, LAYER_CAM)
        return [xaijax.smooth_grad(explain, x, 1, KEY, num_samples=4) for explain in explainers]

    both, alone = smooth(X)
    assert type(both) is tuple
    assert [m.shape for m in both] == [(4, 4), (2, 2)]
    # The first of them, alone, sees the same noise.
    assert_close(both[0], alone)


def test_the_square_is_the_mean_squared_and_the_variance():
    mean, squared, variance = moments(LAYER_CAM, sigma=0.3, num_samples=10)(X)
    assert variance.max() > 0
    assert_close(squared, mean**2 + variance)


def test_one_sample_has_no_variance():
    variance = xaijax.var_grad(PRODUCT, X, 1, KEY, num_samples=1)
    np.testing.assert_array_equal(variance, np.zeros(X.shape))


NUMBER = 4000


@compiled
def mean_and_variance(sigma):
    methods = (xaijax.smooth_grad, xaijax.var_grad)
    return [method(PRODUCT, X, 1, KEY, sigma=sigma, num_samples=NUMBER) for method in methods]


def test_moments_of_a_linear_explainer():
    """The attribution is w x, so its mean is w x and its variance (w sigma range)^2."""
    w = np.asarray(LINEAR[:, 1]).reshape(X.shape)
    for sigma in (0.15, 0.6):
        mean, variance = map(np.asarray, mean_and_variance(sigma))
        spread = sigma * float(X.max() - X.min())
        assert mean.shape == variance.shape == X.shape
        z = (mean - w * X) / (np.abs(w) * spread / np.sqrt(NUMBER))
        assert np.abs(z).max() < 4
        ratio = variance / (w * spread) ** 2
        assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / NUMBER)
        # All elements have noise of their own: 48 of them together err less than each alone.
        assert abs(z.mean()) < 4 / np.sqrt(z.size)
        assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / NUMBER / z.size)


def test_smooth_grad_cam_pp():
    """SmoothGrad of Grad-CAM++ (Omeiza et al. 2019): its mean over noise that was drawn elsewhere."""
    explain = xaijax.bind(xaijax.grad_cam_pp, network, layer="two")
    found = xaijax.smooth_grad(explain, X, 1, KEY, sigma=0.2, num_samples=1000)
    spread = 0.2 * float(X.max() - X.min())
    noise = np.random.default_rng(0).normal(size=(1000, *X.shape)) * spread
    maps = np.asarray(jax.vmap(explain, (0, None))(X + jnp.asarray(noise, jnp.float32), 1))
    assert found.shape == (2, 2)
    assert found.min() > 0
    error = maps.std(0, ddof=1) * np.sqrt(2 / 1000)
    assert (np.abs(found - maps.mean(0)) < 4 * error).all()
    # It is not the map without noise.
    assert (np.abs(found - explain(X, 1)) > 4 * error).any()


def test_an_explainer_that_draws_draws_anew_for_each_sample():
    @compiled
    def draws(x, key):
        methods = (xaijax.smooth_grad, xaijax.var_grad)
        return [method(RANDOM, x, 0, key, sigma=0.0, num_samples=10) for method in methods]

    mean, variance = draws(X, KEY)
    assert variance.min() > 0
    assert np.abs(mean - draws(X, jax.random.key(1))[0]).max() > 0.01


# --- Mirrored and brightened copies


def by_hand(explain, x, target, factors, width, back):
    """The mean over all copies, one at a time; `back` mirrors an attribution."""
    maps = [np.asarray(explain(c * x, target)) for c in factors]
    maps += [back(np.asarray(explain(c * jnp.flip(x, width), target))) for c in factors]
    return np.mean(maps, 0)


@pytest.mark.parametrize("factors", [(0.9, 1.0, 1.1), (0.5, 2.0)])
def test_aug_smooth_channels_last(factors):
    expected = by_hand(LAYER_CAM, X, 1, factors, 1, lambda m: m[:, ::-1])
    found = xaijax.aug_smooth(LAYER_CAM, X, 1, intensities=factors)
    assert_close(found, expected)
    assert np.abs(found - LAYER_CAM(X, 1)).max() > 0.01 * np.abs(expected).max()


def test_aug_smooth_by_default():
    found = xaijax.aug_smooth(LAYER_CAM, X, 1)
    assert_close(found, xaijax.aug_smooth(LAYER_CAM, X, 1, flip=True, intensities=(0.9, 1.0, 1.1)))


def test_aug_smooth_without_mirror():
    found = xaijax.aug_smooth(LAYER_CAM, X, 1, flip=False, intensities=(0.5, 2.0))
    assert_close(found, (LAYER_CAM(0.5 * X, 1) + LAYER_CAM(2.0 * X, 1)) / 2)


def test_aug_smooth_channels_first():
    """The width is the last axis of the image, and of the map."""
    kernel, W = array(5, 4, 3, 3, 3), array(6, 96, 4)

    def f(x):
        A = jax.nn.relu(lax.conv(x[None], kernel, (1, 1), "SAME")[0])
        return jnp.tanh(A.reshape(-1) @ W)

    x = jnp.moveaxis(image(0, size=6)[:4], -1, 0)
    assert x.shape == (3, 4, 6)
    explain = xaijax.bind(xaijax.layer_cam, f)
    expected = by_hand(explain, x, 1, (1.0,), 2, lambda m: m[:, ::-1])
    assert expected.shape == (4, 6)
    assert_close(xaijax.aug_smooth(explain, x, 1, intensities=(1.0,)), expected)
    # An attribution as large as the image.
    explain = xaijax.bind(gradient_times_input, f)
    expected = by_hand(explain, x, 1, (1.0,), 2, lambda m: m[:, :, ::-1])
    assert_close(xaijax.aug_smooth(explain, x, 1, intensities=(1.0,)), expected)


def test_aug_smooth_of_attributions_as_large_as_the_image():
    explain = xaijax.bind(gradient_times_input, network)
    expected = by_hand(explain, X, 1, (1.0, 1.2), 1, lambda m: m[:, ::-1])
    assert_close(xaijax.aug_smooth(explain, X, 1, intensities=(1.0, 1.2)), expected)


def test_aug_smooth_of_a_network_that_is_mirrored_with_its_input():
    """A mirrored image has the mirrored map, so the mean is the map itself."""
    explain = xaijax.bind(xaijax.grad_cam, symmetric)
    for target in range(4):
        found = xaijax.aug_smooth(explain, image(0), target, intensities=(1.0,))
        assert_close(found, explain(image(0), target))


def symmetric(x):
    """Its kernel is its own mirror image, and its pooling does not see where."""
    kernel = array(7, 3, 3, 3, 4)
    A = jax.nn.relu(conv(x, kernel + kernel[:, ::-1]))
    return A.mean((0, 1)) @ array(8, 4, 4)


def test_aug_smooth_of_a_network_that_is_as_bright_as_its_input():
    """Without biases the map grows with the image: the mean of the factors times the map."""
    explain = xaijax.bind(xaijax.grad_cam, symmetric)
    found = xaijax.aug_smooth(explain, image(0), 1, flip=False, intensities=(1.0, 2.0, 6.0))
    assert_close(found, 3.0 * explain(image(0), 1))


def test_aug_smooth_of_several_layers():
    found = xaijax.aug_smooth(TWO_LAYERS, X, 1)
    assert [m.shape for m in found] == [(4, 4), (2, 2)]
    assert_close(found[0], xaijax.aug_smooth(LAYER_CAM, X, 1))


# --- Inside one another


def test_noise_around_mirrored_copies():
    inner = xaijax.bind(xaijax.aug_smooth, TWO_LAYERS, intensities=(1.0, 1.5))

    @compiled
    def outer(x, sigma):
        return xaijax.bind(xaijax.smooth_grad, inner, sigma=sigma, num_samples=2)(x, 1, KEY)

    plain = inner(X, 1)
    for found, expected in zip(outer(X, 0.0), plain, strict=True):
        assert_close(found, expected)
    assert np.abs(outer(X, 0.3)[0] - plain[0]).max() > 1e-4


def test_noise_around_noise():
    """Independent noise twice: its variances add."""
    inner = xaijax.bind(xaijax.smooth_grad, PRODUCT, sigma=0.2, num_samples=1)
    x = jnp.linspace(0.0, 1.0, 48).reshape(4, 4, 3)
    found = xaijax.var_grad(inner, x, 1, KEY, sigma=0.0, num_samples=1000)
    w = np.asarray(LINEAR[:, 1]).reshape(x.shape)
    ratio = np.asarray(found) / (0.2 * w) ** 2
    assert abs(ratio.mean() - 1) < 4 * np.sqrt(2 / 1000 / 48)


def test_mirrored_copies_around_mirrored_copies():
    inner = xaijax.bind(xaijax.aug_smooth, LAYER_CAM, flip=False, intensities=(0.5, 2.0))
    outer = xaijax.aug_smooth(inner, X, 1, flip=True, intensities=(1.0,))
    assert_close(outer, xaijax.aug_smooth(LAYER_CAM, X, 1, intensities=(0.5, 2.0)))


def test_bound_for_a_batch():
    explain = xaijax.bind(xaijax.smooth_grad, LAYER_CAM, num_samples=3)
    xs, keys = jnp.stack([X, -X]), jax.random.split(KEY, 2)
    batch = jax.vmap(explain)(xs, jnp.array([1, 2]), keys)
    for i in range(2):
        assert_close(batch[i], explain(xs[i], [1, 2][i], keys[i]))


# --- Errors


wrong: Any = xaijax  # called as no type checker lets pass
F = cnn(FIRST)
GRAD_CAM = xaijax.bind(xaijax.grad_cam, F)
BYTES = np.zeros((8, 8, 3), np.uint8)


def sequence(x):
    numbers = ("NWC", "WIO", "NWC")
    out = lax.conv_general_dilated(
        x[None], array(9, 3, 2, 4), [1], "SAME", dimension_numbers=numbers
    )
    return jax.nn.relu(out[0]).mean(0)


def bytes_to_scores(x):
    return F(jnp.asarray(x, jnp.float32) / 255)


SEQUENCE_CAM = xaijax.bind(xaijax.grad_cam, sequence)
OF_BYTES = xaijax.bind(xaijax.grad_cam, bytes_to_scores)
UNBOUND = r"explain must be an explainer with its model, got .*bind\(xaijax\.grad_cam, f\)"

ERRORS = {
    **{
        f"{name} of {what}": (
            lambda name=name, explain=explain, keys=keys: getattr(xaijax, name)(
                explain, image(0), 0, *keys
            ),
            TypeError,
            rf"{name}: {UNBOUND}",
        )
        for name, keys in (
            ("smooth_grad", (KEY,)),
            ("smooth_grad_squared", (KEY,)),
            ("var_grad", (KEY,)),
            ("aug_smooth", ()),
        )
        for what, explain in (("a model", F), ("an explainer", xaijax.grad_cam), ("a number", 3))
    },
    "mirrored copies of what draws": (
        lambda: wrong.aug_smooth(xaijax.bind(xaijax.random_cam, F), image(0), 0),
        TypeError,
        r"aug_smooth: explain must be an explainer that takes no key, got random_cam.*smooth_grad",
    ),
    "mirrored copies around noise": (
        lambda: wrong.aug_smooth(xaijax.bind(xaijax.smooth_grad, GRAD_CAM), image(0), 0),
        TypeError,
        r"aug_smooth: explain must be an explainer that takes no key, got smooth_grad",
    ),
    "negative sigma": (
        lambda: wrong.smooth_grad(GRAD_CAM, image(0), 0, KEY, sigma=-0.1),
        ValueError,
        r"smooth_grad: sigma must not be negative, got -0\.1",
    ),
    **{
        f"negative sigma, bound to {name}": (
            lambda name=name: xaijax.bind(getattr(xaijax, name), GRAD_CAM, sigma=-1.0),
            ValueError,
            rf"{name}: sigma must not be negative, got -1\.0",
        )
        for name in ("smooth_grad", "smooth_grad_squared", "var_grad")
    },
    "unknown setting": (
        lambda: wrong.bind(xaijax.smooth_grad, GRAD_CAM, sigmas=0.1),
        TypeError,
        r"bind: settings must name a setting of smooth_grad, got 'sigmas'\. Nearest: 'sigma'",
    ),
    "no samples": (
        lambda: wrong.var_grad(GRAD_CAM, image(0), 0, KEY, num_samples=0),
        ValueError,
        r"var_grad: num_samples must be at least 1, got 0",
    ),
    "no key": (
        lambda: wrong.smooth_grad(GRAD_CAM, image(0), 0),
        TypeError,
        r"smooth_grad: missing a required argument: 'key'",
    ),
    "no intensities": (
        lambda: wrong.aug_smooth(GRAD_CAM, image(0), 0, intensities=()),
        ValueError,
        r"aug_smooth: intensities must hold at least one factor, got \(\)",
    ),
    "target out of range": (
        lambda: wrong.aug_smooth(GRAD_CAM, image(0), 4),
        ValueError,
        r"aug_smooth: target must be in \[0, 4\), got 4",
    ),
    "layer of the explainer inside": (
        lambda: wrong.smooth_grad(xaijax.bind(xaijax.grad_cam, F, layer="conv9"), image(0), 0, KEY),
        ValueError,
        r"grad_cam: layer must name a layer of the model, got 'conv9'",
    ),
    "noise on whole numbers": (
        lambda: wrong.smooth_grad(OF_BYTES, BYTES, 0, KEY),
        TypeError,
        r"smooth_grad: x must be .*float.*, got uint8",
    ),
    "factors of whole numbers": (
        lambda: wrong.aug_smooth(OF_BYTES, BYTES, 0),
        TypeError,
        r"aug_smooth: x must be .*float.*, got uint8",
    ),
    "mirrored copies of a sequence": (
        lambda: wrong.aug_smooth(SEQUENCE_CAM, jnp.ones((9, 2)), 0),
        (ValueError, TypeError),
        r"aug_smooth: x must be .*image.*, got shape \(9, 2\)",
    ),
}


@pytest.mark.parametrize(("call", "error", "says"), ERRORS.values(), ids=ERRORS.keys())
def test_refused_before_anything_is_compiled(call, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search(says, message, flags=re.DOTALL), message
    assert not {name for name in compiled if hasattr(xaijax, name)}
