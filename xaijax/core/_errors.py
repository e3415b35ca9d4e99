"""One format for every complaint: function, argument, rule, value, fix."""

import difflib
from collections.abc import Iterable
from typing import Any


def complaint(where: str, argument: str, rule: str, got: Any, fix: str = "") -> str:
    """The text of an error.

    >>> complaint("grad_cam", "layer", "name a layer of the model", "'conv9'", "See layers(f, x).")
    "grad_cam: layer must name a layer of the model, got 'conv9'. See layers(f, x)."
    """
    return f"{where}: {argument} must {rule}, got {got}." + (f" {fix}" if fix else "")


def nearest(word: str, words: Iterable[str]) -> str:
    """'Nearest: ...' for a misspelt word, or an empty text if nothing is near.

    >>> nearest("conv9", ["conv1", "dense"])
    "Nearest: 'conv1'."
    """
    close = difflib.get_close_matches(word, list(dict.fromkeys(words)), n=3, cutoff=0.4)
    return f"Nearest: {', '.join(map(repr, close))}." if close else ""


def check_positive(where: str, **sizes: int) -> None:
    """Raise unless every size is an integer of at least 1."""
    for name, size in sizes.items():
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(complaint(where, name, "be a Python integer", repr(size)))
        if size < 1:
            raise ValueError(complaint(where, name, "be at least 1", size))
