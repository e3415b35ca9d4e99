"""Occlusion (as captum averages its windows), feature ablation, and the masks of RISE with their exact mean."""

import itertools
import math

import numpy as np


def occlusion(f, x, window, stride, baseline):
    """The mean loss over the windows that cover each element; a window at the end is cut off."""
    x = np.asarray(x, np.float64)
    baseline = np.broadcast_to(baseline, x.shape)
    total, number = np.zeros(x.shape), np.zeros(x.shape)
    starts = []
    for length, size, step in zip(x.shape, window, stride, strict=True):
        axis = [0]
        while axis[-1] + size < length:  # until the end was hidden
            axis.append(axis[-1] + step)
        starts.append(axis)
    for corner in itertools.product(*starts):
        part = tuple(slice(a, a + size) for a, size in zip(corner, window, strict=True))
        hidden = x.copy()
        hidden[part] = baseline[part]
        total[part] += f(x) - f(hidden)
        number[part] += 1
    return total / number


def feature_ablation(f, x, labels, hidden):
    """The loss without each label, at its elements."""
    x, labels = np.asarray(x, np.float64), np.asarray(labels)
    out = np.zeros(labels.shape)
    for label in np.unique(labels):
        without = x.copy()
        without[labels == label] = np.broadcast_to(hidden, x.shape)[labels == label]
        out[labels == label] = f(x) - f(without)
    return out


def rise_shares(size, s, offset):
    """How much of each cell the pixels along an axis are made of: linear, mirrored at the outermost centres."""
    shares = np.zeros((size, s))
    cells = (s + 1) * math.ceil(size / s)
    for i in range(size):
        place = (offset + i + 0.5) * s / cells - 0.5
        low = math.floor(place)
        for cell, part in ((low, 1 - (place - low)), (low + 1, place - low)):
            inside = -cell if cell < 0 else cell
            inside = 2 * (s - 1) - inside if inside > s - 1 else inside
            shares[i, inside] += part
    return shares


def rise_mask(cells, offset, size):
    """A mask of a grid of bits: enlarged to s + 1 cells along both axes, cut at an offset."""
    rows, columns = (rise_shares(n, len(cells), o) for n, o in zip(size, offset, strict=True))
    return rows @ np.asarray(cells, np.float64) @ columns.T


def rise_of_linear_model(w, x, s, p, bias=0.0):
    """The exact mean of RISE's map of sum(w * x) + bias, all of shape (H, W).

    (1/p) sum_i w_i x_i E[M_i M_l] + bias, with E[M_i M_l] = p^2 + p (1 - p) K_il, where K_il is the mean over the
    offsets of the share of cells that two pixels have in common: the identity if pixels are masked independently.
    """
    kernels = []
    for size in x.shape:
        offsets = range(math.ceil(size / s))
        shares = [rise_shares(size, s, o) for o in offsets]
        kernels.append(np.mean([a @ a.T for a in shares], 0))
    contributions = w * x
    return p * contributions.sum() + (1 - p) * kernels[0] @ contributions @ kernels[1] + bias
