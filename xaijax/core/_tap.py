"""Reading and replacing the activations of a model that knows nothing of it.

Both are one thing: an *edit* of some values where they are computed. Whatever is computed from them later sees
the edit; a path that goes around them keeps its own.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxtyping import Array

from xaijax.core._errors import complaint
from xaijax.core._interpreter import DEFER, Interpreter, Program, Site, Visitor, on_the_way, trace
from xaijax.core._layer import Layer
from xaijax.core._layers import list_layers

#: A name or scope of `layers(f, x)`, `None` for the last spatial activation, or several of these.
LayerName = str | None | tuple[str | None, ...]


class Tap(NamedTuple):
    """A model opened at a layer, or at several.

    Attributes:
      run: `d -> (f(x), A)`: the outputs when `d` is added to the activation `A` at the layer, and `A` itself. For
        several layers `d` and `A` are tuples. `run(d, x)` is that of another input, of the same shape.
      layer: the layer, or a tuple of them.
    """

    run: Callable[..., tuple[Any, Any]]
    layer: Any

    def zeros(self) -> Any:
        """The `d` that changes nothing."""
        several = isinstance(self.layer, tuple)
        return tuple(x.zeros() for x in self.layer) if several else self.layer.zeros()


def tap(f: Callable[..., Any], x: Any, layer: LayerName = None, *, where: str = "tap") -> Tap:
    r"""Open the model at a layer: :math:`f'(d)` adds :math:`d` to the activation there.

    The gradient with respect to `d` at zero is the gradient with respect to the activation, for the price of one
    forward pass and the backward pass of what comes after the layer. One backward pass serves several layers. The model
    runs as it is written: on a CPU take `lower(jax.grad(...))`, as explainers do.

    Args:
      f: the model, one example to its outputs.
      x: one example.
      layer: a name or scope of `layers(f, x)`, or `None` for the last spatial activation; or a tuple of these.
      where: the caller, for error messages.

    Returns:
      The opened model, to be called under `jax.jit`, and the layer.

    Raises:
      ValueError: a layer is unknown.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> opened = tap(lambda x: jnp.tanh(x) * 3.0, jnp.ones(2), "tanh")
      >>> jax.grad(lambda d: opened.run(d)[0].sum())(opened.zeros())
      Array([3., 3.], dtype=float32)
    """
    program, found = open_layers(where, f, x, layer)
    several = isinstance(layer, tuple)

    def run(d: Any, x: Any = x) -> tuple[Any, Any]:
        shifts = dict(zip(found, d if several else (d,), strict=True))
        seen: dict[Layer, Array] = {}

        def edit(at: Layer) -> Callable[[Array], Array]:
            return lambda value: seen.setdefault(at, value + shifts[at])

        outputs = _edited(program, x, {at: edit(at) for at in found})
        return outputs, tuple(seen[at] for at in found) if several else seen[found[0]]

    return Tap(run, found if several else found[0])


def split(
    f: Callable[..., Any], x: Any, layer: str | None = None, *, where: str = "split"
) -> tuple[Callable[[Any], Array], Callable[[Array, Any], Any]]:
    """Cut the model at a layer into `prefix(x) -> A` and `suffix(A, x) -> f(x)`.

    The suffix takes `x` too, since paths may go around the layer. For many activations of one `x`, `vmap` the
    suffix over its first argument: what does not depend on it runs once. For a gradient use `tap`. Call both under
    `jax.jit`, which drops what each of them does not need; on a CPU as `lower(prefix)`, since both run as written.

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
    program, (found,) = open_layers(where, f, x, layer)
    return cut(program, found)


def open_layers(
    where: str, f: Callable[..., Any], x: Any, layer: LayerName
) -> tuple[Program, tuple[Layer, ...]]:
    """Trace the model and find the layer, or the layers."""
    program = trace(f, x)
    known = list_layers(program, getattr(x, "ndim", None))
    names = layer if isinstance(layer, tuple) else (layer,)
    if not names:
        raise ValueError(complaint(where, "layer", "name at least one layer", "()"))
    found = tuple(known.find(where, name) for name in names)
    for at in found:
        if found.count(at) > 1:
            rule = "name each layer once"
            raise ValueError(complaint(where, "layer", rule, f"'{at.name}' twice"))
    return program, found


def cut(
    program: Program, layer: Layer
) -> tuple[Callable[[Any], Array], Callable[[Array, Any], Any]]:
    """The two parts of a traced model, before and after a layer; see `split`."""

    def prefix(x: Any) -> Array:
        seen: list[Array] = []
        _edited(program, x, {layer: lambda value: seen.append(value) or value})
        return seen[0]

    def suffix(activation: Array, x: Any) -> Any:
        return _edited(program, x, {layer: lambda _: activation})

    return prefix, suffix


def editor(edits: Mapping[Layer, Callable[[Any], Any]], visit: Visitor) -> Interpreter:
    """An interpreter that asks a visitor, and then edits the values of some layers.

    Only what holds such a layer is opened for its sake, and only a scan with one inside is unrolled.
    """
    holders = on_the_way([layer.path for layer in edits])

    def ask(site: Site, *inputs: Any) -> Any:
        return DEFER if site.path in holders else visit(site, *inputs)

    def edit(site: Site, outputs: list[Any]) -> list[Any]:
        here = {layer.output: change for layer, change in edits.items() if layer.path == site.path}
        return [here[i](value) if i in here else value for i, value in enumerate(outputs)]

    return Interpreter(ask, edit=edit, unroll=lambda site: site.path in holders)


def _edited(program: Program, x: Any, edits: Mapping[Layer, Callable[[Array], Array]]) -> Any:
    """Run the program with layers' values replaced: `edit(value)` is what everything later sees."""
    return program.run(editor(edits, Site.__call__), x)
