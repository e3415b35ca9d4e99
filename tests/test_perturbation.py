"""What the methods that hide parts of the input cost: their forward passes, in bounded memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import xaijax
from tests.cases import CNN, FIRST, cnn, image

X, COUNT = image(0, size=32), 17


def pieces(rows, columns):
    labels = xaijax.superpixels(np.zeros(X.shape), "grid", rows=rows, columns=columns)
    return {"mask": xaijax.segments(labels)}


def windows(stride):
    return {"window": (8, 8), "stride": (stride, stride)}


def program(method, f, settings, batch_size):
    keys = (jax.random.key(0),) if method == "rise" else ()
    explain = getattr(xaijax, method)
    return explain.program(f, X, 0, *keys, batch_size=batch_size, **settings).compile()


def flops(compiled):
    return compiled.cost_analysis()["flops"]


@pytest.fixture(scope="module")
def wide():
    """A network that computes as much for a pixel as a small one of the zoo, and the flops of its forward passes."""
    like = nnx.eval_shape(lambda: CNN(nnx.Rngs(0), width=32))
    f = jax.tree.map(lambda w: jnp.ones(w.shape), like)
    forwards = jax.jit(jax.vmap(lambda x: xaijax.lower(f)(x)[0])).lower(jnp.stack([X] * COUNT))
    return f, flops(forwards.compile())


# The input and 16 parts of it, or 17 masks.
FORWARDS = {
    "occlusion": windows(8),
    "feature_ablation": pieces(4, 4),
    "rise": {"num_samples": COUNT},
}


@pytest.mark.parametrize("method", FORWARDS)
def test_flops_of_the_forward_passes(method, wide):
    f, needed = wide
    used = flops(program(method, f, FORWARDS[method], COUNT))
    assert needed <= used <= 1.05 * needed


# Few forward passes and many, all in chunks of eight.
WORK = {
    "occlusion": (windows(4), windows(1)),  # 50 and 626
    "feature_ablation": (pieces(3, 5), pieces(15, 17)),
    "rise": ({"num_samples": 2**6}, {"num_samples": 2**13}),
}


@pytest.mark.parametrize("method", WORK)
def test_memory_does_not_grow_with_the_work(method):
    model = cnn(FIRST)
    few, many = (
        program(method, model, settings, 8).memory_analysis().temp_size_in_bytes
        for settings in WORK[method]
    )
    assert many <= 1.1 * few
