"""Maps that know nothing of the model, which every explainer should beat: the controls of `evaluate`.

They are explainers in all but meaning: what they show depends on the input alone, or on nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from xaijax.core._binding import Bound, bind
from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float
from xaijax.core._layers import image_axes
from xaijax.core._score import Target
from xaijax.metrics._pixel_map import is_image


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def random_map(f: Callable[[Any], Any], x: Any, target: Target, key: Key[Array, ""]) -> Array:
    """Numbers drawn from a normal distribution, one for each pixel or element of the input."""
    check_float("random_map", x)
    return jax.random.normal(key, _gray(f, x).shape, jnp.promote_types(x.dtype, jnp.float32))


@explainer(
    scope="local", access="black box", stage="post-hoc", models="any", baseline=("baseline",)
)
def input_magnitude(
    f: Callable[[Any], Any], x: Any, target: Target, *, baseline: Any = 0.0
) -> Array:
    """How far the input is from a baseline, summed over the channels of an image."""
    distance = jnp.abs(x - jnp.asarray(baseline, x.dtype))
    return distance.sum(image_axes("input_magnitude", f, x).channel) if is_image(x) else distance


@explainer(scope="local", access="black box", stage="post-hoc", models="any")
def edges(f: Callable[[Any], Any], x: Any, target: Target) -> Array:
    """The edges of an image: how steep it is, by Sobel's filter, mirrored beyond its borders."""
    gray = jnp.pad(_gray(f, x), 1, mode="symmetric")
    h, w = (n - 2 for n in gray.shape)

    def at(row: int, column: int) -> Array:
        return gray[row : row + h, column : column + w]

    across = sum(k * (at(i, 2) - at(i, 0)) for i, k in enumerate((1, 2, 1)))
    down = sum(k * (at(2, j) - at(0, j)) for j, k in enumerate((1, 2, 1)))
    return jnp.hypot(across, down)


@explainer(scope="local", access="black box", stage="post-hoc", models="any", positive=("sigma",))
def centre(f: Callable[[Any], Any], x: Any, target: Target, *, sigma: float = 0.25) -> Array:
    """A Gaussian in the middle of an image, as wide as a part of its sides: where photographers put things."""
    h, w = _gray(f, x).shape

    def bell(n: int) -> Array:
        return jnp.exp(-0.5 * (((jnp.arange(n) + 0.5) / n - 0.5) / sigma) ** 2)

    return (bell(h)[:, None] * bell(w)).astype(x.dtype)


def _gray(f: Callable[[Any], Any], x: Any) -> Array:
    """An image without its channels; anything else as it is."""
    if not is_image(x):
        return x
    axes = image_axes("evaluate", f, x)
    return jnp.moveaxis(x, axes, (0, 1, 2)).mean(-1)


def controls_of(f: Callable[[Any], Any], x: Any) -> dict[str, Bound]:
    """The controls that there are for an input like `x`, by name, with the model whose layout of images they read."""
    everywhere = {"random": random_map, "input magnitude": input_magnitude}
    all_of_them = {**everywhere, "edges": edges, "centre": centre} if is_image(x) else everywhere
    return {name: bind(control, f) for name, control in all_of_them.items()}
