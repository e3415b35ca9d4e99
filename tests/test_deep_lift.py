"""DeepLIFT and Deep SHAP: closed forms, and completeness one operation at a time and of whole networks."""

import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import SingleDeviceSharding
from jax.tree_util import Partial

from tests.networks import NETWORKS, conv, softplus, square
from tests.oracles import deep_lift as oracle
from xaijax import bind, deep_lift, deep_shap, trace
from xaijax.core._interpreter import DEFER, Interpreter
from xaijax.propagation import _multipliers

# --- Closed forms


def perceptron(layers, x):
    *hidden, (V, c) = layers
    for W, b in hidden:
        x = jax.nn.relu(W @ x + b)
    return V @ x + c


def drawn(rng, sizes):
    """Weights of a perceptron."""
    pairs = zip(sizes[1:], sizes, strict=False)
    return [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in pairs]


@pytest.mark.parametrize("sizes", [(5, 7, 3), (4, 6, 5, 3)])
def test_rectifier_network_as_by_hand(sizes, rng, x64):
    layers, x, weights = drawn(rng, sizes), rng.normal(size=sizes[0]), rng.normal(size=3)
    f = Partial(perceptron, jax.tree.map(jnp.asarray, layers))
    for baseline in (0.0, 0.5, rng.normal(size=sizes[0]), rng.normal(size=sizes[0])):
        stands = np.broadcast_to(baseline, x.shape)
        expected = oracle.deep_lift(layers, x, stands, weights)
        actual = deep_lift(f, jnp.asarray(x), weights, baseline=baseline)
        np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_background_as_by_hand(rng, x64):
    layers, x, rows = drawn(rng, (5, 7, 3)), rng.normal(size=5), rng.normal(size=(7, 5))
    f = Partial(perceptron, jax.tree.map(jnp.asarray, layers))
    expected = np.mean([oracle.deep_lift(layers, x, row, [0.0, 1.0, 0.0]) for row in rows], 0)
    for batch_size in (None, 3):  # the last of three chunks is filled up
        found = deep_shap(f, jnp.asarray(x), 1, background=rows, batch_size=batch_size)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    one = deep_shap(f, jnp.asarray(x), 1, background=rows[:1])
    np.testing.assert_allclose(one, deep_lift(f, x, 1, baseline=rows[0]), rtol=1e-12)


def close(f, x, baseline, expected):
    found = deep_lift(f, jnp.asarray(x), 0, baseline=jnp.asarray(baseline))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_function_of_one_element_gives_it_the_difference(rng, x64):
    """However it is put together: only one number can make it complete."""
    x, baseline = rng.normal(size=4), rng.normal(size=4)
    for f in (jax.nn.gelu, jax.nn.silu, jax.nn.hard_swish, lambda x: jnp.where(x > 0, x, x**3)):
        expected = f(x) - f(baseline)
        close(lambda x, f=f: f(x).sum()[None], x, baseline, expected)


def test_product_gives_each_factor_the_mean_of_the_other(x64):
    close(lambda x: x[:1] * x[1:], [3.0, 5.0], [1.0, 2.0], [2 * 3.5, 3 * 2.0])
    close(lambda x: x[:1] / x[1:], [3.0, 4.0], [1.0, 2.0], [2 * 0.375, -0.25 * 2.0])
    # x^T W x: each element of x is on both sides.
    W, x, b = np.array([[1.0, 2.0], [0.0, 3.0]]), np.array([1.0, -2.0]), np.array([0.5, 1.0])
    expected = (x - b) * ((W + W.T) @ (x + b) / 2)
    close(lambda x: (x @ W @ x)[None], x, b, expected)


def test_maximum_gives_the_difference_to_what_won_or_had_won(x64):
    """In every way that a maximum can be written."""
    rows = [
        ([3.0, 2.0, 1.0], [0.0, 1.0, 0.5], [2.0, 0.0, 0.0]),  # risen: the first is it now
        ([0.0, 1.0, 0.5], [3.0, 2.0, 1.0], [-2.0, 0.0, 0.0]),  # fallen: the first was it
        ([5.0, 2.0, 0.0], [1.0, 2.0, 4.0], [1.0, 0.0, 0.0]),
        ([4.0, 1.0, 4.0], [1.0, 2.0, 0.0], [1.0, 0.0, 1.0]),  # two are it
    ]
    windows = {"window_dimensions": (3,), "window_strides": (1,), "padding": "VALID"}
    ways = [
        lambda x: x.max(keepdims=True),
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, **windows),
        lambda x: jnp.sort(x)[-1:],
        lambda x: lax.top_k(x, 1)[0],
        lambda x: -(-x).min(keepdims=True),
    ]
    for way in ways:
        for x, baseline, expected in rows:
            close(way, x, baseline, expected)
    for x, baseline, expected in rows[:3]:
        close(lambda x: jnp.maximum(x[:1], jnp.maximum(x[1:2], x[2:])), x, baseline, expected)


def test_middle_of_three(x64):
    """The median rises from 1 to 2: only the second element crosses both."""
    close(lambda x: jnp.sort(x)[1:2], [3.0, 2.0, 1.0], [3.0, 0.0, 1.0], [0.0, 1.0, 0.0])


def test_difference_of_rounding_has_the_derivative(x64):
    """The inputs differ, but what the exponential sees hardly does: the quotient has an error of a percent."""
    x = np.array([1e-3, 1e-3 + 7e-16])
    f = lambda x: jnp.exp(x[:1] - x[1:])  # noqa: E731
    quotient = (f(jnp.asarray(x)) - 1) / (x[0] - x[1])
    assert abs(quotient[0] - 1) > 1e-3
    found = deep_lift(f, jnp.asarray(x), 0)
    np.testing.assert_allclose(found, [1e-3, -1e-3], rtol=1e-6)
    np.testing.assert_array_equal(deep_lift(f, jnp.asarray(x), 0, baseline=x), 0.0)


def test_kink_between_two_near_values_is_no_rounding(x64):
    """The derivative would lose up to half of the difference here."""
    f = lambda x: jnp.minimum(x, 6.0)  # noqa: E731
    x, baseline = np.array([6.0 + 1e-9]), np.array([6.0 - 3e-9])
    close(f, x, baseline, f(x) - f(baseline))


def test_what_comes_of_an_infinite_difference_is_not_lost_silently(x64):
    """A mask that depends on x: it is at minus infinity for the baseline."""
    masked = lambda x: jnp.where(x > 0, x, -jnp.inf)  # noqa: E731
    for f in (lambda x: jnp.exp(masked(x)), lambda x: masked(x).max(keepdims=True)):
        x, baseline = jnp.array([1.0, 2.0]), jnp.array([0.5, -1.0])
        assert np.isnan(deep_lift(f, x, -1 % len(f(x)), baseline=baseline)).any()
        same = deep_lift(f, x, 0, baseline=baseline.at[1].set(1.0))
        np.testing.assert_allclose(same.sum(), f(x)[0] - f(baseline.at[1].set(1.0))[0])


# --- Completeness, one operation at a time: this is how a difference that is silently lost is found


W = np.random.default_rng(1).normal(size=(6, 5))
C = np.random.default_rng(2).normal(size=(4, 6))
KERNEL = np.random.default_rng(3).normal(size=(3, 3, 2, 4))


def looped(x):
    """A carry, a counter of integers, something stacked and something constant."""

    def step(carry, row):
        i, h, c = carry
        h = jnp.tanh(h + i * row)
        return (i + 1, h, c), jnp.where(row > h, h, row)

    (_, h, _), rows = lax.scan(step, (0, x[0], jnp.ones(())), x)
    return h + rows.sum(0)


def pool(x, combine, start, size=(2, 2), stride=(2, 2), padding="VALID"):
    return lax.reduce_window(x, start, combine, size, stride, padding)


def masked_attention(x):
    scores = jnp.where(np.tril(np.ones((4, 4))) > 0, x @ x.T, -jnp.inf)
    return jax.nn.softmax(scores) @ x


LINEAR = {
    "dot": lambda x: x @ W,
    "conv": lambda x: conv(x.reshape(3, 4, 2), KERNEL),
    "sum": lambda x: x.sum(0),
    "average pool": lambda x: nn.avg_pool(x.reshape(4, 3, 2), (2, 2), padding="SAME"),
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "add": lambda x: x + jnp.tanh(x[::-1]) + C,
    "subtract": lambda x: 1.0 - x - x[0],
    "times a constant": lambda x: -x * C / np.abs(C),
    "concatenate": lambda x: jnp.concatenate([x, jnp.tanh(x), C], 1),
    "stack": lambda x: jnp.stack([x, -x])[1],
    "split": lambda x: jnp.split(x, 2)[1],
    "slice": lambda x: x[1:, ::2],
    "dynamic_slice": lambda x: lax.dynamic_slice(x, (1, 1), (2, 3)),
    "dynamic_update_slice": lambda x: lax.dynamic_update_slice(x, jnp.tanh(x[:2]), (1, 0)),
    "take": lambda x: x[jnp.array([0, 2, 2])],
    "put": lambda x: x.at[jnp.array([0, 2])].set(x[1] * 2),
    "scatter": lambda x: x.at[jnp.array([0, 0])].add(x[1] * 2),
    "where, a mask": lambda x: jnp.where(C > 0, x, -x),
    "transpose": lambda x: x.T.reshape(2, 3, 4),
    "squeeze": lambda x: x[:1].squeeze(0),
    "pad": lambda x: jnp.pad(x, 1)[::-1],
    "broadcast": lambda x: jnp.broadcast_to(x, (3, 4, 6)),
    "tile": lambda x: jnp.tile(x, (2, 1)),
    "checkpoint_name": lambda x: checkpoint_name(x, "x"),
    "copy": lambda x: jax.device_put(jnp.array(x, copy=True), jax.devices()[0]),
    "sharding": lambda x: lax.with_sharding_constraint(x, SingleDeviceSharding(jax.devices()[0])),
    "optimization_barrier": lambda x: lax.optimization_barrier(x),
    "cast": lambda x: (x.astype(jnp.float32) * 2).astype(jnp.float64),
    "precision": lambda x: lax.reduce_precision(x, 8, 7),
}
PRODUCTS = {
    "times": lambda x: x * jnp.tanh(x[::-1]),
    "square by hand": lambda x: x * x,
    "times, broadcast": lambda x: x * x[:1],
    "dot": lambda x: x @ x.T @ x,
    "dot, batched": lambda x: jnp.einsum("ij,ij->i", x, jnp.exp(x)),
    "conv": lambda x: jnp.convolve(x[0], x[1]),
    "divided": lambda x: x / (1.5 + jnp.tanh(x[::-1])),
    "constant divided": lambda x: 1 / (2 + jnp.tanh(x)),
    "softmax": lambda x: jax.nn.softmax(x),
    "log_softmax": lambda x: jax.nn.log_softmax(x),
    "logsumexp": lambda x: jax.nn.logsumexp(x, 0),
    "masked attention": masked_attention,
    "layer norm": lambda x: jax.nn.standardize(x),
    "stop_gradient": lambda x: x * lax.stop_gradient(jnp.round(x)),
    "norm of nothing": lambda x: jnp.linalg.norm(x * 0, axis=0) + x[0],
    "glu": lambda x: jax.nn.glu(x),
    "gradient": jax.grad(lambda x: (jnp.sin(x) * x).sum()),
}
ELEMENTWISE = {
    **{
        f.__name__: f
        for f in (
            *(jnp.abs, jnp.arctan, jnp.cbrt, jnp.ceil, jnp.cos, jnp.cosh, jnp.exp, jnp.exp2),
            *(jnp.expm1, jnp.floor, jnp.round, jnp.sign, jnp.sin, jnp.sinh, jnp.square, jnp.tan),
            *(lax.erf, lax.erfc, jax.nn.relu, jax.nn.relu6, jax.nn.elu, jax.nn.gelu, jax.nn.silu),
            *(jax.nn.softplus, jax.nn.hard_swish),
        )
    },
    "log": lambda x: jnp.log(jnp.abs(x)) + jnp.log1p(jnp.abs(x)),
    "roots": lambda x: jnp.sqrt(jnp.abs(x)) + lax.rsqrt(jnp.abs(x)),
    "powers": lambda x: jnp.abs(x) ** 1.5 + x**3,
    "power of two": lambda x: jnp.abs(x) ** x[::-1],
    "atan2": lambda x: jnp.arctan2(x, x[::-1]),
    "remainder": lambda x: lax.rem(x, 0.3),
    "clip": lambda x: jnp.clip(x, -0.5, 0.5),
    "clip, to others": lambda x: lax.clamp(x[0, 0] - 1, x, x[1, 1] + 1),
    "minimum with a constant": lambda x: jnp.minimum(x, 0.3) + jnp.maximum(0.3, x),
    "where, two branches": lambda x: jnp.where(x > 0, x * 2, jnp.tanh(x)),
    "where, of another": lambda x: jnp.where(x[::-1] > x.mean(), x, x**2),
    "where, not finite": lambda x: jnp.where(x < 9, x, jnp.log(x - 9)),
    "times a rectifier's mask": lambda x: x * (x > 0),
    "step": lambda x: jnp.where(x >= 0, 1.0, 3.0),
    "logic": lambda x: jnp.where((x > 0) & ~(x > 0.5) | (x <= -1) ^ (x != x[0]), x, x**2),
    "count": lambda x: 2 * (jnp.round(x) == 0).sum(0) + jnp.isfinite(x).sum(0),
    "integers": lambda x: (3 * x).astype(int).reshape(2, 12)[::-1] * 2 - 1.0,
    "integers, moved": lambda x: (x[:, 1:3] > 0).T.astype(int)[:, ::-1].squeeze()[..., None] * 1.0,
}
ORDER = {
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(1),
    "max of all": lambda x: x.max(),
    "max pool": lambda x: nn.max_pool(x.reshape(4, 3, 2), (2, 2), padding="SAME"),
    "max pool, overlapping": lambda x: pool(x, lax.max, -jnp.inf, (3, 3), (1, 2), "SAME"),
    "min pool": lambda x: pool(x, lax.min, jnp.inf, (2, 3), (1, 1)),
    "max pool, dilated": lambda x: lax.reduce_window(
        x, -jnp.inf, lax.max, (2, 2), (1, 2), ((1, 0), (0, 1)), (1, 2), (2, 1)
    ),
    "max pool, equinox": lambda x: eqx.nn.MaxPool2d(2, 1)(x.reshape(2, 3, 4)),
    "of two": lambda x: jnp.maximum(x, x[::-1]) * jnp.minimum(x, x[:1]),
    "sort": lambda x: jnp.sort(x, 0),
    "top_k": lambda x: lax.top_k(x, 2)[0],
}
CONTROL = {
    "custom_jvp": softplus,
    "custom_vjp": square,
    "jit": jax.jit(lambda x: jnp.tanh(x @ W)),
    "remat": jax.checkpoint(lambda x: jnp.tanh(x @ W)),
    "scan": looped,
    "scan, reversed": lambda x: lax.scan(lambda c, r: (c * r, c), x[0], x, reverse=True)[1],
    "scan, none": lambda x: lax.scan(lambda c, r: (c * r, None), x[0], x[:0])[0],
    "scan, of a step": lambda x: lax.scan(
        lambda c, w: (c * jnp.where(x[0, 0] > 0, 1.0, 2.0) + w, None), x[0, 1], W[0]
    )[0],
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) @ W @ W.T + i, x),
    "map": lambda x: lax.map(lambda row: jax.nn.relu(row @ W), x),
    "vmap": lambda x: jax.vmap(lambda row: jax.nn.relu(row @ W))(x),
    "cond, constant": lambda x: lax.cond(C[0, 0] > 0, jnp.tanh, jnp.sin, x),
    "cond, the same": lambda x: lax.cond(x.sum() > 1e9, jnp.tanh, lambda x: x @ W @ W.T, x),
    "cond, both": lambda x: lax.cond(x[0, 0] > 0, jnp.tanh, lambda x: x @ W @ W.T, x),
    "switch": lambda x: lax.switch(
        (2 * jnp.tanh(x[0, 0]) + 1).astype(int), [jnp.tanh, jnp.sin, jnp.cos], x
    ),
}
# Of many operations: they compile longer than they run.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
GROUPS = {
    "linear": LINEAR,
    "products": PRODUCTS,
    "elementwise": ELEMENTWISE,
    "order": ORDER,
    "control": CONTROL,
}


def together(functions):
    """Functions as one, and for each the mask of its outputs."""
    x = jnp.zeros((4, 6))
    sizes = [jax.eval_shape(function, x).size for function in functions]
    owner = np.repeat(np.arange(len(functions)), sizes)

    def f(x):
        outputs = [function(x).reshape(-1) for function in functions]
        return jnp.concatenate(outputs)

    return f, owner == np.arange(len(functions))[:, None]


def two_points(rng):
    """An input and a baseline that differ in the sign of the element that decides in a cond."""
    x, baseline = (jnp.asarray(rng.normal(size=(4, 6))) for _ in range(2))
    return x.at[0, 0].set(0.9), baseline.at[0, 0].set(-0.4)


@pytest.mark.parametrize("group", GROUPS)
def test_operation_is_complete(group, rng, x64):
    f, masks = together(list(GROUPS[group].values()))
    x, baseline = two_points(rng)
    weights = jnp.asarray(masks * rng.normal(size=masks.shape[1]))

    @functools.partial(jax.jit, compiler_options=QUICK)
    def both(x, baseline, weights):
        found = jax.vmap(lambda w: deep_lift(f, x, w, baseline=baseline))(weights)
        return found, weights @ (f(x) - f(baseline))

    found, difference = both(
        x, baseline, weights
    )  # many operations: it compiles longer than it runs
    for name, R, expected in zip(GROUPS[group], found, difference, strict=True):
        assert np.isfinite(R).all(), name
        assert np.abs(R).max() > 0, name
        tolerance = 1e-6 if name == "cast" else 1e-10
        np.testing.assert_allclose(R.sum(), expected, rtol=tolerance, atol=1e-10, err_msg=name)


def test_every_rule_has_a_row(x64):
    seen = set()

    def visit(site, *values):
        seen.add(site.op)
        return DEFER

    x = jnp.zeros((4, 6))
    for group in GROUPS.values():
        f, _ = together(list(group.values()))
        walk = Interpreter(visit, open_custom=True)
        jax.eval_shape(lambda x, f=f, walk=walk: trace(f, x).run(walk, x), x)
    rules = frozenset().union(
        *(getattr(_multipliers, k) for k in ("_LINEAR", "_MOVES", "_BILINEAR", "_ELEMENTWISE")),
        _multipliers._ORDER_STATISTICS,
    )
    newer = {"stack", "unstack"}  # primitives in the JAX after 0.9
    assert rules - seen - newer == set()


# --- Networks


def in_float64(name):
    def cast(leaf):
        return jnp.asarray(leaf, jnp.float64) if hasattr(leaf, "dtype") else leaf

    return jax.tree.map(cast, NETWORKS[name]())


def assert_complete(f, x, baseline):
    stands = jnp.broadcast_to(baseline, x.shape)
    found = deep_lift(f, x, 1, baseline=baseline)
    difference = (f(x) - f(stands))[1]
    assert abs(difference) > 1e-6
    np.testing.assert_allclose(found.sum(), difference, rtol=1e-10, atol=1e-12)
    return found


# A residual network with norms, a network with max-pooling, a vision transformer, branches.
@pytest.mark.parametrize("name", ["linen_remat", "linen_scan", "vgg", "attention", "branching"])
def test_network_is_complete(name, rng, x64):
    f, x = in_float64(name)
    assert_complete(f, x, jnp.asarray(rng.normal(size=x.shape)))


def cell(w, carry, x):
    """A step of an LSTM."""
    h, c = carry
    i, f, g, o = jnp.split(jnp.concatenate([x, h]) @ w["gates"] + w["bias"], 4)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def scanned(w, x):
    start = (jnp.zeros(6), jnp.zeros(6))
    (h, _), states = lax.scan(functools.partial(cell, w), start, x)
    return (h + states.max(0)) @ w["head"]


def unrolled(w, x):
    carry, states = (jnp.zeros(6), jnp.zeros(6)), []
    for row in x:
        carry, h = cell(w, carry, row)
        states.append(h)
    return (states[-1] + jnp.stack(states).max(0)) @ w["head"]


def test_recurrent_network_is_complete_and_its_loop_is_the_python_loop(rng, x64):
    shapes = {"gates": (9, 24), "bias": (24,), "head": (6, 4)}
    w = {k: jnp.asarray(rng.normal(size=s)) for k, s in shapes.items()}
    x, baseline = jnp.asarray(rng.normal(size=(5, 3))), jnp.asarray(rng.normal(size=(5, 3)))
    found = assert_complete(Partial(scanned, w), x, baseline)
    expected = deep_lift(Partial(unrolled, w), x, 1, baseline=baseline)
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_function_as_target_is_part_of_the_model(rng, x64):
    """The margin of two probabilities: its sum is the margin's difference, too."""
    f, x = in_float64("plain")
    baseline = jnp.asarray(rng.normal(size=x.shape))

    def margin(logits):
        p = jax.nn.softmax(logits)
        return p[0] - p[1]

    found = deep_lift(f, x, margin, baseline=baseline)
    difference = margin(f(x)) - margin(f(baseline))
    np.testing.assert_allclose(found.sum(), difference, rtol=1e-10)


def test_background_sums_to_the_mean_difference(rng, x64):
    f, x = in_float64("vgg")
    rows = jnp.asarray(rng.normal(size=(5, *x.shape)))
    found = deep_shap(f, x, 1, background=rows, batch_size=2)
    expected = (f(x) - jax.vmap(f)(rows).mean(0))[1]
    np.testing.assert_allclose(found.sum(), expected, rtol=1e-10)


def test_memory_does_not_grow_with_the_background():
    f, x = NETWORKS["vgg"]()

    def temporaries(n):
        rows = jnp.zeros((n, *x.shape))
        program = deep_shap.program(f, x, 1, background=rows, batch_size=2)
        return program.compile().memory_analysis().temp_size_in_bytes

    assert temporaries(32) <= temporaries(8) + 24 * x.nbytes * 1.1  # the rows themselves, in chunks


@pytest.mark.parametrize(("explain", "rows"), [(deep_lift, 1), (deep_shap, 2), (deep_shap, 3)])
def test_examples_share_the_pass_at_the_reference(explain, rows, rng):
    """By operations counted: of eight examples a forward pass each, of each reference one for all of them."""
    layers = [(jnp.float32(W), jnp.float32(b)) for W, b in drawn(rng, (300, 300, 300, 2))]
    f, xs = Partial(perceptron, layers), jnp.ones((8, 300))
    chunk = min(rows, 2)  # of a loop one step is counted
    settings = (
        {"baseline": 0.0} if rows == 1 else {"background": jnp.eye(rows, 300), "batch_size": 2}
    )

    def operations(function, *args):
        return jax.jit(function).lower(*args).cost_analysis()["flops"]

    forward = operations(f, xs[0])
    found = operations(jax.vmap(lambda x: explain(f, x, 1, **settings)), xs)
    assert found == pytest.approx(forward * (8 * (1 + chunk) + chunk), rel=0.1)


# --- What is refused


WITHOUT_A_RULE = {
    "while": (lambda x: lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x), "while"),
    "product": (lambda x: x.prod(0), "reduce_prod"),
    "argmax": (lambda x: x[x[:, 0].argmax()], "argmax"),
    "indices of a sort": (lambda x: jnp.argsort(x, 0) * 1.0, "sort"),
    "indices of top_k": (lambda x: lax.top_k(x, 2)[1] * 1.0, "top_k"),
    "take by a comparison": (lambda x: x[(x[0, 0] > 0).astype(int)], "dynamic_slice"),
    "cond of constants": (lambda x: lax.cond(x[0, 0] > 0, lambda: 1.0, lambda: 2.0), "cond"),
    "scan with a count": (
        lambda x: lax.scan(lambda n, r: (n + (r > 0), r), jnp.zeros(3, int), x)[0] * 1.0,
        "scan",
    ),
    "complex": (lambda x: jnp.abs(x * (1 + 2j)), "convert_element_type"),
    "fft": (lambda x: jnp.fft.rfft(x).real, "fft"),
    "callback": (lambda x: jax.pure_callback(lambda x: x, x, x), "pure_callback"),
}


@pytest.mark.parametrize("name", WITHOUT_A_RULE)
def test_operation_without_a_rule(name):
    function, op = WITHOUT_A_RULE[name]

    def f(x):
        with jax.named_scope("here"):
            return function(jnp.tanh(x)).reshape(-1)

    message = f"^deep_lift: f must use operations that have a rule, got '{op}' at 'here"
    with pytest.raises(NotImplementedError, match=message):
        deep_lift(f, jnp.ones((3, 3)), 0)


@pytest.mark.parametrize(
    ("explain", "argument"), [(deep_lift, "baseline"), (deep_shap, "background")]
)
def test_baseline_of_another_shape_or_not_finite(explain, argument):
    f, x = NETWORKS["gru"]()
    for wrong in (jnp.zeros((2, 4)), jnp.zeros((2, 2, 4)), jnp.zeros((0, *x.shape))):
        with pytest.raises(
            ValueError, match=rf"{argument} must be a number or an array .* \(3, 4\)"
        ):
            explain(f, x, 0, **{argument: wrong})
    with pytest.raises(ValueError, match=f"{argument} must be finite, got 12 of 12 values NaN"):
        explain(f, x, 0, **{argument: jnp.full(x.shape, jnp.nan)})
    with pytest.raises(TypeError, match="x must be one float array"):
        explain(f, jnp.zeros((3, 4), int), 0, **{argument: 0.0})


def test_deep_lift_takes_one_baseline():
    f, x = NETWORKS["gru"]()
    with pytest.raises(ValueError, match="baseline must be a number"):
        deep_lift(f, x, 0, baseline=jnp.zeros((1, *x.shape)))


def test_vmap_over_baselines(rng, x64):
    f, x = in_float64("gru")
    rows = jnp.asarray(rng.normal(size=(3, *x.shape)))
    each = jax.vmap(lambda row: deep_lift(f, x, 1, baseline=row))(rows)
    expected = deep_shap(f, x, 1, background=rows)
    np.testing.assert_allclose(each.mean(0), expected, rtol=1e-10, atol=1e-14)
    one = bind(deep_lift, f, baseline=rows[2])(x, 1)
    np.testing.assert_allclose(each[2], one, rtol=1e-12, atol=1e-14)
