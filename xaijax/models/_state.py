"""The parameters of a model from named arrays: every parameter is set, and every array is used."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from xaijax.core._errors import complaint

# Of each kind of problem so many are named; a file of another model has hundreds.
_NAMED_PROBLEMS = 8


def variable_shapes(model: nnx.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each variable of a model by its path, joined by dots: `layer1.0.conv1.kernel`."""
    return {path: tuple(v.get_value().shape) for path, _, v in _variables(model)}


def check_arrays(
    where: str,
    arrays: Mapping[str, np.ndarray],
    expected: Mapping[str, tuple[int, ...]],
    source: str | os.PathLike[str],
) -> None:
    """Raise unless a file has exactly the arrays that are expected.

    Args:
        where: The caller, for the error message.
        arrays: What the file has, by name.
        expected: The shape of each array that is needed, by name.
        source: The file, for the error message.

    Raises:
        ValueError: An array is missing, of another shape or not expected; the message lists them.
    """
    missing = [f"{name} is missing" for name in expected if name not in arrays]
    misshapen = [
        f"{name} has the shape {arrays[name].shape} instead of {shape}"
        for name, shape in expected.items()
        if name in arrays and arrays[name].shape != shape
    ]
    extra = [f"{name} is not part of the model" for name in arrays if name not in expected]
    if missing or misshapen or extra:
        listed = "; ".join(map(_shorten, filter(None, (missing, misshapen, extra))))
        rule = "be a checkpoint of this model"
        fix = f"Give a checkpoint of {where} with num_classes classes."
        got = f"'{os.fspath(source)}', in which {listed}"
        raise ValueError(complaint(where, "weights", rule, got, fix))


def set_parameters(
    where: str,
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
    *,
    names: Mapping[str, str] | None = None,
) -> None:
    """Set every variable of a model in place.

    Args:
        where: The caller, for the error message.
        model: The model, whose variables may be abstract (`nnx.eval_shape`).
        arrays: Name to array, in the layout of the model. A name is the variable's path, joined by
            dots: `layer1.0.conv1.kernel`.
        source: The file that the arrays are from, for the error message.
        names: Path to the name in that file, if it is another one, for the error message.

    Raises:
        ValueError: A variable has no array or one of another shape, or an array belongs to no
            variable; the message lists them.
    """
    called = names or {}
    check_arrays(
        where,
        {called.get(path, path): array for path, array in arrays.items()},
        {called.get(path, path): shape for path, shape in variable_shapes(model).items()},
        source,
    )
    filled = [
        (key, variable.replace(jnp.asarray(arrays[path], variable.get_value().dtype)))
        for path, key, variable in _variables(model)
    ]
    nnx.update(model, nnx.from_flat_state(filled))


def _variables(model: nnx.Module) -> list[tuple[str, tuple[Any, ...], nnx.Variable]]:
    """Each variable with its path, joined by dots and in parts."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Variable))
    return [(".".join(map(str, key)), key, variable) for key, variable in flat]


def _shorten(problems: Sequence[str]) -> str:
    named, rest = problems[:_NAMED_PROBLEMS], len(problems) - _NAMED_PROBLEMS
    return "; ".join(named) + (f"; and {rest} more like this" if rest > 0 else "")
