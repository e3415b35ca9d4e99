"""The game under LIME, Shapley values and occlusion: what a model answers when features are hidden.

`v(z)` is the score of the input with the features kept where `z` is true, as a mask hides them. The estimators see
nothing else, so the same one explains an image, a table row and a sentence.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

from xaijax.core._errors import complaint
from xaijax.core._lower import lower
from xaijax.core._mask import Mask, row_weights, show
from xaijax.core._model import is_black_box
from xaijax.core._sampling import chunk_size
from xaijax.core._score import Linked, Target, score


@dataclasses.dataclass(frozen=True)
class Game:
    """`v(z)`: the score of the input with the features kept where `z` is true."""

    where: str
    f: Callable[[Any], Any]
    target: Target
    show: Callable[[Array], Any]
    stacked: bool
    like: Any
    black_box: bool
    weights: Float[Array, " b"] | None
    show_row: Callable[[Array, Array], Any]

    def chunk_size(self, batch_size: int | None, num_coalitions: int) -> int:
        """How many coalitions to score at once."""
        return chunk_size(
            self.where, batch_size, num_coalitions, self.like, black_box=self.black_box
        )

    def __call__(self, z: Bool[Array, " num_features"]) -> Float[Array, ""]:
        if isinstance(self.target, Linked):  # the link of the mean, not the mean of the links
            target, link = self.target.target, self.target.link
            return link(self._mean(z, lambda y: score(y, target, where=self.where)))
        return self._mean(z, lambda y: score(y, self.target, where=self.where))

    def outputs(self, z: Bool[Array, " num_features"]) -> Any:
        """What the model answers, the mean over the stack if the mask makes one."""
        return self._mean(z, lambda y: y)

    def rows(self) -> "Rows":
        """The game as the mean of the games of the inputs that the mask stacks."""
        return Rows(self)

    def _mean(self, z: Bool[Array, " num_features"], of: Callable[[Any], Any]) -> Any:
        shown = self.show(z)
        if not self.stacked:
            return of(self.f(shown))
        answers = jax.vmap(lambda row: of(self.f(row)))(shown)
        return jax.tree.map(lambda a: _mean(a, self.weights), answers)


def _mean(a: Float[Array, "b *shape"], weights: Float[Array, " b"] | None) -> Array:
    """The mean over the stack. Half precision cannot count the rows, so weights are summed in a wider one."""
    if weights is None:
        return a.mean(0)
    wide = jnp.promote_types(a.dtype, jnp.float32)
    w = weights.astype(wide).reshape(-1, *[1] * (a.ndim - 1))
    mean = (w * a).sum(0) / w.sum()
    return mean.astype(a.dtype) if jnp.issubdtype(a.dtype, jnp.inexact) else mean


@dataclasses.dataclass(frozen=True)
class Rows:
    """The inputs that a mask stacks, one by one: `v(z)` is the mean of `rows(z, b)` over them.

    A mask that shows one input makes one row; so does a link, which is of the mean and not of its parts.
    """

    v: Game

    @property
    def number(self) -> int:
        """How many there are."""
        return jax.tree.leaves(self.v.like)[0].shape[0] if self._apart else 1

    @property
    def _apart(self) -> bool:
        return self.v.stacked and not isinstance(self.v.target, Linked)

    def chunk_size(self, batch_size: int | None, num_scores: int) -> int:
        """How many to score at once."""
        v = self.v
        if self._apart:
            like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), v.like)
            v = dataclasses.replace(v, like=like)
        return v.chunk_size(batch_size, num_scores)

    def __call__(self, z: Bool[Array, " num_features"], b: Int[Array, ""]) -> Float[Array, ""]:
        """The score of one of them."""
        v = self.v
        return score(v.f(v.show_row(z, b)), v.target, where=v.where) if self._apart else v(z)

    def draw(self, bits: UInt32[Array, ""]) -> Int[Array, ""]:
        """One of them by its weight, of a random word."""
        if self.v.weights is None or not self._apart:
            return (bits % self.number).astype(jnp.int32)
        share = jnp.cumsum(self.v.weights.astype(jnp.float32))
        place = (bits >> 8).astype(jnp.float32) * 2.0**-24 * share[-1]
        return jnp.searchsorted(share, place, side="right")

    def mean(self, scores: Float[Array, " number"]) -> Float[Array, ""]:
        """The game's score, of those of all."""
        return _mean(scores, self.v.weights if self._apart else None)


def game(where: str, f: Callable[[Any], Any], x: Any, target: Target, mask: Mask) -> Game:
    """The game of a model, an input, a target and a mask.

    Raises:
      ValueError: the mask has no features, or returns something that is neither like `x` nor a stack of such.
    """
    if mask.num_features < 1:
        rule = "have at least one feature"
        raise ValueError(complaint(where, "mask", rule, mask.num_features))
    shown = show(mask, x)
    like = jax.eval_shape(shown, jax.ShapeDtypeStruct((mask.num_features,), bool))
    before, after = jax.tree.leaves(x), jax.tree.leaves(like)
    shapes = [(jnp.shape(b), a.shape) for b, a in zip(before, after, strict=False)]
    same = len(before) == len(after) and all(b == a for b, a in shapes)
    stacked = len(before) == len(after) and all(b == a[1:] for b, a in shapes)
    lengths = {a[:1] for _, a in shapes}
    stacked = stacked and len(lengths) == 1 and not lengths & {(), (0,)}
    if not same and not stacked:
        rule = f"return inputs like x, {[b for b, _ in shapes]}, or a stack of such"
        raise ValueError(complaint(where, "mask", rule, [a.shape for a in after]))
    stacked, weights = stacked and not same, row_weights(mask)
    if weights is not None and (not stacked or {weights.shape} != lengths):
        rule = "have one of its row_weights for each input that it stacks"
        raise ValueError(complaint(where, "mask", rule, f"{weights.shape} for {sorted(lengths)}"))

    def show_row(z: Array, b: Array) -> Any:
        at_row = getattr(mask, "at_row", None)
        if at_row is not None:
            return at_row(x, z, b)
        return jax.tree.map(lambda a: a[b], shown(z))

    return Game(where, lower(f), target, shown, stacked, like, is_black_box(f), weights, show_row)
