"""Convolutional networks of different kinds, about as large as `_train.CNN`, that tell `shapes` apart."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from experiments import _networks
from experiments._train import CNN, Trained, Training, train
from xaijax import data

CLASSES = len(data.SHAPES)


class Unit(nnx.Module):
    """A convolution with batch norm, and ReLU unless it is left to the caller."""

    def __init__(
        self,
        channels: int,
        width: int,
        side: int = 3,
        *,
        dilation: int = 1,
        groups: int = 1,
        relu: bool = True,
        rngs: nnx.Rngs,
    ) -> None:
        self.conv = nnx.Conv(
            channels,
            width,
            (side, side),
            kernel_dilation=dilation,
            feature_group_count=groups,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
        self.relu = relu

    def __call__(self, x: jax.Array) -> jax.Array:
        """Images `(..., h, w, channels)` to `(..., h, w, width)`."""
        x = self.norm(self.conv(x))
        return nnx.relu(x) if self.relu else x


class Residual(nnx.Module):
    """Two convolutions, and a way past them (He et al. 2016)."""

    def __init__(self, channels: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.first = Unit(channels, width, rngs=rngs)
        self.second = Unit(width, width, relu=False, rngs=rngs)
        self.past = Unit(channels, width, 1, relu=False, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The sum of both ways."""
        return nnx.relu(self.second(self.first(x)) + self.past(x))


class Separable(nnx.Module):
    """A convolution of each channel alone, then one of 1 x 1 over the channels (MobileNet, Howard et al. 2017)."""

    def __init__(self, channels: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.depthwise = Unit(channels, channels, groups=channels, rngs=rngs)
        self.pointwise = Unit(channels, width, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """One after the other."""
        return self.pointwise(self.depthwise(x))


def pool(x: jax.Array) -> jax.Array:
    """The highest of 2 x 2 positions, in a form whose gradient costs nothing; a window's is slow on a CPU."""
    h, w, channels = x.shape[-3:]
    return x.reshape(*x.shape[:-3], h // 2, 2, w // 2, 2, channels).max((-4, -2))


class Net(nnx.Module):
    """Blocks, each followed by a pooling or not, and a head.

    The head is the mean of the positions with a dense layer ("GAP"), or two dense layers of all positions ("dense").
    """

    def __init__(
        self, blocks: Sequence[nnx.Module], pools: tuple[bool, ...], head: str, *, rngs: nnx.Rngs
    ) -> None:
        self.blocks = nnx.List(list(blocks))
        self.pools, self.head = pools, head
        side = 32 // 2 ** sum(pools)
        self.hidden = nnx.Linear(64 * side * side, 64, rngs=rngs) if head == "dense" else None
        self.out = nnx.Linear(64, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """One image `(32, 32, 1)` or a batch to logits."""
        for block, pooled in zip(self.blocks, self.pools, strict=True):
            x = block(x)
            if pooled:
                x = pool(x)
        if self.hidden is None:
            return self.out(x.mean((-3, -2)))
        return self.out(nnx.relu(self.hidden(x.reshape(*x.shape[:-3], -1))))


def _plain(head: str, rngs: nnx.Rngs) -> Net:
    """As VGG (Simonyan & Zisserman 2015): 3 x 3 convolutions and poolings."""
    widths = (1, 16, 32, 64, 64)
    blocks = [Unit(n, m, rngs=rngs) for n, m in itertools.pairwise(widths)]
    return Net(blocks, (True, True, True, False), head, rngs=rngs)


def _residual(head: str, rngs: nnx.Rngs) -> Net:
    """As ResNet (He et al. 2016): nothing is pooled before a head that is the mean; dense layers see a pooled map."""
    blocks = [Unit(1, 16, rngs=rngs), Residual(16, 32, rngs=rngs), Residual(32, 64, rngs=rngs)]
    return Net(blocks, (True, True, head == "dense"), head, rngs=rngs)


def _separable(head: str, rngs: nnx.Rngs) -> Net:
    """Wider at first than the others: a filter for each channel alone sees little of 16."""
    widths = (32, 64, 64, 64)
    blocks = [Separable(n, m, rngs=rngs) for n, m in itertools.pairwise(widths)]
    return Net([Unit(1, widths[0], rngs=rngs), *blocks], (True, True, True, False), head, rngs=rngs)


def _dilated(head: str, rngs: nnx.Rngs) -> Net:
    """Fewer poolings; the last convolutions see as far by their gaps (Yu & Koltun 2016)."""
    blocks = [
        Unit(1, 16, rngs=rngs),
        Unit(16, 32, rngs=rngs),
        Unit(32, 64, dilation=2, rngs=rngs),
        Unit(64, 64, dilation=2, rngs=rngs),
    ]
    return Net(blocks, (True, True, False, False), head, rngs=rngs)


#: By name, what makes an untrained network. The first is that of the other experiments.
ARCHITECTURES: dict[str, Callable[[nnx.Rngs], Any]] = {
    "plain, GAP": lambda rngs: CNN(1, CLASSES, rngs=rngs),
    "plain, dense": lambda rngs: _plain("dense", rngs),
    "residual, GAP": lambda rngs: _residual("GAP", rngs),
    "residual, dense": lambda rngs: _residual("dense", rngs),
    "depthwise, GAP": lambda rngs: _separable("GAP", rngs),
    "dilated, GAP": lambda rngs: _dilated("GAP", rngs),
}


def trained(name: str, seed: int, *, epochs: int, num_train: int) -> Trained:
    """A network of one of `ARCHITECTURES` that has learnt `shapes`, and its accuracy."""
    if name == "plain, GAP":
        return _networks.shapes_network(seed, epochs=epochs, num_train=num_train)
    known = _networks.shapes_examples(num_train)
    # Weights are kept by their shapes and the examples: a dilated network's are those of a plain one.
    examples = dataclasses.replace(known, fingerprint=f"{known.fingerprint}, {name}")
    return train(ARCHITECTURES[name], examples, Training(epochs=epochs), seed)
