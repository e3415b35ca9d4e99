"""The words of a sentence on colours: red for the target, blue against it, the stronger the larger."""

import html
import importlib.util
import itertools
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.colors import to_hex, to_rgb

from xaijax.core._errors import complaint
from xaijax.core._words import to_characters
from xaijax.plot._features import NEGATIVE, POSITIVE, as_attribution, sign_colour, write_amount

if TYPE_CHECKING:
    from rich.text import Text


_LEAST = 0.05  # of the largest value: less has no colour in a terminal


class _Piece(NamedTuple):
    """Characters that share a value, or have none."""

    text: str
    value: float | None


class Html(str):
    """A piece of HTML, which a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return self


def text(
    attribution: Float[np.ndarray, " length"],
    sentence: str,
    spans: Int[np.ndarray, "length 2"] | Sequence[tuple[int, int]],
    *,
    unit: str = "",
) -> Html:
    """The sentence in HTML with its words on colours, and what the colours mean.

    It needs no other file, and nothing in the sentence is read as HTML. A pointer on a word shows its number.

    Args:
      attribution: of each word or token `(length,)`.
      sentence: the text that they are in.
      spans: of each its first character and the one after its last `(length, 2)`, as in `xaijax.words(...).spans` or a
        tokenizer's `offsets`; `(0, 0)` of a token that is not in the text.
      unit: of the attribution.

    Returns:
      A `<div>`, as a string; a notebook shows it.

    Raises:
      ValueError: there are not as many spans as attributions, one ends outside the sentence, two overlap, or the
        attribution is not finite.
      TypeError: `sentence` is no string.

    Examples:
      >>> import re
      >>> page = text(np.array([2.0, -1.0]), "good <b>film", [(0, 4), (5, 12)])
      >>> re.findall(r'title="(.*?)">(.*?)</span>', page)
      [('+2.00', 'good'), ('−1.00', '&lt;b&gt;film')]
    """
    pieces, top = _pieces("text", attribution, sentence, spans)
    words = "".join(_span(piece, top) for piece in pieces)
    ends = [write_amount(-top), write_amount(top)]
    blend = ", ".join([NEGATIVE, "#ffffff", POSITIVE])
    legend = (
        f'<span style="color:{NEGATIVE}">against {ends[0]}</span>'
        f'<span style="display:inline-block;width:8em;height:0.7em;margin:0 0.5em;'
        f'background:linear-gradient(to right,{blend})"></span>'
        f'<span style="color:{POSITIVE}">{ends[1]} for</span>{html.escape(f" ({unit})" if unit else "")}'
    )
    return Html(
        '<div style="background:#ffffff;color:#262626;padding:0.6em;font-family:sans-serif;line-height:1.7">'
        f'<div dir="auto" style="white-space:pre-wrap;overflow-wrap:anywhere">{words}</div>'
        f'<div style="font-size:80%;margin-top:0.4em">{legend}</div></div>'
    )


def text_terminal(
    attribution: Float[np.ndarray, " length"],
    sentence: str,
    spans: Int[np.ndarray, "length 2"] | Sequence[tuple[int, int]],
    *,
    unit: str = "",
) -> "Text":
    r"""The sentence with its words on colours for a terminal, and a line that says what the colours mean.

    It needs `rich`. Control characters in the sentence are shown, and do nothing.

    Args:
      attribution: of each word or token `(length,)`.
      sentence: the text that they are in.
      spans: of each its first character and the one after its last `(length, 2)`, as for `text`.
      unit: of the attribution.

    Returns:
      A `rich.text.Text`; `rich.print` shows it.

    Raises:
      ValueError: as `text` does.
      TypeError: `sentence` is no string.
      ModuleNotFoundError: rich is not installed.

    Examples:
      >>> shown = text_terminal(np.array([2.0, -1.0]), "good film\x1b", [(0, 4), (5, 9)])
      >>> print(shown.plain)
      good film␛
      against −2.00 ▇▇▇▇▇▇▇▇▇ +2.00 for
      >>> [str(span.style) for span in shown.spans[:2]]
      ['#ffffff on #b1182b', '#262626 on #90b2d5']
    """
    where = "text_terminal"
    if importlib.util.find_spec("rich") is None:
        rule = "be drawn with rich, which is not installed"
        fix = "pip install rich, or see xaijax.plot.text."
        raise ModuleNotFoundError(complaint(where, "sentence", rule, "no rich", fix))
    from rich.text import Text

    pieces, top = _pieces(where, attribution, sentence, spans)
    shown = Text()
    for piece in pieces:
        shown.append(_visible(piece.text), _style(piece.value, top))
    shown.append(f"\nagainst {write_amount(-top)} ")
    for part in np.linspace(-1, 1, 9):
        shown.append("▇", _blend(part))
    shown.append(f" {write_amount(top)} for" + (f" ({_visible(unit)})" if unit else ""))
    return shown


def _pieces(where: str, attribution: Any, sentence: Any, spans: Any) -> tuple[list[_Piece], float]:
    """The sentence in pieces, and the largest size of a value."""
    if not isinstance(sentence, str):
        raise TypeError(complaint(where, "sentence", "be a string", repr(sentence)))
    phi = as_attribution(where, attribution, 1)
    # Whose each character is; 0 of nobody's.
    owner = to_characters(np.arange(1, len(phi) + 1), spans, len(sentence))
    ends = np.asarray(spans)
    if np.count_nonzero(owner) != (ends[:, 1] - ends[:, 0]).sum():
        fix = "Give each character to one word."
        raise ValueError(complaint(where, "spans", "not overlap", ends.tolist(), fix))
    cuts = [0, *(np.flatnonzero(np.diff(owner)) + 1), len(sentence)]
    pieces = [
        _Piece(sentence[a:b], float(phi[owner[a] - 1]) if owner[a] else None)
        for a, b in itertools.pairwise(cuts)
        if a < b
    ]
    return pieces, float(np.abs(phi).max())


def _colours(value: float, top: float) -> tuple[str, str]:
    """The colour of the letters, and that behind them."""
    behind = _blend(value / top if top else 0.0)
    red, green, blue = to_rgb(behind)
    light = 0.299 * red + 0.587 * green + 0.114 * blue
    return "#262626" if light > 0.55 else "#ffffff", behind


def _blend(part: float) -> str:
    """From white to the colour of the sign."""
    red, green, blue = (1 - abs(part) * (1 - c) for c in to_rgb(sign_colour(part)))
    return to_hex((red, green, blue))


def _span(piece: _Piece, top: float) -> str:
    words = html.escape(piece.text)
    if piece.value is None:
        return words
    letters, behind = _colours(piece.value, top)
    style = f"background:{behind};color:{letters};border-radius:0.2em;padding:0.1em"
    return f'<span style="{style}" title="{write_amount(piece.value)}">{words}</span>'


def _style(value: float | None, top: float) -> str:
    # On a dark terminal what is nearly white would stand out most.
    if not value or abs(value) < _LEAST * top:
        return ""
    return " on ".join(_colours(value, top))


def _visible(words: str) -> str:
    """Without control characters, for which a terminal would do things: their pictures, or a replacement."""
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) != "Cc"
        else chr(0x2400 + ord(character))
        if ord(character) < 0x20
        else "\N{REPLACEMENT CHARACTER}"
        for character in words
    )
