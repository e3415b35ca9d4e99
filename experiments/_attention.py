"""The small network of the experiments with an attention branch, and what it is compared with."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from experiments._architectures import Unit, pool
from xaijax.models import AttentionBranchNetwork, attention_branch_loss

#: Channels of the first convolution of `_train.CNN`; the others have 2, 4 and 4 times as many.
WIDTH = 16


class Stage(nnx.Module):
    """Convolutions, with a pooling after some of them, or before the first (place 0).

    With a number of classes, the mean of the positions and a dense layer come after them.
    """

    def __init__(
        self, widths: tuple[int, ...], pools: tuple[int, ...], classes: int = 0, *, rngs: nnx.Rngs
    ) -> None:
        self.units = nnx.List([Unit(n, m, rngs=rngs) for n, m in itertools.pairwise(widths)])
        self.pools = pools
        self.dense = nnx.Linear(widths[-1], classes, rngs=rngs) if classes else None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images `(..., h, w, channels)` to features, or to logits."""
        for i, unit in enumerate(self.units):
            x = unit(pool(x) if i in self.pools else x)
        return x if self.dense is None else self.dense(x.mean((-3, -2)))


class Plain(nnx.Module):
    """Stages one after the other, the last of which gives the logits."""

    def __init__(self, *stages: Stage) -> None:
        self.stages = nnx.List(list(stages))

    def __call__(self, x: jax.Array) -> jax.Array:
        """One image or a batch to logits."""
        for stage in self.stages:
            x = stage(x)
        return x


def plain(
    classes: int, *, width: int = WIDTH, deeper: bool = False
) -> Callable[[nnx.Rngs], nnx.Module]:
    """What makes the network without a branch; deeper, the branch's convolution is one of its own.

    So it has the size of the network with the branch, and as much to compute.
    """

    def make(rngs: nnx.Rngs) -> nnx.Module:
        between = [_attention(width, rngs)] if deeper else []
        return Plain(_features(width, rngs), *between, _perception(width, classes, rngs))

    return make


def branched(
    classes: int, *, width: int = WIDTH, attend: bool = True
) -> Callable[[nnx.Rngs], nnx.Module]:
    """What makes the Attention Branch Network; it may be left without its map, with the branch's loss alone."""

    def make(rngs: nnx.Rngs) -> nnx.Module:
        return AttentionBranchNetwork(
            _features(width, rngs),
            _attention(width, rngs),
            _perception(width, classes, rngs),
            attention_channels=4 * width,
            num_outputs=classes,
            attend=attend,
            rngs=rngs,
        )

    return make


def branch_loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The loss of both branches."""
    return attention_branch_loss(model.branches(x), y)


def size(model: Any) -> int:
    """How many numbers a network learns."""
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def _features(width: int, rngs: nnx.Rngs) -> Stage:
    """To features with a quarter of the image's height and width."""
    return Stage((1, width, 2 * width, 4 * width), (1, 2), rngs=rngs)


def _attention(width: int, rngs: nnx.Rngs) -> Stage:
    """The last stage without its pooling."""
    return Stage((4 * width, 4 * width), (), rngs=rngs)


def _perception(width: int, classes: int, rngs: nnx.Rngs) -> Stage:
    return Stage((4 * width, 4 * width), (0,), classes, rngs=rngs)
