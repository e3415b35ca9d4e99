"""Interpolation of a map between pixels, without antialiasing."""

import numpy as np


def bilinear(a, shape, align_corners=False):
    a = np.asarray(a, np.float64)
    out = np.zeros((*shape, *a.shape[2:]))
    for place in np.ndindex(*shape):
        corners = []
        for at, new, old in zip(place, shape, a.shape, strict=False):
            if align_corners:  # the centres of the outermost pixels coincide
                position = at * (old - 1) / (new - 1) if new > 1 else 0.0
            else:  # the outer edges coincide
                position = (at + 0.5) * old / new - 0.5
            position = min(max(position, 0.0), old - 1.0)
            low = min(int(position), max(old - 2, 0))
            corners.append((low, min(low + 1, old - 1), position - low))
        (top, bottom, down), (left, right, along) = corners
        out[place] = (1 - down) * ((1 - along) * a[top, left] + along * a[top, right])
        out[place] += down * ((1 - along) * a[bottom, left] + along * a[bottom, right])
    return out
