"""What turns a method's function into an explainer: checks, `jit`, a place in the taxonomy.

`@explainer` compiles at the library's boundary: structure is static, numbers are traced, the model is an argument.
Another target, checkpoint, key or knob costs no compile. Bad input is refused before anything is compiled: what
can be seen from shapes, here and in the function; and the values of arrays that are concrete.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, ParamSpec, Protocol, TypeVar, cast

import jax

from xaijax.core import _lower, _progress, _score
from xaijax.core._inputs import (
    bind_arguments,
    check_baseline,
    check_callable,
    check_key,
    check_model,
    check_number,
    check_static,
    check_target,
    model_of,
)
from xaijax.core._tree import combine, partition

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


class Explainer(Protocol, Generic[P, R]):
    """An explainer: the method's function, compiled, with its place in the taxonomy."""

    __name__: str
    __doc__: str | None
    __wrapped__: Callable[..., Any]
    taxonomy: Taxonomy
    attribution: bool
    static: tuple[str, ...]
    numbers: dict[str, str]
    maps: Any  # of a class activation map: the explainer that returns its `CamMaps`

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Explain."""
        ...

    def program(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """The program for these arguments, not compiled: for its cost, memory and text."""
        ...


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

    Returns:
      A decorator. The function it gives checks `f`, `x`, `target` and `key`, then runs compiled.
    """

    def decorate(function: Callable[P, R]) -> Explainer[P, R]:
        signature = inspect.signature(function)
        name = function.__name__
        first = next(iter(signature.parameters))  # what is explained: `f` or `explain`
        optional = {k for k, p in signature.parameters.items() if p.default is None}
        numbers = {
            **dict.fromkeys(positive, "positive"),
            **dict.fromkeys(not_negative, "not_negative"),
            **dict.fromkeys(fraction, "fraction"),
        }

        def run(rest: tuple[Any, ...], arrays: tuple[list[Any], list[Any]]) -> Any:
            model, others, settings, _ = rest
            arguments = {
                first: combine(arrays[0], model),
                **combine(arrays[1], others),
                **dict(settings),
            }
            return cast(Callable[..., Any], function)(**arguments)

        # Named after the method, so that profiles and compile logs say which program it is.
        run.__name__ = run.__qualname__ = name
        compiled = jax.jit(run, static_argnums=0)

        def prepare(
            *args: Any, **kwargs: Any
        ) -> tuple[tuple[Any, ...], tuple[list[Any], list[Any]]]:
            bound = bind_arguments(name, signature, args, kwargs)
            settings = tuple(
                (k, check_static(name, k, bound.pop(k), optional=k in optional)) for k in static
            )
            for k, within in numbers.items():
                bound[k] = check_number(name, k, bound[k], within=within, optional=k in optional)
            if "key" in bound:
                check_key(name, bound["key"])
            explained = bound.pop(first)
            f = model_of(name, explained) if first == "explain" else explained
            check_callable(name, f)
            # A large model takes as long to flatten as to call: once is enough.
            weights, rest = partition(explained, numbers=False)
            parts = partition(f, numbers=False) if first == "explain" else (weights, rest)
            outputs = check_model(name, *parts, bound["x"])
            for k in (*baseline, *baselines):
                bound[k] = check_baseline(name, k, bound[k], bound["x"], several=k in baselines)
            bound["target"] = check_target(name, bound["target"], outputs)
            arrays, others = partition(bound)
            # These change the program without being arguments of it.
            ambient = (_progress.listening(), _lower.lowering(), _score.is_checking())
            return (rest, others, settings, ambient), (weights, arrays)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return compiled(*prepare(*args, **kwargs))

        wrapper.taxonomy = Taxonomy(scope, access, stage, models)  # type: ignore[attr-defined]
        wrapper.attribution = attribution  # type: ignore[attr-defined]
        wrapper.static = tuple(static)  # type: ignore[attr-defined]
        wrapper.numbers = numbers  # type: ignore[attr-defined]
        # Not named `lower`: JAX's own wrappers copy attributes, and `jit(vmap(explain)).lower` would be this one.
        wrapper.program = lambda *a, **k: compiled.lower(*prepare(*a, **k))  # type: ignore[attr-defined]
        return cast(Explainer[P, R], wrapper)

    return decorate
