r"""Integrals along a path to the input, by a quadrature: :math:`\int_0^1 h(u) du \approx \sum_k w_k h(u_k)`.

Notation of this folder: x the input, x' the baseline, gamma(alpha) = x' + alpha (x - x') the straight line between
them.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from xaijax.core import _progress
from xaijax.core._errors import complaint
from xaijax.core._sampling import chunk_size, moments

Quadrature = Literal["gauss_legendre", "midpoint"]


def line_integral(
    where: str,
    integrand: Callable[[Array, Array], Any],
    like: Any,
    x: Array,
    baseline: Any,
    num_steps: int,
    quadrature: Quadrature,
    batch_size: int | None,
) -> Any:
    """The integral of `integrand(gamma(alpha), x - x')` over alpha; its mean over several baselines.

    It has the dtype of `like`, in which the integrand is computed; its terms are summed in single precision at least.
    """
    nodes, weights = quadrature_rule(where, quadrature, num_steps, x.dtype)
    stack = stacked(baseline, x)

    def term(k: Array) -> Any:
        start, step = stack[k // num_steps], k % num_steps
        term = integrand(between(start, x, nodes[step]), x - start)
        return jax.tree.map(lambda h: num_steps * weights[step] * h, term)

    count = len(stack) * num_steps
    return mean_of(term, like, count, chunk_size(where, batch_size, count, x))


def integral_of_differences(
    where: str,
    activation_and_gradient: Callable[[Array], tuple[Any, Any]],
    x: Array,
    baseline: Any,
    num_steps: int,
    batch_size: int | None,
) -> Any:
    """The integral of G dA along the line, by the trapezoidal rule; its mean over several baselines.

    Each point is evaluated once: what a chunk of them begins with is the last point of the chunk before.
    """
    stack = stacked(baseline, x)
    chunk = chunk_size(where, batch_size, num_steps + 1, x)
    chunks = math.ceil((num_steps + 1) / chunk)
    # Filled up with copies of the baseline, in front: between those nothing changes.
    k = jnp.maximum(jnp.arange(chunks * chunk) - (chunks * chunk - num_steps - 1), 0)
    alphas = k.astype(jnp.promote_types(x.dtype, jnp.float32)).reshape(chunks, chunk) / num_steps

    def point(start: Array, alpha: Array) -> tuple[Any, Any]:
        return in_single_precision(activation_and_gradient(between(start, x, alpha)))

    def body(carry: tuple[Any, Any], i: Array) -> tuple[tuple[Any, Any], None]:
        total, last = carry
        found = jax.vmap(point, (None, 0))(stack[i // chunks], alphas[i % chunks])
        _progress.report(chunk)
        # The first chunk of a baseline has no point before it.
        before = jax.tree.map(lambda a, b: jnp.where(i % chunks == 0, a[0], b), found, last)
        A, G = jax.tree.map(lambda b, a: jnp.concatenate([b[None], a]), before, found)
        parts = jax.tree.map(lambda A, G: ((G[1:] + G[:-1]) * (A[1:] - A[:-1])).sum(0), A, G)
        return (jax.tree.map(jnp.add, total, parts), jax.tree.map(lambda a: a[-1], found)), None

    like = jax.eval_shape(activation_and_gradient, x)
    nothing = in_single_precision(jax.tree.map(jnp.zeros_like, like))
    (total, _), _ = lax.scan(body, (nothing[0], nothing), jnp.arange(len(stack) * chunks))
    return jax.tree.map(lambda a, t: (t / (2 * len(stack))).astype(a.dtype), like[0], total)


def in_single_precision(arrays: Any) -> Any:
    """Or in double, if they are in that."""
    return jax.tree.map(lambda a: a.astype(jnp.promote_types(a.dtype, jnp.float32)), arrays)


def quadrature_rule(
    where: str, quadrature: Quadrature, num_steps: int, dtype: Any
) -> tuple[Array, Array]:
    """Nodes in (0, 1) and weights that sum to 1, in single precision at least."""
    if quadrature == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(num_steps)
        nodes, weights = (nodes + 1) / 2, weights / 2
    elif quadrature == "midpoint":
        nodes = (np.arange(num_steps) + 0.5) / num_steps
        weights = np.full(num_steps, 1 / num_steps)
    else:
        rule = "be 'gauss_legendre' or 'midpoint'"
        raise ValueError(complaint(where, "quadrature", rule, repr(quadrature)))
    dtype = jnp.promote_types(dtype, jnp.float32)
    return jnp.asarray(nodes, dtype), jnp.asarray(weights, dtype)


def stacked(baseline: Any, x: Array) -> Array:
    """One baseline, or several, as a stack `(n, *x.shape)`."""
    baseline = jnp.asarray(baseline, x.dtype)
    return baseline if baseline.ndim > x.ndim else jnp.broadcast_to(baseline, (1, *x.shape))


def between(start: Array, x: Array, alpha: Array) -> Array:
    """The point gamma(alpha) on the line from the baseline to the input."""
    return (start + alpha * (x - start)).astype(x.dtype)


def mean_of(term: Callable[[Array], Any], like: Any, count: int, chunk: int) -> Any:
    """The mean of `term(0), ..., term(count - 1)`, `chunk` of them at a time, in the dtype of `like`."""
    found = moments(term, jnp.arange(count), chunk)
    return jax.tree.map(lambda a, m: m.mean.astype(a.dtype), like, found)
