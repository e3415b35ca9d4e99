"""What rule-based propagation stands on: facts that hold, a walk that changes nothing, relevance that is conserved."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from tests.networks import NETWORKS, conv, softplus, square
from xaijax import DEFER, Interpreter, trace
from xaijax.core._twin import twin
from xaijax.propagation import _relevance, epsilon, lrp, uniform
from xaijax.propagation._facts import find_facts

# --- Facts and the walk


@functools.partial(jax.jit, static_argnums=0)
def broken_facts(f, x):
    """Whether anything that is said of a value is wrong of it, and how often something was said."""
    program = trace(f, x)
    facts, wrong, said = (
        find_facts(program),
        [],
        dict.fromkeys(("nonnegative", "number", "spread"), 0),
    )

    def visit(site, *values):
        if site.holds_equations and site.op != "cond":
            return DEFER
        for value, known in zip(values, facts.inputs[site.path], strict=True):
            if known.nonnegative:
                said["nonnegative"] += 1
                wrong.append((value < 0).any())
            if known.number is not None:
                said["number"] += 1
                wrong.append((jnp.asarray(value) != known.number).any())
            for axis in known.spread:
                said["spread"] += 1
                wrong.append((value != lax.slice_in_dim(value, 0, 1, axis=axis)).any())
        return site(*values)

    program.run(Interpreter(visit, open_custom=True, unroll=lambda site: True), x)
    return jnp.stack([jnp.asarray(w) for w in wrong]).any(), said


def everything(x):
    """Each way for a value to be known."""
    a = [jnp.abs(x), jnp.exp(x), jax.nn.sigmoid(x), x**2, x * x, jnp.sqrt(x**2 + 1), jax.nn.relu(x)]
    b = [jnp.maximum(x, 0.5), jnp.clip(x, 0.1, 2.0), jnp.where(x > 0, 2.0, 1.0), x**4, x**3]
    c = jnp.concatenate([*a, *b[:-1]]).reshape(2, -1).max(0)
    d = jnp.broadcast_to(x[:, None], (len(x), 3)) * jnp.full((len(x), 3), 2.0) * jnp.ones(3)
    return jnp.minimum(c, 3.0).sum() + (c / 2).mean() + d.sum() + b[-1].sum()


def test_facts_are_true():
    nothing = {"nonnegative": 0, "number": 0, "spread": 0}
    total = dict(nothing)
    models = {
        name: NETWORKS[name]() for name in ("linen_scan", "depthwise", "loop", "gru", "attention")
    }
    models["everything"] = everything, jnp.linspace(-2.0, 2.0, 8)
    for name, (f, x) in models.items():
        for sign in (1, -1):
            wrong, said = broken_facts(f, sign * x)
            assert not wrong, name
        total = {k: total[k] + int(said[k]) for k in total}
    assert min(total.values()) > 10


@pytest.mark.parametrize("name", ["branching", "nested"])
def test_cond_is_walked(name):
    f, x = NETWORKS[name]()
    ops = set()

    def visit(site, *values):
        ops.add(site.op)
        return DEFER

    def run(x):
        return trace(f, x).run(Interpreter(visit), x)

    np.testing.assert_allclose(run(x), f(x), rtol=1e-6)
    np.testing.assert_allclose(run(-x), f(-x), rtol=1e-6)
    gradient = jax.grad(lambda x: f(x)[0])(x)
    np.testing.assert_allclose(jax.grad(lambda x: run(x)[0])(x), gradient, rtol=1e-5, atol=1e-7)
    assert {"branching": "neg", "nested": "tanh"}[name] in ops


def test_twin_has_the_rule_for_a_cotangent_and_its_own_derivative_for_the_second():
    double = twin(lambda x: x**3, lambda R, y, x: (R * y * x,))
    x = 2.0
    assert double(x) == 8.0
    assert jax.grad(double)(x) == 16.0  # R y x
    # d(y x)/dx = 4 x^3: the value y is differentiated as it is, not by the rule.
    assert jax.grad(jax.grad(double))(x) == 32.0


# --- Conservation, one operation at a time: this is how relevance that is silently lost is found


W = np.random.default_rng(1).normal(size=(6, 5))
C = np.random.default_rng(2).normal(size=(4, 6))
KERNEL = np.random.default_rng(3).normal(size=(3, 3, 2, 4))


def looped(x):
    """A carry, a counter of integers, something stacked and something constant."""

    def step(carry, row):
        i, h, c = carry
        h = jnp.tanh(h + row)
        return (i + 1, h, c), h * row

    (_, h, _), rows = lax.scan(step, (0, x[0], jnp.ones(())), x)
    return h + rows.sum(0)


def vmapped(x):
    return jax.vmap(lambda row: jax.nn.relu(row @ W))(x)


DEVICE = jax.sharding.SingleDeviceSharding(jax.devices()[0])

OPERATIONS = {
    "dot": lambda x: x @ W,
    "dot, weight first": lambda x: jnp.einsum("ij,kj->ik", W.T, x),
    "dot, batched": lambda x: jnp.einsum("ij,ijk->ik", x, W[None].repeat(4, 0)),
    "conv": lambda x: conv(x.reshape(3, 4, 2), KERNEL),
    "conv, vmap": lambda x: jax.vmap(lambda x: conv(x, KERNEL))(x.reshape(2, 2, 3, 2)),
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(),
    "average pool": lambda x: nn.avg_pool(x.reshape(4, 3, 2), (2, 2), padding="SAME"),
    "average pool, equinox": lambda x: eqx.nn.AvgPool2d(2)(x.reshape(2, 3, 4)),
    "max pool": lambda x: nn.max_pool(x.reshape(4, 3, 2), (2, 2), padding="SAME"),
    "min of windows": lambda x: lax.reduce_window(x, np.inf, lax.min, (2, 2), (2, 2), "VALID"),
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(0),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "add": lambda x: x + jnp.tanh(x[::-1]),
    "add, broadcast": lambda x: x[:1] + x,
    "subtract": lambda x: x - jnp.tanh(x[::-1]),
    "times a constant": lambda x: x * C,
    "times, broadcast": lambda x: x * x[0].sum(),
    "times": lambda x: x * jnp.tanh(x[::-1]),
    "square by hand": lambda x: x * x,
    "divided": lambda x: x / np.abs(C),
    "constant divided": lambda x: 1 / (2 + jnp.tanh(x)),
    "plus a constant": lambda x: jnp.tanh(x) + C,
    "minus a constant": lambda x: 1.0 - jnp.tanh(x),
    "negative": lambda x: -x,
    "power": lambda x: jnp.abs(x) ** 1.5,
    "integer power": lambda x: x**3,
    "maximum of two": lambda x: jnp.maximum(x, x[::-1]),
    "minimum with a constant": lambda x: jnp.minimum(x, 0.3),
    "maximum with a constant": lambda x: jnp.maximum(0.3, x),
    "clip": lambda x: jnp.clip(x, -0.5, 0.5),
    "where, a mask": lambda x: jnp.where(C > 0, x, 0),
    "where, a rectifier": lambda x: jnp.where(x > 0, x, 0),
    "where, two branches": lambda x: jnp.where(x > 0, x * 2, jnp.tanh(x)),
    "times a rectifier's mask": lambda x: x * (x > 0),
    **{
        f.__name__: f
        for f in (
            *(
                lax.abs,
                lax.acos,
                lax.asin,
                lax.asinh,
                lax.atan,
                lax.cbrt,
                lax.cos,
                lax.cosh,
                lax.erf,
            ),
            *(lax.exp, lax.exp2, lax.expm1, lax.sin, lax.sinh, lax.square, lax.tan, lax.tanh),
        )
    },
    "clamp": lambda x: lax.clamp(-0.5, x, 0.5),
    "sum of derivatives": jax.grad(lambda x: (x * jnp.sin(x)).sum()),
    **{
        f.__name__: f
        for f in (
            jax.nn.relu,
            jax.nn.relu6,
            jax.nn.leaky_relu,
            jax.nn.elu,
            jax.nn.selu,
            jax.nn.celu,
            jax.nn.gelu,
            jax.nn.silu,
            jax.nn.sigmoid,
            jax.nn.softplus,
            jax.nn.hard_tanh,
            jax.nn.hard_swish,
            jax.nn.squareplus,
        )
    },
    "exact gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "custom_jvp": softplus,
    "custom_vjp": square,
    "dot of activations": lambda x: (x @ x.T) @ jnp.tanh(x),
    "dot of activations, batched": lambda x: jnp.einsum("ij,ik->ijk", x, jnp.tanh(x)),
    "layer norm": lambda x: jax.nn.standardize(x, epsilon=1e-3) * C,
    "norm": lambda x: x / jnp.linalg.norm(x, axis=0),
    "minus the maximum": lambda x: x - lax.stop_gradient(x.max(0)),
    "scatter": lambda x: x.at[jnp.array([0, 2])].set(jnp.tanh(x[:2])),
    "concatenate": lambda x: jnp.concatenate([x, jnp.tanh(x), C], 1),
    "stack": lambda x: jnp.stack([x, -x]),
    "unstack": lambda x: jnp.unstack(x)[1],
    "split": lambda x: jnp.split(x, 2)[1],
    "slice": lambda x: x[1:, ::2],
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (jnp.argmax(x[:, 0]) // 2, 1), (2, 3)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, jnp.tanh(x[:2]), (1, 0)),
    "take": lambda x: x[jnp.array([0, 2, 2])],
    "sort": lambda x: jnp.sort(x, 0),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "transpose": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, 3, 4),
    "squeeze": lambda x: x[:1].squeeze(0),
    "pad": lambda x: jnp.pad(x, 1),
    "rev": lambda x: x[::-1],
    "roll": lambda x: jnp.roll(x, 1),
    "broadcast": lambda x: jnp.broadcast_to(x, (3, 4, 6)),
    "tile": lambda x: jnp.tile(x, (2, 1)),
    "checkpoint_name": lambda x: checkpoint_name(x, "x"),
    "repeat": lambda x: jnp.repeat(x, 2, 0),
    "copy": lambda x: jnp.array(x, copy=True),
    "cast": lambda x: x.astype(jnp.float32),
    "rounded": lambda x: lax.reduce_precision(x, 11, 40),
    "device_put": lambda x: jax.device_put(x),
    "sharding constraint": lambda x: lax.with_sharding_constraint(x, DEVICE),
    "optimization_barrier": lambda x: lax.optimization_barrier(x),
    "dropout": lambda x: jnp.where(
        jax.random.bernoulli(jax.random.key(0), 0.5, (4, 6)), x / 0.5, 0
    ),
    "jit": jax.jit(lambda x: jnp.tanh(x @ W)),
    "jit, empty": jax.jit(lambda x: x),
    "remat": jax.checkpoint(lambda x: jnp.tanh(x @ W)),
    "scan": looped,
    "scan, reversed": lambda x: lax.scan(lambda c, r: (c + r, c), x[0], x, reverse=True)[1],
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, x: x @ W @ W.T, x),
    "map": lambda x: lax.map(lambda row: jax.nn.relu(row @ W), x),
    "vmap": vmapped,
    "cond, first": lambda x: lax.cond(x.sum() > 1e9, jnp.tanh, lambda x: x @ W @ W.T, x),
    "cond, second": lambda x: lax.cond(x.sum() < 1e9, jnp.tanh, lambda x: x @ W @ W.T, x),
    "switch": lambda x: lax.switch(jnp.argmax(x[0]) % 2, [jnp.tanh, jnp.sin], x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_conserves(name, rng, x64):
    x = jnp.asarray(rng.normal(size=(4, 6)))

    def f(x):
        return OPERATIONS[name](jnp.tanh(x)).reshape(-1)

    y = f(x)
    weights = jnp.asarray(rng.normal(size=y.shape), y.dtype)
    # A constant beside what is concatenated has no relevance to hand down.
    score = (y * weights).sum()
    if name == "concatenate":
        score = score - (C * weights.reshape(4, -1)[:, 12:]).sum()
    R = lrp(f, x, weights, composite=uniform(epsilon(0.0)))
    assert np.isfinite(R).all()
    tolerance = 1e-4 if name == "cast" else 1e-8
    np.testing.assert_allclose(R.sum(), score, rtol=tolerance)


def test_every_rule_has_a_row(x64):
    met = {"one_minus_square", "stack", "unstack"}  # primitives of some versions of JAX

    def visit(site, *values):
        met.add(site.op)
        return DEFER

    walk = Interpreter(visit, open_custom=True)
    for f in OPERATIONS.values():
        x = jnp.ones((4, 6))
        jax.eval_shape(lambda x, f=f: trace(f, x).run(walk, x), x)
    with_rules = (
        _relevance._ELEMENTWISE
        | _relevance._MOVES
        | _relevance._SUMS
        | _relevance._POOLINGS
        | _relevance.CONTRACTIONS
    )
    assert with_rules <= met, with_rules - met


WITHOUT_A_RULE = {
    "quotient": (lambda x: x / jnp.exp(x[::-1]), "div"),
    "log_softmax": (jax.nn.log_softmax, "log"),
    "while": (lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), "while"),
    "prod": (lambda x: x.prod(0), "reduce_prod"),
    "scatter": (lambda x: x.at[0].add(x[1]), "scatter"),
    "floor": (jnp.floor, "floor"),
    "callback": (lambda x: jax.pure_callback(lambda x: x, x, x), "pure_callback"),
    "power of two": (lambda x: jnp.abs(x) ** jnp.abs(x), "pow"),
}


@pytest.mark.parametrize("name", WITHOUT_A_RULE)
def test_operation_without_a_rule(name):
    function, op = WITHOUT_A_RULE[name]

    def f(x):
        with jax.named_scope("here"):
            return function(jnp.tanh(x)).reshape(-1)

    message = f"^lrp: f must use operations that have a rule, got '{op}[a-z-]*' at 'here"
    with pytest.raises(NotImplementedError, match=message):
        lrp(f, jnp.ones((3, 3)), 0)
