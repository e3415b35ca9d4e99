"""Attacks against Foolbox, which attacks JAX models: the same inputs, and where and why they differ."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cases import FIRST, curved, image
from xaijax import attacks

pytestmark = pytest.mark.parity
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def foolbox():
    return pytest.importorskip("foolbox", reason="needs Foolbox")


@pytest.fixture(scope="module")
def images():
    """Three images with values in [0, 1], and their labels by the network."""
    x = jnp.stack([jax.nn.sigmoid(image(seed)) for seed in range(3)])
    return x, jax.vmap(curved(FIRST))(x).argmax(1)


def theirs(foolbox, attack, x, labels, epsilon, f=None):
    batch = jax.vmap(f or curved(FIRST))
    model = foolbox.JAXModel(lambda x: batch(x), bounds=(0, 1), data_format="channels_last")
    return attack.run(model, x, labels, epsilon=epsilon)


def ours(attack, x, labels, *more, **settings):
    one = lambda x, label: attack(curved(FIRST), x, label, *more, low=0.0, high=1.0, **settings)  # noqa: E731
    return jax.vmap(one)(x, labels)


def test_fgsm(foolbox, images):
    peer = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    for epsilon in (0.01, 0.3):
        expected = theirs(foolbox, peer, *images, epsilon)
        found = ours(attacks.fgsm, *images, epsilon=epsilon)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(("norm", "name"), [("linf", "LinfPGD"), ("l2", "L2PGD")])
def test_pgd(foolbox, images, norm, name):
    """In steps so short that the loss rises with each: the last input is the best."""
    peer = getattr(foolbox.attacks, name)(steps=10, rel_stepsize=0.05, random_start=False)
    settings = {"norm": norm, "num_steps": 10, "random_start": False, "epsilon": 0.2}
    expected = theirs(foolbox, peer, *images, 0.2)
    found = ours(attacks.pgd, *images, KEY, step_size=0.01, **settings)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_the_best_input_is_returned_not_the_last(foolbox, images):
    """Of long steps that may lose again what they won."""
    x, labels = images
    peer = foolbox.attacks.L2PGD(steps=9, rel_stepsize=2.0, random_start=False)
    last = theirs(foolbox, peer, x, labels, 4.0)
    settings = {"norm": "l2", "num_steps": 9, "random_start": False, "epsilon": 4.0}
    best = ours(attacks.pgd, x, labels, KEY, step_size=8.0, **settings)
    chance = jax.vmap(lambda x, label: jax.nn.softmax(curved(FIRST)(x))[label])
    assert (chance(best, labels) <= chance(last, labels) + 1e-6).all()


def test_a_model_that_is_sure_is_attacked_too(foolbox):
    """Where the softmax rounds to 0 and 1, the gradient of the cross entropy is zero and Foolbox's input stays."""
    w = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3)), jnp.float32)
    f = lambda x: jnp.stack([(w * x).sum() + 500.0, 0.0])  # noqa: E731
    x, label = jnp.full((8, 8, 3), 0.5), jnp.int32(0)
    peer = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    np.testing.assert_array_equal(theirs(foolbox, peer, x[None], label[None], 0.1, f)[0], x)
    found = attacks.fgsm(f, x, label, epsilon=0.1, low=0.0, high=1.0)
    np.testing.assert_allclose(found, x - 0.1 * jnp.sign(w), atol=1e-6)
