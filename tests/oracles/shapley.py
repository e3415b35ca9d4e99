"""Shapley values of a game `v`, which takes a vector of zeros and ones."""

from itertools import combinations, permutations, product
from math import factorial

import numpy as np


def _coalition(members, num_features):
    z = np.zeros(num_features)
    z[list(members)] = 1.0
    return z


def shapley_values(v, num_features):
    """The definition: a sum over all coalitions without the feature."""
    M = num_features
    values = {}
    for size in range(M + 1):
        for S in combinations(range(M), size):
            values[frozenset(S)] = float(v(_coalition(S, M)))
    phi = np.zeros(M)
    for i in range(M):
        for S, value in values.items():
            if i not in S:
                weight = factorial(len(S)) * factorial(M - len(S) - 1) / factorial(M)
                phi[i] += weight * (values[S | {i}] - value)
    return phi


def permutation_walks(v, permutations):
    """The mean of the marginal contributions along given permutations."""
    M = len(permutations[0])
    phi = np.zeros(M)
    for permutation in permutations:
        members = []
        for i in permutation:
            before = float(v(_coalition(members, M)))
            members.append(i)
            phi[i] += float(v(_coalition(members, M))) - before
    return phi / len(permutations)


def consistent_permutations(node):
    """The permutations of the features in nested tuples in which those of every tuple follow one another."""
    if not isinstance(node, tuple):
        return [(node,)]
    return [
        sum(parts, ())
        for children in permutations(node)
        for parts in product(*map(consistent_permutations, children))
    ]


def owen_values(v, hierarchy):
    """The definition: the mean marginal contributions along all of them."""
    return permutation_walks(v, consistent_permutations(hierarchy))


def sage_values(f, loss, xs, ys, background):
    """The Shapley values of minus the expected loss, the model's answers being means over a background set."""

    def v(z):
        total = 0.0
        for x, y in zip(xs, ys, strict=True):
            rows = np.where(z.astype(bool), x, background)
            total += loss(np.mean([f(row) for row in rows], axis=0), y)
        return -total / len(xs)

    return shapley_values(v, xs.shape[1])


def _subsets(items):
    items = list(items)
    return [frozenset(S) for size in range(len(items) + 1) for S in combinations(items, size)]


def banzhaf_values(v, num_features):
    """The mean contribution to all coalitions of the others."""
    M = num_features
    values = {S: float(v(_coalition(S, M))) for S in _subsets(range(M))}
    return np.array(
        [np.mean([values[S | {i}] - values[S] for S in values if i not in S]) for i in range(M)]
    )


def interactions(v, num_features, index):
    """Interactions of order 2, the single features on the diagonal: sums over subsets, and a regression for FSII."""
    M = num_features
    F = frozenset(range(M))
    values = {S: float(v(_coalition(S, M))) for S in _subsets(F)}
    if index == "FSII":
        return _faithful_interactions(values, M)
    found = np.zeros((M, M))
    for i, j in combinations(range(M), 2):
        for T in _subsets(F - {i, j}):
            t = len(T)
            if index == "STII":
                weight = 2 / M * factorial(t) * factorial(M - 1 - t) / factorial(M - 1)
            else:
                weight = factorial(t) * factorial(M - t - 2) / factorial(M - 1)
            delta = values[T | {i, j}] - values[T | {i}] - values[T | {j}] + values[T]
            found[i, j] += weight * delta
            found[j, i] += weight * delta
    single = shapley_values(v, M)
    if index == "k-SII":
        single = single - found.sum(1) / 2
    if index == "STII":
        single = np.array([values[frozenset({i})] - values[frozenset()] for i in range(M)])
    return found + np.diag(single)


def _faithful_interactions(values, M):
    """Least squares on all coalitions; the scores of nothing and everything by a null-space of the constraint."""
    terms = [(i,) for i in range(M)] + list(combinations(range(M), 2))
    rows = [S for S in values if 0 < len(S) < M]
    X = np.array([[float(set(T) <= S) for T in terms] for S in rows]).reshape(len(rows), len(terms))
    y = np.array([values[S] - values[frozenset()] for S in rows])
    root = np.array(
        [
            (factorial(len(S) - 1) * factorial(M - len(S) - 1) / factorial(M - 1)) ** 0.5
            for S in rows
        ]
    )
    delta = values[frozenset(range(M))] - values[frozenset()]
    # The last coefficient is what the others leave of delta.
    last = X[:, -1:]
    fit = np.linalg.lstsq((X[:, :-1] - last) * root[:, None], (y - delta * last[:, 0]) * root)[0]
    fit = np.append(fit, delta - fit.sum())
    found = np.zeros((M, M))
    for T, value in zip(terms, fit, strict=True):
        found[T[0], T[-1]] = found[T[-1], T[0]] = value
    return found
