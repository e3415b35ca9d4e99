"""The Attention Branch Network: its branches, its map as an explanation, its loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import xaijax
from xaijax import intrinsic, models
from xaijax.models import AttentionBranchNetwork, attention_branch_loss
from xaijax.models._resnet import BasicBlock, ResNet


class Stage(nnx.Module):
    """A convolution with ReLU; with `outputs`, global average pooling and a dense layer after it."""

    def __init__(self, channels, width, outputs=0, *, rngs):
        self.conv = nnx.Conv(channels, width, (3, 3), rngs=rngs)
        self.dense = nnx.Linear(width, outputs, rngs=rngs) if outputs else None

    def __call__(self, x):
        x = nnx.relu(self.conv(x))
        return x if self.dense is None else self.dense(x.mean((-3, -2)))


def small(num_outputs=4, **settings):
    rngs = nnx.Rngs(0)
    model = AttentionBranchNetwork(
        Stage(3, 6, rngs=rngs),
        Stage(6, 5, rngs=rngs),
        Stage(6, 8, num_outputs, rngs=rngs),
        attention_channels=5,
        num_outputs=num_outputs,
        rngs=rngs,
        **settings,
    )
    for norm in (model.norm, model.classes_norm, model.maps_norm):
        norm.bias[...] += jnp.linspace(-0.5, 0.5, norm.bias[...].size)
    model.eval()
    return model


def images(n=5, size=8):
    return jnp.asarray(np.random.default_rng(0).normal(size=(n, size, size, 3)), jnp.float32)


# --- The branches


def test_map_without_weights_is_a_half_everywhere():
    model = small()
    model.maps.kernel[...] *= 0
    model.maps_norm.bias[...] *= 0
    found = model.branches(images())
    np.testing.assert_array_equal(found.map, 0.5)
    np.testing.assert_allclose(
        found.perception, model.perception(1.5 * model.features(images())), rtol=1e-6
    )


def test_network_without_its_map_is_the_plain_one_beside_a_branch():
    model = small(attend=False)
    np.testing.assert_array_equal(model(images()), model.perception(model.features(images())))
    np.testing.assert_array_equal(
        model.branches(images()).attention, small().branches(images()).attention
    )
    with pytest.raises(ValueError, match="layer must name a layer of the model, got 'attention_"):
        xaijax.attention_map(xaijax.as_model(model), images()[0], 0)


@pytest.mark.parametrize("multi_task", [False, True])
def test_batch_is_its_images(multi_task):
    model = small(multi_task=multi_task)
    many = model.branches(images())
    for i, x in enumerate(images()):
        for a, b in zip(many, model.branches(x), strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-6)


def test_each_task_sees_the_features_by_its_own_map():
    model = small(num_outputs=3, multi_task=True)
    found, g = model.branches(images()), model.features(images())
    assert found.map.shape == (5, 8, 8, 3)
    for t in range(3):
        seen = model.perception((1 + found.map[..., t : t + 1]) * g)
        np.testing.assert_allclose(found.perception[:, t], seen[:, t], atol=1e-6)


def test_sizes_that_are_none():
    with pytest.raises(ValueError, match="num_outputs must be at least 1, got 0"):
        small(num_outputs=0)


# --- The map as an explanation


def test_attention_map_is_the_networks():
    model = small()
    f, M = xaijax.as_model(model), model.branches(images()).map
    explain = xaijax.bind(xaijax.attention_map, f)
    found = jax.vmap(explain)(images(), jnp.arange(5) % 4)
    np.testing.assert_allclose(found, M[..., 0], atol=1e-6)


def test_target_picks_the_map_of_its_task():
    model = small(num_outputs=3, multi_task=True)
    f, M = xaijax.as_model(model), model.branches(images()).map
    for t in range(3):
        found = xaijax.attention_map(f, images()[0], t)
        np.testing.assert_allclose(found, M[0, ..., t], atol=1e-6)


def test_other_maps_go_for_it_too():
    f = xaijax.as_model(small())
    assert xaijax.grad_cam(f, images()[0], 1).shape == (8, 8)
    known = xaijax.layers(f, images()[0])
    assert "attention_map/logistic" in [layer.name for layer in known]
    assert known.default.name.startswith("perception/")


# --- The loss


def test_loss_is_the_sum_of_both_cross_entropies():
    found, labels = small().branches(images()), jnp.array([0, 1, 2, 3, 0])
    one = optax.softmax_cross_entropy_with_integer_labels
    expected = one(found.attention, labels).mean() + one(found.perception, labels).mean()
    np.testing.assert_allclose(attention_branch_loss(found, labels), expected, rtol=1e-6)
    assert np.isnan(attention_branch_loss(found, labels.at[0].set(4)))


def test_loss_of_several_tasks_is_summed_over_them():
    found = small(num_outputs=3, multi_task=True).branches(images())
    labels = jnp.asarray(np.random.default_rng(1).integers(0, 2, (5, 3)))
    one = optax.sigmoid_binary_cross_entropy
    expected = sum(one(z, labels).mean(0).sum() for z in found[:2])
    np.testing.assert_allclose(attention_branch_loss(found, labels), expected, rtol=1e-6)


def test_labels_that_do_not_fit():
    found = small().branches(images())
    with pytest.raises(ValueError, match=r"labels must have the shape \(5,\), or \(5, 4\)"):
        attention_branch_loss(found, jnp.zeros((5, 3)))
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        attention_branch_loss(found, jnp.zeros(5))


@pytest.mark.parametrize("multi_task", [False, True])
def test_every_parameter_learns(multi_task):
    model, labels = small(multi_task=multi_task), jnp.array([0, 1, 2, 3, 0])
    model.train()
    target = jax.nn.one_hot(labels, 4) if multi_task else labels
    loss = lambda m: attention_branch_loss(m.branches(images()), target)  # noqa: E731
    gradient = nnx.jit(nnx.grad(loss))(model)
    for path, g in jax.tree.leaves_with_path(gradient):
        assert np.abs(g).max() > 0, path


def test_fostering_of_the_attention_map():
    def term(model):
        explain = xaijax.bind(xaijax.attention_map, xaijax.as_model(model))
        labels = jnp.array([0, 1, 2, 3, 0])
        found = intrinsic.fostered_cross_entropy(explain, model(images()), images(), labels, beta=1)
        return found.entropy

    gradient = nnx.jit(nnx.grad(term))(small())
    assert np.abs(gradient.maps.kernel[...]).max() > 1e-4
    assert not np.asarray(gradient.perception.dense.kernel[...]).any()  # comes after the map


# --- Over a residual network


def test_residual_network_keeps_its_parameters():
    base = ResNet(BasicBlock, (1, 1, 1, 1), 5, rngs=nnx.Rngs(0))
    base.eval()
    x = images(1, 64)[0]
    call = nnx.jit(lambda model, x: model(x))
    expected = call(base, x)
    model = models.attention_branch_resnet(base, attend=False, rngs=nnx.Rngs(1))
    np.testing.assert_allclose(call(model, x), expected, atol=1e-5)
    assert nnx.eval_shape(lambda m: m.branches(x).map, model).shape == (4, 4, 1)
    with pytest.raises(TypeError, match="base must be a ResNet, got Stage"):
        models.attention_branch_resnet(Stage(3, 4, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(1))
