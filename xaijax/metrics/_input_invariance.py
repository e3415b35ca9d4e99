"""Input invariance (Kindermans et al., 2019; arXiv:1711.00867v1), an axiom, as a number.

Notation: Phi_f(x) the explanation of x and the model f, m a shift of the input, f' the model that undoes it,
f'(x) = f(x - m).
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from xaijax.core._binding import Bound
from xaijax.core._inputs import check_float
from xaijax.core._score import Target
from xaijax.metrics._exchange import exchange_model
from xaijax.metrics._metric import metric
from xaijax.metrics._neighbours import norm


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Shifted:
    """A model that takes a shift from its input first. Its layers keep their names."""

    f: Any
    shift: Any
    wraps: ClassVar[str] = "f"

    def __call__(self, x: Array) -> Any:
        """The answer to the input without the shift."""
        return self.f(x - jnp.asarray(self.shift, x.dtype))


@metric("axiomatic", "lower", baseline=("shift",))
def input_invariance(
    explain: Bound, x: Any, target: Target, key: Key[Array, ""], *, shift: Any = -1.0
) -> Float[Array, ""]:
    r"""By how much the explanation changes when the input is shifted and the model undoes the shift.

    .. math:: \frac{\lVert \Phi_{f'}(x + m) - \Phi_f(x) \rVert_2}{\lVert \Phi_f(x) \rVert_2}

    Both models answer the same, and so should both explanations. Gradients do not change; input times gradient does,
    and so does every explanation against a baseline that does not move with the input: what was bound stays as it is.

    Differs from the paper, which shows pictures, in that it is a number; and in that the shift is undone before the
    first layer, which needs no bias.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it.
      x: the input, one float array.
      target: what is explained: an output's index, float weights over the outputs, or a function of them.
      key: what the explainer draws, the same for both; not used if it draws nothing.
      shift: m, a number, or an array that broadcasts to `x`. The default is Quantus'.

    Returns:
      The change, 0-d, as a part of the explanation; at least 0 and for an invariant one not more than the rounding of
      (x + m) - m makes of it, NaN if the explanation of `x` is all zero. Lower is better.

    Raises:
      ValueError: `shift` does not broadcast to `x`; and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> f, x, key = lambda x: x**2, jnp.array([2.0]), jax.random.key(0)
      >>> input_invariance(xaijax.bind(xaijax.saliency, f), x, 0, key)
      Array(0., dtype=float32)
      >>> input_invariance(xaijax.bind(xaijax.input_x_gradient, f), x, 0, key)  # |1 * 4 - 2 * 4| / 8
      Array(0.5, dtype=float32)

    References:
      kindermans2019unreliability
    """
    check_float("input_invariance", x)
    draws = (key,) if explain.takes_key else ()
    before = explain(x, target, *draws)
    moved = exchange_model(explain, lambda f: Shifted(f, shift))
    after = moved(x + jnp.asarray(shift, x.dtype), target, *draws)
    wide = jnp.promote_types(before.dtype, jnp.float32)
    before, after = before.astype(wide), after.astype(wide)
    size = norm(before)
    none = size == 0
    return jnp.where(none, jnp.nan, norm(after - before) / jnp.where(none, 1, size))
