"""The walk over a model's equations: the same function, and what a visitor sees and may change."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.networks import NETWORKS
from xaijax import DEFER, Interpreter, trace


def defer(site, *inputs):
    return DEFER


def always(site):
    return True


def never(site):
    return False


def interpret(f, visit=defer, **options):
    return lambda x: trace(f, x).run(Interpreter(visit, **options), x)


def sites(f, x, **options):
    """Every equation that a visitor sees, in order."""
    seen = []
    interpret(f, lambda site, *inputs: seen.append(site) or DEFER, **options)(x)
    return seen


def active(f, x, op, **options):
    """Which inputs depend on `x`, at each equation with the primitive `op`."""
    return [site.active for site in sites(f, x, **options) if site.op == op]


def assert_close(actual, expected, tolerance=1e-6):
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * np.abs(e).max())


def logit_gradient(f):
    return jax.grad(lambda x: f(x)[1])


# --- A visitor that defers changes nothing


@functools.cache
def expected(name):
    """The outputs and a gradient at some inputs, without the interpreter."""
    f, x = NETWORKS[name]()
    return jax.jit(jax.vmap(lambda x: (f(x), logit_gradient(f)(x))))(some_inputs(x))


def some_inputs(x):
    return jnp.stack([x, -x, 0.5 * x])


@pytest.mark.parametrize("name", NETWORKS)
def test_interpretation_keeps_outputs(name):
    f, x = NETWORKS[name]()
    assert_close(interpret(f)(x), f(x))


@pytest.mark.parametrize(
    "options", [{}, {"unroll": always, "open_custom": True}], ids=["closed", "opened"]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_interpretation_keeps_outputs_and_gradient_under_jit_and_vmap(name, options):
    f, x = NETWORKS[name]()
    g = interpret(f, **options)
    actual = jax.jit(jax.vmap(lambda x: (g(x), logit_gradient(g)(x))))(some_inputs(x))
    assert_close(actual, expected(name))


def test_weights_are_traced_arguments():
    f, x = NETWORKS["plain"]()
    grads = jax.jit(jax.grad(lambda f: interpret(f)(x)[0]))(f)
    assert_close(grads, jax.jit(jax.grad(lambda f: f(x)[0]))(f))


def test_output_structure_is_kept():
    def f(x):
        return {"sum": x["a"] + x["b"], "pair": (x["a"], 3.0)}

    out = interpret(f)({"a": jnp.ones(2), "b": jnp.ones(2)})
    np.testing.assert_array_equal(out["sum"], [2, 2])
    np.testing.assert_array_equal(out["pair"][0], [1, 1])
    assert out["pair"][1] == 3.0


# --- Custom derivatives


@jax.custom_vjp
def doubled_gradient(x):
    return x * x


doubled_gradient.defvjp(lambda x: (x * x, x), lambda x, g: (4 * x * g,))


@pytest.mark.parametrize(("open_custom", "derivative"), [(False, 12.0), (True, 6.0)])
@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint])
def test_custom_derivative_is_kept_unless_opened(wrap, open_custom, derivative):
    f = interpret(wrap(doubled_gradient), open_custom=open_custom)
    assert jax.grad(f)(3.0) == derivative


@jax.custom_vjp
def guided_relu(x):
    return jnp.maximum(x, 0)


guided_relu.defvjp(
    lambda x: (jnp.maximum(x, 0), x), lambda x, g: (jnp.where((x > 0) & (g > 0), g, 0),)
)


def test_visitor_swaps_an_equation_for_a_twin_with_another_derivative():
    # Guided backpropagation (Springenberg et al. 2015): a ReLU passes back positive gradients only.
    rng = np.random.default_rng(0)
    w1, w2, w3 = (rng.normal(size=s) for s in [(6, 8), (8, 8), (8,)])
    x = rng.normal(size=6)

    def f(x):
        return jax.nn.relu(jax.nn.relu(x @ w1) @ w2) @ w3

    def guided(site, *inputs):
        return guided_relu(*inputs) if site.function_name == "relu" else DEFER

    z1 = x @ w1
    z2 = np.maximum(z1, 0) @ w2
    g2 = np.where((z2 > 0) & (w3 > 0), w3, 0)
    g1 = np.where((z1 > 0) & (w2 @ g2 > 0), w2 @ g2, 0)
    plain = w1 @ np.where(z1 > 0, w2 @ np.where(z2 > 0, w3, 0), 0)

    with jax.enable_x64(True):
        actual = jax.grad(interpret(f, guided))(jnp.asarray(x))
        np.testing.assert_allclose(actual, w1 @ g1, rtol=1e-12)
        np.testing.assert_allclose(jax.grad(interpret(f))(jnp.asarray(x)), plain, rtol=1e-12)
    assert np.abs(w1 @ g1 - plain).max() > 0.1


# --- Answers of a visitor


def test_answer_replaces_the_output():
    def negate_tanh(site, *inputs):
        return -site(*inputs) if site.op == "tanh" else DEFER

    f = interpret(lambda x: (jnp.tanh(x) + 1.0) * x, negate_tanh)
    np.testing.assert_allclose(f(2.0), (1 - np.tanh(2.0)) * 2, rtol=1e-6)


def test_answer_for_several_outputs():
    def swap_halves(site, *inputs):
        return site(*inputs)[::-1] if site.op == "split" else DEFER

    f = interpret(lambda x: jnp.concatenate(jnp.split(x, 2)), swap_halves)
    np.testing.assert_array_equal(f(jnp.arange(4.0)), [2, 3, 0, 1])


def test_answer_inside_a_scan_is_given_at_every_step():
    def f(x):
        return lax.scan(lambda c, _: (jnp.sin(c), c), x, length=3)[0]

    def double(site, *inputs):
        return 2.0 * inputs[0] if site.op == "sin" else DEFER

    for unroll in (never, always):
        assert interpret(f, double, unroll=unroll)(1.5) == 12.0


@pytest.mark.parametrize(
    "function", [lambda x: x * x, lambda x: jnp.dot(x, x), lambda x: jnp.maximum(x, x)]
)
def test_equation_evaluates_at_the_values_it_is_given(function):
    # Both inputs of the equation are one variable of the program, but a visitor may tell them apart.
    (site,) = sites(function, jnp.asarray([1.0, 2.0]))
    a, b = jnp.asarray([3.0, 5.0]), jnp.asarray([7.0, 1.0])
    expected = {"mul": a * b, "dot_general": jnp.dot(a, b), "max": jnp.maximum(a, b)}[site.op]
    np.testing.assert_array_equal(site(a, b), expected)


def test_values_need_not_be_arrays():
    # Each value is the number of equations on the longest way to it.
    def depth(site, *depths):
        return DEFER if site.op in ("scan", "jit", "pjit") else site.fill(1 + max(depths))

    def f(x):
        x, ys = lax.scan(lambda c, _: (jnp.sin(c), jnp.cos(c)), x, length=5)
        return jax.jit(lambda x: -jnp.tanh(x))(x), ys

    walk = Interpreter(
        depth,
        unroll=always,
        lift=lambda constant: 0,
        index=lambda value, step: value,
        stack=max,
    )
    assert trace(f, jnp.ones(2)).walk(walk, [], [0]) == [7, 5]


# --- Activity: what depends on the model's input


def test_weights_are_inactive():
    f, x = NETWORKS["plain"]()
    assert active(f, x, "conv_general_dilated") == [(True, False)] * 2
    assert active(lambda x: x * jnp.sin(jnp.ones(2)), jnp.ones(2), "sin") == [(False,)]


def test_integers_are_inactive():
    def f(x):
        return jnp.cos(jnp.argmax(x).astype(jnp.float32)) + jnp.sin(x)

    assert active(f, jnp.ones(3), "cos") == [(False,)]
    assert active(f, jnp.ones(3), "sin") == [(True,)]


def test_boolean_choice_is_inactive():
    def f(x):
        return jnp.where(x > 0, x, 0.0)

    assert [a[:1] for a in active(f, jnp.ones(3), "select_n", open_custom=True)] == [(False,)]


@pytest.mark.parametrize("unroll", [never, always])
def test_carry_that_becomes_active_in_a_later_step(unroll):
    # x enters c in the first step, b in the second, a in the third.
    def step(carry, _, x):
        a, b, c = carry
        return (jnp.sin(b), jnp.cos(c), c + x), jnp.tanh(a)

    def f(x):
        zero = jnp.zeros(())
        return lax.scan(lambda c, y: step(c, y, x), (zero, zero, zero), length=4)

    for op in ("sin", "cos", "tanh"):
        assert set(active(f, 2.0, op, unroll=unroll)) == {(True,)}
    _, ys = lax.scan(lambda c, y: step(c, y, 2.0), (0.0, 0.0, 0.0), length=4)
    assert_close(interpret(f, unroll=unroll)(2.0)[1], ys)


@pytest.mark.parametrize("unroll", [never, always])
def test_carry_that_stays_inactive(unroll):
    def f(x):
        return lax.scan(lambda c, _: ((c[0] * x, jnp.sin(c[1])), None), (1.0, 1.0), length=3)[0]

    assert set(active(f, 2.0, "sin", unroll=unroll)) <= {(False,)}
    assert set(active(f, 2.0, "mul", unroll=unroll)) == {(True, True)}


def test_activity_leaves_a_nested_scan_and_a_custom_function():
    def inner(x):
        return lax.scan(lambda c, _: (jax.nn.relu(c) + x, c), 0.0, length=2)[0]

    def f(x):
        return lax.scan(lambda c, _: (jax.jit(inner)(x), jnp.sin(c)), 0.0, length=2)[1]

    assert active(f, 2.0, "sin") == [(True,)]


# --- Which equations are visited


def test_dead_equation_is_not_visited():
    def f(x):
        jnp.sin(x)
        return jnp.cos(x)

    assert [site.op for site in sites(f, 1.0)] == ["cos"]


@pytest.mark.parametrize("wrap", [jax.jit, jax.checkpoint])
def test_equation_whose_result_no_caller_reads_is_not_visited(wrap):
    # Nothing reads the second output of the call.
    def f(x):
        return wrap(lambda x: (jnp.cos(x), jnp.sin(x)))(x)[0]

    assert "sin" not in [site.op for site in sites(f, 1.0)]


@pytest.mark.parametrize("jit", [False, True])
def test_effects_are_kept(jit):
    seen = []

    def f(x):
        jax.debug.callback(seen.append, x)
        return x + 1.0

    run = interpret(f)
    assert (jax.jit(run) if jit else run)(2.0) == 3.0
    jax.effects_barrier()
    assert seen == [2.0]


def test_effects_in_a_scan_are_kept():
    seen = []

    def step(c, _):
        jax.debug.callback(seen.append, c)
        return c + 1.0, None

    interpret(lambda x: lax.scan(step, x, length=3)[0])(0.0)
    jax.effects_barrier()
    assert sorted(map(float, seen)) == [0.0, 1.0, 2.0]


def test_a_while_is_one_equation_and_a_cond_is_opened():
    def f(x):
        x = lax.while_loop(lambda x: x < 100.0, lambda x: jnp.exp(x), x)
        return lax.cond(x > 0, jnp.sin, jnp.cos, x)

    ops = [site.op for site in sites(f, 3.0)]
    assert {"while", "sin", "cos"} <= set(ops)
    assert "exp" not in ops
    assert interpret(f)(3.0) == f(3.0)


# --- Scans


def with_reverse(x):
    return lax.scan(lambda c, row: (jnp.tanh(c + row), c * row), x[0], x, reverse=True)


def with_several_carries(x):
    def step(carry, row):
        a, b, i = carry
        return (a + b * row, jnp.sin(a), i + 1), (a, row * i)

    return lax.scan(step, (x[0], x[1], 0), x)


def without_xs(x):
    return lax.scan(lambda c, _: (jnp.tanh(c) + 1.0, c.sum()), x, length=4)


def without_outputs(x):
    return lax.scan(lambda c, row: (c * row, None), x[0], x)


def with_scanned_weights(x):
    w = jnp.arange(12.0).reshape(3, 2, 2) / 10
    return lax.scan(lambda c, w: (jnp.tanh(c @ w), c), x, w)


def of_length_zero(x):
    return lax.scan(lambda c, row: (c * row, jnp.sin(c)), x[0], x[:0])


def of_length_zero_without_outputs(x):
    return lax.scan(lambda c, _: (c * 2.0, None), x, length=0)


def inside_a_scan(x):
    def outer(c, row):
        c, ys = lax.scan(lambda c, _: (jnp.sin(c + row), c), c, length=2)
        return c, ys.sum(0)

    return lax.scan(outer, x[0], x)


SCANS = [
    with_reverse,
    with_several_carries,
    without_xs,
    without_outputs,
    with_scanned_weights,
    of_length_zero,
    of_length_zero_without_outputs,
    inside_a_scan,
]


@pytest.mark.parametrize("unroll", [never, always])
@pytest.mark.parametrize("f", SCANS)
def test_scan(f, unroll):
    x = jnp.asarray([[0.3, -0.2], [0.7, 0.4], [-0.5, 0.1]])
    actual, expected = interpret(f, unroll=unroll)(x), f(x)
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(expected)]
    assert [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(actual)] == shapes
    assert all(
        np.allclose(a, e, rtol=0, atol=1e-6)
        for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
    )

    def total(f, x):
        floats = [leaf for leaf in jax.tree.leaves(f(x)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        return sum(jnp.sin(leaf).sum() for leaf in floats)

    gradient = jax.grad(functools.partial(total, interpret(f, unroll=unroll)))(x)
    assert_close(gradient, jax.grad(functools.partial(total, f))(x))


def test_scan_is_emitted_again():
    program = jax.make_jaxpr(interpret(without_xs))(jnp.ones(2))
    assert [eqn.primitive.name for eqn in program.eqns].count("scan") == 1
    assert "tanh" not in [eqn.primitive.name for eqn in program.eqns]


def test_unrolled_scan_has_a_site_per_step():
    names = [(s.op, s.scope) for s in sites(without_xs, jnp.ones(2), unroll=always)]
    assert [scope for op, scope in names if op == "tanh"] == ["[0]", "[1]", "[2]", "[3]"]


def test_reversed_scan_is_unrolled_from_the_end():
    seen = sites(with_reverse, jnp.ones((3, 2)), unroll=always)
    assert [site.scope for site in seen if site.op == "tanh"] == ["[2]", "[1]", "[0]"]


def test_only_the_chosen_scans_are_unrolled():
    def first_only(site):
        return site.path == first

    def f(x):
        return without_xs(x)[0] + without_xs(x)[0]

    x = jnp.ones(2)
    first = next(site.path for site in sites(f, x) if site.op == "scan")
    scopes = [site.scope for site in sites(f, x, unroll=first_only) if site.op == "tanh"]
    assert scopes == ["[0]", "[1]", "[2]", "[3]", ""]
    assert_close(interpret(f, unroll=first_only)(x), f(x))


# --- Paths and scopes


@pytest.mark.parametrize("unroll", [never, always])
@pytest.mark.parametrize("name", NETWORKS)
def test_paths_are_unique_and_stable(name, unroll):
    f, x = NETWORKS[name]()
    options = {"unroll": unroll, "open_custom": True}
    paths = [(site.path, site.op) for site in sites(f, x, **options)]
    assert len({path for path, _ in paths}) == len(paths)
    assert paths == [(site.path, site.op) for site in sites(f, x + 1.0, **options)]


def test_paths_do_not_depend_on_what_is_opened():
    f, x = NETWORKS["linen_scan"]()
    atomic = {site.path: site.op for site in sites(f, x)}
    opened = {site.path: site.op for site in sites(f, x, unroll=always, open_custom=True)}
    assert atomic.items() <= opened.items()


def test_scope_is_without_the_marks_of_transformations():
    def f(x):
        with jax.named_scope("outer"):
            return jax.vmap(inner)(x)

    @jax.jit
    def inner(x):
        with jax.named_scope("inner"):
            return jax.grad(jnp.sin)(x)

    assert {site.scope for site in sites(f, jnp.ones(2)) if site.op == "cos"} == {"outer/inner"}


def test_sites_know_shapes():
    (site,) = sites(lambda x: x @ jnp.ones((3, 4)), jnp.ones((2, 3)))[-1:]
    assert site.op == "dot_general"
    assert [like.shape for like in site.inputs] == [(2, 3), (3, 4)]
    assert [(like.shape, like.dtype) for like in site.outputs] == [((2, 4), jnp.float32)]
