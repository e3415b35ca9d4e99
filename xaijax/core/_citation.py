"""What to cite: the BibTeX entries of the methods that were used."""

import functools
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

from xaijax.core._errors import complaint

_KEY = re.compile(r"[a-z][\w-]*\d{4}\w*")


@functools.cache
def bibliography() -> dict[str, str]:
    """All entries of `references.bib` by key."""
    text = resources.files("xaijax").joinpath("references.bib").read_text("utf-8")
    entries = re.split(r"\n(?=@)", text.strip())
    return {re.split(r"[{,]", entry)[1].strip(): entry.strip() for entry in entries if "{" in entry}


def _parts(item: Any) -> Iterator[Any]:
    """The function itself; of a bound explainer its function, and those that it is made of."""
    bound = False
    while hasattr(item, "explain") and hasattr(item, "f"):
        yield item.explain
        item, bound = item.f, True
    if not bound:
        yield item


def citation_keys(*used: Any) -> list[str]:
    """The keys under `References:` in the docstrings of functions, bound ones included."""
    keys: dict[str, None] = {}
    for item in (part for one in used for part in _parts(one)):
        doc = getattr(item, "__doc__", None) or ""
        _, found, section = doc.partition("References:")
        here = _KEY.findall(section)
        if not found or not here:
            name = getattr(item, "__name__", type(item).__name__)
            raise ValueError(
                complaint("citation", "used", "name its sources in its docstring", name)
            )
        keys.update(dict.fromkeys(here))
    return list(keys)


def citation(*used: Any) -> str:
    """BibTeX of the sources of explainers and of xaijax itself.

    Args:
      *used: explainers such as `xaijax.grad_cam`, or bound ones; none for xaijax alone.

    Returns:
      The entries as one text, xaijax first.

    Raises:
      ValueError: something names no sources.

    Examples:
      >>> import xaijax
      >>> [line for line in citation(xaijax.grad_cam).splitlines() if line.startswith("@")]
      ['@software{xaijax2026,', '@inproceedings{selvaraju2017gradcam,']
    """
    entries = bibliography()
    return "\n\n".join(entries[key] for key in ["xaijax2026", *citation_keys(*used)]) + "\n"
