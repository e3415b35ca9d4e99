"""Average drop, coherency and complexity, ADCC (Poppi et al., CVPR Workshops 2021; arXiv:2104.10252).

Notation: x the input, L(x) its map in [0, 1], Y and O the scores of x and of x times L(x).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._inputs import check_attribution, check_float, model_of
from xaijax.core._layers import image_axes
from xaijax.core._maps import resize
from xaijax.core._score import Target
from xaijax.metrics._confidence import confidence, scaled
from xaijax.metrics._correlation import pearson
from xaijax.metrics._features import positions
from xaijax.metrics._metric import metric


class Adcc(NamedTuple):
    """The parts of ADCC.

    Attributes:
      value: the harmonic mean of `coherency`, 1 - `complexity` and 1 - `drop`.
      coherency: how alike the maps of the input and of what the map shows of it are: 1 the same, 0 opposites.
      complexity: the mean of the map in [0, 1].
      drop: the part of the score that is lost where only what the map points at is shown.
      degenerate: whether one of the maps is constant, and `coherency` 0 for want of a correlation.
    """

    value: Float[Array, ""]
    coherency: Float[Array, ""]
    complexity: Float[Array, ""]
    drop: Float[Array, ""]
    degenerate: Bool[Array, ""]


@metric("faithfulness", "higher", read="value", static=("link",))
def adcc(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    link: Callable[[Array], Array] | None = jax.nn.softmax,
) -> Adcc:
    r"""Whether a map shows what counts, little else, and the same again when it is shown alone.

    .. math::
        3 \left( \frac{1}{C} + \frac{1}{1 - K} + \frac{1}{1 - D} \right)^{-1}, \quad
        C = \frac{1 + \rho(L(x), L(x \odot L(x)))}{2}, \quad K = \overline{L(x)}, \quad D = \frac{\max(0, Y - O)}{Y}

    with Pearson's correlation, the mean of the map, and the drop of `average_drop`. It is 0 where one of the three is:
    a map that shows everything is too complex, and one that shows nothing loses the score.

    Differs from the paper in saying how a map comes into [0, 1]: what is negative is 0, the highest is 1, after it was
    resized to the image; in both maps. A constant map has no correlation; its coherency is 0. Differs from
    published code that computes 1 / 1 - K for 1 / (1 - K), and so may exceed 1, or the complexity of a map whose rows
    were divided by their sums, which is the same for every map.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained, of what the map shows, too: an output's index, float weights over the outputs, or a
        function of them. The paper takes the class predicted for `x`.
      key: what the explainer draws, the same both times; one that does not draw ignores it.
      link: what makes probabilities, whose drop is measured, of the model's outputs; `None` if they are such, or if
        another score is to be. Static.

    Returns:
      The harmonic mean, 0-d, from 0 to 1; NaN if the score of `x` is not positive. Higher is better. `adcc.details`
      takes the same arguments and gives the parts.

    Raises:
      ValueError: the map fits `x` neither as it is nor resized; and as the explainer.
      TypeError: `explain` is not a bound explainer, gives several maps, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> explain = xaijax.bind(xaijax.input_x_gradient, lambda x: jnp.stack([x @ jnp.array([1.0, 1.0, -1.0])]))
      >>> x = jnp.array([2.0, 1.0, 1.0])  # the map is (1, 1/2, 0), and (1, 1/8, 0) where it is shown alone
      >>> xaijax.metrics.adcc.details(explain, x, 0, jax.random.key(0), link=None).complexity
      Array(0.5, dtype=float32)

    References:
      poppi2021revisiting
    """
    where = "adcc"
    check_float(where, x)
    f = model_of(where, explain)
    model = f if link is None else lambda x: link(f(x))

    def explained(x: Array) -> Array:
        a = explain(x, target, *([key] if explain.takes_key else []))
        check_attribution(where, "attribution", a)
        return scaled(_as_large_as(where, f, x, a))

    L = explained(x)
    shown = positions(where, f, x, L).over_channels(L) * x
    again = explained(shown.astype(x.dtype))
    constant = (L.max() == L.min()) | (again.max() == again.min())
    coherency = jnp.where(constant, 0, (1 + pearson(L.ravel(), again.ravel())) / 2)
    left = confidence(where, model, x, target, [L])
    complexity, drop = left.area[0], left.drop[0]
    value = harmonic(coherency, 1 - complexity, 1 - drop)
    return Adcc(value, coherency, complexity, drop, constant)


def _as_large_as(where: str, f: Callable[[Any], Any], x: Array, a: Array) -> Array:
    """A map at a layer's size, resized to the image; any other as it is."""
    if a.ndim != 2 or x.ndim != 3:
        return a
    axes = image_axes(where, f, x)
    size = x.shape[axes.height], x.shape[axes.width]
    return a if a.shape == size else resize(a, size)


def harmonic(*parts: Float[Array, ""]) -> Float[Array, ""]:
    """The harmonic mean of numbers that are not negative; 0 if one of them is 0."""
    a = jnp.stack(parts)
    gone = (a <= 0).any()
    return jnp.where(gone, 0, a.size / (1 / jnp.where(gone, 1, a)).sum())
