"""xaijax: explainable AI in JAX.

Every explainer is a pure function of one example, `(f, x, target[, key]) -> attribution`, under `jit`, `vmap` and
`grad`, for any JAX model without hooks or edits.
"""

from typing import TYPE_CHECKING, Any

import lazy_loader

if TYPE_CHECKING:
    from xaijax.core._explainer import Explainer

__version__ = "0.1.0"

# The names, and where they come from, stand in `__init__.pyi`.
__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "explainers"]  # pyright: ignore[reportUnsupportedDunderAll]


def explainers() -> "dict[str, Explainer]":
    """Every method that gives an attribution, by name.

    Examples:
      >>> "grad_cam" in explainers()
      True
    """
    public: dict[str, Any] = {name: __getattr__(name) for name in _names}
    return {name: item for name, item in public.items() if getattr(item, "attribution", False)}
