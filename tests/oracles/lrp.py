"""Layer-wise relevance propagation, one contribution at a time.

A layer is a table: for each output k the pairs (j, i) of an input and a weight that meet in it. A rule says what the
contribution x_j w_i counts, from the equations: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z+, z^B,
w^2) and 2019 (gamma), Lapuschkin et al. 2019 (flat).
"""

import itertools

import numpy as np

# --- Layers: output -> [(input, weight)]


def dense(num_inputs, num_outputs):
    """z_k = sum_j x_j w_jk."""
    return {(k,): [((j,), (j, k)) for j in range(num_inputs)] for k in range(num_outputs)}


def convolution(x, w, stride=1, padding=(0, 0), dilation=1, input_dilation=1, groups=1):
    """A kernel (a, b, in / groups, out) on an image (h, w, in), `padding` on every side."""
    height, width, channels = x
    a, b, depth, features = w
    low, high = padding

    def size(n, kernel):
        return ((n - 1) * input_dilation + low + high - (kernel - 1) * dilation) // stride

    table = {}
    rows, columns = range(size(height, a) + 1), range(size(width, b) + 1)
    for r, c, k in itertools.product(rows, columns, range(features)):
        group = k // (features // groups)
        pairs = []
        for p, q, d in itertools.product(range(a), range(b), range(depth)):
            row, column = r * stride + p * dilation - low, c * stride + q * dilation - low
            there = row % input_dilation == 0 and column % input_dilation == 0
            row, column = row // input_dilation, column // input_dilation
            if there and 0 <= row < height and 0 <= column < width:
                pairs.append(((row, column, group * depth + d), (p, q, d, k)))
        table[r, c, k] = pairs
    assert channels == groups * depth
    return table


def average_pool(x, size):
    """The mean over windows that do not overlap; its weights are all the same number."""
    return {
        (r, c, k): [((r * size + p, c * size + q, k), ()) for p in range(size) for q in range(size)]
        for r in range(x[0] // size)
        for c in range(x[1] // size)
        for k in range(x[2])
    }


def output(table, x, w, b):
    """z_k, in the shape of the outputs."""
    z = np.zeros([n + 1 for n in max(table)])
    for k, pairs in table.items():
        z[k] = sum(x[j] * w[i] for j, i in pairs) + b[k[-1]]
    return z


# --- Rules


def positive(v):
    return max(v, 0.0)


def negative(v):
    return min(v, 0.0)


def share(table, R, count, bias, epsilon, shape):
    """R_j = sum_k count(j, i, k) / (sum of the counts of k and its bias, epsilon with their sign) R_k."""
    result = np.zeros(shape)
    for k, pairs in table.items():
        z = sum(count(j, i, k) for j, i in pairs) + bias(k)
        z += epsilon if z >= 0 else -epsilon
        for j, i in pairs:
            result[j] += count(j, i, k) / z * R[k] if z else 0.0
    return result


def epsilon(table, x, w, b, R, epsilon=1e-6):
    return share(table, R, lambda j, i, k: x[j] * w[i], lambda k: b[k[-1]], epsilon, x.shape)


def z_plus(table, x, w, b, R, epsilon=1e-6):
    def count(j, i, k):
        return positive(x[j] * w[i])

    return share(table, R, count, lambda k: positive(b[k[-1]]), epsilon, x.shape)


def alpha_beta(table, x, w, b, R, alpha=2.0, beta=1.0, epsilon=1e-6):
    def count(j, i, k):
        return negative(x[j] * w[i])

    against = share(table, R, count, lambda k: negative(b[k[-1]]), epsilon, x.shape)
    return alpha * z_plus(table, x, w, b, R, epsilon) - beta * against


def gamma(table, x, w, b, R, gamma=0.25, epsilon=1e-6):
    z = output(table, x, w, b)

    def more(v, k):
        return v + gamma * (positive(v) if z[k] > 0 else negative(v))

    def count(j, i, k):
        return more(x[j] * w[i], k)

    return share(table, R * (z != 0), count, lambda k: more(b[k[-1]], k), epsilon, x.shape)


def own_sign(table, x, w, b, R, epsilon=1e-6):
    z = output(table, x, w, b)

    def own(v, k):
        return positive(v) if z[k] > 0 else negative(v)

    def count(j, i, k):
        return own(x[j] * w[i], k)

    return share(table, R * (z != 0), count, lambda k: own(b[k[-1]], k), epsilon, x.shape)


def z_box(table, x, w, b, R, low, high, epsilon=1e-6):
    def count(j, i, k):
        return x[j] * w[i] - low[j[-1]] * positive(w[i]) - high[j[-1]] * negative(w[i])

    return share(table, R, count, lambda k: 0.0, epsilon, x.shape)


def w_square(table, x, w, b, R, epsilon=1e-6):
    return share(table, R, lambda j, i, k: w[i] ** 2, lambda k: b[k[-1]] ** 2, epsilon, x.shape)


def flat(table, x, w, b, R, epsilon=1e-6):
    return share(table, R, lambda j, i, k: 1.0, lambda k: 0.0, epsilon, x.shape)


def max_pool(x, R, size):
    """The winner of a window takes its relevance; the first of several."""
    result = np.zeros(x.shape)
    for r, c, k in np.ndindex(*R.shape):
        window = [(r * size + p, c * size + q, k) for p in range(size) for q in range(size)]
        result[max(window, key=lambda j: x[j])] += R[r, c, k]
    return result
