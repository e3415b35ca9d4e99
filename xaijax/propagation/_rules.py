r"""The rules of layer-wise relevance propagation: how a linear layer hands the relevance of its outputs to its inputs.

Notation: a layer computes :math:`z_k = \sum_j x_j w_{jk} + b_k`; :math:`R_k` is the relevance of its output k and
:math:`R_j` what its input j gets; :math:`v^+ = \max(v, 0)` and :math:`v^- = \min(v, 0)`.

Nearly every rule is the epsilon rule on other numbers: the layer's parts are replaced, `(x, w, b)` by `(x^+, w^+,
b^+)` and so on, and :math:`R_k` is shared by the contributions :math:`x_j w_{jk}` of those parts.

A division by a denominator of exactly zero gives zero: that relevance has nowhere to go, and is lost.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from xaijax.core._errors import complaint
from xaijax.core._inputs import check_number
from xaijax.core._lower import lower
from xaijax.core._tree import is_traced

#: One part of a layer: an input, a weight and a bias, or `None` where the input is known to be zero.
Part = tuple[Any, Array, Any] | None


@dataclasses.dataclass(frozen=True)
class Linear:
    """A layer as a rule sees it: `z = product(x, w) + b`, with a product that is linear in both.

    Attributes:
      product: a convolution, a matrix product, a sum.
      x: the input; a tuple of them for a sum of several.
      w: the weight, with batch norm in it.
      b: the bias, with batch norm in it.
      z: the output.
      nonnegative: whether `x` is known never to be negative.
      bounds: the lowest and the highest input there can be, for the rule that asks for it.
      absorbed: where `share` notes the relevance that biases took.
    """

    product: Callable[[Any, Array], Array]
    x: Any
    w: Array
    b: Any
    z: Any = None
    nonnegative: bool = False
    bounds: tuple[Array, Array] | None = None
    absorbed: list[Array] = dataclasses.field(default_factory=list)

    @property
    def signed(self) -> tuple[Any, Any]:
        """The positive and the negative part of the input; the latter is `None` if it is known to be zero."""
        if self.nonnegative:
            return self.x, None
        return jax.tree.map(_positive, self.x), jax.tree.map(_negative, self.x)

    def total(self, parts: Sequence[Part]) -> Array:
        """What the parts add up to, their biases with them: an output."""
        total: Any = 0.0
        for x, w, b in filter(None, parts):
            total += self.product(x, w) + b
        return total

    def share(self, R: Array, parts: Sequence[Part], epsilon: Any, z: Array | None = None) -> Any:
        r"""Relevance in proportion to contribution, :math:`R_j = \sum_k x_j w_{jk} R_k / z_k`, over all parts.

        Their total is `z`, for who has it already.
        """
        s = _divide(R, self.total(parts) if z is None else z, epsilon)
        counted = [part for part in parts if part is not None]
        self.absorbed.append(jnp.sum(sum(b for *_, b in counted) * s))
        shares = [jax.tree.map(jnp.multiply, x, self._transposed(s, x, w)) for x, w, _ in counted]
        return jax.tree.map(lambda *R_j: sum(R_j[1:], R_j[0]), *shares)

    def _transposed(self, s: Array, x: Any, w: Array) -> Any:
        """The product's transpose, of what x has the shape of; a `vjp` would take more than twice as long to trace."""
        product: Any = self.product
        if getattr(product, "is_convolution", False):
            transpose = jax.linear_transpose(lambda x: product.as_written(x, w), x)
            return lower(transpose, filtered=False)(s)[0]
        return jax.linear_transpose(lambda x: product(x, w), x)(s)[0]


def pytree(cls: Any) -> Any:
    """Make a dataclass a pytree of its fields; those marked static are structure.

    Not by `jax.tree_util.register_dataclass`: JAX compares such structures without their types, so that one rule
    would run the compiled program of another.
    """
    fields = dataclasses.fields(cls)
    static = [field.name for field in fields if field.metadata.get("static")]
    data = [field.name for field in fields if field.name not in static]

    def flatten(value: Any) -> tuple[Any, Any]:
        return [getattr(value, k) for k in data], tuple(getattr(value, k) for k in static)

    def unflatten(structure: Any, leaves: Any) -> Any:
        return cls(
            **dict(zip(data, leaves, strict=True)), **dict(zip(static, structure, strict=True))
        )

    jax.tree_util.register_pytree_node(cls, flatten, unflatten)
    return cls


#: A rule: a layer and the relevance of its outputs give the relevance of its inputs.
Rule = Callable[[Linear, Array], Any]


def rule_name(rule: Rule) -> str:
    """The name of a rule, as the function that makes it has."""
    return getattr(rule, "name", None) or getattr(rule, "__name__", type(rule).__name__)


def epsilon(epsilon: float = 1e-6, *, bias: bool = True) -> Rule:
    r"""LRP-epsilon; with `epsilon=0` LRP-0.

    .. math::
        R_j = \sum_k \frac{x_j w_{jk}}{z_k + \epsilon \, \mathrm{sign}(z_k)} R_k, \qquad \mathrm{sign}(0) = 1

    Args:
      epsilon: stabilises small denominators, and absorbs relevance where contributions cancel.
      bias: whether the bias is part of :math:`z_k`, and so takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0.

    References:
      bach2015pixelwise
    """
    return _Epsilon(_knob("epsilon", epsilon), bias)


def z_plus(epsilon: float = 1e-6, *, bias: bool = True) -> Rule:
    r"""The z+ rule: positive contributions only.

    .. math::
        R_j = \sum_k \frac{x_j^+ w_{jk}^+ + x_j^- w_{jk}^-}{\sum_i (x_i^+ w_{ik}^+ + x_i^- w_{ik}^-) + b_k^+} R_k

    Differs from its paper, where inputs are not negative, in also taking two negatives for a positive contribution:
    it is `alpha_beta(1, 0)`.

    Args:
      epsilon: added to the denominator.
      bias: whether a positive bias takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0.

    References:
      montavon2017explaining
    """
    return _ZPlus(_knob("z_plus", epsilon), bias)


def alpha_beta(
    alpha: float = 2.0, beta: float = 1.0, epsilon: float = 1e-6, *, bias: bool = True
) -> Rule:
    r"""LRP-alpha-beta: positive and negative contributions apart.

    .. math::
        R_j = \sum_k \Big( \alpha \frac{(x_j w_{jk})^+}{\sum_i (x_i w_{ik})^+ + b_k^+}
                         - \beta \frac{(x_j w_{jk})^-}{\sum_i (x_i w_{ik})^- + b_k^-} \Big) R_k

    Args:
      alpha: of the contributions that speak for the output.
      beta: of those that speak against it; `alpha - beta` is 1, which conserves relevance.
      epsilon: added to the denominators, with their sign.
      bias: whether the bias takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: one of them is negative, or `alpha - beta` is not 1.

    References:
      bach2015pixelwise
    """
    weights = _knob("alpha_beta", alpha, "alpha"), _knob("alpha_beta", beta, "beta")
    if not is_traced((alpha, beta)) and abs(alpha - beta - 1) > 1e-6:
        rule = "be alpha - 1, or relevance is not conserved"
        raise ValueError(complaint("alpha_beta", "beta", rule, beta))
    return _AlphaBeta(*weights, _knob("alpha_beta", epsilon), bias)


def gamma(gamma: float = 0.25, epsilon: float = 1e-6, *, bias: bool = True) -> Rule:
    r"""LRP-gamma: positive contributions weigh more.

    .. math::
        R_j = \sum_k \frac{x_j (w_{jk} + \gamma w_{jk}^+)}
                        {\sum_i x_i (w_{ik} + \gamma w_{ik}^+) + b_k + \gamma b_k^+} R_k

    That is the rule of its paper, for inputs and outputs that are not negative. For others it is generalised: what
    grows are the contributions that have the sign of the output :math:`z_k`; where that is zero, relevance is lost.

    Args:
      gamma: how much more; 0 is the epsilon rule.
      epsilon: added to the denominator, with its sign.
      bias: whether the bias takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: `gamma` < 0 or `epsilon` < 0.

    References:
      montavon2019overview
    """
    return _Gamma(_knob("gamma", gamma, "gamma"), _knob("gamma", epsilon), bias)


def own_sign(epsilon: float = 1e-6, *, bias: bool = True) -> Rule:
    r"""Only contributions that have the output's own sign: the limit of `gamma`, in which no others count.

    .. math::
        R_j = \sum_k \frac{[x_j w_{jk}]_k}{\sum_i [x_i w_{ik}]_k + [b_k]_k} R_k, \qquad
        [v]_k = v^+ \text{ if } z_k > 0, \; v^- \text{ if } z_k < 0

    No share is negative, and an output that is not zero always has contributions to share among. Where outputs are
    positive it is `z_plus`.

    Args:
      epsilon: added to the denominator, with its sign.
      bias: whether the bias is part of :math:`z_k`, and so takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0.
    """
    return _OwnSign(_knob("own_sign", epsilon), bias)


def z_box(low: Any, high: Any, epsilon: float = 1e-6) -> Rule:
    r"""The z^B rule, for a first layer whose input lies in a box: pixels.

    .. math::
        R_j = \sum_k \frac{x_j w_{jk} - l_j w_{jk}^+ - h_j w_{jk}^-}
                        {\sum_i (x_i w_{ik} - l_i w_{ik}^+ - h_i w_{ik}^-)} R_k

    Args:
      low: the lowest value there can be, l: a number or an array that broadcasts to the model's input, as one value
        for each channel. In the model's input space; what the model itself does before the layer is done to it, too.
      high: the highest, h.
      epsilon: added to the denominator.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0, or `low` is not below `high`.

    References:
      montavon2017explaining
    """
    low, high = (end if is_traced(end) else np.asarray(end, np.float64) for end in (low, high))
    if not is_traced((low, high)) and np.any(low > high):
        raise ValueError(complaint("z_box", "low", f"not be above high, {high}", low))
    return ZBox(low, high, _knob("z_box", epsilon))


def w_square(epsilon: float = 1e-6, *, bias: bool = True) -> Rule:
    r"""The w^2 rule, for a first layer whose input has no bounds: the input itself plays no part.

    .. math::
        R_j = \sum_k \frac{w_{jk}^2}{\sum_i w_{ik}^2 + b_k^2} R_k

    Args:
      epsilon: added to the denominator.
      bias: whether the bias takes its share of the relevance, which is lost.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0.

    References:
      montavon2017explaining
    """
    return _WSquare(_knob("w_square", epsilon), bias)


def flat(epsilon: float = 1e-6) -> Rule:
    r"""The flat rule, for a first layer: relevance spreads evenly over what an output sees.

    .. math::
        R_j = \sum_k \frac{1}{\sum_i 1} R_k

    Args:
      epsilon: added to the denominator.

    Returns:
      The rule.

    Raises:
      ValueError: `epsilon` < 0.

    References:
      lapuschkin2019unmasking
    """
    return _Flat(_knob("flat", epsilon))


def pass_() -> Rule:
    """Relevance passes through, from each output to the input in the same place; the shapes must be the same.

    What is no linear layer (activation functions, a batch norm that follows none) passes its relevance anyway.
    """
    return _Pass()


@pytree
@dataclasses.dataclass(frozen=True)
class _Epsilon:
    name: ClassVar[str] = "epsilon"
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        part = layer.x, layer.w, _bias(self, layer)
        return layer.share(R, [part], self.epsilon, _output(self, layer))


@pytree
@dataclasses.dataclass(frozen=True)
class _ZPlus:
    name: ClassVar[str] = "z_plus"
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        x, w, b = layer.signed, (_positive(layer.w), _negative(layer.w)), _bias(self, layer)
        return layer.share(R, _pair(x, w, _positive(b)), self.epsilon)


@pytree
@dataclasses.dataclass(frozen=True)
class _AlphaBeta:
    name: ClassVar[str] = "alpha_beta"
    alpha: Any
    beta: Any
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        x, b = layer.signed, _bias(self, layer)
        positive, negative = _positive(layer.w), _negative(layer.w)
        alpha, beta = (jnp.asarray(knob, R.dtype) for knob in (self.alpha, self.beta))
        support = _pair(x, (positive, negative), _positive(b))
        against = _pair(x, (negative, positive), _negative(b))
        return jax.tree.map(
            jnp.add,
            layer.share(alpha * R, support, self.epsilon),
            layer.share(-beta * R, against, self.epsilon),
        )


@pytree
@dataclasses.dataclass(frozen=True)
class _Gamma:
    name: ClassVar[str] = "gamma"
    gamma: Any
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        gamma = jnp.asarray(self.gamma, R.dtype)
        return _favour(self, layer, R, lambda whole, part: whole + gamma * part)


@pytree
@dataclasses.dataclass(frozen=True)
class _OwnSign:
    name: ClassVar[str] = "own_sign"
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        return _favour(self, layer, R, lambda _, part: part)


@pytree
@dataclasses.dataclass(frozen=True)
class ZBox:
    """See `z_box`."""

    name: ClassVar[str] = "z_box"
    low: Any
    high: Any
    epsilon: Any

    def fill(self, where: str, end: Any, x: Array) -> Array:
        """One end of the box in the place of the model's input.

        Raises:
          ValueError: it does not broadcast to the input.
        """
        try:
            return jnp.broadcast_to(jnp.asarray(end, x.dtype), x.shape)
        except ValueError:
            rule = f"have bounds in z_box that broadcast to the input's shape {x.shape}"
            raise ValueError(
                complaint(where, "composite", rule, f"shape {jnp.shape(end)}")
            ) from None

    def __call__(self, layer: Linear, R: Array) -> Any:
        assert layer.bounds is not None
        (low, high), w = layer.bounds, layer.w
        parts = [(layer.x, w, 0.0), (-low, _positive(w), 0.0), (-high, _negative(w), 0.0)]
        return layer.share(R, parts, self.epsilon)


@pytree
@dataclasses.dataclass(frozen=True)
class _WSquare:
    name: ClassVar[str] = "w_square"
    epsilon: Any
    bias: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, layer: Linear, R: Array) -> Any:
        ones, b = jax.tree.map(jnp.ones_like, layer.x), _bias(self, layer)
        return layer.share(R, [(ones, layer.w**2, b * b)], self.epsilon)


@pytree
@dataclasses.dataclass(frozen=True)
class _Flat:
    name: ClassVar[str] = "flat"
    epsilon: Any

    def __call__(self, layer: Linear, R: Array) -> Any:
        ones = jax.tree.map(jnp.ones_like, layer.x)
        return layer.share(R, [(ones, jnp.ones_like(layer.w), 0.0)], self.epsilon)


@pytree
@dataclasses.dataclass(frozen=True)
class _Pass:
    name: ClassVar[str] = "pass_"

    def __call__(self, layer: Linear, R: Array) -> Any:
        if jnp.shape(layer.x) != R.shape:
            got = f"{jnp.shape(layer.x)} -> {R.shape}"
            raise ValueError(
                complaint("pass_", "layer", "have an output of its input's shape", got)
            )
        return R


def _positive(v: Any) -> Any:
    return jnp.where(v <= 0, 0, v)  # its derivative at 0 is 0, that of a maximum would be 1/2


def _negative(v: Any) -> Any:
    return jnp.where(v >= 0, 0, v)


def _pair(x: tuple[Any, Any], w: tuple[Array, Array], b: Any) -> list[Part]:
    """The positive part of the input with one weight, the negative part with the other; the bias counts once."""
    return [(x[0], w[0], b), None if x[1] is None else (x[1], w[1], 0.0)]


def _favour(rule: Any, layer: Linear, R: Array, favour: Callable[[Any, Any], Any]) -> Any:
    """Share with the contributions favoured that have the sign of the output."""
    x, w, b, z = layer.signed, layer.w, _bias(rule, layer), _output(rule, layer)
    support = layer.total(_pair(x, (_positive(w), _negative(w)), _positive(b)))
    # What speaks against an output is the rest; counted where that is negative, it is the larger part.
    parts = (_positive, support), (_negative, z - support)
    (w_for, b_for, z_for), (w_against, b_against, z_against) = (
        (favour(w, part(w)), favour(b, part(b)), favour(z, of_z)) for part, of_z in parts
    )
    return jax.tree.map(
        jnp.add,
        layer.share(R * (z > 0), _pair(x, (w_for, w_against), b_for), rule.epsilon, z_for),
        layer.share(R * (z < 0), _pair(x, (w_against, w_for), b_against), rule.epsilon, z_against),
    )


def _bias(rule: Any, layer: Linear) -> Any:
    return layer.b if rule.bias else 0.0


def _output(rule: Any, layer: Linear) -> Array:
    return layer.z if rule.bias else layer.product(layer.x, layer.w)


@jax.jit  # traced once for all outputs of one shape
def _divide(R: Array, z: Array, epsilon: Any) -> Array:
    r""":math:`R / (z + \epsilon \, \mathrm{sign}(z))`, zero where the denominator is; also their derivatives."""
    epsilon = jnp.asarray(epsilon, z.dtype)
    z = z + jnp.where(z >= 0, epsilon, -epsilon)
    dead = z == 0
    return jnp.where(dead, 0, R / jnp.where(dead, 1, z))


def _knob(where: str, value: Any, name: str = "epsilon") -> Any:
    return check_number(where, name, value, within="not_negative", optional=False)
