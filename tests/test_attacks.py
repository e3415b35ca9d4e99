"""Attacks: one contract, loops with derivatives by hand, closed forms, bounds, attacks on explanations."""

import inspect
import re
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.tree_util import Partial

import xaijax
from tests.cases import FIRST, SECOND, cnn, curved, image, mlp, row
from tests.oracles import attacks as oracle
from tests.test_signatures import SECTIONS, cited, sections
from xaijax import attacks
from xaijax.attacks._ball import ball
from xaijax.core._citation import bibliography

KEY = jax.random.key(0)
PUBLIC = {k: v for k in attacks.__all__ if hasattr(v := getattr(attacks, k), "program")}
SETTINGS = {
    attacks.fgsm: {},
    attacks.pgd: {"num_steps": 4},
    attacks.explanation_attack: {"num_steps": 4},
    attacks.random_noise: {},
}
each = pytest.mark.parametrize("attack", PUBLIC.values(), ids=PUBLIC.keys())
norms = pytest.mark.parametrize("norm", ["linf", "l2"])


def call(attack, seed=0, model_seed=FIRST, dtype=jnp.float32, x=None, target=1, **settings):
    """An attack on a perceptron and a row."""
    f = mlp(model_seed, dtype)
    everything = {
        "f": f,
        "explain": xaijax.bind(xaijax.saliency, f),
        "x": row(seed, dtype) if x is None else x,
        "target": target,
        "key": jax.random.key(seed),
    }
    parameters = inspect.signature(attack).parameters.values()
    arguments = [everything[p.name] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return attack(*arguments, **{**SETTINGS.get(attack, {}), "epsilon": 0.25, **settings})


def unit(h):
    return h / np.linalg.norm(h)


def input_of(found):
    return found.x if isinstance(found, attacks.ExplanationAttack) else found


# --- The contract


def test_every_attack_has_settings_here():
    assert set(PUBLIC.values()) == SETTINGS.keys()


@each
def test_signature_and_docstring(attack):
    parameters = inspect.signature(attack).parameters.values()
    first = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    order = ("f", "explain", "x", "target", "key")
    assert first == [name for name in order if name in first]
    assert next(iter(rest)) == "epsilon"
    assert list(rest)[-2:] == ["low", "high"]
    assert {k for k, p in rest.items() if p.default is p.empty} == {"epsilon"}
    found = sections(attack.__doc__)
    assert not [name for name in SECTIONS if not found.get(name, "").strip()]
    described = re.findall(r"^  (\w+):", found["Args"], flags=re.MULTILINE)
    assert described == list(inspect.signature(attack).parameters)
    statics = re.findall(
        r"^  (\w+):(?:(?!^  \w).)*Static\.", found["Args"], re.MULTILINE | re.DOTALL
    )
    assert statics == list(attack.static)
    assert set(cited(attack.__doc__)) <= bibliography().keys()
    assert xaijax.citation(attack).count("\n@") == len(cited(attack.__doc__))


@each
def test_operation_by_operation_as_compiled(attack, x64):
    parameters = inspect.signature(attack).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    compiled = call(attack, dtype=jnp.float64)
    plain = call(
        attack.__wrapped__, dtype=jnp.float64, **{**defaults, "epsilon": 0.25, **SETTINGS[attack]}
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), compiled, plain)


@each
def test_vmap_is_a_loop(attack):
    alone = [input_of(call(attack, seed)) for seed in range(3)]
    x, keys = jnp.stack([row(seed) for seed in range(3)]), jax.vmap(jax.random.key)(jnp.arange(3))
    f = mlp(FIRST)
    given = {"f": f, "explain": xaijax.bind(xaijax.saliency, f), "target": jnp.full(3, 1)}
    given |= {"x": x, "key": keys}
    parameters = inspect.signature(attack).parameters.values()
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    axes = [None if name in ("f", "explain") else 0 for name in names]
    mapped = jax.jit(jax.vmap(lambda *a: attack(*a, epsilon=0.25, **SETTINGS[attack]), axes))
    found = input_of(mapped(*[given[name] for name in names]))
    np.testing.assert_allclose(found, jnp.stack(alone), rtol=1e-5, atol=1e-6)


@each
def test_one_program_serves_all(attack, count_compiles):
    """Sizes, bounds, examples, labels, weights, keys and step sizes."""
    call(attack, low=-9.0, high=9.0)
    call(attack, low=-9.0, high=9.0, **_knobs(attack, 0.1))
    with count_compiles() as compiled:
        for seed, target in ((1, 2), (2, 0)):
            call(attack, seed, SECOND, target=target, epsilon=0.5, low=-8.0, high=8.0)
            call(attack, seed, low=-9.0, high=9.0, **_knobs(attack, 0.2))
    assert compiled.count(attack.__name__) == 0


def _knobs(attack, value):
    return dict.fromkeys(attack.numbers.keys() - {"epsilon"}, value)


@each
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_shape_and_dtype_are_those_of_the_input(attack, dtype):
    found = input_of(call(attack, dtype=dtype))
    assert found.shape == (6,)
    assert found.dtype == dtype
    rounding = 2.0 ** (-6 if dtype == jnp.bfloat16 else -21)
    assert 0 < jnp.abs(found - row(0, dtype)).astype(jnp.float32).max() <= 0.25 + rounding


@each
def test_same_key_same_result(attack):
    np.testing.assert_array_equal(input_of(call(attack)), input_of(call(attack)))


@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd], ids=lambda a: a.__name__)
def test_the_size_may_be_swept_by_vmap(attack):
    sizes = jnp.array([0.125, 0.5])
    found = jax.vmap(lambda epsilon: input_of(call(attack, epsilon=epsilon)))(sizes)
    np.testing.assert_allclose(found[1], input_of(call(attack, epsilon=0.5)), rtol=1e-5, atol=1e-6)
    assert (jnp.abs(found - row(0)).max(1) <= sizes * (1 + 1e-5)).all()


# --- Errors


@each
def test_numbers_out_of_range_are_refused(attack):
    name = attack.__name__
    for epsilon in (0, -0.5, np.nan):
        with pytest.raises(ValueError, match=f"^{name}: epsilon must be above 0, got"):
            call(attack, epsilon=epsilon)
    for knob, within in attack.numbers.items():
        wrong = {"positive": 0.0, "not_negative": -1.0}[within]
        with pytest.raises(ValueError, match=f"^{name}: {knob} must"):
            call(attack, **{knob: wrong})
    if "norm" in attack.static:
        with pytest.raises(ValueError, match=f"^{name}: norm must be 'linf' or 'l2', got 'l1'"):
            call(attack, norm="l1")


@each
def test_bounds_are_checked(attack):
    name, x = attack.__name__, jnp.array([0.0, 0.5, 1.0, 0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match=f"^{name}: low must be at most high, got 1.0 above 0.0"):
        call(attack, x=x, low=1.0, high=0.0)
    with pytest.raises(ValueError, match=f"^{name}: x must lie between low and high, got 1 of 6"):
        call(attack, x=x.at[3].set(1.5), low=0.0, high=1.0)
    with pytest.raises(ValueError, match=f"^{name}: low must be a number or an array that broad"):
        call(attack, x=x, low=jnp.zeros(5))
    with pytest.raises(ValueError, match=f"^{name}: high must be finite"):
        call(attack, x=x, high=np.inf)
    # By as little as rounding, it lies inside.
    found = input_of(call(attack, x=x * (1 + 1e-7), low=0.0, high=1.0))
    assert 0 <= found.min() <= found.max() <= 1


@each
def test_what_only_shows_at_run_time_is_nan(attack):
    x = jnp.full(6, 0.5).at[3].set(1.5)
    found = jax.jit(lambda x: input_of(call(attack, x=x, low=0.0, high=1.0)))(x)
    assert np.isnan(found).all()
    if "target" in inspect.signature(attack).parameters:
        found = jax.jit(lambda target: input_of(call(attack, target=target)))(9)
        assert np.isnan(found).all()
    with pytest.raises(ValueError, match=f"{attack.__name__}: x must lie between low and high"):
        xaijax.checked(lambda x: input_of(call(attack, x=x, low=0.0, high=1.0)))(x)


@each
def test_inputs_that_are_no_floats_are_refused(attack):
    with pytest.raises(TypeError, match=f"^{attack.__name__}: x must be one float array, got int"):
        call(attack, x=jnp.arange(6))


@pytest.mark.parametrize("attack", [attacks.fgsm, attacks.pgd], ids=lambda a: a.__name__)
def test_labels_that_there_are_not_are_refused(attack):
    with pytest.raises(ValueError, match=rf"^{attack.__name__}: target must be in \[0, 4\), got 4"):
        call(attack, target=4)
    one = Partial(lambda w, x: (x @ w)[None], jnp.ones(6))
    more = (KEY,) if attack is attacks.pgd else ()
    with pytest.raises(ValueError, match=f"^{attack.__name__}: f must give a score for each of"):
        attack(one, row(0), 0, *more, epsilon=0.5)
    found = attack(one, row(0), lambda outputs: outputs[0], *more, epsilon=0.5)
    np.testing.assert_allclose(found, row(0) - 0.5, rtol=1e-5)


# --- Against loops with derivatives by hand


@pytest.fixture
def linear(rng):
    """W, b of four classes, and an input."""
    return (rng.normal(size=(4, 6)), rng.normal(size=4)), rng.normal(size=6)


def as_model(weights):
    return Partial(lambda w, x: w[0] @ x + w[1], tuple(map(jnp.asarray, weights)))


@pytest.mark.parametrize("targeted", [False, True])
def test_fgsm_as_by_hand(linear, targeted, x64):
    weights, x = linear
    for label in range(4):
        for low, high in ((None, None), (x.min(), x.max())):
            found = attacks.fgsm(
                as_model(weights), x, label, epsilon=0.3, targeted=targeted, low=low, high=high
            )
            bounds = (-np.inf, np.inf) if low is None else (low, high)
            expected = oracle.fgsm(weights, x, label, 0.3, *bounds, targeted=targeted)
            np.testing.assert_allclose(found, expected, rtol=1e-12)


@norms
@pytest.mark.parametrize("bounded", [False, True])
def test_pgd_as_by_hand(linear, norm, bounded, x64):
    """From the same start; a long step, so that the last input is not the best."""
    weights, x = linear
    low, high = (x - 0.2, x + 0.25) if bounded else (None, None)
    start = np.asarray(ball("pgd", jnp.asarray(x), 0.5, norm, low, high).draw(KEY))
    for label in range(4):
        found = attacks.pgd(
            as_model(weights),
            x,
            label,
            KEY,
            epsilon=0.5,
            norm=norm,
            num_steps=7,
            step_size=0.4,
            low=low,
            high=high,
        )
        bounds = (low, high) if bounded else (-np.inf, np.inf)
        expected = oracle.pgd(weights, x, label, start, 0.5, norm, 7, 0.4, *bounds)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_soft_labels_as_by_hand(linear, x64):
    """The cross entropy of weights is the mean of those of the labels."""
    weights, x = linear
    mixed = np.array([0.2, 0.5, 0.0, 0.3])
    G = sum(w * oracle.gradient(weights, x, label) for label, w in enumerate(mixed))
    found = attacks.fgsm(as_model(weights), x, mixed, epsilon=0.3)
    np.testing.assert_allclose(found, x + 0.3 * np.sign(G), rtol=1e-12)


def test_the_direction_is_that_of_the_cross_entropy(linear, x64):
    weights, x = linear
    found = attacks.pgd(
        as_model(weights), x, 2, KEY, epsilon=0.5, norm="l2", num_steps=1, step_size=0.25,
        random_start=False,
    )  # fmt: skip
    G = oracle.gradient(weights, x, 2)
    np.testing.assert_allclose(found, x + 0.25 * G / np.linalg.norm(G), rtol=1e-10)


# --- Closed forms


@pytest.mark.parametrize("margin", [0.0, 20.0, 500.0])
def test_fgsm_lowers_a_linear_margin_as_far_as_can_be(margin):
    """By epsilon times the sum of magnitudes, exactly: also of a model so sure that its softmax rounds to 0 and 1."""
    w = jnp.array([2.0, -1.0, 0.5, 0.0, -4.0, 8.0])
    f = Partial(lambda w, x: jnp.stack([w @ x + margin, 0.0]), w)
    x = jnp.zeros(6)
    found = attacks.fgsm(f, x, 0, epsilon=0.5)
    assert f(x)[0] - f(found)[0] == 0.5 * 15.5
    assert found[3] == 0  # no gradient, no change
    raised = attacks.fgsm(f, x, 1, epsilon=0.5, targeted=False)
    assert f(raised)[0] - f(x)[0] == 0.5 * 15.5
    np.testing.assert_array_equal(attacks.fgsm(f, x, 1, epsilon=0.5, targeted=True), found)


def test_pgd_of_a_linear_model_ends_at_the_farthest_place():
    w = jnp.array([3.0, -4.0, 0.0, 12.0])  # of length 13
    f = Partial(lambda w, x: jnp.stack([w @ x, 0.0]), w)
    x = jnp.array([0.5, 0.25, 0.125, -1.0])
    found = attacks.pgd(f, x, 0, KEY, epsilon=0.25)
    np.testing.assert_array_equal(found[w != 0], (x - 0.25 * jnp.sign(w))[w != 0])
    found = attacks.pgd(f, x, 0, KEY, epsilon=0.5, norm="l2", random_start=False)
    np.testing.assert_allclose(found, x - 0.5 * w / 13, rtol=1e-6)
    found = attacks.pgd(f, x, 0, KEY, epsilon=0.5, norm="l2")
    np.testing.assert_allclose(found, x - 0.5 * w / 13, atol=0.05)
    found = attacks.pgd(f, x, 0, KEY, epsilon=0.5, norm="l2", random_start=False, targeted=True)
    np.testing.assert_allclose(found, x + 0.5 * w / 13, rtol=1e-5)


def test_one_step_of_pgd_is_fgsm():
    f, x = mlp(FIRST), row(0)
    expected = attacks.fgsm(f, x, 1, epsilon=0.25)
    found = attacks.pgd(f, x, 1, KEY, epsilon=0.25, num_steps=1, step_size=0.25, random_start=False)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_more_steps_never_lose(seed):
    """They begin with the step of FGSM, and keep the best."""
    f, x = curved(FIRST), image(seed)
    label = f(x).argmax()
    losses = [
        -jax.nn.log_softmax(f(moved))[label]
        for moved in (
            x,
            attacks.fgsm(f, x, label, epsilon=0.25),
            *(
                attacks.pgd(
                    f, x, label, KEY, epsilon=0.25, num_steps=n, step_size=0.25, random_start=False
                )
                for n in (2, 8)
            ),
        )
    ]
    assert losses[0] < losses[1]
    assert all(after >= before - 1e-6 for before, after in pairwise(losses))


@norms
def test_attacks_do_more_than_noise_of_their_size(norm):
    f = curved(FIRST)
    x = image(3)
    label = f(x).argmax()

    def loss(moved):
        return -jax.nn.log_softmax(f(moved))[label]

    attacked = attacks.pgd(f, x, label, KEY, epsilon=0.25, norm=norm, num_steps=10)
    noisy = [attacks.random_noise(x, jax.random.key(i), epsilon=0.25, norm=norm) for i in range(20)]
    assert loss(attacked) > max(map(loss, noisy))


# --- The ball


@norms
@given(data=st.data())
@settings(max_examples=15)
def test_projection(norm, data):
    values = st.lists(st.floats(-2, 2, width=32), min_size=6, max_size=6).map(np.float32)
    x, moved = data.draw(values), data.draw(values)
    around = ball("pgd", jnp.asarray(x), 0.5, norm, -2.0, 2.0)
    found = np.asarray(around.project(jnp.asarray(moved)))
    expected = oracle.project(x.astype(float), moved.astype(float), 0.5, norm, -2.0, 2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert around.size(found) <= 0.5 + 1e-6
    np.testing.assert_allclose(around.project(found), found, rtol=1e-6, atol=1e-7)
    assert np.abs(found).max() <= 2


@norms
def test_starts_are_drawn_evenly_from_the_ball(norm):
    """The part of the ball that is nearer than a draw is itself drawn evenly from [0, 1]."""
    around = ball("pgd", jnp.full(5, 0.25), 0.5, norm, None, None)
    keys = jax.random.split(KEY, 2000)
    drawn = jax.vmap(around.draw)(keys)
    inner = (jax.vmap(around.size)(drawn) / 0.5) ** 5
    assert inner.max() <= 1 + 1e-5
    assert abs(inner.mean() - 0.5) < 4 * (1 / 12 / 2000) ** 0.5
    assert (abs(drawn.mean(0) - 0.25) < 4 * 0.5 / 2000**0.5).all()


@norms
def test_noise_has_the_norm_of_the_attack(norm):
    x = row(0)
    for seed in range(3):
        delta = attacks.random_noise(x, jax.random.key(seed), epsilon=0.5, norm=norm) - x
        if norm == "linf":
            np.testing.assert_allclose(jnp.abs(delta), 0.5, rtol=1e-5)
        else:
            np.testing.assert_allclose(jnp.linalg.norm(delta), 0.5, rtol=1e-5)
    signs = jnp.sign(
        jax.vmap(lambda key: attacks.random_noise(x, key, epsilon=0.5) - x)(
            jax.random.split(KEY, 400)
        )
    )
    assert abs(signs.mean()) < 4 / (400 * 6) ** 0.5


@each
def test_bounds_of_each_channel_hold_exactly(attack):
    """As after a normalisation: pixels between 0 and 1 less their mean, over their deviation."""
    mean, deviation = jnp.array([0.5, 0.4, 0.3]), jnp.array([0.2, 0.3, 0.25])
    pixels = jnp.asarray(np.random.default_rng(0).integers(0, 2, (8, 8, 3)), jnp.float32)
    low, high = (0 - mean) / deviation, (1 - mean) / deviation
    f = curved(FIRST)
    x = (pixels - mean) / deviation
    given = {"f": f, "explain": xaijax.bind(xaijax.grad_cam, f), "x": x, "target": 1, "key": KEY}
    parameters = inspect.signature(attack).parameters.values()
    arguments = [given[p.name] for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    found = attack(*arguments, **SETTINGS[attack], epsilon=0.5, low=low, high=high)
    moved = input_of(found)
    assert ((moved >= low) & (moved <= high)).all()
    assert 0 < jnp.abs(moved - x).max() <= 0.5 + 1e-6


# --- Attacks on explanations


@pytest.fixture
def forms(rng):
    """Three symmetric matrices: outputs x' Q x / 2, whose gradient is Q x."""
    Q = rng.normal(size=(3, 6, 6))
    return Q + Q.transpose(0, 2, 1), rng.normal(size=6)


@norms
@pytest.mark.parametrize("with_goal", [False, True])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_explanation_attack_as_by_hand(forms, norm, with_goal, gamma, rng, x64):
    Q, x = forms
    target = int(oracle.quadratic(Q, x).argmax())
    f = Partial(lambda Q, x: jnp.einsum("kij,i,j->k", Q, x, x) / 2, jnp.asarray(Q))
    goal = rng.random(6) if with_goal else None
    found = attacks.explanation_attack(
        xaijax.bind(xaijax.saliency, f),
        x,
        target,
        KEY,
        epsilon=0.4,
        goal=goal,
        gamma=gamma,
        norm=norm,
        num_steps=20,
    )
    around = ball("explanation_attack", jnp.asarray(x), 0.4, norm, None, None)
    start = np.asarray(around.draw(jax.random.split(KEY)[0]))
    size = 2.5 * 0.4 / 20
    expected, kept = oracle.explanation_attack(
        Q, x, target, start, 0.4, norm, 20, size, gamma, goal
    )
    np.testing.assert_allclose(found.x, expected, rtol=1e-8)
    np.testing.assert_allclose(found.kept, kept, rtol=1e-10)
    before, after = oracle.saliency(Q, x, target), oracle.saliency(Q, expected, target)
    np.testing.assert_allclose(found.before, before, rtol=1e-8)
    np.testing.assert_allclose(found.after, after, rtol=1e-8)
    np.testing.assert_allclose(found.outputs_after, oracle.quadratic(Q, expected), rtol=1e-7)
    np.testing.assert_allclose(found.moved, np.linalg.norm(unit(after) - unit(before)), rtol=1e-7)
    assert np.isnan(found.to_goal) != with_goal
    if with_goal:
        np.testing.assert_allclose(
            found.to_goal, np.linalg.norm(unit(after) - unit(goal)), rtol=1e-7
        )
        assert found.to_goal < np.linalg.norm(unit(before) - unit(goal))


@pytest.mark.parametrize("name", ["saliency", "grad_cam", "integrated_gradients", "smooth_grad"])
def test_explanations_move_further_than_by_noise(name):
    """Of a smooth network, and of a map that the activations change: with the prediction kept."""
    f, x = (cnn(FIRST), image(3)) if name == "grad_cam" else (mlp(FIRST), row(3))
    explain = xaijax.bind(getattr(xaijax, name), f)
    if name == "smooth_grad":
        explain = xaijax.bind(explain.explain, xaijax.bind(xaijax.saliency, f), num_samples=2)
    target = f(x).argmax()
    found = attacks.explanation_attack(
        explain, x, target, KEY, epsilon=0.1, gamma=0.0, num_steps=20
    )
    assert found.outputs_after.argmax() == found.outputs_before.argmax() == target
    assert found.kept > 0
    assert found.size <= 0.1 + 1e-6

    more = (jax.random.split(KEY)[1],) if explain.takes_key else ()
    np.testing.assert_allclose(found.after, explain(found.x, target, *more), rtol=1e-3, atol=1e-6)
    noisy = [attacks.random_noise(x, jax.random.key(i), epsilon=0.1) for i in range(5)]
    maps = [explain(moved, target, *more) for moved in noisy]
    assert found.moved > max(np.linalg.norm(unit(h) - unit(found.before)) for h in maps)


def test_the_penalty_keeps_the_outputs(forms):
    Q, x = forms
    f = Partial(lambda Q, x: jnp.einsum("kij,i,j->k", Q, x, x) / 2, jnp.asarray(Q, jnp.float32))
    explain = xaijax.bind(xaijax.saliency, f)
    changes, moves = [], []
    for gamma in (0.0, 10.0):
        found = attacks.explanation_attack(
            explain, jnp.asarray(x, jnp.float32), 0, KEY, epsilon=0.4, gamma=gamma, norm="l2"
        )
        changes.append(jnp.linalg.norm(found.outputs_after - found.outputs_before))
        moves.append(found.moved)
    assert 0 < changes[1] < 0.5 * changes[0]
    assert 0 < moves[1] < moves[0]


def test_where_no_step_keeps_the_prediction_the_input_is_returned():
    """Both classes are as good at 0.5, where the input is; a step of any size changes the class: the best two tie."""
    f = Partial(lambda w, x: jnp.stack([w - (x**2).sum(), (x**2).sum() - w]), jnp.float32(0.0))
    x = jnp.zeros(3)
    found = attacks.explanation_attack(
        xaijax.bind(xaijax.input_x_gradient, f), x, 0, KEY, epsilon=0.5, num_steps=5
    )
    assert found.kept == 0
    np.testing.assert_array_equal(found.x, x)
    assert found.size == 0


def test_maps_that_only_switch_are_refused():
    """The gradient of a network of ReLU is constant wherever nothing switches: its derivative would be all zeros."""
    w = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8)), jnp.float32)
    sharp = Partial(lambda w, x: jax.nn.relu(x @ w) @ w.T, w)
    smooth = Partial(lambda w, x: (jax.nn.softplus(8.0 * x @ w) / 8.0) @ w.T, w)
    with pytest.raises(ValueError, match=r"explanation_attack: explain must give a map .*softplus"):
        attacks.explanation_attack(xaijax.bind(xaijax.saliency, sharp), row(0), 1, KEY, epsilon=0.1)
    found = attacks.explanation_attack(
        xaijax.bind(xaijax.saliency, smooth), row(0), 1, KEY, epsilon=0.1, gamma=0.0
    )
    assert found.moved > 0.01


def test_wrong_goals_and_explainers_are_refused():
    explain = xaijax.bind(xaijax.saliency, mlp(FIRST))
    with pytest.raises(ValueError, match=r"goal must have the shape of the explanation, \(6,\)"):
        attacks.explanation_attack(explain, row(0), 1, KEY, epsilon=0.1, goal=jnp.ones(5))
    several = xaijax.bind(xaijax.grad_cam, cnn(FIRST), layer=("relu#1", "relu#2"))
    with pytest.raises(TypeError, match="explanation_attack: explain must give one array, got tup"):
        attacks.explanation_attack(several, image(0), 1, KEY, epsilon=0.1)
    with pytest.raises(TypeError, match="explanation_attack: explain must be an explainer with"):
        attacks.explanation_attack(xaijax.saliency, row(0), 1, KEY, epsilon=0.1)


def test_reached_from_the_package():
    assert xaijax.attacks.fgsm is attacks.fgsm
    assert xaijax.metrics.sparseness.kind.category == "complexity"
    assert {"attacks", "metrics"} <= set(dir(xaijax))
