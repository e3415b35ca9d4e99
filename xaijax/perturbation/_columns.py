"""The neighbours of a table row: what LIME draws where an image or a text has parts to hide.

As the explainer of tables in the reference implementation of Ribeiro, Singh & Guestrin (KDD 2016) draws them: from
what the training rows say of each column alone. Neighbours that do not depend on the row are the same for all rows:
under `vmap` with one unmapped key the model is asked for them once.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Int, Key

from xaijax.core._errors import complaint
from xaijax.core._sampling import chunk_size, map_chunks, normals
from xaijax.core._tree import is_traced
from xaijax.perturbation._discretize import check_discretizer, cuts


class Neighbors(NamedTuple):
    """Samples around an input, the input itself as the first.

    Attributes:
      Z: their features.
      distance: of each from the input.
      y: their scores.
    """

    Z: Float[Array, "n d"]
    distance: Float[Array, " n"]
    y: Float[Array, " n"]


class Neighborhood(Protocol):
    """What a row's neighbours are.

    `lime` takes it in the place of a mask, since it says the same: what the features are and what stands in their
    place. It is none, for it has no masked input `(x, z)`: a neighbour in the same bin still has another value. So
    Shapley values, which are of a game, do not take it.
    """

    @property
    def num_features(self) -> int:
        """How many features they have."""
        ...

    @property
    def kernel_width(self) -> float:
        """Of the kernel on their distance, if none is given."""
        ...

    def neighbors(
        self,
        where: str,
        v: Callable[[Array], Array],
        x: Array,
        key: Key[Array, ""],
        num_samples: int,
        batch_size: int | None,
    ) -> Neighbors:
        """The row and `num_samples - 1` neighbours, scored by `v` in chunks of `batch_size`."""
        ...

    def paint(self, values: Float[Array, " num_features"]) -> Array:
        """Lay the features' values out on the row."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """The bins of some columns: how often the training rows are in each, and their values there.

    Columns have different numbers of bins: what is missing is filled up with bins that nothing is in.
    """

    ends: Float[Array, "d bins-1"]
    below: Float[Array, "d bins"]  # the share of the rows in this bin or one before
    mean: Float[Array, "d bins"]
    std: Float[Array, "d bins"]
    low: Float[Array, "d bins"]
    high: Float[Array, "d bins"]
    categorical: Bool[Array, " d"]

    def of(self, x: Float[Array, " d"]) -> Int[Array, " d"]:
        """The bin of each value."""
        return (x[:, None] > self.ends).sum(1)

    def same(self, x: Float[Array, " d"], codes: Array, values: Array) -> Bool[Array, " d"]:
        """Whether a neighbour is in the bins of `x`; of a category, whether it has the same."""
        return jnp.where(self.categorical, values.astype(x.dtype) == x, codes == self.of(x))

    def draw(self, u: Float[Array, " d"], v: Float[Array, " d"]) -> tuple[Array, Array]:
        """Bins by their shares, and in each a value of a normal that is cut at its ends; of even numbers in [0, 1)."""
        codes = (u[:, None] >= self.below).sum(1)
        columns = jnp.arange(len(codes))
        mean, std, low, high = (
            a[columns, codes] for a in (self.mean, self.std, self.low, self.high)
        )
        # The mean is in the bin; by rounding it is not always.
        a, b = jnp.minimum((low - mean) / std, 0), jnp.maximum((high - mean) / std, 0)
        z = jnp.clip(ndtri(ndtr(a) + v * (ndtr(b) - ndtr(a))), a, b)
        return codes, jnp.clip(mean + std * z, low, high)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class BinnedColumns:
    """Neighbours of a row whose features are bins. Made by `binned_columns`."""

    bins: Bins

    @property
    def num_features(self) -> int:
        """One per column."""
        return self.bins.ends.shape[0]

    @property
    def kernel_width(self) -> float:
        """Of the kernel on the Euclidean distance."""
        return _kernel_width(self.num_features)

    def neighbors(
        self,
        where: str,
        v: Callable[[Array], Array],
        x: Array,
        key: Key[Array, ""],
        num_samples: int,
        batch_size: int | None,
    ) -> Neighbors:
        """Samples of the bins, and in them of their values, by how often the training rows have them."""
        _check_row(where, x, self.num_features)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        draws = jax.random.uniform(key, (num_samples - 1, 2, self.num_features), wide)
        codes, values = jax.vmap(lambda pair: self.bins.draw(*pair))(draws)
        rows = values.astype(x.dtype)
        chunk = chunk_size(where, batch_size, num_samples - 1, x)
        y = jnp.append(v(x), map_chunks(v, rows, chunk))
        same = jax.vmap(self.bins.same, (None, 0, 0))(x, codes, values)
        Z = _with_ones(same.astype(wide))
        return Neighbors(Z, jnp.sqrt((1 - Z).sum(1)), y)

    def paint(self, values: Float[Array, " num_features"]) -> Float[Array, " d"]:
        """One value per column."""
        return values


def binned_columns(
    data: Float[Array | np.ndarray, "n d"],
    discretizer: Literal["quartile", "decile", "entropy"] = "quartile",
    categorical: Sequence[int] = (),
    labels: Any = None,
) -> BinnedColumns:
    """For `lime`: the columns of a table row as features, each whether it is in the bin of the row's value.

    A neighbour has each column's bin by how often the training rows are in it, and there a value of the normal
    distribution of the rows in it, cut at the bin's ends. The neighbours are from all over the table: with the
    kernel's usual width the surrogate is almost one of the model everywhere, from the view of the row's bins.

    Differs from the reference implementation in the value of a bin that has a single one: here it is that one.

    Args:
      data: the training rows `(n, d)`.
      discretizer: how a column is cut: at its quartiles, its deciles, or where a tree of depth 3 splits it by
        `labels`; a category is never cut.
      categorical: the columns whose values are categories.
      labels: the class of each row, for `entropy`.

    Raises:
      ValueError: `data` is no table of finite numbers, there is no such discretizer or column, or `labels` are missing.
      ModuleNotFoundError: `entropy` without scikit-learn.

    Examples:
      >>> import xaijax
      >>> data = np.arange(8.0)[:, None]  # quartiles at 1.75, 3.5 and 5.25
      >>> mask = xaijax.binned_columns(data)
      >>> mask.bins.ends
      Array([[1.75, 3.5 , 5.25]], dtype=float32)
      >>> f = lambda x: jnp.stack([x[0] > 5.25]).astype(float)
      >>> weights = xaijax.lime(f, jnp.array([6.0]), 0, jax.random.key(0), mask=mask, ridge=0.0)
      >>> print(f"{weights[0]:.3f}")  # being in the last quarter is all that counts
      1.000
    """
    table, categories = _checked("binned_columns", data, categorical)
    check_discretizer("binned_columns", discretizer, labels, len(table))
    ends = [
        np.unique(column)[:-1] if j in categories else cuts(column, discretizer, labels)
        for j, column in enumerate(table.T)
    ]
    return BinnedColumns(_bins(table, ends, categories))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class GaussianColumns:
    """Neighbours of a row whose features are standardised values. Made by `gaussian_columns`."""

    mean: Float[Array, " d"]
    scale: Float[Array, " d"]
    bins: Bins  # of the categories
    categories: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    around: str = dataclasses.field(metadata={"static": True})

    @property
    def num_features(self) -> int:
        """One per column."""
        return self.mean.shape[0]

    @property
    def kernel_width(self) -> float:
        """Of the kernel on the Euclidean distance."""
        return _kernel_width(self.num_features)

    def neighbors(
        self,
        where: str,
        v: Callable[[Array], Array],
        x: Array,
        key: Key[Array, ""],
        num_samples: int,
        batch_size: int | None,
    ) -> Neighbors:
        """Normal samples around the means of the columns or around the row."""
        _check_row(where, x, self.num_features)
        wide = jnp.promote_types(x.dtype, jnp.float32)
        row, which = x.astype(wide), jnp.array(self.categories, int)
        mean, scale = self.mean.astype(wide), self.scale.astype(wide)
        continuous, discrete = jax.random.split(key)
        normal = normals(continuous, (num_samples - 1, self.num_features), wide)
        draws = jax.random.uniform(discrete, (num_samples - 1, 2, len(self.categories)), wide)
        codes, drawn = jax.vmap(lambda pair: self.bins.draw(*pair))(draws)

        def neighbor(sample: tuple[Array, Array]) -> Array:
            values, categories = sample
            centre = row if self.around == "instance" else mean
            return (centre + scale * values).at[which].set(categories)

        chunk = chunk_size(where, batch_size, num_samples - 1, x)
        samples = (normal, drawn.astype(wide))
        y = jnp.append(v(x), map_chunks(lambda s: v(neighbor(s).astype(x.dtype)), samples, chunk))
        here = (row - mean) / scale
        Z = normal + here if self.around == "instance" else normal
        Z = jnp.concatenate([here[None], Z])
        same = jax.vmap(self.bins.same, (None, 0, 0))(x[which], codes, drawn)
        Z = Z.at[:, which].set(_with_ones(same.astype(wide)))
        return Neighbors(Z, jnp.sqrt(((Z - Z[0]) ** 2).sum(1)), y)

    def paint(self, values: Float[Array, " num_features"]) -> Float[Array, " d"]:
        """One value per column."""
        return values


def gaussian_columns(
    data: Float[Array | np.ndarray, "n d"],
    around: Literal["mean", "instance"] = "mean",
    categorical: Sequence[int] = (),
) -> GaussianColumns:
    """For `lime`: the columns of a table row as features, each by its value.

    A neighbour has in each column a normal value of the training rows' standard deviation, and of a category one by
    how often the rows have it. The features are standardised: a weight is what the score gains by one standard
    deviation; of a category, by being the one of the row.

    Args:
      data: the training rows `(n, d)`.
      around: the means of the columns, as the reference implementation by default, or the row that is explained.
      categorical: the columns whose values are categories.

    Raises:
      ValueError: `data` is no table of finite numbers, `around` is neither, or there is no such column.

    Examples:
      >>> import xaijax
      >>> mask = xaijax.gaussian_columns(np.array([[0.0, 5.0], [2.0, 25.0]]))
      >>> mask.scale
      Array([ 1., 10.], dtype=float32)
      >>> f = lambda x: jnp.stack([3.0 * x[0] - 0.1 * x[1]])
      >>> weights = xaijax.lime(f, jnp.zeros(2), 0, jax.random.key(0), mask=mask, ridge=0.0)
      >>> print([f"{weight:.3f}" for weight in weights])
      ['3.000', '-1.000']
    """
    table, categories = _checked("gaussian_columns", data, categorical)
    if around not in ("mean", "instance"):
        rule = "be 'mean' or 'instance'"
        raise ValueError(complaint("gaussian_columns", "around", rule, repr(around)))
    mean, variance = table.mean(0), table.var(0)
    # What a constant leaves after its mean is taken away is rounding, as scikit-learn bounds it.
    eps = np.finfo(np.float64).eps
    constant = variance <= len(table) * eps * variance + (len(table) * mean * eps) ** 2
    scale = np.where(constant, 1.0, np.sqrt(variance))
    chosen = table[:, list(categories)]
    bins = _bins(chosen, [np.unique(c)[:-1] for c in chosen.T], range(len(categories)))
    return GaussianColumns(jnp.asarray(mean), jnp.asarray(scale), bins, categories, around)


def _kernel_width(num_features: int) -> float:
    return 0.75 * math.sqrt(num_features)


def _with_ones(same: Float[Array, "n d"]) -> Float[Array, "n+1 d"]:
    """The input's own features before those of its neighbours."""
    return jnp.concatenate([jnp.ones_like(same[:1]), same])


def _bins(table: np.ndarray, ends: list[np.ndarray], categories: Sequence[int]) -> Bins:
    """What the rows of a table are like in the bins of each column."""
    d, most = len(ends), max([len(e) for e in ends], default=0) + 1
    filled = np.full((d, most - 1), np.inf)
    below = np.full((d, most), np.inf)
    mean, low, high = np.zeros((3, d, most))
    std = np.ones((d, most))
    for j, (end, column) in enumerate(zip(ends, table.T, strict=True)):
        codes = np.searchsorted(end, column)
        n = len(end) + 1
        filled[j, : n - 1] = end
        below[j, : n - 1] = np.cumsum(np.bincount(codes, minlength=n))[:-1] / len(column)
        low[j, :n], high[j, :n] = [column.min(), *end], [*end, column.max()]
        for k in range(n):
            inside = column[codes == k]
            if len(inside):
                # The reference's least deviation: a bin of equal values is not divided by 0.
                mean[j, k], std[j, k] = inside.mean(), inside.std() + 1e-11
            if j in categories:
                low[j, k] = high[j, k] = mean[j, k] = inside[0]
    discrete = np.isin(np.arange(d), list(categories))
    arrays: Any = map(jnp.asarray, (filled, below, mean, std, low, high, discrete))
    return Bins(*arrays)


def _checked(where: str, data: Any, categorical: Any) -> tuple[np.ndarray, tuple[int, ...]]:
    """The training rows in double precision and the columns of categories, in order."""
    if is_traced(data):
        fix = "Make it outside jit: the bins decide the program's shapes."
        raise TypeError(complaint(where, "data", "be concrete", "a traced array", fix))
    table = np.asarray(data, np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError(complaint(where, "data", "be rows (n, d)", f"shape {table.shape}"))
    bad = table.size - np.count_nonzero(np.isfinite(table))
    if bad:
        got = f"{bad} of {table.size} values NaN or infinite"
        raise ValueError(complaint(where, "data", "be finite", got, "Impute or drop them first."))
    columns = tuple(sorted(set(categorical)))
    if any(isinstance(j, bool) or j not in range(table.shape[1]) for j in columns):
        rule = f"be numbers of columns, in [0, {table.shape[1]})"
        raise ValueError(complaint(where, "categorical", rule, tuple(categorical)))
    return table, columns


def _check_row(where: str, x: Any, d: int) -> None:
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", np.dtype(object))
    if shape != (d,) or not jnp.issubdtype(dtype, jnp.floating):
        rule = f"be a row of floats like the mask's, ({d},)"
        raise ValueError(complaint(where, "x", rule, f"{dtype} of shape {shape}"))
