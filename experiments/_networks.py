"""The networks that several experiments explain, with what they were tested on.

All of `shapes`: simple shapes on noise, of which it is known to the pixel where they are.
"""

import functools

import jax
import numpy as np

from experiments._train import CNN, Examples, Trained, Training, train
from xaijax import data


def shapes_network(seed: int, *, epochs: int = 5, num_train: int = 6000) -> Trained:
    """A network that tells `shapes` apart, one object to an image, and its accuracy on 2000 others.

    Args:
      seed: of the weights and of the order of the examples; the examples themselves are the same for all seeds.
      epochs: of training.
      num_train: how many images it learns from.
    """
    return train(
        lambda rngs: CNN(1, len(data.SHAPES), rngs=rngs),
        _shapes_examples(num_train),
        Training(epochs=epochs),
        seed,
    )


def shapes_test(num_examples: int, *, num_objects: int = 1) -> data.Shapes:
    """Images that no network was trained on, with their masks; those of one object are what accuracy is measured on."""
    return data.shapes(
        jax.random.fold_in(jax.random.key(1), num_objects), num_examples, num_objects=num_objects
    )


@functools.cache
def _shapes_examples(num_train: int) -> Examples:
    def arrays(drawn: data.Shapes) -> tuple[np.ndarray, np.ndarray]:
        return np.asarray(drawn.images), np.asarray(drawn.labels, np.int32)

    drawn = data.shapes(jax.random.key(0), num_train)
    return Examples(
        arrays(drawn), arrays(shapes_test(2000)), f"shapes, {num_train} of key 0, float32"
    )
