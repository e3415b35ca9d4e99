"""SmoothGrad (Smilkov et al., 2017; arXiv:1706.03825), SmoothGrad-Squared and VarGrad, of any explainer.

Notation: x the input, M_c(x) its attribution for the target c, n the number of samples, sigma the noise as a part of
the range of x.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from xaijax.core._binding import Bound
from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float
from xaijax.core._sampling import Moments, chunk_size, moments, normals
from xaijax.core._score import Target


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    not_negative=("sigma",),
)
def smooth_grad(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.15,
    num_samples: int = 50,
    batch_size: int | None = None,
) -> Any:
    r"""The mean attribution of noisy copies of the input: it takes away what flickers.

    .. math::
        \hat{M}_c(x) = \frac{1}{n} \sum_{i=1}^n M_c\big(x + \mathcal{N}(0, \sigma^2 (x_{max} - x_{min})^2)\big)

    With Grad-CAM++ it is Smooth Grad-CAM++.

    Differs from the paper in explaining with any explainer, not only by the gradient.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one array.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: a typed key, `jax.random.key(seed)`.
      sigma: the standard deviation of the noise, as a part of the range of the input's values.
      num_samples: how many noisy copies. Static.
      batch_size: how many copies are explained at once; by default what stays in the cache. Static.

    Returns:
      What the explainer returns, averaged: an attribution, or a tuple of them for several layers.

    Raises:
      ValueError: a number is out of range; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.permutation_shap, lambda x: x * 2.0, num_permutations=1)
      >>> smooth_grad(explain, jnp.array([1.0, 2.0]), 1, jax.random.key(0), sigma=0.0, num_samples=3)
      Array([0., 4.], dtype=float32)

    References:
      smilkov2017smoothgrad, omeiza2019smooth
    """
    found = _over_noise("smooth_grad", explain, x, target, key, sigma, num_samples, batch_size)
    return jax.tree.map(
        lambda m: m.mean.astype(x.dtype), found, is_leaf=lambda m: isinstance(m, Moments)
    )


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    not_negative=("sigma",),
)
def smooth_grad_squared(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.15,
    num_samples: int = 50,
    batch_size: int | None = None,
) -> Any:
    r"""The mean squared attribution of noisy copies of the input.

    .. math::
        \frac{1}{n} \sum_{i=1}^n M_c\big(x + \mathcal{N}(0, \sigma^2 (x_{max} - x_{min})^2)\big)^2

    It ranks what matters, in whichever direction.

    Differs from the paper in explaining with any explainer.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one array.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: a typed key, `jax.random.key(seed)`.
      sigma: the standard deviation of the noise, as a part of the range of the input's values.
      num_samples: how many noisy copies. Static.
      batch_size: how many copies are explained at once; by default what stays in the cache. Static.

    Returns:
      The mean square of what the explainer returns; not negative.

    Raises:
      ValueError: a number is out of range; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.permutation_shap, lambda x: x * 2.0, num_permutations=1)
      >>> smooth_grad_squared(explain, jnp.array([1.0, 2.0]), 1, jax.random.key(0), sigma=0.0, num_samples=3)
      Array([ 0., 16.], dtype=float32)

    References:
      hooker2019benchmark
    """
    found = _over_noise(
        "smooth_grad_squared", explain, x, target, key, sigma, num_samples, batch_size
    )
    return jax.tree.map(
        lambda m: (m.mean**2 + m.squares / m.number).astype(x.dtype),
        found,
        is_leaf=lambda m: isinstance(m, Moments),
    )


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="any",
    static=("num_samples", "batch_size"),
    not_negative=("sigma",),
)
def var_grad(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    sigma: float = 0.15,
    num_samples: int = 50,
    batch_size: int | None = None,
) -> Any:
    r"""The variance of the attributions of noisy copies of the input.

    .. math::
        \frac{1}{n} \sum_{i=1}^n \big(M_c(x + \delta_i) - \hat{M}_c(x)\big)^2, \quad
        \delta_i \sim \mathcal{N}(0, \sigma^2 (x_{max} - x_{min})^2)

    with :math:`\hat{M}_c` the mean, `smooth_grad`. It shows where the explanation is unstable, not what matters.

    Differs from the paper in explaining with any explainer.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one array.
      target: what is explained: an output's index, weights over the outputs, or a function of them.
      key: a typed key, `jax.random.key(seed)`.
      sigma: the standard deviation of the noise, as a part of the range of the input's values.
      num_samples: how many noisy copies. Static.
      batch_size: how many copies are explained at once; by default what stays in the cache. Static.

    Returns:
      The variance of what the explainer returns; not negative.

    Raises:
      ValueError: a number is out of range; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.permutation_shap, lambda x: x * 2.0, num_permutations=1)
      >>> var_grad(explain, jnp.array([1.0, 2.0]), 1, jax.random.key(0), sigma=0.0, num_samples=3)
      Array([0., 0.], dtype=float32)

    References:
      adebayo2018local
    """
    found = _over_noise("var_grad", explain, x, target, key, sigma, num_samples, batch_size)
    return jax.tree.map(
        lambda m: (m.squares / m.number).astype(x.dtype),
        found,
        is_leaf=lambda m: isinstance(m, Moments),
    )


def _over_noise(
    where: str,
    explain: Bound,
    x: Any,
    target: Target,
    key: Array,
    sigma: Any,
    num_samples: int,
    batch_size: int | None,
) -> Any:
    """The moments of the attributions of noisy copies."""
    check_float(where, x)
    spread = sigma * (x.max() - x.min())

    def attribution(sample: Array) -> Any:
        noise, draws = jax.random.split(jax.random.fold_in(key, sample))
        noisy = x + (spread * normals(noise, x.shape, x.dtype)).astype(x.dtype)
        return explain(noisy, target, *([draws] if explain.takes_key else []))

    chunk = chunk_size(where, batch_size, num_samples, x)
    return moments(attribution, jnp.arange(num_samples), chunk)
