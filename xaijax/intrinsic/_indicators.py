"""How concentrated a map is: the indicators of CAM fostering (Schöttl 2020, arXiv:2009.12546v1).

Notation: L the positive part of a map, Z the number of its positions, p = L / sum(L) the part that a position has.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from xaijax.core._errors import complaint
from xaijax.core._tree import is_array


def entropy(saliency: Float[Array, "*shape"]) -> Float[Array, ""]:
    r"""Over how many positions a map is spread: c_e, the term that CAM fostering trains.

    .. math:: c_e = -\sum_i p_i \ln p_i, \qquad p_i = \frac{L_i}{\sum_j L_j}

    What speaks against the target (values below zero) has no part. A map without a positive value has entropy 0, with
    a derivative of 0; so has an element of 0, at which :math:`p \ln p` has none.

    Args:
      saliency: the map, any shape.

    Returns:
      The entropy, 0-d, in nats: from 0, for one position, to ln Z, for an even map. The same for any multiple of the
      map. Lower is more concentrated.

    Raises:
      TypeError: it is not one float array.

    Examples:
      >>> entropy(jnp.array([[0.0, 0.0], [3.0, -1.0]]))
      Array(0., dtype=float32)
      >>> entropy(jnp.ones((2, 2))) / jnp.log(2.0)
      Array(2., dtype=float32)

    References:
      schottl2020fostering
    """
    p, vanished = parts("entropy", saliency)
    found = (-p * jnp.log(jnp.where(p > 0, p, 1.0))).sum()
    return jnp.where(vanished, 0.0, found)


def ellipse_area(saliency: Float[Array, "h w"]) -> Float[Array, ""]:
    r"""How much space a map takes: c_a, the area of its ellipse of inertia, without the factor of pi.

    .. math:: c_a = \sqrt{\lambda_1 \lambda_2} = \sqrt{\det \Sigma}, \qquad
        \Sigma = \sum_i p_i (r_i - \bar r)(r_i - \bar r)^T

    with the row and column :math:`r_i` of a position.

    Args:
      saliency: the map, `(h, w)`.

    Returns:
      The area, 0-d, in positions: :math:`\sigma_1 \sigma_2` for a Gaussian within the map; 0 for one position, for a
      line, and for a map without a positive value. Lower is more concentrated.

    Raises:
      TypeError: it is not one float array.
      ValueError: it has other than two axes.

    Examples:
      >>> ellipse_area(jnp.ones((2, 2)))  # both variances are 1/4
      Array(0.25, dtype=float32)

    References:
      schottl2020fostering
    """
    p, _ = parts("ellipse_area", saliency)
    if p.ndim != 2:
        got = f"shape {p.shape}"
        raise ValueError(complaint("ellipse_area", "saliency", "be a map (h, w)", got))
    rows, columns = (jnp.arange(n, dtype=p.dtype) for n in p.shape)
    by_row, by_column = p.sum(1), p.sum(0)
    u = rows - (by_row * rows).sum()
    v = columns - (by_column * columns).sum()
    determinant = (by_row * u**2).sum() * (by_column * v**2).sum() - (u @ p @ v) ** 2
    positive = determinant > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, determinant, 1.0)), 0.0)


def dispersion(saliency: Float[Array, "*shape"]) -> Float[Array, ""]:
    r"""How much the values of a map differ: c_d, their variance over their squared mean.

    .. math:: c_d = \frac{\sigma^2}{\mu^2}

    Differs from the source in that nothing is added to :math:`\mu^2`, so that any multiple of a map has the same.

    Args:
      saliency: the map, any shape.

    Returns:
      The dispersion, 0-d: from 0, for an even map, to Z - 1, for one position; 0 for a map without a positive value.
      Higher is more distinct.

    Raises:
      TypeError: it is not one float array.

    Examples:
      >>> dispersion(jnp.array([[0.0, 0.0], [3.0, 0.0]]))
      Array(3., dtype=float32)

    References:
      schottl2020fostering
    """
    p, vanished = parts("dispersion", saliency)
    return jnp.where(vanished, 0.0, p.size * (p**2).sum() - 1.0)  # the mean of p is 1/Z


def contrast(saliency: Float[Array, "*shape"]) -> Float[Array, ""]:
    r"""How far the active positions of a map stand out from the others.

    .. math:: \frac{m_a - m_i}{m_a + m_i}

    with the means :math:`m_a` of the active positions, where the map is at least half as high as at its highest, and
    :math:`m_i` of the inactive ones. Which positions count as active is this library's choice.

    Args:
      saliency: the map, any shape.

    Returns:
      The contrast, 0-d, from 0 to 1: 1 if the inactive positions have nothing; 0 if all are active, and for a map
      without a positive value. Higher is more distinct.

    Raises:
      TypeError: it is not one float array.

    Examples:
      >>> contrast(jnp.array([[3.0, 1.0]]))
      Array(0.5, dtype=float32)

    References:
      schottl2020fostering
    """
    p, vanished = parts("contrast", saliency)
    active = 2 * p >= p.max()
    count = active.sum()
    high = jnp.where(active, p, 0.0).sum() / jnp.maximum(count, 1)
    low = jnp.where(active, 0.0, p).sum() / jnp.maximum(p.size - count, 1)
    flat = vanished | (count == p.size)
    return jnp.where(flat, 0.0, (high - low) / jnp.where(flat, 1.0, high + low))


def parts(where: str, saliency: Array) -> tuple[Float[Array, "*shape"], Bool[Array, ""]]:
    """The part of the positive values that each position has, in single precision at least; and whether there are none.

    All parts are zero then.
    """
    if not is_array(saliency) or not jnp.issubdtype(jnp.result_type(saliency), jnp.floating):
        got = type(saliency).__name__
        raise TypeError(complaint(where, "saliency", "be one float array", got))
    a = jnp.asarray(saliency)
    positive = jax.nn.relu(a.astype(jnp.promote_types(a.dtype, jnp.float32)))
    total = positive.sum()
    # Below the smallest normal number XLA rounds to zero.
    vanished = total < jnp.finfo(positive.dtype).tiny
    return positive / jnp.where(vanished, 1.0, total), vanished
