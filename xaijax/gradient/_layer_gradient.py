"""The gradient at a layer: of the score with respect to activations inside the model.

Notation: y the score of the target, A the activations at a layer.
"""

from collections.abc import Callable
from typing import Any

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.core._score_gradient import activation_gradient
from xaijax.core._tap import LayerName, tap


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("layer",),
)
def layer_gradient(
    f: Callable[[Any], Any], x: Any, target: Target, *, layer: LayerName = None
) -> Any:
    r"""The gradient of the score with respect to the activations at a layer.

    .. math::
        \frac{\partial y}{\partial A}

    One forward pass, and the backward pass of what comes after the layer. Times the activations themselves, which
    `split(f, x, layer)[0](x)` gives, it says what each unit adds: the layer's input times gradient.

    What a unit *is* an answer to, any explainer of this library tells: the part of the model before the layer is a
    model itself, and a function that reads the unit is its target. Keep that part: another `split` is another model,
    and compiles anew.

    Differs from the paper, which takes the gradient at the input, in the place.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example; token ids, too, at the layer that embeds them.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of gradients, in one backward pass. Static.

    Returns:
      One signed number for each activation, in the layer's shape, in units of the score per unit of the activation.

    Raises:
      ValueError: the layer is unknown, `f` gives no vector, `target` is out of range (traced: NaN, see `checked`), or
        `x` is not finite.
      TypeError: `f` cannot be traced.

    Examples:
      >>> import jax.numpy as jnp, xaijax
      >>> f = lambda x: jnp.tanh(x - 3.0) * jnp.array([2.0, 5.0]) + x
      >>> x = jnp.array([3.0, 3.0])
      >>> layer_gradient(f, x, 1, layer="tanh")
      Array([0., 5.], dtype=float32)
      >>> units, _ = xaijax.split(f, x, "tanh")  # what one unit sees
      >>> xaijax.saliency(units, x, lambda A: A[0])
      Array([1., 0.], dtype=float32)

    References:
      simonyan2014saliency
    """
    opened = tap(f, x, layer, where="layer_gradient")
    return activation_gradient("layer_gradient", opened, target)(x)
