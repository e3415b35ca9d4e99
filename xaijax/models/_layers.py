"""The layers of the model zoo, on images with channels last and any leading batch axes."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from xaijax.core._errors import complaint

_HE_NORMAL = jax.nn.initializers.he_normal()


def check_image(where: str, x: Any, *, exactly: int | None = None) -> None:
    """Raise unless x is an image or a batch of them, of at least 32 x 32 pixels or of one size exactly."""
    size = f"{exactly}" if exactly else "at least 32"
    shape = jnp.shape(x)
    if len(shape) >= 3 and shape[-1] == 3:
        fits = shape[-3:-1] == (exactly, exactly) if exactly else min(shape[-3:-1]) >= 32
        if fits:
            return
    rule = f"have the shape (..., H, W, 3) with H and W {size}"
    fix = "Put channels last and resize, as `preprocess` does."
    raise ValueError(complaint(where, "x", rule, shape, fix))


# --- PyTorch's layers


def convolution(
    features_in: int,
    features_out: int,
    kernel_size: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution with the same number of zeros on each side, as PyTorch pads.

    Flax's "SAME" would put the odd row of a stride of 2 at the other end.

    Args:
        features_in: Input channels.
        features_out: Output channels.
        kernel_size: Rows and columns of the kernel.
        stride: Of rows and columns.
        padding: Zeros on each of the four sides.
        bias: Whether a bias is added.
        rngs: Draws the kernel (He normal); the bias starts at 0.
    """
    return nnx.Conv(
        features_in,
        features_out,
        (kernel_size, kernel_size),
        strides=stride,
        padding=padding,
        use_bias=bias,
        kernel_init=_HE_NORMAL,
        rngs=rngs,
    )


def batch_norm(features: int, *, rngs: nnx.Rngs) -> nnx.BatchNorm:
    """Batch norm with PyTorch's constants (its momentum of 0.1 is 0.9 here)."""
    return nnx.BatchNorm(features, momentum=0.9, epsilon=1e-5, rngs=rngs)


def max_pool(
    x: Float[Array, "... H W C"], size: int, *, stride: int, padding: int = 0
) -> Float[Array, "... P Q C"]:
    """The maximum over windows; the padding never wins, and a window that does not fit is left out."""
    return _pool(x, -jnp.inf, jax.lax.max, size, stride, padding)


def average_pool(
    x: Float[Array, "... H W C"], size: int, *, stride: int
) -> Float[Array, "... P Q C"]:
    """The mean over windows; a window that does not fit is left out."""
    return _pool(x, 0.0, jax.lax.add, size, stride, 0) / size**2


def _pool(x: Array, start: float, combine: Any, size: int, stride: int, padding: int) -> Array:
    # All batch axes as one, as in `nnx.Conv`. Flax's own pooling takes one at most with explicit padding; and with a
    # reshape between a convolution and a pooling without one, XLA of jaxlib 0.10.2 computes wrong numbers on CPUs.
    y = jax.lax.reduce_window(
        x.reshape(-1, *x.shape[-3:]),
        start,
        combine,
        (1, size, size, 1),
        (1, stride, stride, 1),
        ((0, 0), (padding, padding), (padding, padding), (0, 0)),
    )
    return y.reshape(*x.shape[:-3], *y.shape[1:])


# --- TensorFlow's layers


class Conv(nnx.Module):
    """A convolution with bias and TensorFlow's "SAME" padding.

    The output has ceil(H / stride) rows; of an odd number of padded rows the larger half comes last. The same
    holds for columns. How it is computed best on a backend is not its business: see `xaijax.lower`.

    Args:
        features_in: Input channels.
        features_out: Output channels.
        kernel_size: Rows and columns of the kernel.
        stride: Of rows and columns.
        depthwise: Convolve each channel alone; then features_out is features_in.
        rngs: Draws the kernel (He normal); the bias starts at 0.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        kernel_size: int,
        *,
        stride: int = 1,
        depthwise: bool = False,
        rngs: nnx.Rngs,
    ) -> None:
        shape = (kernel_size, kernel_size, 1 if depthwise else features_in, features_out)
        self.kernel = nnx.Param(_HE_NORMAL(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(features_out))
        self.stride = stride
        self.groups = features_in if depthwise else 1

    def __call__(self, x: Float[Array, "... H W I"]) -> Float[Array, "... P Q O"]:
        """Convolve images with any leading axes."""
        y = jax.lax.conv_general_dilated(
            x.reshape(-1, *x.shape[-3:]),
            self.kernel[...],
            (self.stride, self.stride),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=self.groups,
        )
        return y.reshape(*x.shape[:-3], *y.shape[1:]) + self.bias[...]


class Dense(nnx.Module):
    """A matrix product and a bias.

    Args:
        features_in: Input features.
        features_out: Output features.
        rngs: Draws the kernel (Lecun normal); the bias starts at 0.
    """

    def __init__(self, features_in: int, features_out: int, *, rngs: nnx.Rngs) -> None:
        shape = (features_in, features_out)
        self.kernel = nnx.Param(jax.nn.initializers.lecun_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(features_out))

    def __call__(self, x: Float[Array, "... I"]) -> Float[Array, "... O"]:
        """Map feature vectors with any leading axes."""
        return x @ self.kernel[...] + self.bias[...]
