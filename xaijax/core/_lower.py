"""The same model, faster on a CPU: convolutions and poolings as XLA's CPU backend computes them best.

A model says *what* to compute; this visitor says *how*: `_convolution` and `_pooling` have the forms. Every explainer
evaluates the model this way, so no model has to be written for one backend; its layers keep their names, and rule-based
methods still see convolutions. On other backends nothing changes.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, ClassVar

import jax
from jaxtyping import Array

from xaijax.core._convolution import fast_convolution
from xaijax.core._interpreter import DEFER, Interpreter, Site, trace
from xaijax.core._pooling import maximum_of_slices, scatter_to_maxima
from xaijax.core._tree import as_tree

_enabled: ContextVar[bool] = ContextVar("enabled", default=True)


def lowering() -> bool:
    """Whether equations are rewritten: on the CPU backend, outside `plain_convolutions`."""
    return _enabled.get() and jax.default_backend() == "cpu"


@contextlib.contextmanager
def plain_convolutions() -> Iterator[None]:
    """Explain with the model's convolutions as they are, and its poolings' derivatives, on every backend.

    A function of your own that was compiled by `jax.jit` outside the block stays what it was.
    """
    token = _enabled.set(False)
    try:
        yield
    finally:
        _enabled.reset(token)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Lowered:
    f: Any
    filtered: bool = dataclasses.field(default=True, metadata={"static": True})
    wraps: ClassVar[str] = "f"

    def __call__(self, x: Any) -> Any:
        if not lowering():
            return self.f(x)
        program = trace(self.f, x)
        if not any(_is_rewritten(site, self.filtered) for site in program.sites):
            return program(x)
        visit = functools.partial(_lowered, self.filtered)
        return program.run(Interpreter(visit), x)


def lower(f: Callable[[Any], Any], *, filtered: bool = True) -> Callable[[Any], Any]:
    """The model rewritten for the backend; use it under `jax.jit`.

    Args:
      f: the model, a callable pytree; or a derivative of one, `lower(jax.grad(f))` rather than `jax.grad(lower(f))`:
        the derivative of a fast form may be a slow one.
      filtered: whether 3x3 convolutions of many channels are computed by minimal filtering (`lavin2016fast`): in two
        thirds of the time, but rounded relative to the largest value in a tile of 4x4, not to a sum's own terms.

    Returns:
      A callable pytree with the same weights and, up to rounding, the same outputs.

    Examples:
      >>> import jax.numpy as jnp
      >>> from jax import lax
      >>> kernel = jnp.ones((1, 1, 3, 2))
      >>> f = lambda x: lax.conv_general_dilated(
      ...     x[None], kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).mean((0, 1, 2))
      >>> "conv_general_dilated" in str(jax.make_jaxpr(lower(f))(jnp.ones((4, 4, 3))))
      False
    """
    return _Lowered(as_tree(f), filtered)


def lowered_term_by_term(site: Site, *inputs: Any) -> Any:
    """The equation in its fast form, without minimal filtering: of sums that are divided by, what is 0 stays 0."""
    return _lowered(False, site, *inputs)


def _lowered(filtered: bool, site: Site, *inputs: Any) -> Any:
    if not lowering():
        return site(*inputs)
    if form := _fast_form(site, filtered):
        return form(*inputs)
    # Only what holds such an equation is opened; a `remat` is not, since it would forget to rematerialise.
    opened = site.op == "scan" or (site.is_call and not site.op.startswith(("remat", "checkpoint")))
    return DEFER if opened and _holds(site, filtered) else site(*inputs)


def _holds(site: Site, filtered: bool) -> bool:
    return any(_is_rewritten(inner, filtered) for inner in site.body)


def _is_rewritten(site: Site, filtered: bool) -> bool:
    return _fast_form(site, filtered) is not None or _holds(site, filtered)


def _fast_form(site: Site, filtered: bool) -> Callable[..., Array] | None:
    """What to compute in the place of an equation; `None` if it is best as it is."""
    if site.op == "conv_general_dilated":
        return fast_convolution(site, filtered)
    if site.op == "reduce_window_max":
        return maximum_of_slices(site)
    return scatter_to_maxima(site) if site.op == "select_and_scatter_add" else None
