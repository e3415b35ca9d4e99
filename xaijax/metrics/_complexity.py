"""Complexity (Bhatt, Weller & Moura, IJCAI 2020; arXiv:2005.00631v1), an entropy.

Notation: p_i the part of the attribution that feature i has, by magnitude.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.metrics._magnitudes import magnitudes
from xaijax.metrics._metric import metric


@metric("complexity", "lower")
def complexity(attribution: Float[Array, "*shape"]) -> Float[Array, ""]:
    r"""Over how many features the attribution is spread: the entropy of its magnitudes.

    .. math:: -\sum_i p_i \ln p_i, \qquad p_i = \frac{|a_i|}{\lVert a \rVert_1}

    Differs from the paper in nothing. From Quantus in that nothing is added to the parts to avoid the logarithm of 0: a
    feature without attribution adds nothing to the entropy.

    Args:
      attribution: what is judged, any shape.

    Returns:
      The entropy, 0-d, in nats: 0 if one feature has all of the attribution, ln d if all magnitudes are equal; NaN if
      all are zero. The same for any multiple of the attribution. Lower is simpler.

    Raises:
      ValueError: the attribution is not finite (traced: NaN) or empty.
      TypeError: it is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> complexity(jnp.array([0.0, 0.0, 3.0, 0.0]))
      Array(0., dtype=float32)
      >>> complexity(jnp.array([2.0, -2.0])) / jnp.log(2.0)
      Array(1., dtype=float32)

    References:
      bhatt2020evaluating
    """
    a = magnitudes(attribution)
    p = a / a.sum()
    # 0 ln 0 = 0; the logarithm is of 1 there, since a NaN would stay in the derivative.
    return (-p * jnp.log(jnp.where(p == 0, 1, p))).sum()
