"""Composites: which layer gets which rule (Montavon et al. 2019; Kohlbrenner et al. 2020, arXiv:1910.09840v3).

The upper layers mix few contributions and want a rule close to the gradient; the lower ones mix many, where the
gradient is noise and a rule of positive contributions is not; the first layer sees pixels instead of features.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from xaijax.core._errors import complaint, nearest
from xaijax.core._layer import Layer
from xaijax.propagation._rules import (
    Rule,
    alpha_beta,
    epsilon,
    flat,
    gamma,
    own_sign,
    pytree,
    z_box,
    z_plus,
)

#: The rule of a primitive: `(R, y, *inputs)` give the relevance of each input.
OperationRule = Callable[..., tuple[Any, ...]]


@pytree
@dataclasses.dataclass(frozen=True)
class Composite:
    """Which rule a layer gets.

    A convolution is also a matrix product over the channels of a feature map. The first layer is every linear layer
    that no other one precedes. What is no layer but linear, too, is a *pooling* (averages and sums over an axis) or a
    *sum* of several activations (the end of a residual branch).

    Attributes:
      convolution: the rule of convolutions.
      dense: the rule of all other linear layers.
      first: the rule of the first layer; `None` for that of its kind.
      pooling: the rule of average pooling and of sums over an axis.
      sum: the rule of sums of activations.
      product: the rule of matrix products of two activations (attention), of which each gets half the relevance and
        shares it as a layer whose weight is the other one.
      softmax: what an attention's softmax hands to its logits: `"taylor"`, the rule of AttnLRP, or `"constant"`,
        nothing, as in CP-LRP: attention weights are then constants, and their partner gets all.
      patterns: names of layers, `*` for any text; see `at`.
      rules: their rules.
      operations: names of primitives and the rules they got by `on`.
    """

    convolution: Rule
    dense: Rule
    first: Rule | None = None
    pooling: Rule = dataclasses.field(default_factory=epsilon)
    sum: Rule = dataclasses.field(default_factory=epsilon)
    product: Rule = dataclasses.field(default_factory=epsilon)
    softmax: Literal["taylor", "constant"] = dataclasses.field(
        default="taylor", metadata={"static": True}
    )
    patterns: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})
    rules: tuple[Rule, ...] = ()
    operations: tuple[tuple[str, OperationRule], ...] = dataclasses.field(
        default=(), metadata={"static": True}
    )

    def __post_init__(self) -> None:
        if self.softmax not in ("taylor", "constant"):
            rule = "be 'taylor' or 'constant'"
            raise ValueError(complaint("Composite", "softmax", rule, repr(self.softmax)))

    def at(self, pattern: str, rule: Rule) -> "Composite":
        """The composite with another rule at some layers.

        Args:
          pattern: a layer or scope of `layers(f, x)`, or a pattern of them: `*` stands for any text, `?` for one
            character. What is said last counts.
          rule: the rule of the convolutions and dense layers there; poolings and sums keep theirs.

        Returns:
          The new composite.

        Examples:
          >>> epsilon_plus().at("conv1", flat()).at("blocks/1*", gamma(0.1)).patterns
          ('conv1', 'blocks/1*')
        """
        return dataclasses.replace(
            self, patterns=(*self.patterns, pattern), rules=(*self.rules, rule)
        )

    def on(self, primitive: str, rule: OperationRule) -> "Composite":
        """The composite with a rule of one's own for a primitive, such as one that has none.

        Args:
          primitive: its name in a jaxpr, such as `"reduce_prod"`.
          rule: `(R, y, *inputs) -> (R_1, R_2, ...)`: the relevance of the output, the output and the inputs give the
            relevance of each input, in its shape; `None` for an input that gets none.

        Returns:
          The new composite.

        Examples:
          >>> import jax.numpy as jnp, xaijax
          >>> product = lambda R, y, x: (jnp.broadcast_to(R / x.size, x.shape),)  # the same for every factor
          >>> f = lambda x: jnp.prod(x)[None]
          >>> xaijax.lrp(f, jnp.array([2.0, 3.0]), 0, composite=epsilon_plus().on("reduce_prod", product))
          Array([3., 3.], dtype=float32)
        """
        return dataclasses.replace(self, operations=(*self.operations, (primitive, rule)))

    def choose(self, layer: Layer | None, kind: str, *, first: bool = False) -> Rule:
        """The rule of something linear, of a name and kind."""
        if kind in ("pooling", "sum", "product"):
            return getattr(self, kind)
        for pattern, rule in zip(reversed(self.patterns), reversed(self.rules), strict=True):
            if layer is not None and _matches(pattern, layer):
                return rule
        return self.first if first and self.first is not None else getattr(self, kind)

    def check(self, where: str, linear: Sequence[Layer], met: Collection[str]) -> None:
        """Raise unless every pattern names a convolution or dense layer, every operation a primitive of the model."""
        for primitive, _ in self.operations:
            if primitive not in met:
                rule = "have rules on primitives that the model uses"
                fix = f"{nearest(primitive, sorted(met))} It uses {', '.join(sorted(met))}.".strip()
                raise ValueError(complaint(where, "composite", rule, f"'{primitive}'", fix))
        for pattern in self.patterns:
            if not any(_matches(pattern, layer) for layer in linear):
                known = [name for layer in linear for name in (layer.name, *layer.scopes)]
                fix = f"{nearest(pattern, known)} See xaijax.layers(f, x).".strip()
                rule = "have patterns that match a convolution or dense layer"
                raise ValueError(complaint(where, "composite", rule, f"'{pattern}'", fix))


def _matches(pattern: str, layer: Layer) -> bool:
    names: Sequence[str] = (layer.name, *layer.scopes)
    return any(fnmatch.fnmatchcase(name, _literal_brackets(pattern)) for name in names)


def _literal_brackets(pattern: str) -> str:
    # The steps of a loop are named `blocks[0]`, which fnmatch would read as a set of characters.
    return pattern.replace("[", "[[]")


def uniform(rule: Rule) -> Composite:
    """The same rule everywhere.

    Args:
      rule: the rule, such as `epsilon(0.0)`, which is LRP-0.

    Returns:
      The composite.
    """
    return Composite(rule, rule, pooling=rule, sum=rule, product=rule)


def attn_lrp(epsilon: Any = 1e-6, gamma: Any = None, *, bias: bool = True) -> Composite:
    r"""AttnLRP, for transformers: LRP-epsilon everywhere, and a rule of its own for the softmax.

    Of the logits z of a softmax s, by its Taylor expansion at z:

    .. math::
        R_i = z_i \Big(R_i^s - s_i \sum_j R_j^s\Big)

    What this hands down does not sum to what it got: the expansion has a constant term. `cp_lrp` conserves.

    Args:
      epsilon: of every denominator.
      gamma: for a vision transformer: its convolutions and dense layers get LRP-gamma with this; `None` for epsilon.
      bias: whether biases take their share of the relevance, which is lost.

    Returns:
      The composite.

    References:
      achtibat2024attnlrp
    """
    rule = _epsilon(epsilon, bias=bias)
    layer = rule if gamma is None else _gamma(gamma, epsilon, bias=bias)
    return Composite(layer, layer, pooling=rule, sum=rule, product=rule)


def cp_lrp(epsilon: Any = 1e-6, gamma: Any = None, *, bias: bool = True) -> Composite:
    """CP-LRP, for transformers: as `attn_lrp`, but attention weights count as constants.

    All relevance of what attention gives goes to the values, none through queries and keys; it is conserved.

    Args:
      epsilon: as there.
      gamma: as there.
      bias: as there.

    Returns:
      The composite.

    References:
      ali2022xai
    """
    return dataclasses.replace(attn_lrp(epsilon, gamma, bias=bias), softmax="constant")


def epsilon_plus(epsilon: Any = 1e-6) -> Composite:
    """LRP-epsilon for dense layers, z+ for convolutions: :math:`LRP_{CMP}` with alpha 1.

    Args:
      epsilon: of the dense layers, and added to every other denominator.

    Returns:
      The composite.

    References:
      kohlbrenner2020best
    """
    return _mixed(epsilon, z_plus(epsilon))


def epsilon_plus_flat(epsilon: Any = 1e-6) -> Composite:
    """As `epsilon_plus`, the first layer flat.

    Args:
      epsilon: as there.

    Returns:
      The composite.

    References:
      kohlbrenner2020best
    """
    return _mixed(epsilon, z_plus(epsilon), flat(epsilon))


def epsilon_alpha2_beta1(epsilon: Any = 1e-6) -> Composite:
    """LRP-epsilon for dense layers, alpha-beta with 2 and 1 for convolutions.

    Args:
      epsilon: of the dense layers, and added to every other denominator.

    Returns:
      The composite.

    References:
      kohlbrenner2020best
    """
    return _mixed(epsilon, alpha_beta(2.0, 1.0, epsilon))


def epsilon_alpha2_beta1_flat(epsilon: Any = 1e-6) -> Composite:
    """As `epsilon_alpha2_beta1`, the first layer flat.

    Args:
      epsilon: as there.

    Returns:
      The composite.

    References:
      kohlbrenner2020best
    """
    return _mixed(epsilon, alpha_beta(2.0, 1.0, epsilon), flat(epsilon))


def epsilon_gamma_box(low: Any, high: Any, epsilon: Any = 1e-6, gamma: Any = 0.25) -> Composite:
    """LRP-epsilon for dense layers, LRP-gamma for convolutions, z^B for the first layer.

    Args:
      low: the lowest value an input can have, one or for each channel; after normalisation, if that comes before `f`.
      high: the highest.
      epsilon: of the dense layers, and added to every other denominator.
      gamma: of the convolutions.

    Returns:
      The composite.

    References:
      montavon2019overview
    """
    return _mixed(epsilon, _gamma(gamma, epsilon), z_box(low, high, epsilon))


def plus_box(low: Any, high: Any) -> Composite:
    """z+ everywhere, z^B in the first layer, without biases and without an epsilon: it conserves relevance.

    What every layer hands down is what it got, except where a denominator is exactly zero: an output without any
    positive contribution. At a sum of activations the terms with the sum's own sign share; where activations are not
    negative that is z+, too. As in FG-CAM, which knows no such sums: by plain contribution the two ends of a residual
    block would get large relevances of opposite signs wherever they nearly cancel.

    Args:
      low: the lowest value an input can have, one or for each channel.
      high: the highest.

    Returns:
      The composite.

    References:
      qiu2023fgcam
    """
    plus, end = z_plus(0.0, bias=False), own_sign(0.0, bias=False)
    return Composite(plus, plus, z_box(low, high, 0.0), pooling=plus, sum=end, product=end)


_gamma, _epsilon = gamma, epsilon


def _mixed(epsilon: Any, convolution: Rule, first: Rule | None = None) -> Composite:
    rule = _epsilon(epsilon)
    return Composite(convolution, rule, first, pooling=rule, sum=rule, product=rule)
