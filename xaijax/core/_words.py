"""A sentence as an input: its words as features, for models that read strings, and values back on its characters."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xaijax.core._errors import complaint
from xaijax.core._mask import Tokens, tokens
from xaijax.core._model import black_box

_HIDDEN = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Words:
    """A sentence cut into words and what stands between them. Made by `words`.

    Attributes:
      text: the sentence.
      spans: where its pieces are, words and what is between them: `(length, 2)`, first character and the one after the
        last.
      x: the input that is explained: the numbers of the pieces, `(length,)`.
      mask: hides words.
      names: the word of each feature.
      replacement: what stands for a hidden word.
    """

    text: str
    spans: Int[np.ndarray, "length 2"]
    x: Int[Array, " length"]
    mask: Tokens
    names: tuple[str, ...]
    replacement: str

    def join(self, pieces: Int[Array | np.ndarray, " length"]) -> str:
        """The sentence of an input: with the replacement where a word is hidden."""
        return "".join(
            self.replacement if i == _HIDDEN else self.text[slice(*self.spans[i])]
            for i in np.asarray(pieces)
        )

    def model(self, predict: Callable[[list[str]], Any], num_outputs: int) -> Callable[[Any], Any]:
        """A classifier of sentences, such as a scikit-learn pipeline's `predict_proba`, as a model of `x`."""
        return black_box(lambda rows: predict([self.join(row) for row in rows]), num_outputs)

    def characters(self, values: Float[Array, " length"]) -> Float[np.ndarray, " characters"]:
        """The values of the pieces on their characters."""
        return to_characters(values, self.spans, len(self.text))


def words(text: str, split: str = r"\W+", *, bow: bool = True, replacement: str = "") -> Words:
    r"""The words of a sentence as features, for models that read strings.

    The input that is explained is `words(...).x`, numbers of the sentence's pieces; `words(...).model` makes a model
    of it. For a model in JAX, which reads token ids, see `tokens`.

    Args:
      text: the sentence.
      split: a regular expression of what stands between words.
      bow: as a bag of words: all occurrences of a word are one feature.
      replacement: what stands for a hidden word; by default nothing does.

    Raises:
      ValueError: there is no word in the sentence.
      TypeError: `text` is no string.

    Examples:
      >>> sentence = words("good, good film")
      >>> sentence.names
      ('good', 'film')
      >>> sentence.join(sentence.mask(sentence.x, jnp.array([False, True])))
      ',  film'
    """
    if not isinstance(text, str):
        raise TypeError(complaint("words", "text", "be a string", repr(text)))
    spans, is_word, end = [], [], 0
    for between in re.finditer(split, text):
        start, stop = between.span()
        pieces = [(end, start, True), (start, stop, False)]
        spans += [(a, b) for a, b, _ in pieces if a < b]
        is_word += [word for a, b, word in pieces if a < b]
        end = stop
    if end < len(text):
        spans.append((end, len(text)))
        is_word.append(True)
    if not any(is_word):
        rule = f"have a word between what matches {split!r}"
        raise ValueError(complaint("words", "text", rule, repr(text)))
    numbers: dict[Any, int] = {}
    groups = [
        numbers.setdefault(text[a:b] if bow else a, len(numbers)) if word else -1
        for (a, b), word in zip(spans, is_word, strict=True)
    ]
    x = jnp.arange(len(spans))
    mask = tokens(x, mask_token=_HIDDEN, groups=np.array(groups))
    first = [groups.index(k) for k in range(len(numbers))]
    names = tuple(text[slice(*spans[i])] for i in first)
    return Words(text, np.array(spans), x, mask, names, replacement)


def to_characters(
    values: Float[Array | np.ndarray, " length"],
    spans: Int[Array | np.ndarray, "length 2"] | Sequence[tuple[int, int]],
    length: int,
) -> Float[np.ndarray, " characters"]:
    """The values of a text's tokens on its characters; 0 on those of no token.

    Args:
      values: of each token, `(length,)`.
      spans: of each token its first character and the one after its last, as tokenizers call `offsets`; `(0, 0)` of a
        token that is not in the text.
      length: how many characters the text has.

    Raises:
      ValueError: there are not as many spans as values, or one ends outside the text.

    Examples:
      >>> to_characters(np.array([9.0, 1.0, 2.0]), [(0, 0), (0, 2), (3, 4)], 5)
      array([1., 1., 0., 2., 0.])
    """
    values, ends = np.asarray(values), np.asarray(spans)
    if ends.shape != (*values.shape, 2) or values.ndim != 1:
        rule, got = f"be a pair for each value, {(*values.shape, 2)}", f"shape {ends.shape}"
        raise ValueError(complaint("to_characters", "spans", rule, got))
    if ends.size and not 0 <= ends.min() <= ends.max() <= length:
        got = f"{ends.min()} to {ends.max()}"
        raise ValueError(complaint("to_characters", "spans", f"be in [0, {length}]", got))
    characters = np.zeros(length, values.dtype)
    for value, (start, stop) in zip(values, ends, strict=True):
        characters[start:stop] = value
    return characters
