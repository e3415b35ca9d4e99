"""SAGE: the definition on a small data set as oracle, closed forms, confidence, and when it stops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import FIRST, mlp
from tests.oracles import shapley as oracle


def cross_entropy(outputs, y):
    return -jnp.log(outputs[y])


def squared(outputs, y):
    return ((outputs - y) ** 2).sum()


@pytest.fixture(scope="module")
def problem():
    """A network's probabilities of 7 labelled rows, hidden by 3 others; and the values by their definition."""
    rng = np.random.default_rng(0)
    xs, rows = (rng.normal(size=(n, 4)).astype(np.float32) for n in (7, 3))
    ys = rng.integers(0, 3, size=7)
    f = xaijax.probabilities(mlp(FIRST, sizes=(4, 16, 3)))
    answer = jax.jit(f)
    expected = oracle.sage_values(
        lambda x: np.asarray(answer(x)), lambda p, y: -np.log(p[y]), xs, ys, rows
    )
    explain = functools.partial(
        xaijax.sage,
        f,
        jnp.asarray(xs),
        jnp.asarray(ys),
        loss=cross_entropy,
        mask=xaijax.columns(jnp.asarray(rows)),
        batch_size=64,
    )
    return explain, expected


def test_intervals_cover_the_definition(problem):
    explain, expected = problem
    keys = jax.random.split(jax.random.key(1), 200)
    result = jax.vmap(lambda key: explain(key, num_permutations=64))(keys)
    # 2.0 is the quantile of Student's t with 63 degrees of freedom.
    covered = np.abs(result.values - expected) <= 2.0 * np.asarray(result.standard_error)
    assert 0.90 <= covered.mean() <= 0.99
    error = np.std(result.values, axis=0, ddof=1) / np.sqrt(200)
    assert (np.abs(np.mean(result.values, axis=0) - expected) <= 4 * error).all()
    np.testing.assert_allclose(
        result.values.sum(1), result.prediction - result.base_value, atol=1e-5
    )
    assert (result.num_evaluations == 64 * 2 * 4).all()


def test_one_example_is_its_shapley_values_of_the_loss(key):
    """Without chance in the examples, and none in the permutations of a game of pairs."""
    w, x, y = jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 2.0, 3.0]), 0.7

    def f(x):
        return (x @ w)[None]

    result = xaijax.sage(f, x[None], jnp.array([y]), key, loss=squared, num_permutations=3)
    expected = xaijax.exact_shapley(f, x, lambda out: -squared(out, y))
    np.testing.assert_allclose(result.values, expected, rtol=1e-5)
    np.testing.assert_allclose(result.prediction, -((x @ w - y) ** 2), rtol=1e-5)
    np.testing.assert_allclose(result.base_value, -(y**2), rtol=1e-5)
    assert result.standard_error.max() < 1e-5


def test_one_feature_and_a_useless_one(key):
    xs = jnp.array([[1.0], [3.0]])
    one = xaijax.sage(lambda x: x, xs, xs, key, loss=squared, num_permutations=200)
    assert abs(one.values[0] - 5) < 4 * one.standard_error[0]
    two = jnp.concatenate([xs, xs], 1)
    result = xaijax.sage(lambda x: x[:1], two, xs, key, loss=squared, num_permutations=20)
    assert result.values[0] > 0
    assert result.values[1] == result.standard_error[1] == 0


def test_tolerance(problem, key):
    explain, _ = problem
    whole, never = (
        explain(key, num_permutations=150),
        explain(key, num_permutations=150, tolerance=0.0),
    )
    assert not never.converged
    for a, b in zip(never[:6], whole[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    tolerance = float(never.history.standard_error[-3])
    stopped = explain(key, num_permutations=150, tolerance=tolerance)
    assert stopped.converged
    assert stopped.standard_error.max() <= tolerance
    assert 8 <= stopped.num_samples < 150
    again = explain(key, num_permutations=int(stopped.num_samples))
    for a, b in zip(again[:6], stopped[:6], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_new_data_and_weights_cost_no_compile(key, count_compiles):
    xs, ys = jnp.ones((5, 4)), jnp.zeros(5, int)
    with count_compiles() as compiled:
        for seed in (1, 2):
            f = xaijax.probabilities(mlp(seed, sizes=(4, 3)))
            xaijax.sage(f, seed * xs, ys, key, loss=cross_entropy, num_permutations=3)
    assert compiled.count("sage") == 1


XS, KEY = jnp.ones((2, 3)), jax.random.key(0)
WRONG = {
    "labels": ({"ys": jnp.ones(3)}, ValueError, r"ys must have as many labels .*\(2, 3\), \(3,\)"),
    "no example": ({"xs": jnp.ones((0, 3)), "ys": jnp.ones(0)}, ValueError, r"one at least"),
    "no loss": ({"loss": "mse"}, TypeError, r"loss must be a function .*, got 'mse'"),
    "vector": ({"loss": lambda out, y: out}, ValueError, r"-> scalar, got shape \(3,\)"),
    "budget": ({"num_permutations": 0}, ValueError, r"num_permutations must be at least 1, got 0"),
    "background": ({"mask": xaijax.columns(jnp.ones((2, 4)))}, ValueError, r"rows like x, \(3,\)"),
    "not finite": ({"xs": XS * jnp.nan}, ValueError, r"x must be finite, got 6 of 6"),
}


@pytest.mark.parametrize(("change", "error", "message"), WRONG.values(), ids=WRONG.keys())
def test_errors(change, error, message):
    arguments = {"xs": XS, "ys": jnp.ones(2), "key": KEY, "loss": squared, **change}
    with pytest.raises(error, match=message):
        xaijax.sage(lambda x: x, **arguments)
