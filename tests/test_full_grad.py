"""FullGrad against the oracle, and the sum of its terms, which is the score."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.tree_util import Partial

import xaijax
from tests.networks import NETWORKS, conv, image, max_pool, weights
from tests.oracles import cams as oracle
from xaijax.activation._full_grad import full_gradients


def array(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values / np.sqrt(np.prod(shape[:-1], initial=1.0)))


def terms(f, x, target):
    """The score, what the input and each bias contribute to it, and the layers of the biases."""
    layers = []

    def compute(x):
        found = full_gradients(f, x, target, where="test")
        layers.extend(layer for layer, _ in found.biases)
        return found.score, [found.image, *(term for _, term in found.biases)]

    # It runs once, so XLA shall not take long to make it fast.
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return *jax.jit(compute, compiler_options=options)(x), layers


def gap(score, found):
    """What the terms lack to the score, as a part of it."""
    return abs(sum(np.asarray(term, np.float64).sum() for term in found) / float(score) - 1)


# --- Against the oracle


# A network of two convolutions, with a bias for each position, so that each can be varied alone.


def by_position(x, biases):
    A = jax.nn.relu(conv(x, array(0, 3, 3, 2, 3)) + biases[0])
    A = jax.nn.relu(conv(A, array(1, 3, 3, 3, 4), 2) + biases[1])
    return A.mean((0, 1)) @ array(2, 4, 3) + biases[2]


B, C, E = (np.random.default_rng(7).normal(size=n) for n in (3, 4, 3))


def channels_last(x):
    A = jax.nn.relu(conv(x, array(0, 3, 3, 2, 3)) + B)
    A = jax.nn.relu(conv(A, array(1, 3, 3, 3, 4), 2) + C)
    return A.mean((0, 1)) @ array(2, 4, 3) + E


def channels_first(x):
    kernels = (array(seed, *shape).transpose(3, 2, 0, 1) for seed, shape in KERNELS)
    A = jax.nn.relu(lax.conv(x[None], next(kernels), (1, 1), "SAME")[0] + B[:, None, None])
    A = jax.nn.relu(lax.conv(A[None], next(kernels), (2, 2), "SAME")[0] + C[:, None, None])
    return A.mean((1, 2)) @ array(2, 4, 3) + E


KERNELS = ((0, (3, 3, 2, 3)), (1, (3, 3, 3, 4)))
TARGET: Any = np.array([1.0, -0.5, 2.0])


@pytest.fixture
def expected(x64):
    """The oracle's terms, and the image."""
    x = np.random.default_rng(3).normal(size=(4, 6, 2))
    biases = [np.broadcast_to(B, (4, 6, 3)), np.broadcast_to(C, (2, 3, 4)), E]
    y = jax.jit(lambda x, biases: by_position(x, biases) @ TARGET)
    return x, oracle.full_gradients(y, x, biases)


def test_terms(expected):
    x, (image_term, *bias_terms) = expected
    score, (found, *biases), layers = terms(channels_last, jnp.asarray(x), TARGET)
    np.testing.assert_allclose(score, channels_last(x) @ TARGET, rtol=1e-12)
    np.testing.assert_allclose(found, image_term, rtol=1e-6, atol=1e-8)
    assert [layer.shape for layer in layers] == [(4, 6, 3), (2, 3, 4), (3,)]
    for bias, term in zip(biases, bias_terms, strict=True):
        np.testing.assert_allclose(bias, term, rtol=1e-6, atol=1e-8)


def test_map(expected):
    x, known = expected
    saliency = np.asarray(oracle.full_grad(known))
    assert saliency.shape == (4, 6)
    found = xaijax.full_grad(channels_last, jnp.asarray(x), TARGET)
    np.testing.assert_allclose(found, saliency, rtol=1e-6)
    found = xaijax.full_grad(channels_first, jnp.asarray(np.moveaxis(x, -1, 0)), TARGET)
    np.testing.assert_allclose(found, saliency, rtol=1e-6)


def test_function_as_target(expected):
    x, _ = expected
    as_function = xaijax.full_grad(channels_last, jnp.asarray(x), lambda outputs: outputs @ TARGET)
    as_weights = xaijax.full_grad(channels_last, jnp.asarray(x), TARGET)
    np.testing.assert_allclose(as_function, as_weights, rtol=1e-12)


def test_gradient_of_a_target_that_is_not_linear(x64):
    """The terms are those of the slope at the outputs, and their sum is not the score."""
    x = jnp.asarray(np.random.default_rng(3).normal(size=(4, 6, 2)))
    slope = jax.grad(lambda outputs: jnp.tanh(outputs[0]))(channels_last(x))
    _, found, _ = terms(channels_last, x, lambda outputs: jnp.tanh(outputs[0]))
    _, expected, _ = terms(channels_last, x, slope)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


# --- Completeness


def equinox_with_relu():
    model, x = NETWORKS["equinox"]()

    def apply(model, x):
        return model.head(jax.nn.relu(model.mix(model.features(x).mean((1, 2)))))

    return Partial(apply, model), x


# How many biases each of them has, counted by hand: of convolutions, batch norms, dense layers.
PIECEWISE_LINEAR = {
    "linen": 1 + 2 + 3 + 1,  # the shortcut and the last batch norm of a block are added: 2 biases
    "linen_jit": 7,
    "linen_remat": 7,
    "linen_scan": 1 + 2 * 2 + 1,
    "nnx_cnn": 3,
    "nnx_resnet": 1 + 2 * 2 + 1,
    "equinox": 4,
    "haiku": 3,
    "plain": 1,
    "vgg": 0,
    "concat": 0,
    "depthwise": 0,
    "pointwise_nchw": 0,
    "shared": 0,
    "loop": 3,
}


@pytest.mark.parametrize("name", PIECEWISE_LINEAR)
def test_terms_sum_to_the_score(name):
    f, x = equinox_with_relu() if name == "equinox" else NETWORKS[name]()
    score, found, _ = terms(f, x, 2)
    np.testing.assert_allclose(score, f(x)[2], rtol=1e-5)
    assert gap(score, found) < 1e-5
    assert len(found) == 1 + PIECEWISE_LINEAR[name]


def layer(x, seed=0):
    """A convolution of the image in one of the spellings below; the weights do not sum to zero."""
    return conv(x, array(seed, 3, 3, x.shape[-1], 4))


def head(A):
    return A.mean((0, 1)) @ array(5, 4, 3)


b = np.array([0.5, -0.3, 0.8, 0.1], np.float32)
# Constants that are added, however that is written.
SPELLINGS = {
    "sum": lambda x: head(jax.nn.relu(layer(x) + b)),
    "constant first": lambda x: head(jax.nn.relu(b + layer(x))),
    "difference": lambda x: head(jax.nn.relu(layer(x) - b)),
    "constant less value": lambda x: head(jax.nn.relu(b - layer(x))),
    "inverted image": lambda x: head(jax.nn.relu(layer(1.0 - x))),
    "normalised image": lambda x: head(jax.nn.relu(layer((x - 0.4) / 0.2))),
    "twice": lambda x: head(jax.nn.relu((layer(x) + b) * 3.0 - 0.2)),
    "batch norm": lambda x: head(jax.nn.relu((layer(x) - b) / 0.7 * (1 + b) + 0.3)),
    "before a product": lambda x: head(layer(jax.nn.relu(layer(x) + b) + 1.0, 1)),
    "in a branch": lambda x: head(jax.nn.relu(layer(x) + b) + layer(x, 2)),
    "after a branch": lambda x: head((layer(x) + b) + (layer(x, 2) - 1.0)),
    "negated": lambda x: head(jax.nn.relu(-(layer(x) + b))),
    "used twice": lambda x: (lambda A: head(A) + head(jax.nn.relu(A)))(layer(x) + b),
    "leaky": lambda x: head(jax.nn.leaky_relu(layer(x) + b)),
    "max-pooling": lambda x: head(max_pool(layer(x) + b)),
    "at the outputs": lambda x: head(jax.nn.relu(layer(x))) + 1.0,
    "jit": lambda x: head(jax.jit(lambda A: jax.nn.relu(A + b))(layer(x))),
    "remat": lambda x: head(jax.checkpoint(lambda A: jax.nn.relu(A + b))(layer(x))),
    "scan": lambda x: head(
        lax.scan(lambda A, c: (jax.nn.relu(A * 0.9 + c), None), layer(x), jnp.stack([b, -b]))[0]
    ),
    "transposed": lambda x: head(jax.nn.relu((layer(x).T + b[:, None, None]).T)),
    "half of the channels": lambda x: head(
        jnp.concatenate([layer(x)[..., :2] + b[:2], layer(x)[..., 2:]], -1)
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_constant_that_is_added_is_a_bias(name):
    score, (of_image, *biases), _ = terms(SPELLINGS[name], jnp.abs(image(4, 4, 3)), 1)
    assert gap(score, [of_image, *biases]) < 1e-5
    assert gap(score, [of_image]) > 1e-3  # the biases matter


def test_a_network_that_is_not_piecewise_linear_has_a_gap():
    f, x = NETWORKS["equinox"]()
    score, found, _ = terms(f, x, 2)
    assert gap(score, found) > 0.01


def test_without_biases_it_is_the_input_times_its_gradient():
    w = weights(conv=(3, 3, 3, 8), head=(8, 5))
    f = Partial(lambda w, x: jax.nn.relu(conv(x, w["conv"])).mean((0, 1)) @ w["head"], w)
    x = image(8, 8, 3)
    size = np.abs(np.asarray(x * jax.grad(lambda x: f(x)[2])(x)))
    expected = (size - size.min()) / (size.max() - size.min())
    np.testing.assert_allclose(xaijax.full_grad(f, x, 2), expected.sum(-1), rtol=1e-4)


# --- Errors


@pytest.mark.parametrize("shape", [(9, 4), (4,), (2, 2, 2, 4)])
def test_no_image(shape, count_compiles):
    says = rf"full_grad: x must be .*image.*, got shape \({shape[0]},"
    f = lambda x: x.reshape(-1)[:3] * 2.0  # noqa: E731
    x = jnp.ones(shape)
    with count_compiles() as compiled, pytest.raises((ValueError, TypeError), match=says):
        xaijax.full_grad(f, x, 0)
    assert "full_grad" not in compiled


def test_target_out_of_range():
    f, x = NETWORKS["plain"]()
    with pytest.raises(ValueError, match=r"full_grad: target must be in \[0, 5\), got 5"):
        xaijax.full_grad(f, x, 5)
