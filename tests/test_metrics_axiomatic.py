"""Axioms as numbers: completeness, conservation, input invariance (non-sensitivity: test_metrics_subsets.py)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from tests.cases import cnn, curved, image, linear, mlp, row
from xaijax import metrics
from xaijax.metrics._exchange import exchange_model


def _product(x):
    return jnp.stack([x[0] * x[1] + 1, x.sum()])


# --- Completeness


@given(x=st.tuples(*[st.integers(-8, 8)] * 2), a=st.tuples(*[st.integers(-8, 8)] * 2))
@settings(max_examples=20)
def test_completeness_in_whole_numbers(x, a):
    """The gap of f = x0 x1 + 1, of any attribution, exactly; a difference of 0 has no part of it."""
    found = metrics.completeness.details(
        _product, jnp.array(x, jnp.float32), 0, jnp.array(a, jnp.float32)
    )
    total, difference = sum(a), x[0] * x[1]
    assert found.total == total
    assert found.difference == difference
    assert found.gap == abs(total - difference)
    if difference:
        np.testing.assert_allclose(found.relative, abs(total - difference) / abs(difference), 1e-6)
    else:
        assert np.isnan(found.relative)


def test_completeness_of_what_is_complete_and_what_is_not(x64, key):
    """Integrated gradients against the same baseline; Shapley values; not gradients, nor another baseline."""
    f, x = mlp(3, jnp.float64), row(1, jnp.float64)
    complete = xaijax.integrated_gradients(f, x, 1, baseline=0.5, num_steps=100)
    assert metrics.completeness(f, x, 1, complete, baseline=0.5) < 1e-3
    assert metrics.completeness(f, x, 1, complete) > 0.05
    assert metrics.completeness(f, x, 1, xaijax.saliency(f, x, 1), baseline=0.5) > 0.05
    shapley = xaijax.exact_shapley(f, x, 1)
    assert metrics.completeness(f, x, 1, shapley) < 1e-12


def test_completeness_of_features(key):
    """A painted attribution counts once for each feature."""
    labels = np.array([[0, 0, 1], [2, 2, 1]])
    mask = xaijax.segments(labels, hidden=0.0)
    f = jax.tree_util.Partial(lambda x: (x[..., 0] ** 2).sum()[None] + 3)
    x = jnp.arange(1.0, 7.0).reshape(2, 3, 1)
    values = jnp.array([5.0, 45.0, 41.0])  # the squares of each segment
    for a in (values, values[labels]):
        found = metrics.completeness.details(f, x, 0, a, mask=mask)
        assert (found.total, found.difference, found.gap, found.relative) == (91, 91, 0, 0)


# --- Conservation


def test_conservation_in_whole_numbers():
    x = jnp.array([2.0, 3.0])
    for a, gap, relative in (((3.0, 4.0), 0, 0), ((3.0, -4.0), 8, 8 / 7), ((14.0, 0.0), 7, 1)):
        found = metrics.conservation.details(_product, x, 0, jnp.array(a))
        assert (found.score, found.gap) == (7, gap)
        np.testing.assert_allclose(found.relative, relative, rtol=1e-6)
    assert np.isnan(metrics.conservation(_product, jnp.array([1.0, -1.0]), 0, x))  # a score of 0


def test_relevance_is_conserved_but_for_biases(x64):
    """LRP-0 of a network without biases is conserved; with them what they absorb is missing."""
    f, x = cnn(1, jnp.float64), image(0, jnp.float64)
    without = jax.tree.map(lambda w: w if w.ndim > 1 else 0 * w, f)
    gaps = [metrics.conservation(g, x, 1, xaijax.input_x_gradient(g, x, 1)) for g in (without, f)]
    assert gaps[0] < 1e-10
    assert gaps[1] > 0.01
    relevance = xaijax.input_x_gradient(f, x, 1)
    value = f(x)[1]
    np.testing.assert_allclose(gaps[1], abs((relevance.sum() - value) / value), rtol=1e-10)


def test_a_map_without_channels_is_summed_as_it_is():
    f = jax.tree_util.Partial(lambda x: x.sum()[None])
    assert metrics.conservation(f, jnp.ones((2, 2, 3)), 0, jnp.full((2, 2), 3.0)) == 0
    with pytest.raises(ValueError, match=r"^conservation: attribution must have the shape of x"):
        metrics.conservation(f, jnp.ones((2, 2, 3)), 0, jnp.ones((4, 4)))


# --- Input invariance


def test_input_times_gradient_of_a_linear_model_changes_by_shift_times_weight(x64, key):
    f, x = linear(3, jnp.float64), row(1, jnp.float64)
    w = np.asarray(f.args[0][-1][0])[:, 1]
    explain = xaijax.bind(xaijax.input_x_gradient, f)
    shift = np.array([1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
    for m in (-1.0, shift):
        expected = np.linalg.norm(m * w) / np.linalg.norm(np.asarray(x) * w)
        found = metrics.input_invariance(explain, x, 1, key, shift=m)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_what_is_invariant_and_what_is_not(x64, key):
    f, x = curved(1, jnp.float64), image(0, jnp.float64)
    for explain, invariant in (
        (xaijax.bind(xaijax.saliency, f), True),
        (xaijax.bind(xaijax.grad_cam, f, layer="relu#1"), True),  # the layer keeps its name
        (xaijax.bind(xaijax.input_x_gradient, f), False),
        (xaijax.bind(xaijax.integrated_gradients, f, num_steps=4), False),
    ):
        change = metrics.input_invariance(explain, x, 1, key)
        assert (change < 1e-12) if invariant else (change > 0.1)


def test_the_model_is_exchanged_inside_explainers_made_of_explainers(x64, key):
    """And what is drawn is the same for both."""
    f, x = curved(1, jnp.float64), image(0, jnp.float64)
    inner = xaijax.bind(xaijax.saliency, f)
    outer = xaijax.bind(xaijax.smooth_grad, inner, num_samples=2)
    doubled = exchange_model(outer, lambda f: jax.tree_util.Partial(lambda f, x: 2 * f(x), f))
    assert doubled.f.f is not f
    assert doubled.settings is outer.settings
    np.testing.assert_allclose(doubled(x, 1, key), 2 * outer(x, 1, key), rtol=1e-12)
    assert metrics.input_invariance(outer, x, 1, key) < 1e-12


def test_an_explanation_of_zeros_cannot_change_by_a_part_of_it(key):
    f = jax.tree_util.Partial(lambda x: 0 * x)
    assert np.isnan(metrics.input_invariance(xaijax.bind(xaijax.saliency, f), row(0), 0, key))


def test_a_shift_of_another_shape_is_refused(key):
    explain = xaijax.bind(xaijax.saliency, linear(3))
    with pytest.raises(ValueError, match=r"^input_invariance: shift must be a number or an array"):
        metrics.input_invariance(explain, row(0), 0, key, shift=jnp.ones(5))
