"""The attention map of an Attention Branch Network (Fukui et al., CVPR 2019; arXiv:1812.10025v2).

Notation: M the map, of one channel, or of one for each of several tasks.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._explainer import explainer
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import cut, open_layers


@explainer(
    scope="local",
    access="white box",
    stage="intrinsic",
    models="CNN or ViT",
    static=("layer",),
)
def attention_map(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    layer: str = "attention_map",
) -> Float[Array, "h w"]:
    r"""The map by which a network weighs its own features.

    .. math:: g'(x) = (1 + M(x))\, g(x)

    One forward pass up to the map: the explanation is part of the model. `xaijax.models.AttentionBranchNetwork` has
    such a map; so has any model that computes one under `jax.named_scope("attention_map")`.

    Differs from the paper in nothing. A map of one channel is the same for all targets. A network of several tasks has
    a channel for each output, and the target picks it, or weighs them as it weighs outputs.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example without batch axis.
      target: what is explained: an output's index, or float weights `(num_outputs,)`. A function of the outputs, too,
        for a map of one channel, which does not depend on it.
      layer: the map's name or scope in `layers(f, x)`: an activation of shape `(h, w, 1)` or `(h, w, num_outputs)`.
        Static.

    Returns:
      The map at its own resolution, `(h, w)`, between 0 and 1 after a sigmoid: where the features count up to twice.

    Raises:
      ValueError: the model has no such layer, or it is no map of one channel or of one for each output; `target` is
        out of range (traced: NaN for a map that it picks, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, or `target` is a function for a map that it must pick.

    Examples:
      >>> import jax.numpy as jnp
      >>> def f(x):
      ...     with jax.named_scope("attention_map"):
      ...         M = jax.nn.sigmoid(x.mean(-1, keepdims=True))
      ...     return ((1 + M) * x).mean((0, 1))
      >>> attention_map(f, jnp.zeros((1, 2, 3)), 0)
      Array([[0.5, 0.5]], dtype=float32)

    References:
      fukui2019attention
    """
    where = "attention_map"
    program, (at,) = open_layers(where, f, x, layer)
    mapped = at.shape[1:] if len(at.shape) == 4 and at.shape[0] == 1 else at.shape
    outputs = jax.eval_shape(f, x)
    count = outputs.shape[0] if getattr(outputs, "ndim", None) == 1 else 1
    if len(mapped) != 3 or mapped[2] not in (1, count):
        rule = f"be a map of shape (h, w, 1) or (h, w, {count}), of one channel for each output"
        raise ValueError(complaint(where, "layer", rule, f"'{at.name}' of shape {at.shape}"))
    prefix, _ = cut(program, at)
    M = lower(prefix)(x).reshape(mapped)
    if mapped[2] == 1:
        return M[:, :, 0]
    if callable(target):
        rule = "be an index or weights over the outputs, to pick a map of several"
        raise TypeError(complaint(where, "target", rule, repr(target)))
    return jax.vmap(jax.vmap(lambda m: score(m, target, where=where)))(M)
