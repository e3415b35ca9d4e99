"""What an experiment is: a module that measures unit by unit and concludes from the rows alone.

A module of `experiments.claims` is one experiment. Its docstring says question, claim and source, what is measured and
what is expected; it has

* `Config`, a frozen dataclass of settings with defaults, and `SMOKE`, the settings of a run of seconds;
* `units(config)`, the names of the units of work, in order: one for each seed, most often;
* `measure(config, unit)`, the rows of a unit: plain values, a function of the config and the unit alone;
* `conclude(config, table)`, what follows from all rows, a pandas table with the column `unit`;
* and, if a unit keeps no more than one core busy, `THREADS`, how many of them are measured at once; `measure` may then
  use no global state, such as NumPy's generator.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

from xaijax.core._errors import complaint, nearest


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What an experiment says.

    Attributes:
      verdict: whether the claim holds.
      only_if: under which condition, if the verdict says so.
      effect: the size of the effect in a sentence, with its interval and the unit of replication.
      text: one paragraph for a reader who knows the methods.
      tables: by name, pandas tables.
      figures: by name, matplotlib figures; the first makes the point.
      sources: what was used and must be cited: explainers and metrics.
    """

    verdict: Literal["supported", "refuted", "only if"]
    effect: str
    text: str
    tables: Mapping[str, Any]
    figures: Mapping[str, Any]
    sources: tuple[Any, ...]
    only_if: str = ""


def names() -> list[str]:
    """The experiments that there are."""
    from experiments import claims

    found = (module.name for module in pkgutil.iter_modules(claims.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def load(name: str) -> ModuleType:
    """An experiment by its name.

    Raises:
      ValueError: there is none of that name.
    """
    known = names()
    if name not in known:
        fix = f"{nearest(name, known)} See python -m experiments list.".strip()
        raise ValueError(complaint("experiments", "NAME", "name an experiment", repr(name), fix))
    return importlib.import_module(f"experiments.claims.{name}")


def title(module: ModuleType) -> str:
    """The first line of an experiment's docstring: its question."""
    return (module.__doc__ or "").strip().splitlines()[0]
