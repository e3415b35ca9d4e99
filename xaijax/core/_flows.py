"""Where what is known of the patches of an image goes in a model: which of its tokens' activations are read.

A convolution's feature map is read wherever it is used. Tokens are not: behind the last attention, a model that answers
from its class token alone computes the others in vain.
"""

import dataclasses
from collections.abc import Sequence

from xaijax.core._interpreter import Path
from xaijax.core._layout import NO_POSITIONS, Layout


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """What `layers` knows of a value.

    The modules of the weights in it; its scope, and the scope of what is computed from it without weights (both
    without the steps of a scan); its layout; where it was computed.
    """

    modules: frozenset[tuple[str, ...]] = frozenset()
    scope: str = ""
    around: str = ""
    layout: Layout | None = None
    path: Path = ()


class Flows:
    """What was computed from what, in the order of computation: where what is known of the patches of an image goes.

    Asked of tokens alone. A value's positions are *read* if the outputs depend on them: if what is computed from it
    mixes the tokens, or keeps them and is read itself. Where the class token is cut out, the positions end.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Sequence[Origin], Sequence[Origin]]] = []
        self._knowing: dict[Origin, int] = {}
        self._last_use: dict[Origin, int] = {}

    def add(self, inputs: Sequence[Origin], outputs: Sequence[Origin]) -> None:
        """Note one computation."""
        aware = any(v in self._knowing for v in inputs)
        for v in outputs:
            # Tokens, and what was mixed of tokens (the weights of an attention), know something of the patches.
            if _has_grid(v) or (aware and v.layout is None):
                self._knowing[v] = len(self._steps)
        self._steps.append((inputs, outputs))

    def close(self, ends: Sequence[Origin]) -> None:
        """Note what the model returns, and work out what is read."""
        self._last_use = {v: len(self._steps) for v in ends if v in self._knowing}
        for step, (inputs, outputs) in reversed(list(enumerate(self._steps))):
            on = [v for v in outputs if not _has_grid(v) or v in self._last_use]
            if any(v.layout is not NO_POSITIONS for v in on):
                for v in inputs:
                    if v in self._knowing:
                        self._last_use.setdefault(v, step)

    def is_read(self, value: Origin) -> bool:
        """Whether the outputs depend on the value's positions."""
        return not _has_grid(value) or value in self._last_use

    def is_trunk(self, value: Origin) -> bool:
        """Whether nothing else that was computed before and knows of the patches is still to be read."""
        if not _has_grid(value):
            return True
        born = self._knowing[value]
        others = (v for v, step in self._knowing.items() if step <= born and v is not value)
        return all(self._last_use.get(v, 0) <= born for v in others)


def _has_grid(value: Origin) -> bool:
    return value.layout is not None and value.layout.grid is not None
