"""Metrics of a map alone: entropy, the Gini index as a mean difference, total variation, the spectrum by its sums."""

import cmath
import math

import numpy as np


def entropy(a):
    """In nats, of the parts that the features have of the magnitudes."""
    a = np.abs(np.asarray(a, np.float64)).reshape(-1)
    parts = [float(value / a.sum()) for value in a]
    return -sum(p * math.log(p) for p in parts if p > 0)


def gini(a):
    """Half the mean difference of two magnitudes, as a part of their mean."""
    a = [float(value) for value in np.abs(np.asarray(a, np.float64)).reshape(-1)]
    n, mean = len(a), sum(a) / len(a)
    return sum(abs(p - q) for p in a for q in a) / (2 * n * n * mean)


def active(a, threshold):
    """How many magnitudes are above a part of the largest."""
    a = np.abs(np.asarray(a, np.float64)).reshape(-1)
    return sum(1 for value in a if value > threshold * max(a))


def variation(a):
    """The differences of neighbours along rows and columns, against the sum of magnitudes."""
    a = np.asarray(a, np.float64)
    height, width = a.shape[:2]
    total = 0.0
    for y in range(height):
        for x in range(width):
            if y + 1 < height:
                total += np.abs(a[y + 1, x] - a[y, x]).sum()
            if x + 1 < width:
                total += np.abs(a[y, x + 1] - a[y, x]).sum()
    return total / np.abs(a).sum()


def high_frequencies(a, cutoff):
    """The part of the energy above a part of Nyquist's frequency."""
    a = np.asarray(a, np.float64)
    height, width = a.shape
    high = total = 0.0
    for u in range(height):
        for v in range(width):
            wave = sum(
                a[y, x] * cmath.exp(-2j * math.pi * (u * y / height + v * x / width))
                for y in range(height)
                for x in range(width)
            )
            # Beyond half of the samples a frequency is a negative one.
            fy, fx = min(u, height - u) / height, min(v, width - v) / width
            total += abs(wave) ** 2
            high += abs(wave) ** 2 if math.sqrt(fy * fy + fx * fx) > cutoff / 2 else 0
    return high / total
