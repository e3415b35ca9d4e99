"""The interpreter as rule-based methods need it: it opens a `cond`, values may wait, outputs may be edited.

A rule-based method swaps equations for *twins*: functions of the same value whose cotangent is not a derivative but
the rule of a paper. JAX's reverse mode then runs the rules; no backward pass is written.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax import lax

from xaijax.core._interpreter import DEFER, Interpreter, Path, Site


def names(text: str) -> frozenset[str]:
    """The primitives that a text names."""
    return frozenset(text.split())


_CUSTOM = names("custom_jvp_call custom_vjp_call custom_vjp_call_jaxpr")


def is_custom(site: Site) -> bool:
    """Whether the equation is a function with a derivative of its own."""
    return site.op in _CUSTOM


def holds_equations(site: Site) -> bool:
    """Whether an equation only holds others, so that a visitor may defer to them."""
    return site.is_call or is_custom(site) or site.op in ("scan", "cond")


class Walk(Interpreter):
    """An interpreter that opens a `cond`, too.

    Args:
      visit: the visitor.
      settle: what makes an array of a value that waits; called where JAX itself takes over (a scan, a cond, the end).
      edit: `(site, outputs) -> outputs`, what everything later sees of an equation, also of a call that was opened.
      choose: `(index, branches, *operands) -> outputs`, the way through a cond.
      **options: those of `Interpreter`.
    """

    def __init__(
        self,
        visit: Callable[..., Any],
        *,
        settle: Callable[[Any], Any] = lambda value: value,
        edit: Callable[[Site, list[Any]], list[Any]] = lambda site, outputs: outputs,
        choose: Callable[..., Sequence[Any]] = lax.switch,
        **options: Any,
    ):
        super().__init__(visit, **options)
        self.settle, self.edit, self.choose = settle, edit, choose
        self.scans: set[Path] = set()

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
        """As `Interpreter.run`; what leaves the program or a step of a scan is settled."""
        outs, live = super().run(jaxpr, consts, args, active, scope, path, wanted)
        if not path or path[:-1] in self.scans:
            outs = [self.settle(out) for out in outs]
        return outs, live

    def _step(self, site: Site, values: list[Any]) -> tuple[list[Any], list[bool]]:
        if site.op == "scan":
            self.scans.add(site.path)
        if site.op in ("scan", "cond"):
            values = [self.settle(value) for value in values]
        if site.op == "cond" and any(site.active):
            out = self.visit(site, *values)
            if out is DEFER:
                outs = self._cond(site, *values)
            else:
                outs = [out] if len(site.outputs) == 1 else list(out)
            live = [True] * len(outs)
        else:
            outs, live = super()._step(site, values)
        return self.edit(site, outs), live

    def _cond(self, site: Site, index: Any, *operands: Any) -> list[Any]:
        def branch(position: int, body: Any) -> Callable[..., list[Any]]:
            def run(*args: Any) -> list[Any]:
                path, active = (*site.path, position), site.active[1:]
                outs, _ = self.run(body.jaxpr, body.consts, args, active, site.scope, path)
                return [self.settle(out) for out in outs]

            return run

        bodies = [branch(i, body) for i, body in enumerate(site.params["branches"])]
        return list(self.choose(index, bodies, *operands))


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


def twin(
    forward: Callable[..., Any], backward: Callable[..., tuple[Any, ...]]
) -> Callable[..., Any]:
    """A function of the same value as `forward(*args)`, whose cotangents are `backward(cotangent, value, *args)`.

    Every array must be among the arguments: JAX does not see those that are closed over. Another derivative on top
    is right: the values themselves come from `forward`, and that is differentiated as it is.
    """

    def remember(*args: Any) -> tuple[Any, Any]:
        value = forward(*args)
        return value, (value, args)

    # Not `forward` itself: one function may have many twins.
    swapped = jax.custom_vjp(lambda *args: forward(*args))
    swapped.defvjp(remember, lambda kept, cotangent: backward(cotangent, kept[0], *kept[1]))
    return swapped
