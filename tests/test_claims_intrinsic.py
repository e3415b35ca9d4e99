"""Claims about explanations that are trained in: what follows from rows of which that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx

import xaijax
from experiments import _attention
from experiments._train import cross_entropy
from experiments.claims import attention_branch, cam_fostering


def test_deeper_network_is_as_large_as_the_one_with_the_branch():
    sizes = {
        name: _attention.size(nnx.eval_shape(lambda make=make: make(nnx.Rngs(0))))
        for name, make in {
            "plain": _attention.plain(4),
            "deeper": _attention.plain(4, deeper=True),
            "branch": _attention.branched(4),
        }.items()
    }
    assert abs(sizes["deeper"] / sizes["branch"] - 1) < 0.01
    assert sizes["plain"] < 0.7 * sizes["branch"]


def test_layers_of_the_maps_are_as_fine_as_one_another():
    x = jnp.zeros((32, 32, 1))

    def shape(explain, make, **settings):
        call = lambda: explain(xaijax.as_model(make(4)(nnx.Rngs(0))), x, 0, **settings)  # noqa: E731
        return jax.eval_shape(call).shape

    assert shape(xaijax.attention_map, _attention.branched) == (8, 8)
    assert shape(xaijax.grad_cam, _attention.plain, layer=attention_branch.SEEN) == (8, 8)
    assert shape(xaijax.grad_cam, _attention.plain) == (4, 4)


def of_errors(errors):
    return pd.DataFrame(
        [
            {"dataset": d, "seed": i, "what": name, "metric": "error", "value": v, "parameters": 1}
            for d, rows in errors.items()
            for name, values in rows.items()
            for i, v in enumerate(values)
        ]
    )


def test_error_that_is_lower_on_every_seed_counts_and_one_that_is_not_does_not():
    noise = np.array([0.0, 0.001, -0.001, 0.0005, -0.0005])
    a = attention_branch
    lower = {a.PLAIN: 0.05 + noise, a.DEEPER: 0.05 - noise, a.AUXILIARY: 0.04 + noise[::-1]}
    table = of_errors(
        {
            "digits": {**lower, a.ABN: 0.02 + noise},
            "shapes": {**lower, a.ABN: 0.04 + noise},  # not below the branch's loss alone
        }
    )
    found = a.differences(table)
    assert found.lower.tolist() == [True] * 5 + [False]
    assert not found.higher.any()
    np.testing.assert_allclose(found.interval[0].mean, -3.0)
    done = a.conclude(a.Config(datasets=("digits", "shapes"), seeds=5), table)
    assert (done.verdict, done.only_if) == ("only if", "the data are digits")


@pytest.mark.parametrize(
    ("lift", "accuracy", "verdict"),
    [(0.5, 0.0, "supported"), (0.0, 0.0, "refuted"), (0.5, -0.02, "refuted")],
)
def test_map_that_only_shrinks_does_not_help(lift, accuracy, verdict):
    config = cam_fostering.Config(seeds=3, betas=(0.0, 1.0))
    numbers = {
        "entropy": (2.0, 1.0),
        "lift": (3.0, 3.0 + lift),
        "accuracy": (0.99, 0.99 + accuracy),
        **dict.fromkeys(["ellipse area", "dispersion", "contrast", "vanished"], (1.0, 0.5)),
    }
    rows = [
        {"unit": f"seed {s}", "arm": arm, "beta": beta, "metric": m, "weights": w}
        | {"value": values[i] + 0.001 * (s - 1) * (i + 1)}
        for s in range(3)
        for arm, beta, w, i in (
            ("beta 0", 0, "a", 0),
            ("beta 1", 1, "b", 1),
            ("detached", 1, "a", 0),
        )
        for m, values in numbers.items()
    ]
    done = cam_fostering.conclude(config, pd.DataFrame(rows))
    assert done.verdict == verdict
    assert "The entropy falls with every larger beta" in done.text
    assert "Detached, the weights are those of beta = 0" in done.text
    assert ("without a higher lift at: 1." in done.text) == (lift == 0)


def test_detached_term_gives_bitwise_the_plain_gradient():
    model = _attention.plain(4)(nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 16, 16, 1)), jnp.float32)
    y = jnp.arange(8) % 4

    @nnx.jit
    def gradient(model, beta, detached):
        return nnx.grad(lambda m: cam_fostering.fostered(beta, detached, m, x, y))(model)

    cases = ((0.0, False), (100.0, True), (1.0, False))
    none, detached, attached = (
        jax.tree.leaves(gradient(model, jnp.float32(b), jnp.bool(d))) for b, d in cases
    )
    plain = jax.tree.leaves(nnx.jit(nnx.grad(cross_entropy))(model, x, y))
    for a, b, c in zip(none, detached, plain, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=1e-4 * np.abs(c).max() + 1e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(none, attached, strict=True))
