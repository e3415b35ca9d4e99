"""Vision transformers: which value is explained by default, where each token lies, and what is refused."""

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xaijax
from tests.networks import draw
from tests.oracles import cams as oracle
from tests.oracles import grad_cam as grad_cam_oracle
from xaijax.models import ViT

pytestmark = pytest.mark.usefixtures("x64")
H, W, D = 3, 5, 6  # the grid of patches, and how wide a token is
N = H * W


def weight(seed, *shape):
    values = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(values / np.sqrt(np.prod(shape[:-1], initial=1.0)), jnp.float64)


def photo(h=H, w=W, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2 * h, 2 * w, 3)))


def maps(explain, f, x, target, **settings) -> Any:
    return xaijax.cam_maps(xaijax.bind(explain, f, **settings), x, target)


def once(function, *args):
    """Call a function compiled. It runs once, so XLA shall not take long to make it fast."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    return jax.jit(function, compiler_options=options)(*args)


def assert_close(actual, expected, rtol=1e-10):
    expected = np.asarray(expected)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


# --- The parts of a transformer, each in several spellings


def norm(x, seed):
    centred = x - x.mean(-1, keepdims=True)
    normed = centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
    return normed * (1.0 + 0.3 * weight(seed, D)) + 0.3 * weight(seed + 1, D)


def perceptron(x):
    return jax.nn.gelu(x @ weight(3, D, 2 * D)) @ weight(4, 2 * D, D)


# Patch embeddings


def patches(x):
    """Patches of 2 x 2 pixels, in reading order."""
    return patch_map(x).reshape(-1, D)


def patch_map(x):
    numbers = ("NHWC", "HWIO", "NHWC")
    kernel = weight(5, 2, 2, 3, D)
    return lax.conv_general_dilated(x[None], kernel, (2, 2), "VALID", dimension_numbers=numbers)[0]


def patches_channels_first(x):
    """The convolution gives (D, h, w), which is reshaped and then turned."""
    kernel = weight(5, 2, 2, 3, D).transpose(3, 2, 0, 1)
    out = lax.conv(jnp.moveaxis(x, -1, 0)[None], kernel, (2, 2), "VALID")
    return out[0].reshape(D, -1).T


def placed(tokens):
    return tokens + weight(6, *tokens.shape)


def alone(x):
    return placed(patches(x))


def class_first(x):
    return placed(jnp.concatenate([weight(7, 1, D), patches(x)]))


def class_last(x):
    return placed(jnp.concatenate([patches(x), weight(7, 1, D)]))


def class_and_registers(x):
    return placed(jnp.concatenate([weight(7, 1, D), weight(8, 4, D), patches(x)]))


def registers_last(x):
    return placed(jnp.concatenate([weight(7, 1, D), patches(x), weight(8, 3, D)]))


def only_registers_last(x):
    return placed(jnp.concatenate([patches(x), weight(8, 3, D)]))


def class_by_padding(x):
    return placed(jnp.pad(patches(x), ((1, 0), (0, 0))))


def class_after_places(x):
    """The patches are placed before the class token is put in front."""
    return jnp.concatenate([weight(7, 1, D), placed(patches(x))])


def channels_first(x):
    return placed(jnp.concatenate([weight(7, 1, D), patches_channels_first(x)]))


def channels_first_alone(x):
    return placed(patches_channels_first(x))


def batch_of_one(x):
    return class_first(x)[None]


# What mixes tokens


def attend(q, k, v, bias: Any = 0.0):
    return jax.nn.softmax(q @ jnp.swapaxes(k, -1, -2) / D**0.5 + bias) @ v


def fused(x):
    """Queries, keys and values of one dense layer."""
    return attend(*jnp.split(x @ weight(9, D, 3 * D), 3, -1)) @ weight(10, D, D)


def separate(x):
    """Of three dense layers, all as wide as the tokens."""
    q, k, v = (x @ weight(seed, D, D) for seed in (11, 12, 13))
    return attend(q, k, v) @ weight(10, D, D)


def values_last(x):
    """The values are computed after the attention's weights, which have no tokens' shape."""
    q, k = x @ weight(11, D, D), x @ weight(12, D, D)
    weights = jax.nn.softmax(q @ k.T / D**0.5)
    return weights @ (x @ weight(13, D, D)) @ weight(10, D, D)


def heads(x):
    q, k, v = jnp.moveaxis((x @ weight(9, D, 3 * D)).reshape(-1, 3, 2, D // 2), (1, 2), (0, 1))
    y = jax.nn.softmax(q @ k.swapaxes(-1, -2)) @ v
    return y.swapaxes(0, 1).reshape(-1, D) @ weight(10, D, D)


def jax_attention(x):
    q, k, v = ((x @ weight(s, D, D)).reshape(-1, 2, D // 2) for s in (11, 12, 13))
    return jax.nn.dot_product_attention(q, k, v).reshape(-1, D) @ weight(10, D, D)


def nnx_attention(x):
    dtypes = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    return nnx.MultiHeadAttention(2, D, decode=False, rngs=nnx.Rngs(0), **dtypes)(x)


def linen_attention(x):
    dtypes = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    module = nn.MultiHeadDotProductAttention(2, **dtypes)
    return module.init_with_output(jax.random.key(0), x)[0]


def equinox_attention(x):
    module = eqx.nn.MultiheadAttention(2, D, dtype=jnp.float64, key=jax.random.key(0))
    return module(x, x, x)


def mixer(x):
    """MLP-Mixer: a perceptron along the tokens."""
    n = x.shape[0]
    return (jax.nn.gelu(x.T @ weight(14, n, 2 * n)) @ weight(15, 2 * n, n)).T


def fourier(x):
    """FNet."""
    return jnp.fft.fft2(x).real


def windows(x, shift=1):
    """Attention inside windows of 2 x 2 tokens, which are shifted: tokens laid out (h, w, D)."""
    h, w, _ = x.shape
    x = jnp.roll(x, (-shift, -shift), (0, 1))
    cut = x.reshape(h // 2, 2, w // 2, 2, D).transpose(0, 2, 1, 3, 4).reshape(-1, 4, D)
    mixed = jax.vmap(fused)(cut).reshape(h // 2, w // 2, 2, 2, D)
    return jnp.roll(mixed.transpose(0, 2, 1, 3, 4).reshape(h, w, D), (shift, shift), (0, 1))


def windows_of_tokens(x):
    return windows(x.reshape(4, 6, D)).reshape(-1, D)


# What is read


def attention_pooling(x):
    """A query that was learned."""
    weights = jax.nn.softmax(weight(16, 1, D) @ (x @ weight(17, D, D)).T)
    return (weights @ (x @ weight(18, D, D)))[0]


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Two blocks, a norm, a dense layer. `cut` is the value through which the last of the patches flows.

    That is the input of the last mixing, where a class token is read, or else what is read. The patches' tokens come
    from token `start` on.
    """

    embed: Callable[[Any], Any]
    mix: Callable[[Any], Any]
    read: Callable[[Any], Any]
    cut: str
    start: int = 0
    grid: tuple[int, int] = (H, W)
    around: Callable[[Any], Any] = lambda block: block  # what a block is wrapped in
    scanned: bool = False

    @property
    def x(self):
        return photo(*self.grid)

    def block(self, tokens):
        with jax.named_scope("norm1"):
            A = norm(tokens, 20)
        return self.after_mixing(tokens, A)

    def after_mixing(self, tokens, A):
        tokens = tokens + self.mix(A)
        return tokens + perceptron(norm(tokens, 22))

    def head(self, A):
        return self.read(A) @ weight(25, D, 4)

    def __call__(self, x):
        tokens, block = self.embed(x), self.around(self.block)
        if self.scanned:
            tokens = lax.scan(lambda t, _: (block(t), None), tokens, None, length=2)[0]
        else:
            tokens = block(block(tokens))
        with jax.named_scope("norm"):
            A = norm(tokens, 23)
        return self.head(A)

    def by_hand(self, x):
        """The activations at the cut, and what comes after them."""
        tokens = self.block(self.embed(x))
        if self.cut == "mixing":
            A = norm(tokens, 20)
            return A, lambda A: self.head(norm(self.after_mixing(tokens, A), 23))
        return norm(self.block(tokens), 23), self.head

    def feature_map(self, A):
        """The tokens of the patches, laid out in space."""
        A = A.reshape(-1, D)[self.start :]
        return A[: self.grid[0] * self.grid[1]].reshape(*self.grid, D)


def first(x):
    return x[0]


def mean(x):
    return x.mean(0)


ViTs = {
    # Where the tokens lie
    "class token": Transformer(class_first, fused, first, "mixing", 1),
    "class token in the end": Transformer(class_last, fused, lambda x: x[-1], "mixing", 0),
    "registers in front": Transformer(class_and_registers, fused, first, "mixing", 5),
    "registers in the end": Transformer(registers_last, fused, first, "mixing", 1),
    "class token by padding": Transformer(class_by_padding, fused, first, "mixing", 1),
    "class token after places": Transformer(class_after_places, fused, first, "mixing", 1),
    "channels first": Transformer(channels_first, fused, first, "mixing", 1),
    "channels first, mean": Transformer(channels_first_alone, fused, mean, "reading"),
    "batch of one": Transformer(batch_of_one, fused, lambda x: x[:, 0][0], "mixing", 1),
    # How the class token is cut out
    "take": Transformer(class_first, fused, lambda x: jnp.take(x, 0, axis=0), "mixing", 1),
    "take in a batch": Transformer(
        batch_of_one, fused, lambda x: jnp.take(x, 0, axis=1)[0], "mixing", 1
    ),
    "index array": Transformer(class_first, fused, lambda x: x[jnp.array([0])][0], "mixing", 1),
    "dynamic index": Transformer(
        class_first,
        fused,
        lambda x: lax.dynamic_index_in_dim(x, 0, keepdims=False),
        "mixing",
        1,
    ),
    "split": Transformer(class_first, fused, lambda x: jnp.split(x, [1])[0][0], "mixing", 1),
    "slice": Transformer(class_first, fused, lambda x: x[:1].reshape(-1), "mixing", 1),
    # What else is read
    "mean of all": Transformer(alone, fused, mean, "reading"),
    "mean of all with a class token": Transformer(class_first, fused, mean, "reading", 1),
    "mean of patches": Transformer(class_first, fused, lambda x: x[1:].mean(0), "reading", 1),
    "mean of patches before registers": Transformer(
        only_registers_last, fused, lambda x: x[:N].mean(0), "reading", 0
    ),
    "mean of patches between": Transformer(
        registers_last, fused, lambda x: x[1:-3].mean(0), "reading", 1
    ),
    "class token and mean": Transformer(
        class_first, fused, lambda x: x[0] + x[1:].mean(0), "reading", 1
    ),
    "flattened": Transformer(
        alone, fused, lambda x: x.reshape(-1) @ weight(19, N * D, D), "reading"
    ),
    "attention pooling": Transformer(alone, fused, attention_pooling, "reading"),
    # What mixes the tokens
    "separate": Transformer(class_first, separate, first, "mixing", 1),
    "values last": Transformer(class_first, values_last, first, "mixing", 1),
    "heads": Transformer(class_first, heads, first, "mixing", 1),
    "jax.nn": Transformer(class_first, jax_attention, first, "mixing", 1),
    "nnx": Transformer(class_first, nnx_attention, first, "mixing", 1),
    "linen": Transformer(class_first, linen_attention, first, "mixing", 1),
    "equinox": Transformer(class_first, equinox_attention, first, "mixing", 1),
    "mixer": Transformer(alone, mixer, mean, "reading"),
    "mixer with a class token": Transformer(class_first, mixer, first, "mixing", 1),
    "Fourier": Transformer(alone, fourier, mean, "reading"),
    "Fourier with a class token": Transformer(class_first, fourier, first, "mixing", 1),
    "cumulative sum": Transformer(
        class_last, lambda x: jnp.cumsum(x, 0), lambda x: x[-1], "mixing", 0
    ),
    "windows": Transformer(patch_map, windows, lambda x: x.mean((0, 1)), "reading", grid=(4, 6)),
    "windows of tokens": Transformer(alone, windows_of_tokens, mean, "reading", grid=(4, 6)),
    # How the blocks are called
    "jit": Transformer(class_first, fused, first, "mixing", 1, around=jax.jit),
    "remat": Transformer(class_first, fused, first, "mixing", 1, around=jax.checkpoint),
    "scan": Transformer(class_first, fused, first, "mixing", 1, scanned=True),
    "scan, mean": Transformer(alone, fused, mean, "reading", scanned=True),
    "scan of remat": Transformer(
        class_first, fused, first, "mixing", 1, around=jax.checkpoint, scanned=True
    ),
}


@pytest.mark.parametrize("name", ViTs)
def test_default_layer_and_its_map(name):
    """The value at the default layer, its gradient and the map are those of the network cut by hand."""
    f = ViTs[name]

    def both(x):
        A, after = f.by_hand(x)
        G = jax.grad(lambda A: after(A)[1])(A)
        found = maps(xaijax.hires_cam, f, x, 1)
        seen = found.layer.feature_map(xaijax.split(f, x)[0](x))
        return found, seen, f.feature_map(A), f.feature_map(G)

    found, seen, A, G = once(both, f.x)
    assert_close(seen, A)
    assert_close(found.weights, G)
    assert found.map.shape == f.grid
    assert_close(found.map, oracle.hires_cam(np.asarray(A), np.asarray(G)))


# --- Weights by which a single patch matters


def only_patch(start):
    """Attention in which every token looks at the patch at (1, 3) alone."""

    def mix(x):
        n = x.shape[-2]
        bias = jnp.where(jnp.arange(n) == start + 8, 0.0, -1e9)
        q, k, v = jnp.split(x @ weight(9, D, 3 * D), 3, -1)
        return attend(q, k, v, bias) @ weight(10, D, D)

    return mix


ONE_PATCH = {
    "class token": Transformer(class_first, only_patch(1), first, "mixing"),
    "class token in the end": Transformer(class_last, only_patch(0), lambda x: x[-1], "mixing"),
    "registers in front": Transformer(class_and_registers, only_patch(5), first, "mixing"),
    "registers in the end": Transformer(registers_last, only_patch(1), first, "mixing"),
    "channels first": Transformer(channels_first, only_patch(1), first, "mixing"),
    "batch of one": Transformer(batch_of_one, only_patch(1), lambda x: x[0, 0], "mixing"),
    "scan": Transformer(class_first, only_patch(1), first, "mixing", scanned=True),
    "read by a slice": Transformer(class_first, fused, lambda x: x[9], "reading"),
    "read by the head": Transformer(
        alone, fused, lambda x: jnp.where(jnp.arange(N) == 8, 1.0, 0.0) @ x, "reading"
    ),
}


@pytest.mark.parametrize("name", ONE_PATCH)
def test_all_of_the_map_is_at_the_patch_that_matters(name):
    f = ONE_PATCH[name]
    found = np.array(once(lambda x: xaijax.grad_cam_elementwise(f, x, 0), f.x))
    assert found[1, 3] > 0
    found[1, 3] = 0
    np.testing.assert_array_equal(found, np.zeros((H, W)))


# --- Other methods, other targets


@functools.cache
def other_methods():
    """What the library finds, with patches between a class token and registers, and what is known by hand."""
    f = ViTs["registers in the end"]

    def by_hand(x):
        A, after = f.by_hand(x)

        def y(features):
            rows = jnp.asarray(features).reshape(-1, D)
            return after(A.at[1 : 1 + N].set(rows))[2]

        features = f.feature_map(A)
        ablated = [y(features.at[..., k].set(0)) for k in range(D)]
        return features, jax.grad(y)(features), y(features), jnp.stack(ablated)

    def found(x):
        methods = ("grad_cam", "layer_cam", "ablation_cam", "eigen_cam")
        results = {name: maps(getattr(xaijax, name), f, x, 2) for name in methods}
        for mode in ("prob", "cic"):
            results[mode] = maps(xaijax.score_cam, f, x, 2, mode=mode)
        results["grid"] = maps(xaijax.grad_cam, f, x, 2, grid=(H, W))
        return results

    return *(map(np.asarray, once(by_hand, f.x))), once(found, f.x)


def test_gradients_of_patches_alone():
    A, G, *_, found = other_methods()
    assert_close(found["grad_cam"].weights, grad_cam_oracle.channel_weights(G))
    assert_close(found["grad_cam"].map, grad_cam_oracle.grad_cam(A, G))
    assert_close(found["layer_cam"].map, oracle.layer_cam(A, G))
    assert_close(found["eigen_cam"].map, oracle.eigen_cam(A))


def test_patches_alone_are_ablated():
    A, _, y, without, found = other_methods()
    w = (y - without) / abs(y)
    assert_close(found["ablation_cam"].weights, w)
    assert_close(found["ablation_cam"].map, np.maximum(A @ w, 0))


@pytest.mark.parametrize("mode", ["prob", "cic"])
def test_patches_alone_are_masks(mode):
    f = ViTs["registers in the end"]
    A, *_, found = other_methods()
    expected = oracle.score_cam_weights(jax.jit(f), f.x, A, lambda outputs: outputs[2], mode)
    assert_close(found[mode].weights, expected)


def test_grid_that_is_known_may_be_given():
    *_, found = other_methods()
    assert_close(found["grid"].map, found["grad_cam"].map)


def test_several_layers():
    """The patch embedding, which is a feature map, and tokens: each as it is alone."""
    f, names = ViTs["class token"], ("conv", None)

    def call(x):
        return [maps(xaijax.grad_cam, f, x, 1, layer=layer) for layer in (names, *names)]

    both, *alone = once(call, f.x)
    assert [result.layer.shape for result in both] == [(1, H, W, D), (1 + N, D)]
    for result, single in zip(both, alone, strict=True):
        assert_close(result.map, single.map)


def test_batch():
    f = ViTs["class token"]
    xs = jnp.stack([f.x, photo(seed=1)])
    explain = xaijax.bind(xaijax.grad_cam, f)
    batch = jax.vmap(explain, (0, None))(xs, 1)
    for i in range(2):
        assert_close(batch[i], explain(xs[i], 1))


def test_outputs_for_each_patch():
    """Segmentation: the target reads a region of a map of outputs."""
    f = dataclasses.replace(ViTs["mean of all"], read=lambda x: x)

    def region(outputs):
        return outputs.reshape(H, W, 4)[:2, 1:3, 3].sum()

    found = maps(xaijax.hires_cam, f, f.x, region)
    inside = np.zeros((H, W, 1))
    inside[:2, 1:3] = 1
    assert_close(found.weights, inside * np.asarray(weight(25, D, 4)[:, 3]))


def test_similarity_of_embeddings_and_a_single_output():
    f = ViTs["class token"]
    other = f(photo(seed=1))

    def similarity(outputs):
        return (outputs @ other) / jnp.linalg.norm(outputs) / jnp.linalg.norm(other)

    def single(x):
        return f(x)[2:3]

    def by_hand(x):
        A, after = f.by_hand(x)
        slopes = [jax.grad(lambda A: similarity(after(A)))(A), jax.grad(lambda A: after(A)[2])(A)]
        return [f.feature_map(G).mean((0, 1)) for G in slopes]

    def found(x):
        results = maps(xaijax.grad_cam, f, x, similarity), maps(xaijax.grad_cam, single, x, 0)
        return [result.weights for result in results]

    for actual, expected in zip(once(found, f.x), once(by_hand, f.x), strict=True):
        assert_close(actual, expected)


def test_vision_transformer_of_the_zoo():
    sizes = {"image_size": 8, "patch_size": 2, "width": 8, "depth": 2, "num_heads": 2}
    f = draw(nnx.eval_shape(lambda: ViT(4, **sizes, rngs=nnx.Rngs(0))))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 8, 3)), jnp.float32)
    found = once(lambda x: maps(xaijax.grad_cam, f, x, 1), x)
    known = xaijax.layers(f, x)
    assert found.layer == known.default == known.find("test", "blocks/1/norm1")
    assert found.map.shape == (4, 4)
    assert found.map.max() > 0


# --- Patches that are embedded by a dense layer


def cut_into_patches(x):
    return x.reshape(H, 2, W, 2, 3).transpose(0, 2, 1, 3, 4).reshape(N, 12)


def dense_patches(x):
    return placed(jnp.concatenate([weight(7, 1, D), cut_into_patches(x) @ weight(26, 12, D)]))


DENSE = Transformer(dense_patches, fused, first, "mixing", 1, around=jax.jit)


def test_grid_of_patches_that_a_dense_layer_embeds():
    one = dataclasses.replace(DENSE, mix=only_patch(1))

    def both(x):
        A, after = DENSE.by_hand(x)
        G = jax.grad(lambda A: after(A)[1])(A)
        settings = {"layer": "norm1", "grid": (H, W)}
        only = xaijax.grad_cam_elementwise(one, x, 1, **settings)
        return maps(xaijax.hires_cam, DENSE, x, 1, **settings), DENSE.feature_map(G), only

    found, G, only = once(both, DENSE.x)
    assert_close(found.weights, G)
    assert found.map.shape == (H, W)
    assert only[1, 3] == only.sum() > 0


# --- Errors


def explain(f, **settings):
    return lambda: xaijax.layer_cam(f, f.x, 1, **settings)


PLAIN = ViTs["class token"]
ONLY_CLASS = r"layer must be one whose positions the outputs depend on, got 'norm/add#2'.*class token.*layer=None"
TOKENS = r"of shape \(16, 6\)"

ERRORS = {
    # After the last attention of a class token
    "norm at the end": (explain(PLAIN, layer="norm"), ValueError, ONLY_CLASS),
    "norm at the end of a scan": (
        explain(ViTs["scan"], layer="norm"),
        ValueError,
        ONLY_CLASS,
    ),
    "norm at the end, by take": (
        explain(ViTs["take"], layer="norm"),
        ValueError,
        ONLY_CLASS,
    ),
    "norm at the end, several layers": (
        explain(PLAIN, layer=("conv", "norm")),
        ValueError,
        ONLY_CLASS,
    ),
    # A dense layer embeds the patches
    "dense embedding": (
        explain(DENSE),
        ValueError,
        r"layer must be given for a model without a convolution's feature map, got None.*grid=",
    ),
    "dense embedding, grid without layer": (
        explain(DENSE, grid=(H, W)),
        ValueError,
        r"layer must be given for a model without a convolution's feature map, got None.*grid=",
    ),
    "dense embedding, layer without grid": (
        explain(DENSE, layer="norm1"),
        ValueError,
        rf"layer must have spatial axes and a channel axis, got 'norm1/add#4' {TOKENS}\..*grid=",
    ),
    # The grid
    "too large": (
        explain(DENSE, layer="norm1", grid=(4, 5)),
        ValueError,
        rf"grid must .*16.*, got \(4, 5\), which has 20, for the layer 'norm1/add#4' {TOKENS}",
    ),
    "far too small": (
        explain(DENSE, layer="norm1", grid=(2, 2)),
        ValueError,
        rf"grid must .*16.*, got \(2, 2\), which has 4, for the layer 'norm1/add#4' {TOKENS}",
    ),
    "turned": (
        explain(PLAIN, grid=(5, 3)),
        ValueError,
        rf"grid must be that of the patch embedding, \(3, 5\).*, got \(5, 3\).* {TOKENS}",
    ),
    "not that of the patch embedding": (
        explain(PLAIN, grid=(2, 7)),
        ValueError,
        r"grid must be that of the patch embedding, \(3, 5\).*, got \(2, 7\)",
    ),
    "of a feature map": (
        explain(PLAIN, layer="conv", grid=(3, 5)),
        ValueError,
        r"grid must be given only for tokens .*, got \(3, 5\) for the layer 'conv' of shape \(1, 3, 5, 6\)",
    ),
    **{
        f"no height and width: {grid}": (
            explain(DENSE, layer="norm1", grid=grid),
            TypeError,
            rf"grid must be the height and width of the tokens' grid, got {re.escape(repr(grid))}",
        )
        for grid in ((15,), (3, 5, 1), (), (3, -5), "3x5", 15, (1.5, 10))
    },
}


@pytest.mark.parametrize(("call", "error", "says"), ERRORS.values(), ids=ERRORS.keys())
def test_refused_before_anything_is_compiled(call, error, says, count_compiles):
    with count_compiles() as compiled, pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert re.search("layer_cam: " + says, message, flags=re.DOTALL), message
    assert "layer_cam" not in compiled


def test_norm_at_the_end_of_a_dense_embedding_is_degenerate():
    """Without a convolution nobody knows which tokens are patches until the grid is given: it is told, not refused."""
    explain = xaijax.bind(xaijax.grad_cam, DENSE, layer="norm", grid=(H, W))
    assert xaijax.cam_maps(explain, DENSE.x, 0).degenerate
