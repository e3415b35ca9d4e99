"""Metrics of localisation, position by position: the pointing game, shares, ranks, the ROC curve, overlap."""

import itertools
import math

import numpy as np


def pointing_game(attribution, truth, tolerance=0):
    """The part of the highest positions from which some position of the object is near enough."""
    a, s = np.asarray(attribution), np.asarray(truth, bool)
    if not s.any():
        return math.nan
    objects = list(zip(*np.nonzero(s), strict=True))
    highest = list(zip(*np.nonzero(a == a.max()), strict=True))
    hits = 0
    for place in highest:
        hits += min(math.dist(place, other) for other in objects) <= tolerance
    return hits / len(highest)


def positive_mass(attribution, truth):
    """The share of the positive values that lies on the object."""
    inside = total = 0.0
    for value, on in zip(np.ravel(attribution), np.ravel(truth), strict=True):
        total += max(float(value), 0.0)
        inside += max(float(value), 0.0) if on else 0.0
    return inside / total if total and np.any(truth) else math.nan


def top_hits(attribution, truth, k):
    """The part of the k highest that lies on the object: the mean over all choices among the equals of the last."""
    a, s = np.ravel(attribution), np.ravel(truth).astype(bool)
    if not s.any():
        return math.nan
    lowest = sorted(a, reverse=True)[k - 1]
    sure = [i for i in range(len(a)) if a[i] > lowest]
    equals = [i for i in range(len(a)) if a[i] == lowest]
    parts = [
        sum(s[i] for i in (*sure, *drawn)) / k
        for drawn in itertools.combinations(equals, k - len(sure))
    ]
    return float(np.mean(parts))


def relevance_rank(attribution, truth):
    """Of as many as the object has positions."""
    return top_hits(attribution, truth, max(int(np.sum(truth)), 1))


def auc(attribution, truth):
    """The area under the ROC curve, point by point as the threshold falls, by trapezoids."""
    a, s = np.ravel(attribution).astype(float), np.ravel(truth).astype(bool)
    if s.all() or not s.any():
        return math.nan
    points = [(0.0, 0.0)]
    for threshold in sorted(set(a), reverse=True):
        points.append((np.mean(a[~s] >= threshold), np.mean(a[s] >= threshold)))
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in itertools.pairwise(points))


def iou(attribution, truth, threshold):
    """What is left of the map and the object: in both over in one of them."""
    highest = np.max(attribution)
    if highest <= 0 or not np.any(truth):
        return math.nan
    both = either = 0
    for value, on in zip(np.ravel(attribution), np.ravel(truth), strict=True):
        left = value >= threshold * highest
        both += bool(left and on)
        either += bool(left or on)
    return both / either
