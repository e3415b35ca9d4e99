"""Explainers against metrics, on the same examples and the same draws: one tidy table, with controls in it."""

import functools
import importlib.util
import inspect
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._errors import check_positive, complaint
from xaijax.core._inputs import (
    check_callable,
    check_examples,
    check_key,
    check_truth,
)
from xaijax.core._tree import as_tree
from xaijax.metrics._controls import controls_of
from xaijax.metrics._pixel_map import Channels, pixel_map

if TYPE_CHECKING:
    import pandas as pd


class Evaluation(NamedTuple):
    """What `evaluate` found.

    Attributes:
      table: a pandas table with a row for each explainer, metric and example: `explainer`, `control` (whether it is a
        control), `metric`, `category`, `better`, `example` (its place in `xs`) and `value`.
      maps: the attributions that were judged, by explainer, `(n, *shape)`.
    """

    table: "pd.DataFrame"
    maps: dict[str, Float[np.ndarray, "n *shape"]]


def evaluate(
    explainers: Mapping[str, Bound],
    metrics: Mapping[str, Any] | Sequence[Any],
    f: Callable[[Any], Any],
    xs: Any,
    targets: Any,
    key: Key[Array, ""],
    *,
    masks: Any = None,
    oracle: Any = None,
    controls: bool = True,
    channels: Channels = "sum",
    batch_size: int = 8,
) -> Evaluation:
    """Judge explainers by metrics.

    Attributions of images become maps of their pixels, by `pixel_map`; all metrics judge that map. An example's draws
    depend on the key and its place in `xs` alone: a longer list changes no number, and all explainers are judged by the
    same. Examples of one `xs` are the unit of replication of what `summary` and `differences` say.

    Args:
      explainers: by name, each with its model, as `bind` makes it: often of the logits.
      metrics: of `xaijax.metrics`, by name or as a list: `[deletion_auc, pointing_game]`. With settings:
        `functools.partial(deletion_auc, num_steps=50)`. Of a metric that judges the explainer itself, such as
        `max_sensitivity`, the oracle has no number: it is no explainer.
      f: the model that metrics evaluate: often `probabilities` of the one that is explained.
      xs: the examples, stacked.
      targets: what is explained of each: indices `(n,)` or weights `(n, num_outputs)`.
      key: decides all draws.
      masks: what should have been found in each, true or false, `(n, h, w)` for images: the `truth` of metrics of
        localisation.
      oracle: the attributions that are known to be right, as those of a linear model are; by default the masks.
      controls: whether to judge maps that know nothing of the model, too: random, the magnitude of the input; for
        images edges and the centre; and the oracle, if there is one.
      channels: see `pixel_map`.
      batch_size: how many examples are explained at once. Metrics take one at a time, and many evaluations of it.

    Returns:
      The table, and the maps that were judged.

    Raises:
      ValueError: there is no explainer, metric or example; the numbers of examples, targets and masks differ; a target
        is out of range; an example, the oracle or a mask is not what it should be; two explainers or metrics have one
        name; a metric asks for masks and there are none.
      TypeError: an explainer is not bound, a metric is none, or the key is no typed key.
      ImportError: pandas is not installed.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> from xaijax import metrics
      >>> f = lambda x: jnp.stack([x[0] + 2 * x[1], x[2]])
      >>> explainers = {"input x gradient": xaijax.bind(xaijax.input_x_gradient, f)}
      >>> xs, targets = jnp.ones((2, 4)), jnp.array([0, 1])
      >>> wanted = [metrics.deletion_auc, metrics.sparseness]
      >>> found = metrics.evaluate(explainers, wanted, f, xs, targets, jax.random.key(0), controls=False)
      >>> found.table[["metric", "better", "example", "value"]].round(3)
               metric  better  example  value
      0  deletion_auc   lower        0  0.625
      1  deletion_auc   lower        1  0.125
      2    sparseness  higher        0  0.583
      3    sparseness  higher        1  0.750
    """
    if importlib.util.find_spec("pandas") is None:
        rule, fix = "be installed for its tables", 'Run: pip install "xaijax[evaluate]"'
        raise ImportError(complaint("evaluate", "pandas", rule, "no such package", fix))
    named = _named(metrics)
    _check(explainers, named, f, key, masks)
    check_positive("evaluate", batch_size=batch_size)
    targets = check_examples("evaluate", f, xs, targets)
    count = len(targets)
    masks = _stacked("masks", masks, count)
    oracle = masks if oracle is None else _stacked("oracle", oracle, count)
    own: dict[str, Bound | None] = {}
    if controls:
        own |= controls_of(f, jax.tree.map(lambda a: a[0], xs))
        own |= {} if oracle is None else {"oracle": None}
    if taken := own.keys() & explainers.keys():
        rule, fix = "not have the name of a control", "Rename it, or pass controls=False."
        raise ValueError(complaint("evaluate", "explainers", rule, sorted(taken), fix))
    examples = _Examples(as_tree(f), xs, targets, masks, key, batch_size)
    everyone = {**explainers, **own}
    for explain in everyone.values():  # whatever does not fit is said before anything is computed
        for metric in named.values():
            examples.check(metric, explain, channels, oracle)
    maps = {
        name: np.asarray(oracle, np.float32)
        if explain is None
        else examples.explain(explain, channels)
        for name, explain in everyone.items()
    }
    values = {
        (name, title): examples.judge(title, metric, explain, maps[name])
        for name, explain in everyone.items()
        for title, metric in named.items()
    }
    return Evaluation(_table(values, named, own), maps)


class _Examples(NamedTuple):
    """What is explained, and the draws of each example."""

    f: Any
    xs: Any
    targets: Any
    masks: Any
    key: Any
    batch_size: int

    def explain(self, explain: Bound, channels: Channels) -> Float[np.ndarray, "n *shape"]:
        """The maps of an explainer."""
        rows = (self.xs, self.targets, self._keys("explain"))
        run = functools.partial(_explain, channels, self.f, explain)
        return np.concatenate([run(batch) for batch in self._batches(rows)])[: len(self.targets)]

    def judge(
        self, title: str, metric: Any, explain: Bound | None, maps: Any
    ) -> Float[np.ndarray, " n"]:
        """The numbers of a metric."""
        function, static, settings = _unbound(metric)
        if explain is None and "explain" in _needs(metric):
            return np.full(len(self.targets), np.nan)
        rows = self._rows(title, metric, maps)
        run = functools.partial(_judge, function, static, settings, self._models(metric, explain))
        found = [run(batch) for batch in self._batches(rows)]
        return np.concatenate(found)[: len(self.targets)].astype(np.float64)

    def check(self, metric: Any, explain: Bound | None, channels: Channels, oracle: Any) -> None:
        """Raise what the metric or the explainer has to say of the shapes."""
        if explain is None and "explain" in _needs(metric):
            return
        if explain is None:
            maps = jax.ShapeDtypeStruct(np.shape(oracle), jnp.float32)
        else:
            rows = (self.xs, self.targets, self._keys("explain"))
            maps = jax.eval_shape(functools.partial(_explain, channels), self.f, explain, rows)
        function, static, settings = _unbound(metric)
        models, rows = self._models(metric, explain), self._rows("", metric, maps)
        jax.eval_shape(functools.partial(_judge, function, static), settings, models, rows)

    def _rows(self, title: str, metric: Any, maps: Any) -> dict[str, Any]:
        """What a metric takes that is different for each example."""
        rows = {
            "x": self.xs,
            "target": self.targets,
            "key": self._keys(title),
            "attribution": maps,
            "truth": self.masks,
        }
        return {name: rows[name] for name in _needs(metric) if name in rows}

    def _models(self, metric: Any, explain: Bound | None) -> dict[str, Any]:
        return {k: v for k, v in {"f": self.f, "explain": explain}.items() if k in _needs(metric)}

    def _keys(self, purpose: str) -> Any:
        """A key for each example, by what it is for."""
        key = jax.random.fold_in(self.key, zlib.crc32(purpose.encode()))
        return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(self.targets)))

    def _batches(self, rows: Any) -> Iterator[Any]:
        """The rows in batches of one size; the last is filled up with copies of the last row."""
        count = len(self.targets)
        for start in range(0, count, self.batch_size):
            at = np.minimum(np.arange(start, start + self.batch_size), count - 1)
            yield jax.tree.map(lambda a, at=at: a[at], rows)


def _one_map(channels: Channels, f: Any, explain: Any, row: tuple[Any, Any, Any]) -> Any:
    x, target, key = row
    attribution = explain(x, target, *([key] if explain.takes_key else []))
    if not hasattr(attribution, "shape"):
        rule = "give one attribution"
        raise TypeError(complaint("evaluate", "explainers", rule, type(attribution).__name__))
    return pixel_map(f, x, attribution, channels=channels)


@functools.partial(jax.jit, static_argnums=0)
def _explain(channels: Channels, f: Any, explain: Any, rows: Any) -> Any:
    return jax.vmap(functools.partial(_one_map, channels, f, explain))(rows)


def _number(function: Any, static: Any, settings: Any, models: Any, row: Any) -> Any:
    arguments = {**models, **row}
    order = inspect.signature(function).parameters
    return function(*(arguments[k] for k in order if k in arguments), **settings, **dict(static))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _judge(function: Any, static: Any, settings: Any, models: Any, rows: Any) -> Any:
    # One example at a time: its evaluations fill the chunks that suit the machine.
    return jax.lax.map(functools.partial(_number, function, static, settings, models), rows)


def _unbound(metric: Any) -> tuple[Any, tuple[tuple[str, Any], ...], dict[str, Any]]:
    """A metric, its static settings and its others."""
    if not isinstance(metric, functools.partial):
        return metric, (), {}
    function: Any = metric.func
    settings = metric.keywords
    static = tuple(sorted((k, v) for k, v in settings.items() if k in function.static))
    return function, static, {k: v for k, v in settings.items() if k not in function.static}


def _needs(metric: Any) -> list[str]:
    """What a metric takes by position."""
    parameters = inspect.signature(_unbound(metric)[0]).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]


def _named(metrics: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    """The metrics by name."""
    items = (
        list(metrics.items())
        if isinstance(metrics, Mapping)
        else [(getattr(_unbound(m)[0], "__name__", repr(m)), m) for m in metrics]
    )
    if not items:
        raise ValueError(complaint("evaluate", "metrics", "be one at least", "none"))
    for name, metric in items:
        if not hasattr(_unbound(metric)[0], "kind"):
            fix = "Such as xaijax.metrics.deletion_auc, or functools.partial of it with settings."
            raise TypeError(complaint("evaluate", "metrics", "be metrics", f"{name!r}", fix))
        if "other" in _needs(metric):
            rule, fix = "judge one explainer", "Compare two by `differences` of their drops."
            raise ValueError(complaint("evaluate", "metrics", rule, name, fix))
    names = [name for name, _ in items]
    if len(set(names)) < len(names):
        fix = "Give them names: {'deletion, blur': functools.partial(...)}."
        raise ValueError(complaint("evaluate", "metrics", "have different names", names, fix))
    return dict(items)


def _check(explainers: Any, metrics: dict[str, Any], f: Any, key: Any, masks: Any) -> None:
    if not isinstance(explainers, Mapping) or not explainers:
        fix = "Such as {'Grad-CAM': xaijax.bind(xaijax.grad_cam, f)}."
        rule = "be one at least, by name"
        raise ValueError(complaint("evaluate", "explainers", rule, repr(explainers), fix))
    for name, explain in explainers.items():
        if not isinstance(explain, Bound):
            rule, fix = "be bound to a model", "Such as xaijax.bind(xaijax.grad_cam, f)."
            raise TypeError(complaint("evaluate", "explainers", rule, f"{name!r}", fix))
    check_callable("evaluate", f)
    check_key("evaluate", key)
    wanting = [name for name, metric in metrics.items() if "truth" in _needs(metric)]
    if wanting and masks is None:
        raise ValueError(complaint("evaluate", "masks", f"be given for {wanting}", "None"))


def _stacked(argument: str, a: Any, count: int) -> Any:
    if a is None:
        return None
    if np.ndim(a) < 2 or np.shape(a)[0] != count:
        rule, got = f"be stacked, one for each of the {count} examples", f"shape {np.shape(a)}"
        raise ValueError(complaint("evaluate", argument, rule, got))
    if argument == "masks":
        check_truth("evaluate", a, a)
        return jnp.asarray(a, bool)
    return jnp.asarray(a)


def _table(values: Any, metrics: dict[str, Any], controls: Any) -> "pd.DataFrame":
    import pandas as pd

    kinds = {title: _unbound(metric)[0].kind for title, metric in metrics.items()}
    parts = [
        pd.DataFrame(
            {
                "explainer": name,
                "control": name in controls,
                "metric": title,
                "category": kinds[title].category,
                "better": kinds[title].better,
                "example": np.arange(len(numbers)),
                "value": numbers,
            }
        )
        for (name, title), numbers in values.items()
    ]
    return pd.concat(parts, ignore_index=True)
