"""The small convolutional network of many tutorials."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from xaijax.models._layers import Conv, Dense


class SimpleCNN(nnx.Module):
    """Two convolutions, each with ReLU and 2 x 2 max pooling, and a dense layer.

    Two poolings of 28 x 28 pixels leave 7 x 7, so that the dense layer sees 32 * 7 * 7 = 1568
    features. A popular write-up of this network has 32 * 14 * 14 there, which goes unnoticed in a
    batch: reshaped to rows of that length, four images share each row.

    Args:
        num_classes: Number of logits.
        rngs: Draws the parameters.
    """

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs) -> None:
        self.conv1 = Conv(3, 16, 3, rngs=rngs)
        self.conv2 = Conv(16, 32, 3, rngs=rngs)
        self.classifier = Dense(32 * 7 * 7, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch 28 28 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch.

        Returns:
            The logits.

        Raises:
            ValueError: x is not of 28 x 28 pixels and three channels.
        """
        if jnp.shape(x)[-3:] != (28, 28, 3):
            raise ValueError(
                f"SimpleCNN: x must have the shape (..., 28, 28, 3), got {jnp.shape(x)}. "
                "Resize the images, and repeat a grey channel three times."
            )
        x = _max_pool(jax.nn.relu(self.conv1(x)))
        x = _max_pool(jax.nn.relu(self.conv2(x)))
        return self.classifier(x.reshape(*x.shape[:-3], -1))


def _max_pool(x: Array) -> Array:
    return nnx.max_pool(x, window_shape=(2, 2), strides=(2, 2))


def simple_cnn(num_classes: int = 10, *, rngs: nnx.Rngs) -> SimpleCNN:
    """Make the tutorial network with random parameters.

    Args:
        num_classes: Number of logits.
        rngs: Draws the parameters.

    Returns:
        The model, from `(..., 28, 28, 3)` to `(..., num_classes)` logits.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> simple_cnn(rngs=nnx.Rngs(0))(jnp.zeros((28, 28, 3))).shape
        (10,)
    """
    return SimpleCNN(num_classes, rngs=rngs)
