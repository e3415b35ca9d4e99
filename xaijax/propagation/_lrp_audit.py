"""Where relevance goes that does not arrive: the account of every equation of a model under LRP."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from xaijax.core._explainer import explainer
from xaijax.core._inputs import check_float
from xaijax.core._interpreter import trace
from xaijax.core._layers import list_layers
from xaijax.core._score import Target
from xaijax.core._table import table
from xaijax.propagation._composites import Composite, epsilon_plus
from xaijax.propagation._relevance import Twins, scored
from xaijax.propagation._rules import pytree

_DEFAULT = epsilon_plus()


def _static() -> Any:
    return dataclasses.field(metadata={"static": True})


@pytree
@dataclasses.dataclass(frozen=True)
class LrpAudit:
    """What became of the relevance; prints as a table. `vmap` gives each number one more axis.

    Attributes:
      relevance: the relevance of the input, as `lrp` gives it.
      score: the relevance that started at the outputs.
      incoming: what came to each equation, from the input up `(n,)`.
      absorbed: what of it its bias took, `(n,)`.
      handed_down: what its inputs got, `(n,)`.
      layers: the layer of each equation.
      operations: its primitive.
      rules: its rule.
      primitives: every primitive that was met, with what became of it.
    """

    relevance: Any
    score: Float[Array, ""]
    incoming: Float[Array, " n"]
    absorbed: Float[Array, " n"]
    handed_down: Float[Array, " n"]
    layers: tuple[str, ...] = _static()
    operations: tuple[str, ...] = _static()
    rules: tuple[str, ...] = _static()
    primitives: tuple[tuple[str, str], ...] = _static()

    @property
    def lost(self) -> Array:
        """What is missing beside that, `(n,)`: by stabilisers, dead denominators, entries that are constants."""
        return self.incoming - self.absorbed - self.handed_down

    @property
    def defect(self) -> Array:
        """The part of the score that does not arrive at the input: 0 if relevance is conserved."""
        return (self.absorbed.sum(-1) + self.lost.sum(-1)) / self.score

    def __str__(self) -> str:
        columns = (self.incoming, self.absorbed, self.lost)
        if jnp.ndim(self.score):
            return f"LrpAudit of {jnp.shape(self.score)} examples"
        numbers = zip(*([f"{v:.4g}" for v in column.tolist()] for column in columns), strict=True)
        texts = zip(self.layers, self.operations, self.rules, strict=True)
        rows = [(*text, *number) for text, number in zip(texts, numbers, strict=True)]
        ends = f"score {float(self.score):.6g}, at the input {float(self.score * (1 - self.defect)):.6g}"
        head = ("layer", "operation", "rule", "relevance", "absorbed by bias", "lost")
        return f"{table(head, rows)}\n{ends}"

    __repr__ = __str__


@explainer(
    scope="local", access="white box", stage="post-hoc", models="neural network", attribution=False
)
def lrp_audit(
    f: Callable[[Any], Any], x: Any, target: Target, *, composite: Composite = _DEFAULT
) -> LrpAudit:
    r"""Account for relevance: which rule each equation got, what came to it and what it did not hand down.

    .. math::
        y^c - \sum_j R_j = \sum_l \big(\text{absorbed}_l + \text{lost}_l\big)

    Costs what `lrp` costs, and a sum for each equation. A loop whose steps have the same rules is one equation.

    Args:
      f: as in `lrp`; so `x` and `target`.
      x: see there.
      target: see there.
      composite: see there.

    Returns:
      The account, with the relevance itself.

    Raises:
      NotImplementedError: as `lrp`.
      ValueError: as `lrp`.
      TypeError: as `lrp`.

    Examples:
      >>> from xaijax.propagation import epsilon, uniform
      >>> f = lambda x: x @ jnp.array([[1.0], [1.0]]) + jnp.array([2.0])
      >>> lrp_audit(f, jnp.array([1.0, 5.0]), 0, composite=uniform(epsilon(0.0)))
      layer  operation    rule     relevance  absorbed by bias  lost
      -----  -----------  -------  ---------  ----------------  ----
      dot    dot_general  epsilon  8          2                 0
      score 8, at the input 6

    References:
      bach2015pixelwise
    """
    check_float("lrp_audit", x)
    program = trace(f, x)
    twins = Twins("lrp_audit", program, list_layers(program, x.ndim), composite, x)
    jax.eval_shape(twins.run, x)  # fills `given`
    met = twins.given
    kept = sorted(path for path, (_, _, twin) in met.items() if twin)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    zeros = {path: jnp.zeros(3, dtype) for path in kept}

    def run(x: Any, accounts: Any) -> Any:
        return twins.run(x, accounts=accounts)[0]

    value, back = jax.vjp(run, x, zeros)
    R = scored(value, target, where="lrp_audit")
    R_x, accounts = back(R)
    incoming, absorbed, handed_down = jnp.stack([accounts[path] for path in kept]).T
    return LrpAudit(
        R_x,
        sum((jnp.sum(r, dtype=dtype) for r in jax.tree.leaves(R)), jnp.zeros((), dtype)),
        incoming,
        absorbed,
        handed_down,
        tuple(twins.name_of(met[path][0]) for path in kept),
        tuple(met[path][0].op for path in kept),
        tuple(met[path][1] for path in kept),
        tuple(sorted({(site.op, text) for site, text, _ in met.values()})),
    )
