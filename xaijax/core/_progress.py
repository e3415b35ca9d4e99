"""Progress of long computations: whoever listens hears of every finished chunk.

A listener hears through a callback inside the compiled program, so nothing is split up for its sake; without
a listener the program holds no callback.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax

_listeners: list[Callable[[int], None]] = []


def listening() -> bool:
    """Whether anyone listens."""
    return bool(_listeners)


@contextlib.contextmanager
def progress(listener: Callable[[int], None]) -> Iterator[None]:
    """Call `listener(count)` after every chunk of `count` model evaluations inside the `with` block.

    It hears of computations in all threads; of a function of your own that was compiled by `jax.jit` outside the
    block it hears nothing.

    Args:
      listener: such as the `update` of a tqdm bar. It is called from another thread.

    Examples:
      >>> import jax, jax.numpy as jnp, xaijax
      >>> seen = []
      >>> with progress(seen.append):
      ...     phi = xaijax.permutation_shap(lambda x: x, jnp.ones(3), 0, jax.random.key(0), num_permutations=5)
      ...     jax.effects_barrier()
      >>> sum(seen)  # nothing, everything, and 5 walks forth and back over 2 coalitions each
      22
    """
    _listeners.append(listener)
    try:
        yield
        jax.effects_barrier()
    finally:
        _listeners.remove(listener)


def report(count: int) -> None:
    """Tell the listeners, if there are any, that `count` evaluations are done; for use under `jit`."""
    if _listeners:
        jax.debug.callback(_tell, count)


def _tell(count: int) -> None:
    for listener in tuple(_listeners):
        listener(int(count))
