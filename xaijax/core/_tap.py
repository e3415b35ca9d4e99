"""Reading and replacing the activations of a model that knows nothing of it.

Both are one thing: an *edit* of some values where they are computed. Whatever is computed from them later sees
the edit; a path that goes around them keeps its own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array

from xaijax.core._interpreter import DEFER, Interpreter, Program, Site, trace
from xaijax.core._layers import Layer, Layers, list_layers
from xaijax.core._lower import lowered


class Tap(NamedTuple):
    """A model opened at a layer.

    Attributes:
      run: `d -> (f(x), A)`: the outputs when `d` is added to the activation `A` at the layer, and `A` itself.
      layer: the layer.
    """

    run: Callable[[Array], tuple[Array, Array]]
    layer: Layer


def tap(f: Callable[..., Any], x: Any, layer: str | None = None, *, where: str = "tap") -> Tap:
    r"""Open the model at a layer: :math:`f'(d)` adds :math:`d` to the activation there.

    The gradient with respect to `d` at zero is the gradient with respect to the activation, for the price of one
    forward pass and the backward pass of what comes after the layer.

    Args:
      f: the model, one example to its outputs.
      x: one example.
      layer: a name or scope of `layers(f, x)`, or `None` for the last spatial activation.
      where: the caller, for error messages.

    Returns:
      The opened model, to be called under `jax.jit`, and the layer.

    Raises:
      ValueError: the layer is unknown.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> run, layer = tap(lambda x: jnp.tanh(x) * 3.0, jnp.ones(2), "tanh")
      >>> jax.grad(lambda d: run(d)[0].sum())(layer.zeros())
      Array([3., 3.], dtype=float32)
    """
    program, found = _open(where, f, x, layer)

    def run(d: Array) -> tuple[Array, Array]:
        seen: list[Array] = []

        def edit(value: Array) -> Array:
            seen.append(value + d)
            return seen[0]

        return edited(program, x, found, edit), seen[0]

    return Tap(run, found)


def split(
    f: Callable[..., Any], x: Any, layer: str | None = None, *, where: str = "split"
) -> tuple[Callable[[Any], Array], Callable[[Array, Any], Any]]:
    """Cut the model at a layer into `prefix(x) -> A` and `suffix(A, x) -> f(x)`.

    The suffix takes `x` too, since paths may go around the layer. For many activations of one `x`, `vmap` the
    suffix over its first argument: what does not depend on it runs once. For a gradient use `tap`. Call both under
    `jax.jit`, which drops what each of them does not need.

    Args:
      f: the model, one example to its outputs.
      x: one example.
      layer: a name or scope of `layers(f, x)`, or `None` for the last spatial activation.
      where: the caller, for error messages.

    Returns:
      The prefix and the suffix; `suffix(prefix(x), x)` is `f(x)`.

    Raises:
      ValueError: the layer is unknown.

    Examples:
      >>> import jax.numpy as jnp
      >>> prefix, suffix = split(lambda x: jnp.tanh(x) + x, jnp.ones(1), "tanh")
      >>> suffix(jnp.array([5.0]), jnp.array([1.0]))
      Array([6.], dtype=float32)
    """
    program, found = _open(where, f, x, layer)

    def prefix(x: Any) -> Array:
        seen: list[Array] = []
        edited(program, x, found, lambda value: seen.append(value) or value)
        return seen[0]

    def suffix(activation: Array, x: Any) -> Any:
        return edited(program, x, found, lambda _: activation)

    return prefix, suffix


def _open(where: str, f: Callable[..., Any], x: Any, layer: str | None) -> tuple[Program, Layer]:
    """Trace the model and find the layer."""
    program = trace(f, x)
    found: Layers = list_layers(program, getattr(x, "ndim", None))
    return program, found.find(where, layer)


def edited(program: Program, x: Any, layer: Layer, edit: Callable[[Array], Array]) -> Any:
    """Run the program with a layer's value replaced: `edit(value)` is what everything later sees."""

    def visit(site: Site, *inputs: Any) -> Any:
        if site.path == layer.path:
            values = lowered(site, *inputs)
            if len(site.outputs) == 1:
                return edit(values)
            return [edit(v) if i == layer.output else v for i, v in enumerate(values)]
        return DEFER if on_the_way(site) else lowered(site, *inputs)

    def on_the_way(site: Site) -> bool:
        return layer.path[: len(site.path)] == site.path

    # Only a scan with the layer inside is unrolled.
    return program.run(Interpreter(visit, unroll=on_the_way), x)
