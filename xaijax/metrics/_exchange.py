"""Another model in a bound explainer: what metrics do that explain a changed model with the same settings."""

import dataclasses
from collections.abc import Callable
from typing import Any

from xaijax.core._binding import Bound


def exchange_model(explain: Bound, change: Callable[[Any], Any]) -> Bound:
    """The explainer with `change(f)` in the place of its model f, also inside explainers made of explainers."""
    inner = explain.f
    made_of_another = hasattr(inner, "explain") and hasattr(inner, "f")
    return dataclasses.replace(
        explain, f=exchange_model(inner, change) if made_of_another else change(inner)
    )
