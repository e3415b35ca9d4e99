"""The number of features that an explanation names; what Quantus computes as effective complexity.

Nguyen & Martinez (arXiv:2007.07584v1) define effective complexity by the model: see `effective_complexity`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.metrics._magnitudes import magnitudes
from xaijax.metrics._metric import metric


@metric("complexity", "lower", not_negative=("threshold",))
def active_features(
    attribution: Float[Array, "*shape"], *, threshold: float = 1e-5
) -> Float[Array, ""]:
    r"""How many features have an attribution worth the name.

    .. math:: \#\{ i : |a_i| > \tau \max_j |a_j| \}

    Differs from Quantus, which calls this effective complexity and divides by the largest of the whole batch, in that
    the threshold is a part of the example's own largest magnitude.

    Args:
      attribution: what is judged, any shape.
      threshold: :math:`\tau`, as a part of the largest magnitude. The default is Quantus'.

    Returns:
      The number, 0-d, from 1 to the number of features; NaN if all attributions are zero. The same for any multiple of
      the attribution. Lower is simpler.

    Raises:
      ValueError: the attribution is not finite (traced: NaN) or empty, or `threshold` < 0.
      TypeError: it is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> active_features(jnp.array([4.0, 0.0, -2.0, 1.0]))
      Array(3., dtype=float32)
      >>> active_features(jnp.array([4.0, 0.0, -2.0, 1.0]), threshold=0.25)
      Array(2., dtype=float32)

    References:
      nguyen2020quantitative
    """
    a = magnitudes(attribution)
    count = (a > threshold).sum().astype(a.dtype)
    return jnp.where(jnp.isnan(a).any(), jnp.nan, count)
