"""SLIC pixel by pixel, on colours that are CIELAB already."""

import numpy as np


def slic(lab, rows, columns, S, m, num_iterations):
    h, w, _ = lab.shape
    cell = {(i, j): (i * rows // h, j * columns // w) for i in range(h) for j in range(w)}

    def centre(members):
        return np.mean([[*lab[p], *p] for p in members], 0)

    clusters = {}
    for p, c in cell.items():
        clusters.setdefault(c, []).append(p)
    centres = {c: centre(members) for c, members in clusters.items()}
    for _ in range(num_iterations):
        labels = {}
        for p, (a, b) in cell.items():
            near = [c for c in centres if abs(c[0] - a) <= 1 and abs(c[1] - b) <= 1]
            labels[p] = min(
                near,
                key=lambda c: (
                    ((lab[p] - centres[c][:3]) ** 2).sum()
                    + ((np.array(p) - centres[c][3:]) ** 2).sum() / S**2 * m**2
                ),
            )
        for c in centres:
            members = [p for p in labels if labels[p] == c]
            if members:
                centres[c] = centre(members)
    return np.array(
        [[labels[i, j][0] * columns + labels[i, j][1] for j in range(w)] for i in range(h)]
    )
