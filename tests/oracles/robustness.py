"""What perturbations and keys change of an explanation: from lists of inputs and explanations, one sum at a time."""

import itertools

import numpy as np


def norm(a):
    return np.sqrt(sum(v * v for v in np.ravel(a)))


def sensitivities(explain, x, moved):
    """Yeh et al. (2019), Bhatt et al. (2020): the change as a part of the explanation."""
    a = explain(x)
    return [norm(explain(z) - a) / norm(a) for z in moved]


def slopes(explain, x, moved, order):
    """Alvarez-Melis & Jaakkola (2018): order 2. Montavon et al. (2018): order 1."""
    a, found = explain(x), []
    for z in moved:
        change = explain(z) - a
        size = norm(change) if order == 2 else sum(abs(v) for v in np.ravel(change))
        found.append(size / norm(z - x))
    return found


def percent(a, b, epsilon):
    """The norm of the relative change of each element."""
    pairs = zip(np.ravel(a), np.ravel(b), strict=True)
    return norm([(u - v) / max(abs(u), epsilon) for u, v in pairs])


def relative_stability(explain, predict, distance, x, moved, epsilon):
    """Agarwal et al. (2022): the largest over the perturbations that keep the predicted class, and how many do."""
    found = [
        percent(explain(x), explain(z), epsilon) / max(distance(x, z), epsilon)
        for z in moved
        if predict(z) == predict(x)
    ]
    return (max(found) if found else np.nan), len(found)


def rank(values):
    """From the lowest, 0; equal ones share the mean."""
    return [
        sum(u < v for u in values) + (sum(u == v for u in values) - 1) / 2 for v in list(values)
    ]


def spearman(a, b):
    a, b = np.array(rank(a)), np.array(rank(b))
    a, b = a - a.mean(), b - b.mean()
    return sum(a * b) / np.sqrt(sum(a * a) * sum(b * b))


def repeatability(explanations, k):
    """The Jaccard indices of the k largest magnitudes and the rank correlations of all pairs; and the spread."""
    rows = [np.abs(np.ravel(a)) for a in explanations]
    tops = [set(np.argsort(-row)[:k]) for row in rows]
    pairs = list(itertools.combinations(range(len(rows)), 2))
    jaccards = [len(tops[i] & tops[j]) / len(tops[i] | tops[j]) for i, j in pairs]
    spearmans = [spearman(rows[i], rows[j]) for i, j in pairs]
    mean = sum(explanations) / len(explanations)
    variance = sum((a - mean) ** 2 for a in explanations) / (len(explanations) - 1)
    return jaccards, spearmans, np.sqrt(variance) / np.abs(mean)
