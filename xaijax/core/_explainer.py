"""What turns a method's function into an explainer: checks, `jit`, taxonomy; and `bind`, `checked`.

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
import jax.numpy as jnp
import numpy as np
from jax.experimental import checkify

from xaijax.core import _lower, _progress
from xaijax.core._errors import complaint, nearest
from xaijax.core._tree import Rest, combine, dtype_of, is_array, is_traced, partition

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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Explain."""
        ...

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> jax.stages.Lowered:
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
) -> Callable[[Callable[P, R]], Explainer[P, R]]:
    """Make an explainer of a function `(f, x, target[, key], *, ...)`.

    Args:
      scope: see `Taxonomy`; so `access`, `stage` and `models`.
      access: see `Taxonomy`.
      stage: see `Taxonomy`.
      models: see `Taxonomy`.
      attribution: whether it returns the attribution; otherwise the estimate behind one, with its diagnostics.
      static: the arguments that decide the structure of the program, not its numbers; they must be hashable.
      positive: numbers that must be above 0.
      not_negative: numbers that must not be below 0.

    Returns:
      A decorator. The function it gives checks `f`, `x`, `target` and `key`, then runs compiled.
    """

    def decorate(function: Callable[P, R]) -> Explainer[P, R]:
        signature = inspect.signature(function)
        name = function.__name__

        def run(rest: tuple[Rest, Any], arrays: list[Any]) -> Any:
            arguments = combine(arrays, rest[0])
            settings, _ = rest[1]
            return cast(Callable[..., Any], function)(**arguments, **dict(settings))

        # Named after the method, so that profiles and compile logs say which program it is.
        run.__name__ = run.__qualname__ = name
        compiled = jax.jit(run, static_argnums=0)

        def prepare(*args: Any, **kwargs: Any) -> tuple[tuple[Rest, Any], list[Any]]:
            bound = _bind_arguments(name, signature, args, kwargs)
            settings = tuple((k, bound.pop(k)) for k in static)
            for k, value in settings:
                _check_hashable(name, k, value)
            bound["target"] = _index(bound["target"])
            for k in (*positive, *not_negative):
                _check_number(name, k, bound[k], above_zero=k in positive)
            _check(name, **{k: bound[k] for k in ("f", "x", "target", "key") if k in bound})
            arrays, rest = partition(bound)
            # These two change the program without being arguments of it.
            ambient = (_progress.listening(), _lower.lowering())
            return (rest, (settings, ambient)), [_plain(a) for a in arrays]

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return compiled(*prepare(*args, **kwargs))

        wrapper.taxonomy = Taxonomy(scope, access, stage, models)  # type: ignore[attr-defined]
        wrapper.attribution = attribution  # type: ignore[attr-defined]
        wrapper.static = tuple(static)  # type: ignore[attr-defined]
        wrapper.lower = lambda *a, **k: compiled.lower(*prepare(*a, **k))  # type: ignore[attr-defined]
        return cast(Explainer[P, R], wrapper)

    return decorate


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bound:
    """An explainer with its model and settings: `(x, target[, key]) -> attribution`. Made by `bind`."""

    explain: Any = dataclasses.field(metadata={"static": True})
    f: Any
    settings: dict[str, Any]
    static: tuple[tuple[str, Any], ...] = dataclasses.field(metadata={"static": True})

    def __call__(self, x: Any, target: Any, *key: Any) -> Any:
        """Explain one example."""
        return self.explain(self.f, x, target, *key, **self.settings, **dict(self.static))


def bind(explain: Explainer[Any, Any], f: Callable[..., Any], **settings: Any) -> Bound:
    """Fix an explainer's model and settings.

    The result is a callable pytree: pass it through `jit` and `vmap`, sweep its numbers, hand it to a metric. Bind
    settings before `vmap`, which would map every keyword argument.

    Args:
      explain: an explainer, such as `xaijax.grad_cam`.
      f: the model.
      **settings: the explainer's keyword arguments.

    Returns:
      `(x, target[, key]) -> attribution`.

    Raises:
      TypeError: the explainer has no such setting.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = bind(xaijax.permutation_shap, lambda x: x * 2.0, num_permutations=1)
      >>> explain(jnp.array([1.0, 2.0]), 1, jax.random.key(0))
      Array([0., 4.], dtype=float32)
    """
    if not hasattr(explain, "taxonomy"):
        raise TypeError(complaint("bind", "explain", "be an explainer", repr(explain)))
    parameters = inspect.signature(explain).parameters
    known = [k for k, p in parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    for setting in settings:
        if setting not in known:
            fix = f"{nearest(setting, known)} Settings: {', '.join(known)}.".strip()
            rule = f"name a setting of {explain.__name__}"
            raise TypeError(complaint("bind", "settings", rule, repr(setting), fix))
    fixed = tuple((k, v) for k, v in settings.items() if k in explain.static)
    return Bound(explain, f, {k: v for k, v in settings.items() if k not in explain.static}, fixed)


def checked(explain: Callable[..., Any]) -> Callable[..., Any]:
    """Make values that only show at run time into errors, also under `jit` and `vmap`.

    Without it such a value (a traced target out of range, a model that answers NaN) makes the attribution NaN.

    Args:
      explain: a function of arrays alone, such as `bind(xaijax.grad_cam, f)` or a `vmap` of it.

    Returns:
      The same function; it raises a ValueError that says what was wrong.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = bind(xaijax.permutation_shap, lambda x: x, num_permutations=1)
      >>> many = jax.vmap(explain, (0, 0, None))
      >>> checked(many)(jnp.ones((2, 2)), jnp.array([0, 9]), jax.random.key(0))
      Traceback (most recent call last):
      ...
      ValueError: shapley_values: target must be in [0, 2), got 9.
    """
    functionalised = checkify.checkify(explain, errors=checkify.user_checks)

    @functools.wraps(explain)
    def wrapper(*args: Any) -> Any:
        error, result = functionalised(*args)
        if message := error.get():
            raise ValueError(message.split(" (`check` failed)")[0])
        return result

    return wrapper


def _bind_arguments(
    name: str, signature: inspect.Signature, args: Any, kwargs: Any
) -> dict[str, Any]:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        settings = [k for k in signature.parameters if k not in kwargs]
        unknown = [k for k in kwargs if k not in signature.parameters]
        fix = nearest(unknown[0], settings) if unknown else f"It takes {', '.join(settings)}."
        raise TypeError(f"{name}: {error}. {fix}".strip()) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def _index(target: Any) -> Any:
    """Every integer target as one dtype, so that all of them share a compiled program."""
    if isinstance(target, (int, np.integer)) and not isinstance(target, bool):
        # Outside int32 it would wrap around to a valid class; any such index is out of range alike.
        return np.int32(target) if -(2**31) <= target < 2**31 else np.int32(-1)
    if is_array(target) and jnp.ndim(target) == 0 and np.issubdtype(dtype_of(target), np.integer):
        return jnp.asarray(target).astype(jnp.int32)
    return target


def _plain(leaf: Any) -> Any:
    """NumPy's scalars as Python's: they must not promote the dtype of `x`."""
    return leaf.item() if isinstance(leaf, np.floating) else leaf


def _check(name: str, f: Any, x: Any, target: Any, key: Any = None) -> None:
    if not callable(f):
        fix = "Wrap it with xaijax.as_model."
        raise TypeError(complaint(name, "f", "be callable", type(f).__name__, fix))
    if key is not None:
        check_key(name, key)
    for leaf in jax.tree.leaves(x):
        _check_finite(name, leaf)
    outputs = output_shape(name, f, x)
    if callable(target):
        return
    shape, dtype = getattr(outputs, "shape", None), getattr(outputs, "dtype", None)
    if shape is None or len(shape) != 1 or not np.issubdtype(dtype, np.inexact):
        got = f"{dtype} of shape {shape}" if shape is not None else type(outputs).__name__
        raise ValueError(
            complaint(
                name,
                "f",
                "map one example to a float vector of scores (num_outputs,)",
                got,
                "A batch-first model: xaijax.as_model(f, batch_first=True). "
                "Another kind of output: pass a function of it as target.",
            )
        )
    if is_traced(target) or np.ndim(target) or not np.issubdtype(dtype_of(target), np.integer):
        return
    if not 0 <= int(target) < shape[0]:
        raise ValueError(complaint(name, "target", f"be in [0, {shape[0]})", int(target)))


def _check_hashable(name: str, argument: str, value: Any) -> None:
    try:
        hash(value)
    except TypeError:
        raise TypeError(
            complaint(name, argument, "be static: a name or a Python number", repr(value))
        ) from None


def _check_number(name: str, argument: str, value: Any, *, above_zero: bool) -> None:
    if value is None or is_traced(value):
        return
    if not is_array(value) or np.ndim(value):
        raise TypeError(complaint(name, argument, "be a number", repr(value)))
    if not (value > 0 if above_zero else value >= 0):
        rule = "be above 0" if above_zero else "not be negative"
        raise ValueError(complaint(name, argument, rule, value))


def check_key(name: str, key: Any) -> None:
    """Raise unless `key` is one typed threefry key, whose draws do not depend on batching."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    fix = "Make one with jax.random.key(seed); for a batch use jax.vmap over jax.random.split(key, n)."
    if not typed or key.shape != ():
        got = f"{getattr(key, 'dtype', type(key).__name__)} of shape {getattr(key, 'shape', ())}"
        raise TypeError(complaint(name, "key", "be one typed key", got, fix))
    if str(jax.random.key_impl(key)) != "threefry2x32":
        got = str(jax.random.key_impl(key))
        rule = "be a threefry2x32 key, since other generators draw anew for each batch size"
        raise TypeError(complaint(name, "key", rule, got, fix))


def _check_finite(name: str, leaf: Any) -> None:
    if is_traced(leaf) or not is_array(leaf) or not np.issubdtype(dtype_of(leaf), np.inexact):
        return
    bad = np.size(leaf) - np.count_nonzero(np.isfinite(np.asarray(leaf, np.float32)))
    if bad:
        got = f"{bad} of {np.size(leaf)} values NaN or infinite"
        raise ValueError(complaint(name, "x", "be finite", got, "Impute or drop them first."))


def output_shape(name: str, f: Any, x: Any) -> Any:
    """Shape and dtype of the model's outputs for one example; explains why a model cannot be traced."""
    arrays, rest = partition((f, x))
    like = tuple(
        jax.ShapeDtypeStruct(np.shape(a), jax.dtypes.canonicalize_dtype(dtype_of(a)))
        for a in arrays
    )
    return _output_shape(name, rest, like)


@functools.lru_cache(maxsize=64)
def _output_shape(name: str, rest: Rest, like: tuple[jax.ShapeDtypeStruct, ...]) -> Any:
    def call(arrays: Sequence[Any]) -> Any:
        f, x = combine(arrays, rest)
        return f(x)

    try:
        return jax.eval_shape(call, like)
    except (
        jax.errors.TracerArrayConversionError,
        jax.errors.TracerBoolConversionError,
        jax.errors.TracerIntegerConversionError,
        jax.errors.ConcretizationTypeError,
    ) as error:
        fix = (
            "If it computes outside JAX (NumPy, scikit-learn, PyTorch), wrap it: "
            "xaijax.black_box(predict, num_outputs)."
        )
        first = str(error).splitlines()[0]
        raise TypeError(complaint(name, "f", "be traceable by JAX", first, fix)) from error
