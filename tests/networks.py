"""Small networks of every framework and every control flow, shared by the tests.

`NETWORKS[name]()` gives `(f, x)`: a callable pytree and one example. The weights are drawn here and not by the
frameworks, so that biases and running statistics are not zeros and ones, which would hide a mistake.
"""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.tree_util import Partial

NETWORKS: dict[str, Callable[[], tuple[Any, Any]]] = {}


def network(build):
    """Register a network; it is built once."""
    NETWORKS[build.__name__] = functools.cache(build)
    return NETWORKS[build.__name__]


def image(*shape: int):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


def draw(tree):
    """Random arrays in the place of a tree's arrays; only their shapes are read."""
    rng = np.random.default_rng(0)

    def leaf(path, like):
        if not hasattr(like, "shape"):
            return like
        name = jax.tree_util.keystr(path)
        if "var" in name:
            values = rng.uniform(0.5, 2.0, like.shape)
        else:
            values = rng.normal("scale" in name, 0.2, like.shape)
        return jnp.asarray(values, jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, tree)


# --- Flax linen


class Block(nn.Module):
    """Two convolutions with batch norm in evaluation, around them a shortcut."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x):
        y = nn.Conv(self.features, (3, 3), self.stride)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=True)(y))
        y = nn.BatchNorm(use_running_average=True)(nn.Conv(self.features, (3, 3))(y))
        if y.shape != x.shape:
            x = nn.Conv(self.features, (1, 1), self.stride, name="shortcut")(x)
        return nn.relu(x + y)


class ScanBlock(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return Block(8, name="block")(x), None


class ResNet(nn.Module):
    block: Any = Block

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), name="stem")(x[None]))
        x = self.block(8, name="block1")(x)
        x = self.block(8, stride=2, name="block2")(x)
        return nn.Dense(5, name="head")(x.mean((1, 2)))[0]


class ScannedResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(8, (3, 3), name="stem")(x[None]))
        axes = {"params": 0, "batch_stats": 0, "intermediates": 0}
        blocks = nn.scan(ScanBlock, variable_axes=axes, split_rngs={"params": True}, length=2)
        x, _ = blocks(name="blocks")(x, None)
        return nn.Dense(5, name="head")(x.mean((1, 2)))[0]


def linen_model(module, x):
    return Partial(module.apply, draw(jax.eval_shape(module.init, jax.random.key(0), x))), x


@network
def linen():
    return linen_model(ResNet(), image(16, 16, 3))


@network
def linen_jit():
    f, x = linen()
    return Partial(lambda variables, x: jax.jit(ResNet().apply)(variables, x), *f.args), x


@network
def linen_remat():
    return linen_model(ResNet(nn.remat(Block)), image(16, 16, 3))


@network
def linen_scan():
    return linen_model(ScannedResNet(), image(16, 16, 3))


# --- Flax nnx


class NnxCNN(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(8, 8, (3, 3), rngs=rngs)
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), (2, 2))
        return self.head(nnx.relu(self.conv2(x)).mean((0, 1)))


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(8, 8, (3, 3), rngs=rngs)
        self.bn1 = nnx.BatchNorm(8, rngs=rngs)
        self.conv2 = nnx.Conv(8, 8, (3, 3), rngs=rngs)
        self.bn2 = nnx.BatchNorm(8, rngs=rngs)

    def __call__(self, x):
        y = self.bn2(self.conv2(nnx.relu(self.bn1(self.conv1(x)))))
        return nnx.relu(x + y)


class NnxResNet(nnx.Module):
    def __init__(self, rngs):
        self.stem = nnx.Conv(3, 8, (3, 3), rngs=rngs)
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(2)])
        self.head = nnx.Linear(8, 5, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x[None]))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))[0]


def nnx_module(cls):
    return draw(nnx.eval_shape(lambda: cls(nnx.Rngs(0))))


@network
def nnx_cnn():
    return nnx_module(NnxCNN), image(16, 16, 3)


@network
def nnx_resnet():
    module = nnx_module(NnxResNet)
    module.eval()
    return module, image(16, 16, 3)


# --- Equinox: channels first, one example


class EquinoxCNN(eqx.Module):
    features: eqx.nn.Sequential
    mix: eqx.nn.Linear
    head: eqx.nn.Linear

    def __init__(self, key):
        self.features = eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(3, 8, 3, padding=1, key=key),
                eqx.nn.Lambda(jax.nn.relu),
                eqx.nn.MaxPool2d(2, 2),
                eqx.nn.Conv2d(8, 8, 3, padding=1, key=key),
                eqx.nn.Lambda(jax.nn.relu),
            ]
        )
        self.mix = eqx.nn.Linear(8, 8, key=key)
        self.head = eqx.nn.Linear(8, 5, key=key)

    def __call__(self, x):
        return self.head(jax.nn.tanh(self.mix(self.features(x).mean((1, 2)))))


@network
def equinox():
    model = eqx.filter_eval_shape(EquinoxCNN, jax.random.key(0))
    return draw(model), image(3, 16, 16)


@network
def equinox_vmap():
    model, x = equinox()
    return Partial(lambda model, x: jax.vmap(model)(x[None])[0], model), x


# --- Haiku


class HaikuResNet(hk.Module):
    def __call__(self, x):
        x = jax.nn.relu(hk.Conv2D(8, 3, name="stem")(x))
        y = jax.nn.relu(hk.Conv2D(8, 3, name="conv")(x))
        return hk.Linear(5, name="head")(jax.nn.relu(x + y).mean((0, 1)))


@network
def haiku():
    model, x = hk.without_apply_rng(hk.transform(lambda x: HaikuResNet()(x))), image(16, 16, 3)
    return Partial(model.apply, draw(jax.eval_shape(model.init, jax.random.key(0), x))), x


# --- Plain functions of a dict of weights


def conv(x, kernel, stride=1, padding="SAME", groups=1):
    return lax.conv_general_dilated(
        x[None],
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )[0]


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 1), (2, 2, 1), "VALID")


def weights(**shapes):
    return draw({name: jnp.zeros(shape) for name, shape in shapes.items()})


@network
def plain():
    w = weights(conv1=(3, 3, 3, 8), bias1=(8,), conv2=(3, 3, 8, 8), head=(8, 5))

    def apply(w, x):
        x = jax.nn.relu(conv(x, w["conv1"]) + w["bias1"])
        x = jax.nn.relu(conv(x, w["conv2"], stride=2))
        return x.mean((0, 1)) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def vgg():
    """It ends with a max-pooling and a dense layer on the flattened feature maps."""
    w = weights(conv1=(3, 3, 3, 8), conv2=(3, 3, 8, 8), dense=(128, 8), head=(8, 5))

    def apply(w, x):
        x = max_pool(jax.nn.relu(conv(x, w["conv1"])))
        x = max_pool(jax.nn.relu(conv(x, w["conv2"])))
        return jax.nn.relu(x.reshape(-1) @ w["dense"]) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def concat():
    """Two branches whose channels are put side by side."""
    w = weights(stem=(3, 3, 3, 8), left=(1, 1, 8, 4), right=(3, 3, 8, 6), head=(10, 5))

    def apply(w, x):
        x = jax.nn.relu(conv(x, w["stem"]))
        branches = [jax.nn.relu(conv(x, w["left"])), jax.nn.relu(conv(x, w["right"]))]
        return jnp.concatenate(branches, -1).mean((0, 1)) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def depthwise():
    """Its 1x1 convolution is a matrix product over the channels."""
    w = weights(stem=(3, 3, 3, 8), depthwise=(3, 3, 1, 8), pointwise=(8, 12), head=(12, 5))

    def apply(w, x):
        x = jax.nn.relu6(conv(x, w["stem"], stride=2))
        x = jax.nn.relu6(conv(x, w["depthwise"], groups=8))
        x = jax.nn.relu6(x @ w["pointwise"])
        return x.mean((0, 1)) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def pointwise_nchw():
    """Channels first, and a 1x1 convolution by `einsum`, its weight on the left."""
    w = weights(conv=(8, 3, 3, 3), pointwise=(12, 8), head=(12, 5))

    def apply(w, x):
        x = jax.nn.relu(lax.conv(x[None], w["conv"], (1, 1), "SAME")[0])
        x = jax.nn.relu(jnp.einsum("oc,chw->ohw", w["pointwise"], x))
        return x.mean((1, 2)) @ w["head"]

    return Partial(apply, w), image(3, 16, 16)


@network
def shared():
    """The same weights are used twice."""
    w = weights(stem=(3, 3, 3, 8), twice=(3, 3, 8, 8), head=(8, 5))

    def apply(w, x):
        x = jax.nn.relu(conv(x, w["stem"]))
        for _ in range(2):
            x = jax.nn.relu(conv(x, w["twice"]))
        return x.mean((0, 1)) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def branching():
    """`lax.cond` with two results chooses what follows the convolution."""
    w = weights(stem=(3, 3, 3, 8), conv=(3, 3, 8, 8), head=(8, 5))

    def apply(w, x):
        x = jax.nn.relu(conv(x, w["stem"]))
        x, gain = lax.cond(
            x.mean() > 0,
            lambda x: (jax.nn.relu(conv(x, w["conv"])), x.max()),
            lambda x: (-x, x.min()),
            x,
        )
        return gain * (x.mean((0, 1)) @ w["head"])

    return Partial(apply, w), image(16, 16, 3)


@network
def gru():
    """A recurrent network read by `lax.scan`, over a sequence of three steps."""
    w = weights(gates=(4 + 6, 12), candidate=(4 + 6, 6), head=(6, 5))

    def step(w, h, x):
        z, r = jnp.split(jax.nn.sigmoid(jnp.concatenate([x, h]) @ w["gates"]), 2)
        new = jnp.tanh(jnp.concatenate([x, r * h]) @ w["candidate"])
        h = (1 - z) * h + z * new
        return h, h

    def apply(w, x):
        h, states = lax.scan(functools.partial(step, w), jnp.zeros(6), x)
        return (h + states.mean(0)) @ w["head"]

    return Partial(apply, w), image(3, 4)


@network
def loop():
    """The same convolution three times, by `fori_loop`."""
    w = weights(stem=(3, 3, 3, 4), again=(3, 3, 4, 4), head=(4, 5))

    def apply(w, x):
        x = jax.nn.relu(conv(x, w["stem"]))
        x = lax.fori_loop(0, 3, lambda i, x: jax.nn.relu(conv(x, w["again"]) + i), x)
        return x.mean((0, 1)) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@jax.custom_jvp
def softplus(x):
    return jnp.log1p(jnp.exp(x))


softplus.defjvp(lambda x, dx: (softplus(*x), jax.nn.sigmoid(*x) * dx[0]))


@jax.custom_vjp
def square(x):
    return x * x


square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * x * g,))


@network
def custom_rules():
    """Functions with derivatives of their own, which are the true ones."""
    w = weights(conv=(3, 3, 3, 8), head=(8, 5))

    def apply(w, x):
        x = softplus(conv(x, w["conv"]))
        return square(x.mean((0, 1))) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def attention():
    """A vision transformer of one block on 16 patches."""
    shapes = {"patches": (4, 4, 3, 8), "position": (16, 8), "scale": (8,), "qkv": (8, 24)}
    w = weights(**shapes, mlp1=(8, 16), mlp2=(16, 8), head=(8, 5))

    def apply(w, x):
        x = conv(x, w["patches"], stride=4).reshape(16, 8) + w["position"]
        centred = x - x.mean(-1, keepdims=True)
        normed = centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * w["scale"]
        q, k, v = (t.reshape(16, 2, 4) for t in jnp.split(normed @ w["qkv"], 3, axis=-1))
        weight = jax.nn.softmax(jnp.einsum("qhd,khd->hqk", q, k) / 2.0)
        x = x + jnp.einsum("hqk,khd->qhd", weight, v).reshape(16, 8)
        x = x + jax.nn.gelu(x @ w["mlp1"]) @ w["mlp2"]
        return x.mean(0) @ w["head"]

    return Partial(apply, w), image(16, 16, 3)


@network
def nested():
    """A `jit` and a `remat` inside a `scan` inside a `cond`."""
    w = weights(deep=(3, 4, 4), head=(4, 5))

    @jax.checkpoint
    def layer(x, kernel):
        return jax.jit(lambda x: jnp.tanh(x @ kernel))(x)

    def deep(w, x):
        return lax.scan(lambda x, kernel: (layer(x, kernel), None), x, w["deep"])[0]

    def apply(w, x):
        x = lax.cond(x.sum() > 0, deep, lambda w, x: -deep(w, x), w, x)
        return deep(w, x) @ w["head"]

    return Partial(apply, w), image(4)
