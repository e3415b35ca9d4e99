"""Timing on a noisy machine: what is compared runs in turn, and only ratios within a round count."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

#: How far the ratio of a function to itself may be off before a run is called noisy.
_CONTROL = (0.95, 1.05)


def measure(
    contestants: Mapping[str, Callable[[], Any]], *, base: str, rounds: int = 30
) -> dict[str, dict[str, float]]:
    """Time functions in interleaved rounds of random order.

    A second run of the base in every round is the control: its ratio to the first should be 1.

    Args:
      contestants: functions without arguments, by name; what they return is waited for.
      base: the name of the one that the ratios refer to.
      rounds: how often each runs; one more run before is not timed.

    Returns:
      For each name and for `control`: the median seconds with quartiles, the median ratio to the base in the same
      round, and a 95 % interval of that median (bootstrap over rounds).
    """
    entries = [*contestants.items(), ("control", contestants[base])]
    order, draw = list(range(len(entries))), random.Random(0)
    for _, run in entries:
        jax.block_until_ready(run())
    seconds: dict[str, list[float]] = {name: [] for name, _ in entries}
    for _ in range(rounds):
        draw.shuffle(order)
        for i in order:
            name, run = entries[i]
            start = time.perf_counter()
            jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - start)
    return {name: _summary(seconds[name], seconds[base]) for name in seconds}


def flops(lowered: jax.stages.Lowered) -> float:
    """What a program computes once it is compiled, as XLA counts it."""
    return lowered.compile().cost_analysis()["flops"]


def is_noisy(measured: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether the control says that this run cannot be trusted."""
    return not _CONTROL[0] <= measured["control"]["ratio"] <= _CONTROL[1]


def _summary(seconds: list[float], base: list[float]) -> dict[str, float]:
    quartiles = statistics.quantiles(seconds, n=4)
    ratios = np.array(seconds) / np.array(base)
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return {
        "seconds": quartiles[1],
        "seconds_q25": quartiles[0],
        "seconds_q75": quartiles[2],
        "ratio": float(np.median(ratios)),
        "ratio_low": float(low),
        "ratio_high": float(high),
        "rounds": len(seconds),
    }
