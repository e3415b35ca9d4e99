"""Metrics that hide or redraw features and compare. `f` maps a NumPy input to a score."""

import numpy as np


def pearson(a, b):
    a, b = (np.asarray(v, np.float64) - np.mean(v) for v in (a, b))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def mean_ranks(a):
    """The number of smaller values, and half of the other equal ones."""
    return [sum(q < p for q in a) + (sum(q == p for q in a) - 1) / 2 for p in a]


def spearman(a, b):
    return pearson(mean_ranks(a), mean_ranks(b))


def without(x, hidden, baseline):
    """A copy of the input with the baseline at some indices."""
    x = np.array(x, np.float64)
    for i in hidden:
        x[i] = baseline[i]
    return x


def sums_and_drops(f, x, a, subsets, baseline):
    """What the attribution says of each set of indices, and what it is worth."""
    sums = [sum(a[i] for i in hidden) for hidden in subsets]
    drops = [f(x) - f(without(x, hidden, baseline)) for hidden in subsets]
    return sums, drops


def in_parts(a, num_steps):
    """The indices from the highest value on, in parts of equal size."""
    order = sorted(range(len(a)), key=lambda i: -a[i])
    size = len(a) // num_steps
    return [order[k : k + size] for k in range(0, len(a), size)]


def monotonicity_scores(f, x, a, baseline):
    """The scores as the features are added to the baseline, from the lowest attribution on."""
    shown = np.array(baseline, np.float64)
    scores = [f(shown)]
    for i in sorted(range(len(a)), key=lambda i: a[i]):
        shown[i] = x[i]
        scores.append(f(shown))
    return scores


def squared_change(f, x, redrawn, draws):
    """The mean squared change of the score when some indices are taken from each of the draws."""
    return np.mean([(f(without(x, redrawn, draw)) - f(x)) ** 2 for draw in draws])


def changes_of_features(f, x, draws):
    return [squared_change(f, x, [i], draws) for i in range(len(x))]


def changes_of_the_rest(f, x, a, draws):
    """When only the k largest magnitudes are kept, k = 0, 1, ..., d."""
    order = sorted(range(len(x)), key=lambda i: -abs(a[i]))
    return [squared_change(f, x, order[k:], draws) for k in range(len(x) + 1)]


def infidelity(f, x, a, perturbations):
    """Of perturbations in units of the input."""
    x = np.asarray(x, np.float64)
    return np.mean([((taken * a).sum() - (f(x) - f(x - taken))) ** 2 for taken in perturbations])


def infidelity_of_removal(f, x, a, subsets, baseline):
    """Of sets of hidden indices."""
    sums, drops = sums_and_drops(f, x, a, subsets, baseline)
    return np.mean([(s - d) ** 2 for s, d in zip(sums, drops, strict=True)])


def sufficiency(attributions, predictions, radius):
    out = []
    for i, a in enumerate(attributions):
        size = np.sqrt((a**2).sum())
        alike = [
            predictions[j] == predictions[i]
            for j, b in enumerate(attributions)
            if j != i and np.sqrt(((b - a) ** 2).sum()) <= radius * size
        ]
        out.append(np.mean(alike) if alike else np.nan)
    return out
