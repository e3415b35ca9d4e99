"""Blur integrated gradients (Xu, Venugopalan & Sundararajan, CVPR 2020; arXiv:2004.03383v2).

Notation: y the score of the target, x the image, L(sigma) the image blurred by a Gaussian of standard deviation sigma.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float
from xaijax.core._layers import image_axes
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target
from xaijax.core._score_gradient import input_gradient
from xaijax.gradient._path import mean_of, quadrature_rule


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("num_steps", "batch_size"),
    positive=("max_sigma",),
)
def blur_integrated_gradients(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    max_sigma: float = 50.0,
    num_steps: int = 100,
    batch_size: int | None = None,
) -> Float[Array, "*shape"]:
    r"""Integrated gradients on the path of ever less blurred images: it needs no baseline.

    .. math::
        -\int_0^{\sigma_{max}} \frac{\partial y}{\partial L}\big(L(\sigma)\big) \odot
        \frac{\partial L}{\partial \sigma} \, d\sigma, \qquad L(0) = x

    One gradient for each step. An integral along a path does not depend on how fast the path is walked: the steps are
    short where little is blurred, :math:`\sigma = \sigma_{max} u^2` with Gauss-Legendre nodes :math:`u`.

    Differs from the paper in the blur and its derivative, which is exact and not a finite difference. The blur is the
    diffusion of the mirrored image, a product of its cosine transform with :math:`e^{-\sigma^2 \omega^2 / 2}`: a smooth
    function of sigma, whose end is the mean of each channel. The reference code cuts the Gaussian off and pads with
    zeros, so that its path ends in the dark.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: an image, in any layout the model takes.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      max_sigma: the standard deviation of the strongest blur, in pixels.
      num_steps: how many points of the path. Static.
      batch_size: how many points are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each element of `x`, in units of the score. They sum to :math:`y(x) - y(L(\sigma_{max}))`
      up to the quadrature's error.

    Raises:
      ValueError: `max_sigma` <= 0; and as `saliency`.
      TypeError: `x` is no image; and as `saliency`.

    Examples:
      >>> f = lambda x: x.sum((0, 1))
      >>> x = jnp.array([[[0.0], [4.0]]])  # blurred to its mean
      >>> found = blur_integrated_gradients(f, x, 0)
      >>> [f"{a:.3f}" for a in found.ravel()]
      ['-2.000', '2.000']

    References:
      xu2020attribution
    """
    check_float("blur_integrated_gradients", x)
    gradient = input_gradient("blur_integrated_gradients", f, target)
    path = blurred(x, image_axes("blur_integrated_gradients", f, x)[:2])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    nodes, weights = quadrature_rule(
        "blur_integrated_gradients", "gauss_legendre", num_steps, x.dtype
    )

    def at(u: Array) -> Array:
        return path(jnp.asarray(max_sigma, wide) * u**2)

    def term(k: Array) -> Array:
        L, dL = jax.jvp(at, (nodes[k],), (num_steps * weights[k],))
        return -dL * gradient(L.astype(x.dtype))

    chunk = chunk_size("blur_integrated_gradients", batch_size, num_steps, x)
    return mean_of(term, x, num_steps, chunk)


def blurred(x: Array, axes: tuple[int, ...]) -> Callable[[Array], Array]:
    """The function sigma -> L(sigma), a Gaussian blur over some axes; beyond its edges the image is mirrored."""
    wide = jnp.promote_types(x.dtype, jnp.float32)
    spectrum = jax.scipy.fft.dctn(x.astype(wide), axes=axes, norm="ortho")

    def frequencies(axis: int) -> Array:
        n = x.shape[axis]
        return jnp.expand_dims(
            jnp.pi * jnp.arange(n, dtype=wide) / n, [a for a in range(x.ndim) if a != axis]
        )

    omega_squared: Any = sum(frequencies(axis) ** 2 for axis in axes)

    def at(sigma: Array) -> Array:
        # The transform of a Gaussian.
        return jax.scipy.fft.idctn(
            jnp.exp(-(sigma**2) * omega_squared / 2) * spectrum, axes=axes, norm="ortho"
        )

    return at
