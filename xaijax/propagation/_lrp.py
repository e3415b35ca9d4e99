"""Layer-wise relevance propagation (Bach et al., PLoS ONE 2015).

Notation: R_k the relevance of an activation, which a layer hands down to its inputs. The rules stand in `_rules.py`,
which layer gets which in `_composites.py`, and how a model is walked in `_relevance.py`.
"""

import functools
from collections.abc import Callable
from typing import Any

from xaijax.core._explainer import explainer
from xaijax.core._score import Target
from xaijax.propagation._composites import Composite, epsilon_plus
from xaijax.propagation._relevance import propagate, scored

_DEFAULT = epsilon_plus()


@explainer(
    scope="local",
    access="white box",
    stage="post-hoc",
    models="neural network",
    static=("to",),
)
def lrp(
    f: Callable[[Any], Any],
    x: Any,
    target: Target,
    *,
    composite: Composite = _DEFAULT,
    to: str | tuple[str | None, ...] | None = None,
) -> Any:
    r"""Layer-wise relevance propagation: the score is handed down from layer to layer.

    .. math::
        R_j = \sum_k \frac{z_{jk}}{\sum_i z_{ik}} R_k

    where :math:`z_{jk}` is what input j contributes to output k, as the layer's rule counts it, and the outputs start
    with the score itself: :math:`R_k = y^c` for the target, 0 for the others.

    Biases and batch norms are folded into the layer before them. Activation functions, and constants that are added or
    multiplied elsewhere, pass relevance unchanged; a max-pooling gives it to the winner, a product of two activations
    half to each factor, a normalisation by its own norm (LayerNorm) all to what it normalises, as does AttnLRP. What is
    handed down sums to the score, up to what biases, `epsilon` and dead denominators keep: `lrp_audit` tells.

    Differs from the paper, which leaves the rule open, in its default: the composite of Kohlbrenner et al., which is
    also the usual one. Explain logits: a softmax has no rule.

    Args:
      f: the model, one example to `(num_outputs,)`, before the softmax.
      x: the input, one example.
      target: what is explained: an output's index, float weights `(num_outputs,)`, or a function
        `outputs -> scalar`; of a function the outputs' relevance is its gradient times them.
      composite: which rule each layer gets, such as `epsilon_gamma_box(low, high)`; for a transformer `attn_lrp()` or
        `cp_lrp()`; see `Composite`.
      to: the layer whose relevance is wanted, a name or scope of `layers(f, x)`; `None` for the input. A tuple of them
        gives a tuple, in one pass. Static.

    Returns:
      The relevance of each element of `x`, or of the layer, in its shape and in units of the score; positive speaks for
      the target.

    Raises:
      NotImplementedError: an operation of the model has no rule: it is named.
      ValueError: a pattern of the composite matches no layer, `f` gives no vector, `target` is out of range (traced:
        NaN, see `checked`), or `x` is not finite.
      TypeError: `f` cannot be traced, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp
      >>> W, V = jnp.array([[1.0, -1.0], [2.0, 1.0]]), jnp.array([[3.0], [1.0]])
      >>> f = lambda x: jax.nn.relu(x @ W) @ V
      >>> f(jnp.array([1.0, 2.0]))
      Array([16.], dtype=float32)
      >>> R = lrp(f, jnp.array([1.0, 2.0]), 0)  # 5 * 3 + 1 * 1, of which x_1 gives 1 * 3 - 1 * 1
      >>> [f"{r:.4f}" for r in R]
      ['2.0000', '14.0000']

    References:
      bach2015pixelwise
      kohlbrenner2020best
      achtibat2024attnlrp
    """
    seed = functools.partial(scored, target=target, where="lrp")
    return propagate("lrp", f, x, seed, composite=composite, to=to)
