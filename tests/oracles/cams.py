"""Class activation maps, one sum at a time.

`A` is the feature map (h, w, K) and `G` the gradient of the score there. A model is a function from arrays to arrays,
a target `read` a function from its outputs to a number. All is float64.
"""

import numpy as np

from tests.oracles.resize import bilinear


def _weighted(A, w):
    M = np.zeros(A.shape[:2])
    for i, j, k in np.ndindex(A.shape):
        M[i, j] += w[k] * A[i, j, k]
    return M


def _relu(a):
    return np.where(a > 0, a, 0.0)


def softmax(scores):
    scores = np.asarray(scores, np.float64)
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def gradient(y, a, step=1e-6):
    """Central differences of a number `y(a)`, one element at a time."""
    a = np.asarray(a, np.float64)
    out = np.zeros_like(a)
    for place in np.ndindex(a.shape):
        more, less = a.copy(), a.copy()
        more[place] += step
        less[place] -= step
        out[place] = (float(y(more)) - float(y(less))) / (2 * step)
    return out


# --- From activations and gradients


def cam(A, w):
    """Zhou et al. 2016: the weights `w` of the class in the dense layer after global average pooling."""
    return _weighted(A, w)


def grad_cam_pp_weights(A, G):
    """Chattopadhay et al. 2018, Eq. (19), for the class score exp(y), whose factor exp(y) is left out."""
    w = np.zeros(A.shape[-1])
    for i, j, k in np.ndindex(A.shape):
        g = G[i, j, k]
        if g > 0:  # ReLU(g) is a factor
            w[k] += g**2 / (2 * g**2 + A[..., k].sum() * g**3) * g
    return w


def grad_cam_pp(A, G):
    return _relu(_weighted(A, grad_cam_pp_weights(A, G)))


def hires_cam(A, G):
    """Draelos & Carin 2020: the sum over channels of the gradient times the activation."""
    M = np.zeros(A.shape[:2])
    for i, j, k in np.ndindex(A.shape):
        M[i, j] += G[i, j, k] * A[i, j, k]
    return _relu(M)


def grad_cam_elementwise(A, G):
    M = np.zeros(A.shape[:2])
    for i, j, k in np.ndindex(A.shape):
        M[i, j] += max(G[i, j, k] * A[i, j, k], 0.0)
    return M


def layer_cam(A, G):
    """Jiang et al. 2021: each position weighted by the positive part of its own gradient."""
    M = np.zeros(A.shape[:2])
    for i, j, k in np.ndindex(A.shape):
        M[i, j] += max(G[i, j, k], 0.0) * A[i, j, k]
    return _relu(M)


def xgrad_cam_weights(A, G):
    """Fu et al. 2020: the gradient's mean, weighted by each position's part of the activation."""
    w = np.zeros(A.shape[-1])
    for k in range(A.shape[-1]):
        total = A[..., k].sum()
        if total != 0:
            for i, j in np.ndindex(A.shape[:2]):
                w[k] += A[i, j, k] / total * G[i, j, k]
    return w


def xgrad_cam(A, G):
    return _relu(_weighted(A, xgrad_cam_weights(A, G)))


def shapley_cam_weights(A, G, H):
    """Cai 2025: the mean over positions of G - H A / 2. The Hessian `H` is (h, w, K, h, w, K)."""
    Z = A.shape[0] * A.shape[1]
    w = np.zeros(A.shape[-1])
    for place in np.ndindex(A.shape):
        HA = sum(H[place][other] * A[other] for other in np.ndindex(A.shape))
        w[place[-1]] += (G[place] - HA / 2) / Z
    return w


def shapley_cam(A, G, H):
    return _relu(_weighted(A, shapley_cam_weights(A, G, H)))


def fuse(maps, shape, gamma=2.0):
    """Jiang et al. 2021: every map scaled by a tangent; then the largest value at each position."""
    out = np.zeros(shape)
    for M in maps:
        M = np.asarray(M, np.float64)
        if M.max() > 0:
            out = np.maximum(out, bilinear(np.tanh(gamma * M / M.max()), shape))
    return out


# --- Components


def _oriented(projection):
    """The value furthest from zero is positive."""
    furthest = projection.flat[np.abs(projection).argmax()]
    return projection if furthest >= 0 else -projection


def eigen_cam(A):
    """Muhammad & Yeasin 2020, of activations less their mean: the first right singular vector."""
    rows = A.reshape(-1, A.shape[-1])
    rows = rows - rows.mean(0)
    V = np.linalg.svd(rows, full_matrices=False)[2]
    return _oriented((rows @ V[0]).reshape(A.shape[:2]))


def eigen_grad_cam(A, G):
    return eigen_cam(A * G)


def kpca_cam(A, kernel, gamma):
    """Kernel PCA (Schoelkopf et al. 1998) of the centred rows: each row's coordinate on the first component.

    The component is sum_b a_b phi~(row_b), of length one, in the space of centred features phi~.
    """
    rows = A.reshape(-1, A.shape[-1])
    rows = rows - rows.mean(0)
    k = {
        "sigmoid": lambda a, b: np.tanh(gamma * (a @ b) + 1),
        "rbf": lambda a, b: np.exp(-gamma * ((a - b) ** 2).sum()),
        "linear": lambda a, b: a @ b,
    }[kernel]
    K = np.array([[k(a, b) for b in rows] for a in rows])
    centred = np.zeros_like(K)
    for i, j in np.ndindex(K.shape):
        centred[i, j] = K[i, j] - K[i].mean() - K[:, j].mean() + K.mean()
    values, vectors = np.linalg.eigh(centred)
    component = vectors[:, -1] / np.sqrt(values[-1])
    coordinates = [sum(component[b] * centred[a, b] for b in range(len(K))) for a in range(len(K))]
    return _oriented(np.array(coordinates).reshape(A.shape[:2]))


# --- From further evaluations of the model


def _min_max(a):
    low, high = a.min(), a.max()
    return np.zeros_like(a) if high == low else (a - low) / (high - low)


def masks(A, size, align_corners=False):
    """Each channel resized to the input and scaled to [0, 1]; `None` where it is the same everywhere."""
    out = []
    for k in range(A.shape[-1]):
        flat = A[..., k].min() == A[..., k].max()
        out.append(None if flat else _min_max(bilinear(A[..., k], size, align_corners)))
    return out


def _softmax_over(scores):
    """A softmax over the channels that have a score."""
    shown = [k for k, s in enumerate(scores) if s is not None]
    w = np.zeros(len(scores))
    w[shown] = softmax([scores[k] for k in shown])
    return w


def score_cam_weights(f, X, A, read, mode="prob", align_corners=False):
    """Wang et al. 2020; `f` gives logits of an image X (H, W, C)."""
    X = np.asarray(X, np.float64)

    def y(image):
        outputs = np.asarray(f(image), np.float64)
        return float(read(softmax(outputs) if mode.endswith("prob") else outputs))

    found = masks(A, X.shape[:2], align_corners)
    scores = [None if H is None else y(X * H[..., None]) for H in found]
    if mode.startswith("softmax"):
        return _softmax_over(scores)
    baseline = y(np.zeros_like(X)) if mode == "cic" else 0.0
    return np.array([0.0 if s is None else s - baseline for s in scores])


def score_cam(f, X, A, read, mode="prob", align_corners=False):
    return _relu(_weighted(A, score_cam_weights(f, X, A, read, mode, align_corners)))


def is_cam_weights(f, X, A, read, num_steps):
    """Naidu et al. 2020, with masks that grow to H and not beyond."""
    X = np.asarray(X, np.float64)
    scores = []
    for H in masks(A, X.shape[:2]):
        if H is None:
            scores.append(None)
            continue
        steps = [i / num_steps * H[..., None] for i in range(1, num_steps + 1)]
        scores.append(np.mean([float(read(np.asarray(f(X * M)))) for M in steps]))
    return _softmax_over(scores)


def is_cam(f, X, A, read, num_steps=10):
    return _relu(_weighted(A, is_cam_weights(f, X, A, read, num_steps)))


def ablation_cam_weights(y, A):
    """Desai & Ramaswamy 2020: the fall of the score over its absolute value; `y` is the score of activations."""
    y_0 = float(y(A))
    w = np.zeros(A.shape[-1])
    for k in range(A.shape[-1]):
        without = A.copy()
        without[..., k] = 0
        w[k] = (y_0 - float(y(without))) / abs(y_0)
    return w


def ablation_cam(y, A):
    return _relu(_weighted(A, ablation_cam_weights(y, A)))


def finer_score(outputs, c, gamma, num_references):
    """Zhang et al. 2025: the mean of differences to the nearest classes, their probabilities as weights."""
    outputs = np.asarray(outputs, np.float64)
    others = [d for d in range(len(outputs)) if d != c]
    near = sorted(others, key=lambda d: abs(outputs[d] - outputs[c]))[:num_references]
    p = softmax(outputs)
    top = sum(p[d] * (outputs[c] - gamma * outputs[d]) for d in near)
    return top / sum(p[d] for d in near)


def finer_cam(A, J, outputs, c, gamma, num_references):
    """Grad-CAM of `finer_score`; `J` is d outputs / d A, (num_outputs, h, w, K)."""
    slope = gradient(lambda o: finer_score(o, c, gamma, num_references), outputs, 1e-5)
    G = np.tensordot(slope, J, 1)
    return _relu(_weighted(A, G.mean((0, 1))))


def full_gradients(y, x, biases):
    """Srinivas & Fleuret 2019: x dy/dx, and b dy/db for each bias, which is given for each position."""
    terms = [np.asarray(x) * gradient(lambda x: y(x, biases), x)]
    for i, bias in enumerate(biases):

        def alone(b, i=i):
            return y(x, [b if n == i else other for n, other in enumerate(biases)])

        terms.append(np.asarray(bias) * gradient(alone, bias))
    return terms


def full_grad(terms):
    """Absolute values, scaled to [0, 1], resized to the input, summed over channels and layers."""
    size = terms[0].shape[:2]
    return sum(bilinear(_min_max(np.abs(term)), size).sum(-1) for term in terms if term.ndim == 3)
