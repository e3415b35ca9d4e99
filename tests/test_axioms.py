"""Axioms of attribution, and recorded counter-examples of the methods that are known to violate one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xaijax
from tests.cases import FIRST, image, mlp, row

seeds = st.integers(0, 2**16)

# Methods of a game, with what makes them cheap. Their values are linear in the scores.
GAMES = {
    "lime": (xaijax.lime, {"num_samples": 60}),
    "permutation_shap": (xaijax.permutation_shap, {"num_permutations": 2}),
}
each_game = pytest.mark.parametrize(("explain", "settings_"), GAMES.values(), ids=GAMES.keys())


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * np.abs(np.asarray(b)).max())


@each_game
@settings(max_examples=20, deadline=None)
@given(seeds, st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4))
def test_linearity_in_the_target(explain, settings_, seed, weights):
    """The explanation of a weighted sum of outputs is the weighted sum of their explanations."""
    f, x, key = mlp(FIRST), row(seed), jax.random.key(seed)
    one_by_one = np.array([explain(f, x, c, key, **settings_) for c in range(4)])
    together = explain(f, x, jnp.array(weights, jnp.float32), key, **settings_)
    expected = np.array(weights) @ one_by_one
    scale = np.abs(np.array(weights)) @ np.abs(one_by_one).max(1)
    np.testing.assert_allclose(together, expected, atol=1e-5 * scale + 1e-6)


@each_game
@settings(max_examples=10, deadline=None)
@given(seeds)
def test_permuted_features(explain, settings_, seed):
    """Renaming the features renames the values: no place in the row is special.

    The samples are not renamed along, so this holds for games that one pair of walks, or a surrogate, gets exactly.
    """
    rng = np.random.default_rng(seed)
    w, order = jnp.asarray(rng.normal(size=6), jnp.float32), rng.permutation(6)
    x, key = row(seed), jax.random.key(seed)
    exact = {"ridge": 0.0, "kernel_width": 1.0} if explain is xaijax.lime else {}

    def values(w, x):
        f = jax.tree_util.Partial(_linear, w)
        return np.asarray(explain(f, x, 0, key, **settings_, **exact))

    expected = np.asarray(w * x)
    np.testing.assert_allclose(values(w, x), expected, atol=1e-4)
    np.testing.assert_allclose(values(w[order], x[order]), expected[order], atol=1e-4)


def _linear(w, x):
    return (x @ w)[None]


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(0, 5))
def test_missing_feature_gets_nothing(seed, feature):
    """A feature that shows the same kept as hidden has the Shapley value 0, whatever the model."""
    x, key = row(seed), jax.random.key(seed)
    background = jnp.stack([row(seed + 1), row(seed + 2)]).at[:, feature].set(x[feature])
    mask = xaijax.columns(background)
    phi = xaijax.permutation_shap(mlp(FIRST), x, 0, key, mask=mask, num_permutations=2)
    assert phi[feature] == 0
    assert np.count_nonzero(phi) == 5


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_completeness_of_shapley_values(seed):
    f, x = mlp(FIRST), row(seed)
    mask = xaijax.columns(jnp.stack([row(seed + 1), row(seed + 2)]))
    phi = xaijax.permutation_shap(f, x, 1, jax.random.key(seed), mask=mask, num_permutations=2)
    base = np.mean([f(b)[1] for b in mask.background])
    np.testing.assert_allclose(phi.sum(), f(x)[1] - base, atol=1e-4)


def test_completeness_is_violated_by_lime(key):
    """The best linear answer to "all four" has the coefficients 1/8: half of it is residual."""

    def f(x):
        return jnp.prod(x)[None]

    settings_ = {"num_samples": 4000, "kernel_width": 100.0, "ridge": 0.0}
    coefficients = xaijax.lime(f, jnp.ones(4), 0, key, **settings_)
    np.testing.assert_allclose(coefficients, 1 / 8, atol=0.03)


# --- Implementation invariance


def rewritten(x):
    """`mlp(FIRST)` by other operations: one sample as a batch of one, tanh by its exponentials."""
    (first, second) = mlp(FIRST).args[0]
    hidden = x[None] @ first[0] + first[1]
    hidden = 1 - 2 / (1 + jnp.exp(2 * hidden))
    return jnp.squeeze(hidden @ second[0] + second[1], 0)


@each_game
def test_implementation_invariance(explain, settings_, key):
    """Methods that only ask the model cannot tell two programs of one function apart."""
    x = row(0)
    close(rewritten(x), mlp(FIRST)(x))
    values = explain(rewritten, x, 2, key, **settings_)
    close(values, explain(mlp(FIRST), x, 2, key, **settings_))


def test_implementation_invariance_is_violated_by_grad_cam(model):
    """It explains a layer, and what the layers are is a matter of how a function is written.

    A ramp that is added to a feature map and taken off again: the same scores, another map.
    """
    ramp = jnp.linspace(0, 1, 8)[:, None, None]

    def ramped(x):
        with jax.named_scope("features"):
            A = model.features(x) + ramp
        return model.head(A - ramp)

    x = image(0)
    close(ramped(x), model(x))
    cam = xaijax.grad_cam(model, x, 1)
    assert np.abs(cam - xaijax.grad_cam(ramped, x, 1, layer="features")).max() > 0.1 * cam.max()


# --- Sensitivity


def test_shapley_values_see_a_saturated_feature(key):
    """f = min(x1 + x2, 1): at (1, 1) neither matters alone, yet both get their half."""

    def f(x):
        return jnp.minimum(x[:1] + x[1:2], 1.0)

    phi = xaijax.permutation_shap(f, jnp.ones(2), 0, key, num_permutations=1)
    np.testing.assert_allclose(phi, [0.5, 0.5])
    assert np.all(jax.grad(lambda x: f(x)[0])(jnp.ones(2) * 1.1) == 0)


def test_sensitivity_is_violated_by_grad_cam():
    """The mean gradient of a layer loses the place: gradients of opposite signs cancel."""

    def f(x):
        with jax.named_scope("features"):
            A = jax.nn.relu(x)
        return (A[0].sum() - A[1].sum())[None]

    x = jnp.array([[[2.0], [1.0]], [[0.5], [0.5]]])
    result = xaijax.cam_maps(xaijax.bind(xaijax.grad_cam, f, layer="features"), x, 0)
    np.testing.assert_array_equal(result.weights, [0.0])
    assert result.degenerate
    assert f(x) != f(0 * x)
