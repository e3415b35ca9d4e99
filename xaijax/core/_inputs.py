"""The checks at the door: what an explainer is given is refused here, before anything is compiled.

Shapes and dtypes are always known. Values are when they are concrete; under `jit` or `vmap` they are not, and
then `score` turns a wrong one into NaN and `checked` into an error.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xaijax.core._errors import check_positive, complaint, nearest
from xaijax.core._tree import (
    ARRAY,
    Rest,
    combine,
    dtype_of,
    is_array,
    is_traced,
    is_weight,
    partition,
)


def bind_arguments(
    name: str, signature: inspect.Signature, args: Any, kwargs: Any
) -> dict[str, Any]:
    """The arguments of a call by name; a wrong one gets its nearest name."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        settings = [k for k in signature.parameters if k not in kwargs]
        unknown = [k for k in kwargs if k not in signature.parameters]
        fix = nearest(unknown[0], settings) if unknown else f"It takes {', '.join(settings)}."
        raise TypeError(f"{name}: {error}. {fix}".strip()) from None
    bound.apply_defaults()
    return dict(bound.arguments)


def check_static(name: str, argument: str, value: Any, *, optional: bool) -> Any:
    """Raise unless a static argument can be one, and a size is a positive integer; returns it."""
    if argument.startswith("num_") or argument == "batch_size":
        if not (optional and value is None):
            sizes: dict[str, Any] = {argument: value}
            check_positive(name, **sizes)
        return value
    try:
        hash(value)
    except TypeError:
        rule = "be static: a name or a Python number"
        raise TypeError(complaint(name, argument, rule, repr(value))) from None
    return value


# The ranges of numbers: the rule in words, and as a test that NaN does not pass.
_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "positive": ("be above 0", lambda number: number > 0),
    "not_negative": ("not be negative", lambda number: number >= 0),
    "fraction": ("be above 0 and below 1", lambda number: 0 < number < 1),
}


def check_number(name: str, argument: str, value: Any, *, within: str, optional: bool) -> Any:
    """Raise unless a number that is concrete lies in its range; `None` may stand for no number.

    Returns it as Python's own float, so that 1 and 1.0 share a program and NumPy's do not promote the dtype of `x`.
    """
    if is_traced(value) or (optional and value is None):
        return value
    if value is None or not is_array(value) or np.ndim(value):
        raise TypeError(complaint(name, argument, "be a number", repr(value)))
    number = float(value)  # comparing an array would be traced, inside `jit`
    rule, holds = _RANGES[within]
    if not holds(number):
        raise ValueError(complaint(name, argument, rule, number))
    return number


def check_baseline(
    name: str, argument: str, value: Any, x: Any, *, several: bool, missing: Any = None
) -> Any:
    """Raise unless a baseline fits `x`, one float array, and is finite where it is concrete.

    Args:
      name: the explainer.
      argument: what it calls the baseline.
      value: a number, or an array that broadcasts to the shape of `x`.
      x: the input, in whose place the baseline stands.
      several: whether it may also be a stack of baselines, `(n, *x.shape)`.
      missing: of which features a missing value, NaN, may stand in it; `None` of no one.

    Returns:
      It; a number as Python's own float, as `check_number` does.
    """
    check_float(name, x)
    shape = np.shape(x)
    rule = f"be a number or an array that broadcasts to x, {shape}"
    rule += f", or a stack of such, (n, {', '.join(map(str, shape))})" if several else ""
    if not is_array(value):
        raise TypeError(complaint(name, argument, rule, repr(value)))
    given = np.shape(value)
    stacked = several and len(given) == len(shape) + 1 and given[0] > 0 and given[1:] == shape
    fits = len(given) <= len(shape) and all(
        n in (1, m) for n, m in zip(given[::-1], shape[::-1], strict=False)
    )
    if not fits and not stacked:
        raise ValueError(complaint(name, argument, rule, f"shape {given}"))
    _check_finite(name, value, argument, missing)
    return float(value) if not given and not is_traced(value) else value


def check_bounds(name: str, x: Any, low: Any, high: Any) -> None:
    """Raise unless `x` is one float array and the bounds, where they are concrete, are in order and hold it."""
    check_float(name, x)
    traced = [is_traced(bound) for bound in (low, high)]
    if low is not None and high is not None and not any(traced) and np.any(low > high):
        got = (
            f"{np.max(low)} above {np.min(high)}"
            if np.ndim(low) + np.ndim(high)
            else f"{low} above {high}"
        )
        raise ValueError(complaint(name, "low", "be at most high", got))
    if is_traced(x) or any(traced):
        return
    wrong = outside(x, low, high, np)
    if number := int(np.count_nonzero(wrong)):
        got = f"{number} of {np.size(x)} values outside"
        fix = "Both are in units of x: of pixels, or of what a normalisation made of them."
        raise ValueError(complaint(name, "x", "lie between low and high", got, fix))


def outside(x: Any, low: Any, high: Any, xp: Any) -> Any:
    """Which elements lie outside the bounds by more than rounding; in NumPy or JAX, `xp`."""
    x = xp.asarray(x)
    slack = 8 * float(jnp.finfo(x.dtype).eps) * xp.abs(x).max()
    wrong = xp.zeros(x.shape, bool)
    if low is not None:
        wrong |= x < xp.asarray(low) - slack
    if high is not None:
        wrong |= x > xp.asarray(high) + slack
    return wrong


def check_float(name: str, x: Any) -> None:
    """Raise unless `x` is one array of floats."""
    if not is_weight(x) or not jnp.issubdtype(dtype_of(x), jnp.floating):
        got = str(dtype_of(x)) if is_weight(x) or is_array(x) else type(x).__name__
        fix = (
            "Convert it first: x.astype(jax.numpy.float32). "
            "Words and categories have no gradient: explain a model of their embeddings."
        )
        raise TypeError(complaint(name, "x", "be one float array", got, fix))


def check_examples(name: str, f: Any, xs: Any, targets: Any) -> Any:
    """Raise unless stacked examples are finite, the model takes one, and there is a fitting target for each.

    Returns:
      The targets as one array; integers as one dtype.
    """
    leaves = jax.tree.leaves(xs)
    counts = {np.shape(leaf)[:1] for leaf in leaves}
    if len(counts) != 1 or min(counts) in ((), (0,)):
        rule, got = "be stacked examples, one at least", f"shapes {[np.shape(a) for a in leaves]}"
        raise ValueError(complaint(name, "xs", rule, got))
    ((count,),) = counts
    for leaf in leaves:
        _check_finite(name, leaf, "xs")
    if not is_array(targets) or np.shape(targets)[:1] != (count,):
        got = f"shape {np.shape(targets)}" if is_array(targets) else type(targets).__name__
        rule = f"be an array with one for each of the {count} examples"
        raise ValueError(complaint(name, "targets", rule, got))
    outputs = check_model(name, *partition(f, numbers=False), jax.tree.map(lambda a: a[0], xs))
    targets = np.asarray(targets)
    if np.issubdtype(targets.dtype, np.integer) and targets.ndim == 1:
        for target in (targets.min(), targets.max()):
            check_target(name, target, outputs)
        return jnp.asarray(targets, jnp.int32)
    check_target(name, targets[0], outputs)
    return jnp.asarray(targets)


def check_attribution(name: str, argument: str, value: Any) -> None:
    """Raise unless an attribution is one float array, and finite where it is concrete."""
    if not is_weight(value) or not jnp.issubdtype(dtype_of(value), jnp.floating):
        got = str(dtype_of(value)) if is_array(value) else type(value).__name__
        fix = "Give what an explainer returned; of several layers, one at a time."
        raise TypeError(complaint(name, argument, "be one float array", got, fix))
    if not np.size(value):
        raise ValueError(complaint(name, argument, "have a value", f"shape {np.shape(value)}"))
    _check_finite(name, value, argument)


def check_truth(name: str, truth: Any, attribution: Any) -> None:
    """Raise unless a mask of the truth is one of the attribution's shape, true or false, 1 or 0."""
    rule = f"be a mask of the attribution's shape {np.shape(attribution)}, true or false"
    if not is_weight(truth):
        raise TypeError(complaint(name, "truth", rule, type(truth).__name__))
    if np.shape(truth) != np.shape(attribution):
        fix = "Resize the attribution to the mask first: xaijax.resize(attribution, mask.shape)."
        raise ValueError(complaint(name, "truth", rule, f"shape {np.shape(truth)}", fix))
    if is_traced(truth) or np.issubdtype(dtype_of(truth), np.bool_):
        return
    values = np.asarray(truth)
    wrong = values[(values != 0) & (values != 1)]
    if wrong.size:
        got = f"values such as {wrong[0]}"
        raise ValueError(complaint(name, "truth", rule, got, "Such as labels == 3."))


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


def model_of(name: str, explain: Any) -> Any:
    """The model inside a bound explainer, through explainers made of explainers."""
    model = explain
    while hasattr(model, "explain") and hasattr(model, "f"):
        model = model.f
    if model is explain or not callable(explain):
        rule = "be an explainer with its model"
        fix = "Such as xaijax.bind(xaijax.grad_cam, f)."
        raise TypeError(complaint(name, "explain", rule, repr(explain), fix))
    return model


def check_callable(name: str, f: Any) -> None:
    """Raise unless `f` can be called."""
    if not callable(f):
        fix = "Wrap it with xaijax.as_model."
        raise TypeError(complaint(name, "f", "be callable", type(f).__name__, fix))


def check_model(
    name: str, weights: Sequence[Any], model: Rest, x: Any, *, missing: Any = None
) -> Any:
    """Raise unless a model, in its parts, can be traced at `x` and `x` is finite.

    Of the features of `missing`, true or false for each, `x` may also be missing: NaN.

    Returns:
      The outputs' shape and dtype.
    """
    leaves, structure = partition(x)
    for leaf in leaves:
        _check_finite(name, leaf, missing=missing)
    arrays = [(a.shape, a.dtype) for a in weights] + [(np.shape(a), dtype_of(a)) for a in leaves]
    return _output_shape(name, model, structure, tuple(arrays))


def check_target(name: str, target: Any, outputs: Any) -> Any:
    """Raise unless the target fits the outputs; returns it, every integer as one dtype."""
    if callable(target):
        return target
    shape: Any = getattr(outputs, "shape", None)
    dtype: Any = getattr(outputs, "dtype", None)
    if shape is None or len(shape) != 1 or not jnp.issubdtype(dtype, jnp.floating):
        rule = "map one example to a float vector of scores (num_outputs,)"
        got = f"{dtype} of shape {shape}" if shape is not None else type(outputs).__name__
        fix = (
            "A batch-first model: xaijax.as_model(f, batch_first=True). "
            "Another kind of output: pass a function of it as target."
        )
        raise ValueError(complaint(name, "f", rule, got, fix))
    if not is_array(target):
        rule = "be an integer index, float weights over the outputs or a function of them"
        raise TypeError(complaint(name, "target", rule, repr(target)))
    # `score` says what is wrong with an array that is neither an index nor weights.
    if np.ndim(target) or not np.issubdtype(dtype_of(target), np.integer):
        return target
    # One dtype, so that all of them share a compiled program.
    if is_traced(target):
        return jnp.asarray(target, jnp.int32)
    if not 0 <= int(target) < shape[0]:
        raise ValueError(complaint(name, "target", f"be in [0, {shape[0]})", int(target)))
    return np.int32(target)


def _check_finite(name: str, leaf: Any, argument: str = "x", missing: Any = None) -> None:
    if is_traced(leaf) or not is_array(leaf) or not np.issubdtype(dtype_of(leaf), np.inexact):
        return
    values = np.asarray(leaf, np.float32)
    finite = np.isfinite(values)
    if finite.all():
        return
    bad, rule, where = ~finite, "be finite", ""
    if missing is not None and not is_traced(missing):
        bad = bad & ~(np.isnan(values) & np.asarray(missing))
        rule = "be finite, or missing where the model takes missing values"
        features = np.unique(np.nonzero(bad)[-1]) if bad.ndim else []
        where = f" in features {', '.join(map(str, features[:8]))}"
    if number := int(np.count_nonzero(bad)):
        got = f"{number} of {np.size(leaf)} values NaN or infinite{where}"
        raise ValueError(complaint(name, argument, rule, got, "Impute or drop them first."))


def _canonical(dtype: Any) -> Any:
    # A key (of a dropout, say) has a dtype of its own.
    return (
        dtype
        if jnp.issubdtype(dtype, jax.dtypes.extended)
        else jax.dtypes.canonicalize_dtype(dtype)
    )


@functools.lru_cache(maxsize=64)
def _output_shape(name: str, model: Rest, structure: Rest, arrays: tuple[Any, ...]) -> Any:
    def call(weights: Sequence[Any], leaves: Sequence[Any]) -> Any:
        return combine(weights, model)(combine(leaves, structure))

    like = [jax.ShapeDtypeStruct(shape, _canonical(dtype)) for shape, dtype in arrays]
    count = sum(leaf is ARRAY for leaf in model.leaves)
    try:
        return jax.eval_shape(call, like[:count], like[count:])
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
    except (TypeError, ValueError) as error:
        # An operation inside says what does not fit it, not that it comes from x.
        got = ", ".join(f"{a.dtype} of shape {a.shape}" for a in like[count:])
        first = next(iter(str(error).splitlines()), "").removesuffix(".")
        integers = any(jnp.issubdtype(a.dtype, jnp.integer) for a in like[count:])
        fix = " If f takes floats, convert x: x.astype(jax.numpy.float32)." * integers
        says = f"f says: {first or type(error).__name__}.{fix}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(complaint(name, "x", "be an input that f takes", got, says)) from error
