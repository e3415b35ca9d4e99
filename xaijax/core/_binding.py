"""An explainer with its model and settings: what combinators, metrics and sweeps take."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import checkify

from xaijax.core._errors import complaint, nearest
from xaijax.core._explainer import Explainer
from xaijax.core._inputs import check_number
from xaijax.core._score import checking
from xaijax.core._tree import as_tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Bound:
    """An explainer with its model and settings: `(x, target[, key]) -> attribution`. Made by `bind`."""

    explain: Any = dataclasses.field(metadata={"static": True})
    f: Any
    settings: dict[str, Any]
    static: tuple[tuple[str, Any], ...] = dataclasses.field(metadata={"static": True})

    @property
    def takes_key(self) -> bool:
        """Whether the explainer draws."""
        return "key" in inspect.signature(self.explain).parameters

    def __call__(self, x: Any, target: Any, *key: Any) -> Any:
        """Explain one example."""
        return self.explain(self.f, x, target, *key, **self.settings, **dict(self.static))


def bind(explain: Explainer[Any, Any], f: Callable[..., Any], **settings: Any) -> Bound:
    """Fix an explainer's model and settings.

    Of an explainer made of another one, `f` is that other one, bound: `bind(smooth_grad, bind(grad_cam_pp, f))`.

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
    traced = {k: v for k, v in settings.items() if k not in explain.static}
    for k in traced.keys() & explain.numbers.keys():
        optional = parameters[k].default is None
        within = explain.numbers[k]
        value = check_number(explain.__name__, k, traced[k], within=within, optional=optional)
        # A weakly typed array: it does not promote what it meets, and is a leaf of the tree that `jit` traces.
        traced[k] = jnp.asarray(value) if isinstance(value, float) else value
    return Bound(explain, as_tree(f), traced, fixed)


def checked(explain: Callable[..., Any]) -> Callable[..., Any]:
    """Make values that only show at run time into errors, also under `vmap`.

    Without it such a value (a traced target out of range, a model that answers NaN) makes the attribution NaN. A
    `vmap` of a method that stops at a tolerance cannot be checked: JAX's checkify has no rule for a batched `while`
    loop, and says so. What you compiled by `jax.jit` yourself before has no checks in it.

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
      ValueError: permutation_shap: target must be in [0, 2), got 9.
    """
    functionalised = checkify.checkify(explain, errors=checkify.user_checks)

    @functools.wraps(explain)
    def wrapper(*args: Any) -> Any:
        with checking():
            error, result = functionalised(*args)
        if message := error.get():
            raise ValueError(message.split(" (`check` failed)")[0])
        return result

    return wrapper
