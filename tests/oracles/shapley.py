"""Shapley values of a game `v`, which takes a vector of zeros and ones."""

from itertools import combinations
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
