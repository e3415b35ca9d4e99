"""Metrics that hide features in the order of an attribution, one feature at a time. All is float64.

`f` is a function from arrays to numbers. A feature is a label: `labels` has the shape of the input.
"""

import itertools

import numpy as np


def feature_means(a, labels):
    """The attribution of each feature: its mean over what the feature covers."""
    a, labels = np.asarray(a, np.float64), np.asarray(labels)
    return np.array([a[labels == i].mean() for i in range(labels.max() + 1)])


def patch_labels(shape, size):
    """Squares of a grid, numbered row by row; smaller ones at the far ends."""
    height, width = shape
    across = -(-width // size)
    labels = np.zeros(shape, int)
    for i, j in np.ndindex(height, width):
        labels[i, j] = (i // size) * across + j // size
    return labels


def hidden_scores(f, x, hidden, labels, values, counts, lowest_first=False):
    """The score with so many features hidden, those of the highest attribution first."""
    x, labels = np.asarray(x, np.float64), np.asarray(labels)
    hidden = np.broadcast_to(np.asarray(hidden, np.float64), x.shape)
    order = sorted(range(len(values)), key=lambda i: values[i], reverse=not lowest_first)
    scores = []
    for count in counts:
        y = x.copy()
        for i in order[:count]:
            y[labels == i] = hidden[labels == i]
        scores.append(f(y))
    return np.array(scores)


def shown_scores(f, x, hidden, labels, values, counts):
    """The score with so many features shown, those of the highest attribution first."""
    hidden = np.broadcast_to(np.asarray(hidden, np.float64), np.shape(x))
    return hidden_scores(f, hidden, x, labels, values, counts)


def steps(d, num_steps):
    """How many features are changed after each step."""
    n = min(num_steps, d)
    return [round(d * i / n) for i in range(n + 1)]


def area(scores, counts):
    """Under a curve, over the part of the features, by trapezoids."""
    total = 0.0
    for i in range(len(scores) - 1):
        total += (scores[i] + scores[i + 1]) / 2 * (counts[i + 1] - counts[i]) / counts[-1]
    return total


def aopc(scores):
    """Samek et al. 2017."""
    return sum(scores[0] - s for s in scores) / len(scores)


def opposite(x):
    """An image (h, w, c) with each channel mirrored at the middle of its range."""
    out = np.array(x, np.float64)
    for c in range(out.shape[2]):
        out[..., c] = x[..., c].min() + x[..., c].max() - x[..., c]
    return out


def label_means(x, labels):
    """An image (h, w, c) with the mean colour of its label in the place of each pixel."""
    out = np.array(x, np.float64)
    for i in range(labels.max() + 1):
        out[labels == i] = x[labels == i].mean(0)
    return out


def impute(image, kept):
    """Rong et al. 2022, without noise: an image (h, w, c) whose other pixels are the means of their neighbours."""
    height, width, _ = image.shape
    number = {place: n for n, place in enumerate(zip(*np.nonzero(~kept), strict=True))}
    A, b = np.zeros((len(number), len(number))), np.zeros((len(number), image.shape[2]))
    for (i, j), n in number.items():
        for di, dj in itertools.product((-1, 0, 1), repeat=2):
            there = i + di, j + dj
            if (di, dj) == (0, 0) or not (0 <= there[0] < height and 0 <= there[1] < width):
                continue
            w = 1 / 6 if 0 in (di, dj) else 1 / 12
            A[n, n] += w
            if kept[there]:
                b[n] += w * image[there]
            else:
                A[n, number[there]] -= w
    out = np.array(image, np.float64)
    out[~kept] = np.linalg.solve(A, b)
    return out


def road(f, x, a, parts):
    """The scores without the pixels of the highest and of the lowest attribution, for each part of them."""
    order = np.argsort(-np.asarray(a).ravel())
    curves = []
    for by in (order, order[::-1]):
        scores = []
        for count in (int(a.size * part + 1e-9) for part in parts):
            kept = np.ones(a.size, bool)
            kept[by[:count]] = False
            scores.append(f(impute(x, kept.reshape(a.shape))))
        curves.append(np.array(scores))
    return curves


def unit_map(a):
    """A map in [0, 1]."""
    a = np.maximum(np.asarray(a, np.float64), 0)
    return a / a.max() if a.max() > 0 else a


def average_drop(f, x, a, baseline=0.0):
    """Chattopadhay et al. 2018, of one image (h, w, c) and its map (h, w)."""
    L = unit_map(a)[..., None]
    Y, O = f(x), f(L * x + (1 - L) * baseline)  # noqa: E741 - as the paper calls it
    return max(0.0, Y - O) / Y


def adcc(f, explain, x):
    """Poppi et al. 2021, of one image (h, w, c); `explain` gives its map (h, w)."""
    L = unit_map(explain(x))
    again = unit_map(explain(x * L[..., None]))
    coherency = (np.corrcoef(L.ravel(), again.ravel())[0, 1] + 1) / 2
    drop = average_drop(f, x, L)
    return 3 / (1 / coherency + 1 / (1 - L.mean()) + 1 / (1 - drop))
