"""What is inside a model: the names of its activations, and the way to each.

A name is `scope/operation`, counted where it repeats: `blocks/1/relu#2`. The scope is the module's path: from the
name stack (Flax linen, Haiku, `jax.named_scope`) or, where a framework writes none (Flax nnx, Equinox), from the path
of the weights that the operation eats. An operation that eats none (an activation function, a residual sum) belongs
to the module around the last one that did: after `blocks/1/conv` comes `blocks/1/relu`.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from xaijax.core import _layout
from xaijax.core._errors import complaint, nearest
from xaijax.core._flows import Flows, Origin
from xaijax.core._interpreter import DEFER, Interpreter, Program, Site, trace
from xaijax.core._layer import Layer
from xaijax.core._layout import NO_POSITIONS, Layout
from xaijax.core._table import table

# What Equinox (class names) and einsum (its formula) write into the name stack tells no instance from another.
_ANONYMOUS = re.compile(r"eqx\.nn\.\w+|.*->.*")
# They move or copy a value that has a name already.
_SILENT = frozenset({"convert_element_type", "copy", "broadcast_in_dim", "pad", "squeeze", "slice"})
_SHORT = {"conv_general_dilated": "conv", "dot_general": "dot", "reduce_window_max": "max_pool"}


class Layers(tuple[Layer, ...]):
    """The activations of a model in the order of computation; prints as a table.

    Attributes:
      image: the axes of the input, as the first convolution reads it: which are space, which is the channel. `None`
        if no convolution reads it, or nothing is known of what it reads.
    """

    image: Layout | None = None

    @property
    def default(self) -> Layer | None:
        """The last spatial activation: what `layer=None` means. `None` if the model has no feature map.

        Of tokens it is the last through which all that is known of the patches flows: the input of the last attention
        where a class token is read, the last normalisation where all tokens are.
        """
        return next((x for x in reversed(self) if x.is_spatial and x.read and x.trunk), None)

    def find(self, where: str, layer: str | None) -> Layer:
        """The layer of a name; of a scope, its last value; of `None`, the default.

        Where a scope's last feature map is averaged or flattened, without weights and without a name stack that says
        where, the module is over: its last value is that map.

        Raises:
          TypeError: `layer` is no name.
          ValueError: no layer has the name, or several; or there is no default, or no layer at all.
        """
        if not self:
            rule, got = "have a layer between x and its outputs", "none"
            fix = "An image of integers has none: convert it first, x.astype(jax.numpy.float32)."
            raise ValueError(complaint(where, "f", rule, got, fix))
        if layer is None:
            if self.default is None:
                raise ValueError(
                    complaint(
                        where,
                        "layer",
                        "be given for a model without a convolution's feature map",
                        "None",
                        "See xaijax.layers(f, x). Tokens of image patches: layer=NAME, grid=(height, width).",
                    )
                )
            return self.default
        if not isinstance(layer, str):
            raise TypeError(complaint(where, "layer", "be a name or None", repr(layer)))
        exact = [x for x in self if x.name == layer]
        inside = [x for x in self if x.name.startswith(layer.rstrip("/") + "/")]
        if exact:
            return exact[-1]
        if inside:
            maps = [i for i, x in enumerate(inside) if x.is_spatial]
            over = bool(maps) and all(x.inherits for x in inside[maps[-1] + 1 :])
            return inside[maps[-1] if over else -1]
        if same := [x.name for x in self if x.name.rpartition("#")[0] == layer]:
            got = f"'{layer}', which is {len(same)} layers"
            raise ValueError(
                complaint(where, "layer", "name one layer", got, f"Say which: '{same[-1]}'.")
            )
        known = [name for x in self for name in (x.name, *x.scopes)]
        fix = f"{nearest(layer, known)} See xaijax.layers(f, x).".strip()
        raise ValueError(complaint(where, "layer", "name a layer of the model", f"'{layer}'", fix))

    def __str__(self) -> str:
        rows = []
        for x in self:
            mark = "<- layer=None" if x is self.default else ""
            rows.append((x.name, x.operation, "x".join(map(str, x.shape)) or "scalar", mark))
        return table(("layer", "operation", "shape", ""), rows)

    __repr__ = __str__


def layers(f: Callable[..., Any], x: Any) -> Layers:
    """List the activations of a model, by name, operation and shape.

    Args:
      f: the model: a callable pytree, one example to its outputs.
      x: one example; only its shape and dtype matter.

    Returns:
      The layers that depend on `x` and on which the output depends, in the order of computation. They print as a
      table; an arrow marks the default of `layer=None`, the last spatial activation.

    Examples:
      >>> import jax
      >>> kernel = jnp.ones((3, 3, 1, 2))
      >>> def f(x):
      ...     with jax.named_scope("stem"):
      ...         a = jax.lax.conv(x.transpose(2, 0, 1)[None], kernel.transpose(3, 2, 0, 1), (1, 1), "SAME")
      ...     return jax.nn.relu(a).mean((0, 2, 3))
      >>> layers(f, jnp.ones((8, 8, 1)))
      layer           operation   shape
      --------------  ----------  -------
      stem/transpose  transpose   1x8x8
      stem/conv       conv        1x2x8x8
      relu            relu        1x2x8x8  <- layer=None
      reduce_sum      reduce_sum  2
      div             div         2
    """
    return list_layers(trace(f, x), getattr(x, "ndim", None))


class ImageAxes(NamedTuple):
    """Which axes of a model's input are height, width and channel."""

    height: int
    width: int
    channel: int


def image_axes(where: str, f: Callable[..., Any], x: Any) -> ImageAxes:
    """The axes of an image, as the first convolution reads them; without one the channel is the last.

    Raises:
      TypeError: the input is no array with a height, a width and channels.
    """
    if getattr(x, "ndim", 0) >= 2:
        known = list_layers(trace(f, x), x.ndim).image
        axes = (*known.spatial, known.channel) if known else tuple(range(x.ndim))
        if len(axes) == 3 and axes[2] is not None:
            return ImageAxes(axes[0], axes[1], axes[2])
    got = f"shape {x.shape}" if hasattr(x, "shape") else type(x).__name__
    rule = "be one image, with height, width and channels"
    raise TypeError(complaint(where, "x", rule, got))


@dataclasses.dataclass(frozen=True)
class _Found:
    """A layer before it has its whole name."""

    site: Site
    output: int
    scope: str
    operation: str
    value: Origin
    inherits: bool


def list_layers(program: Program, ndim: int | None = None) -> Layers:
    """The layers of a traced model."""
    found: list[_Found] = []
    flows = Flows()
    images: list[Layout] = []

    def visit(site: Site, *values: Origin) -> Any:
        looped = site.op == "scan" and site.params["length"]
        if any(site.active) and (looped or (site.is_call and _has_layers(site))):
            return DEFER
        pairs = list(zip(values, site.active, strict=True))
        modules = frozenset().union(*(v.modules for v, on in pairs if not on))
        if not any(site.active):
            return site.fill(Origin(modules))
        if site.op == "conv_general_dilated" and not images:
            images.extend(filter(None, [_layout.image_axes(values[0].layout, site)]))
        steps, named = _split_scope(site)
        latest = max((v for v, on in pairs if on), key=lambda v: v.path)
        silent = site.op in _SILENT or (site.op == "reshape" and not _changes_shape(site))
        own = named or _common(modules)
        scope = own or (latest.scope if silent else latest.around)
        around = own.rpartition("/")[0] if own else latest.around
        operation = _SHORT.get(site.function_name, site.function_name)
        outputs = []
        inner = layouts_inside(site, values) if site.body and site.op != "scan" else None
        for i, (like, read) in enumerate(zip(site.outputs, site.read, strict=True)):
            before = [v.layout for v in values]
            layout = inner[i] if inner else _layout.after(site, before, like.shape, i)
            outputs.append(Origin(frozenset(), scope, around, layout, site.path))
            if read and not silent and jnp.issubdtype(like.dtype, jnp.inexact):
                whole = "/".join(part for part in (steps, scope) if part)
                found.append(_Found(site, i, whole, operation, outputs[-1], not own))
        flows.add([v for v, on in pairs if on], outputs)
        return outputs if len(outputs) != 1 else outputs[0]

    def layouts_inside(site: Site, values: Sequence[Origin]) -> list[Layout | None]:
        """The layouts of the outputs of one named operation (`relu`, `pad`), by what it is made of."""
        count = len(found)
        outs = site.inside(interpreter, values)
        del found[count:]  # its parts have no names of their own
        return [out.layout if isinstance(out, Origin) else None for out in outs]

    def moved(*values: Origin) -> Origin:
        """One step of a scanned value, or the steps put together: another value, whose axes nobody knows."""
        value = dataclasses.replace(values[0], layout=None)
        flows.add(values, [value])
        return value

    weights = [Origin(frozenset({path[:-1] or path})) for path in map(module_path, program.paths)]
    num_inputs = len(program.closed.jaxpr.invars) - len(weights)
    image = Layout((0, 1), 2, convolved=False) if ndim == 3 else None
    interpreter = Interpreter(
        visit,
        unroll=lambda site: True,
        lift=lambda constant: Origin(),
        index=lambda value, step: moved(value),
        stack=lambda values: moved(*values),
    )
    ends = program.walk(interpreter, weights, [Origin(layout=image)] * num_inputs)
    flows.close(ends)
    out = _named(found, flows)
    out.image = images[0] if images else None
    return out


def _named(found: Sequence[_Found], flows: Flows) -> Layers:
    # A linen or Haiku model puts its class name in front of every module: it tells nothing apart.
    stacks = [named for _, named in (_split_scope(x.site) for x in found) if named]
    roots = {re.split(r"[/\[]", stack)[0] for stack in stacks}
    nested = any("/" in stack for stack in stacks)
    root = re.compile(
        rf"{re.escape(roots.pop())}(/|(?=\[)|$)" if len(roots) == 1 and nested else ""
    )
    scopes = [root.sub("", x.scope, count=1) if root.match(x.scope) else x.scope for x in found]
    labels = [
        f"{scope}/{x.operation}" if scope else x.operation
        for scope, x in zip(scopes, found, strict=True)
    ]
    total, seen, out = Counter(labels), Counter[str](), []
    width = None  # of the patch embedding: a wider or narrower value beside it is a branch's
    for label, x in zip(labels, found, strict=True):
        seen[label] += 1
        name = f"{label}#{seen[label]}" if total[label] > 1 else label
        like, layout = x.site.outputs[x.output], x.value.layout
        shape = tuple(like.shape)
        trunk = flows.is_trunk(x.value)
        if layout is not None and layout.grid is not None and layout.channel is not None:
            width = width or shape[layout.channel]
            # A reshape to tokens has the values of the feature map before it.
            trunk = trunk and shape[layout.channel] == width and x.operation != "reshape"
        known = None if layout is NO_POSITIONS else layout
        read = flows.is_read(x.value)
        place = (known, x.site.path, x.output)
        flags = (read, trunk, x.inherits)
        out.append(Layer(name, x.operation, shape, like.dtype, *place, *flags))
    return Layers(out)


def _has_layers(site: Site) -> bool:
    """Whether a call holds layers of the model, or is one operation with a name (`relu`, `softmax`)."""
    return any(
        inner.op in ("conv_general_dilated", "dot_general", "scan")
        or inner.scope != site.scope
        or (inner.is_call and _has_layers(inner))
        for inner in site.body
    )


def _changes_shape(site: Site) -> bool:
    before, after = site.inputs[0].shape, site.outputs[0].shape
    return [n for n in before if n != 1] != [n for n in after if n != 1]


def _split_scope(site: Site) -> tuple[str, str]:
    """The steps of unrolled scans around an equation (`[0]`), and the name that its framework gave the module.

    Where there is such a name, the steps stand in it: `Net[0]/Block/Dense`.
    """
    parts = [p for p in site.scope.split("/") if p and not _ANONYMOUS.fullmatch(p)]
    bare = all(re.fullmatch(r"(\[\d+\])+", p) for p in parts)
    return ("/".join(parts), "") if bare else ("", "/".join(parts))


def module_path(path: tuple[str, ...]) -> tuple[str, ...]:
    """A weight's path as its module knows it: no variable box at its end, no collection in front."""
    while len(path) > 1 and path[-1] in ("value", "raw_value"):
        path = path[:-1]
    for collection in ("params", "batch_stats"):
        if collection in path[:-1]:
            path = path[path.index(collection) + 1 :]
    return path


def _common(modules: frozenset[tuple[str, ...]]) -> str:
    """The innermost module that holds all the weights."""
    first, *rest = modules or [()]
    count = next(
        (i for i, part in enumerate(first) if any(m[i : i + 1] != (part,) for m in rest)),
        len(first),
    )
    return "/".join(first[:count])
