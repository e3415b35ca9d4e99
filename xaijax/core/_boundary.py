"""The library's boundary: where a call is checked, and then runs compiled.

`boundary` compiles a public function: structure is static, numbers are traced, the model is an argument. Another
target, checkpoint, key or knob costs no compile. Bad input is refused before anything is compiled: what can be seen
from shapes, here and in the function; and the values of arrays that are concrete.

An argument is checked by its name, which means the same everywhere: `f` the model or `explain` an explainer with its
model, `x` one example, `target` what is explained of its outputs, `key` a typed key, `attribution` what an explainer
gave, `other` what another one did, `truth` the mask that should have been found, `low` and `high` the bounds of `x`.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

import jax

from xaijax.core import _lower, _progress, _score
from xaijax.core._inputs import (
    bind_arguments,
    check_attribution,
    check_baseline,
    check_bounds,
    check_callable,
    check_key,
    check_model,
    check_number,
    check_static,
    check_target,
    check_truth,
    model_of,
)
from xaijax.core._tree import combine, partition

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


class Compiled(Protocol, Generic[P, R]):
    """A public function, compiled at the boundary."""

    __name__: str
    __doc__: str | None
    __wrapped__: Callable[..., Any]
    static: tuple[str, ...]
    numbers: dict[str, str]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call it."""
        ...

    def program(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
        """The program for these arguments, not compiled: for its cost, memory and text."""
        ...


def boundary(
    function: Callable[P, R],
    *,
    static: Sequence[str] = (),
    numbers: Mapping[str, str] | None = None,
    baseline: Sequence[str] = (),
    baselines: Sequence[str] = (),
    missing: bool = False,
) -> Compiled[P, R]:
    """Check a function's arguments by their names, then run it compiled.

    Args:
      function: what is compiled.
      static: the arguments that decide the structure of the program, not its numbers; they must be hashable.
      numbers: the arguments that are numbers, and the range of each: `"positive"`, `"not_negative"`, `"fraction"`.
      baseline: what stands in the place of `x`: a number, or an array that broadcasts to its shape. Not checked beside
        a `mask`, which takes its place.
      baselines: the same, or a stack of several, `(n, *x.shape)`.
      missing: whether values of `x` and the baselines may be missing, NaN: of the features that the model names in
        `takes_missing`, one truth value for each.
    """
    signature = inspect.signature(function)
    name = function.__name__
    numbers = dict(numbers or {})
    optional = {k for k, p in signature.parameters.items() if p.default is None}
    first = next((k for k in ("f", "explain") if k in signature.parameters), None)

    def run(rest: tuple[Any, ...], arrays: tuple[list[Any], list[Any]]) -> Any:
        model, others, settings, _ = rest
        arguments = {**combine(arrays[1], others), **dict(settings)}
        if first is not None:
            arguments[first] = combine(arrays[0], model)
        return cast(Callable[..., Any], function)(**arguments)

    # Named after the method, so that profiles and compile logs say which program it is.
    run.__name__ = run.__qualname__ = name
    compiled = jax.jit(run, static_argnums=0)

    def prepare(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], tuple[list[Any], list[Any]]]:
        bound = bind_arguments(name, signature, args, kwargs)
        settings = tuple(
            (k, check_static(name, k, bound.pop(k), optional=k in optional)) for k in static
        )
        for k, within in numbers.items():
            bound[k] = check_number(name, k, bound[k], within=within, optional=k in optional)
        if "key" in bound:
            check_key(name, bound["key"])
        weights, rest, takes = [], None, None
        if first is not None:
            explained = bound.pop(first)
            f = model_of(name, explained) if first == "explain" else explained
            check_callable(name, f)
            # A large model takes as long to flatten as to call: once is enough.
            weights, rest = partition(explained, numbers=False)
            parts = partition(f, numbers=False) if first == "explain" else (weights, rest)
            takes = getattr(f, "takes_missing", None) if missing else None
            outputs = check_model(name, *parts, bound["x"], missing=takes)
            if "target" in bound:
                bound["target"] = check_target(name, bound["target"], outputs)
        # A mask hides features its own way, also of what is no float array: tokens.
        masked = bound.get("mask") is not None
        for k in (*baseline, *baselines):
            if not (masked or (k in optional and bound[k] is None)):
                several = k in baselines
                bound[k] = check_baseline(
                    name, k, bound[k], bound["x"], several=several, missing=takes
                )
        if "low" in bound:
            check_bounds(name, bound["x"], bound["low"], bound["high"])
        for k in ("attribution", "other"):
            if k in bound:
                check_attribution(name, k, bound[k])
        if "truth" in bound:
            check_truth(name, bound["truth"], bound["attribution"])
        arrays, others = partition(bound)
        # These change the program without being arguments of it.
        ambient = (_progress.listening(), _lower.lowering(), _score.is_checking())
        return (rest, others, settings, ambient), (weights, arrays)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return compiled(*prepare(*args, **kwargs))

    wrapper.static = tuple(static)  # type: ignore[attr-defined]
    wrapper.numbers = numbers  # type: ignore[attr-defined]
    # Not named `lower`: JAX's own wrappers copy attributes, and `jit(vmap(explain)).lower` would be this one.
    wrapper.program = lambda *a, **k: compiled.lower(*prepare(*a, **k))  # type: ignore[attr-defined]
    return cast(Compiled[P, R], wrapper)


def ranges(
    positive: Sequence[str], not_negative: Sequence[str], fraction: Sequence[str]
) -> dict[str, str]:
    """The range of each number, as `boundary` takes them."""
    return {
        **dict.fromkeys(positive, "positive"),
        **dict.fromkeys(not_negative, "not_negative"),
        **dict.fromkeys(fraction, "fraction"),
    }
