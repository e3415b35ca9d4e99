"""The account of relevance: nothing is missing from it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

import xaijax
from tests.networks import NETWORKS
from xaijax import lrp, lrp_audit
from xaijax.models import ViT
from xaijax.propagation import attn_lrp, cp_lrp, epsilon, epsilon_plus, uniform


def in_float64(name):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), NETWORKS[name]())


@pytest.mark.parametrize("composite", [epsilon_plus(1e-3), attn_lrp(1e-3)], ids=["plus", "attn"])
@pytest.mark.parametrize("name", ["linen", "concat", "gru", "branching", "attention"])
def test_what_does_not_arrive_is_accounted_for(name, composite, x64):
    f, x = in_float64(name)
    audit = lrp_audit(f, x, 1, composite=composite)
    R = lrp(f, x, 1, composite=composite)
    np.testing.assert_allclose(audit.relevance, R, atol=1e-12 * np.abs(R).max())
    np.testing.assert_allclose(audit.score, f(x)[1], rtol=1e-12)
    missing = audit.absorbed.sum() + audit.lost.sum()
    scale = np.abs(audit.incoming).max()
    np.testing.assert_allclose(audit.score - R.sum(), missing, atol=1e-10 * scale)
    assert abs(missing) > 1e-6 * scale  # there was something to account for
    np.testing.assert_allclose(audit.defect, missing / audit.score, rtol=1e-12)


def test_biases_and_stabilisers_by_hand(x64):
    W, b = jnp.array([[1.0, -1.0], [2.0, 1.0]]), jnp.array([0.5, -3.0])
    x = jnp.array([1.0, 2.0])

    def f(x):
        with jax.named_scope("dense"):
            return x @ W + b

    audit = lrp_audit(f, x, jnp.array([1.0, 1.0]), composite=uniform(epsilon(0.1)))
    z = np.array([5.5, -2.0])
    s = z / np.array([5.6, -2.1])
    assert audit.layers == ("dense/dot",)
    assert audit.rules == ("epsilon",)
    np.testing.assert_allclose(audit.incoming, [3.5], rtol=1e-12)
    np.testing.assert_allclose(audit.absorbed, [(s * b).sum()], rtol=1e-12)
    np.testing.assert_allclose(audit.lost, [(z - s * z).sum()], rtol=1e-10)


@pytest.mark.parametrize(
    "rule", [xaijax.propagation.alpha_beta(2.0, 1.0, 0.0), xaijax.propagation.gamma(0.3, 0.0)]
)
def test_without_a_stabiliser_only_biases_absorb(rule, x64):
    rng = np.random.default_rng(3)  # every output has contributions of both signs
    W, b = jnp.asarray(rng.normal(size=(6, 4))), jnp.asarray(rng.normal(size=4))
    x = jnp.asarray(rng.normal(size=6))
    audit = lrp_audit(lambda x: x @ W + b, x, jnp.ones(4), composite=uniform(rule))
    assert abs(audit.absorbed[0]) > 0.01
    np.testing.assert_allclose(audit.lost, [0], atol=1e-12)


def test_table_names_every_primitive_and_its_rule():
    f, x = NETWORKS["vgg"]()
    audit = lrp_audit(f, x, 1)
    met = dict(audit.primitives)
    assert met["conv_general_dilated"] == "z_plus"
    assert met["dot_general"] == "epsilon"
    assert met["max"] == "passed"
    assert met["reduce_window_max"] == "moved"
    text = str(audit)
    head, *_, ends = text.splitlines()
    assert re.split("  +", head) == [
        "layer",
        "operation",
        "rule",
        "relevance",
        "absorbed by bias",
        "lost",
    ]
    assert all(layer in text for layer in audit.layers)
    assert ends.startswith(f"score {float(audit.score):.6g}, at the input ")


def test_vision_transformer(x64):
    """All that CP-LRP does not bring to the input is what the class token had, which is a constant."""
    f = ViT(5, image_size=16, patch_size=4, width=12, depth=3, num_heads=2, rngs=nnx.Rngs(0))
    f = jax.tree.map(lambda w: w.astype(jnp.float64), f)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(16, 16, 3)))
    audit = lrp_audit(f, x, 1, composite=cp_lrp(1e-9, bias=False))
    token = audit.lost[audit.operations.index("concatenate")]
    np.testing.assert_allclose(audit.relevance.sum() + token, f(x)[1], rtol=1e-3)
    assert abs(token) > 1e-3 * abs(f(x)[1])


def test_sort_beside_its_order(x64):
    def f(x):
        values, order = lax.top_k(jnp.tanh(x), 2)
        return values * order

    audit = lrp_audit(f, jnp.array([1.0, -2.0, 3.0]), 1, composite=uniform(epsilon(0.0)))
    np.testing.assert_allclose(audit.lost, 0, atol=1e-12)


def test_batch_of_accounts(x64):
    f, x = in_float64("vgg")
    xs = jnp.stack([x, 2 * x])
    audits = jax.vmap(lambda x: lrp_audit(f, x, 1))(xs)
    assert audits.lost.shape == (2, len(audits.layers))
    alone = lrp_audit(f, xs[1], 1)
    np.testing.assert_allclose(audits.lost[1], alone.lost, rtol=1e-9, atol=1e-12)
    assert str(audits) == "LrpAudit of (2,) examples"


def test_rule_of_ones_own(x64):
    def shares(R, y, x):
        return (jnp.broadcast_to(R / x.size, x.shape),)

    def f(x):
        return jnp.prod(jnp.tanh(x))[None]

    x = jnp.array([2.0, 3.0, 4.0])
    composite = epsilon_plus().on("reduce_prod", shares)
    np.testing.assert_allclose(lrp(f, x, 0, composite=composite), f(x) / 3 * jnp.ones(3))
    audit = lrp_audit(f, x, 0, composite=composite)
    assert dict(audit.primitives)["reduce_prod"] == "shares"
    np.testing.assert_allclose(audit.lost, 0, atol=1e-15)
    message = (
        r"got 'reduce_prod' at 'reduce_prod'\. Give it one: composite\.on\('reduce_prod', rule\)"
    )
    with pytest.raises(NotImplementedError, match=message):
        lrp(f, x, 0)
    with pytest.raises(
        ValueError,
        match=r"rules on primitives that the model uses, got 'reduce_pod'\. Nearest: 'reduce_prod'",
    ):
        lrp(f, x, 0, composite=epsilon_plus().on("reduce_pod", shares))


def test_softmax_of_an_unknown_kind():
    with pytest.raises(
        ValueError, match=r"^Composite: softmax must be 'taylor' or 'constant', got 'attn'"
    ):
        xaijax.propagation.Composite(epsilon(), epsilon(), softmax="attn")


@pytest.mark.parametrize("explain", [lrp, lrp_audit])
def test_a_rule_is_no_composite(explain):
    """The rules are functions that make rules: one forgets to call them, or to say of which layers."""
    message = r": composite must be a Composite, got epsilon\. .*uniform\(rule\)\."
    for rule in (epsilon(), epsilon):
        with pytest.raises(TypeError, match=message):
            explain(jnp.tanh, jnp.ones(3), 0, composite=rule)
