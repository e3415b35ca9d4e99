"""ShapleyCAM (Cai, 2025; arXiv:2501.06261).

Notation: u the utility of the target, A the activations, G = du/dA their gradient, H their Hessian.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
from jaxtyping import Array

from xaijax.activation._cam_maps import (
    CamMaps,
    check_dependence,
    class_activation_map,
    diagnosed,
)
from xaijax.activation._grad_cam import weighted_by_mean
from xaijax.core._errors import complaint
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName, open_layers, tap


@class_activation_map(static=("utility",))
def shapley_cam(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: LayerName = None,
    grid: tuple[int, int] | None = None,
    utility: Literal["rest", "score"] = "rest",
) -> Any:
    r"""ShapleyCAM: channel weights that are the Shapley values of a second-order model of the utility.

    .. math::
        \alpha_k = \frac{1}{Z} \sum_{ij} \Big(G - \tfrac{1}{2} H A\Big)_{ij}^k, \qquad
        L^c = \mathrm{ReLU}\Big(\sum_k \alpha_k A^k\Big)

    The utility :math:`u` is the score plus its log-probability, :math:`y^c + \log p^c` (ReST, the paper's choice), or
    the score alone. Where what follows the layer is linear the score's Hessian vanishes, and the score's ShapleyCAM is
    Grad-CAM. The Hessian is only ever multiplied with :math:`A`: one derivative of a derivative.

    Differs from the paper in nothing.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      layer: a name or scope of `layers(f, x)`; by default the last spatial activation. A tuple of them gives a tuple
        of maps. Static.
      grid: the height and width of the grid of a vision transformer's tokens, where it does not follow from the
        patch embedding. Static.
      utility: "rest", for which the outputs must be logits, or "score". Static.

    Returns:
      The map at the layer's resolution, `(h, w)`, not negative; `cam_maps` tells its weights and layer.

    Raises:
      ValueError: as `grad_cam`, or an unknown utility.

    Examples:
      >>> import jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) ** 2
      >>> A = jnp.array([[[1.0], [3.0]]])  # G = A.mean(), and half of H A is half of that
      >>> shapley_cam(f, A, 0, layer="features", utility="score")
      Array([[1., 3.]], dtype=float32)

    References:
      cai2025cams
    """
    if utility not in ("rest", "score"):
        rule = "be 'rest' or 'score'"
        raise ValueError(complaint("shapley_cam", "utility", rule, repr(utility)))

    def one(name: str) -> CamMaps:
        opened = tap(f, x, name, where="shapley_cam")
        at = opened.layer.mapped("shapley_cam", grid)

        def u(d: Array) -> tuple[Array, Array]:
            outputs, A = opened.run(d)
            return _utility(outputs, target, utility), A

        def derivatives(d: Array) -> tuple[Array, Array, Array]:
            A = u(d)[1]
            G, HA = jax.jvp(jax.grad(lambda d: u(d)[0]), (d,), (A,))
            return A, G, HA

        check_dependence("shapley_cam", target, lambda d: u(d)[0], opened)
        # At once: rewritten alike, their forward passes are one.
        A, G, HA = lower(derivatives)(opened.zeros())
        return diagnosed(at, *weighted_by_mean(at.feature_map(A), at.feature_map(G - 0.5 * HA)))

    # One at a time: the Hessian of several at once has mixed terms.
    _, found = open_layers("shapley_cam", f, x, layer)
    maps = tuple(one(at.name) for at in found)
    return maps if isinstance(layer, tuple) else maps[0]


def _utility(outputs: Any, target: Target, utility: str) -> Array:
    value = score(outputs, target, where="shapley_cam")
    if utility == "score":
        return value
    if getattr(outputs, "ndim", 0) != 1:
        rule = "give a vector of logits, whose log-probabilities are taken"
        got = f"shape {outputs.shape}" if hasattr(outputs, "shape") else type(outputs).__name__
        fix = "Another kind of output: utility='score'."
        raise ValueError(complaint("shapley_cam", "f", rule, got, fix))
    return value + score(jax.nn.log_softmax(outputs), target, where="shapley_cam")
