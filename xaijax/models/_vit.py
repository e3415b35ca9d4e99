"""The Vision Transformer (Dosovitskiy et al., ICLR 2021; arXiv:2010.11929).

References:
    dosovitskiy2021vit
"""

import dataclasses
import os

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from xaijax.core._errors import complaint
from xaijax.models._checkpoint import create
from xaijax.models._imagenet import TIMM_AUGREG
from xaijax.models._layers import check_image, convolution
from xaijax.models._transformer import MLP, Attention, layer_norm

_LAYER_NORM_EPSILON = 1e-6


class TransformerBlock(nnx.Module):
    """Attention and an MLP, each after a layer norm and beside a shortcut.

    Args:
        width: Features of a token.
        num_heads: Of the attention.
        rngs: Draws the kernels.
    """

    def __init__(self, width: int, num_heads: int, *, rngs: nnx.Rngs) -> None:
        self.norm1 = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)
        self.attn = Attention(width, num_heads, rngs=rngs)
        self.norm2 = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)
        self.mlp = MLP(width, rngs=rngs)

    def __call__(self, x: Float[Array, "... N D"]) -> Float[Array, "... N D"]:
        """Map tokens with any leading axes."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nnx.Module):
    """A token for each patch of the image, row by row.

    Args:
        patch_size: Rows and columns of a patch.
        width: Features of a token.
        rngs: Draws the kernel.
    """

    def __init__(self, patch_size: int, width: int, *, rngs: nnx.Rngs) -> None:
        self.proj = convolution(3, width, patch_size, stride=patch_size, rngs=rngs)

    def __call__(self, x: Float[Array, "... H W 3"]) -> Float[Array, "... N D"]:
        """Map images with any leading axes."""
        y = self.proj(x)
        return y.reshape(*y.shape[:-3], -1, y.shape[-1])


class ViT(nnx.Module):
    """A Vision Transformer that reads the class from a token of its own.

    Its modules have the names of timm's.

    Differs from the paper in having no dropout: the model is made for evaluation.

    Args:
        num_classes: Number of logits.
        image_size: Rows and columns of the image, a multiple of `patch_size`.
        patch_size: Rows and columns of a patch.
        width: Features of a token, a multiple of `num_heads`.
        depth: Number of blocks.
        num_heads: Of each attention.
        rngs: Draws the parameters. `vit_small_16` loads trained ones.

    Raises:
        ValueError: image_size is no multiple of patch_size, or width none of num_heads.

    References:
        dosovitskiy2021vit
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        image_size: int = 224,
        patch_size: int = 16,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        rngs: nnx.Rngs,
    ) -> None:
        if image_size < 1 or image_size % patch_size:
            rule = f"be a multiple of the patch size {patch_size}"
            raise ValueError(complaint("ViT", "image_size", rule, image_size))
        if width % num_heads:
            rule = f"be a multiple of the number of heads {num_heads}"
            raise ValueError(complaint("ViT", "width", rule, width))
        num_tokens = (image_size // patch_size) ** 2 + 1
        draw = jax.nn.initializers.normal(0.02)
        self.image_size = image_size
        self.preprocessing = TIMM_AUGREG
        if image_size != TIMM_AUGREG.crop:  # timm leaves nothing out around its larger images
            whole = {"crop": image_size, "shorter_side": image_size}
            self.preprocessing = dataclasses.replace(TIMM_AUGREG, **whole)
        self.cls_token = nnx.Param(draw(rngs.params(), (1, 1, width)))
        self.pos_embed = nnx.Param(draw(rngs.params(), (1, num_tokens, width)))
        self.patch_embed = PatchEmbedding(patch_size, width, rngs=rngs)
        self.blocks = nnx.List(
            [TransformerBlock(width, num_heads, rngs=rngs) for _ in range(depth)]
        )
        self.norm = layer_norm(width, epsilon=_LAYER_NORM_EPSILON, rngs=rngs)
        self.head = nnx.Linear(width, num_classes, rngs=rngs)

    def __call__(self, x: Float[Array, "*batch H W 3"]) -> Float[Array, "*batch classes"]:
        """Compute the logits.

        Args:
            x: One image or a batch, as `preprocess(image, model.preprocessing)` scales them; of exactly
                image_size x image_size pixels, since each patch has a position that was learned.

        Returns:
            The logits.

        Raises:
            ValueError: x is no image of three channels and of that size.
        """
        check_image("ViT", x, exactly=self.image_size)
        x = self.patch_embed(x)
        cls_token = jnp.broadcast_to(self.cls_token[0], (*x.shape[:-2], 1, x.shape[-1]))
        x = jnp.concatenate([cls_token, x], -2) + self.pos_embed[0]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[..., 0, :])


def vit_small_16(
    weights: str | os.PathLike[str] | None = None,
    *,
    num_classes: int = 1000,
    image_size: int = 224,
    rngs: nnx.Rngs | None = None,
) -> ViT:
    """Make ViT-S/16: 12 blocks of width 384 with 6 heads, on patches of 16 x 16 pixels.

    Args:
        weights: The path of a checkpoint with the names of timm's `vit_small_patch16_224` (`.pth` or `.safetensors`,
            read without PyTorch), or None for random parameters.
        num_classes: Number of logits, which a checkpoint must have too.
        image_size: Rows and columns of the images, for which a checkpoint must have been trained.
        rngs: Draws random parameters; needed with `weights=None` and refused otherwise.

    Returns:
        The model, from `(..., image_size, image_size, 3)` to `(..., num_classes)` logits, in evaluation mode.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: The checkpoint is damaged, or its keys or shapes are not those of this model; rngs does not go with
            weights; or image_size is no multiple of 16.

    Example:
        >>> from flax import nnx
        >>> model = nnx.eval_shape(lambda: vit_small_16(image_size=64, rngs=nnx.Rngs(0)))
        >>> model.pos_embed.shape  # 4 x 4 patches and the class token
        (1, 17, 384)

    References:
        dosovitskiy2021vit
    """
    return create(
        "vit_small_16",
        lambda rngs: ViT(num_classes, image_size=image_size, rngs=rngs),
        weights,
        rngs,
    )
