"""The number that is explained: a model's outputs and a target give a score."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import checkify
from jaxtyping import Array, Float, Int

from xaijax.core._errors import complaint

#: An output's index, weights over the outputs, or a function of the outputs.
Target = Int[Array, ""] | int | Float[Array, "num_outputs"] | Callable[[Any], Array]

_checking: ContextVar[bool] = ContextVar("checking", default=False)


def is_checking() -> bool:
    """Whether checks of values are put into programs: only inside `checked`, since they slow down every call."""
    return _checking.get()


@contextlib.contextmanager
def checking() -> Iterator[None]:
    """Put checks of values into the programs that are traced in the block."""
    token = _checking.set(True)
    try:
        yield
    finally:
        _checking.reset(token)


def score(outputs: Any, target: Target, *, where: str = "score") -> Float[Array, ""]:
    r"""The scalar :math:`y^c` that an explainer explains.

    Args:
      outputs: what the model returns for one example: `(num_outputs,)`, or anything if `target` is a function.
      target: which part of it: an integer index; float weights `(num_outputs,)`, as for a margin between two
        classes; or a function `outputs -> scalar`, as for a segmentation's logits over a mask.
      where: the caller, for error messages.

    Returns:
      The score. An index out of range gives NaN, since JAX would answer with another class; `xaijax.checked`
      makes that, and a score that is not finite, an error.

    Raises:
      ValueError: shapes do not fit.
      TypeError: `target` is none of the three.

    Examples:
      >>> score(jnp.array([1.0, 5.0]), 1)
      Array(5., dtype=float32)
      >>> score(jnp.array([1.0, 5.0]), jnp.array([-1.0, 1.0]))  # a margin
      Array(4., dtype=float32)
      >>> score(jnp.array([1.0, 5.0]), 2)
      Array(nan, dtype=float32)
    """
    value = _read(outputs, target, where)
    if is_checking():
        checkify.check(
            jnp.isfinite(value), f"{where}: f must give finite scores, got {{value}}.", value=value
        )
    return value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Linked:
    """A link function of a score, as a target. Made by `linked`."""

    target: Any
    link: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})

    def __call__(self, outputs: Any) -> Float[Array, ""]:
        """The link of the score."""
        return self.link(score(outputs, self.target, where="linked"))


def linked(target: Target, link: Callable[[Array], Array]) -> Linked:
    r"""A target whose score goes through a link function: log-odds of a model that answers probabilities.

    Where hidden features are drawn from a background set, the link is applied to the mean over its rows, as in
    KernelSHAP's reference implementation: :math:`v(S) = g(\operatorname{E}_b f(x_S, b_{\bar S}))`. The values then sum
    to g of the prediction less g of the mean prediction, in units of g.

    Args:
      target: an output's index, weights over the outputs, or a function of them.
      link: g, a function of the score: `jax.scipy.special.logit`, `jax.numpy.log`.

    Raises:
      TypeError: `link` cannot be called.

    Examples:
      >>> linked(1, jnp.log)(jnp.array([0.0, 1.0]))
      Array(0., dtype=float32)
    """
    if not callable(link):
        fix = "Such as jax.scipy.special.logit."
        raise TypeError(complaint("linked", "link", "be a function", repr(link), fix))
    return Linked(target, link)


def _read(outputs: Any, target: Target, where: str) -> Float[Array, ""]:
    if callable(target):
        value = jnp.asarray(target(outputs))
        if value.shape != ():
            raise ValueError(
                complaint(
                    where, "target", "be a function outputs -> scalar", f"shape {value.shape}"
                )
            )
        return value
    target = jnp.asarray(target)
    if jnp.issubdtype(target.dtype, jnp.floating) and target.ndim:
        if target.shape != jnp.shape(outputs):
            raise ValueError(
                complaint(
                    where,
                    "target",
                    f"weight each output, so have the shape {jnp.shape(outputs)}",
                    f"shape {target.shape}",
                )
            )
        return (outputs * target).sum()
    if target.shape != () or not jnp.issubdtype(target.dtype, jnp.integer):
        raise TypeError(
            complaint(
                where,
                "target",
                "be an integer index, float weights over the outputs or a function of them",
                f"{target.dtype} of shape {target.shape}",
                "For several targets use jax.vmap.",
            )
        )
    if jnp.ndim(outputs) != 1:
        rule, got = "be a vector (num_outputs,) for an index", f"shape {jnp.shape(outputs)}"
        raise ValueError(complaint(where, "outputs", rule, got))
    count = outputs.shape[0]
    inside = (target >= 0) & (target < count)
    if is_checking():
        message = f"{where}: target must be in [0, {count}), got {{target}}."
        checkify.check(inside, message, target=target)
    # Weights, since JAX reads `outputs[target]` out of range from another class: there all of them are NaN, and with
    # them the score and every gradient. Within range an infinite output of another class stays out.
    weights = jnp.where(inside, jnp.arange(count) == target, jnp.nan).astype(outputs.dtype)
    read: Any = jnp.where(weights == 0, 0, outputs)
    return (weights * read).sum()
