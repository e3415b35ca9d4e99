"""The walk of layer-wise relevance propagation: every equation of a model swapped for a twin that hands down relevance.

Four kinds of equations, by what they do to relevance:

* linear in what depends on x (a layer, a pooling, a sum, a product of two activations): shared by a rule of the
  composite;
* elementwise: passed, from each output to the input in the same place; what is divided by its norm, or scaled by
  something that is held back from the gradient, takes all;
* moving, choosing or copying: it goes where the gradient goes, to what was moved or won;
* the softmax of an attention, by the composite;
* anything else has no rule, which is an error: a gradient in between would be no relevance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from xaijax.core._errors import complaint
from xaijax.core._inputs import check_float
from xaijax.core._interpreter import (
    DEFER,
    Interpreter,
    Path,
    Program,
    Site,
    on_the_way,
    primitives,
    steps_differ,
    trace,
)
from xaijax.core._layer import Layer
from xaijax.core._layers import Layers, list_layers
from xaijax.core._score import Target, score
from xaijax.core._tree import as_tree
from xaijax.core._twin import twin
from xaijax.propagation._composites import Composite
from xaijax.propagation._facts import CONTRACTIONS, Fact, find_facts
from xaijax.propagation._linear import (
    Account,
    Affine,
    booked,
    contraction,
    pooling,
    propagated,
    settle,
)
from xaijax.propagation._rules import Linear, Rule, ZBox, rule_name

_POOLINGS = frozenset({"reduce_sum", "reduce_window_sum", "cumsum"})
_SUMS = frozenset({"add", "add_any", "sub"})
_ELEMENTWISE = primitives(
    "abs acos add asin asinh atan cbrt clamp cos cosh div erf erfc exp exp2 expm1 integer_pow log1p logistic max "
    "min mul neg one_minus_square pow rsqrt sin sinh sqrt square sub tan tanh"
)
_MOVES = primitives(
    "broadcast_in_dim concatenate convert_element_type copy device_put dynamic_slice dynamic_update_slice gather "
    "max min name optimization_barrier pad reduce_max reduce_min reduce_precision "
    "reduce_window_max reduce_window_min reshape rev select_n scatter sharding_constraint slice sort split squeeze "
    "stack stop_gradient tile top_k transpose unstack"
)
# What may be done to the weights of an attention where they count as constants.
_OF_WEIGHTS = _MOVES | {"mul", "div", "dot_general"}


def propagate(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    seed: Callable[[Any], Any],
    *,
    composite: Composite,
    start: str | None = None,
    to: str | tuple[str | None, ...] | None = None,
) -> Any:
    """Hand relevance down, from the outputs or a layer to the input or layers.

    Args:
      where: the caller, for error messages.
      f: the model, one example to its outputs.
      x: one example.
      seed: the value where relevance starts gives the relevance there, of the same shape.
      composite: which rule each layer gets.
      start: the layer where it starts; `None` for the outputs. Name the last operation of a layer, or its scope:
        started before its bias, it is a layer without one.
      to: the layer whose relevance is wanted; `None` for the input. A tuple for several in one pass.

    Returns:
      The relevance at `to`, in its shape; a tuple for a tuple. A convolution, its bias and its batch norm are one
      layer: relevance is the same at all of them.

    Raises:
      NotImplementedError: an operation has no rule.
      ValueError: a layer is unknown or does not come before `start`, or a pattern of the composite matches no layer.
      TypeError: `x` is not one float array.

    Examples:
      >>> from xaijax.propagation import epsilon, uniform
      >>> f, composite = lambda x: jax.nn.relu(x * 2.0).sum(), uniform(epsilon(0.0))
      >>> propagate("me", f, jnp.array([1.0, 3.0]), lambda y: y, composite=composite, to="relu")
      Array([2., 6.], dtype=float32)
    """
    opened = walk(where, f, x, composite=composite, start=start, to=to)
    return opened.hand_down(seed(opened.value))


class Walk(NamedTuple):
    """A model's forward pass, ready to hand relevance down.

    Attributes:
      value: the value where relevance starts.
      hand_down: the relevance there, of the same shape, gives the relevance at `to`.
      activations: at the layers of `to`, `None` for the input.
    """

    value: Any
    hand_down: Callable[[Any], Any]
    activations: tuple[Any, ...]


def walk(
    where: str,
    f: Callable[[Any], Any],
    x: Any,
    *,
    composite: Composite,
    start: str | None = None,
    to: str | tuple[str | None, ...] | None = None,
) -> Walk:
    """The two halves of `propagate`, which see its arguments: for a relevance that is computed from activations."""
    check_float(where, x)
    program = trace(f, x)
    found = list_layers(program, getattr(x, "ndim", None))
    begin = None if start is None else found.find(where, start)
    wanted = to if isinstance(to, tuple) else (to,)
    ends = [None if end is None else found.find(where, end) for end in wanted]
    taps = [layer for layer in ends if layer is not None]
    twins = Twins(where, program, found, composite, x, begin, taps)

    zeros = [layer.zeros() for layer in taps]
    value, back, activations = jax.vjp(twins.run, x, zeros, has_aux=True)

    def in_place(at_input: Any, at_taps: Sequence[Any]) -> tuple[Any, ...]:
        rest = iter(at_taps)
        return tuple(at_input if layer is None else next(rest) for layer in ends)

    def hand_down(R: Any) -> Any:
        R = jax.tree.map(lambda r, v: jnp.asarray(r, v.dtype), R, value)
        relevance = in_place(*back(R))
        return relevance if isinstance(to, tuple) else relevance[0]

    return Walk(value, hand_down, in_place(None, activations))


def scored(outputs: Any, target: Target, *, where: str) -> Any:
    """The relevance that starts at the outputs: they themselves, as far as they are in the score."""
    gradient = jax.grad(lambda outputs: score(outputs, target, where=where))(outputs)
    return jax.tree.map(jnp.multiply, outputs, gradient)


class Twins:
    """The program with its equations swapped for twins.

    What each equation gets is decided before anything runs: a rule by its layer's name and kind, facts of its inputs,
    and which loops are unrolled, because their steps have different rules or hold a layer that is asked for.

    Attributes:
      given: filled by `run`: what became of every equation that depends on x, and its rule, if it has one.
    """

    def __init__(
        self,
        where: str,
        program: Program,
        found: Layers,
        composite: Composite,
        x: Any,
        start: Layer | None = None,
        taps: Sequence[Layer] = (),
    ):
        if not isinstance(composite, Composite):
            rule, fix = (
                "be a Composite",
                "A rule for every layer is xaijax.propagation.uniform(rule).",
            )
            raise TypeError(complaint(where, "composite", rule, rule_name(composite), fix))
        self.where, self.program, self.start, self.taps = where, program, start, taps
        self.composite, self.operations = composite, dict(composite.operations)
        self.layers = {layer.path: layer for layer in found}
        self.given: dict[Path, tuple[Site, str, bool]] = {}
        facts = find_facts(program)
        met = {site.op for site in facts.sites.values() if any(site.active)}
        contractions = [p for p, site in facts.sites.items() if _is_layer(site)]
        composite.check(where, [layer for layer in map(self._layer, contractions) if layer], met)
        self.rules: dict[Path, Rule] = {}
        for path, site in facts.sites.items():
            rule = self._rule(site, facts.inputs[path])
            if rule is not None:
                self.rules[path] = rule
        boxes = {path: rule for path, rule in self.rules.items() if isinstance(rule, ZBox)}
        asked = [layer.path for layer in (start, *taps) if layer is not None]
        opened = on_the_way([*boxes, *asked])
        # Rules hold traced numbers: told apart by identity.
        choices = {path: id(rule) for path, rule in self.rules.items()}
        self.unrolled = {
            scan
            for scan, length in facts.scans.items()
            if scan in opened or steps_differ(choices, scan, length)
        }
        self.facts = facts.rolled(self.unrolled)
        self.logits: dict[Path, Any] = dict.fromkeys(facts.logits.values())
        self.bounds = {path: self._box(path, rule, x) for path, rule in boxes.items()}
        if not program.reads_input:
            rule = "lead from x to its outputs, and not by integers or comparisons alone"
            raise ValueError(complaint(where, "f", rule, "outputs without relevance"))
        if start is None and any(known.softmax for known in facts.outputs):
            self._refuse_probabilities()

    def run(
        self, x: Any, zeros: Sequence[Array] = (), accounts: Mapping[Path, Array] | None = None
    ) -> tuple[Any, list[Array]]:
        """The value where relevance starts, and those at the taps.

        Zeros are added at the taps: their cotangent is the relevance there. Accounts are zeros, too, by the path of an
        equation: see `Account`.
        """
        begun: list[Array] = []
        tapped: dict[Path, Array] = {}
        self.accounts = accounts or {}

        def visit(site: Site, *values: Any) -> Any:
            # What comes after the start has no relevance, and needs no rule.
            if begun or not any(site.active):
                return site(*map(settle, values))
            return DEFER if site.holds_equations else self._swap(site, values)

        def edit(site: Site, outputs: list[Any]) -> list[Any]:
            outputs = list(outputs)
            for layer, zero in zip(self.taps, zeros, strict=True):
                if layer.path == site.path and not begun:
                    value = outputs[layer.output]
                    value = value.tapped(zero) if isinstance(value, Affine) else value + zero
                    outputs[layer.output] = value
                    tapped[layer.path] = settle(value)
            if self.start is not None and self.start.path == site.path:
                begun.append(settle(outputs[self.start.output]))
            return outputs

        walk = Interpreter(visit, settle=settle, edit=edit, open_custom=True, unroll=self._unroll)
        outputs = self.program.run(walk, x)
        for layer in self.taps:
            if self.start is not None and layer.path not in tapped:
                rule = f"come before '{self.start.name}', where relevance starts"
                raise ValueError(complaint(self.where, "to", rule, f"'{layer.name}'"))
        return begun[0] if begun else outputs, [tapped[layer.path] for layer in self.taps]

    def _swap(self, site: Site, values: Sequence[Any]) -> Any:
        """What stands in the place of an equation that depends on x."""
        if not any(jnp.issubdtype(like.dtype, jnp.inexact) for like in site.outputs):
            return site(*map(settle, values))
        known, own = self.facts.inputs[site.path], self.operations.get(site.op)
        joined = None if own else _joined(site, values, known)
        if joined is not None:
            self._note(site, "joins the layer before it")
            return joined
        values = [settle(value) for value in values]
        if site.path in self.logits:
            self.logits[site.path] = values[0]
        if own is not None:
            self._note(site, getattr(own, "__name__", "a rule of one's own"), twin=True)
            return self._twin(site, values, own)
        if site.path in self.facts.logits:
            return self._softmax(site, values, known)
        to = self._receivers(site, known)
        if site.op in _POOLINGS or _is_layer(site):
            return self._affine(site, values, known[to[0]])
        if site.op in _SUMS and len(to) == 2:
            return self._sum(site, values)
        if site.op in CONTRACTIONS:
            return self._product(site, values, to)
        if site.path in self.facts.rectified:
            return self._pass(site, values, [self.facts.rectified[site.path]])
        if site.op in _ELEMENTWISE and (len(to) == 1 or site.op == "mul"):
            return self._pass(site, values, to)  # half to each of two factors
        if site.op in _MOVES:
            return self._move(site, values)
        fix = f"Give it one: composite.on('{site.op}', rule); see Composite.on."
        if site.op == "log" and known[0].total:
            fix = "It is a softmax's: explain logits."
        self._refuse(site, "use operations that have a rule", f"'{site.op}'", fix)

    def _receivers(self, site: Site, known: Sequence[Fact]) -> list[int]:
        """Which inputs get relevance: those that depend on x, but for a constant that scales or shifts another."""
        active = [i for i, on in enumerate(site.active) if on]
        weights = [i for i in active if self.composite.softmax == "constant" and known[i].softmax]
        if weights and site.op not in _OF_WEIGHTS:
            rule = "only scale values with its attention weights, which count as constants here"
            self._refuse(site, rule, f"'{site.op}'", "Use softmax='taylor'.")
        if site.op in _SUMS:
            constant = [i for i in active if known[i].held]
        elif site.op in ("mul", "div", *CONTRACTIONS):
            constant = [i for i in active if known[i].held or known[i].norm or i in weights]
        else:
            constant = []
        return [i for i in active if i not in constant] or active

    def _affine(self, site: Site, values: Sequence[Any], known: Fact) -> Affine:
        """A layer or a pooling, as it begins."""
        place, like = site.active.index(True), site.outputs[0]
        is_pooling = site.op in _POOLINGS
        if is_pooling:
            w = jnp.ones((1,) * len(like.shape), like.dtype)
            product, axes = pooling(site), {i: i for i in range(w.ndim)}
        else:
            w = values[1 - place]
            product, axes = contraction(site)
        bounds, rule = self.bounds.get(site.path), self.rules[site.path]
        x = values[place]
        layer = Linear(product, x, w, 0.0, nonnegative=known.nonnegative, bounds=bounds)
        self._note(site, rule_name(rule), twin=True)
        account = self.accounts.get(site.path)
        return Affine(
            layer, rule, axes, like.shape, like.dtype, joins_bias=not is_pooling, account=account
        )

    def _sum(self, site: Site, values: Sequence[Any]) -> Array:
        dtype, rule = site.outputs[0].dtype, self.rules[site.path]
        signs = jnp.asarray([1, -1 if site.op == "sub" else 1], dtype)
        layer = Linear(_signed_sum, tuple(values), signs, 0.0)
        self._note(site, rule_name(rule), twin=True)
        return propagated(layer, rule, dtype, self.accounts.get(site.path))

    def _product(self, site: Site, values: Sequence[Any], to: Sequence[int]) -> Any:
        """A product of two activations: each shares its part as a layer whose weight is the other."""
        rule, known = self.rules[site.path], self.facts.inputs[site.path]

        def backward(R: Array, y: Array, rule: Rule, *inputs: Array) -> tuple[Any, ...]:
            def shared(i: int) -> Any:
                def product(x: Array, w: Array) -> Array:
                    return site(x, w) if i == 0 else site(w, x)

                x, w = inputs[i], inputs[1 - i]
                layer = Linear(product, x, w, 0.0, y, known[i].nonnegative)
                return rule(layer, R / len(to))

            return None, *(shared(i) if i in to else None for i in (0, 1))

        self._note(site, rule_name(rule) + (", half to each" if len(to) == 2 else ""), twin=True)
        return self._twin(site, [as_tree(rule), *values], backward, lambda rule, *v: site(*v))

    def _softmax(self, site: Site, values: Sequence[Any], known: Sequence[Fact]) -> Any:
        """The division that ends a softmax. Under `constant` no relevance comes here, and none is handed down."""
        shape, below = site.outputs[0].shape, site.inputs[1].shape
        axes = [a for a, n in enumerate(shape) if below[a] != n or a in known[1].spread]

        def backward(R: Array, s: Array, z: Array, *_: Array) -> tuple[Any, ...]:
            z = jnp.where(jnp.isfinite(z), z, 0)  # what is masked has no relevance
            return _fit(z * (R - s * R.sum(axes, keepdims=True)), z), None, None  # Prop. 3.1

        self._note(site, f"softmax, {self.composite.softmax}", twin=True)
        z = self.logits[self.facts.logits[site.path]]
        return self._twin(site, [z, *values], backward, lambda z, *v: site(*v))

    def _pass(self, site: Site, values: Sequence[Any], to: Sequence[int]) -> Any:
        """The equation as it is, its relevance passed to some of its inputs in equal shares."""

        def backward(R: Array, y: Array, *inputs: Array) -> tuple[Any, ...]:
            return tuple(_fit(R / len(to), v) if i in to else None for i, v in enumerate(inputs))

        self._note(site, "passed" + (", half to each" if len(to) == 2 else ""), twin=True)
        likes = zip(values, site.inputs, strict=True)
        arrays = [jnp.asarray(value, like.dtype) for value, like in likes]
        return self._twin(site, arrays, backward)

    def _move(self, site: Site, values: Sequence[Any]) -> Any:
        self._note(site, "moved", twin=True)
        if site.path not in self.accounts:
            return site(*values)  # JAX knows best where everything came from

        def backward(R: Any, y: Any, *inputs: Any) -> tuple[Any, ...]:
            _, back = jax.vjp(site, *inputs)
            return tuple(r if on else None for r, on in zip(back(R), site.active, strict=True))

        return self._twin(site, values, backward)

    def _twin(
        self,
        site: Site,
        values: Sequence[Any],
        backward: Callable[..., tuple[Any, ...]],
        forward: Callable[..., Any] | None = None,
    ) -> Any:
        """A twin of an equation that keeps an account."""
        evaluate = forward or site

        def handed_down(R: Any, y: Any, account: Account, *inputs: Any) -> tuple[Any, ...]:
            shares = backward(R, y, *inputs)
            return booked(account, R, shares), *shares

        swapped = twin(lambda account, *inputs: evaluate(*inputs), handed_down)
        return swapped(self.accounts.get(site.path), *values)

    def _note(self, site: Site, text: str, *, twin: bool = False) -> None:
        self.given[site.path] = site, text, twin

    def _refuse(self, site: Site, rule: str, got: str, fix: str) -> NoReturn:
        got = f"{got} at '{self.name_of(site)}'"
        raise NotImplementedError(complaint(self.where, "f", rule, got, fix))

    def _refuse_probabilities(self) -> NoReturn:
        source = max(self.facts.logits.values())
        like = self.facts.sites[source].outputs[0]
        logits = [
            x.name for path, x in self.layers.items() if path < source and x.shape == like.shape
        ]
        rule = "give logits: relevance that starts at probabilities blows up"
        fix = "Leave the softmax out of it"
        if logits:
            fix += f", or explain xaijax.split(f, x, '{logits[-1]}')[0]"
        raise ValueError(complaint(self.where, "f", rule, "the output of a softmax", f"{fix}."))

    def _rule(self, site: Site, known: Sequence[Fact]) -> Rule | None:
        """The rule of an equation that is linear in what depends on x."""
        count, layer, composite = sum(site.active), self._layer(site.path), self.composite
        if _is_layer(site):
            # A 1x1 convolution may be written as a matrix product.
            pointwise = layer is not None and layer.path == site.path and layer.is_spatial
            spatial = pointwise or site.op == "conv_general_dilated"
            first = not known[site.active.index(True)].behind
            return composite.choose(layer, "convolution" if spatial else "dense", first=first)
        if site.op in _POOLINGS and count:
            return composite.choose(layer, "pooling")
        if site.op in _SUMS and count == 2:
            return composite.choose(layer, "sum")
        if site.op in CONTRACTIONS and count == 2:
            return composite.choose(layer, "product")
        return None

    def _box(self, path: Path, rule: ZBox, x: Any) -> tuple[Array, Array]:
        """The lowest and highest input of a layer: what the model makes of its own before."""

        def ends(leaf: Any) -> Array:
            return jnp.stack([rule.fill(self.where, end, leaf) for end in (rule.low, rule.high)])

        inputs = jax.vmap(lambda end: self._input(path, end))(jax.tree.map(ends, x))
        return inputs.min(0), inputs.max(0)

    def _input(self, path: Path, x: Any) -> Array:
        """The input of a first layer when the model's is `x`."""
        opened, seen = on_the_way([path]), []

        def visit(site: Site, *values: Any) -> Any:
            if seen:
                return site.fill(None)  # nothing of what comes after is wanted
            if site.path == path:
                place = site.active.index(True)
                if self.facts.inputs[path][place].behind:
                    rule = "have z_box at a first layer only"
                    got = f"'{self.name_of(site)}'"
                    raise ValueError(complaint(self.where, "composite", rule, got))
                seen.append(values[place])
            if site.path in opened and site.op == "cond":
                rule, got = "have no layer with z_box inside a cond", f"'{self.name_of(site)}'"
                raise NotImplementedError(complaint(self.where, "f", rule, got))
            return DEFER if site.path in opened else site(*values)

        walk = Interpreter(
            visit,
            open_custom=True,
            unroll=self._unroll,
            index=lambda value, step: None if value is None else value[step],
            stack=lambda values: None if seen else jnp.stack(values),
        )
        self.program.run(walk, x)
        return seen[0]

    def _unroll(self, site: Site) -> bool:
        return site.path in self.unrolled

    def _layer(self, path: Path) -> Layer | None:
        """The layer that an equation is, or is part of."""
        holders: Iterable[Path] = (path[:n] for n in range(len(path), 0, -1))
        return next((self.layers[p] for p in holders if p in self.layers), None)

    def name_of(self, site: Site) -> str:
        """The layer that an equation belongs to."""
        layer = self._layer(site.path)
        return layer.name if layer else site.scope or site.op


def _is_layer(site: Site) -> bool:
    """Whether it is a convolution or a dense layer: linear in what depends on x, with a weight that does not."""
    return site.op in CONTRACTIONS and sum(site.active) == 1


def _joined(site: Site, values: Sequence[Any], known: Sequence[Fact]) -> Affine | None:
    """A layer that waits, with this equation taken up; `None` if none waits, or it cannot be taken up."""
    if sum(site.active) != 1 or len(values) > 2:
        return None
    place = site.active.index(True)
    affine = values[place]
    if not isinstance(affine, Affine):
        return None
    if len(values) == 1:
        return affine.moved(site)
    fact, c = known[1 - place], jnp.asarray(values[1 - place], site.inputs[1 - place].dtype)
    for axis in fact.spread:
        c = lax.slice_in_dim(c, 0, 1, axis=axis)
    if affine.joins_bias and fact.number is not None and not _only_scales(site, place):
        return None  # a number written in the program belongs to an activation function (a GELU)
    match site.op:
        case "add" if affine.joins_bias:
            return affine.plus(c)
        case "sub" if affine.joins_bias and place == 0:
            return affine.plus(-c)
        case "mul":
            return affine.times(c)
        case "div" if place == 0:
            return affine.times(1 / c)
    return None


def _signed_sum(x: tuple[Array, Array], w: Array) -> Array:
    return w[0] * x[0] + w[1] * x[1]


def _only_scales(site: Site, place: int) -> bool:
    """Whether a product or quotient is all that becomes of a value."""
    return site.op in ("mul", "div") and site.reads_alone(place)


def _fit(R: Array, like: Array) -> Array:
    """The relevance of a value that was broadcast: the sum over its copies."""
    if not like.ndim:
        return R.sum()
    spread = [axis for axis, (a, b) in enumerate(zip(R.shape, like.shape, strict=True)) if a != b]
    return R.sum(spread, keepdims=True)
