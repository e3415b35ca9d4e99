"""Owen values: the definition as oracle, axioms over groups, the permutations that are sampled.

With ones as input and zeros to hide them, the model is the game: it sees which features are kept.
"""

import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import mlp
from tests.oracles import shapley as oracle
from xaijax.shapley._owen import _paths, _places

TREE = ((0, (1,)), (4, (3, 5, 2)))
# A hierarchy and how many coalitions there are besides none and all.
TREES = {
    "flat": (tuple(range(5)), 30),
    "two levels": (((0, 4), (1,), (2, 3)), 6 + 2 * 4 * 2),
    "binary": ((((0, 1), (2, 3)), ((4, 5), 6)), 2 + 2 * 2 * 2 + 3 * 4 * 2),
    "uneven": (TREE, 2 + 2 * 2 * 2 + 4 * 6),
    "one in another": ((((1, 0),),), 2),
}


def _look_up(values, z):
    index = z @ 2.0 ** jnp.arange(z.size, dtype=z.dtype)
    return values[index.astype(int)][None]


def table(num_features, dtype=jnp.float32):
    """Any game: a value for each coalition."""
    values = np.random.default_rng(0).normal(size=2**num_features)
    return jax.tree_util.Partial(_look_up, jnp.asarray(values, dtype))


def defined(f, tree):
    return oracle.owen_values(lambda z: f(jnp.asarray(z))[0], tree)


def play(f, M, key, **settings):
    return xaijax.owen_values(f, jnp.ones(M), 0, key, **settings)


@pytest.mark.parametrize(("tree", "count"), TREES.values(), ids=TREES.keys())
def test_all_coalitions_are_the_definition(tree, count, key, x64):
    M = len(oracle.consistent_permutations(tree)[0])
    f = table(M, jnp.float64)
    result = play(f, M, key, hierarchy=tree, num_samples=count, tolerance=0.0)
    np.testing.assert_allclose(result.values, defined(f, tree), atol=1e-12)
    assert result.num_evaluations == 2 + count
    assert not result.standard_error.any()
    assert result.converged
    if count > 2 * (M - 1):
        fewer = play(f, M, key, hierarchy=tree, num_samples=count - 1)
        assert fewer.num_evaluations < 2 + count
        assert fewer.standard_error.any()


def test_one_level_gives_shapley_values(key):
    f, x = table(6), jnp.ones(6)
    exact = play(f, 6, key)
    np.testing.assert_allclose(exact.values, xaijax.exact_shapley(f, x, 0), atol=1e-6)
    few = play(f, 6, key, num_samples=59)
    walks = xaijax.shapley_values(f, x, 0, key, num_permutations=5)
    np.testing.assert_array_equal(few.values, walks.values)


def test_members_share_what_their_group_gets_in_the_game_of_groups(key):
    groups = ((0, 1), (2, 3, 4), (5,))
    f = table(6)
    member = np.repeat(np.eye(3), [len(g) for g in groups], axis=0)
    result = play(f, 6, key, hierarchy=groups)
    of_groups = oracle.shapley_values(lambda z: f(jnp.asarray(member @ z))[0], 3)
    np.testing.assert_allclose(result.values @ member, of_groups, atol=1e-6)


def test_sampled_values_are_efficient_and_their_intervals_cover(key):
    """Of ten pairs of walks for each of 200 keys, where all coalitions, the definition as above, would be 250."""
    network, tree = mlp(3, sizes=(12, 16, 1)), (tuple(range(6)), tuple(range(6, 12)))
    explain = functools.partial(xaijax.owen_values, network, jnp.ones(12), 0, hierarchy=tree)
    exact = explain(key, num_samples=250)
    assert not exact.standard_error.any()
    keys = jax.random.split(key, 200)
    result = jax.vmap(lambda key: explain(key, num_samples=22 * 10, batch_size=64))(keys)
    np.testing.assert_allclose(
        result.values.sum(1), result.prediction - result.base_value, atol=1e-5
    )
    # 2.26 is the quantile of Student's t with 9 degrees of freedom.
    distance = np.abs(result.values - exact.values)
    assert 0.90 <= (distance <= 2.26 * np.asarray(result.standard_error)).mean() <= 0.99
    error = np.std(result.values, axis=0, ddof=1) / np.sqrt(200)
    assert (np.abs(np.mean(result.values, axis=0) - exact.values) <= 4 * error + 1e-6).all()
    told = np.sqrt(np.mean(np.square(result.standard_error), axis=0))
    np.testing.assert_allclose(told, error * np.sqrt(200), rtol=0.3)


def test_permutations_keep_groups_together_and_are_alike(key):
    draw = jax.vmap(lambda k: jnp.argsort(_places(_paths(TREE, 6), k, 6)))
    found = Counter(map(tuple, np.asarray(draw(jax.random.split(key, 4800))).tolist()))
    expected = oracle.consistent_permutations(TREE)
    assert found.keys() == set(expected)
    counts = np.array(list(found.values()))
    # Chi squared with 47 degrees of freedom, its 1e-4 quantile.
    assert ((counts - 100) ** 2 / 100).sum() < 90.5


def test_tolerance(key):
    settings = {"hierarchy": TREE, "num_samples": 33}
    network = mlp(3, sizes=(6, 16, 1))
    whole = play(network, 6, key, **settings)
    never = play(network, 6, key, **settings, tolerance=0.0)
    assert not never.converged
    np.testing.assert_allclose(never.values, whole.values, atol=1e-6)
    assert play(network, 6, key, **settings, tolerance=10.0).converged


def test_hierarchy_of_a_dendrogram():
    """SciPy's: the two nodes that are joined in each row."""
    joined = [[0, 2], [1, 4], [3, 5]]
    parents = np.full(7, -1)
    for t, pair in enumerate(joined):
        parents[pair] = 4 + t
    assert xaijax.hierarchy(parents) == (3, (1, (0, 2)))


@pytest.mark.parametrize(
    "parents", [[], [0], [-1, -1], [1, 0, -1], [-1, 0, 0], [3, 3, -1], [5, -1]]
)
def test_parents_of_no_tree(parents):
    with pytest.raises(ValueError, match=r"hierarchy: parents must name each node's parent"):
        xaijax.hierarchy(parents)


WRONG = {
    "twice": (
        {"hierarchy": (0, (1, 1))},
        ValueError,
        r"each of the features 0, \.\.\., 2 once, got \[0, 1, 1\]",
    ),
    "missing": ({"hierarchy": (0, 1)}, ValueError, r"each of the features .*, got \[0, 1\]"),
    "empty group": (
        {"hierarchy": (0, 1, 2, ())},
        TypeError,
        r"nested tuples .*, got \(\)\. .*xaijax\.hierarchy",
    ),
    "names": (
        {"hierarchy": ("a", "b")},
        TypeError,
        r"nested tuples of the features' numbers, got 'a'",
    ),
    "budget": (
        {"num_samples": 3},
        ValueError,
        r"num_samples must be at least 4, .* 3 features .*, got 3\.",
    ),
}


@pytest.mark.parametrize(("settings", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors(settings, error, message, key):
    with pytest.raises(error, match="owen_values: .*" + message):
        play(lambda z: z[:2], 3, key, **settings)
