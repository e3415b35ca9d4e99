"""Timing on a noisy machine: what is compared runs in turn, and only ratios within a round count."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

#: Does something once, or a few times, and returns the seconds that once took.
Timer = Callable[[], float]

#: How far the ratio of a function to itself may be off before a run is called noisy.
CONTROL = (0.95, 1.05)
#: The fewest rounds of which an interval says anything: of five, none has a level of 95 %.
FEWEST_ROUNDS = 6
# What runs shorter than this is repeated within a sample, after once that does not count: what ran before it has left
# its own data in the caches, and may have been a thousand times as large.
_SAMPLE_SECONDS = 0.05


class Ratio(NamedTuple):
    """A ratio of two times.

    Attributes:
      median: over rounds, of the ratio within a round.
      low: of its 95 % interval (bootstrap over rounds).
      high: of the same.
    """

    median: float
    low: float
    high: float


def timer(run: Callable[[], Any]) -> Timer:
    """A timer of a function without arguments, which has run once before: what it returns is waited for."""

    def once(loops: int = 1) -> float:
        start = time.perf_counter()
        for _ in range(loops):
            jax.block_until_ready(run())
        return (time.perf_counter() - start) / loops

    once()
    loops = int(np.clip(np.ceil(_SAMPLE_SECONDS / once()), 1, 1000))

    def sample() -> float:
        if loops > 1:
            once()
        return once(loops)

    return sample


class Rounds(NamedTuple):
    """What ran in turn.

    Attributes:
      seconds: of each, in every round.
      control: the ratio of a function to itself.
    """

    seconds: dict[str, list[float]]
    control: Ratio

    def trust(self) -> dict[str, Any]:
        """What a row says of its rounds: the control, and whether that is so far off that it is noise."""
        noisy = not CONTROL[0] <= self.control.median <= CONTROL[1]
        return {"control": self.control._asdict(), "noisy": noisy}


def interleave(
    timers: Mapping[str, Timer], rounds: int, *, control: str, title: str = ""
) -> Rounds:
    """Time each in every round; the order within a round is random.

    Args:
      timers: what is compared, by name.
      rounds: how many.
      control: the name of the one that runs a second time in each round, under the name `control`: its ratio to the
        first should be 1.
      title: of the progress bar.
    """
    entries = {**timers, "control": timers[control]}
    order, draw = list(entries), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in entries}
    for _ in tqdm(range(rounds), desc=title, disable=None, leave=False):
        draw.shuffle(order)
        for name in order:
            seconds[name].append(entries[name]())
    return Rounds(seconds, ratio(seconds["control"], seconds[control]))


def ratio(seconds: Sequence[float], base: Sequence[float]) -> Ratio:
    """How many times as long as the base, round by round."""
    ratios = np.array(seconds) / np.array(base)
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))
