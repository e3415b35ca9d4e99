"""The pictures that `xaijax explain` writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xaijax.plot import bar, overlay, waterfall


def draw(
    path: Path,
    image: np.ndarray,
    name: str,
    classes: Sequence[tuple[str, float]],
    target: str,
    outcomes: Mapping[str, Any],
) -> None:
    """Draw the photo with its best classes, and one overlay per method."""
    panels = 1 + len(outcomes)
    # A figure of its own, without pyplot: no window, no global state.
    figure = Figure(figsize=(3.5 * panels, 4.3), layout="constrained")
    figure.suptitle(f"Why “{target}”?", x=0.005, ha="left", fontsize=13)
    axes = figure.subplots(2, panels, squeeze=False, height_ratios=(3.4, 1))
    photo, bars = axes[:, 0]
    photo.imshow(image)
    photo.set_title(name, fontsize=9, loc="left")
    photo.set_axis_off()
    _draw_classes(bars, classes, target)
    for (ax, caption), outcome in zip(axes[:, 1:].T, outcomes.values(), strict=True):
        overlay(ax, image, outcome.map, title=outcome.title, unit=outcome.unit)
        text = caption.text(0, 1, outcome.caption, fontsize=8, va="top", linespacing=1.5)
        text.set_in_layout(False)
        caption.set_axis_off()
    figure.savefig(path, dpi=150)


def draw_features(
    path: Path,
    title: str,
    names: Sequence[str],
    x: np.ndarray,
    unit: str,
    base_value: float | None,
    outcomes: Mapping[str, Any],
) -> None:
    """Draw the features of a row, beside one another as each method sees them."""
    figure = Figure(figsize=(7.5 * len(outcomes), 5.2))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    axes = figure.subplots(1, len(outcomes), squeeze=False)[0]
    figure.subplots_adjust(0.3 / len(outcomes), 0.25, 0.98, 0.88, wspace=0.75)
    for ax, (name, outcome) in zip(axes, outcomes.items(), strict=True):
        if name == "shapley" and base_value is not None:
            waterfall(outcome.values, base_value, x, names=names, unit=unit, ax=ax)
        else:
            bar(outcome.values, x, names=names, unit=unit, ax=ax)
        ax.set_title({"lime": "LIME", "shapley": "Shapley values"}[name], loc="left", fontsize=10)
        ax.text(0, -0.15, outcome.caption, transform=ax.transAxes, fontsize=8, va="top")
    figure.savefig(path, dpi=150)


def _draw_classes(ax: Axes, classes: Sequence[tuple[str, float]], target: str) -> None:
    places = range(len(classes))
    colors = ["#4477aa" if label == target else "#bbbbbb" for label, _ in classes]
    ax.barh(places, [p for _, p in classes], color=colors)
    for place, (label, p) in zip(places, classes, strict=True):
        # Beside a short bar, or on a long one.
        ax.text(
            0.02 if p > 0.6 else p + 0.02,
            place,
            f"{label}  {p:.1%}",
            fontsize=8,
            va="center",
            color="white" if p > 0.6 and label == target else "black",
        )
    ax.set_xlim(0, 1)
    ax.invert_yaxis()
    ax.set_axis_off()
