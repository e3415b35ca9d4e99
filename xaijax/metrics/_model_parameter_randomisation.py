"""Model parameter randomisation test, MPRT (Adebayo et al., NeurIPS 2018; arXiv:1810.03292v3, section 3).

Notation: e the explanation, e_l that of the model with its layers randomised up to the l-th, L the number of layers.
"""

from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from xaijax.core import _progress
from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._inputs import model_of
from xaijax.core._score import Target
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import explaining
from xaijax.metrics._randomised import Names, randomised
from xaijax.metrics._similarity import Similarity, comparison

Order = Literal["top_down", "bottom_up", "independent"]


class ParameterRandomisation(NamedTuple):
    """What is left of an explanation as the model's layers are randomised.

    Attributes:
      value: the mean of the similarities that are numbers.
      similarities: to the explanation of the model itself, after each step; NaN where one of both is constant.
      layers: the layer that each step randomises, in that order.
    """

    value: Float[Array, ""]
    similarities: Float[Array, " num_layers"]
    layers: Names


@metric(
    "randomisation",
    "lower",
    read="value",
    static=("order", "similarity", "magnitude"),
)
def model_parameter_randomisation(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    order: Order = "top_down",
    similarity: Similarity = "spearman",
    magnitude: bool = False,
) -> ParameterRandomisation:
    r"""How much of an explanation is left when the model's layers are randomised, one after another: MPRT.

    .. math:: \frac{1}{L} \sum_{l=1}^L \operatorname{sim}(e, e_l)

    An explanation that does not change knows nothing of what the model has learnt: an edge detector passes for one.

    Differs from the paper in how weights are drawn anew: by a permutation of the values of each array, and not as they
    were initialised, which is not known of a trained model. Scales stay as they were, the variances of a batch
    normalisation positive. A layer of very few weights may come out as it was: take the mean over keys. The paper shows
    a curve over the layers (`details`), of which this is the mean.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it. The weights must be leaves of the model.
      x: the input.
      target: what is explained of every model: an output's index, float weights over the outputs, or a function of
        them.
      key: the permutations, and what the explainer draws: the same for every model. Examples that share a key under
        `vmap` share the random models, too.
      order: "top_down", the paper's cascade from the outputs to the input; "bottom_up", from the input on; or
        "independent", one layer at a time, the others as they were. From the top the lower layers still show the
        input's structure. Static.
      similarity: "spearman", the correlation of the ranks of all values; of maps that are images of at least 11 x 11,
        "ssim" (window 11, sigma 1.5), of at least 24 x 24 "hog", the correlation of their histograms of oriented
        gradients. For these two each map is divided by its largest magnitude; with signs, zero is put at 1/2; one at a
        layer's size is resized to the image. Static.
      magnitude: whether to compare the sizes of the values, or the values with their signs. The verdict depends on it:
        signs may be lost where the sizes still show the input. The paper reports both. Static.

    Returns:
      The mean similarity over the layers, 0-d, at most 1, about 0 for explanations that have nothing in common; layers
      whose explanation is constant are left out; NaN if all are, or that of the model itself is. Lower is better.
      `model_parameter_randomisation.details` gives the similarity after each layer, and the layers' names.

    Raises:
      ValueError: the model has no weights among its leaves; there is no such order or similarity, or it does not suit
        the maps; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> f = jax.tree_util.Partial(lambda w, x: (x**2).sum()[None] + w, jnp.array([1.0, 2.0, 4.0]))
      >>> explain = xaijax.bind(xaijax.saliency, f)
      >>> x, key = jnp.arange(3.0), jax.random.key(0)
      >>> model_parameter_randomisation(explain, x, 0, key).round(5)  # the gradient knows nothing of the weights
      Array(1., dtype=float32)
      >>> model_parameter_randomisation.details(explain, x, 0, key).layers
      ('weights',)

    References:
      adebayo2018sanity, wang2004image, dalal2005histograms
    """
    where = "model_parameter_randomisation"
    if order not in get_args(Order):
        known = ", ".join(map(repr, get_args(Order)))
        raise ValueError(complaint(where, "order", f"be one of {known}", repr(order)))
    draws, permutations = jax.random.split(key)
    compare = comparison(where, similarity, magnitude, model_of(where, explain), x)
    names, explainer = randomised(where, explain, x, permutations)
    e = explaining(where, explain, x, target)(x, draws)
    last = len(names) - 1

    def left_after(step: Array) -> Float[Array, ""]:
        chosen = {
            "top_down": lambda layer: layer >= last - step,
            "bottom_up": lambda layer: layer <= step,
            "independent": lambda layer: layer == last - step,
        }[order]
        e_l = explaining(where, explainer(chosen), x, target)(x, draws)
        _progress.report(1)
        return compare(e, e_l)

    # One model after another: a batch of models would be a batch of weights.
    similarities = lax.map(left_after, jnp.arange(len(names)))
    layers = names if order == "bottom_up" else Names(reversed(names))
    return ParameterRandomisation(jnp.nanmean(similarities), similarities, layers)
