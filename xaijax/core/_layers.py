"""What is inside a model: the names of its activations, and the way to each.

A name is `scope/operation`, counted where it repeats: `blocks/1/relu#2`. The scope is the module's path: from the
name stack (Flax linen, Haiku, `jax.named_scope`) or, where a framework writes none (Flax nnx, Equinox), from the path
of the weights that the operation eats. An operation that eats none (an activation function, a residual sum) belongs
to the module around the last one that did: after `blocks/1/conv` comes `blocks/1/relu`.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core import _layout
from xaijax.core._errors import complaint, nearest
from xaijax.core._interpreter import DEFER, Interpreter, Path, Program, Site, trace
from xaijax.core._layout import Layout

# What Equinox (class names) and einsum (its formula) write into the name stack tells no instance from another.
_ANONYMOUS = re.compile(r"eqx\.nn\.\w+|.*->.*")
# They move or copy a value that has a name already.
_SILENT = frozenset({"convert_element_type", "copy", "broadcast_in_dim", "pad", "squeeze", "slice"})
_SHORT = {"conv_general_dilated": "conv", "dot_general": "dot", "reduce_window_max": "max_pool"}


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Layer:
    """One activation of a model.

    Attributes:
      name: what to pass as `layer=`.
      operation: the operation whose result it is.
      shape: its shape for one example.
      dtype: its dtype.
      layout: which axes are space and which is the channel, if that is known.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    dtype: Any
    layout: Layout | None = dataclasses.field(repr=False)
    path: Path = dataclasses.field(repr=False)
    output: int = dataclasses.field(repr=False)

    @property
    def is_spatial(self) -> bool:
        """Whether it is a convolution's feature map with more than one position."""
        if self.layout is None or not self.layout.convolved:
            return False
        return math.prod(self.shape[a] for a in self.layout.spatial) > 1

    @property
    def scopes(self) -> Iterator[str]:
        """The modules around it, outermost first."""
        parts = self.name.split("/")
        return ("/".join(parts[:i]) for i in range(1, len(parts)))

    def zeros(self) -> Array:
        """An array of its shape and dtype."""
        return jnp.zeros(self.shape, self.dtype)

    def channels_last(self, where: str, activation: Float[Array, "..."]) -> Float[Array, "... K"]:
        """The activation as `(h, w, K)`: space first, channel last, axes of size 1 dropped.

        Raises:
          ValueError: the layer has no space, or an axis that is neither space nor channel.
        """
        layout = self.layout
        if layout is None:
            raise ValueError(
                complaint(
                    where,
                    "layer",
                    "have spatial axes and a channel axis",
                    f"'{self.name}' of shape {self.shape}",
                    "See xaijax.layers(f, x) for feature maps.",
                )
            )
        order = (*layout.spatial, layout.channel)
        rest = [a for a in range(len(self.shape)) if a not in order]
        if any(self.shape[a] != 1 for a in rest):
            raise ValueError(
                complaint(
                    where,
                    "layer",
                    "have no axis besides space and channel",
                    f"'{self.name}' of shape {self.shape}",
                    "f takes one example; for a batch use jax.vmap.",
                )
            )
        return activation.transpose(*rest, *order).reshape([self.shape[a] for a in order])


class Layers(tuple[Layer, ...]):
    """The activations of a model in the order of computation; prints as a table."""

    @property
    def default(self) -> Layer | None:
        """The last spatial activation: what `layer=None` means. `None` if the model has no feature map."""
        return next((layer for layer in reversed(self) if layer.is_spatial), None)

    def find(self, where: str, layer: str | None) -> Layer:
        """The layer of a name; of a scope, its last value; of `None`, the default.

        Raises:
          TypeError: `layer` is no name.
          ValueError: no layer has the name, or there is no default.
        """
        if layer is None:
            if self.default is None:
                raise ValueError(
                    complaint(
                        where,
                        "layer",
                        "be given for a model without a convolution's feature map",
                        "None",
                        "See xaijax.layers(f, x).",
                    )
                )
            return self.default
        if not isinstance(layer, str):
            raise TypeError(complaint(where, "layer", "be a name or None", repr(layer)))
        exact = [x for x in self if x.name == layer]
        inside = [x for x in self if x.name.startswith(layer.rstrip("/") + "/")]
        if found := exact or inside:
            return found[-1]
        known = [name for x in self for name in (x.name, *x.scopes)]
        fix = f"{nearest(layer, known)} See xaijax.layers(f, x).".strip()
        raise ValueError(complaint(where, "layer", "name a layer of the model", f"'{layer}'", fix))

    def __str__(self) -> str:
        rows = [("layer", "operation", "shape", "")]
        for x in self:
            mark = "<- layer=None" if x is self.default else ""
            rows.append((x.name, x.operation, "x".join(map(str, x.shape)) or "scalar", mark))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [
            "  ".join(cell.ljust(n) for cell, n in zip(row, [*widths, 0], strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([lines[0], "  ".join("-" * n for n in widths), *lines[1:]])

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


@dataclasses.dataclass(frozen=True)
class _Origin:
    """What `layers` knows of a value.

    The modules of the weights in it; its scope, and the scope of what is computed from it without weights (both
    without the steps of a scan); its layout; where it was computed.
    """

    modules: frozenset[tuple[str, ...]] = frozenset()
    scope: str = ""
    around: str = ""
    layout: Layout | None = None
    path: Path = ()


@dataclasses.dataclass(frozen=True)
class _Found:
    """A layer before it has its whole name."""

    site: Site
    output: int
    scope: str
    operation: str
    layout: Layout | None


def list_layers(program: Program, ndim: int | None = None) -> Layers:
    """The layers of a traced model."""
    found: list[_Found] = []

    def visit(site: Site, *values: _Origin) -> Any:
        looped = site.op == "scan" and site.params["length"]
        if any(site.active) and (looped or (site.is_call and _has_layers(site))):
            return DEFER
        pairs = list(zip(values, site.active, strict=True))
        modules = frozenset().union(*(v.modules for v, on in pairs if not on))
        if not any(site.active):
            return site.fill(_Origin(modules))
        steps, named = _split_scope(site)
        latest = max((v for v, on in pairs if on), key=lambda v: v.path)
        silent = site.op in _SILENT or (site.op == "reshape" and not _changes_shape(site))
        own = named or _common(modules)
        scope = own or (latest.scope if silent else latest.around)
        around = own.rpartition("/")[0] if own else latest.around
        operation = _SHORT.get(site.function_name, site.function_name)
        outputs = []
        for i, (like, read) in enumerate(zip(site.outputs, site.read, strict=True)):
            layout = _layout.after(site, [v.layout for v in values], like.shape)
            outputs.append(_Origin(frozenset(), scope, around, layout, site.path))
            if read and not silent and jnp.issubdtype(like.dtype, jnp.inexact):
                whole = "/".join(part for part in (steps, scope) if part)
                found.append(_Found(site, i, whole, operation, layout))
        return outputs if len(outputs) != 1 else outputs[0]

    weights = [_Origin(frozenset({path[:-1] or path})) for path in map(_module_path, program.paths)]
    num_inputs = len(program.closed.jaxpr.invars) - len(weights)
    image = Layout((0, 1), 2, convolved=False) if ndim == 3 else None
    interpreter = Interpreter(
        visit,
        unroll=lambda site: True,
        lift=lambda constant: _Origin(),
        index=lambda value, step: dataclasses.replace(value, layout=None),
        stack=lambda values: dataclasses.replace(values[0], layout=None),
    )
    program.walk(interpreter, weights, [_Origin(layout=image)] * num_inputs)
    return _named(found)


def _named(found: Sequence[_Found]) -> Layers:
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
    for label, x in zip(labels, found, strict=True):
        seen[label] += 1
        name = f"{label}#{seen[label]}" if total[label] > 1 else label
        like = x.site.outputs[x.output]
        shape = tuple(like.shape)
        out.append(Layer(name, x.operation, shape, like.dtype, x.layout, x.site.path, x.output))
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


def _module_path(path: tuple[str, ...]) -> tuple[str, ...]:
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
