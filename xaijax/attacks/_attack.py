"""What makes an attack of a function: the library's boundary."""

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from xaijax.core._boundary import Compiled, boundary, ranges

P = ParamSpec("P")
R = TypeVar("R", covariant=True)


def attack(
    *, static: Sequence[str] = (), positive: Sequence[str] = (), not_negative: Sequence[str] = ()
) -> Callable[[Callable[P, R]], Compiled[P, R]]:
    """Make an attack of a function of one example with the settings `epsilon`, `low` and `high`.

    Args:
      static: the arguments that decide the structure of the program, not its numbers; they must be hashable.
      positive: numbers that must be above 0, besides `epsilon`.
      not_negative: numbers that must not be below 0.

    Returns:
      A decorator. The function it gives checks its arguments, then runs compiled.
    """
    numbers = ranges(("epsilon", *positive), not_negative, ())
    return lambda function: boundary(
        function, static=static, numbers=numbers, baseline=("low", "high")
    )
