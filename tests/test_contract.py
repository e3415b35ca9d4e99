"""What every public explainer promises, whatever its method: see `cases.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import CASES, FIRST, SECOND, cnn, image


def parametrize(cases, wanted):
    """The cases that are wanted. Those of a method run in one process, where they share programs: see `conftest.py`."""
    rows = [pytest.param(case, id=name) for name, case in cases.items() if wanted(case)]
    return pytest.mark.parametrize("case", rows)


def each(wanted=lambda case: True):
    return parametrize(CASES, wanted)


each_random = each(lambda case: case.random)
each_chunked = each(lambda case: "batch_size" in case.explain.static)
each_aimed = each(lambda case: not case.agnostic)
each_smooth = each(lambda case: case.smooth)


def arrays(result):
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(result)]


def attribution(result):
    """The map or the values: the array itself, or the first field of a result with diagnostics."""
    return jax.tree.leaves(result)[0]


def assert_same(result, expected, rtol=1e-5):
    """Equal up to rounding, which is measured by the largest value of each array."""
    for a, b in zip(arrays(result), arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max())


def test_every_explainer_has_a_case():
    public = {name for name in xaijax.__all__ if hasattr(getattr(xaijax, name), "taxonomy")}
    missing = public - {case.explain.__name__ for case in CASES.values()}
    assert not missing, (
        f"no contract for {', '.join(sorted(missing))}: add a row to CASES in tests/cases.py, an "
        "oracle in tests/oracles, a test file of the method and its entry in references.bib"
    )


# --- jit and vmap


# They give what another explainer does, without its diagnostics.
WITHOUT_DIAGNOSTICS = (
    xaijax.banzhaf,
    xaijax.kernel_shap,
    xaijax.lime,
    xaijax.owen,
    xaijax.permutation_shap,
    xaijax.sampling_shap,
)


@pytest.mark.slow  # it runs under the newer JAX: see .ci/run
@each(lambda case: case.explain not in WITHOUT_DIAGNOSTICS)
def test_operation_by_operation_as_compiled(case, x64):
    dtype = jnp.float64
    f, x = case.wrap(case.model(FIRST, dtype)), case.x(0, dtype)
    arguments = (f, x, jnp.int32(1), *case.keys())
    settings = case.settings(dtype)
    explain = getattr(case.explain, "maps", case.explain)
    expected = explain.__wrapped__(*arguments, **settings)
    assert_same(explain(*arguments, **settings), expected, rtol=1e-10)


def test_jit_of_an_explainer_is_lowered_as_any_function():
    """JAX's wrappers take over the attributes of what they wrap."""
    many = jax.jit(jax.vmap(xaijax.grad_cam, (None, 0, 0)))
    xs = jnp.stack([image(0), image(1), image(2)])
    program = many.lower(cnn(FIRST), xs, jnp.array([0, 1, 2]))
    assert jax.tree.leaves(program.out_info)[0].shape == (3, 8, 8)


def test_jit_does_not_remember_the_weights():
    """Which are constants of the program; as an argument of it every bound explainer is tried below."""
    x = image(0)
    for seed in (FIRST, SECOND):
        explain = xaijax.bind(xaijax.grad_cam, cnn(seed))
        assert_same(jax.jit(explain)(x, 1), explain(x, 1))


@each()
def test_bound_explainer_as_argument_of_jit(case):
    x = case.x(0)
    apply = jax.jit(lambda explain, x, *key: explain(x, 1, *key))
    for seed in (FIRST, SECOND):
        explain = case.bind(case.model(seed))
        assert_same(apply(explain, x, *case.keys()), explain(x, 1, *case.keys()))


@each()
def test_vmap_as_loop(case):
    """Also beside a target out of range, which gives NaN for itself alone."""
    explain = case.bind(case.model(FIRST))
    xs = jnp.stack([case.x(seed) for seed in range(3)])
    targets = jnp.array([2, 4, 3])
    keys = (jax.random.split(jax.random.key(1), 3),) if case.random else ()
    mapped = jax.vmap(explain)(xs, targets, *keys)
    for i in (0, 2):
        alone = explain(xs[i], targets[i], *(k[i] for k in keys))
        assert_same(jax.tree.map(lambda leaf, i=i: leaf[i], mapped), alone)
    assert case.agnostic or np.isnan(attribution(mapped)[1]).all()


# --- Compiled programs


@each()
def test_one_program_serves_all_targets_weights_keys_and_numbers(case, count_compiles):
    settings = {**case.settings(jnp.float32), **case.fresh}
    models = [case.wrap(case.model(FIRST)), case.wrap(case.model(SECOND))]
    # Without a setting of its own, a size that no other test uses.
    size = {} if case.fresh else {"size": 9}
    xs = [case.x(0, **size), case.x(1, **size)]
    targets = [0, 3, np.int64(1), np.int8(2), jnp.int32(1), jnp.uint8(2), np.array(3)]
    keys = [case.keys(0), case.keys(1)]
    # `tolerance` is part of the program's structure: given here from the start.
    numbers = [{}, *({k: v} for k, v in case.knobs.items())]
    numbers += [{k: np.float64(v)} for k, v in case.knobs.items()]
    with count_compiles() as compiled:
        for f in models:
            for x in xs:
                case.explain(f, x, 0, *keys[0], **settings)
        for target in targets:
            case.explain(models[0], xs[0], target, *keys[0], **settings)
        for key in keys:
            case.explain(models[0], xs[0], 0, *key, **settings)
        for number in numbers:
            case.explain(models[0], xs[0], 0, *keys[0], **{**settings, **number})
    assert compiled.count(case.explain.__name__) == 1


@each(lambda case: case.knobs)
def test_whole_number_as_a_knob_costs_no_compile(case, count_compiles):
    f, x, settings = case.wrap(case.model(FIRST)), case.x(0), case.settings(jnp.float32)
    fractions = {k for k, within in case.explain.numbers.items() if within == "fraction"}
    for knob in case.knobs.keys() - fractions:
        case.explain(f, x, 0, *case.keys(), **{**settings, knob: 1.0})
        with count_compiles() as compiled:
            case.explain(f, x, 0, *case.keys(), **{**settings, knob: 1})
        assert compiled.count(case.explain.__name__) == 0


@each_chunked
def test_chunks_change_nothing(case):
    f, x = case.model(FIRST), case.x(0)
    results = [case.bind(f, batch_size=n)(x, 1, *case.keys()) for n in (None, 7)]
    if hasattr(results[0], "converged"):  # walks are scored by whole blocks: the work may differ
        results = [result._replace(num_evaluations=0) for result in results]
    for result in results[1:]:
        assert_same(result, results[0])


# --- Precision, randomness


# An account of relevance is kept in single precision at least.
@each(lambda case: case.explain is not xaijax.lrp_audit)
def test_float32_and_bfloat16_are_kept(case):
    """And what bfloat16 gives is near what float32 gives."""
    expected = _in_dtype(case, jnp.float32)
    found = _in_dtype(case, jnp.bfloat16)
    if case.switches:
        return
    # Eight bits of mantissa: of the attribution, and of the scores that it is a difference of.
    size = np.abs(expected).max() + np.abs(case.model(FIRST)(case.x(0))).max()
    np.testing.assert_allclose(found, expected, atol=0.02 * size)


@each()
def test_float64_is_kept(case, x64):
    """That the arithmetic is, too, is what the oracles and the derivatives show."""
    assert np.isfinite(_in_dtype(case, jnp.float64)).all()


def _in_dtype(case, dtype):
    result = case.bind(case.model(FIRST, dtype), dtype)(case.x(0, dtype), 1, *case.keys())
    floats = [a for a in jax.tree.leaves(result) if jnp.issubdtype(a.dtype, jnp.floating)]
    assert {a.dtype for a in floats} == {jnp.dtype(dtype)}
    return np.asarray(attribution(result), np.float64)


@each_random
def test_key_decides_the_result(case):
    explain, x = case.bind(case.model(FIRST)), case.x(0)
    first, again, other = (attribution(explain(x, 1, *case.keys(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.abs(first - other) > 1e-4 * np.abs(first).max()).any()


# --- Targets


@each_aimed
def test_index_and_function_that_reads_the_output(case):
    explain, x = case.bind(case.model(FIRST)), case.x(0)
    expected = explain(x, 2, *case.keys())
    if case.explain is not xaijax.finer_cam:  # which compares classes, and refuses functions
        assert_same(explain(x, lambda outputs: outputs[2], *case.keys()), expected)
    other = attribution(explain(x, 1, *case.keys()))
    assert not np.allclose(other, attribution(expected), rtol=1e-3, atol=0)


@each_aimed
def test_checked(case):
    """Targets out of range, and a model that answers NaN."""
    f, x = case.model(FIRST), case.x(0)
    # The structure of a tree is arrays of integers.
    broken = jax.tree.map(lambda w: w * jnp.nan if jnp.issubdtype(w.dtype, jnp.floating) else w, f)
    at = xaijax.checked(lambda f, target: case.bind(f)(x, target, *case.keys()))
    for target in (4, -1):
        with pytest.raises(ValueError, match=rf"target must be in \[0, 4\), got {target}\."):
            at(f, jnp.int32(target))
    with pytest.raises(ValueError, match=r"f must give finite scores, got nan\."):
        at(broken, jnp.int32(1))
    assert_same(at(f, jnp.int32(1)), case.bind(f)(x, 1, *case.keys()))


# JAX cannot check a batched `while` loop, as `checked` says.
@each(lambda case: "tolerance" not in case.knobs and not case.agnostic)
def test_checked_under_vmap(case):
    explain, x = case.bind(case.model(FIRST)), case.x(0)
    many = xaijax.checked(jax.vmap(lambda target: explain(x, target, *case.keys())))
    with pytest.raises(ValueError, match=r"target must be in \[0, 4\), got -1\."):
        many(jnp.array([0, -1]))


# --- Derivatives


@each_smooth
def test_derivative_equals_finite_differences(case, x64):
    dtype = jnp.float64
    point = (case.model(FIRST, dtype), case.x(0, dtype))
    weights = jnp.array([0.5, -1.0, 2.0, 0.0], dtype)
    target, keys = 2 if case.one_class else weights, case.keys()

    # Not the plain sum: that of Shapley values knows only two coalitions.
    shape = attribution(case.bind(point[0], dtype)(point[1], target, *keys)).shape
    mix = np.random.default_rng(1).normal(size=shape)

    @jax.jit
    def total(point):
        f, x = point
        return (mix * attribution(case.bind(f, dtype)(x, target, *keys))).sum()

    gradient = jax.grad(total)(point)
    # Short, so that no rectifier switches on the way.
    rng, step = np.random.default_rng(2), 1e-7
    for part in (0, 1):  # along the weights, along the input
        along = list(jax.tree.map(np.zeros_like, point))
        along[part] = jax.tree.map(lambda a: rng.normal(size=a.shape), point[part])
        ahead, back = (
            total(jax.tree.map(lambda a, d, s=s: a + s * step * d, point, tuple(along)))
            for s in (1, -1)
        )
        products = jax.tree.map(lambda g, d: (g * d).sum(), gradient, tuple(along))
        derivative = sum(jax.tree.leaves(products))
        assert derivative != 0
        np.testing.assert_allclose(derivative, (ahead - back) / (2 * step), rtol=1e-6)
