"""Sparseness (Chalasani et al., ICML 2020; arXiv:1810.06583v9, section 5), the Gini index.

Notation: a_(1) <= ... <= a_(d) the magnitudes of the attribution in rising order.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._sorting import ascending
from xaijax.metrics._magnitudes import magnitudes
from xaijax.metrics._metric import metric


@metric("complexity", "higher")
def sparseness(attribution: Float[Array, "*shape"]) -> Float[Array, ""]:
    r"""How few features hold the attribution: the Gini index of its magnitudes.

    .. math::
        G = 1 - 2 \sum_{k=1}^d \frac{|a|_{(k)}}{\lVert a \rVert_1} \frac{d - k + \frac12}{d}

    Differs from the paper in nothing.

    Args:
      attribution: what is judged, any shape.

    Returns:
      The index, 0-d: 0 if all magnitudes are equal, (d - 1) / d if all but one are zero; NaN if all are. The same for
      any multiple of the attribution. Higher is sparser.

    Raises:
      ValueError: the attribution is not finite (traced: NaN) or empty.
      TypeError: it is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> sparseness(jnp.array([0.0, 0.0, 3.0, 0.0]))
      Array(0.75, dtype=float32)
      >>> sparseness(jnp.array([2.0, -2.0]))
      Array(0., dtype=float32)

    References:
      chalasani2020concise
    """
    a = ascending(magnitudes(attribution))
    d = a.size
    k = jnp.arange(1, d + 1, dtype=a.dtype)
    return 1 - 2 * (a / a.sum() * (d - k + 0.5) / d).sum()
