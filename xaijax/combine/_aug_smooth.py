"""Test-time augmentation: the mean attribution over mirrored and brightened copies of an image.

Known from the option `aug_smooth` of pytorch-grad-cam.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float, model_of
from xaijax.core._layers import image_axes
from xaijax.core._score import Target


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="any",
    static=("flip", "intensities"),
)
def aug_smooth(
    explain: Bound,
    x: Any,
    target: Target,
    *,
    flip: bool = True,
    intensities: tuple[float, ...] = (0.9, 1.0, 1.1),
) -> Any:
    r"""The mean attribution over mirrored and brightened copies of an image.

    .. math::
        \frac{1}{|T|} \sum_{t \in T} t^{-1}\big(M_c(t(x))\big)

    over all pairs of a mirroring (or none) and a factor of the input's values. The maps are mirrored back.

    Differs from pytorch-grad-cam in nothing; there each map is scaled to [0, 1] before the mean.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it; one that takes no key.
      x: an image of floats, in any layout.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      flip: whether mirrored copies are explained too. Static.
      intensities: factors of the input's values. Static.

    Returns:
      What the explainer returns, averaged: an attribution, or a tuple of them for several layers.

    Raises:
      ValueError: there are no intensities; and as the explainer.
      TypeError: `explain` is not a bound explainer, or takes a key; or `x` is no image of floats.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1))
      >>> explain = xaijax.bind(xaijax.grad_cam, f, layer="features")
      >>> aug_smooth(explain, jnp.array([[[1.0], [3.0]]]), 0)
      Array([[0.5, 1.5]], dtype=float32)

    References:
      gildenblat2021pytorch
    """
    if not intensities:
        raise ValueError(complaint("aug_smooth", "intensities", "hold at least one factor", "()"))
    if explain.takes_key:
        rule = "be an explainer that takes no key"
        fix = "For one that draws, see xaijax.smooth_grad."
        name = explain.explain.__name__
        raise TypeError(complaint("aug_smooth", "explain", rule, name, fix))
    check_float("aug_smooth", x)
    width = image_axes("aug_smooth", model_of("aug_smooth", explain), x).width

    def back(attribution: Array) -> Array:
        # An attribution is laid out as the input is, or a map (h, w).
        return jnp.flip(attribution, width if attribution.shape == x.shape else 1)

    factors = jnp.asarray(intensities, x.dtype)
    plain = jax.vmap(lambda c: explain(c * x, target))(factors)
    if not flip:
        return jax.tree.map(lambda a: a.mean(0), plain)
    mirrored = jax.vmap(lambda c: explain(c * jnp.flip(x, width), target))(factors)
    return jax.tree.map(lambda a, b: (a.mean(0) + back(b.mean(0))) / 2, plain, mirrored)
