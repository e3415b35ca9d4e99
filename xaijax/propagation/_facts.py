"""What is known of a model's values before they are computed: a walk over its equations with facts for values.

Rules hang on such facts: whether a maximum is a rectifier, whether an input cannot be negative, whether a layer is
the first. They are decided here, once, and the walk with arrays only looks them up.
"""

import dataclasses
from collections.abc import Callable, Container, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from xaijax.core._interpreter import DEFER, Interpreter, Path, Program, Site, primitives
from xaijax.core._tree import dtype_of, is_traced

#: Linear in the input and in the weights: a convolution, a dense layer.
CONTRACTIONS = frozenset({"conv_general_dilated", "dot_general"})

_MOVES = primitives(
    "broadcast_in_dim concatenate convert_element_type copy cumsum dynamic_slice gather pad reduce_max reduce_min "
    "reduce_precision reduce_sum reduce_window_max reduce_window_min reduce_window_sum reshape rev select_n slice "
    "sort split squeeze stack tile name transpose"
)
# Not negative if no input is.
_KEEP_SIGN = _MOVES | {"add", "add_any", "clamp", "div", "dot_general", "min", "mul"}
_NEVER_NEGATIVE = frozenset({"abs", "exp", "exp2", "logistic", "sqrt", "square"})
# A value moved, or some of its entries masked, and no other computed.
_KEEP_ENTRIES = primitives(
    "broadcast_in_dim convert_element_type copy reduce_precision reshape select_n squeeze transpose"
)
# A number stays that number.
_KEEP_NUMBER = frozenset({"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze"})
# An output hangs on the inputs in the same place, and on no others.
_SAME_PLACE = primitives(
    "add convert_element_type copy div exp integer_pow mul neg pow rsqrt sqrt square sub"
)
# They tell apart what is above and below zero, and compute nothing.
_SELECTING = primitives(
    "and broadcast_in_dim clamp convert_element_type copy eq ge gt le lt max min mul ne not or select_n"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Fact:
    """What is known of one value. Two values are the same one if their facts are the same object.

    Attributes:
      number: the number that it is everywhere, written in the program.
      nonnegative: it is never below zero.
      behind: a linear layer lies between the model's input and it.
      spread: axes along which it is one value, broadcast.
      power: 1 for a square, 2 for a sum of squares (a variance, before it is rectified against rounding).
      sign: `(value, where)`: a comparison that is true (or 1) where the value is above zero, or else where it is not.
      norm: it is the norm of a value (the root of a sum of squares), or computed of such alone.
      held: it depends on x only through a `stop_gradient`.
      shifted: the equation that took something held off its first input, which gave this.
      exponential: what it is the exponential of.
      total: what it is a sum of exponentials of.
      softmax: it is the output of a softmax, moved or masked.
    """

    number: float | None = None
    nonnegative: bool = False
    behind: bool = False
    spread: frozenset[int] = frozenset()
    power: int = 0
    sign: "tuple[Fact, bool] | None" = None
    norm: bool = False
    held: bool = False
    shifted: Path | None = None
    exponential: "Fact | None" = None
    total: "Fact | None" = None
    softmax: bool = False


@dataclasses.dataclass(frozen=True)
class Facts:
    """The facts of a program.

    Attributes:
      sites: every equation, by its path.
      inputs: of every equation, what is known of its inputs.
      outputs: what is known of the program's outputs.
      rectified: of every rectifier, the position of the input that it rectifies.
      logits: of every division that ends a softmax, the equation whose first input are its logits.
      custom: the functions with a derivative of their own.
      scans: the loops, and their numbers of steps.
    """

    sites: dict[Path, Site]
    inputs: dict[Path, tuple[Fact, ...]]
    outputs: list[Fact]
    rectified: dict[Path, int]
    logits: dict[Path, Path]
    custom: dict[Path, Site]
    scans: dict[Path, int]

    def rolled(self, unrolled: Container[Path]) -> "Facts":
        """The facts with one step in the place of all where a scan stays a scan: what holds in every step."""
        inputs, rectified = dict(self.inputs), dict(self.rectified)
        for scan in sorted(self.scans, key=len, reverse=True):
            if scan in unrolled:
                continue
            steps: dict[Path, list[Path]] = {}
            for path in inputs:
                if path[: len(scan)] == scan:
                    steps.setdefault(path[len(scan) + 1 :], []).append(path)
            for rest, paths in steps.items():
                one = (*scan, 0, *rest)
                columns = zip(*(inputs[path] for path in paths), strict=True)
                inputs[one] = tuple(map(_join, columns))
                if len({rectified.get(path) for path in paths}) > 1:
                    rectified.pop(one, None)
        return dataclasses.replace(self, inputs=inputs, rectified=rectified)


def find_facts(program: Program) -> Facts:
    """Walk a program with facts for values; every step of a scan is seen, and what is inside a custom function."""
    facts = Facts({}, {}, [], {}, {}, {}, {})
    # Where the logits of an exponential are: before the maximum was taken off, if one was.
    logits: dict[Fact, Path] = {}

    def visit(site: Site, *known: Fact) -> Any:
        if site.op == "scan" and any(site.active) and site.params["length"]:
            facts.scans[site.path] = site.params["length"]
            return DEFER
        if site.is_custom:
            facts.custom[site.path] = site
        if site.holds_equations and site.op != "scan" and (site.op != "cond" or any(site.active)):
            return DEFER
        facts.sites[site.path], facts.inputs[site.path] = site, known
        position = _rectified(site, known)
        if position is not None:
            facts.rectified[site.path] = position
        if site.op == "exp":
            logits.setdefault(known[0], known[0].shifted or site.path)
        if _ends_softmax(site, known):
            assert known[0].exponential is not None
            facts.logits[site.path] = logits[known[0].exponential]
        outputs = [_after(site, known) for _ in site.outputs]
        return outputs if len(outputs) != 1 else outputs[0]

    def choose(index: Fact, branches: Sequence[Callable[..., Any]], *known: Fact) -> list[Fact]:
        return [_join(column) for column in zip(*(run(*known) for run in branches), strict=True)]

    walk = Interpreter(
        visit,
        choose=choose,
        open_custom=True,
        unroll=lambda site: True,
        lift=lambda constant: Fact(number=_number(constant)),
        index=lambda known, step: dataclasses.replace(known, spread=frozenset()),
        stack=_join,
    )
    num_weights = len(program.weights)
    num_inputs = len(program.closed.jaxpr.invars) - num_weights
    ends = program.walk(
        walk, [Fact() for _ in range(num_weights)], [Fact() for _ in range(num_inputs)]
    )
    facts.outputs.extend(ends)
    return facts


def only_selects(site: Site) -> bool:
    """Whether a function computes nothing, as a rectifier: its own derivative is then no other than ours."""
    return all(
        only_selects(inner) if inner.holds_equations else inner.op in _SELECTING
        for inner in site.body
    )


def _number(constant: Any) -> float | None:
    """The number behind a constant of the program, if it is one and its value is known."""
    if is_traced(constant) or np.ndim(constant):
        return None
    dtype = dtype_of(constant)
    real = jnp.issubdtype(dtype, jnp.floating) or jnp.issubdtype(dtype, jnp.integer)
    return float(np.asarray(constant)) if real else None


def _join(known: Sequence[Fact]) -> Fact:
    """What holds for all of them."""
    first = known[0]
    return Fact(
        number=first.number if all(k.number == first.number for k in known) else None,
        nonnegative=all(map(_is_nonnegative, known)),
        behind=any(k.behind for k in known),
        spread=frozenset.intersection(*(k.spread for k in known)),
        power=max(k.power for k in known),
        norm=all(k.norm for k in known),
        held=all(k.held for k in known),
        softmax=all(k.softmax for k in known),
    )


def _is_nonnegative(known: Fact) -> bool:
    return known.nonnegative or (known.number is not None and known.number >= 0)


def _after(site: Site, known: Sequence[Fact]) -> Fact:
    """What is known of an equation's output."""
    op, number = site.op, known[0].number if len(known) == 1 else None
    return Fact(
        number=number if op in _KEEP_NUMBER else None,
        nonnegative=_never_negative(site, known),
        behind=any(k.behind for k in known) or (op in CONTRACTIONS and any(site.active)),
        spread=_spread(site, known),
        power=_power(site, known),
        sign=_sign(site, known),
        norm=_norm(site, known),
        held=site.op == "stop_gradient" or _all_active(site, [k.held for k in known]),
        shifted=site.path if _is_shift(site, known) else _kept(site, [k.shifted for k in known]),
        exponential=known[0] if site.op == "exp" else _kept(site, [k.exponential for k in known]),
        total=_total(site, known),
        softmax=_ends_softmax(site, known) or _is_softmax(site, known),
    )


def _never_negative(site: Site, known: Sequence[Fact]) -> bool:
    op = site.op
    if op in _NEVER_NEGATIVE or (op == "integer_pow" and site.params["y"] % 2 == 0):
        return True
    if op == "mul" and known[0] is known[1]:
        return True
    values = [
        _is_nonnegative(k)
        for k, like in zip(known, site.inputs, strict=True)
        if jnp.issubdtype(like.dtype, jnp.inexact)
    ]
    if op == "max":
        return any(values)
    if op == "clamp":
        return _is_nonnegative(known[0])
    return op in _KEEP_SIGN and bool(values) and all(values)


def _spread(site: Site, known: Sequence[Fact]) -> frozenset[int]:
    if not site.inputs:
        return frozenset()
    before, after = site.inputs[0].shape, site.outputs[0].shape
    everywhere = frozenset(range(len(after)))
    if site.op == "broadcast_in_dim":
        places = zip(site.params["broadcast_dimensions"], before, strict=True)
        return everywhere - {axis for axis, n in places if n == after[axis]}
    if site.op in _SAME_PLACE and all(like.shape in ((), after) for like in site.inputs):
        sizes = [
            k.spread if like.shape else everywhere
            for k, like in zip(known, site.inputs, strict=True)
        ]
        return frozenset.intersection(*sizes)
    return frozenset()


def _power(site: Site, known: Sequence[Fact]) -> int:
    """A square, then a sum of squares; then whatever only scales, shifts or moves it."""
    op, powers = site.op, [k.power for k, on in zip(known, site.active, strict=True) if on]
    if op == "square" or (op == "integer_pow" and site.params["y"] == 2):
        return 1
    if op == "mul" and known[0] is known[1]:
        return 1
    if not powers:
        return 0
    if op in ("reduce_sum", "reduce_window_sum"):
        return 2 if powers[0] else 0
    if (
        op in ("add", "sub", "add_any", "max")
        or op in _MOVES
        or (op in ("mul", "div") and sum(site.active) == 1)
    ):
        return max(powers)
    return 0


def _all_active(site: Site, flags: Sequence[bool]) -> bool:
    """Whether something is known of all inputs that depend on x."""
    on = [flag for flag, active in zip(flags, site.active, strict=True) if active]
    return bool(on) and all(on)


def _kept(site: Site, marks: Sequence[Any]) -> Any:
    """What an equation that only moves or masks its one active input keeps of it."""
    if site.op not in _KEEP_ENTRIES or sum(site.active) != 1:
        return None
    return marks[site.active.index(True)]


def _norm(site: Site, known: Sequence[Fact]) -> bool:
    root = site.op in ("sqrt", "rsqrt", "pow") and known[0].power == 2
    return root or _all_active(site, [k.norm for k in known])


def _is_shift(site: Site, known: Sequence[Fact]) -> bool:
    return site.op == "sub" and sum(site.active) == 2 and known[1].held and not known[0].held


def _total(site: Site, known: Sequence[Fact]) -> Fact | None:
    if site.op == "reduce_sum":
        return known[0].exponential
    if site.op in ("add", "max") and sum(site.active) == 1:  # kept from being zero
        return known[site.active.index(True)].total
    return _kept(site, [k.total for k in known])


def _ends_softmax(site: Site, known: Sequence[Fact]) -> bool:
    """Whether it divides an exponential by its own sum."""
    if site.op != "div" or sum(site.active) != 2:
        return False
    return known[0].exponential is not None and known[0].exponential is known[1].total


def _is_softmax(site: Site, known: Sequence[Fact]) -> bool:
    """Whether it is moved, masked or scaled (a dropout), and what it is made of is the output of a softmax."""
    moves = site.op in _MOVES | {"mul", "div"} and sum(site.active) == 1
    return moves and known[site.active.index(True)].softmax


def _sign(site: Site, known: Sequence[Fact]) -> tuple[Fact, bool] | None:
    if site.op in ("gt", "ge", "lt", "le"):
        above = site.op in ("gt", "ge")
        if known[1].number == 0:
            return known[0], above
        return (known[1], not above) if known[0].number == 0 else None
    if site.op == "not" and known[0].sign:
        value, where = known[0].sign
        return value, not where
    return known[0].sign if site.op in ("convert_element_type", "copy") else None


def _rectified(site: Site, known: Sequence[Fact]) -> int | None:
    """Which input an equation rectifies: of max(x, 0), clamp(0, x, c), where(x > 0, x, 0), x * (x > 0)."""

    def may_be(position: int) -> bool:
        # A variance that is kept from rounding below zero is none.
        same = site.inputs[position].shape == site.outputs[0].shape
        return site.active[position] and same and known[position].power < 2

    def is_zero(position: int) -> bool:
        return known[position].number == 0

    match site.op:
        case "max":
            return next((i for i in (0, 1) if is_zero(1 - i) and may_be(i)), None)
        case "mul":
            gates = [(i, known[1 - i].sign) for i in (0, 1)]
            return next(
                (i for i, gate in gates if gate and gate[0] is known[i] and gate[1] and may_be(i)),
                None,
            )
        case "clamp":
            return 1 if is_zero(0) and may_be(1) else None
        case "select_n" if len(known) == 3 and known[0].sign:
            value, where = known[0].sign
            kept, other = (2, 1) if where else (1, 2)
            return kept if known[kept] is value and is_zero(other) and may_be(kept) else None
    return None
