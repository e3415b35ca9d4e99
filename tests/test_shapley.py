"""Shapley values: closed forms, the definition as oracle, and when the estimator stops.

With ones as input and zeros to hide them, the model is the game: it sees which features are kept.
"""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import xaijax
from tests.cases import mlp, row
from tests.oracles import shapley as oracle


def play(game, num_features, key, **settings):
    """The Shapley values of a game `z -> scalar`."""
    f = jax.tree_util.Partial(_as_vector, game)
    return xaijax.shapley_values(f, jnp.ones(num_features), 0, key, **settings)


def _as_vector(game, z):
    return jnp.stack([game(z)])


def table(num_features, seed=0):
    """Any game: a value for each coalition."""
    values = np.random.default_rng(seed).normal(size=2**num_features)
    return jax.tree_util.Partial(_look_up, jnp.asarray(values, jnp.float32))


def _look_up(values, z):
    index = z @ 2.0 ** jnp.arange(z.size)
    return values[index.astype(int)]


def within_four_errors(result, expected):
    assert (result.standard_error > 0).any()
    distance = np.abs(np.asarray(result.values) - expected)
    return (distance <= 4 * np.asarray(result.standard_error) + 1e-6).all()


# --- Closed forms


def test_product_of_two(key):
    result = play(lambda z: z[0] * z[1], 2, key, num_permutations=1)
    np.testing.assert_allclose(result.values, [0.5, 0.5], rtol=1e-6)
    assert result.num_evaluations == 4


def test_product_of_three(key):
    result = play(lambda z: z[0] * z[1] * z[2], 3, key, num_permutations=1000)
    assert within_four_errors(result, np.full(3, 1 / 3))


def test_airport(key):
    """A runway for the largest aeroplane: those who need a piece of it share its cost."""
    costs = np.array([1.0, 3.0, 4.0, 8.0])
    result = play(lambda z: (z * costs).max(), 4, key, num_permutations=1000)
    pieces = np.diff(costs, prepend=0) / [4, 3, 2, 1]
    assert within_four_errors(result, np.cumsum(pieces))
    np.testing.assert_allclose(result.values.sum(), 8.0, rtol=1e-5)


def test_gloves(key):
    """One left glove and two right ones; a pair is worth 1."""
    result = play(lambda z: z[0] * jnp.maximum(z[1], z[2]), 3, key, num_permutations=1000)
    assert within_four_errors(result, np.array([2 / 3, 1 / 6, 1 / 6]))


def test_linear_model_with_a_background(key):
    """w (x - mean), whatever the permutations."""
    rng = np.random.default_rng(0)
    W, x, background = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(7, 5))
    f = jax.tree_util.Partial(jnp.matmul, jnp.asarray(W.T, jnp.float32))
    mask = xaijax.columns(jnp.asarray(background, jnp.float32))
    row = jnp.asarray(x, jnp.float32)
    result = xaijax.shapley_values(f, row, 1, key, mask=mask, num_permutations=1)
    np.testing.assert_allclose(result.values, W[:, 1] * (x - background.mean(0)), atol=1e-5)
    np.testing.assert_allclose(result.base_value, background.mean(0) @ W[:, 1], atol=1e-5)
    np.testing.assert_allclose(result.prediction, x @ W[:, 1], rtol=1e-5)


def test_one_feature(key):
    for num_permutations in (1, 3):
        result = play(lambda z: 5 * z[0] + 2, 1, key, num_permutations=num_permutations)
        np.testing.assert_allclose(result.values, [5.0])
        assert (result.base_value, result.prediction) == (2.0, 7.0)
        assert result.num_evaluations == 2
        assert result.standard_error == (0 if num_permutations > 1 else np.inf)


def test_one_pair_is_exact_without_interactions_of_three(key):
    rng = np.random.default_rng(0)
    pairs, single = rng.normal(size=(7, 7)), rng.normal(size=7)
    pairs = jnp.asarray(np.triu(pairs, 1), jnp.float32)
    result = play(lambda z: z @ pairs @ z + z @ single, 7, key, num_permutations=1)
    expected = single + (pairs.sum(0) + pairs.sum(1)) / 2
    np.testing.assert_allclose(result.values, expected, atol=1e-5)


def test_one_pair_is_not_exact_in_general(key):
    """Or the tests of exactness would prove nothing."""
    game = table(5)
    result = play(game, 5, key, num_permutations=1)
    assert np.abs(result.values - oracle.shapley_values(game, 5)).max() > 0.01


# --- The definition


def test_definition(key):
    """Ten features, a network as game."""
    network = mlp(3, sizes=(10, 16, 2))
    result = xaijax.shapley_values(network, jnp.ones(10), 1, key, num_permutations=256)
    expected = oracle.shapley_values(jax.jit(lambda z: network(jnp.asarray(z))[1]), 10)
    assert within_four_errors(result, expected)
    assert np.abs(expected).max() > 20 * result.standard_error.max()


def test_walks_of_all_permutations_are_the_definition():
    """The two oracles agree: the estimator's target is the definition."""
    values = np.random.default_rng(0).normal(size=2**4)

    def v(z):
        return values[int(z @ 2 ** np.arange(4))]

    walks = oracle.permutation_walks(v, list(permutations(range(4))))
    np.testing.assert_allclose(walks, oracle.shapley_values(v, 4), rtol=1e-12)


# --- The estimator


def test_single_walks_pair_a_permutation_with_its_reverse(key):
    """The result of one pair is one of the antithetic pairs of walks, and all of them occur."""
    game = table(4)
    pairs = {}
    for p in permutations(range(4)):
        if p < p[::-1]:
            pairs[p] = oracle.permutation_walks(game, [p, p[::-1]])
    f = jax.tree_util.Partial(_as_vector, game)
    explain = xaijax.bind(xaijax.permutation_shap, f, num_permutations=1)
    keys = jax.random.split(key, 200)
    found = jax.vmap(explain, (None, None, 0))(jnp.ones(4), 0, keys)
    distance = np.abs(np.array(list(pairs.values()))[:, None] - np.asarray(found)[None]).max(-1)
    np.testing.assert_allclose(distance.min(0), 0, atol=1e-5)
    counts = np.bincount(distance.argmin(0), minlength=12)
    # Uniform over the 12 pairs: chi squared with 11 degrees of freedom, its 1e-4 quantile.
    assert ((counts - 200 / 12) ** 2 / (200 / 12)).sum() < 37.4


def test_standard_error_is_that_of_independent_pairs(key, x64):
    """The pairs are recovered from runs of growing length: run k is the mean of the first k."""
    game = jax.tree_util.Partial(_look_up, jnp.asarray(np.random.default_rng(0).normal(size=32)))
    runs = [play(game, 5, key, num_permutations=k) for k in range(1, 7)]
    totals = np.array([k * run.values for k, run in enumerate(runs, 1)])
    pairs = np.diff(totals, axis=0, prepend=np.zeros((1, 5)))
    for m, run in enumerate(runs, 1):
        assert run.num_samples == m
        assert run.num_evaluations == 2 + m * 8
        if m > 1:
            expected = pairs[:m].std(0, ddof=1) / np.sqrt(m)
            np.testing.assert_allclose(run.standard_error, expected, rtol=1e-9)
    assert np.isinf(runs[0].standard_error).all()


# --- Tolerance

TOLERANCE = 0.15


@pytest.fixture(scope="module")
def stopped():
    """Runs that stop at a tolerance, evaluated in chunks of several sizes."""
    game, key = table(6), jax.random.key(3)
    return {
        batch_size: play(
            game, 6, key, num_permutations=200, tolerance=TOLERANCE, batch_size=batch_size
        )
        for batch_size in (None, 1, 25)
    }


def test_tolerance_is_met(stopped):
    result = stopped[None]
    assert result.converged
    assert result.standard_error.max() <= TOLERANCE
    assert 8 < result.num_samples < 200


def test_stopping_does_not_depend_on_the_chunk(stopped):
    for result in stopped.values():
        assert result.num_samples == stopped[None].num_samples
        np.testing.assert_allclose(result.values, stopped[None].values, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(result.standard_error, stopped[None].standard_error, rtol=1e-4)
        assert result.num_evaluations == 2 + 10 * stopped[1].num_samples


def test_stopped_run_is_a_run_of_that_length(stopped):
    m = int(stopped[None].num_samples)
    key = jax.random.key(3)
    full = play(table(6), 6, key, num_permutations=m)
    np.testing.assert_allclose(stopped[None].values, full.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stopped[None].standard_error, full.standard_error, rtol=1e-4)
    # The history is that of runs of the lengths before, the first of which that is good enough is the last.
    past = stopped[None].history
    lengths = (past.num_evaluations[past.num_evaluations < 2 + 10 * m] - 2) // 10
    assert 1 < len(lengths) < len(past.num_evaluations) - 1
    for error, length in zip(past.standard_error, lengths, strict=False):
        run = play(table(6), 6, key, num_permutations=int(length))
        np.testing.assert_allclose(run.standard_error.max(), error, rtol=1e-4)
        assert error > TOLERANCE
    np.testing.assert_array_equal(past.num_evaluations[len(lengths) :], 2 + 10 * m)
    assert len(set(past.standard_error[len(lengths) :].tolist())) == 1


def test_all_permutations_when_the_tolerance_is_not_met(key):
    game, size = table(6), {"num_permutations": 10}
    expected = play(game, 6, key, **size)
    for batch_size in (None, 45):  # ten walks at once; four, four and two of another four
        result = play(game, 6, key, tolerance=0.0, batch_size=batch_size, **size)
        assert not result.converged
        assert result.num_samples == 10
        np.testing.assert_allclose(result.values, expected.values, rtol=1e-5, atol=1e-6)


def test_certain_game_stops_at_once(key):
    """Without interactions the walks agree: the fewest pairs that are trusted are enough."""
    w = jnp.array([1.0, 2.0, 4.0])
    result = play(lambda z: z @ w, 3, key, num_permutations=100, tolerance=1e-3)
    assert result.converged
    assert result.num_samples == 8


# --- Axioms


@st.composite
def games(draw):
    """The values of a game of up to six features, and two of the features."""
    M = draw(st.sampled_from([1, 2, 4, 6]))
    numbers = st.floats(-100, 100, width=32)
    values = draw(arrays(np.float32, 2**M, elements=numbers))
    return values, M


@settings(max_examples=40, deadline=None)
@given(games(), st.integers(0, 2**32 - 1))
def test_efficiency(game, seed):
    values, M = game
    look_up = jax.tree_util.Partial(_look_up, jnp.asarray(values))
    result = play(look_up, M, jax.random.key(seed), num_permutations=2)
    assert (result.base_value, result.prediction) == (values[0], values[-1])
    total = float(result.prediction) - float(result.base_value)
    assert abs(result.values.sum() - total) <= 1e-5 * max(np.abs(values).max(), 1)


def test_dummy(key):
    """A feature that changes nothing gets nothing, in every walk."""
    rest = table(5)
    result = play(lambda z: rest(z.at[2].set(0.0)), 5, key, num_permutations=5)
    assert result.values[2] == 0
    assert result.standard_error[2] == 0
    assert (result.values != 0).sum() == 4


def test_symmetry(key):
    """Features that are interchangeable get the same, up to the error of the estimate."""
    result = play(lambda z: (z[0] + z[1]) ** 3 * (1 + z[2]), 3, key, num_permutations=500)
    expected = oracle.shapley_values(lambda z: (z[0] + z[1]) ** 3 * (1 + z[2]), 3)
    assert expected[0] == pytest.approx(expected[1])
    assert within_four_errors(result, expected)


def test_row_of_a_table(table_model, key):
    """The values are laid out on the row, and are those with diagnostics."""
    x, mask = row(0), xaijax.columns(jnp.stack([row(1), row(2)]))
    values = xaijax.permutation_shap(table_model, x, 2, key, mask=mask)
    result = xaijax.shapley_values(table_model, x, 2, key, mask=mask)
    np.testing.assert_allclose(values, result.values, rtol=1e-6)
    np.testing.assert_allclose(values.sum(), result.prediction - result.base_value, rtol=1e-4)
    np.testing.assert_allclose(result.prediction, table_model(x)[2], rtol=1e-5)


def test_more_than_one_axis(key):
    """An array's elements are features; the values have its shape."""
    W = jnp.arange(6.0).reshape(2, 3)
    x = jnp.ones((2, 3))
    values = xaijax.permutation_shap(lambda x: (x * W).sum()[None], x, 0, key, num_permutations=1)
    np.testing.assert_allclose(values, W, atol=1e-5)
