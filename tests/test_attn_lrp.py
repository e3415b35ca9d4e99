"""LRP through transformers: AttnLRP and CP-LRP against the papers' formulas, and how softmax and norms are found."""

import equinox as eqx
import flax.linen as nn
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.tree_util import Partial

import xaijax
from tests.networks import NETWORKS, draw
from tests.oracles import attn_lrp as oracle
from xaijax import lrp
from xaijax.propagation import attn_lrp, cp_lrp, epsilon, uniform

HEADS, EPSILON = 2, 1e-3  # large enough to be seen if it were left out


def transformer(blocks, head, x):
    def norm(x, scale):
        c = x - x.mean(-1, keepdims=True)
        return c * lax.rsqrt((c**2).mean(-1, keepdims=True) + oracle.EPS_NORM) * scale

    n, d = x.shape
    for w in blocks:
        y = norm(x, w["scale1"])
        q, k, v = ((y @ w[p] + w[p + "_bias"]).reshape(n, HEADS, d // HEADS) for p in "qkv")
        z = jnp.einsum("qhd,khd->hqk", q, k) / np.sqrt(d // HEADS)
        out = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(z), v).reshape(n, d)
        x = x + (out @ w["out"] + w["out_bias"])
        y = norm(x, w["scale2"])
        hidden = jax.nn.gelu(y @ w["up"] + w["up_bias"], approximate=False)
        x = x + (hidden @ w["down"] + w["down_bias"])
    return x.mean(0) @ head


def weights(rng, depth=2, d=8):
    shapes = dict.fromkeys("qkv", (d, d)) | {"out": (d, d), "up": (d, 12), "down": (12, d)}
    biases = {f"{name}_bias": shape[1:] for name, shape in shapes.items()}
    blocks = [
        {name: rng.normal(size=shape) / 2 for name, shape in (shapes | biases).items()}
        | {name: rng.uniform(0.5, 1.5, d) for name in ("scale1", "scale2")}
        for _ in range(depth)
    ]
    return blocks, rng.normal(size=(d, 3))


@pytest.mark.parametrize("composite", [attn_lrp, cp_lrp])
def test_transformer_of_two_layers(composite, rng, x64):
    blocks, head = weights(rng)
    x = rng.normal(size=(5, 8))
    f = Partial(transformer, blocks, head)
    np.testing.assert_allclose(f(x), oracle.forward(blocks, head, x, HEADS)[0], rtol=1e-12)
    expected = oracle.relevance(blocks, head, x, 1, HEADS, EPSILON, constant=composite is cp_lrp)
    R = lrp(f, jnp.asarray(x), 1, composite=composite(EPSILON))
    np.testing.assert_allclose(R, expected, atol=1e-12 * np.abs(expected).max())


def test_cp_lrp_conserves_and_attn_lrp_does_not(rng, x64):
    blocks, head = weights(rng)
    x = jnp.asarray(rng.normal(size=(5, 8)))
    f = Partial(transformer, blocks, head)
    y = f(x)[0]
    R = {c: lrp(f, x, 0, composite=c(0.0, bias=False)) for c in (attn_lrp, cp_lrp)}
    np.testing.assert_allclose(R[cp_lrp].sum(), y, rtol=1e-9)
    assert abs(R[attn_lrp].sum() - y) > 1e-3 * abs(y)


def test_gamma_at_dense_layers_only(rng, x64):
    blocks, head = weights(rng, depth=1)
    x = jnp.asarray(rng.normal(size=(5, 8)))
    f = Partial(transformer, blocks, head)
    plain, none, some = (lrp(f, x, 0, composite=attn_lrp(EPSILON, g)) for g in (None, 0.0, 0.3))
    np.testing.assert_allclose(none, plain, atol=1e-10 * np.abs(plain).max())
    assert np.abs(some - plain).max() > 0.01 * np.abs(plain).max()


# --- How a softmax and a norm may be written

LOGITS = {
    "jax.nn": jax.nn.softmax,
    "without the maximum": lambda z: jnp.exp(z) / jnp.exp(z).sum(-1, keepdims=True),
    "one exponential": lambda z: (e := jnp.exp(z - 1.0)) / e.sum(-1, keepdims=True),
    "kept from zero": lambda z: (e := jnp.exp(z)) / (e.sum(-1, keepdims=True) + 1e-30),
    "in a jit": jax.jit(jax.nn.softmax),
    "masked": lambda z: jax.nn.softmax(z, where=jnp.ones_like(z, bool)),
}


@pytest.mark.parametrize("form", LOGITS)
def test_forms_of_softmax(form, rng, x64):
    """x -> softmax(x A) @ values, by Proposition 3.1 and by hand."""
    A, values = jnp.asarray(rng.normal(size=(4, 4))), jnp.asarray(rng.normal(size=(4, 2)))
    x = jnp.asarray(rng.normal(size=4))

    def f(x):
        return LOGITS[form](x @ A) @ values

    z = np.asarray(x @ A) - (1.0 if form == "one exponential" else 0.0)
    s = np.asarray(jax.nn.softmax(z))
    R_s = s * np.asarray(values[:, 1])
    R_z = z * (R_s - s * R_s.sum())
    expected = x * (A @ (R_z / np.asarray(x @ A)))
    got = lrp(f, x, 1, composite=attn_lrp(0.0))
    np.testing.assert_allclose(got, expected, rtol=1e-9)


NORMS = {
    "rsqrt": lambda x: x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-3),
    "divided": lambda x: x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-3),
    "inverse": lambda x: x * (1 / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-3)),
    "linalg": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    "scaled": lambda x: x * (2.0 * lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-3)),
    "standardize": lambda x: jax.nn.standardize(x),
}


@pytest.mark.parametrize("form", NORMS)
def test_what_is_normalised_takes_all(form, rng, x64):
    W = jnp.asarray(rng.normal(size=(4, 3)))
    x = jnp.asarray(rng.normal(size=(2, 4)))

    def f(x):
        return (NORMS[form](x) @ W).sum(0)

    R = lrp(f, x, 1, composite=uniform(epsilon(0.0)))
    contributions = NORMS[form](x) * W[:, 1]
    if form == "standardize":  # x - mean(x) shares what the others pass
        np.testing.assert_allclose(R.sum(-1), contributions.sum(-1), rtol=1e-9)
    else:
        np.testing.assert_allclose(R, contributions, rtol=1e-9)


def test_norm_alone_hands_down_its_relevance(x64):
    x = jnp.array([3.0, 4.0])
    R = lrp(lambda x: jnp.sqrt((x**2).sum())[None], x, 0, composite=uniform(epsilon(0.0)))
    np.testing.assert_allclose(R, [9 / 5, 16 / 5], rtol=1e-12)


def test_masked_tokens_have_no_relevance(rng, x64):
    blocks, _ = weights(rng, depth=1)
    w, x = blocks[0], jnp.asarray(rng.normal(size=(5, 8)))
    keep = jnp.arange(5) < 3

    def f(x):
        z = (x @ w["q"]) @ (x @ w["k"]).T
        s = jax.nn.softmax(jnp.where(keep, z, -jnp.inf))
        return (s @ (x @ w["v"]))[0]

    R = lrp(f, x, 0, composite=attn_lrp(0.0))
    assert np.isfinite(R).all()
    np.testing.assert_array_equal(R[3:], 0)
    assert np.abs(R[:3]).min() > 0


# --- Frameworks' own layers


class Nnx(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.LayerNorm(8, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 8, 8, decode=False, rngs=rngs)
        self.rms = nnx.RMSNorm(8, rngs=rngs)

    def __call__(self, x):
        return self.rms(x + self.attention(self.norm(x))).mean(0)


class Equinox(eqx.Module):
    norm: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention

    def __init__(self, key):
        self.norm = eqx.nn.LayerNorm(8)
        self.attention = eqx.nn.MultiheadAttention(2, 8, key=key)

    def __call__(self, x):
        y = jax.vmap(self.norm)(x)
        return (x + self.attention(y, y, y, mask=jnp.tril(jnp.ones((6, 6), bool)))).mean(0)


def haiku(x):
    y = hk.LayerNorm(-1, True, True)(x)
    init = hk.initializers.VarianceScaling()
    return jax.nn.silu(x + hk.MultiHeadAttention(2, 4, w_init=init, model_size=8)(y, y, y)).mean(0)


def jax_nn(w, x):
    q, k, v = ((x @ w[i]).reshape(6, 2, 4) for i in range(3))
    return jax.nn.dot_product_attention(q, k, v, is_causal=True).reshape(6, 8).mean(0)


def haiku_model():
    model = hk.without_apply_rng(hk.transform(haiku))
    return Partial(model.apply, jax.eval_shape(model.init, jax.random.key(0), jnp.ones((6, 8))))


FRAMEWORKS = {
    "nnx": lambda: nnx.eval_shape(lambda: Nnx(nnx.Rngs(0))),
    "equinox": lambda: Equinox(jax.random.key(0)),
    "haiku": haiku_model,
    "jax": lambda: Partial(jax_nn, jnp.ones((3, 8, 8))),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_attention_of_every_framework(name, rng, x64):
    def draw(leaf):
        drawn = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(rng.normal(size=leaf.shape)) / 2 if drawn else leaf

    f, x = jax.tree.map(draw, FRAMEWORKS[name]()), jnp.asarray(rng.normal(size=(6, 8)))
    audit = xaijax.lrp_audit(f, x, 1, composite=cp_lrp(0.0, bias=False))
    np.testing.assert_allclose(audit.relevance.sum(), f(x)[1], rtol=1e-9)
    assert audit.rules.count("softmax, constant") == 1
    assert np.isfinite(lrp(f, x, 1, composite=attn_lrp())).all()


class TextClassifier(nn.Module):
    """Embeddings of words to logits: two encoder layers with padding masked, the mean of the words."""

    length: int = 5

    @nn.compact
    def __call__(self, x):
        keep = jnp.arange(len(x)) < self.length
        x = x + self.param("position", nn.initializers.normal(), x.shape)
        for _ in range(2):
            y = nn.LayerNorm()(x)
            x = x + nn.MultiHeadDotProductAttention(2, qkv_features=8)(y, mask=keep[None, None, :])
            x = x + nn.Dense(8)(nn.gelu(nn.Dense(16)(nn.LayerNorm()(x))))
        return nn.Dense(2)((x * keep[:, None]).sum(0) / self.length)


def test_text_classifier(x64):
    x = jnp.asarray(np.random.default_rng(2).normal(size=(7, 8)))
    model = TextClassifier()
    variables = draw(jax.eval_shape(model.init, jax.random.key(0), x))
    f = Partial(model.apply, jax.tree.map(lambda w: w.astype(x.dtype), variables))
    R = lrp(f, x, 0, composite=cp_lrp(0.0, bias=False))
    np.testing.assert_allclose(R.sum(), f(x)[0], rtol=1e-8)
    np.testing.assert_array_equal(R[5:], 0)  # the padding
    every = lrp(f, x, 0, composite=attn_lrp())
    assert np.isfinite(every).all()
    with pytest.raises(TypeError, match=r"^lrp: x must be one float array, got int"):
        lrp(lambda words: f(jnp.eye(8)[words]), jnp.arange(7), 0)


def test_lstm_conserves(rng, x64):
    W, V = jnp.asarray(rng.normal(size=(10, 24))), jnp.asarray(rng.normal(size=(6, 3)))
    x = jnp.asarray(rng.normal(size=(5, 4)))

    def step(carry, row):
        h, c = carry
        i, o, u, g = jnp.split(jnp.concatenate([row, h]) @ W, 4)
        c = jax.nn.sigmoid(u) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    def f(x):
        (h, _), _ = lax.scan(step, (jnp.zeros(6), jnp.zeros(6)), x)
        return h @ V

    R = lrp(f, x, 1, composite=uniform(epsilon(0.0)))
    np.testing.assert_allclose(R.sum(), f(x)[1], rtol=1e-8)
    assert (np.abs(R).max(1) > 0).all()  # every step is heard


def test_derivative_of_relevance_through_attention(x64):
    f, x = NETWORKS["attention"]()
    f, x = jax.tree.map(lambda a: a.astype(jnp.float64), (f, x))
    v = jnp.asarray(np.random.default_rng(4).normal(size=x.shape))

    def loss(x):
        return (lrp(f, x, 1, composite=attn_lrp(1e-3)) * v).sum()

    step = 1e-6
    difference = (loss(x + step * v) - loss(x - step * v)) / (2 * step)
    np.testing.assert_allclose((jax.grad(loss)(x) * v).sum(), difference, rtol=1e-5)


# --- What is refused


def test_probabilities():
    def f(x):
        with jax.named_scope("logits"):
            y = jnp.tanh(x)
        return jax.nn.softmax(y)

    message = (
        "^lrp: f must give logits: relevance that starts at probabilities blows up, got the output of a softmax. "
        r"Leave the softmax out of it, or explain xaijax.split\(f, x, 'logits/tanh'\)\[0\]\."
    )
    x = jnp.array([1.0, 2.0])
    with pytest.raises(ValueError, match=message):
        lrp(f, x, 0)
    with pytest.raises(ValueError, match="must give logits"):
        lrp(xaijax.probabilities(jnp.tanh), x, 0)
    R = lrp(xaijax.split(f, x, "logits/tanh")[0], x, 0)
    np.testing.assert_allclose(R, [np.tanh(1.0), 0.0], rtol=1e-6)


def test_weights_of_attention_that_are_read_otherwise():
    def f(x):
        return jnp.tanh(jax.nn.softmax(x)) @ x

    with pytest.raises(NotImplementedError, match=r"'tanh' at 'tanh'\. Use softmax='taylor'"):
        lrp(lambda x: f(x)[None], jnp.ones(3), 0, composite=cp_lrp())
