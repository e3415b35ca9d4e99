"""One walk over a model's equations; a visitor says what each of them gives.

JAX turns `f(x)` into a list of equations (a jaxpr). The `Interpreter` walks that list and asks a *visitor* for
the outputs of each equation. Reading an activation, overriding it, listing the layers: each is a visitor of a
few lines, and no model is edited. A visitor may answer

* with the outputs: whatever it likes instead of (or computed from) the equation's own;
* `DEFER`: evaluate as usual. An equation that holds other equations (`jit`, `remat`, `scan`, `cond`) is then
  opened, and the visitor sees what is inside.

Rules of the walk:

* `site.path` names an equation for good: its position, then its positions inside what holds it; a step of a
  `scan` counts as one position. Equations whose result nobody reads are skipped.
* `site.active` tells which inputs depend on the model's input `x` (and not on its weights alone), `site.read` which
  outputs somebody reads.
* The values need not be arrays. A visitor that answers every equation may pass anything (`layers` passes names);
  then it gives the interpreter its own `lift`, `index`, `stack` and `choose`: what a constant is, and the way through
  a scan and a cond. A visitor whose values sometimes wait to be arrays says with `settle` how they become some.
* An `edit` changes what everything later sees of an equation, also of one that was opened.
* An equation is evaluated through a program of that one equation, which keeps its custom derivative, its source
  line and its parameters; `Primitive.bind` changed its protocol between JAX versions.

This is the only file that reads jaxprs. It needs of JAX: `make_jaxpr`, `jax.extend.core` and primitive names.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core as jex

from xaijax.core._tree import combine, is_weight, partition

#: A visitor's answer: evaluate as usual.
DEFER: Any = object()

Path = tuple[int, ...]

# Equations that only hold other equations: transparent to every transformation.
_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint"})
# A function with a derivative of its own; opened only by methods that replace the derivative anyway.
_CUSTOM = frozenset({"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"})


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """One equation, as a visitor sees it."""

    path: Path
    scope: str
    eqn: Any
    jaxpr: Any
    active: tuple[bool, ...]
    read: tuple[bool, ...]

    @property
    def op(self) -> str:
        """The primitive's name, such as `conv_general_dilated`."""
        return self.eqn.primitive.name

    @property
    def params(self) -> dict[str, Any]:
        """The primitive's parameters."""
        return self.eqn.params

    @property
    def outputs(self) -> list[jax.ShapeDtypeStruct]:
        """Shape and dtype of each output."""
        return [_like(v) for v in self.eqn.outvars]

    @property
    def inputs(self) -> list[jax.ShapeDtypeStruct]:
        """Shape and dtype of each input."""
        return [_like(v) for v in self.eqn.invars]

    @cached_property
    def what(self) -> Any:
        """What the equation computes, whatever of: equal for equal primitives, parameters, shapes and dtypes."""
        shapes = tuple((like.shape, like.dtype) for like in self.inputs)
        what = (self.eqn.primitive, tuple(sorted(self.params.items())), shapes)
        try:
            hash(what)
        except TypeError:
            return self  # equal to itself alone
        return what

    def fill(self, value: Any) -> Any:
        """An answer of a visitor: `value` for every output."""
        return value if len(self.eqn.outvars) == 1 else [value] * len(self.eqn.outvars)

    @property
    def is_call(self) -> bool:
        """Whether the equation only holds other equations, which run once."""
        return self.op in _CALLS

    @property
    def is_custom(self) -> bool:
        """Whether the equation is a function with a derivative of its own."""
        return self.op in _CUSTOM

    @property
    def holds_equations(self) -> bool:
        """Whether a visitor may defer to the equations inside; a `while`, say, is never opened."""
        return self.is_call or self.is_custom or self.op in ("scan", "cond")

    @property
    def function_name(self) -> str:
        """The name of the Python function behind a call (`relu` for `jax.nn.relu`), or the primitive's."""
        if self.op in _CUSTOM:
            inner = self.params.get("call_jaxpr", self.params.get("fun_jaxpr"))
            debug = getattr(getattr(inner, "jaxpr", inner), "debug_info", None)
            return getattr(debug, "func_name", self.op)
        return str(self.params.get("name", self.op)) if self.is_call else self.op

    def reads_alone(self, position: int) -> bool:
        """Whether nothing else reads one of its inputs."""
        v, others = (
            self.eqn.invars[position],
            (eqn for eqn in self.jaxpr.eqns if eqn is not self.eqn),
        )
        return not any(v is u for eqn in others for u in eqn.invars) and not any(
            v is u for u in self.jaxpr.outvars
        )

    @cached_property
    def body(self) -> "list[Site]":
        """The equations directly inside a call, a custom-derivative function or a scan."""
        if self.op not in _CALLS | _CUSTOM | {"scan"}:
            return []
        return _sites(_body(self.params)[0], self.path, self.scope)

    def inside(self, interpreter: "Interpreter", values: Sequence[Any]) -> list[Any]:
        """What an interpreter makes of the equations inside a call or a custom-derivative function."""
        jaxpr, consts = _body(self.params)
        return interpreter.run(
            jaxpr, consts, values, self.active, self.scope, self.path, self.read
        )[0]

    def __call__(self, *args: Any) -> Any:
        """Evaluate the equation; one output comes bare, several as a list."""
        invars, eqn = list(self.eqn.invars), self.eqn
        variables = [v for v in invars if not isinstance(v, jex.Literal)]
        if len(set(variables)) < len(variables):
            # A variable that is read twice gets a name for each place: a twin's derivative tells them apart.
            fresh = jax.make_jaxpr(lambda *a: a)(*self.inputs).jaxpr.invars
            both = zip(invars, fresh, strict=True)
            invars = [v if isinstance(v, jex.Literal) else new for v, new in both]
            variables = [v for v in invars if not isinstance(v, jex.Literal)]
            eqn = eqn.replace(invars=invars)
        values = [a for v, a in zip(invars, args, strict=True) if not isinstance(v, jex.Literal)]
        alone = self.jaxpr.replace(
            constvars=[], invars=variables, outvars=list(eqn.outvars), eqns=[eqn]
        )
        out = jex.jaxpr_as_fun(jex.ClosedJaxpr(alone, ()))(*values)
        return out[0] if len(out) == 1 else out


Visitor = Callable[..., Any]


class Interpreter:
    """Walks a jaxpr and asks `visit(site, *inputs)` for the outputs of every equation.

    Args:
      visit: the visitor.
      open_custom: whether functions with a custom derivative are opened when the visitor defers.
      unroll: which deferred scans are unrolled, so that the visitor sees each step; the body of any other is
        visited once and a `scan` is emitted again, which keeps it differentiable and the program small.
      lift: what a constant of the program is to the visitor; itself by default.
      index: `(value, step) -> value`, the part of a scanned value that one step sees.
      stack: `values -> value`, the steps' outputs as one value.
      choose: `(index, branches, *operands) -> outputs`, the way through a cond.
      settle: what makes an array of a value that waits; called where JAX itself takes over (a scan, a cond, the end).
      edit: `(site, outputs) -> outputs`, what everything later sees of an equation.
    """

    def __init__(
        self,
        visit: Visitor,
        *,
        open_custom: bool = False,
        unroll: Callable[[Site], bool] = lambda site: False,
        lift: Callable[[Any], Any] = lambda constant: constant,
        index: Callable[[Any, int], Any] = lambda value, step: value[step],
        stack: Callable[[Sequence[Any]], Any] = jnp.stack,
        choose: Callable[..., Sequence[Any]] = lax.switch,
        settle: Callable[[Any], Any] = lambda value: value,
        edit: Callable[[Site, list[Any]], list[Any]] = lambda site, outputs: outputs,
    ):
        self.visit = visit
        self.opened = _CALLS | (_CUSTOM if open_custom else frozenset())
        self.unroll, self.lift, self.index, self.stack = unroll, lift, index, stack
        self.choose, self.settle, self.edit = choose, settle, edit

    def run(
        self,
        jaxpr: Any,
        consts: Sequence[Any],
        args: Sequence[Any],
        active: Sequence[bool],
        scope: str = "",
        path: Path = (),
        wanted: Sequence[bool] | None = None,
    ) -> tuple[list[Any], list[bool]]:
        """Evaluate a jaxpr; returns its outputs, and for each whether it depends on an active input.

        An output that is not wanted is not computed, and comes as `None`.
        """
        env: dict[Any, tuple[Any, bool]] = dict(
            zip(jaxpr.constvars, [(self.lift(c), False) for c in consts], strict=True)
        )
        env.update(zip(jaxpr.invars, zip(args, active, strict=True), strict=True))

        def read(v: Any) -> tuple[Any, bool]:
            return (self.lift(v.val), False) if isinstance(v, jex.Literal) else env[v]

        wanted = wanted or [True] * len(jaxpr.outvars)
        outvars = [v for v, keep in zip(jaxpr.outvars, wanted, strict=True) if keep]
        for position, eqn, is_read in _live(jaxpr, outvars):
            known = [read(v) for v in eqn.invars]
            values, on = [value for value, _ in known], tuple(flag for _, flag in known)
            site = Site((*path, position), _scope(eqn, scope), eqn, jaxpr, on, is_read)
            outs, live = self._step(site, values)
            for v, out, flag in zip(eqn.outvars, outs, live, strict=True):
                # Integers and booleans carry no derivative: what hangs on them alone is not active.
                env[v] = (out, flag and jnp.issubdtype(v.aval.dtype, jnp.inexact))
        ends = [
            read(v) if keep else (None, False)
            for v, keep in zip(jaxpr.outvars, wanted, strict=True)
        ]
        return [value for value, _ in ends], [flag for _, flag in ends]

    def _step(self, site: Site, values: list[Any]) -> tuple[list[Any], list[bool]]:
        outs, live = self._evaluate(site, values)
        return self.edit(site, outs), live

    def _evaluate(self, site: Site, values: list[Any]) -> tuple[list[Any], list[bool]]:
        if site.op in ("scan", "cond"):
            values = [self.settle(value) for value in values]
        out = self.visit(site, *values)
        if out is DEFER and site.op in self.opened:
            jaxpr, consts = _body(site.params)
            return self.run(jaxpr, consts, values, site.active, site.scope, site.path, site.read)
        if out is DEFER and site.op == "scan" and any(site.active) and site.params["length"]:
            return self._scan(site, values)
        if out is DEFER and site.op == "cond" and any(site.active):
            return self._cond(site, *values)
        out = site(*values) if out is DEFER else out
        outs = [out] if len(site.eqn.outvars) == 1 else list(out)
        return outs, [any(site.active)] * len(outs)

    def _settled(self, body: Any, *args: Any) -> list[Any]:
        """What leaves the body of a scan or a cond."""
        outs, _ = self.run(body.jaxpr, body.consts, *args)
        return [self.settle(out) for out in outs]

    def _cond(self, site: Site, index: Any, *operands: Any) -> tuple[list[Any], list[bool]]:
        def branch(position: int, body: Any) -> Callable[..., list[Any]]:
            path, active = (*site.path, position), site.active[1:]
            return lambda *args: self._settled(body, args, active, site.scope, path)

        bodies = [branch(i, body) for i, body in enumerate(site.params["branches"])]
        outs = list(self.choose(index, bodies, *operands))
        return outs, [True] * len(outs)

    def _scan(self, site: Site, values: list[Any]) -> tuple[list[Any], list[bool]]:
        p = site.params
        body, (num_consts, num_carry) = p["jaxpr"], _scan_parts(p)
        active, out_active = _scan_activity(p, site.active)
        consts, carry = values[:num_consts], values[num_consts : num_consts + num_carry]
        xs = values[num_consts + num_carry :]

        def step(carry: list[Any], x: list[Any], path: Path, scope: str) -> tuple[list, list]:
            outs = self._settled(body, [*consts, *carry, *x], active, scope, path)
            return outs[:num_carry], outs[num_carry:]

        if not self.unroll(site):
            carry, ys = lax.scan(
                lambda c, x: step(c, x, (*site.path, 0), site.scope),
                carry,
                xs,
                length=p["length"],
                reverse=p["reverse"],
                unroll=p["unroll"],
            )
            return [*carry, *ys], out_active
        rows: list[list[Any]] = [[]] * p["length"]
        for i in reversed(range(p["length"])) if p["reverse"] else range(p["length"]):
            row = [self.index(x, i) for x in xs]
            carry, rows[i] = step(carry, row, (*site.path, i), f"{site.scope}[{i}]")
        ys = [self.stack(column) for column in zip(*rows, strict=True)]
        return [*carry, *ys], out_active


@dataclasses.dataclass(frozen=True)
class Program:
    """A model traced at one input: its equations, and how to run them with other weights or another input.

    Attributes:
      paths: for each array of the model, the way to it in the model's tree, such as `("blocks", "0", "kernel")`.
    """

    closed: Any
    paths: tuple[tuple[str, ...], ...]
    weights: list[Any]
    out_tree: Any

    @property
    def reads_input(self) -> bool:
        """Whether any output depends on the input, and not by integers alone."""
        jaxpr, count = self.closed.jaxpr, len(self.weights)
        return any(_activity(jaxpr, [i >= count for i in range(len(jaxpr.invars))]))

    @property
    def sites(self) -> list[Site]:
        """The equations, those that hold others unopened."""
        return _sites(self.closed.jaxpr)

    def __call__(self, x: Any) -> Any:
        """Evaluate the program at `x` as it is."""
        outs = jex.jaxpr_as_fun(self.closed)(*self.weights, *jax.tree.leaves(x))
        return jax.tree.unflatten(self.out_tree, outs)

    def run(self, interpreter: Interpreter, x: Any) -> Any:
        """Evaluate the program at `x` under an interpreter; returns the model's outputs."""
        outs = self.walk(interpreter, self.weights, jax.tree.leaves(x))
        return jax.tree.unflatten(self.out_tree, outs)

    def walk(
        self, interpreter: Interpreter, weights: Sequence[Any], leaves: Sequence[Any]
    ) -> list[Any]:
        """As `run`, on values of any kind: one for each weight and each leaf of the input."""
        active = [False] * len(weights) + [True] * len(leaves)
        jaxpr, consts = self.closed.jaxpr, self.closed.consts
        outs, _ = interpreter.run(jaxpr, consts, [*weights, *leaves], active)
        return [interpreter.settle(out) for out in outs]


def trace(f: Callable[..., Any], x: Any) -> Program:
    """Trace the model `f` at `x`. The arrays inside `f` become inputs of the program, so they have names."""
    weights, rest = partition(f, numbers=False)
    closed, out = jax.make_jaxpr(lambda w, x: combine(w, rest)(x), return_shape=True)(weights, x)
    leaves, _ = jax.tree_util.tree_flatten_with_path(f)
    start = _wrapping(f)
    paths = tuple(tuple(map(_key_name, path[start:])) for path, leaf in leaves if is_weight(leaf))
    return Program(closed, paths, weights, jax.tree.structure(out))


def _sites(jaxpr: Any, path: Path = (), scope: str = "") -> list[Site]:
    return [
        Site(
            (*path, i),
            _scope(eqn, scope),
            eqn,
            jaxpr,
            (False,) * len(eqn.invars),
            (True,) * len(eqn.outvars),
        )
        for i, eqn in enumerate(jaxpr.eqns)
    ]


def primitives(text: str) -> frozenset[str]:
    """The primitives that a text names."""
    return frozenset(text.split())


def on_the_way(paths: Sequence[Path]) -> frozenset[Path]:
    """The paths of all that holds these equations."""
    return frozenset(path[:n] for path in paths for n in range(len(path)))


def steps_differ(decisions: Mapping[Path, Any], scan: Path, length: int) -> bool:
    """Whether the steps of a scan want to be treated differently, so that it must be unrolled."""
    depth = len(scan)
    steps: dict[int, dict[Path, Any]] = {i: {} for i in range(length)}
    for path, decision in decisions.items():
        if path[:depth] == scan:
            steps[path[depth]][path[depth + 1 :]] = decision
    first, *rest = steps.values()
    return any(step != first for step in rest)


def depends(function: Callable[..., Any], *args: Any) -> bool:
    """Whether any output of a function depends on its arguments; only shapes and dtypes matter."""
    return on_the_path(function, *args)[0]


def on_the_path(function: Callable[..., Any], *args: Any) -> tuple[bool, frozenset[str]]:
    """Whether any output of a function depends on its arguments, and the primitives that work on what does."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    met: set[str] = set()
    return any(_activity(jaxpr, [True] * len(jaxpr.invars), met)), frozenset(met)


def _wrapping(f: Any) -> int:
    """How many steps of a weight's path only lead through what was put around the model.

    That is a `Partial` of a function with its parameters, or one of our own adapters, which say so by `wraps`.
    """
    if isinstance(f, jax.tree_util.Partial):
        holders = [i for i, a in enumerate(f.args) if jax.tree.leaves(a)]
        one = len(holders) == 1 and not jax.tree.leaves(f.keywords)
        return 2 + _wrapping(f.args[holders[0]]) if one else 1
    wraps = getattr(type(f), "wraps", None)
    return 1 + _wrapping(getattr(f, wraps)) if isinstance(wraps, str) else 0


def _key_name(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))


def _like(v: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype)


def _body(params: dict[str, Any]) -> tuple[Any, Sequence[Any]]:
    inner = next(params[k] for k in ("jaxpr", "call_jaxpr", "fun_jaxpr") if k in params)
    return (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())


def _scan_parts(params: dict[str, Any]) -> tuple[int, int]:
    """How many of a scan's inputs are constants, and how many are carried; the rest is scanned over."""
    if "ft_in" in params:  # jax >= 0.12
        consts, carry, _ = params["ft_in"].unpack()
        return len(consts), len(carry)
    return params["num_consts"], params["num_carry"]


def _scan_activity(
    params: dict[str, Any], active: Sequence[bool], met: set[str] | None = None
) -> tuple[list[bool], list[bool]]:
    """Which inputs and outputs of a scan's body are active: a carry is, once any step makes it so."""
    body, (first, count) = params["jaxpr"].jaxpr, _scan_parts(params)
    carry, active = slice(first, first + count), list(active)
    while True:
        out = _activity(body, active, met)
        grown = [a or b for a, b in zip(active[carry], out[:count], strict=True)]
        if grown == active[carry]:
            return active, out
        active[carry] = grown


def _activity(jaxpr: Any, active: Sequence[bool], met: set[str] | None = None) -> list[bool]:
    """Which outputs of a jaxpr depend on its active inputs; `met` takes the primitives that do."""
    on = {v for v, flag in zip(jaxpr.invars, active, strict=True) if flag}
    for eqn in jaxpr.eqns:
        flags = [not isinstance(v, jex.Literal) and v in on for v in eqn.invars]
        name = eqn.primitive.name
        if met is not None and any(flags):
            met.add(name)
        if name in _CALLS:
            flags = _activity(_body(eqn.params)[0], flags, met)
        elif name == "scan":
            flags = _scan_activity(eqn.params, flags, met)[1]
        else:
            flags = [any(flags)] * len(eqn.outvars)
        live = zip(eqn.outvars, flags, strict=True)
        on.update(v for v, flag in live if flag and jnp.issubdtype(v.aval.dtype, jnp.inexact))
    return [not isinstance(v, jex.Literal) and v in on for v in jaxpr.outvars]


def _scope(eqn: Any, prefix: str) -> str:
    """The module path of an equation, without the marks of transformations: `vmap(a)/b` is `a/b`."""
    text = str(eqn.source_info.name_stack)
    while (bare := re.sub(r"\w+\(([^()]*)\)", r"\1", text)) != text:
        text = bare
    return "/".join(part for part in f"{prefix}/{text}".split("/") if part)


def _live(jaxpr: Any, outvars: Sequence[Any]) -> list[tuple[int, Any, tuple[bool, ...]]]:
    """The equations that the outputs hang on (or that have an effect): position, equation, outputs that are read."""
    needed = {v for v in outvars if not isinstance(v, jex.Literal)}
    kept = []
    for position, eqn in reversed(list(enumerate(jaxpr.eqns))):
        read = tuple(v in needed for v in eqn.outvars)
        if eqn.effects or any(read):
            needed.update(v for v in eqn.invars if not isinstance(v, jex.Literal))
            kept.append((position, eqn, read))
    return kept[::-1]
