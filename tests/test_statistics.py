"""What holds on average over keys, and how the memory grows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import FIRST, cnn, image, mlp
from tests.oracles import lime, shapley


@pytest.fixture(scope="module")
def game():
    """A network on ten features that are on or off, and its Shapley values."""
    network = mlp(3, sizes=(10, 16, 1))
    return network, shapley.shapley_values(jax.jit(lambda z: network(jnp.asarray(z))[0]), 10)


def estimates(network, num_permutations, num_keys):
    keys = jax.random.split(jax.random.key(1), num_keys)
    explain = xaijax.bind(
        xaijax.shapley_values, network, num_permutations=num_permutations, batch_size=64
    )
    return jax.vmap(explain, (None, None, 0))(jnp.ones(10), 0, keys)


def test_intervals_cover_the_values(game):
    """95 % intervals of 32 pairs; 2.04 is the quantile of Student's t with 31 degrees of freedom."""
    network, expected = game
    result = estimates(network, 32, num_keys=200)
    covered = np.abs(result.values - expected) <= 2.04 * np.asarray(result.standard_error)
    assert 0.90 <= covered.mean() <= 0.99
    # Unbiased: the mean over all keys is within four of its own standard errors.
    error = np.std(result.values, axis=0, ddof=1) / np.sqrt(200)
    assert (np.abs(np.mean(result.values, axis=0) - expected) <= 4 * error).all()
    # And the standard errors are those that the spread over the keys shows.
    told = np.sqrt(np.mean(np.square(result.standard_error), axis=0))
    np.testing.assert_allclose(told, error * np.sqrt(200), rtol=0.25)


@pytest.mark.slow
def test_error_falls_with_the_root_of_the_work(game):
    network, expected = game
    sizes = np.array([8, 32, 128, 512])
    errors = [
        np.sqrt(np.mean(np.square(estimates(network, int(m), num_keys=64).values - expected)))
        for m in sizes
    ]
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert -0.6 <= slope <= -0.4


def test_lime_converges_to_the_fit_of_all_masks():
    """The surrogate of many samples nears the one of all 2^6 masks, each as likely."""
    network = mlp(3, sizes=(6, 16, 1))
    Z = ((np.arange(64)[:, None] >> np.arange(6)) & 1).astype(np.float32)
    limit = lime.lime(Z, network(jnp.asarray(Z))[:, 0], kernel_width=0.5, ridge=0.0)
    keys = jax.random.split(jax.random.key(1), 32)
    errors = []
    for num_samples in (256, 4096):
        explain = xaijax.bind(
            xaijax.lime, network, num_samples=num_samples, kernel_width=0.5, ridge=0.0
        )
        values = jax.vmap(explain, (None, None, 0))(jnp.ones(6), 0, keys)
        errors.append(np.sqrt(np.mean(np.square(values - limit.coefficients))))
    # Sixteen times the samples, a quarter of the error.
    assert 0.18 <= errors[1] / errors[0] <= 0.32


# --- Memory


@pytest.mark.parametrize("method", ["lime_fit", "shapley_values"])
def test_memory_does_not_grow_with_the_samples(method):
    """From about 2^6 to 2^12 evaluations of a network in chunks of 32."""
    model, x = cnn(FIRST), image(0, size=64)
    mask = xaijax.segments(xaijax.superpixels(np.zeros((64, 64, 3)), "grid", rows=4, columns=4))
    work = {
        "lime_fit": [{"num_samples": 2**6}, {"num_samples": 2**12}],
        "shapley_values": [{"num_permutations": 2}, {"num_permutations": 136}],
    }
    small, large = (
        getattr(xaijax, method)
        .program(model, x, 0, jax.random.key(0), mask=mask, batch_size=32, **sizes)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for sizes in work[method]
    )
    assert large <= 1.1 * small, f"{small} bytes for few samples, {large} for many"
