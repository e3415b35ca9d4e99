"""Attacks on the explanation (Ghorbani, Abid & Zou, AAAI 2019; Dombrowski et al., NeurIPS 2019).

arXiv:1710.10547v2 and arXiv:1906.07983v2.

Notation: x the input, g(x) the outputs, h(x) the explanation, h^t a target map, gamma how much the outputs count.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from xaijax.attacks._attack import attack
from xaijax.attacks._ball import ball, climb, direction, length, nonzero
from xaijax.core._binding import Bound
from xaijax.core._errors import complaint
from xaijax.core._inputs import model_of
from xaijax.core._lower import lower
from xaijax.core._score import Target
from xaijax.core._score_gradient import check_differentiable


class ExplanationAttack(NamedTuple):
    """An input with nearly the same outputs and another explanation.

    Attributes:
      x: the attacked input.
      before: the explanation of the input.
      after: that of the attacked one.
      outputs_before: the outputs for the input.
      outputs_after: those for the attacked one.
      kept: the part of the inputs met on the way that kept the predicted class; of 0, `x` is the input itself.
      moved: how far the explanation went, as the distance between both maps scaled to length 1: 0 for the same up to a
        positive factor, 1.41 for unrelated ones, 2 for the opposite.
      to_goal: the same distance between the explanation and the map that was wanted; NaN if none was.
      size: how far the attacked input is from the input, in the norm of the attack.
    """

    x: Float[Array, "*shape"]
    before: Array
    after: Array
    outputs_before: Float[Array, " num_outputs"]
    outputs_after: Float[Array, " num_outputs"]
    kept: Float[Array, ""]
    moved: Float[Array, ""]
    to_goal: Float[Array, ""]
    size: Float[Array, ""]


@attack(
    static=("norm", "num_steps"),
    positive=("step_size",),
    not_negative=("gamma",),
)
def explanation_attack(
    explain: Bound,
    x: Any,
    target: Target,
    key: Key[Array, ""],
    *,
    epsilon: float,
    goal: Any = None,
    gamma: float = 1.0,
    norm: str = "linf",
    num_steps: int = 100,
    step_size: float | None = None,
    low: Any = None,
    high: Any = None,
) -> ExplanationAttack:
    r"""Another input with the same prediction, but an explanation as far as possible from the first: or near a goal.

    .. math::
        \max_{x' \in S} \ \lVert h(x') - h(x) \rVert^2 - \gamma\, e(x')^2 \qquad \text{or with a goal} \qquad
        \min_{x' \in S} \ \lVert h(x') - h^t \rVert^2 + \gamma\, e(x')^2, \qquad
        e(x') = \lVert g(x') - g(x) \rVert / \lVert g(x) \rVert

    by steps of projected gradient descent, as in `pgd`, from a place drawn from the ball S: at `x` itself the first has
    no gradient. Of `x` and all inputs met that keep the predicted class, the best is returned.

    The derivative of an explanation by gradients is a second one. Where a network is made of ReLU it is zero, or not
    what the map does as a whole: the paper attacks the network with softplus, :math:`\log(1 + e^{\beta x}) / \beta`, in
    the place of ReLU, and then explains the first.

    Differs from the papers in comparing the directions of the maps, each scaled to length 1, and in measuring the
    change of the outputs as a part of them: so no attack wins by making a map larger, and gamma means the same for maps
    and outputs of all sizes. The ball and the class that is kept are those of Ghorbani et al., the goal and the penalty
    of the outputs those of Dombrowski et al., whose reference code descends by Adam, on magnitudes that sum to 1.

    Args:
      explain: the explainer with its model and settings, as `bind` makes it. What it draws is the same in all steps.
      x: the input, one float array.
      target: what is explained: an output's index, float weights over the outputs, or a function of them.
      key: where in the ball it starts, and what the explainer draws.
      epsilon: the radius of the ball, in units of `x`.
      goal: the map that is wanted, of the shape of the explanation; by default any that is far from the first.
      gamma: how much a change of the outputs counts.
      norm: `"linf"`, the largest change of an element, or `"l2"`, the Euclidean norm of the change. Static.
      num_steps: how many steps. Static.
      step_size: the length of a step, in units of `x`; by default 2.5 epsilon / num_steps.
      low: the lowest value of an element: a number or an array that broadcasts to `x`; by default there is none.
      high: the highest value, likewise.

    Returns:
      The `ExplanationAttack`: the input, both maps and outputs, and how far the map went.

    Raises:
      ValueError: `epsilon` or `step_size` is not above 0, `gamma` below; there is no such norm; `goal` has another
        shape than the map; the map has no derivative with respect to `x`; `low` is above `high`, or `x` not between
        them (traced: NaN); and as the explainer.
      TypeError: `explain` is not a bound explainer, or `x` is not one float array.

    Examples:
      >>> import xaijax
      >>> f = lambda x: jnp.stack([(x**2).sum() + 1.0, 0.0])
      >>> explain, key = xaijax.bind(xaijax.saliency, f), jax.random.key(0)
      >>> goal = jnp.array([0.0, 1.0])
      >>> found = explanation_attack(explain, jnp.array([0.75, 0.75]), 0, key, epsilon=0.25, goal=goal, gamma=0.0)
      >>> found.x, found.after  # its map is 2 |x|
      (Array([0.5, 1. ], dtype=float32), Array([1., 2.], dtype=float32))

    References:
      ghorbani2019interpretation
      dombrowski2019explanations
    """
    where = "explanation_attack"
    around = ball(where, x, epsilon, norm, low, high)
    places, draws = jax.random.split(key)
    model = model_of(where, explain)

    def seen(moved: Array) -> tuple[Array, Array]:
        """The map and the outputs of an input."""
        moved = moved.astype(x.dtype)
        h = explain(moved, target, *([draws] if explain.takes_key else []))
        return _one(where, "explain", h), _one(where, "f", model(moved))

    before, outputs = seen(around.x)
    wanted = before if goal is None else _goal(where, goal, before)
    sign, size = 1 if goal is None else -1, nonzero(length(outputs))

    def value(moved: Array) -> tuple[Array, Bool[Array, ""]]:
        h, z = seen(moved)
        change = (((z - outputs) / size) ** 2).sum()
        return sign * _apart(h, wanted) - gamma * change, z.argmax() == outputs.argmax()

    def look(moved: Array) -> tuple[Array, Array]:
        (worth, kept), G = lower(jax.value_and_grad(value, has_aux=True))(moved)
        allowed: Any = jnp.where(kept, worth, -jnp.inf)
        return allowed, G

    # Of the map alone: the penalty has a derivative in any case.
    check_differentiable(
        where, lambda moved: _apart(seen(moved)[0], wanted), around.x, "explain", _RULE, _FIX
    )
    itself = (around.x, sign * _apart(before, wanted))
    found, worths = climb(around, around.draw(places), look, itself, num_steps, step_size)
    found: Any = jnp.where(jnp.isfinite(before).all(), found, jnp.nan)
    after, outputs_after = seen(found)
    moved = jnp.sqrt(_apart(after, before))
    return ExplanationAttack(
        x=found.astype(x.dtype),
        before=before,
        after=after,
        outputs_before=outputs,
        outputs_after=outputs_after,
        kept=(worths > -jnp.inf).astype(around.x.dtype).mean(),
        moved=moved,
        to_goal=moved * jnp.nan if goal is None else jnp.sqrt(_apart(after, wanted)),
        size=around.size(found),
    )


_RULE = "give a map with a derivative: more than switches of ReLU must change it"
_FIX = "Put softplus in the place of ReLU: jax.nn.softplus(beta * x) / beta."


def _apart(a: Array, b: Array) -> Float[Array, ""]:
    """The squared distance between the directions of two maps."""
    return ((direction(a) - direction(b)) ** 2).sum()


def _one(where: str, argument: str, a: Any) -> Array:
    """One array, in single precision at least."""
    if not isinstance(a, jax.Array):
        rule, fix = "give one array", "Of several layers, attack one at a time."
        raise TypeError(complaint(where, argument, rule, type(a).__name__, fix))
    return a.astype(jnp.promote_types(a.dtype, jnp.float32))


def _goal(where: str, goal: Any, before: Array) -> Array:
    if jnp.shape(goal) != before.shape:
        rule = f"have the shape of the explanation, {before.shape}"
        raise ValueError(complaint(where, "goal", rule, f"shape {jnp.shape(goal)}"))
    return jnp.asarray(goal, before.dtype)
