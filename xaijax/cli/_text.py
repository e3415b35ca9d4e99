"""What a classifier of film reviews saw in a sentence."""

import dataclasses
import sys
from pathlib import Path

import jax
import numpy as np

import xaijax
from xaijax import plot
from xaijax.cli._output import output_folder
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
from xaijax.models import Sentence, minilm_sentiment, minilm_tokenizer
from xaijax.plot._features import write_amount

_FILES = ("explanation.html", "explanation.csv", "result.json", "refs.bib")
_SHOWN = 5  # words with numbers in the terminal
TITLES = {"lime": "LIME", "shapley": "Shapley values"}


@dataclasses.dataclass(frozen=True)
class Job:
    """What `xaijax explain --text` was asked for."""

    text: str
    methods: str = "lime,shapley"
    target: str = "auto"
    samples: int = 1000
    seed: int = 0
    out: str = "explanation"
    force: bool = False


def explain(job: Job) -> int:
    """Do the job; returns the exit status."""
    methods = parse_methods(job.methods, RUNNERS)
    check_sampling(job.samples, job.seed)
    with output_folder(job.out, _FILES, force=job.force) as folder:
        sentence, classifier = minilm_tokenizer().read(job.text), minilm_sentiment()
        f = xaijax.probabilities(classifier)
        scores = np.asarray(jax.jit(f)(sentence.x))
        target = parse_class(job.target, scores, classifier.classes)
        label = classifier.classes[target]
        spoken = dict(zip(classifier.classes, scores.tolist(), strict=True))
        print(", ".join(f"{name} {p:.1%}" for name, p in spoken.items()), file=sys.stderr)
        # LIME hides any number of words as often, as its reference implementation does with texts.
        masks = {"lime": xaijax.even_sizes(sentence.mask), "shapley": sentence.mask}
        key = jax.random.key(job.seed)
        outcomes = {
            name: in_thread(
                RUNNERS[name],
                f,
                sentence.x,
                target,
                key,
                masks[name],
                job.samples,
                "texts",
            )
            for name in methods
        }
        spans = sentence.words.spans[np.asarray(sentence.words.mask.feature) >= 0]
        unit = f"probability of {label}"
        pages = [
            f"<h3>{TITLES[name]}</h3>{plot.text(o.values, job.text, spans, unit=unit)}<pre>{o.caption}</pre>"
            for name, o in outcomes.items()
        ]
        (folder / _FILES[0]).write_text(_page(label, spoken, pages), "utf-8")
        columns = {
            "word": list(sentence.names),
            "start": spans[:, 0].tolist(),
            "end": spans[:, 1].tolist(),
        }
        write_values(folder / _FILES[1], columns, outcomes)
        record = {
            "settings": dataclasses.asdict(job),
            "model": "minilm_sentiment",
            "target": {"index": target, "label": label, "probability": spoken[label]},
            "classes": spoken,
            "words": list(sentence.names),
            "methods": {name: outcome.record for name, outcome in outcomes.items()},
            "provenance": xaijax.provenance(),
        }
        write_record(folder / _FILES[2], record)
        cited = [EXPLAINERS[name] for name in methods]
        (folder / _FILES[3]).write_text(xaijax.citation(*cited, minilm_sentiment), "utf-8")
    _show(sentence, spans, outcomes, unit)
    for name in _FILES:
        print(Path(job.out) / name)
    return 0


def _page(label: str, scores: dict[str, float], parts: list[str]) -> str:
    told = ", ".join(f"{name} {p:.1%}" for name, p in scores.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Why {label}?</title></head>\n'
        f'<body style="font-family:sans-serif;max-width:50em;margin:2em auto;background:#ffffff;color:#262626">\n'
        f"<h2>Why {label}?</h2><p>{told}</p>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _show(sentence: Sentence, spans: np.ndarray, outcomes: dict[str, Values], unit: str) -> None:
    """The words on colours, and the numbers of the largest, since not every terminal has colours."""
    # Only a sentence needs it.
    from rich.console import Console

    console = Console(highlight=False, markup=False, emoji=False)
    for name, outcome in outcomes.items():
        console.print(TITLES[name], style="bold")
        console.print(plot.text_terminal(outcome.values, sentence.text, spans, unit=unit))
        order = np.argsort(-np.abs(outcome.values), kind="stable")[:_SHOWN]
        largest = ", ".join(
            f"{sentence.names[i]} {write_amount(float(outcome.values[i]))}" for i in order
        )
        console.print(f"largest: {largest}\n", soft_wrap=True)
