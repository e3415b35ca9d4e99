"""Infidelity (Yeh et al., NeurIPS 2019; arXiv:1901.09392v4).

Notation: x the input, a its attribution, I a random perturbation, which is taken from the input, f(x) the score.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._game import Game
from xaijax.core._layers import image_axes
from xaijax.core._lower import lower
from xaijax.core._mask import Mask
from xaijax.core._model import is_black_box
from xaijax.core._sampling import chunk_size, map_chunks, normals, random_bits
from xaijax.core._score import Target, score
from xaijax.metrics._features import features, positions
from xaijax.metrics._metric import metric

#: How the input is perturbed.
Perturbation = Literal["noisy_baseline", "gaussian", "features", "square"]


class Infidelity(NamedTuple):
    """What perturbations do, against what the attribution says of them.

    Attributes:
      value: the infidelity.
      scale: what the attribution has to be multiplied by for the lowest infidelity; 0 for a map of zeros.
      scaled: the infidelity then, which is the one of the authors' code.
      expected: what the attribution says of each perturbation.
      drops: by how much the score falls.
    """

    value: Float[Array, ""]
    scale: Float[Array, ""]
    scaled: Float[Array, ""]
    expected: Float[Array, " n"]
    drops: Float[Array, " n"]


@metric(
    "faithfulness",
    "lower",
    read="value",
    static=("perturbation", "side", "num_samples", "batch_size"),
    positive=("sigma",),
    baseline=("baseline",),
)
def infidelity(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    attribution: Float[Array, "*shape"],
    key: Key[Array, ""],
    *,
    perturbation: Perturbation = "noisy_baseline",
    baseline: Any = 0.0,
    mask: Mask | None = None,
    sigma: float = 0.2,
    side: int | None = None,
    num_samples: int = 100,
    batch_size: int | None = None,
) -> Infidelity:
    r"""How far the attribution is from telling what perturbations do to the score.

    .. math:: \operatorname{E}_I \big[ \big( I^\top a - (f(x) - f(x - I)) \big)^2 \big]

    Which attributions can be judged depends on the perturbation. `"noisy_baseline"`, I = x - baseline - noise, and
    `"gaussian"`, I = noise, are in units of the input, and so the attribution must be per unit of it: a gradient, or
    integrated gradients over x - baseline. `"features"`, which hides each feature by a coin, and `"square"`, which
    hides a square of an image, are zeros and ones: the attribution must be what a feature contributes, as input times
    gradient and Shapley values are.

    This is the definition, of which the units of the attribution are a part. The authors' code multiplies every
    attribution by the number that suits it best first; that is `infidelity.details(...).scaled`. Differs from their
    code in that the noise is not clipped to the range of pixels, and in that squares are drawn, all of one size, not
    enumerated over several.

    Args:
      f: the model, one example to `(num_outputs,)`.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`.
      attribution: what is judged, in the shape of `x`; or without its channels, `(h, w)`, and then a pixel is hidden
        in all of them. With a `mask`, as the mask paints it, or one value per feature.
      key: the perturbations.
      perturbation: `"noisy_baseline"`, `"gaussian"`, `"features"` or `"square"`; with a `mask` always `"features"`.
        Static.
      baseline: what a hidden feature shows: a number, or an array that broadcasts to `x`.
      mask: what the features are and how they are hidden, instead of positions and baseline: `segments`, `columns`,
        `tokens`. A painted attribution is averaged over each feature.
      sigma: the standard deviation of the noise, in units of `x`; the default is the authors' for pixels in [0, 1].
      side: the side of a square, in pixels. By default an eighth of the image's shorter one. Static.
      num_samples: how many perturbations. One evaluation for each, and one for `x`. Static.
      batch_size: evaluations at once; bounds the memory and changes the result by rounding at most. Static.

    Returns:
      The infidelity, 0-d, in units of the score squared, at least 0; NaN if the attribution is not finite. Lower is
      better. `infidelity.details` takes the same arguments and gives the `Infidelity`.

    Raises:
      ValueError: there is no such perturbation, `side` is above that of the image, or `sigma` not above 0; the
        attribution fits neither `x` nor the mask, or is not finite (traced: NaN); `baseline` does not broadcast to `x`;
        a size < 1; `f` gives no vector, or `target` is out of range (traced: NaN).
      TypeError: the attribution or, without a mask, `x` is not one float array, or is no image for a square; or `f`
        cannot be traced.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> f = lambda x: jnp.stack([x @ jnp.array([1.0, 2.0])])
      >>> x, key = jnp.array([1.0, 3.0]), jax.random.key(0)
      >>> bool(infidelity(f, x, 0, jnp.array([1.0, 2.0]), key) < 1e-10)  # the gradient
      True
      >>> infidelity(f, x, 0, jnp.array([1.0, 6.0]), key, perturbation="features")  # input times gradient
      Array(0., dtype=float32)
      >>> infidelity.details(f, x, 0, jnp.array([0.5, 3.0]), key, perturbation="features").scale
      Array(2., dtype=float32)

    References:
      yeh2019fidelity
    """
    where = "infidelity"
    kinds = ("noisy_baseline", "gaussian", "features", "square")
    if perturbation not in kinds:
        rule = f"be one of {', '.join(map(repr, kinds))}"
        raise ValueError(complaint(where, "perturbation", rule, repr(perturbation)))
    if mask is not None or perturbation in ("features", "square"):
        v, values = features(where, f, x, target, attribution, mask, baseline)
        drawn = _coins(values.shape[0])
        if mask is None and perturbation == "square":
            drawn = _square(where, f, x, attribution.shape, side)
        perturb = _removal(v, values, drawn)
        chunk = v.chunk_size(batch_size, num_samples + 1)
    else:
        away = x - jnp.asarray(baseline, x.dtype) if perturbation == "noisy_baseline" else 0
        a = positions(where, f, x, attribution).over_channels(attribution)
        perturb = _noise(where, f, x, target, a, sigma, away)
        chunk = chunk_size(where, batch_size, num_samples + 1, x, black_box=is_black_box(f))

    def at(row: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        return perturb(jax.random.fold_in(key, row), row > 0)  # row 0 changes nothing

    expected, scores = map_chunks(at, jnp.arange(num_samples + 1), chunk)
    return _compared(expected[1:], (scores[0] - scores[1:]).astype(expected.dtype))


#: A key and whether to perturb at all give what the attribution says of the perturbation, and the score.
_Perturb = Callable[[Key[Array, ""], Bool[Array, ""]], tuple[Float[Array, ""], Float[Array, ""]]]


def _removal(
    v: Game, values: Float[Array, " d"], drawn: Callable[[Key[Array, ""]], Bool[Array, " d"]]
) -> _Perturb:
    def perturb(key: Key[Array, ""], at_all: Bool[Array, ""]) -> Any:
        hidden = drawn(key) & at_all
        return jnp.where(hidden, values, 0).sum(), v(~hidden)

    return perturb


def _noise(
    where: str, f: Callable[[Any], Any], x: Any, target: Target, a: Array, sigma: Any, away: Any
) -> _Perturb:
    a, model = a.astype(jnp.promote_types(a.dtype, jnp.float32)), lower(f)

    def perturb(key: Key[Array, ""], at_all: Bool[Array, ""]) -> Any:
        taken: Any = away - (sigma * normals(key, x.shape, x.dtype)).astype(x.dtype)
        taken = jnp.where(at_all, taken, 0)
        return (taken * a).sum(), score(model(x - taken), target, where=where)

    return perturb


def _compared(expected: Float[Array, " n"], drops: Float[Array, " n"]) -> Infidelity:
    def distance(scale: Any) -> Float[Array, ""]:
        return ((scale * expected - drops) ** 2).mean()

    size = (expected**2).sum()
    none = size == 0
    scale = jnp.where(none, 0, (expected * drops).sum() / jnp.where(none, 1, size))
    return Infidelity(distance(1.0), scale, distance(scale), expected, drops)


def _coins(d: int) -> Callable[[Key[Array, ""]], Bool[Array, " d"]]:
    return lambda key: random_bits(key, 1, d)[0]


def _square(
    where: str, f: Callable[[Any], Any], x: Any, shape: tuple[int, ...], side: int | None
) -> Callable[[Key[Array, ""]], Bool[Array, " d"]]:
    """The positions in a random square of an image, over all channels.

    Raises:
      ValueError: it is larger than the image.
    """
    axes = image_axes(where, f, x)[:2]
    axes = axes if len(shape) == x.ndim else (0, 1)
    sizes = [shape[axis] for axis in axes]
    side = max(1, min(sizes) // 8) if side is None else side
    if type(side) is not int or not 1 <= side <= min(sizes):
        rule = f"be a number of pixels from 1 to the image's {min(sizes)}"
        raise ValueError(complaint(where, "side", rule, side))

    def hide(key: Key[Array, ""]) -> Bool[Array, " d"]:
        inside = jnp.ones((), bool)
        for axis, n, k in zip(axes, sizes, jax.random.split(key), strict=True):
            first = jax.random.randint(k, (), 0, n - side + 1)
            place = jnp.arange(n).reshape([n if i == axis else 1 for i in range(len(shape))])
            inside = inside & (place >= first) & (place < first + side)
        return jnp.broadcast_to(inside, shape).reshape(-1)

    return hide
