r"""Minimal filtering: a 3x3 convolution with 16 instead of 36 multiplications for 2x2 outputs.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016 (arXiv:1509.09308).

Notation as in the paper, section 4.1: :math:`d`, a tile of 4x4 inputs of a channel; tiles overlap by two; :math:`g`,
the kernel of a pair of channels; :math:`Y`, the tile's 2x2 outputs:

.. math:: Y = A^T \left[ \sum_c (G g_c G^T) \odot (B^T d_c B) \right] A

Each place of a transformed tile is a matrix product over channels, of all tiles. They are computed a row of the tile at
a time, so that little has to be kept.

A sum is rounded relative to the largest value of its tile, not to its own terms: what is 0 by the convolution is about
1e-7 of what lies beside it. Of the maps of a network that is as good; a rule that divides one by another wants the
convolution.

References:
    lavin2016fast
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

_B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def minimal_filtering(
    x: Array,
    kernel: Array,
    kernel_axes: Sequence[int],
    padding: Sequence[tuple[int, int]],
    convolve: Callable[[Array, Array], Array],
) -> Array:
    """Convolve images, channels last, with a 3x3 kernel.

    Args:
      x: the images.
      kernel: the kernel in any layout; transposing one costs more than a product does.
      kernel_axes: which axes of it are height, width, input and output channels.
      padding: how many zeros before and after each axis of an image.
      convolve: the convolution itself, for the derivative, which is then one of convolutions, too.
    """
    how = tuple(kernel_axes), tuple(map(tuple, padding))
    filtered = jax.custom_jvp(lambda x, kernel: _filter(x, kernel, *how))

    def derivative(primals: Any, tangents: Any) -> tuple[Array, Array]:
        (x, kernel), (dx, dkernel) = primals, tangents
        terms = [] if isinstance(dx, SymbolicZero) else [convolve(dx, kernel)]
        terms += [] if isinstance(dkernel, SymbolicZero) else [convolve(x, dkernel)]
        return filtered(x, kernel), sum(terms[1:], terms[0])

    filtered.defjvp(derivative, symbolic_zeros=True)
    return filtered(x, kernel)


# Compiled apart only to be traced once for all layers of one shape.
@functools.partial(jax.jit, static_argnames=("kernel_axes", "padding"))
def _filter(
    x: Array, kernel: Array, kernel_axes: tuple[int, ...], padding: tuple[tuple[int, int], ...]
) -> Array:
    (n, *size, channels), (high, wide, to_sum, features) = x.shape, kernel_axes
    height, width = (s + sum(p) - 2 for s, p in zip(size, padding, strict=True))
    rows, columns = -(-height // 2), -(-width // 2)
    # An odd output gets a row or a column more, which is cut off again.
    (top, bottom), (left, right) = padding
    ends = (top, bottom + 2 * rows - height, 0), (left, right + 2 * columns - width, 0)
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
    d = [padded[:, i : i + 2 * rows - 1 : 2] for i in range(4)]
    g = [lax.index_in_dim(kernel, i, high, keepdims=False) for i in range(3)]
    wide, to_sum, features = (axis - (axis > high) for axis in (wide, to_sum, features))
    contracted = 1 + to_sum - (to_sum > wide)

    def row(i: int) -> Array:
        """Row i of the products, transformed back along the row."""
        Bd, Gg = _combine(_B_T[i], d), _combine(_G[i], g)
        V = _stack(_B_T, [Bd[:, :, j : j + 2 * columns - 1 : 2] for j in range(4)], 0)
        U = _stack(_G, [lax.index_in_dim(Gg, j, wide, keepdims=False) for j in range(3)], 0)
        products = lax.dot_general(
            V.reshape(4, -1, channels), U, (((2,), (contracted,)), ((0,), (0,)))
        )
        return _stack(_A_T, list(products.reshape(4, n, rows, columns, -1)), 3)

    Y = _stack(_A_T, [row(i) for i in range(4)], 2)
    return Y.reshape(n, 2 * rows, 2 * columns, -1)[:, :height, :width]


def _combine(weights: np.ndarray, values: Sequence[Array]) -> Array:
    """The weighted sum of arrays, without those of weight 0."""
    terms = [float(w) * value for w, value in zip(weights, values, strict=True) if w]
    return sum(terms[1:], terms[0])


def _stack(T: np.ndarray, values: Sequence[Array], axis: int) -> Array:
    """A new axis of the rows of T v, for a vector v of arrays."""
    shape = [-1 if i == axis else 1 for i in range(values[0].ndim + 1)]
    columns = [jnp.asarray(column.reshape(shape)) for column in T.T]
    terms = [c * jnp.expand_dims(v, axis) for c, v in zip(columns, values, strict=True)]
    return sum(terms[1:], terms[0])
