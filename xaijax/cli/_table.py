"""What a scikit-learn model saw in a row of a table."""

import contextlib
import dataclasses
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

import xaijax
from xaijax.cli._csv import Table, read_table
from xaijax.cli._figure import draw_features
from xaijax.cli._output import output_folder
from xaijax.cli._photo import fingerprint
from xaijax.cli._run import (
    EXPLAINERS,
    RUNNERS,
    Values,
    check_sampling,
    in_thread,
    parse_class,
    parse_methods,
    write_record,
    write_values,
)
from xaijax.core._errors import complaint, nearest
from xaijax.core._table import table as lay_out

_FILES = ("explanation.png", "explanation.csv", "result.json", "refs.bib")
# Each coalition is scored against so many rows of the table at most.
_BACKGROUND = 100
_SHOWN = 10


@dataclasses.dataclass(frozen=True)
class Job:
    """What `xaijax explain --table` was asked for."""

    table: str
    row: int | None = None
    model: str | None = None
    trust_model: bool = False
    methods: str = "lime,shapley"
    target: str = "auto"
    samples: int = 1000
    seed: int = 0
    out: str = "explanation"
    force: bool = False


class Answers(NamedTuple):
    """What a model answers: `scores` of rows `(n, d)` are `(n, num_labels)`, in units of `unit`."""

    scores: Callable[[Float[np.ndarray, "n d"]], np.ndarray]
    labels: list[str]
    unit: str


def explain(job: Job) -> int:
    """Do the job; returns the exit status."""
    methods = parse_methods(job.methods, RUNNERS)
    check_sampling(job.samples, job.seed)
    _check_given(job)
    data = read_table(job.table)
    row = _check_row(job, data)
    with output_folder(job.out, _FILES, force=job.force) as folder, _double_precision():
        model = _load(str(job.model))
        names = _columns(model, data)
        values = data.numbers(names)
        answers = _answers(model, names)
        x = values[row]
        scores = _first_scores(answers, x)
        target = parse_class(job.target, scores, answers.labels)
        told = dict(zip(answers.labels, scores.tolist(), strict=True))
        best = sorted(told.items(), key=lambda item: -item[1])[:5]
        print(
            f"row {row}: {', '.join(f'{name} {score:.4g}' for name, score in best)}",
            file=sys.stderr,
        )

        f = xaijax.black_box(answers.scores, len(answers.labels))
        others = np.delete(values, row, 0)
        rng = np.random.default_rng(job.seed)
        drawn = rng.permutation(len(others))[:_BACKGROUND]
        background = others[np.sort(drawn)]
        masks = {
            "lime": xaijax.binned_columns(values),
            "shapley": xaijax.columns(jnp.asarray(background)),
        }
        key = jax.random.key(job.seed)
        outcomes = {
            name: in_thread(
                RUNNERS[name], f, jnp.asarray(x), target, key, masks[name], job.samples, "rows"
            )
            for name in methods
        }
        label = answers.labels[target]
        base = outcomes["shapley"].record["base_value"] if "shapley" in outcomes else None
        title = f"Row {row}: {label} {told[label]:.4g}"
        draw_features(folder / _FILES[0], title, names, x, answers.unit, base, outcomes)
        write_values(folder / _FILES[1], {"column": names, "value": x.tolist()}, outcomes)
        record = {
            "settings": dataclasses.asdict(job),
            "table": {"file": Path(job.table).name, "sha256": fingerprint(Path(job.table))},
            "model": {
                "file": Path(str(job.model)).name,
                "sha256": fingerprint(Path(str(job.model))),
                "class": type(model).__name__,
            },
            "target": {"index": target, "label": label, "score": told[label], "unit": answers.unit},
            "columns": names,
            "rows": len(values),
            "background": len(background),
            "methods": {name: outcome.record for name, outcome in outcomes.items()},
            "provenance": xaijax.provenance(),
        }
        write_record(folder / _FILES[2], record)
        cited = [EXPLAINERS[name] for name in methods]
        (folder / _FILES[3]).write_text(xaijax.citation(*cited), "utf-8")
    print(_summary(names, x, outcomes))
    for name in _FILES:
        print(Path(job.out) / name)
    return 0


def _summary(names: list[str], x: np.ndarray, outcomes: dict[str, Values]) -> str:
    """The columns that matter most, by the last method."""
    sizes = np.abs(list(outcomes.values())[-1].values)
    order = np.argsort(-sizes, kind="stable")[:_SHOWN]
    rows = [
        (names[j], f"{x[j]:.4g}", *(_written(o.values, j) for o in outcomes.values()))
        for j in order
    ]
    left = len(names) - len(order)
    more = f"\n({left} more in explanation.csv)" if left else ""
    return lay_out(("column", "value", *outcomes), rows) + more


def _written(values: np.ndarray, j: int) -> str:
    # What is left of a difference by rounding says nothing.
    return "0" if abs(values[j]) < 1e-9 * np.abs(values).max() else f"{values[j]:+.4g}"


@contextlib.contextmanager
def _double_precision() -> Iterator[None]:
    """Rows as exact as in the file: what splits trees in single precision may be on the other side of a threshold."""
    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    # Not the context manager of JAX, which the threads of callbacks do not see.
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


# --- What was given


def _check_given(job: Job) -> None:
    if job.row is None:
        fix = "The first row below the names is --row 0."
        raise ValueError(complaint("explain", "--row", "be given with --table", "none", fix))
    if job.model is None:
        fix = "A scikit-learn model, saved by joblib.dump(model, 'model.joblib')."
        raise ValueError(complaint("explain", "--model", "be given with --table", "none", fix))
    if not Path(job.model).is_file():
        got = f"'{job.model}'"
        raise FileNotFoundError(
            complaint("explain", "--model", "be an existing file", got, "Check the path.")
        )
    if not job.trust_model:
        rule = "be trusted before it is loaded, since it is a pickle: loading it runs whatever program is in it"
        fix = "If you know who made it, add --trust-model."
        raise ValueError(complaint("explain", "--model", rule, f"'{job.model}'", fix))


def _check_row(job: Job, data: Table) -> int:
    count = len(data.rows)
    if count < 2:
        rule = "have at least 2 rows, of which one is explained against the others"
        raise ValueError(complaint("explain", "--table", rule, count))
    if job.row is None or not 0 <= job.row < count:
        rule = f"be in [0, {count}), the rows of '{job.table}'"
        raise ValueError(complaint("explain", "--row", rule, job.row))
    return job.row


# --- The model

# What a file that is no pickle, a damaged one, or one of other versions makes the reader raise.
_DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ImportError,
    OverflowError,
    MemoryError,
)


def _load(path: str) -> Any:
    """Read a model, which runs what is in its file."""
    import joblib

    try:
        return joblib.load(path)
    except _DAMAGED as error:
        got = f"'{path}': {type(error).__name__}: {error}"
        fix = "Save it by joblib.dump, and load it with the packages and versions that it was saved with."
        raise ValueError(
            complaint("explain", "--model", "be a model saved by joblib", got, fix)
        ) from error


def _columns(model: Any, data: Table) -> list[str]:
    """The columns that the model takes, in its order."""
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        wanted = [str(name) for name in names]
        for name in wanted:
            if name not in data.names:
                rule = f"have the {len(wanted)} columns of the model"
                fix = nearest(name, data.names)
                raise ValueError(complaint("explain", "--table", rule, f"none named {name!r}", fix))
        left = [name for name in data.names if name not in wanted]
        if left:
            print(f"not used by the model: {', '.join(left)}", file=sys.stderr)
        return wanted
    count = getattr(model, "n_features_in_", len(data.names))
    if count != len(data.names):
        rule = f"have the {count} columns of the model, which does not know their names"
        fix = "Leave out what it was not trained on, such as the answers."
        raise ValueError(complaint("explain", "--table", rule, len(data.names), fix))
    return data.names


def _answers(model: Any, names: list[str]) -> Answers:
    """What the model says of rows: probabilities of classes, or a number."""
    if hasattr(model, "predict_proba"):
        ask, labels, unit = model.predict_proba, [str(c) for c in model.classes_], "probability"
    elif hasattr(model, "predict") and not hasattr(model, "classes_"):
        ask, labels, unit = model.predict, ["prediction"], "prediction"
    else:
        rule = "have predict_proba, or be a regression with predict"
        fix = "A classifier without probabilities: sklearn.calibration.CalibratedClassifierCV."
        raise ValueError(complaint("explain", "--model", rule, type(model).__name__, fix))
    if not hasattr(model, "feature_names_in_"):
        return Answers(_as_columns(ask), labels, unit)

    # Trained on a frame, it wants one.
    import pandas as pd

    return Answers(_as_columns(lambda rows: ask(pd.DataFrame(rows, columns=names))), labels, unit)


def _first_scores(answers: Answers, x: Float[np.ndarray, " d"]) -> Float[np.ndarray, " num_labels"]:
    """The scores of the row, asked for outside JAX: an error of the model is as the model raised it."""
    scores = answers.scores(x[None])
    fits = scores.shape == (1, len(answers.labels)) and scores.dtype.kind in "iuf"
    if not fits or not np.isfinite(scores).all():
        rule = f"answer a row with {len(answers.labels)} finite scores"
        raise ValueError(complaint("explain", "--model", rule, np.array2string(scores)))
    return scores[0].astype(np.float64)


def _as_columns(ask: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    def scores(rows: np.ndarray) -> np.ndarray:
        answer = np.asarray(ask(rows))
        return answer[:, None] if answer.ndim == 1 else answer

    return scores
