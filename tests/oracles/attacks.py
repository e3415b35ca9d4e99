"""Attacks step by step, with derivatives by hand: of a linear softmax model, of the gradients of a quadratic one."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def cross_entropy(model, x, label):
    W, b = model
    return -np.log(softmax(W @ x + b)[label])


def gradient(model, x, label):
    """Of the cross entropy of a linear model."""
    W, b = model
    return W.T @ (softmax(W @ x + b) - np.eye(len(b))[label])


def fgsm(model, x, label, epsilon, low=-np.inf, high=np.inf, targeted=False):
    step = epsilon * np.sign(gradient(model, x, label))
    return np.clip(x - step if targeted else x + step, low, high)


def project(x, moved, epsilon, norm, low=-np.inf, high=np.inf):
    """To the ball, then to the bounds."""
    delta = moved - x
    if norm == "linf":
        delta = np.minimum(np.maximum(delta, -epsilon), epsilon)
    elif np.linalg.norm(delta) > epsilon:
        delta = delta / np.linalg.norm(delta) * epsilon
    return np.minimum(np.maximum(x + delta, low), high)


def uphill(G, norm):
    return np.sign(G) if norm == "linf" else G / np.linalg.norm(G)


def pgd(model, x, label, start, epsilon, norm, steps, step_size, low=-np.inf, high=np.inf):
    """The iterate of the highest cross entropy."""
    met = [start]
    for _ in range(steps):
        step = step_size * uphill(gradient(model, met[-1], label), norm)
        met.append(project(x, met[-1] + step, epsilon, norm, low, high))
    return max(met, key=lambda moved: cross_entropy(model, moved, label))


def quadratic(Q, x):
    """Outputs x' Q_k x / 2."""
    return np.array([x @ q @ x / 2 for q in Q])


def saliency(Q, x, target):
    return np.abs(Q[target] @ x)


def explanation_attack(Q, x, target, start, epsilon, norm, steps, step_size, gamma, goal=None):
    """The best iterate of the same class, by its map and its outputs; and which part of the iterates kept the class."""
    before, outputs = saliency(Q, x, target), quadratic(Q, x)
    wanted = before if goal is None else goal
    wanted = wanted / np.linalg.norm(wanted)
    sign = 1 if goal is None else -1
    weight = gamma / np.sum(outputs**2)

    def worth(moved):
        h = saliency(Q, moved, target)
        distance = np.linalg.norm(h / np.linalg.norm(h) - wanted)
        return sign * distance**2 - weight * np.sum((quadratic(Q, moved) - outputs) ** 2)

    def slope(moved):
        h = saliency(Q, moved, target)
        size = np.linalg.norm(h)
        u = h / size
        of_map = 2 * ((u - wanted) - u * (u @ (u - wanted))) / size
        of_x = Q[target] @ (np.sign(Q[target] @ moved) * of_map)
        change = quadratic(Q, moved) - outputs
        of_outputs = sum(2 * c * (q @ moved) for c, q in zip(change, Q, strict=True))
        return sign * of_x - weight * of_outputs

    met = [start]
    for _ in range(steps):
        step = step_size * uphill(slope(met[-1]), norm)
        met.append(project(x, met[-1] + step, epsilon, norm))
    kept = [moved for moved in met if quadratic(Q, moved).argmax() == outputs.argmax()]
    return max([x, *kept], key=worth), len(kept) / len(met)
