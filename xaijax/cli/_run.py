"""What the explanations of a photo, a sentence and a table row have in common on the command line."""

import contextlib
import csv
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from tqdm import tqdm

import xaijax
from xaijax.cli._interrupt import check
from xaijax.core._errors import complaint, nearest
from xaijax.shapley import GameValues

Result = TypeVar("Result")

EXPLAINERS = {
    "grad_cam": xaijax.grad_cam,
    "lime": xaijax.lime,
    "shapley": xaijax.permutation_shap,
}


class Values(NamedTuple):
    """What a method gave for features that have names: words, columns.

    Attributes:
      values: of each feature.
      error: the standard error of each, if the method knows it.
      record: numbers for the record.
      caption: what stands below a picture.
    """

    values: np.ndarray
    error: np.ndarray | None
    record: dict[str, Any]
    caption: str


def run_lime(
    f: Any,
    x: Any,
    target: Any,
    key: jax.Array,
    mask: Any,
    samples: int,
    unit: str,
) -> Values:
    """LIME with a progress bar, timed."""
    with bar("LIME", samples, unit):
        fit, timing = timed(
            xaijax.lime_fit,
            f,
            x,
            target,
            key,
            mask=mask,
            num_samples=samples,
        )
    caption = (
        f"{samples} samples\nsurrogate {float(fit.local_prediction):.4g}, "
        f"model {float(fit.prediction):.4g}, R² {float(fit.r2):.2f}"
    )
    return Values(np.asarray(fit.weights), None, lime_record(fit) | timing, caption)


def run_shapley(
    f: Any,
    x: Any,
    target: Any,
    key: jax.Array,
    mask: Any,
    samples: int,
    unit: str,
) -> Values:
    """Shapley values with a progress bar, timed: permutations and their reverses."""
    permutations, pair = count_permutations(samples, mask.num_features)
    with bar("Shapley", 2 + permutations * pair, unit):
        phi, timing = timed(
            xaijax.shapley_values,
            f,
            x,
            target,
            key,
            mask=mask,
            num_permutations=permutations,
        )
    caption = (
        f"{permutations} permutations and their reverses\nfrom {float(phi.base_value):.4g} (all hidden) to "
        f"{float(phi.prediction):.4g}\nstandard error at most {float(phi.standard_error.max()):.2g}"
    )
    error = np.asarray(phi.standard_error)
    return Values(np.asarray(phi.values), error, shapley_record(phi) | timing, caption)


RUNNERS = {"lime": run_lime, "shapley": run_shapley}


def count_permutations(samples: int, num_features: int) -> tuple[int, int]:
    """How many permutations so many evaluations allow, at least two, and the evaluations of each."""
    pair = 2 * (num_features - 1)
    return max(2, (samples - 2) // max(pair, 1)), pair


def lime_record(fit: xaijax.LimeFit) -> dict[str, Any]:
    """The fit of LIME's surrogate, for the record."""
    names = ("intercept", "r2", "local_prediction", "prediction", "condition")
    record: dict[str, Any] = {name: number(getattr(fit, name)) for name in names}
    return record | {"evaluations": int(fit.num_evaluations)}


def shapley_record(phi: GameValues) -> dict[str, Any]:
    """Where Shapley values lead from and to, and how sure they are, for the record."""
    return {
        "base_value": float(phi.base_value),
        "prediction": float(phi.prediction),
        "permutations": int(phi.num_samples),
        "largest_standard_error": float(phi.standard_error.max()),
        "standard_error": np.asarray(phi.standard_error).tolist(),
        "evaluations": int(phi.num_evaluations),
    }


def timed(explain: Any, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
    """Run an explainer; seconds for tracing, compiling and running apart."""
    start = time.perf_counter()
    program = explain.program(*args, **kwargs)
    traced = time.perf_counter()
    program.compile()
    compiled = time.perf_counter()
    # The call finds the compiled program in JAX's cache.
    result = jax.block_until_ready(explain(*args, **kwargs))
    end = time.perf_counter()
    seconds = {"trace": traced - start, "compile": compiled - traced, "run": end - compiled}
    return result, {"seconds": {name: round(value, 4) for name, value in seconds.items()}}


@contextlib.contextmanager
def bar(name: str, total: int, unit: str) -> Iterator[None]:
    """A progress bar over model evaluations, on a terminal."""
    with tqdm(total=total, desc=f"{name:8}", unit=f" {unit}", leave=False, disable=None) as shown:

        def listener(count: int) -> None:
            # The last chunk may be filled up with samples that do not count.
            shown.update(min(count, total - shown.n))

        with xaijax.progress(listener):
            yield


def in_thread(function: Callable[..., Result], *args: Any) -> Result:
    """Run in a thread, so that Ctrl-C is heard while a compiled program runs."""
    done: list[Result] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            done.append(function(*args))
        except BaseException as error:  # handed to the caller
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    while thread.is_alive():
        check()
        thread.join(0.05)
    if failed:
        raise failed[0]
    return done[0]


def number(value: Any) -> float | None:
    """A number as JSON knows it: not finite is null."""
    plain = float(value)
    return plain if np.isfinite(plain) else None


def parse_methods(text: str, known: Iterable[str]) -> list[str]:
    """The methods of `--methods`, each once."""
    known = list(known)
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            rule = f"be of {', '.join(known)}"
            fix = nearest(name, known)
            raise ValueError(complaint("explain", "--methods", rule, repr(name), fix))
    if not names:
        rule = f"name one of {', '.join(known)}"
        raise ValueError(complaint("explain", "--methods", rule, "none"))
    return list(dict.fromkeys(names))


def check_sampling(samples: int, seed: int) -> None:
    """Raise unless the numbers of a sampling method are in range."""
    if samples < 2:
        raise ValueError(complaint("explain", "--samples", "be at least 2", samples))
    if not 0 <= seed < 2**32:
        raise ValueError(complaint("explain", "--seed", "be in [0, 2**32)", seed))


def parse_class(text: str, scores: np.ndarray, labels: Sequence[str]) -> int:
    """The class of `--target`: the best one (auto), its name or its index. A name that is a number is a name first."""
    if text == "auto":
        return int(scores.argmax())
    if text in labels:
        return list(labels).index(text)
    if text.isdigit() and int(text) < len(labels):
        return int(text)
    rule = f"be auto, a class, or its index in [0, {len(labels)})"
    known = f"Classes: {', '.join(labels[:10])}{', ...' if len(labels) > 10 else ''}."
    fix = f"{nearest(text, labels)} {known}".strip()
    raise ValueError(complaint("explain", "--target", rule, repr(text), fix))


def write_values(
    path: Path,
    columns: dict[str, Sequence[Any]],
    outcomes: dict[str, Values],
) -> None:
    """Write a CSV: a line for each feature, with what each method says of it."""
    for name, outcome in outcomes.items():
        columns[name] = outcome.values.tolist()
        if outcome.error is not None:
            columns[f"{name}_standard_error"] = outcome.error.tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a JSON."""
    text = json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    path.write_text(text, "utf-8")
