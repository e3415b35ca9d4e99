"""What makes an explainer of a method's function: the library's boundary, and a place in the taxonomy."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast

from xaijax.core._boundary import Compiled, boundary, ranges

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


@dataclasses.dataclass(frozen=True)
class Taxonomy:
    """Where a method stands among the others.

    Attributes:
      scope: explains one prediction or the model.
      access: needs the model's inside (activations, gradients) or only its answers.
      stage: the model explains itself, or is explained afterwards.
      models: the kind of models it explains.
    """

    scope: Literal["local", "global"]
    access: Literal["black box", "white box"]
    stage: Literal["post-hoc", "intrinsic"]
    models: str


class Explainer(Compiled[P, R], Protocol):
    """An explainer: the method's function, compiled, with its place in the taxonomy."""

    taxonomy: Taxonomy
    attribution: bool
    maps: Any  # of a class activation map: the explainer that returns its `CamMaps`


def explainer(
    *,
    scope: Literal["local", "global"],
    access: Literal["black box", "white box"],
    stage: Literal["post-hoc", "intrinsic"],
    models: str,
    attribution: bool = True,
    static: Sequence[str] = (),
    positive: Sequence[str] = (),
    not_negative: Sequence[str] = (),
    fraction: Sequence[str] = (),
    baseline: Sequence[str] = (),
    baselines: Sequence[str] = (),
    missing: bool = False,
) -> Callable[[Callable[P, R]], Explainer[P, R]]:
    """Make an explainer of a function `(f, x, target[, key], *, ...)`, or `(explain, x, target[, key], *, ...)`.

    The second kind is made of another explainer, as `bind` makes it with its model.

    Args:
      scope: see `Taxonomy`; so `access`, `stage` and `models`.
      access: see `Taxonomy`.
      stage: see `Taxonomy`.
      models: see `Taxonomy`.
      attribution: whether it returns the attribution; otherwise the estimate behind one, with its diagnostics.
      static: the arguments that decide the structure of the program, not its numbers; they must be hashable.
      positive: numbers that must be above 0.
      not_negative: numbers that must not be below 0.
      fraction: numbers that must lie between 0 and 1, both left out.
      baseline: what stands in the place of `x`: a number, or an array that broadcasts to its shape.
      baselines: the same, or a stack of several, `(n, *x.shape)`.
      missing: whether a value may be missing, NaN, where the model says in `takes_missing` that it takes that.

    Returns:
      A decorator. The function it gives checks `f`, `x`, `target` and `key`, then runs compiled.
    """

    def decorate(function: Callable[P, R]) -> Explainer[P, R]:
        wrapper: Any = boundary(
            function,
            static=static,
            numbers=ranges(positive, not_negative, fraction),
            baseline=baseline,
            baselines=baselines,
            missing=missing,
        )
        wrapper.taxonomy = Taxonomy(scope, access, stage, models)
        wrapper.attribution = attribution
        return cast(Explainer[P, R], wrapper)

    return decorate
