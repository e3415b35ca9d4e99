"""Our side of a comparison."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks.peer._data import SIZE, Data, efficientnet

Run = Callable[[], Any]
Common = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


class Pair(NamedTuple):
    """One method of both libraries.

    Attributes:
      method: its name, which the peer's has as well.
      ours: explains the batch.
      bare: the evaluation of the model that it is held against, of `Workload.bare`; None where it asks no model.
      compared: what of the outputs is compared.
      common: brings our output and theirs into the form in which they are compared; None where they are not.
      deterministic: both should be equal up to rounding or a difference that `compared` names.
    """

    method: str
    ours: Run
    bare: str | None
    compared: str
    common: Common | None
    deterministic: bool = True


class Workload(NamedTuple):
    """What is explained by a group of methods.

    Attributes:
      name: with everything that its time depends on, and a version.
      batch: how many are explained in a call.
      bare: evaluations of our model of the same batch, by the names that the peer's have.
      pairs: the methods.
    """

    name: str
    batch: int
    bare: Mapping[str, Run]
    pairs: Sequence[Pair]


def image_workload(network: str, batch: int) -> str:
    """The name of a workload of images."""
    return f"{network}, {SIZE}, batch {batch} (v1)"


@functools.cache
def network(data: Data, name: str) -> Any:
    """Our network, with the weights of the peer's."""
    from xaijax import models

    if name == "efficientnet_lite0":
        return efficientnet()
    return getattr(models, name)(data.weights(name))


class Images:
    """A network and a batch of images, and programs of them.

    Weights, images and targets are arguments: as constants XLA would compute with them when it compiles.
    """

    def __init__(self, data: Data, name: str, batch: int) -> None:
        self.f, self.name = network(data, name), image_workload(name, batch)
        self.xs = jnp.asarray(data.images(batch))
        self.targets = jnp.full(batch, data.target(name), jnp.int32)
        self.keys = jax.random.split(jax.random.key(0), batch)

    def program(self, explain: Callable[..., Any], f: Any = None) -> Run:
        """Runs `explain(f, x, target)` of the batch."""
        return _program(explain, self.f if f is None else f, self.xs, self.targets)

    def random(self, explain: Callable[..., Any], f: Any = None) -> Run:
        """Runs `explain(f, x, target, key)` of the batch."""
        return _program(explain, self.f if f is None else f, self.xs, self.targets, self.keys)

    def bare(self) -> dict[str, Run]:
        """One forward pass, and one with the gradient at the input, of the model as explainers evaluate it."""

        def forward(f: Any, x: jax.Array, target: jax.Array) -> jax.Array:
            return xaijax.lower(f)(x)

        def gradient(f: Any, x: jax.Array, target: jax.Array) -> Any:
            return xaijax.lower(jax.value_and_grad(lambda x: f(x)[target]))(x)[1]

        return {"bare forward": self.program(forward), "bare gradient": self.program(gradient)}


def _program(explain: Callable[..., Any], f: Any, *stacked: jax.Array) -> Run:
    def one(f: Any, *stacked: jax.Array) -> Any:
        found = explain(f, *(a[0] for a in stacked))
        return jax.tree.map(lambda a: a[None], found)

    axes = (None, *[0] * len(stacked))
    many = jax.vmap(explain, axes) if len(stacked[0]) > 1 else one
    return functools.partial(jax.jit(many), f, *stacked)


# --- What is compared


def as_they_are(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both have the same axes."""
    return ours, theirs.reshape(ours.shape)


def channels_last(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Theirs have the channels first."""
    return ours, np.moveaxis(theirs, 1, -1)


def of_one_channel(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ours is a value for each pixel, theirs the same for each of its channels, which come first."""
    return ours, theirs[:, 0]


def scaled(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps as pytorch-grad-cam gives them: scaled to [0, 1], resized, scaled again."""
    shown = [xaijax.normalize(xaijax.resize(jnp.asarray(a), theirs.shape[1:])) for a in ours]
    given = [xaijax.normalize(jnp.asarray(a)) for a in theirs]
    return np.stack(shown), np.stack(given)


def difference(pair: Pair, theirs: np.ndarray) -> float | None:
    """The largest difference, as a part of the largest value of theirs."""
    ours = np.asarray(jax.block_until_ready(pair.ours()), np.float64)
    if pair.common is None:
        return None
    a, b = pair.common(ours, np.asarray(theirs, np.float64))
    largest = np.abs(b).max()
    return float(np.abs(a - b).max() / largest) if largest else float(np.abs(a).max())
