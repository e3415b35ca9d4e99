"""What makes a metric of a function: the library's boundary, what it measures, and which way is better."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp

from xaijax.core._boundary import Compiled, boundary, ranges

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

Category = Literal[
    "faithfulness", "robustness", "complexity", "localisation", "randomisation", "axiomatic"
]


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a metric measures.

    Attributes:
      category: the property of an explanation that it is about.
      better: which way is better; `None` if neither is, as for a number that describes.
    """

    category: Category
    better: Literal["higher", "lower"] | None


class Metric(Compiled[P, R], Protocol):
    """A metric: its paper's function, compiled, with what it measures."""

    kind: Kind
    details: (
        Any  # of a metric that reads its number off a curve or other parts: what returns all of it
    )


def metric(
    category: Category,
    better: Literal["higher", "lower"] | None,
    *,
    read: str | None = None,
    static: Sequence[str] = (),
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    fraction: Sequence[str] = (),
    baseline: Sequence[str] = (),
) -> Callable[[Callable[P, Any]], Metric[P, Any]]:
    """Make a metric of a function of one example.

    It takes what it needs, by these names and in this order: `f` or `explain`, `x`, `target`, `attribution`,
    `other`, `truth`, `key`; then settings, keyword-only. `evaluate` gives them by name.

    Args:
      category: see `Kind`.
      better: see `Kind`.
      read: the field that is the metric, of a function that returns a NamedTuple: a curve, or other parts behind the
        number. `metric.details` is the function that returns all of it.
      static: the arguments that decide the structure of the program, not its numbers; they must be hashable.
      positive: numbers that must be above 0.
      not_negative: numbers that must not be below 0.
      fraction: numbers that must lie between 0 and 1, both left out.
      baseline: what stands in the place of `x`: a number, or an array that broadcasts to its shape; or `None`, if that
        is the default.

    Returns:
      A decorator. The function it gives checks its arguments, then runs compiled; an attribution that is not finite,
      which shows only at run time under `jit` and `vmap`, makes all its numbers NaN.
    """

    def decorate(function: Callable[P, Any]) -> Metric[P, Any]:
        @functools.wraps(function)
        def details(**arguments: Any) -> Any:
            result = cast(Callable[..., Any], function)(**arguments)
            judged = [a for k, a in arguments.items() if k in ("attribution", "other")]
            if not judged:
                return result
            # Zeros, and NaN of what is not finite: on a CPU a sum takes a fraction of what `all` does.
            finite = sum((0 * a).reshape(-1).sum() for a in judged) == 0
            return jax.tree.map(
                lambda a: jnp.where(finite, a, jnp.nan) if _is_float(a) else a, result
            )

        @functools.wraps(function)
        def number(**arguments: Any) -> Any:
            return getattr(details(**arguments), cast(str, read))

        def compiled(of: Callable[..., Any]) -> Any:
            limits = ranges(positive, not_negative, fraction)
            wrapper: Any = boundary(of, static=static, numbers=limits, baseline=baseline)
            wrapper.__wrapped__, wrapper.kind, wrapper.read = function, Kind(category, better), read
            return wrapper

        wrapper = compiled(details if read is None else number)
        wrapper.details = None if read is None else compiled(details)
        return cast(Metric[P, Any], wrapper)

    return decorate


def _is_float(a: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(a), jnp.floating)
