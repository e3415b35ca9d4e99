"""Occlusion against a loop over its windows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.oracles import perturbation as oracle
from tests.test_lime import Recorder


def curved(x):
    """Interactions between all elements, so that overlapping windows lose different amounts."""
    w = np.linspace(-1, 1, x.size).reshape(x.shape)
    return jnp.sin(2 * (w * x).sum()) + (w * x**2).sum()


#: Shape, window, stride: remainders, full axes, images.
WINDOWS = [
    ((7,), (3,), None),
    ((7,), (3,), (2,)),
    ((8,), (3,), (3,)),
    ((5, 4, 3), (2, 4, 2), (2, 3, 1)),
    ((7, 5, 2), (3, 2), (2, 2)),
    ((4, 3), (4, 3), (9, 1)),
]


@pytest.mark.parametrize(("shape", "window", "stride"), WINDOWS)
def test_oracle(shape, window, stride, rng, x64):
    x = rng.normal(size=shape)
    baseline = rng.normal(size=shape[-1:])
    whole = (*window, *shape[len(window) :])
    steps = (*(stride or (1,) * len(window)), *shape[len(window) :])
    found = xaijax.occlusion(
        lambda x: curved(x)[None],
        jnp.asarray(x),
        0,
        window=window,
        stride=stride,
        baseline=baseline,
    )
    expected = oracle.occlusion(curved, x, whole, steps, baseline)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_every_place_is_asked_once(rng):
    recorder = Recorder(lambda rows: rows.sum((1, 2)))
    x = jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)
    xaijax.occlusion(recorder.model, x, 0, window=(2, 2), stride=(2, 2), baseline=9.0, batch_size=4)
    assert [len(rows) for rows in recorder.asked] == [4, 4]
    hidden = {tuple(map(tuple, np.argwhere(row == 9.0))) for row in recorder.rows}
    blocks = [(rows, columns) for rows in ((0, 1), (2, 3)) for columns in ((0, 1), (2, 3), (4,))]
    expected = {tuple((i, j) for i in rows for j in columns) for rows, columns in blocks}
    assert hidden == expected | {()}


def test_height_and_width_in_any_layout(rng):
    """Of a model with the channels first the window slides over the last two axes."""
    kernel = jnp.asarray(rng.normal(size=(4, 3, 3, 3)), jnp.float32)

    def first(x):
        return jnp.tanh(jax.lax.conv(x[None], kernel, (1, 1), "SAME")).sum((2, 3))[0]

    x = jnp.asarray(rng.normal(size=(3, 6, 5)), jnp.float32)
    found = xaijax.occlusion(first, x, 1, window=(3, 2), stride=(2, 2))
    expected = xaijax.occlusion(first, x, 1, window=(3, 3, 2), stride=(1, 2, 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert not np.allclose(found[0, 0], found[0, 0, 0])


# --- Bad calls

X = np.ones(6, np.float32)
BAD = {
    "window of a number": (
        {"window": 3},
        TypeError,
        r"window must be a tuple of integers, got 3\.",
    ),
    "window of fractions": ({"window": (1.5,)}, TypeError, r"window must be a Python integer"),
    "window of nothing": ({"window": (0,)}, ValueError, r"window must be at least 1, got 0\."),
    "window of another rank": (
        {"window": (2, 2)},
        ValueError,
        r"window must have a size for each axis of x, \(6,\), or be .*, got \(2, 2\)\.",
    ),
    "window larger than x": (
        {"window": (7,)},
        ValueError,
        r"window must be at most x, \(6,\), got",
    ),
    "stride larger than the window": (
        {"window": (2,), "stride": (3,)},
        ValueError,
        r"stride must be at most the window, \(2,\), .*never be hidden, got \(3,\)\.",
    ),
    "stride of another rank": (
        {"window": (2,), "stride": (1, 1)},
        ValueError,
        r"stride must have as many numbers as the window, \(2,\), got \(1, 1\)\.",
    ),
    "baseline of another shape": (
        {"window": (2,), "baseline": np.zeros(5)},
        ValueError,
        r"baseline must be a number or an array that broadcasts to x, \(6,\), got shape \(5,\)\.",
    ),
    "baseline of several": (
        {"window": (2,), "baseline": np.zeros((2, 6))},
        ValueError,
        r"baseline must be a number or .*, got shape \(2, 6\)\.",
    ),
    "baseline NaN": (
        {"window": (2,), "baseline": np.nan},
        ValueError,
        r"baseline must be finite, got 1 of 1 values NaN",
    ),
    "baseline text": (
        {"window": (2,), "baseline": "grey"},
        TypeError,
        r"baseline must be a number",
    ),
    "x of integers": (
        {"window": (2,), "x": np.arange(6)},
        TypeError,
        r"x must be one float array, got int",
    ),
}


@pytest.mark.parametrize(("settings", "error", "says"), BAD.values(), ids=BAD.keys())
def test_refused_before_anything_is_compiled(settings, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error, match=rf"^occlusion: {says}"):
        xaijax.occlusion(lambda x: x * 1.0, **{"x": X, "target": 0, **settings})
    assert "occlusion" not in compiled
