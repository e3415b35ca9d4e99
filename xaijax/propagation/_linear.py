r"""Linear layers that wait: a bias and a batch norm may still join them.

Rules speak of :math:`z = \sum x w + b` with the whole weight and the whole bias. A model computes them in steps (a
convolution, a bias, a batch norm of four operations), in its framework's own order. So a product is not computed
at once but kept as an `Affine`, which takes up every constant that is added to it or multiplies it. The first
operation that cannot join asks for its value; that is the layer, and its batch norm is in the weight.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from xaijax.core._interpreter import Site
from xaijax.core._lower import lowered_term_by_term, lowering
from xaijax.core._tree import as_tree
from xaijax.core._twin import twin
from xaijax.propagation._rules import Linear, Rule

#: Three zeros beside an equation, whose cotangent is its relevance: what came, was absorbed, was handed down.
Account = Array | None


@dataclasses.dataclass(frozen=True, eq=False)
class Affine:
    """A layer that was not asked for its value yet.

    Attributes:
      layer: its product, input, weight and bias so far.
      rule: the rule of its relevance.
      axes: where the axes of the output are in the weight; axes that are not, have no place there.
      shape: of the output.
      dtype: of the output.
      joins_bias: whether an added constant is a bias; a constant added to a mean is none.
      taps: zeros to be added to the value: their cotangent is the relevance there.
      account: where its relevance is noted.
    """

    layer: Linear
    rule: Rule
    axes: dict[int, int]
    shape: tuple[int, ...]
    dtype: Any
    joins_bias: bool = True
    taps: tuple[Array, ...] = ()
    account: Account = None

    @functools.cached_property
    def value(self) -> Array:
        """The output, a twin whose cotangent is relevance."""
        z = propagated(self.layer, self.rule, self.dtype, self.account)
        for tap in self.taps:
            z = z + tap
        return z

    def plus(self, c: Any) -> "Affine":
        """A constant was added."""
        return self._with(b=self.layer.b + c)

    def times(self, c: Array) -> "Affine | None":
        """A constant has multiplied it; `None` if that varies along an axis that the weight has not."""
        layer, shape = self.layer, (1,) * (len(self.shape) - jnp.ndim(c)) + jnp.shape(c)
        if any(n != 1 and axis not in self.axes for axis, n in enumerate(shape)):
            return None
        ranked = jnp.reshape(c, shape)
        along = [ranked.shape[a] if a in self.axes else 1 for a in range(len(shape))]
        order = sorted(self.axes, key=lambda axis: self.axes[axis])
        scale = jnp.transpose(ranked, [*order, *(a for a in range(len(shape)) if a not in order)])
        full = [1] * jnp.ndim(layer.w)
        for axis, place in self.axes.items():
            full[place] = along[axis]
        w = (layer.w * scale.reshape(full)).astype(layer.w.dtype)
        return self._with(w=w, b=layer.b * c)

    def moved(self, site: Site) -> "Affine | None":
        """An equation that only renames the axes or converts; `None` if it does more."""
        like = site.outputs[0]
        before = [axis for axis, n in enumerate(self.shape) if n != 1]
        if site.op == "transpose":
            places = {old: new for new, old in enumerate(site.params["permutation"])}
        elif site.op in ("reshape", "squeeze", "broadcast_in_dim"):
            after = [axis for axis, n in enumerate(like.shape) if n != 1]
            if [self.shape[a] for a in before] != [like.shape[a] for a in after]:
                return None
            places = dict(zip(before, after, strict=True))
        elif site.op in ("convert_element_type", "reduce_precision", "copy"):
            places = {axis: axis for axis in before}
        else:
            return None
        axes = {places[axis]: place for axis, place in self.axes.items() if axis in places}
        product, b = self.layer.product, jnp.asarray(self.layer.b, self.dtype)
        assert isinstance(product, Product)
        moved = self._with(product=product.then(site), b=site(jnp.broadcast_to(b, self.shape)))
        taps = tuple(site(tap) for tap in self.taps)
        return dataclasses.replace(moved, axes=axes, shape=like.shape, dtype=like.dtype, taps=taps)

    def tapped(self, tap: Array) -> "Affine":
        """Its value plus zeros whose cotangent is wanted."""
        return dataclasses.replace(self, taps=(*self.taps, tap))

    def _with(self, **changes: Any) -> "Affine":
        return dataclasses.replace(self, layer=dataclasses.replace(self.layer, **changes))


def settle(value: Any) -> Any:
    """The value itself, computed if it waited."""
    return value.value if isinstance(value, Affine) else value


def propagated(layer: Linear, rule: Rule, dtype: Any, account: Account = None) -> Array:
    """The layer's output, with the rule for a cotangent. Every array is an argument of the twin, the rule's too."""
    product = layer.product
    handed_down = _hand_down(product, layer.nonnegative, lowering())

    def forward(account: Account, rule: Rule, x: Any, w: Array, b: Array, bounds: Any) -> Array:
        return product(x, w) + b

    def backward(R: Array, z: Array, account: Account, *args: Any) -> Any:
        noted, R_x = handed_down(R, z, account, *args)
        return noted, None, R_x, None, None, None

    b = jnp.asarray(layer.b, dtype)
    return twin(forward, backward)(account, as_tree(rule), layer.x, layer.w, b, layer.bounds)


@functools.lru_cache(maxsize=1024)
def _hand_down(product: Any, nonnegative: bool, fast: bool) -> Callable[..., tuple[Account, Any]]:
    """The backward pass of a layer: layers of one kind and shape share it, so that it is traced and lowered once.

    `fast` only tells apart what was traced with convolutions rewritten and without.
    """

    def hand_down(
        R: Array, z: Array, account: Account, rule: Rule, x: Any, w: Array, b: Array, bounds: Any
    ) -> tuple[Account, Any]:
        layer = Linear(product, x, w, b, z, nonnegative, bounds)
        R_x = rule(layer, R)
        return booked(account, R, [R_x], layer.absorbed), R_x

    return jax.jit(hand_down)


def booked(
    account: Account, R: Any, handed_down: Sequence[Any], absorbed: Sequence[Array] = ()
) -> Account:
    """The relevance that came, what of it biases absorbed and what was handed down, where somebody asks."""
    if account is None:
        return None
    sums = [
        sum(
            (jnp.sum(v) for v in jax.tree.leaves(tree) if jnp.issubdtype(v.dtype, jnp.inexact)), 0.0
        )
        for tree in (R, absorbed, handed_down)
    ]
    return jnp.stack([jnp.asarray(total, account.dtype) for total in sums])


@dataclasses.dataclass(frozen=True)
class Product:
    """What a layer computes of `(x, w)`: a convolution or matrix product, or a pooling times w; then moves.

    Two are equal if they compute the same.
    """

    sites: tuple[Site, ...] = dataclasses.field(compare=False)
    is_pooling: bool
    left: bool  # whether x comes before w
    same: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "same", tuple(site.what for site in self.sites))

    def __call__(self, x: Any, w: Array) -> Array:
        return self._moved(functools.partial(lowered_term_by_term, self.sites[0]), x, w)

    def as_written(self, x: Any, w: Array) -> Array:
        """The same, with a convolution as the model has it: its transpose is one, too, which can be lowered."""
        return self._moved(self.sites[0], x, w)

    def _moved(self, first: Callable[..., Array], x: Any, w: Array) -> Array:
        y = first(x) * w if self.is_pooling else first(*((x, w) if self.left else (w, x)))
        for move in self.sites[1:]:
            y = move(y)
        return y

    @property
    def is_convolution(self) -> bool:
        """Whether it is one, perhaps with moves after it."""
        return self.sites[0].op == "conv_general_dilated"

    def then(self, move: Site) -> "Product":
        """The product and a move after it."""
        return dataclasses.replace(self, sites=(*self.sites, move))


def pooling(site: Site) -> Product:
    """A pooling as a function of `(x, w)`, with one weight for all."""
    return Product((site,), is_pooling=True, left=True)


def contraction(site: Site) -> tuple[Product, dict[int, int]]:
    """A convolution or matrix product as a function of `(x, w)`, and where the axes of its output are in w."""
    left, p = site.active[0], site.params
    product = Product((site,), is_pooling=False, left=left)
    if site.op == "conv_general_dilated":
        numbers = p["dimension_numbers"]
        return product, {numbers.out_spec[1]: numbers.rhs_spec[0]} if left else {}
    contracted, batch = (pair[left] for pair in p["dimension_numbers"])
    free = [
        axis for axis in range(len(site.inputs[left].shape)) if axis not in (*contracted, *batch)
    ]
    first = len(site.outputs[0].shape) - len(free) if left else len(batch)
    return product, dict(enumerate(batch)) | {first + i: axis for i, axis in enumerate(free)}
