"""CAM fostering (Schöttl 2020, arXiv:2009.12546v1): training a network to have concentrated explanations.

Notation: L^t the class activation map of the true class t, c_e its entropy, beta how much it counts.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from xaijax.core._binding import Bound
from xaijax.core._boundary import boundary
from xaijax.core._errors import complaint
from xaijax.core._inputs import check_number, model_of
from xaijax.core._score import Target, score
from xaijax.core._tree import is_traced
from xaijax.intrinsic._indicators import entropy, parts


class CamFostering(NamedTuple):
    """The term of one image.

    Attributes:
      entropy: c_e, in nats.
      vanished: whether nothing in the map speaks for the class: the term is then 0, and so is its derivative.
    """

    entropy: Float[Array, ""]
    vanished: Bool[Array, ""]


class FosteredLoss(NamedTuple):
    """The loss of a batch, and what it is made of.

    Attributes:
      loss: what to descend.
      cross_entropy: its mean over the images, in nats.
      entropy: the mean of the term over the images, in nats; a vanished map counts as 0.
      vanished: the part of the images whose map vanished, which the term cannot see.
    """

    loss: Float[Array, ""]
    cross_entropy: Float[Array, ""]
    entropy: Float[Array, ""]
    vanished: Float[Array, ""]


@boundary
def cam_fostering(explain: Bound, x: Any, target: Target) -> CamFostering:
    r"""The entropy of an image's class activation map, to be lowered together with the loss.

    .. math::
        c_e = -\sum_{ij} \bar L_{ij} \ln \bar L_{ij}, \qquad
        \bar L = \frac{L^t}{\sum_{ij} L_{ij}^t}

    A function of the weights, through the map: its derivative with respect to them is one of a derivative, and nothing
    in it may be detached. Published code of a later paper computes the term from detached values; such a term has no
    influence on the training.

    A map that vanishes has no entropy, so that a large beta may teach a network to have none: watch `vanished`.

    Differs from the paper, whose map is Grad-CAM at the last convolution, in that any explainer gives the map. Of
    a map with signs the positive part counts.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it: `bind(xaijax.grad_cam, f)`, another class
        activation map, at any layer; `bind(xaijax.attention_map, f)`.
      x: the image, one example without batch axis.
      target: the true class.

    Returns:
      A `CamFostering`: the entropy, 0-d, between 0 and the logarithm of the number of positions, and whether the map
      vanished. Average over a batch after `jax.vmap`, or see `fostered_cross_entropy`.

    Raises:
      ValueError: as the explainer: the model has no feature map, `target` is out of range (traced: NaN).
      TypeError: `explain` is not a bound explainer, draws, or gives more than one map.

    Examples:
      >>> import xaijax
      >>> def f(w, x):  # feature maps, global average pooling, a dense layer
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1)) @ w
      >>> A = jnp.array([[[1.0, 0.0], [1.0, 2.0]]])
      >>> def term(w):
      ...     g = jax.tree_util.Partial(f, w)
      ...     return cam_fostering(xaijax.bind(xaijax.grad_cam, g, layer="features"), A, 0).entropy
      >>> w = jnp.array([[1.0], [0.0]])  # of two channels the first alone counts, which is even
      >>> term(w) / jnp.log(2.0)
      Array(1., dtype=float32)
      >>> bool(term(w - 0.01 * jax.grad(term)(w + 0.1)) < term(w))
      True

    References:
      schottl2020fostering
    """
    where = "cam_fostering"
    model_of(where, explain)
    if explain.takes_key:
        got = explain.explain.__name__
        raise TypeError(complaint(where, "explain", "draw nothing", got))
    saliency = explain(x, target)
    if not isinstance(saliency, jax.Array):
        rule, fix = "give one map", "Of several layers, add the term of each."
        raise TypeError(complaint(where, "explain", rule, type(saliency).__name__, fix))
    return CamFostering(entropy(saliency), parts(where, saliency)[1])


def fostered_cross_entropy(
    explain: Bound,
    logits: Float[Array, "n num_classes"],
    xs: Float[Array, "n *shape"],
    labels: Int[Array, " n"],
    *,
    beta: float,
) -> FosteredLoss:
    r"""The loss of CAM fostering for a batch.

    .. math:: \frac{1}{n} \sum_i \big( \mathrm{CE}(f(x_i), t_i) + \beta\, c_e(x_i, t_i) \big)

    The logits are the caller's, from the forward pass of training: with the batch's statistics in batch norm, with
    dropout. The map is of one image by itself, as it will be explained later: `explain` has the same weights in
    evaluation mode, with the running statistics. Make it before the forward pass, which moves these. Of a Flax module,
    inside the function that is differentiated:

        explain = xaijax.bind(xaijax.grad_cam, xaijax.as_model(model))
        loss = fostered_cross_entropy(explain, model(xs), xs, labels, beta=beta).loss

    Args:
      explain: the explainer with its model, as `cam_fostering` takes it.
      logits: the model's outputs before the softmax, `(n, num_classes)`.
      xs: the images, `(n, ...)`.
      labels: the true classes, `(n,)`.
      beta: how much a nat of the map's entropy counts beside one of the cross entropy.

    Returns:
      A `FosteredLoss`.

    Raises:
      ValueError: `beta` is below 0, a label is out of range (traced: the loss is NaN), shapes do not fit; and as
        `cam_fostering`.
      TypeError: labels are not integers; and as `cam_fostering`.

    Examples:
      >>> import xaijax
      >>> def f(x):
      ...     with jax.named_scope("features"):
      ...         A = jax.nn.relu(x)
      ...     return A.mean((0, 1))
      >>> xs = jnp.ones((3, 2, 2, 2))
      >>> explain = xaijax.bind(xaijax.grad_cam, f, layer="features")
      >>> logits = jax.vmap(f)(xs)
      >>> found = fostered_cross_entropy(explain, logits, xs, jnp.array([0, 1, 0]), beta=0.5)
      >>> found.cross_entropy / jnp.log(2.0), found.loss / jnp.log(2.0)  # + 0.5 ln 4
      (Array(1., dtype=float32), Array(2., dtype=float32))

    References:
      schottl2020fostering
    """
    where = "fostered_cross_entropy"
    beta = check_number(where, "beta", beta, within="not_negative", optional=False)
    _check_batch(where, logits, xs, labels)
    labels = jnp.asarray(labels)
    # By `score`, to which a label out of range is NaN.
    log_likelihood = jax.vmap(score)(jax.nn.log_softmax(logits), labels)
    terms = jax.vmap(cam_fostering, (None, 0, 0))(explain, xs, labels)
    fostered, cross = terms.entropy.mean(), -log_likelihood.mean()
    return FosteredLoss(cross + beta * fostered, cross, fostered, terms.vanished.mean())


def _check_batch(where: str, logits: Any, xs: Any, labels: Any) -> None:
    if jnp.ndim(logits) != 2:
        got = f"shape {jnp.shape(logits)}"
        raise ValueError(complaint(where, "logits", "have the shape (n, num_classes)", got))
    n, num_classes = jnp.shape(logits)
    if jnp.shape(labels) != (n,) or jnp.shape(xs)[:1] != (n,):
        got = f"{jnp.shape(labels)} beside logits {jnp.shape(logits)} and xs {jnp.shape(xs)}"
        raise ValueError(complaint(where, "labels", f"have the shape ({n},), as xs", got))
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        raise TypeError(complaint(where, "labels", "be integers", str(jnp.result_type(labels))))
    if not is_traced(labels):
        bad = [int(t) for t in np.asarray(labels) if not 0 <= t < num_classes]
        if bad:
            raise ValueError(complaint(where, "labels", f"be in [0, {num_classes})", bad[0]))
