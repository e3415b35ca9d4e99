"""The layers of the model zoo, on images with channels last and any leading batch axes."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


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
        self.kernel = nnx.Param(jax.nn.initializers.he_normal()(rngs.params(), shape))
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
