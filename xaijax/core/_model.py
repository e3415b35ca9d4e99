"""Any model as what explainers take: a callable pytree, one example -> vector of scores."""

import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from xaijax.core._errors import check_positive, complaint
from xaijax.core._tree import as_tree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _BatchFirst:
    model: Any
    wraps: ClassVar[str] = "model"

    def __call__(self, x: Any) -> Any:
        outputs = self.model(jax.tree.map(lambda leaf: leaf[None], x))
        return jax.tree.map(lambda leaf: leaf[0], outputs)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Linen:
    module: Any = dataclasses.field(metadata={"static": True})
    variables: Any
    settings: tuple[tuple[str, Any], ...] = dataclasses.field(metadata={"static": True})
    wraps: ClassVar[str] = "variables"

    def __call__(self, x: Any) -> Any:
        return self.module.apply(self.variables, x, **dict(self.settings))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Probabilities:
    model: Any
    wraps: ClassVar[str] = "model"

    def __call__(self, x: Any) -> Float[Array, " num_outputs"]:
        return jax.nn.softmax(self.model(x))


def as_model(model: Any, *, batch_first: bool = False, **settings: Any) -> Callable[[Any], Any]:
    """Adapt a model of any framework to `one example -> scores`.

    The result is a callable pytree whose leaves are the weights: a new checkpoint costs no compile.

    Args:
      model: one of

        * a Flax linen pair `(module, variables)`; `settings` go to `apply`, such as `train=False`;
        * a Flax nnx module; the copy that is explained is switched to inference;
        * an Equinox module; likewise;
        * any callable, such as `jax.tree_util.Partial(apply, params)`.
      batch_first: whether the model takes and returns a leading batch axis.
      **settings: keyword arguments of every call; Flax linen only.

    Returns:
      A callable pytree.

    Raises:
      TypeError: `model` is none of these.

    Warns:
      UserWarning: the callable has arrays closed over. They become constants of the compiled program: new weights
        compile again.

    Examples:
      >>> batched = lambda x: x.reshape(x.shape[0], -1) @ jnp.eye(4)
      >>> as_model(batched, batch_first=True)(jnp.ones((2, 2)))
      Array([1., 1., 1., 1.], dtype=float32)
    """
    nnx, equinox = sys.modules.get("flax.nnx"), sys.modules.get("equinox")
    pair = isinstance(model, tuple) and len(model) == 2 and hasattr(model[0], "apply")
    if pair and isinstance(model[0], tuple):
        rule = "be a Flax linen pair, not a Haiku one"
        fix = "Its apply wants a key: Partial(lambda params, x: transformed.apply(params, None, x), params)."
        raise TypeError(complaint("as_model", "model", rule, type(model[0]).__name__, fix))
    if pair:
        adapted: Any = _Linen(model[0], model[1], tuple(sorted(settings.items())))
    elif settings:
        rule = "be a Flax linen pair (module, variables) to take settings"
        fix = f"Bind {', '.join(settings)} before: functools.partial."
        raise TypeError(complaint("as_model", "model", rule, type(model).__name__, fix))
    elif nnx is not None and isinstance(model, nnx.Module):
        adapted = jax.tree.map(lambda leaf: leaf, model)
        adapted.eval()
    elif equinox is not None and isinstance(model, equinox.Module):
        adapted = equinox.nn.inference_mode(model)
    elif callable(model):
        adapted = model
        _warn_of_constants(model)
    else:
        rule = "be a callable or a Flax linen pair (module, variables)"
        fix = "scikit-learn: xaijax.black_box(model.predict_proba, num_outputs)."
        raise TypeError(complaint("as_model", "model", rule, type(model).__name__, fix))
    return _BatchFirst(as_tree(adapted)) if batch_first else adapted


def probabilities(f: Callable[[Any], Array]) -> Callable[[Any], Array]:
    """The model with a softmax at its end, for the methods that explain probabilities, such as LIME.

    Examples:
      >>> probabilities(lambda x: jnp.zeros(4))(jnp.ones(3))
      Array([0.25, 0.25, 0.25, 0.25], dtype=float32)
    """
    return _Probabilities(as_tree(f))


def is_black_box(f: Any) -> bool:
    """Whether a model was made by `black_box`, perhaps with a softmax or the like around it."""
    while not isinstance(f, _BlackBox):
        if isinstance(f, jax.tree_util.Partial):
            f = _unwrapped(f)
        elif hasattr(type(f), "wraps"):
            f = getattr(f, type(f).wraps)
        else:
            return False
    return True


def _warn_of_constants(model: Callable[..., Any]) -> None:
    if any(isinstance(leaf, (jax.Array, np.ndarray)) for leaf in jax.tree.leaves(_held(model))):
        warnings.warn(
            "as_model: the model has arrays closed over; they become constants, so that new weights compile "
            "again. Pass them as arguments: jax.tree_util.Partial(apply, params).",
            stacklevel=3,
        )


def _unwrapped(partial: jax.tree_util.Partial) -> Any:
    """The function of a `Partial`; JAX may have wrapped it once more."""
    return getattr(partial.func, "fun", partial.func)


def _held(model: Any) -> list[Any]:
    """What a callable holds out of sight: in its closure, or bound by a partial that is no pytree."""
    if isinstance(model, jax.tree_util.Partial):
        return _held(_unwrapped(model))  # its arguments are leaves
    if isinstance(model, functools.partial):
        return [*model.args, *model.keywords.values(), *_held(model.func)]
    return [cell.cell_contents for cell in getattr(model, "__closure__", None) or ()]


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class _BlackBox:
    predict: Callable[[Any], Any]
    num_outputs: int

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, " num_outputs"]:
        x = jnp.asarray(x)
        dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32

        def host(rows: Any) -> np.ndarray:
            rows = np.asarray(rows)
            batch = rows.shape[: rows.ndim - x.ndim]
            scores = self._scores(rows.reshape(-1, *x.shape))
            return scores.reshape(*batch, self.num_outputs).astype(dtype)

        like = jax.ShapeDtypeStruct((self.num_outputs,), dtype)
        # All the axes that vmap added arrive at once, so that the model sees one big batch.
        return jax.pure_callback(host, like, x, vmap_method="broadcast_all")

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        scores = np.asarray(self.predict(rows))
        if scores.ndim == 1 and self.num_outputs == 1:
            scores = scores[:, None]
        expected = (len(rows), self.num_outputs)
        is_real = np.issubdtype(scores.dtype, np.number) and not np.iscomplexobj(scores)
        if scores.shape != expected or not is_real:
            got = f"{scores.dtype} of shape {scores.shape}"
            fix = "Give a function that returns scores, such as predict_proba."
            rule = f"return numbers of shape {expected} for {len(rows)} rows"
            raise ValueError(complaint("black_box", "predict", rule, got, fix))
        return scores


def black_box(predict: Callable[[Any], Any], num_outputs: int) -> Callable[[Any], Array]:
    """A model that JAX cannot trace: scikit-learn, XGBoost, PyTorch, a web service.

    Args:
      predict: rows `(n, ...)` as a NumPy array -> scores `(n, num_outputs)`, such as `model.predict_proba`. It sees
        all samples of a chunk as one batch, and must answer each row alike whatever its neighbours are.
      num_outputs: how many scores it gives for one row.

    Returns:
      A callable, one example -> `(num_outputs,)`. It has no gradient: for LIME, Shapley values and the like.

    Raises:
      ValueError: when called, `predict` answers with another shape or with labels.

    Examples:
      >>> model = black_box(lambda rows: np.stack([rows.sum(1), rows[:, 0]], 1), num_outputs=2)
      >>> jax.vmap(model)(jnp.array([[1.0, 2.0], [3.0, 4.0]]))
      Array([[3., 1.],
             [7., 3.]], dtype=float32)
    """
    if not callable(predict):
        fix = "A fitted scikit-learn model: its predict_proba."
        raise TypeError(
            complaint("black_box", "predict", "be callable", type(predict).__name__, fix)
        )
    check_positive("black_box", num_outputs=num_outputs)
    return _BlackBox(predict, num_outputs)
