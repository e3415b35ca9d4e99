"""Finer-CAM (Zhang et al., CVPR 2025; arXiv:2501.11309).

Notation: y^c the score of the target class, y^d that of a similar class d, p_d its probability, gamma the strength
of the comparison.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.activation._cam_maps import CamMaps, class_activation_map, from_gradients
from xaijax.activation._grad_cam import weighted_by_mean
from xaijax.core._errors import complaint
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName


@class_activation_map(static=("num_references",), not_negative=("gamma",))
def finer_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    gamma: float = 1.0,
    num_references: int = 3,
) -> CamMaps:
    r"""Finer-CAM: Grad-CAM of the difference to the most similar classes, for what tells them apart.

    .. math::
        y = \frac{\sum_d p_d \, (y^c - \gamma \, y^d)}{\sum_d p_d}

    over the classes d whose scores are nearest to that of the target, their probabilities :math:`p` as weights; then
    Grad-CAM of y.

    Differs from the paper, which builds on any class activation map: bind another one to the target of your choice
    for that.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: the index of the class that is explained.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      gamma: the strength of the comparison; 0 is Grad-CAM.
      num_references: how many similar classes. Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`, or there are not as many other classes.
      TypeError: the target is no index.

    Examples:
      >>> head = jnp.array([[1.0, 1.0], [1.0, 0.0]])
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) @ head
      >>> A = jnp.array([[[1.0, 0.0], [3.0, 1.0]]])  # the first channel speaks for both classes
      >>> finer_cam(f, A, 0, layer="features", num_references=1)
      Array([[0. , 0.5]], dtype=float32)

    References:
      zhang2025finercam
    """
    if callable(target) or jnp.ndim(target):
        rule = "be the index of a class, which is compared with other classes"
        raise TypeError(complaint("finer_cam", "target", rule, type(target).__name__))

    def difference(outputs: Array) -> Array:
        y = score(outputs, target, where="finer_cam")
        if jnp.ndim(outputs) != 1 or outputs.shape[0] <= num_references:
            rule = f"give a vector of more than num_references = {num_references} scores"
            raise ValueError(complaint("finer_cam", "f", rule, f"shape {jnp.shape(outputs)}"))
        far = jnp.abs(jax.lax.stop_gradient(outputs - y)).at[target].set(jnp.inf)
        near = jnp.argsort(far)[:num_references]
        p = jax.nn.softmax(outputs[near])  # p_d over their sum: the other classes cancel
        return (p * (y - gamma * outputs[near])).sum()

    return from_gradients("finer_cam", f, x, difference, layer, grid, weighted_by_mean)
