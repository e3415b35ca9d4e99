"""CAM fostering: the term, its derivative through the map, the loss of a batch, and the indicators."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import xaijax
from tests.cases import FIRST, SECOND, attended, cnn, image
from xaijax import intrinsic


def term(explain, f, x, target=1, **settings):
    return xaijax.cam_fostering(xaijax.bind(explain, f, **settings), x, target)


def spread(a):
    """The entropy of the positive values, one by one."""
    p = np.maximum(np.asarray(a, np.float64), 0).ravel()
    p = p[p > 0] / p.sum()
    return -sum(v * np.log(v) for v in p)


# --- The term


@pytest.mark.parametrize(
    ("explain", "settings"),
    [
        (xaijax.grad_cam, {}),
        (xaijax.grad_cam, {"layer": "relu#1"}),
        (xaijax.cam, {}),  # has signs
        (xaijax.layer_cam, {}),
        (xaijax.score_cam, {"batch_size": 4}),
        (xaijax.attention_map, {}),
    ],
)
def test_entropy_of_any_map_and_its_derivative(explain, settings, x64):
    dtype = jnp.float64
    f, x = attended(FIRST, dtype), image(0, dtype)
    if explain is xaijax.cam:
        f = cnn(FIRST, dtype)

    def value(f):
        return term(explain, f, x, 2, **settings).entropy

    expected = spread(explain(f, x, 2, **settings))
    np.testing.assert_allclose(value(f), expected, rtol=1e-12)
    gradient = jax.grad(value)(f)
    rng = np.random.default_rng(0)
    along = jax.tree.map(lambda w: jnp.asarray(rng.normal(size=w.shape)), f)
    h = 1e-6
    ahead, back = (value(jax.tree.map(lambda w, d, s=s: w + s * h * d, f, along)) for s in (1, -1))
    derivative = sum(jax.tree.leaves(jax.tree.map(lambda g, d: (g * d).sum(), gradient, along)))
    assert abs(derivative) > 1e-3
    np.testing.assert_allclose(derivative, (ahead - back) / (2 * h), rtol=1e-5)


def test_map_reaches_the_weights_after_the_layer_through_its_channel_weights():
    """What a map of detached gradients would lose."""
    f, x = cnn(FIRST), image(0)
    gradient = jax.grad(lambda f: term(xaijax.grad_cam, f, x).entropy)(f)
    assert np.abs(gradient.dense.kernel[...]).max() > 1e-3
    assert np.abs(gradient.conv1.kernel[...]).max() > 1e-3


def test_map_that_vanishes_is_counted_and_changes_nothing():
    """Grad-CAM of a class whose weights are negative, on positive features."""
    f = cnn(FIRST)
    f = jax.tree.map(lambda w: -jnp.abs(w) if w.shape == f.dense.kernel.shape else w, f)
    assert not np.asarray(xaijax.grad_cam(f, image(0), 1)).any()
    (value, vanished), gradient = jax.value_and_grad(
        lambda f: tuple(term(xaijax.grad_cam, f, image(0))), has_aux=True
    )(f)
    assert (float(value), bool(vanished)) == (0.0, True)
    assert not any(np.asarray(g).any() for g in jax.tree.leaves(gradient))
    assert not term(xaijax.grad_cam, cnn(FIRST), image(0)).vanished


def test_class_out_of_range_is_no_plausible_number():
    explain = xaijax.bind(xaijax.grad_cam, cnn(FIRST))
    terms = jax.vmap(xaijax.cam_fostering, (None, None, 0))(explain, image(0), jnp.array([1, 4]))
    np.testing.assert_array_equal(np.isnan(terms.entropy), [False, True])
    with pytest.raises(ValueError, match=r"cam_fostering: target must be in \[0, 4\), got 4"):
        xaijax.cam_fostering(explain, image(0), 4)


def test_what_is_no_map():
    with pytest.raises(ValueError, match="model without a convolution"):
        term(xaijax.grad_cam, lambda x: x.mean((0, 1)), image(0))
    with pytest.raises(TypeError, match="explain must be an explainer with its model"):
        xaijax.cam_fostering(cnn(FIRST), image(0), 1)
    with pytest.raises(TypeError, match="explain must draw nothing, got random_cam"):
        term(xaijax.random_cam, cnn(FIRST), image(0))
    with pytest.raises(TypeError, match="explain must give one map, got tuple"):
        term(xaijax.grad_cam, cnn(FIRST), image(0), layer=("relu#1", "relu#2"))


# --- The loss of a batch


@pytest.fixture(scope="module")
def batch():
    return jnp.stack([image(i) for i in range(6)]), jnp.array([0, 1, 2, 3, 0, 1])


def loss(f, batch, beta, explained=lambda f: f):
    xs, labels = batch
    explain = xaijax.bind(xaijax.grad_cam, explained(f))
    return intrinsic.fostered_cross_entropy(explain, jax.vmap(f)(xs), xs, labels, beta=beta)


def test_loss_is_cross_entropy_and_the_mean_term(batch):
    f, (xs, labels) = cnn(FIRST), batch
    found = loss(f, batch, 0.3)
    logits = jax.vmap(f)(xs)
    cross = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    terms = [term(xaijax.grad_cam, f, x, int(t)) for x, t in zip(xs, labels, strict=True)]
    np.testing.assert_allclose(found.cross_entropy, cross, rtol=1e-6)
    np.testing.assert_allclose(found.entropy, np.mean([t.entropy for t in terms]), rtol=1e-6)
    np.testing.assert_allclose(found.vanished, np.mean([t.vanished for t in terms]))
    np.testing.assert_allclose(found.loss, cross + 0.3 * found.entropy, rtol=1e-6)


def test_detached_term_has_exactly_no_effect(batch):
    """That of published code. One program for both, with beta as its argument."""
    f = cnn(SECOND)

    @functools.partial(jax.jit, static_argnames="explained")
    def gradient(f, beta, explained=lambda f: f):
        return jax.grad(lambda f: loss(f, batch, beta, explained).loss)(f)

    plain, through = gradient(f, 0.0), gradient(f, 10.0)
    detached = [
        gradient(f, b, lambda f: jax.tree.map(jax.lax.stop_gradient, f)) for b in (0.0, 10.0)
    ]
    assert not np.allclose(plain.conv1.kernel[...], through.conv1.kernel[...], rtol=0.1)
    for a, c, d in zip(*map(jax.tree.leaves, (plain, *detached)), strict=True):
        np.testing.assert_array_equal(c, d)
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)


def test_descending_it_concentrates_the_maps(batch):
    f = cnn(FIRST)
    step = jax.jit(jax.value_and_grad(lambda f: loss(f, batch, 1.0).entropy))
    before = step(f)[0]
    for _ in range(20):
        f = jax.tree.map(lambda w, g: w - 0.05 * g, f, step(f)[1])
    assert step(f)[0] < before - 0.3


class Normed(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dense = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, x):
        return self.dense(nnx.relu(self.norm(self.conv(x))).mean((-3, -2)))


def test_map_of_a_module_in_training_has_the_running_statistics(batch):
    xs, labels = batch
    model = Normed(nnx.Rngs(0))
    model.norm.mean[...] += 0.1
    model.eval()
    expected = jax.vmap(functools.partial(term, xaijax.grad_cam, xaijax.as_model(model)))(
        xs, labels
    )
    model.train()

    def value(model):
        explain = xaijax.bind(xaijax.grad_cam, xaijax.as_model(model))
        found = intrinsic.fostered_cross_entropy(explain, model(xs), xs, labels, beta=2.0)
        return found.loss, found

    before = model.norm.mean[...]
    (_, found), gradient = nnx.value_and_grad(value, has_aux=True)(model)
    np.testing.assert_allclose(found.entropy, expected.entropy.mean(), rtol=1e-6)
    assert np.abs(model.norm.mean[...] - before).max() > 1e-4  # the forward pass moved them
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradient))


def test_bad_batches(batch):
    xs, labels = batch
    f = cnn(FIRST)
    explain, logits = xaijax.bind(xaijax.grad_cam, f), jax.vmap(f)(xs)
    call = functools.partial(intrinsic.fostered_cross_entropy, explain)
    with pytest.raises(ValueError, match=r"beta must not be negative, got -1\.0"):
        call(logits, xs, labels, beta=-1)
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=rf"labels must be in \[0, 4\), got {bad}"):
            call(logits, xs, labels.at[2].set(bad), beta=1)
    traced = jax.jit(lambda labels: call(logits, xs, labels, beta=1.0).loss)
    assert np.isnan(traced(labels.at[2].set(4)))
    with pytest.raises(TypeError, match="labels must be integers, got float32"):
        call(logits, xs, 1.0 * labels, beta=1)
    with pytest.raises(ValueError, match=r"labels must have the shape \(6,\), as xs"):
        call(logits, xs[:3], labels, beta=1)
    with pytest.raises(ValueError, match=r"logits must have the shape \(n, num_classes\)"):
        call(logits[0], xs, labels, beta=1)


# --- The indicators


EVEN = np.ones((5, 7))
ONE = np.zeros((5, 7))
ONE[1, 3] = 2.0
NONE = -EVEN


def test_indicators_of_an_even_map_and_of_one_position(x64):
    known = {
        intrinsic.entropy: (np.log(35), 0),
        intrinsic.ellipse_area: (np.sqrt((5**2 - 1) * (7**2 - 1)) / 12, 0),
        intrinsic.dispersion: (0, 34),
        intrinsic.contrast: (0, 1),
    }
    for indicator, (even, one) in known.items():
        for scale in (1.0, 1e-3, 1e6):
            np.testing.assert_allclose(indicator(scale * EVEN), even, atol=1e-12)
            np.testing.assert_allclose(indicator(scale * ONE), one, atol=1e-12)
        assert indicator(NONE) == 0
        assert indicator(jnp.asarray(EVEN, jnp.bfloat16)).dtype == jnp.float32
        for a in (EVEN, ONE, NONE):
            assert np.isfinite(jax.grad(indicator)(jnp.asarray(a))).all()


def test_indicators_of_a_gaussian(x64):
    """Turned by 30 degrees, wide against the distance of positions and narrow against the map."""
    sigma, angle = np.array([4.0, 7.0]), np.pi / 6
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    r = np.stack(np.meshgrid(np.arange(121.0), np.arange(141.0), indexing="ij"), -1)
    u = (r - [60.3, 70.8]) @ turn / sigma
    a = np.exp(-0.5 * (u**2).sum(-1))
    np.testing.assert_allclose(intrinsic.ellipse_area(a), 28.0, rtol=1e-6)
    np.testing.assert_allclose(intrinsic.entropy(a), np.log(2 * np.pi * np.e * 28.0), rtol=1e-6)
    # The integral of a squared over the squared one of a, times the number of positions.
    np.testing.assert_allclose(intrinsic.dispersion(a), a.size / (4 * np.pi * 28.0) - 1, rtol=1e-6)
    active = a >= 0.5
    high, low = a[active].mean(), a[~active].mean()
    np.testing.assert_allclose(intrinsic.contrast(a), (high - low) / (high + low), rtol=1e-12)


def test_values_below_zero_have_no_part():
    a = jnp.array([[3.0, -2.0], [0.0, 1.0]])
    for indicator in (intrinsic.entropy, intrinsic.ellipse_area, intrinsic.dispersion):
        assert indicator(a) == indicator(jnp.maximum(a, 0))


def test_what_is_no_map_for_an_indicator():
    with pytest.raises(TypeError, match="saliency must be one float array"):
        intrinsic.entropy(jnp.ones(3, int))
    with pytest.raises(ValueError, match=r"saliency must be a map \(h, w\)"):
        intrinsic.ellipse_area(jnp.ones(3))


# --- The attention map


def test_attention_map_is_what_the_scope_computes():
    f, x = attended(FIRST), image(0)
    expected = jax.nn.sigmoid(cnn(FIRST).features(x).sum(-1))
    np.testing.assert_allclose(xaijax.attention_map(f, x, 0), expected, rtol=1e-6)
    np.testing.assert_array_equal(
        xaijax.attention_map(f, x, lambda outputs: outputs[0]), xaijax.attention_map(f, x, 3)
    )
    assert xaijax.attention_map.taxonomy.stage == "intrinsic"


def several(x):
    with jax.named_scope("attention_map"):
        M = jax.nn.sigmoid(x)
    return ((1 + M) * x).mean((0, 1))


def test_target_picks_a_map_of_several():
    x = image(0)
    for k in range(3):
        np.testing.assert_allclose(
            xaijax.attention_map(several, x, k), jax.nn.sigmoid(x[:, :, k]), rtol=1e-6
        )
    margin = xaijax.attention_map(several, x, jnp.array([1.0, -1.0, 0.0]))
    expected = jax.nn.sigmoid(x[:, :, 0]) - jax.nn.sigmoid(x[:, :, 1])
    np.testing.assert_allclose(margin, expected, atol=1e-6)
    assert np.isnan(jax.jit(lambda t: xaijax.attention_map(several, x, t))(3)).all()
    with pytest.raises(TypeError, match="target must be an index or weights over the outputs"):
        xaijax.attention_map(several, x, lambda outputs: outputs[0])


def test_model_without_an_attention_map():
    with pytest.raises(ValueError, match="layer must name a layer of the model, got 'attention_"):
        xaijax.attention_map(cnn(FIRST), image(0), 0)
    with pytest.raises(ValueError, match=r"be a map of shape \(h, w, 1\) or \(h, w, 4\)"):
        xaijax.attention_map(cnn(FIRST), image(0), 0, layer="relu#1")
