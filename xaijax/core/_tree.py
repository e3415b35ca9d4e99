"""A callable pytree holds arrays (weights) and the rest (structure, functions): told apart here."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer


def is_weight(leaf: Any) -> bool:
    """Whether a leaf is an array or the shape of one. Python's numbers in a model are its structure: a size, a rate."""
    return isinstance(leaf, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct))


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array or a number: what an argument may be traced as."""
    return is_weight(leaf) or isinstance(leaf, (bool, int, float, complex))


def dtype_of(leaf: Any) -> Any:
    """The dtype of an array or a number."""
    return leaf.dtype if hasattr(leaf, "dtype") else np.result_type(leaf)


class ARRAY:
    """Stands in a `Rest` where an array was."""


class Rest:
    """What is left of a tree without its arrays: hashable, so that it can be a static argument of `jit`."""

    def __init__(self, treedef: Any, leaves: tuple[Any, ...]):
        self.treedef, self.leaves = treedef, leaves
        # JAX takes trees of two registered dataclasses for equal whatever their classes are.
        self._identity = (treedef, tuple(_node_types(treedef)), leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rest) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _node_types(treedef: Any) -> Iterator[Any]:
    """The classes of a tree's nodes, from the root down."""
    node = treedef.node_data()
    yield None if node is None else node[0]
    for child in treedef.children():
        yield from _node_types(child)


def partition(tree: Any, *, numbers: bool = True) -> tuple[list[Any], Rest]:
    """Split a tree into the list of its arrays and the rest; Python's numbers go with the arrays or not."""
    leaves, treedef = jax.tree.flatten(tree)
    keep = is_array if numbers else is_weight
    arrays = [leaf for leaf in leaves if keep(leaf)]
    return arrays, Rest(treedef, tuple(ARRAY if keep(leaf) else leaf for leaf in leaves))


def combine(arrays: Sequence[Any], rest: Rest) -> Any:
    """Undo `partition`.

    >>> combine(*partition({"w": 2.0, "activation": abs}))
    {'activation': <built-in function abs>, 'w': 2.0}
    """
    supply = iter(arrays)
    leaves = [next(supply) if leaf is ARRAY else leaf for leaf in rest.leaves]
    return jax.tree.unflatten(rest.treedef, leaves)


def as_tree(f: Any) -> Any:
    """A callable as a pytree of its weights: a bare function, which is a leaf, becomes a `Partial` without any."""
    leaf = jax.tree_util.treedef_is_leaf(jax.tree.structure(f))
    return jax.tree_util.Partial(f) if leaf and callable(f) else f


def is_traced(tree: Any) -> bool:
    """Whether any array of the tree is abstract: inside `jit`, `vmap` or `grad`."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(tree))
