"""The share of high frequencies in a map, an index of its noise.

The definition is ours. That maps of gradients hold more energy at high frequencies than those of black-box methods, and
that much of it is an artifact, is from Muzellec et al. (ICML 2024; arXiv:2307.09591v4). Notation: A the Fourier
transform of the map a, k a frequency in cycles per pixel, at most 1/2 along each axis.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.metrics._metric import metric
from xaijax.metrics._total_variation import scaled_map


@metric("complexity", "lower", fraction=("cutoff",))
def high_frequency_share(
    attribution: Float[Array, "h w *c"], *, cutoff: float = 0.5
) -> Float[Array, ""]:
    r"""How noisy a map is: which part of its energy lies at high frequencies.

    .. math:: \frac{\sum_{\lVert k \rVert_2 > c/2} |A_k|^2}{\sum_k |A_k|^2}

    The mean of the map is its frequency 0, and counts as energy. Differs from the paper in that it is a number for one
    map at one cutoff, not a spectrum over many.

    Args:
      attribution: what is judged, an image map `(h, w)`; or `(h, w, c)`, and then all channels count.
      cutoff: c, where high frequencies begin, as a part of the highest along an axis (Nyquist's).

    Returns:
      The share, 0-d, between 0 (a flat map) and 1 (a chessboard of 1 and -1); of white noise without a mean about
      :math:`1 - \pi c^2 / 4`; NaN if the map is all zero. The same for any multiple of the attribution. Lower is
      smoother.

    Raises:
      ValueError: the attribution is no image map, not finite (traced: NaN) or empty, or `cutoff` is not between 0 and
        1.
      TypeError: it is not one float array.

    Examples:
      >>> import jax.numpy as jnp
      >>> high_frequency_share(jnp.array([[1.0, -1.0], [1.0, -1.0]]))
      Array(1., dtype=float32)
      >>> high_frequency_share(jnp.array([[1.0, 0.0], [1.0, 0.0]]))
      Array(0.5, dtype=float32)

    References:
      muzellec2024saliency
    """
    a = scaled_map("high_frequency_share", attribution)
    energy = jnp.abs(jnp.fft.fft2(a, axes=(0, 1))) ** 2
    energy = energy.reshape(*a.shape[:2], -1).sum(-1)
    rows, columns = (jnp.fft.fftfreq(n).astype(a.dtype) for n in a.shape[:2])
    high = jnp.hypot(rows[:, None], columns) > cutoff / 2
    return jnp.where(high, energy, 0).sum() / energy.sum()
