r"""Multipliers: every equation of a model swapped for a twin that hands down :math:`\Delta y / \Delta x`.

Notation: x the input, r (in code) or x' (in formulas) a reference, :math:`\Delta` the difference of a value between
the two, m a multiplier. A multiplier takes the place of a derivative, and the chain rule holds for it.

Every value is a pair: what it is at x and what it is at r. Only the second has a derivative, so there is one backward
pass, in which a twin knows both values of what it stands for. References are lanes of a `jax.vmap`, which have the pass
at x in common; and examples that are explained together have that at their reference.

What hands down what, so that :math:`\sum_i m_i \, \Delta x_i = \Delta y` holds for each equation, and so for the model:

* linear: its coefficients, as the derivative;
* a product, also of matrices: each factor gets the mean of the other,
  :math:`\Delta(ab) = \bar b \Delta a + \bar a \Delta b`;
* elementwise: :math:`\Delta y / \Delta x`; of several inputs each gets its Shapley value over :math:`\Delta x`;
* extrema and order statistics: the difference goes to what won, or had won before, and so crossed all of it;
* comparisons and what is computed of them: as elementwise functions, whose values are 0 and 1;
* anything else has no rule, which is an error: what is lost in between would be missing from the sum.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.core._interpreter import DEFER, Interpreter, Path, Program, Site, primitives, trace
from xaijax.core._layers import list_layers
from xaijax.core._lower import lower
from xaijax.core._score import Target, score
from xaijax.core._tree import as_tree
from xaijax.core._twin import twin

# Linear in what depends on x, whichever of the inputs that is; indices and predicates may not.
_LINEAR = primitives(
    "add add_any broadcast_in_dim concatenate convert_element_type copy cumsum device_put dynamic_slice "
    "dynamic_update_slice gather name neg optimization_barrier pad reduce_sum reduce_window_sum "
    "reshape rev scatter scatter-add select_n sharding_constraint slice split squeeze stack sub tile transpose unstack"
)
# These take any dtype: a truth value in the form of a number, too.
_MOVES = primitives(
    "broadcast_in_dim copy optimization_barrier reduce_sum reshape rev slice squeeze transpose"
)
_BILINEAR = primitives("conv_general_dilated dot_general mul")
_ORDER_STATISTICS = primitives(
    "max min reduce_max reduce_min reduce_window_max reduce_window_min sort top_k"
)
_ELEMENTWISE = primitives(
    "abs add and atan atan2 cbrt ceil clamp convert_element_type cos cosh div eq erf erfc exp exp2 expm1 floor ge gt "
    "integer_pow is_finite le log log1p logistic lt max min mul ne neg not or pow reduce_precision rem round rsqrt "
    "select_n sign sin sinh sqrt square sub tan tanh xor"
)
# Of one value between constants, and JAX's derivative at such a constant itself.
_RECTIFIERS = {"max": 0.5, "min": 0.5, "clamp": 0.0}


def contributions(
    where: str, f: Callable[[Any], Any], x: Array, target: Target, references: Array
) -> Float[Array, "n *shape"]:
    r"""What each element of `x` contributes to the score's difference from each reference.

    Args:
      where: the caller, for error messages.
      f: the model.
      x: the input.
      target: what is explained.
      references: `(n, *x.shape)`.

    Returns:
      :math:`(x - x') m`. The sum over a row is the difference of the scores.

    Raises:
      NotImplementedError: an operation has no rule.
    """
    program = trace(_Scored(as_tree(f), target, where), x)
    run = _with_multipliers(where, program)
    # At a constant reference, such as 0, XLA would run the model while it compiles.
    references = lax.optimization_barrier(references)
    each = jax.vmap(jax.value_and_grad(run), in_axes=(0, None))
    y, slopes = lower(lambda both: each(*both))((references, x))
    # A rectifier would stop the NaN that stands for a score there is none of.
    m: Any = jnp.where(jnp.isnan(y).reshape(-1, *[1] * x.ndim), jnp.nan, slopes)
    return (x - references) * m


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Scored:
    """The model with the target on top: a target that is a function has multipliers, too."""

    f: Any
    target: Any
    where: str = dataclasses.field(metadata={"static": True})
    wraps: ClassVar[str] = "f"

    def __call__(self, x: Any) -> Array:
        return score(self.f(x), self.target, where=self.where)


class _Pair(NamedTuple):
    """The two values of what depends on the input."""

    x: Any
    r: Any


def _at_x(value: Any) -> Any:
    return value.x if isinstance(value, _Pair) else value


def _at_r(value: Any) -> Any:
    return value.r if isinstance(value, _Pair) else value


def _as_pair(value: Any) -> _Pair:
    return value if isinstance(value, _Pair) else _Pair(value, value)


def _with_multipliers(where: str, program: Program) -> Callable[[Array, Array], Array]:
    """The program at r, with its equations swapped for twins that know what they are at x.

    Here a truth value or an integer that depends on x is a float of the same number, so that it has multipliers.
    """
    depends = _Dependence(program)

    def no_rule(site: Site) -> NotImplementedError:
        layers = {layer.path: layer.name for layer in list_layers(program)}
        holders = (layers.get(site.path[:n]) for n in range(len(site.path), 0, -1))
        name = next((name for name in holders if name), site.scope or site.op)
        fix = "Its difference would be missing from the sum."
        rule = "use operations that have a rule"
        return NotImplementedError(complaint(where, "f", rule, f"'{site.op}' at '{name}'", fix))

    def visit(site: Site, *values: Any) -> Any:
        on = depends.inputs[site.path]
        if not any(on):
            return site(*map(_at_x, values))
        if site.holds_equations and site.params.get("length") != 0:
            hidden = site.op in ("scan", "cond") and not any(site.active)
            if hidden or site.path in depends.hands_on_numbers:
                raise no_rule(site)
            return DEFER
        if not site.outputs:  # a debug print, a check
            return site(*_as_declared(site, map(_at_x, values)))
        swapped = _swap(site, on, values)
        if swapped is None:
            raise no_rule(site)
        return swapped

    # In a scan and a cond everything is a pair, since what is carried may become one.
    interpreter = Interpreter(visit, open_custom=True, choose=_branch, settle=_as_pair)

    def run(r: Array, x: Array) -> Array:
        (y,) = program.walk(interpreter, program.weights, [_Pair(x, r)])
        return y.r

    return run


class _Dependence:
    """Which values depend on x, also through comparisons and integers, which have no derivative.

    Attributes:
      inputs: of each equation, which inputs; in a scan, in any of its steps.
      hands_on_numbers: each scan and cond with an output that depends on x and is no float.
    """

    def __init__(self, program: Program):
        self.inputs: dict[Path, tuple[bool, ...]] = {}
        self.hands_on_numbers: set[Path] = set()
        self.scans: set[Path] = set()
        walk = Interpreter(
            self._visit,
            open_custom=True,
            unroll=lambda site: True,
            lift=lambda constant: False,
            index=lambda known, step: known,
            stack=any,
            choose=self._choose,
            edit=self._edit,
        )
        num_weights = len(program.weights)
        num_inputs = len(program.closed.jaxpr.invars) - num_weights
        program.walk(walk, [False] * num_weights, [True] * num_inputs)

    def _visit(self, site: Site, *known: bool) -> Any:
        if site.op == "scan":
            self.scans.add(site.path)
        path = self._rolled(site.path)
        before = self.inputs.get(path, (False,) * len(known))
        self.inputs[path] = tuple(a or b for a, b in zip(before, known, strict=True))
        # What the interpreter itself does not open: nothing in it has a derivative.
        shut = site.op in ("scan", "cond") and not any(site.active)
        if site.holds_equations and not shut and site.params.get("length") != 0:
            return DEFER
        return site.fill(any(known))

    def _edit(self, site: Site, outputs: list[bool]) -> list[bool]:
        if site.op in ("scan", "cond"):
            likes = zip(outputs, site.outputs, strict=True)
            if any(known and not _is_float(like) for known, like in likes):
                self.hands_on_numbers.add(self._rolled(site.path))
        return outputs

    def _choose(
        self, index: bool, branches: Sequence[Callable[..., Any]], *known: bool
    ) -> list[bool]:
        columns = zip(*(run(*known) for run in branches), strict=True)
        return [index or any(column) for column in columns]

    def _rolled(self, path: Path) -> Path:
        """The path with one step in the place of all."""
        steps = (n for n in range(1, len(path)) if path[:n] in self.scans)
        rolled = list(path)
        for n in steps:
            rolled[n] = 0
        return tuple(rolled)


def _swap(site: Site, on: Sequence[bool], values: Sequence[Any]) -> Any:
    """The pair in the place of an equation that depends on x; `None` if it has no rule."""
    op, active = site.op, [i for i, flag in enumerate(on) if flag]
    if any(jnp.issubdtype(v.dtype, jnp.complexfloating) for v in (*site.inputs, *site.outputs)):
        return None
    floats = all(_is_float(site.inputs[i]) for i in active)
    if op == "stop_gradient":
        return values[0]  # its difference is that of its input
    if not floats or not all(map(_is_float, site.outputs)):
        if op == "top_k" and floats and not site.read[1]:
            return [_order_statistic(site, values), None]
        if op in _MOVES:
            return _linear(site, values)
        return _elementwise(site, active, values) if op in _ELEMENTWISE else None
    if op in _BILINEAR:
        return _linear(site, values) if len(active) == 1 else _bilinear(site, values)
    if op in _LINEAR or op == "scan" or (op == "div" and active == [0]):
        return _linear(site, values)
    # One active operand of a maximum makes it elementwise; a sort of several arrays moves the others along.
    if op in _ORDER_STATISTICS and len(active) == len(values) and len(site.outputs) == 1:
        return _order_statistic(site, values)
    return _elementwise(site, active, values) if op in _ELEMENTWISE else None


# --- The rules


def _linear(site: Site, values: Sequence[Any]) -> Any:
    """Its coefficients are its derivative: the function itself, at both. So is a scan of no steps."""
    x, r = (site(*map(at, values)) for at in (_at_x, _at_r))
    return _Pair(x, r) if len(site.outputs) == 1 else list(map(_Pair, x, r))


def _swapped(
    function: Callable[..., Array],
    backward: Callable[[Array, _Pair, Sequence[Array], Sequence[Array]], tuple[Any, ...]],
    x: Sequence[Array],
    r: Sequence[Array],
) -> _Pair:
    """A function at both; at r with multipliers `backward(m, both values, both inputs)` for its derivative."""
    y = function(*x)
    instead = twin(
        lambda y, x, r: function(*r),
        lambda m, y_r, y, x, r: (None, None, backward(m, _Pair(y, y_r), x, r)),
    )
    return _Pair(y, instead(y, tuple(x), tuple(r)))


def _bilinear(site: Site, values: Sequence[Any]) -> _Pair:
    """A product: each factor gets the mean of the other."""

    def backward(m: Array, y: _Pair, x: Sequence[Array], r: Sequence[Array]) -> tuple[Any, ...]:
        means = [a / 2 + b / 2 for a, b in zip(x, r, strict=True)]
        return jax.vjp(site, *means)[1](m)

    return _swapped(site, backward, *_both(values))


def _elementwise(site: Site, active: Sequence[int], values: Sequence[Any]) -> _Pair:
    """A function of values in the same place."""
    shape, dtype = site.outputs[0].shape, jnp.result_type(*(_at_r(values[i]) for i in active))

    def function(*args: Any) -> Array:
        y = site(*_as_declared(site, args))
        return y if jnp.issubdtype(y.dtype, jnp.inexact) else y.astype(dtype)

    if site.op in _RECTIFIERS and len(active) == 1 and _is_float(site.outputs[0]):
        return _rectifier(site, active[0], values)

    def spread(values: Sequence[Any]) -> list[Array]:
        spread = [jnp.broadcast_to(v, shape) if i in active else v for i, v in enumerate(values)]
        return list(map(jnp.asarray, spread))

    return _swapped(
        function,
        lambda m, y, x, r: _shares(function, active, m, x, r),
        *map(spread, _both(values)),
    )


def _rectifier(site: Site, i: int, values: Sequence[Any]) -> _Pair:
    """One value cut off at constants: its slope is the quotient, since no difference is rounded."""
    bounds = [k for k in range(len(values)) if k != i]

    def backward(m: Array, y: _Pair, x: Sequence[Array], r: Sequence[Array]) -> tuple[Any, ...]:
        dx = _difference(x[i], r[i])
        at_bound = functools.reduce(jnp.logical_or, [x[i] == x[k] for k in bounds])
        derivative: Any = jnp.where(at_bound, _RECTIFIERS[site.op], y.x == x[i])
        slope: Any = jnp.where(dx == 0, derivative, _quotient(_difference(*y), dx))
        share: Any = jnp.where(m == 0, 0, m * slope)
        share = share.astype(r[i].dtype)
        return tuple(share if k == i else None for k in range(len(r)))

    x, r = _both(values)
    shape = site.outputs[0].shape
    x[i], r[i] = jnp.broadcast_to(x[i], shape), jnp.broadcast_to(r[i], shape)
    return _swapped(site, backward, x, r)


def _shares(
    function: Callable[..., Array],
    active: Sequence[int],
    m: Array,
    x: Sequence[Array],
    r: Sequence[Array],
) -> tuple[Any, ...]:
    """Multipliers of the inputs of an elementwise function: of several, by their Shapley values."""

    def share(i: int) -> Array:
        others = [j for j in active if j != i]

        def alone(v: Array) -> Array:
            """The function of one input, the others at x or at r: the mean over all orders of their change."""
            total: Any = 0
            for changed, weight in _coalitions(others):
                args = [x[j] if j in changed else r[j] for j in range(len(r))]
                total += weight * function(*args[:i], v, *args[i + 1 :])
            return total

        slope = _slope(alone, x[i], r[i])
        # No signal, no share: the branch of a `where` that is not taken may be infinite.
        return jnp.where(m == 0, 0, m * slope).astype(r[i].dtype)

    return tuple(share(i) if i in active else None for i in range(len(r)))


def _coalitions(players: Sequence[int]) -> Iterator[tuple[tuple[int, ...], float]]:
    """The sets of players that may come before one more, each with its share of the orders."""
    n = len(players)
    for size in range(n + 1):
        weight = math.factorial(size) * math.factorial(n - size) / math.factorial(n + 1)
        yield from ((those, weight) for those in combinations(players, size))


def _slope(function: Callable[[Array], Array], x: Array, r: Array) -> Array:
    """The slope of a function between two points: dy / dx.

    Where the derivative in the middle gives the same dy up to rounding, it is that: for a small dx the quotient is one
    of two roundings. So nothing of dy is lost, at a kink neither, and no tolerance depends on the scale of x.
    """
    at_x, at_r = function(x), function(r)
    rounding = 4 * jnp.finfo(at_x.dtype).eps * jnp.maximum(abs(at_x), abs(at_r))
    dy, dx = _difference(at_x, at_r), _difference(x, r)
    middle = x / 2 + r / 2
    _, tangent = jax.jvp(function, (middle,), (jnp.ones_like(middle),))
    derivative: Any = jnp.where(jnp.isfinite(tangent), tangent, 0)
    linear: Any = jnp.where(derivative == 0, 0, derivative * dx)
    near = (dx == 0) | (abs(dy - linear) <= rounding)
    slope: Any = jnp.where(near, derivative, _quotient(dy, dx))
    return slope


def _order_statistic(site: Site, values: Sequence[Any]) -> _Pair:
    """A maximum or minimum, or what is sorted: the difference goes to the inputs that have crossed all of it.

    If a maximum has risen, that is the input which is it now; if it has fallen, the one which was it. In general, if
    the k-th of n has risen, at least n - k + 1 inputs are not below its new value and at least k were not above its
    old one: at least one input has crossed both, and all that have get equal shares. As each of them has changed by
    as much as the output has, at least, m is within [0, 1].
    """
    candidates = _candidates(site)

    def function(*values: Array) -> Array:
        y = site(*values)
        return y[0] if isinstance(y, list) else y

    def backward(m: Array, y: _Pair, x: Sequence[Array], r: Sequence[Array]) -> tuple[Any, ...]:
        def crosses(at_x: Array, at_r: Array) -> Array:
            risen = (at_x >= y.x) & (at_r <= y.r)
            fallen = (at_x <= y.x) & (at_r >= y.r)
            return jnp.where(y.x > y.r, risen, fallen)

        def slopes(at_x: Array, at_r: Array) -> Array:
            slope = _quotient(share, _difference(at_x, at_r))
            return jnp.where(crosses(at_x, at_r), slope, 0).astype(at_r.dtype)

        at_x = candidates(*x)
        at_r, back = jax.vjp(candidates, *r)
        number = sum(c.sum(0) for c in map(crosses, at_x, at_r))
        # Computed once, not for each place of a window again.
        share = lax.optimization_barrier(m * _difference(*y) / number)
        return back(list(map(slopes, at_x, at_r)))

    return _swapped(function, backward, *_both(values))


def _candidates(site: Site) -> Callable[..., list[Array]]:
    """What an order statistic is chosen from: the inputs as arrays `(n, *y.shape)`."""
    p, shape = site.params, site.outputs[0].shape
    if site.op in ("max", "min"):
        return lambda *values: [jnp.broadcast_to(value, (1, *shape)) for value in values]
    if site.op in ("reduce_max", "reduce_min"):
        first = range(len(p["axes"]))
        return lambda value: [jnp.moveaxis(value, p["axes"], first).reshape(-1, *shape)]
    if site.op in ("reduce_window_max", "reduce_window_min"):
        return lambda value: _windows(value, p, shape, site.op.endswith("max"))
    axis = p["dimension"] if site.op == "sort" else p.get("axis", -1) % len(shape)

    def each(value: Array) -> list[Array]:
        value = jnp.expand_dims(jnp.moveaxis(value, axis, 0), axis + 1)
        return [jnp.broadcast_to(value, (value.shape[0], *shape))]

    return each


def _windows(value: Array, p: dict[str, Any], shape: tuple[int, ...], largest: bool) -> list[Array]:
    """What each place of the windows of a pooling sees."""
    worst = jnp.array(-jnp.inf if largest else jnp.inf, value.dtype)
    edges = zip(p["padding"], p["base_dilation"], strict=True)
    value = lax.pad(value, worst, [(*padding, dilation - 1) for padding, dilation in edges])
    strides, places = p["window_strides"], product(*map(range, p["window_dimensions"]))
    seen = []
    for place in places:
        start = [i * d for i, d in zip(place, p["window_dilation"], strict=True)]
        stop = [i + (n - 1) * s + 1 for i, n, s in zip(start, shape, strides, strict=True)]
        seen.append(lax.slice(value, start, stop, strides)[None])
    return seen


def _branch(
    index: _Pair, branches: Sequence[Callable[..., Any]], *operands: Any
) -> Sequence[_Pair]:
    """The way through a cond: if the choice depends on x, a `where` of all branches."""
    if not _is_float(jnp.asarray(index.r)):
        return lax.switch(index.r, branches, *operands)

    def pick(index: Array, *outputs: Array) -> Array:
        return lax.select_n(index.astype(jnp.int32), *outputs)

    everyone = range(len(branches) + 1)

    def chosen(column: Sequence[_Pair]) -> _Pair:
        shape = jnp.shape(column[0].r)
        choice = _Pair(*(jnp.broadcast_to(i, shape) for i in index))
        values = _both([choice, *column])
        return _swapped(pick, lambda m, y, x, r: _shares(pick, everyone, m, x, r), *values)

    return list(map(chosen, zip(*(run(*operands) for run in branches), strict=True)))


# --- Small things


def _both(values: Sequence[Any]) -> tuple[list[Array], list[Array]]:
    """What an equation is given at x, and at r."""
    return [jnp.asarray(_at_x(v)) for v in values], [jnp.asarray(_at_r(v)) for v in values]


def _difference(x: Array, r: Array) -> Array:
    """The difference, which of two equal infinities is 0."""
    same = x == r
    return jnp.where(same, 0, x - jnp.where(same, 0, r))


def _quotient(dy: Array, dx: Array) -> Array:
    """The part that each unit of a difference has in another; what comes of an infinite one is lost, so it is NaN."""
    lost = jnp.isinf(dx) & (dy != 0)
    return jnp.where(lost, jnp.nan, dy / jnp.where(dx == 0, 1, dx))


def _is_float(like: Any) -> bool:
    return jnp.issubdtype(like.dtype, jnp.floating)


def _as_declared(site: Site, values: Iterable[Any]) -> list[Any]:
    """The values in the dtypes that the equation was written for."""
    return [jnp.asarray(v).astype(like.dtype) for v, like in zip(values, site.inputs, strict=True)]
