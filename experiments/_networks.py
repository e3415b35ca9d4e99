"""The networks that several experiments explain, with what they were tested on.

All of `shapes`: simple shapes on noise, of which it is known to the pixel where they are.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments._train import CNN, Examples, Trained, Training, train
from xaijax import data


def shapes_network(seed: int, *, epochs: int = 6, num_train: int = 8000) -> Trained:
    """A network that tells `shapes` apart, one object to an image, and its accuracy on 2000 others.

    Args:
      seed: of the weights and of the order of the examples; the examples themselves are the same for all seeds.
      epochs: of training.
      num_train: how many images it learns from.
    """
    return train(
        lambda rngs: CNN(1, len(data.SHAPES), rngs=rngs),
        shapes_examples(num_train),
        Training(epochs=epochs),
        seed,
    )


def shapes_test(num_examples: int, *, num_objects: int = 1) -> data.Shapes:
    """Images that no network was trained on, with their masks; those of one object are what accuracy is measured on."""
    return data.shapes(
        jax.random.fold_in(jax.random.key(1), num_objects), num_examples, num_objects=num_objects
    )


@functools.cache
def shapes_examples(num_train: int) -> Examples:
    """Images of one object to learn from, and 2000 others."""

    def arrays(drawn: data.Shapes) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(drawn.images), np.asarray(drawn.labels, np.int32)

    drawn = data.shapes(jax.random.key(0), num_train)
    return Examples(
        arrays(drawn), arrays(shapes_test(2000)), f"shapes, {num_train} of key 0, float32"
    )


def recognised_pairs(model: Any, num_images: int, num_drawn: int = 1000) -> data.Shapes:
    """Images of two objects whose classes are the network's two highest scores, in either order.

    Args:
      model: one image to logits.
      num_images: how many, at most.
      num_drawn: of how many they are the first.
    """
    drawn = shapes_test(num_drawn, num_objects=2)
    highest = jnp.sort(jax.lax.top_k(_logits(model, drawn.images), 2)[1])
    found = np.flatnonzero((highest == jnp.sort(drawn.labels)).all(-1))[:num_images]
    return data.Shapes(*(a[found] for a in drawn))


def both_ways(pairs: data.Shapes) -> tuple[jax.Array, jax.Array]:
    """The masks of the object that is asked for and of the other one, each image twice in a row."""
    size = pairs.masks.shape[-2:]
    return pairs.masks.reshape(-1, *size), pairs.masks[:, ::-1].reshape(-1, *size)


def recognised_shapes(model: Any, num_images: int, num_drawn: int = 1000) -> data.Shapes:
    """Images of one object that the network recognises, the first of them."""
    drawn = shapes_test(num_drawn)
    found = np.flatnonzero(_logits(model, drawn.images).argmax(-1) == drawn.labels)[:num_images]
    return data.Shapes(*(a[found] for a in drawn))


@jax.jit
def _logits(model: Any, xs: jax.Array) -> jax.Array:
    return jax.vmap(model)(xs)
