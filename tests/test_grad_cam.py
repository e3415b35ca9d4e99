"""Grad-CAM against the oracle, on models that are cut by hand into features and head."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import xaijax
from tests.cases import FIRST, SECOND, cnn, image
from tests.oracles import grad_cam as oracle


def oracle_map(features, head, x, target, channels_last=lambda a: a):
    A = features(x)
    G = jax.jacobian(head)(A)[target]
    return oracle.grad_cam(channels_last(A), channels_last(G))


def cam_maps(f, x, target, **settings):
    return xaijax.cam_maps(xaijax.bind(xaijax.grad_cam, f, **settings), x, target)


def relative_error(a, b):
    return np.abs(np.asarray(a) - b).max() / np.abs(b).max()


# --- Against the oracle


@pytest.mark.parametrize("target", range(4))
def test_channels_last(model, target):
    x = image(0)
    expected = oracle_map(model.features, model.head, x, target)
    assert expected.max() > 0
    assert relative_error(xaijax.grad_cam(model, x, target), expected) < 1e-6


def test_channels_last_float64(x64):
    model, x = cnn(FIRST, jnp.float64), image(0, jnp.float64)
    expected = oracle_map(model.features, model.head, x, 1)
    assert relative_error(xaijax.grad_cam(model, x, 1), expected) < 1e-12


def test_inner_layer_has_gradients_that_vary_over_the_image(x64):
    model, x = cnn(FIRST, jnp.float64), image(0, jnp.float64)

    def stem(x):
        return jax.nn.relu(model.conv1(x))

    def rest(A):
        return model.head(jax.nn.relu(model.conv2(A)))

    result = cam_maps(model, x, 2, layer="relu#1")
    G = jax.jacobian(rest)(stem(x))[2]
    assert np.std(G, axis=(0, 1)).min() > 0
    np.testing.assert_allclose(result.weights, oracle.channel_weights(G), rtol=1e-12)
    assert relative_error(result.map, oracle.grad_cam(stem(x), G)) < 1e-12


class EquinoxCNN(eqx.Module):
    """Channels first, as Equinox has it."""

    conv1: eqx.nn.Conv2d
    conv2: eqx.nn.Conv2d
    dense: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.conv1 = eqx.nn.Conv2d(3, 8, 3, padding=1, key=keys[0])
        self.conv2 = eqx.nn.Conv2d(8, 8, 3, stride=2, padding=1, key=keys[1])
        self.dense = eqx.nn.Linear(8, 4, key=keys[2])

    def features(self, x):
        return jax.nn.relu(self.conv2(jax.nn.relu(self.conv1(x))))

    def head(self, A):
        return self.dense(A.max((1, 2)))

    def __call__(self, x):
        return self.head(self.features(x))


def test_channels_first(key):
    model = EquinoxCNN(key)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 6)), jnp.float32)

    def channels_last(a):
        return np.moveaxis(np.asarray(a), 0, -1)

    maps = [oracle_map(model.features, model.head, x, c, channels_last) for c in range(4)]
    assert max(expected.max() for expected in maps) > 0
    for c, expected in enumerate(maps):
        cam = xaijax.grad_cam(model, x, c)
        assert cam.shape == (4, 3)
        np.testing.assert_allclose(cam, expected, atol=1e-6 * max(m.max() for m in maps))


@pytest.mark.parametrize("space", [1, 3])
def test_one_and_three_dimensional_convolutions(space, x64):
    rng = np.random.default_rng(0)
    size = (9,) if space == 1 else (5, 4, 3)
    x = jnp.asarray(rng.normal(size=(*size, 2)))
    kernel = jnp.asarray(rng.normal(size=(*[3] * space, 2, 5)))
    W = jnp.asarray(rng.normal(size=(5, 3)))
    letters = "DHW"[-space:]
    numbers = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    def features(x):
        out = lax.conv_general_dilated(
            x[None], kernel, [1] * space, "SAME", dimension_numbers=numbers
        )
        return jax.nn.relu(out[0])

    def head(A):
        return jnp.tanh(A.mean(tuple(range(space)))) @ W

    maps = [oracle_map(features, head, x, c) for c in range(3)]
    assert max(expected.max() for expected in maps) > 0
    for c, expected in enumerate(maps):
        cam = xaijax.grad_cam(lambda x: head(features(x)), x, c)
        assert cam.shape == size
        np.testing.assert_allclose(cam, expected, atol=1e-12 * max(m.max() for m in maps))


# --- What the equations say


def test_average_pooling_and_dense_layer_give_cam(model):
    """Class activation maps (Zhou et al. 2016): alpha_k = w_k / Z."""
    result = cam_maps(model, image(0), 3)
    np.testing.assert_allclose(result.weights, model.dense.kernel[:, 3] / 64, rtol=1e-5)
    cam = np.maximum(model.features(image(0)) @ model.dense.kernel[:, 3], 0) / 64
    assert relative_error(result.map, cam) < 1e-5


def test_scaled_channels_with_a_head_that_undoes_it(model):
    scale = jnp.array([0.1, 2.0, 3.0, 0.5, 1.0, 7.0, 0.3, 1.5])

    def scaled(x):
        with jax.named_scope("scaled"):
            A = model.features(x) * scale
        return model.head(A / scale)

    cam = xaijax.grad_cam(scaled, image(0), 1, layer="scaled/mul")
    assert relative_error(cam, np.asarray(xaijax.grad_cam(model, image(0), 1))) < 1e-5


def test_evidence_against_the_target_is_cut_off(model):
    x = image(0)
    weights = cam_maps(model, x, 1).weights
    signed = np.asarray(model.features(x) @ weights)
    assert signed.min() < 0 < signed.max()
    opposite = xaijax.grad_cam(model, x, jnp.array([0.0, -1.0, 0.0, 0.0]))
    for cam, sign in ((xaijax.grad_cam(model, x, 1), 1), (opposite, -1)):
        np.testing.assert_allclose(cam, np.maximum(sign * signed, 0), atol=1e-6)


def test_margin(model):
    """Weights are linear in the target: those of a margin are a difference."""
    x = image(0)
    one, two = (cam_maps(model, x, c).weights for c in (1, 2))
    margin = cam_maps(model, x, jnp.array([0.0, 1.0, -1.0, 0.0]))
    np.testing.assert_allclose(margin.weights, one - two, atol=1e-7)
    as_function = cam_maps(model, x, lambda outputs: outputs[1] - outputs[2])
    np.testing.assert_allclose(as_function.weights, one - two, atol=1e-7)
    assert relative_error(as_function.map, np.asarray(margin.map)) < 1e-6


def test_function_target_over_a_map_of_outputs(model):
    """Segmentation: the outputs are no vector, and the target reads a region of them."""

    def segment(x):
        return model.features(x) @ jnp.ones((8, 2))

    def region(outputs):
        return outputs[:2, :2, 1].sum()

    result = cam_maps(segment, image(0), region, layer="relu#2")
    np.testing.assert_allclose(result.weights, np.full(8, 4 / 64), rtol=1e-6)


# --- Layers


def test_layer_by_default_name_and_scope(model):
    x = image(0)
    assert cam_maps(model, x, 1).layer.name == "relu#2"
    np.testing.assert_array_equal(
        xaijax.grad_cam(model, x, 1), xaijax.grad_cam(model, x, 1, layer="relu#2")
    )
    scope = cam_maps(model, x, 1, layer="conv2")
    name = cam_maps(model, x, 1, layer="conv2/add")
    assert scope.layer.name == name.layer.name == "conv2/add"
    np.testing.assert_array_equal(scope.map, name.map)


# --- Flat maps


def test_nothing_speaks_for_the_target():
    """Features are not negative and the head's weights are: zeros, marked as degenerate."""
    model = cnn(FIRST)
    model.dense.kernel.set_value(-jnp.abs(model.dense.kernel.get_value()))
    result = cam_maps(model, image(0), 0)
    np.testing.assert_array_equal(result.map, np.zeros((8, 8)))
    assert result.degenerate
    assert not cam_maps(cnn(FIRST), image(0), 0).degenerate


def test_the_same_everywhere():
    def f(x):
        with jax.named_scope("features"):
            A = jnp.tanh(x)
        return A.mean((0, 1))

    result = cam_maps(f, jnp.full((2, 3, 2), 0.5), 0, layer="features")
    np.testing.assert_allclose(result.map, np.full((2, 3), np.tanh(0.5) / 6), rtol=1e-6)
    assert result.degenerate
    np.testing.assert_array_equal(xaijax.normalize(result.map), np.zeros((2, 3)))


def test_flat_image_leaves_its_batch_alone():
    model = cnn(SECOND)
    model.conv1.bias.set_value(jnp.zeros(8))
    model.conv2.bias.set_value(jnp.zeros(8))

    def explain(x, target):
        return cam_maps(model, x, target)

    images = jnp.stack([image(0), jnp.zeros((8, 8, 3)), image(1)])
    batch = jax.vmap(explain, (0, None))(images, 1)
    np.testing.assert_array_equal(batch.degenerate, [False, True, False])
    np.testing.assert_array_equal(batch.map[1], np.zeros((8, 8)))
    for i in (0, 2):
        assert relative_error(batch.map[i], np.asarray(explain(images[i], 1).map)) < 1e-6
