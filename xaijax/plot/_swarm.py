"""Points along a line, set apart from it so that none covers another."""

import numpy as np
from jaxtyping import Float, Int


def lanes(x: Float[np.ndarray, " n"], diameter: float) -> Int[np.ndarray, " n"]:
    """The lane of each point: 0 on the line, then 1, -1, 2, -2, ..., as few as there can be.

    Points of this diameter in one lane do not cover each other, if lanes are a diameter apart.
    """
    order = np.argsort(x, kind="stable")
    ordered, n = x[order], np.arange(len(x))
    # How many points are within a diameter, on the fuller side.
    before = n - np.searchsorted(ordered, ordered - diameter, side="right")
    after = np.searchsorted(ordered, ordered + diameter, side="left") - n - 1
    most = np.maximum(before, after) + 1
    # Any free lane will do; in their order, points would draw slanted lines.
    choices = np.random.default_rng(0).uniform(size=len(x))
    lane = np.empty(len(x), int)
    ends = np.full(most.max(), -np.inf)
    for i, position in enumerate(ordered):
        # At most `before` of so many lanes are taken.
        free = np.flatnonzero(ends[: most[i]] <= position - diameter)
        lane[order[i]] = chosen = free[int(choices[i] * len(free))]
        ends[chosen] = position
    return np.where(lane % 2, (lane + 1) // 2, -(lane // 2))


def crowd(x: Float[np.ndarray, " n"], diameter: float) -> int:
    """How many lanes that takes: the most points within less than a diameter."""
    ordered = np.sort(x)
    first = np.searchsorted(ordered, ordered - diameter, side="right")
    return int((np.arange(len(x)) - first).max()) + 1
