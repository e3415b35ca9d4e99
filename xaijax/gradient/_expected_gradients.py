"""Expected gradients (Erion et al., Nature Machine Intelligence 2021; arXiv:1906.10670v2), also known as GradientSHAP.

Notation: y the score of the target, x the input, D the set of baselines x'.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._explainer import explainer
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Target
from xaijax.core._score_gradient import input_gradient
from xaijax.gradient._path import between, mean_of, stacked


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("num_samples", "batch_size"),
    baselines=("baselines",),
)
def expected_gradients(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    baselines: Any,
    num_samples: int = 200,
    batch_size: int | None = None,
) -> Float[Array, "*shape"]:
    r"""Expected gradients: integrated gradients, its mean over random baselines and random points of their lines.

    .. math::
        \mathop{\mathbb{E}}_{x' \sim D, \, \alpha \sim U(0, 1)} \left[
        (x - x') \odot \frac{\partial y}{\partial x}\big(x' + \alpha (x - x')\big) \right]

    One gradient for each sample, whatever the number of baselines; of few baselines `integrated_gradients` takes the
    exact mean.

    Differs from the paper in nothing; GradientSHAP of other libraries adds noise to the input, see `smooth_grad`.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one float array.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      key: decides the samples; the same for a whole batch means the same samples for all.
      baselines: the set they are drawn from, with replacement, `(n, *x.shape)`: a part of the training data.
      num_samples: how many gradients. Static.
      batch_size: how many are evaluated at once; by default what stays in the cache. Static.

    Returns:
      One signed number for each element of `x`, in units of the score. In expectation they sum to the score of `x`
      less the mean score of the baselines.

    Raises:
      ValueError: the baselines have another shape or are not finite; and as `saliency`.
      TypeError: as `saliency`; `baselines` is missing, or `key` is no typed key.

    Examples:
      >>> f = lambda x: x * jnp.array([2.0, 3.0])
      >>> rows = jnp.array([[1.0, 5.0], [1.0, 7.0]])
      >>> expected_gradients(f, jnp.array([4.0, 0.0]), 0, jax.random.key(0), baselines=rows)
      Array([6., 0.], dtype=float32)

    References:
      erion2021improving
    """
    gradient = input_gradient("expected_gradients", f, target)
    rows = stacked(baselines, x)
    wide = jnp.promote_types(x.dtype, jnp.float32)

    def term(sample: Array) -> Array:
        which, where = jax.random.split(jax.random.fold_in(key, sample))
        start = rows[jax.random.randint(which, (), 0, len(rows))]
        alpha = jax.random.uniform(where, (), wide)
        return ((x - start) * gradient(between(start, x, alpha))).astype(wide)

    chunk = chunk_size("expected_gradients", batch_size, num_samples, x)
    return mean_of(term, x, num_samples, chunk)
