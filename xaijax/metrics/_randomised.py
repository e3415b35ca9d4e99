"""A model whose weights were drawn anew, inside the explainer that has it: what all metrics of randomisation share.

A weight is drawn anew by a permutation of its values. That takes away what was learnt, which value stands where, and
keeps the rest: the scale of each array, variances that must stay positive, what was trained to be sparse. Arrays whose
values are all equal, such as fresh biases, stay as they are, as they would if the model were initialised again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from xaijax.core._binding import Bound
from xaijax.core._inputs import model_of
from xaijax.core._parameters import parameter_layers
from xaijax.core._tree import combine, partition
from xaijax.metrics._exchange import exchange_model


@jax.tree_util.register_static
class Names(tuple[str, ...]):
    """Names among the arrays that a compiled function returns."""


class Randomised(NamedTuple):
    """The explainer of a model of which some layers are drawn anew.

    Attributes:
      names: the layers, from the input to the outputs.
      explainer: which of them (by their number) -> the explainer; under `jit`, one program for any of them.
    """

    names: Names
    explainer: Callable[[Callable[[Int[Array, ""]], Bool[Array, ""]]], Bound]


def randomised(where: str, explain: Bound, x: Any, key: Key[Array, ""]) -> Randomised:
    """Draw all weights of an explainer's model anew, to be used in the layers that are asked for.

    Raises:
      ValueError: the model has no weights.
    """
    f = model_of(where, explain)
    layers = parameter_layers(where, f, x)
    weights, rest = partition(f, numbers=False)
    number = {i: layer for layer, members in enumerate(layers.values()) for i in members}
    drawn = _permuted(key, {i: weights[i] for i in number})

    def explainer(chosen: Callable[[Int[Array, ""]], Bool[Array, ""]]) -> Bound:
        mixed = list(weights)
        for i, layer in number.items():
            mixed[i] = jnp.where(chosen(jnp.asarray(layer)), drawn[i], weights[i])
        return exchange_model(explain, lambda f: combine(mixed, rest))

    return Randomised(Names(layers), explainer)


def _permuted(key: Key[Array, ""], weights: dict[int, Array]) -> dict[int, Array]:
    """Arrays with the values of each in another order.

    One sort for all arrays of a dtype: one for each would take XLA longer to compile than a network's gradient.
    """
    drawn: dict[int, Array] = {}
    for dtype in dict.fromkeys(weight.dtype for weight in weights.values()):
        alike = {i: weight for i, weight in weights.items() if weight.dtype == dtype}
        values = jnp.concatenate([weight.reshape(-1) for weight in alike.values()])
        sizes = [weight.size for weight in alike.values()]
        # Behind the barrier, so that XLA does not compute this while it compiles, and keep it in the program.
        number = jax.lax.optimization_barrier(jnp.arange(len(sizes)))
        owner = jnp.concatenate([jnp.broadcast_to(number[i], n) for i, n in enumerate(sizes)])
        coin = jax.random.bits(key, values.shape, jnp.uint32)
        *_, values = jax.lax.sort((owner, coin, values), num_keys=2)
        parts = jnp.split(values, np.cumsum(sizes)[:-1])
        both = zip(alike.items(), parts, strict=True)
        drawn |= {i: part.reshape(weight.shape) for (i, weight), part in both}
    return drawn
