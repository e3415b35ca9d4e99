"""What class activation maps share: the activations at a layer, their gradients, and what is told beside the map.

Notation of this folder: y^c the score of the target, A^k channel k of the activations at a layer, `(h, w, K)`, and
G^k = dy^c/dA^k its gradient. Z is the number of positions.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, ParamSpec

import jax
from jaxtyping import Array, Bool, Float

from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._explainer import Explainer, explainer
from xaijax.core._interpreter import depends
from xaijax.core._layer import Layer
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tap import LayerName, Tap, cut, open_layers, tap

P = ParamSpec("P")


class CamMaps(NamedTuple):
    """A class activation map and where it comes from.

    Attributes:
      map: the map at the layer's resolution, `(h, w)`.
      weights: the weight of each channel, `(K,)`; `(h, w, K)` where each position has its own.
      degenerate: whether the map shows nothing: it is the same everywhere, or not finite.
      layer: the layer it was computed at.
    """

    map: Float[Array, "h w"]
    weights: Float[Array, "*positions K"]
    degenerate: Bool[Array, ""]
    layer: Layer


def class_activation_map(
    *,
    static: Sequence[str] = (),
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
) -> Callable[[Callable[P, Any]], Explainer[P, Float[Array, "h w"]]]:
    """Make an explainer of a function that returns `CamMaps`, or a tuple of them for several layers.

    The explainer returns the maps alone; `cam_maps` gives the rest.
    """

    def decorate(function: Callable[P, Any]) -> Explainer[P, Float[Array, "h w"]]:
        make = functools.partial(
            explainer,
            scope="local",
            access="white box",
            stage="post-hoc",
            models="CNN or ViT",
            static=("layer", "grid", *static),
            positive=positive,
            not_negative=not_negative,
        )

        @functools.wraps(function)
        def maps_alone(*args: P.args, **kwargs: P.kwargs) -> Any:
            return each(lambda found: found.map, function(*args, **kwargs))

        signature = inspect.signature(function).replace(return_annotation=Float[Array, "h w"])
        maps_alone.__signature__ = signature  # type: ignore[attr-defined]
        method = make()(maps_alone)
        method.maps = make(attribution=False)(function)
        return method

    return decorate


def cam_maps(explain: Bound, x: Any, target: Target, *key: Any) -> Any:
    """A class activation map with its weights, whether it is flat, and the layer it was computed at.

    Args:
      explain: a class activation map with its model and settings, such as `bind(xaijax.grad_cam, f)`.
      x: the input, one example.
      target: what is explained.
      *key: for a method that draws.

    Returns:
      A `CamMaps`; for several layers a tuple of them.

    Raises:
      TypeError: `explain` is not a bound class activation map.

    Examples:
      >>> import jax.numpy as jnp, xaijax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jnp.tanh(x)
      ...     return A.mean((0, 1))
      >>> explain = xaijax.bind(xaijax.grad_cam, f, layer="features")
      >>> cam_maps(explain, jnp.ones((2, 2, 3)), 0).layer.name
      'features/tanh'
    """
    maps = getattr(getattr(explain, "explain", None), "maps", None)
    if maps is None:
        rule = "be a class activation map with its model"
        fix = "Such as xaijax.bind(xaijax.grad_cam, f)."
        raise TypeError(complaint("cam_maps", "explain", rule, repr(explain), fix))
    return maps(explain.f, x, target, *key, **explain.settings, **dict(explain.static))


def from_gradients(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    layer: LayerName,
    grid: tuple[int, int] | None,
    rule: Callable[[Array, Array], tuple[Array, Array]],
) -> Any:
    """The maps of a method that needs the activations and their gradients, all layers in one backward pass.

    Args:
      where: the method.
      f: the model.
      x: the input.
      target: what is explained.
      layer: the layer, or a tuple of layers.
      grid: how tokens lie in space, where that is not known.
      rule: activations and gradients, `(h, w, K)`, to the map and the weights.

    Returns:
      `CamMaps`, or a tuple of them.
    """
    opened = tap(f, x, layer, where=where)
    mapped = each(lambda at: at.mapped(where, grid), opened.layer)

    def y(d: Any) -> tuple[Array, Any]:
        outputs, A = opened.run(d)
        return score(outputs, target, where=where), A

    check_dependence(where, target, lambda d: y(d)[0], opened)
    G, A = lower(jax.grad(y, has_aux=True))(opened.zeros())  # dy^c/dA
    return each(
        lambda at, A, G: diagnosed(at, *rule(at.feature_map(A), at.feature_map(G))), mapped, A, G
    )


def from_activations(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    layer: LayerName,
    grid: tuple[int, int] | None,
    rule: Callable[[Array, Callable[[Array], Any], Layer], tuple[Array, Array]],
) -> Any:
    """The maps of a method that needs the activations, and perhaps what the model makes of others in their place.

    Args:
      where: the method.
      f: the model.
      x: the input.
      layer: the layer, or a tuple of layers.
      grid: how tokens lie in space, where that is not known.
      rule: activations `(h, w, K)`, the rest of the model as a function of such, and the layer, to the map and the
        weights.

    Returns:
      `CamMaps`, or a tuple of them.
    """
    program, found = open_layers(where, f, x, layer)
    maps = []
    for at in found:
        prefix, suffix = cut(program, at)
        maps.append(from_activation(at.mapped(where, grid), lower(prefix)(x), suffix, x, rule))
    return tuple(maps) if isinstance(layer, tuple) else maps[0]


def from_activation(
    at: Layer,
    A: Array,
    suffix: Callable[[Array, Any], Any],
    x: Any,
    rule: Callable[[Array, Callable[[Array], Any], Layer], tuple[Array, Array]],
) -> CamMaps:
    """The map of one layer, of its activation and the model after it."""

    def rest(features: Array) -> Any:
        return suffix(at.with_feature_map(A, features), x)

    return diagnosed(at, *rule(at.feature_map(A), rest, at))


def by_gradient(
    where: str, target: Target, rule: Callable[[Array, Array], tuple[Array, Array]]
) -> Callable[[Array, Callable[[Array], Any], Layer], tuple[Array, Array]]:
    """A rule of activations and gradients as one of activations and the rest of the model."""

    def by_activations(A: Array, rest: Callable[[Array], Any], at: Layer) -> tuple[Array, Array]:
        def y(A: Array) -> Array:
            return score(rest(A), target, where=where)

        check_read(where, target, y, A, at)
        return rule(A, lower(jax.grad(y))(A))

    return by_activations


def diagnosed(layer: Layer, saliency: Array, weights: Array) -> CamMaps:
    """A map with what is told beside it."""
    return CamMaps(saliency, weights, ~(saliency.max() > saliency.min()), layer)


def each(function: Callable[..., Any], *values: Any) -> Any:
    """A function of one layer's values, for one layer or for a tuple of them."""
    if isinstance(values[0], tuple) and not hasattr(values[0], "_fields"):
        return tuple(function(*row) for row in zip(*values, strict=True))
    return function(*values)


def check_dependence(where: str, target: Target, y: Callable[[Any], Array], opened: Tap) -> None:
    """Raise if a target that is a function reads nothing of what comes after a layer of an opened model."""
    if not isinstance(opened.layer, tuple):
        return check_read(where, target, y, opened.zeros(), opened.layer)
    zeros = opened.zeros()
    for i, at in enumerate(opened.layer):
        alone = functools.partial(lambda i, d: y((*zeros[:i], d, *zeros[i + 1 :])), i)
        check_read(where, target, alone, zeros[i], at)


def check_read(
    where: str, target: Target, y: Callable[[Array], Array], value: Array, at: Layer
) -> None:
    """Raise if a target that is a function reads nothing of what is computed from a layer's value."""
    if callable(target) and not depends(y, value):
        rule = "be one that the target depends on"
        fix = "The target reads outputs that are computed without it."
        raise ValueError(complaint(where, "layer", rule, f"'{at.name}'", fix))
