"""What the features of an image, a table row and a sentence are, and what is there when they are hidden.

A *mask* knows an input's features and how to hide them: `mask(x, z)` is `x` with the features kept where `z` is
true. The score of that is the game that estimators see (`_game.py`).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._tree import is_traced


@runtime_checkable
class Mask(Protocol):
    """How an input is taken apart. Any callable pytree with these three will do.

    Attributes:
      num_features: how many features can be hidden.
    """

    @property
    def num_features(self) -> int:
        """How many features can be hidden."""
        ...

    def __call__(self, x: Any, z: Bool[Array, " num_features"]) -> Any:
        """Hide the features where `z` is false.

        Returns:
          An input like `x`; or several of them, stacked, over whose scores the game takes the mean, weighted by the
          mask's `row_weights` if it has such.
        """
        ...

    def paint(self, values: Float[Array, " num_features"]) -> Array:
        """Lay the features' values out on the input."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Segments:
    """The segments of an image as features. Made by `segments`."""

    labels: Int[Array, "h w"]
    hidden: Any
    num_features: int = dataclasses.field(metadata={"static": True})

    def background(self, x: Float[Array, "h w c"]) -> Float[Array, "h w c"]:
        """What a hidden segment shows."""
        if self.hidden is not None:
            return jnp.broadcast_to(jnp.asarray(self.hidden, x.dtype), x.shape)
        # A sum of bytes wraps around, and a half-precision one cannot count to 257.
        wide = jnp.promote_types(x.dtype, jnp.float32)
        flat, pixels = self.labels.reshape(-1), x.reshape(self.labels.size, -1).astype(wide)
        total = jax.ops.segment_sum(pixels, flat, self.num_features)
        area = jax.ops.segment_sum(jnp.ones_like(pixels[:, :1]), flat, self.num_features)
        mean = (total / area)[flat].reshape(x.shape)
        return (jnp.round(mean) if jnp.issubdtype(x.dtype, jnp.integer) else mean).astype(x.dtype)

    def at(self, x: Float[Array, "h w c"]) -> Callable[[Array], Array]:
        """`z -> masked x`, with the hidden image computed once."""
        if x.shape[: self.labels.ndim] != self.labels.shape:
            raise ValueError(
                complaint(
                    "segments", "labels", f"have the image's size {x.shape[:2]}", self.labels.shape
                )
            )
        return jax.tree_util.Partial(self._show, x, self.background(x))

    def _show(self, x: Array, background: Array, z: Array) -> Array:
        kept = z[self.labels].reshape(*self.labels.shape, *[1] * (x.ndim - self.labels.ndim))
        return jnp.where(kept, x, background)

    def __call__(self, x: Array, z: Array) -> Array:
        """The image with the segments hidden where `z` is false."""
        return self.at(x)(z)

    def paint(self, values: Float[Array, " num_features"]) -> Float[Array, "h w"]:
        """Each pixel gets its segment's value."""
        return values[self.labels]


def segments(labels: Int[Array | np.ndarray, "h w"], hidden: Any = None) -> Segments:
    """The segments (superpixels) of an image as features.

    Args:
      labels: the segment of each pixel `(h, w)`: 0, 1, ..., n-1, none left out.
      hidden: what a hidden segment shows: `None` for its mean colour, a number, or an image like `x` (a blurred
        copy, another image).

    Raises:
      ValueError: a label is left out, or `labels` is empty.
      TypeError: `labels` are no integers.

    Examples:
      >>> mask = segments(jnp.array([[0, 0, 1]]))
      >>> image = jnp.array([[[1.0], [3.0], [5.0]]])
      >>> mask(image, jnp.array([False, True]))[..., 0]
      Array([[2., 2., 5.]], dtype=float32)
    """
    if is_traced(labels):
        fix = "Compute them outside jit: their number decides the program's shapes."
        raise TypeError(complaint("segments", "labels", "be concrete", "a traced array", fix))
    numbers = np.asarray(labels)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(complaint("segments", "labels", "be integers", numbers.dtype))
    present = np.unique(numbers)
    if not np.array_equal(present, np.arange(len(present))) or not len(present):
        gap = sorted(set(range(len(present))) - set(present.tolist()))[:3]
        got = (
            f"labels from {present.min()} to {present.max()} without {gap}"
            if len(present)
            else "none"
        )
        fix = "A label left out would never be hidden. numpy.unique(labels, return_inverse=True)."
        raise ValueError(complaint("segments", "labels", "be 0, 1, ..., n-1", got, fix))
    return Segments(jnp.asarray(numbers, jnp.int32), hidden, len(present))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """The elements of an array, or groups of them, as features, hidden by a background set. Made by `columns`."""

    background: Float[Array, "b *shape"]
    row_weights: Float[Array, " b"] | None = None
    feature: Int[Array, "*shape"] | None = None  # of each element; -1 if it is never hidden
    num_groups: int | None = dataclasses.field(default=None, metadata={"static": True})

    @property
    def num_features(self) -> int:
        """One per element or group."""
        return math.prod(self.background.shape[1:]) if self.num_groups is None else self.num_groups

    def __call__(self, x: Float[Array, "*shape"], z: Array) -> Float[Array, "b *shape"]:
        """One copy of `x` per background row, which shows where `z` is false."""
        if x.shape != self.background.shape[1:]:
            got = f"rows of shape {self.background.shape[1:]}"
            raise ValueError(
                complaint("columns", "background", f"have rows like x, {x.shape}", got)
            )
        return jnp.where(self._of_elements(z, True), x, self.background.astype(x.dtype))

    def at_row(
        self, x: Float[Array, "*shape"], z: Array, b: Int[Array, ""]
    ) -> Float[Array, "*shape"]:
        """The copy of `x` for one row of the background, without making the others."""
        return jnp.where(self._of_elements(z, True), x, self.background[b].astype(x.dtype))

    def paint(self, values: Float[Array, " num_features"]) -> Float[Array, "*shape"]:
        """The shape of `x`: each element's value, or its group's; 0 where nothing is hidden."""
        return self._of_elements(values, 0)

    def _of_elements(self, values: Array, others: Any) -> Array:
        """A value for each element, and one for those that are never hidden."""
        if self.feature is None:
            return values.reshape(self.background.shape[1:])
        return _spread(values, self.feature, others)


def columns(
    background: Float[Array, "b *shape"],
    weights: Float[Array, " b"] | None = None,
    *,
    groups: Int[Array | np.ndarray, "*shape"] | None = None,
) -> Columns:
    r"""The columns of a table row as features, hidden by what stands in a background set.

    The game is the interventional one: :math:`v(S) = \sum_b w_b f(x_S, b_{\bar S}) / \sum_b w_b`. Correlated columns
    are torn apart by it, unless they are a group; a conditional game would give other values.

    Args:
      background: rows to draw hidden values from, `(b, *shape of x)`: training rows, a sample or a summary of them.
      weights: how much each row counts in the mean, `(b,)`, such as how many rows it stands for (`k_means`). By
        default all alike.
      groups: the group of each column, integers of the shape of `x`: columns of a group are one feature, hidden
        together. Correlated columns; the columns of a one-hot code. A negative one is never hidden. Features are in the
        order of their groups' numbers; `paint` gives every column the value of its whole group. By default each column
        is its own.

    Raises:
      ValueError: `background` has no rows or is not finite, `weights` are not one per row, negative, not finite or all
        zero, or `groups` do not fit a row.
      TypeError: `groups` are traced.

    Examples:
      >>> background = jnp.array([[0.0, 0.0], [10.0, 20.0]])
      >>> mask = columns(background)
      >>> mask(jnp.array([1.0, 2.0]), jnp.array([True, False]))
      Array([[ 1.,  0.],
             [ 1., 20.]], dtype=float32)
      >>> mask = columns(background, groups=np.array([0, 0]))
      >>> mask(jnp.array([1.0, 2.0]), jnp.array([False]))
      Array([[ 0.,  0.],
             [10., 20.]], dtype=float32)
    """
    background = jnp.asarray(background)
    if background.ndim < 1 or background.shape[0] == 0:
        got = f"shape {background.shape}"
        raise ValueError(complaint("columns", "background", "have at least one row", got))
    if not is_traced(background) and not bool(jnp.isfinite(background).all()):
        fix = "Impute or drop these rows first."
        raise ValueError(
            complaint("columns", "background", "be finite", "NaN or infinite values", fix)
        )
    if weights is not None:
        weights = _row_weights(weights, background.shape[0])
    if groups is None:
        return Columns(background, weights)
    numbers = _group_numbers("columns", groups, background.shape[1:], "column")
    if not (numbers >= 0).any():
        raise ValueError(
            complaint("columns", "groups", "have a column that may be hidden", numbers.tolist())
        )
    return Columns(background, weights, *_features(numbers, numbers >= 0))


def _row_weights(weights: Any, num_rows: int) -> Float[Array, " b"]:
    weights = jnp.asarray(weights)
    if weights.shape != (num_rows,):
        rule, got = f"be one per row of the background, ({num_rows},)", f"shape {weights.shape}"
        raise ValueError(complaint("columns", "weights", rule, got))
    if not is_traced(weights):
        given = np.asarray(weights, np.float64)
        if not np.isfinite(given).all() or (given < 0).any() or not given.any():
            rule = "be finite, not negative and not all zero"
            raise ValueError(complaint("columns", "weights", rule, given.tolist()))
    if jnp.issubdtype(weights.dtype, jnp.floating):
        return weights
    return weights.astype(float)  # numbers of rows: of JAX's own precision


def _group_numbers(
    where: str, groups: Any, shape: tuple[int, ...], one: str
) -> Int[np.ndarray, "*shape"]:
    """The groups, concrete; by default each element is its own."""
    if groups is None:
        return np.arange(math.prod(shape)).reshape(shape)
    if is_traced(groups):
        fix = "Compute them outside jit: their number decides the program's shapes."
        raise TypeError(complaint(where, "groups", "be concrete", "a traced array", fix))
    numbers = np.asarray(groups)
    if numbers.shape != shape or not np.issubdtype(numbers.dtype, np.integer):
        rule, got = f"be integers, one per {one} {shape}", f"{numbers.dtype} {numbers.shape}"
        raise ValueError(complaint(where, "groups", rule, got))
    return numbers


def _features(
    numbers: Int[np.ndarray, "*shape"], hidden: Bool[np.ndarray, "*shape"]
) -> tuple[Int[Array, "*shape"], int]:
    """The feature of each element, -1 for one that is never hidden, and how many features there are."""
    present, inverse = np.unique(numbers[hidden], return_inverse=True)
    feature = np.full(numbers.shape, -1)
    feature[hidden] = inverse
    return jnp.asarray(feature), len(present)


def _spread(values: Array, feature: Int[Array, "*shape"], others: Any) -> Array:
    """Each element gets its feature's value, and one that is never hidden gets `others`."""
    return jnp.append(values, jnp.asarray(others, values.dtype))[feature]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Tokens:
    """The tokens of a text as features. Made by `tokens`."""

    feature: Int[Array, " length"]  # of each token; -1 if it is never hidden
    mask_token: Any
    pad_token: Any
    num_features: int = dataclasses.field(metadata={"static": True})

    def __call__(self, x: Int[Array, " length"], z: Array) -> Int[Array, " length"]:
        """The text without the tokens where `z` is false: with the mask token there, or closed up and padded."""
        if x.shape != self.feature.shape:
            rule, got = f"have the shape {self.feature.shape}", f"shape {x.shape}"
            raise ValueError(complaint("tokens", "x", rule, got))
        x = jnp.asarray(x)
        kept = self._of_tokens(z, True)
        if self.pad_token is None:
            return jnp.where(kept, x, jnp.asarray(self.mask_token, x.dtype))
        order = jnp.argsort(~kept, stable=True)
        there = jnp.arange(x.size) < kept.sum()
        return jnp.where(there, x[order], jnp.asarray(self.pad_token, x.dtype))

    def paint(self, values: Float[Array, " num_features"]) -> Float[Array, " length"]:
        """Each token's value; 0 where nothing is hidden."""
        return self._of_tokens(values, 0)

    def _of_tokens(self, values: Array, others: Any) -> Array:
        """A value for each token, and one for those that are never hidden."""
        return _spread(values, self.feature, others)


def tokens(
    x: Int[Array, " length"],
    mask_token: int | None = None,
    keep: tuple[int, ...] = (),
    *,
    groups: Int[Array | np.ndarray, " length"] | None = None,
    pad_token: int | None = None,
) -> Tokens:
    """The tokens of a text as features; a hidden one is replaced by the mask token, or taken out.

    Args:
      x: the token ids `(length,)`.
      mask_token: the id that stands for a hidden token.
      keep: ids that are never hidden: begin, end, padding.
      groups: the group of each token, `(length,)` integers: tokens of a group are one feature, hidden together. The
        words of a tokenizer's word pieces; `x` itself, for all occurrences of a token at once. A negative one is never
        hidden. Features are in the order of their groups' numbers. By default each token is its own.
      pad_token: instead of `mask_token`: hidden tokens are taken out, those after them move up, and this id fills the
        end.

    Raises:
      ValueError: neither or both of `mask_token` and `pad_token` are given, `groups` do not fit `x`, or nothing may be
        hidden.
      TypeError: `x` are no ids.

    Examples:
      >>> text = jnp.array([101, 7, 8, 102])
      >>> tokens(text, mask_token=103, keep=(101, 102))(text, jnp.array([True, False]))
      Array([101,   7, 103, 102], dtype=int32)
      >>> tokens(text, pad_token=0, keep=(101, 102))(text, jnp.array([False, True]))
      Array([101,   8, 102,   0], dtype=int32)
    """
    ids = np.asarray(x)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        got = f"{ids.dtype} of shape {ids.shape}"
        raise TypeError(complaint("tokens", "x", "be one text's integer ids (length,)", got))
    if (mask_token is None) == (pad_token is None):
        rule = "be given unless pad_token is, and not both"
        raise ValueError(complaint("tokens", "mask_token", rule, f"{mask_token} and {pad_token}"))
    numbers = _group_numbers("tokens", groups, ids.shape, "token")
    hidden = ~np.isin(ids, keep) & (numbers >= 0)
    if not hidden.any():
        raise ValueError(complaint("tokens", "x", "have a token that may be hidden", ids.tolist()))
    feature, count = _features(numbers, hidden)
    return Tokens(feature, mask_token, pad_token, count)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class EvenSizes:
    """A mask of which `lime` hides as many features as an even number says. Made by `even_sizes`."""

    mask: Any

    @property
    def num_features(self) -> int:
        """Those of the mask."""
        return self.mask.num_features

    @property
    def row_weights(self) -> Float[Array, " b"] | None:
        """Those of the mask."""
        return row_weights(self.mask)

    def at(self, x: Any) -> Callable[[Array], Any]:
        """`z -> masked x`."""
        return show(self.mask, x)

    def __call__(self, x: Any, z: Array) -> Any:
        """What the mask shows."""
        return self.mask(x, z)

    def paint(self, values: Float[Array, " num_features"]) -> Array:
        """As the mask lays the values out."""
        return paint(self.mask, values)

    def draw(
        self, key: Key[Array, ""], num_samples: int, num_features: int
    ) -> Bool[Array, "n num_features"]:
        """Samples of which features are kept: a number of 1, 2, ..., d is hidden, and any of that number alike."""
        how_many, which = jax.random.split(key)
        sizes = jax.random.randint(how_many, (num_samples, 1), 0, num_features)
        order = jax.random.bits(which, (num_samples, num_features), jnp.uint32)
        last = jnp.take_along_axis(jnp.sort(order, 1), sizes, 1)
        return order > last


def even_sizes(mask: Mask) -> EvenSizes:
    """For `lime`: a mask of which 1, 2, ... or all features are hidden, each number as often, not each by a coin.

    So the reference implementation explains texts. Few samples are near half of the features, where coins put almost
    all: of many features, half of the text is always missing.

    Args:
      mask: what the features are and how they are hidden, such as `tokens`.

    Examples:
      >>> mask = even_sizes(tokens(jnp.array([7, 8, 9]), mask_token=0))
      >>> mask(jnp.array([7, 8, 9]), jnp.array([True, False, True]))
      Array([7, 0, 9], dtype=int32)
    """
    return EvenSizes(default_mask("even_sizes", None, mask))


def default_mask(where: str, x: Any, mask: Mask | None) -> Mask:
    """The mask, or each element of `x` against zeros."""
    if mask is None:
        if not hasattr(x, "shape") or not jnp.issubdtype(x.dtype, jnp.floating):
            got = getattr(x, "dtype", type(x).__name__)
            raise TypeError(
                complaint(where, "mask", "be given unless x is one float array", f"x {got}")
            )
        return Columns(jnp.zeros((1, *x.shape), x.dtype))
    if not callable(mask) or not hasattr(mask, "num_features"):
        fix = "See xaijax.segments, xaijax.columns, xaijax.tokens."
        rule = "be a callable (x, z) -> masked x with num_features"
        raise TypeError(complaint(where, "mask", rule, type(mask).__name__, fix))
    return mask


def show(mask: Any, x: Any) -> Callable[[Array], Any]:
    """`z -> masked x`; what a mask computes of `x` alone, it may do once."""
    return mask.at(x) if hasattr(mask, "at") else lambda z: mask(x, z)


def row_weights(mask: Any) -> Float[Array, " b"] | None:
    """How much each input that a mask stacks counts in the mean; `None` for all alike."""
    return getattr(mask, "row_weights", None)


def paint(mask: Mask, values: Float[Array, " num_features"]) -> Array:
    """Lay the features' values out on the input, if the mask knows how."""
    return mask.paint(values) if hasattr(mask, "paint") else values
