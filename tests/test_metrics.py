"""What every public metric promises, whatever its paper: see `metric_cases.py`."""

import inspect
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from tests.cases import SECOND
from tests.metric_cases import METRICS
from tests.test_contract import parametrize
from tests.test_signatures import SECTIONS, cited, sections
from xaijax import metrics
from xaijax.core._citation import bibliography

PUBLIC = {k: v for k in metrics.__all__ if hasattr(v := getattr(metrics, k), "kind")}
ORDER = ("f", "explain", "x", "target", "attribution", "other", "truth", "key")


def each(wanted=lambda case: True):
    return parametrize(METRICS, wanted)


each_public = pytest.mark.parametrize("metric", PUBLIC.values(), ids=PUBLIC.keys())


def judges(case):
    return "attribution" in case.needs


def test_every_metric_has_a_case():
    missing = set(PUBLIC) - {case.metric.__name__ for case in METRICS.values()}
    assert not missing, (
        f"no contract for {', '.join(sorted(missing))}: add a row to METRICS in tests/metric_cases.py, an oracle in "
        "tests/oracles, a test file of the metric and its entry in references.bib"
    )


# --- Signatures and documentation


@each_public
def test_signature(metric):
    parameters = inspect.signature(metric).parameters.values()
    first = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    rest = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert first == [name for name in ORDER if name in first]
    assert len(first) + len(rest) == len(parameters)  # no *args, no **kwargs
    assert {k for k, p in rest.items() if p.default is p.empty} == set()
    structure = [k for k in rest if k.startswith("num_") or k == "batch_size"]
    assert set(structure) <= set(metric.static)


@each_public
def test_docstring(metric):
    found = sections(metric.__doc__)
    missing = [name for name in SECTIONS if not found.get(name, "").strip()]
    assert not missing, f"{metric.__name__} has no section {', '.join(missing)}"
    described = re.findall(r"^  (\w+):", found["Args"], flags=re.MULTILINE)
    assert described == list(inspect.signature(metric).parameters)
    statics = re.findall(
        r"^  (\w+):(?:(?!^  \w).)*Static\.", found["Args"], re.MULTILINE | re.DOTALL
    )
    assert statics == list(metric.static)
    assert ">>>" in found["Examples"]
    assert "NaN" in metric.__doc__
    if metric.kind.better is not None:
        assert re.search(rf"\b{metric.kind.better}\b", found["Returns"], re.IGNORECASE)


@each_public
def test_kind_and_citation(metric):
    hints = typing.get_type_hints(metrics.Kind)
    assert metric.kind.category in typing.get_args(hints["category"])
    assert set(cited(metric.__doc__)) <= bibliography().keys()
    assert xaijax.citation(metric).count("\n@") == len(cited(metric.__doc__))


# --- jit and vmap


@each()
def test_one_number_and_the_details_it_is_read_from(case):
    arguments = case.arguments()
    number = case(arguments)
    assert number.shape == ()
    assert number.dtype == jnp.float32
    assert np.isfinite(number)
    if case.metric.details is not None:
        details = case.metric.details(*arguments.values(), **case.settings)
        np.testing.assert_allclose(getattr(details, case.metric.read), number, rtol=1e-6)


@pytest.mark.slow  # half of this file's time; each metric has an oracle of its own
@each()
def test_operation_by_operation_as_compiled(case, x64):
    arguments = case.arguments(dtype=jnp.float64)
    found = case.metric.__wrapped__(**arguments, **_all_settings(case))
    expected = getattr(found, case.metric.read) if case.metric.read else found
    assert expected.dtype == jnp.float64
    np.testing.assert_allclose(case(arguments), expected, rtol=1e-9)


def _all_settings(case):
    parameters = inspect.signature(case.metric).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {**defaults, **case.settings}


@each()
def test_no_number_depends_on_the_other_examples(case):
    """A vmap is a loop; also beside an attribution that is not finite, which is NaN for itself alone."""
    several = [case.arguments(seed) for seed in range(3)]
    alone = [case(arguments) for arguments in several]
    fixed = [name for name in ("f", "explain") if name in case.needs]
    if judges(case):
        several[1]["attribution"] = several[1]["attribution"].at[0].set(jnp.nan)
    axes = [None if name in fixed else 0 for name in case.needs]
    stacked = [
        several[0][name] if name in fixed else jnp.stack([a[name] for a in several])
        for name in case.needs
    ]
    mapped = jax.jit(jax.vmap(lambda *a: case.metric(*a, **case.settings), axes))(*stacked)
    for i in (0, 2):
        np.testing.assert_allclose(mapped[i], alone[i], rtol=2e-5, atol=1e-6)
    assert not judges(case) or np.isnan(mapped[1])


@each()
def test_one_program_serves_all_models_examples_keys_and_numbers(case, count_compiles):
    case(case.arguments())
    with count_compiles() as compiled:
        for seed in (1, 2):
            case(case.arguments(seed, model_seed=SECOND))
        for knob, value in case.knobs.items():
            case(case.arguments(), **{knob: value})
    assert compiled.count(case.metric.__name__) == 0


@each(lambda case: "batch_size" in case.metric.static)
def test_chunks_change_nothing(case):
    arguments = case.arguments()
    np.testing.assert_allclose(case(arguments, batch_size=3), case(arguments), rtol=1e-5)


@each(lambda case: "key" in case.needs)
def test_same_key_same_number(case):
    arguments = case.arguments()
    assert case(arguments) == case(arguments)


# --- What is judged


@each()
def test_half_precision_gives_single_at_least(case):
    arguments = case.arguments(dtype=jnp.bfloat16)
    assert jax.eval_shape(lambda: case(arguments)).dtype == jnp.float32
    if case.metric.kind.category in ("complexity", "localisation"):
        np.testing.assert_allclose(case(arguments), case(case.arguments()), rtol=0.05, atol=0.02)


@each(lambda case: judges(case) and case.scale is not None)
def test_scale_of_the_attribution(case):
    arguments = case.arguments()
    for factor in (1e-3, 1e4):
        scaled = {
            k: v * factor if k in ("attribution", "other") else v for k, v in arguments.items()
        }
        np.testing.assert_allclose(
            case(scaled), case(arguments) * factor**case.scale, rtol=1e-3, atol=1e-6
        )


@each(judges)
def test_bad_attributions_are_refused(case):
    arguments = case.arguments()
    name = case.metric.__name__
    for wrong, error, message in (
        (jnp.full((8, 8), jnp.nan), ValueError, "attribution must be finite, got 64 of 64 values"),
        (jnp.ones((8, 8), int), TypeError, "attribution must be one float array, got int32"),
        (None, TypeError, "attribution must be one float array, got NoneType"),
        (jnp.zeros((0,)), ValueError, r"attribution must have a value, got shape \(0,\)"),
    ):
        with pytest.raises(error, match=f"^{name}: {message}"):
            case({**arguments, "attribution": wrong})


@each(lambda case: judges(case) and "x" in case.needs)
def test_attribution_of_another_shape_is_refused(case):
    with pytest.raises(ValueError, match=r"attribution must have the shape .*got shape \(7, 5\)"):
        case({**case.arguments(), "attribution": jnp.ones((7, 5))})


@each(lambda case: "truth" in case.needs)
def test_bad_masks_are_refused_or_have_no_number(case):
    arguments = case.arguments()
    name = case.metric.__name__
    wrong = {**arguments, "truth": jnp.ones((4, 4), bool)}
    with pytest.raises(ValueError, match=rf"^{name}: truth must be a mask of .*\(8, 8\).*resize"):
        case(wrong)
    with pytest.raises(ValueError, match=rf"^{name}: truth must be .* got values such as 2"):
        case({**arguments, "truth": jnp.full((8, 8), 2)})
    assert np.isnan(case({**arguments, "truth": jnp.zeros((8, 8), bool)}))


@each(lambda case: "explain" in case.needs)
def test_what_is_no_bound_explainer_is_refused(case):
    with pytest.raises(TypeError, match=f"^{case.metric.__name__}: explain must be an explainer"):
        case({**case.arguments(), "explain": xaijax.saliency})


@each(lambda case: case.metric.numbers)
def test_numbers_out_of_range_are_refused(case):
    for knob, within in case.metric.numbers.items():
        wrong = {"positive": 0.0, "not_negative": -1.0, "fraction": 1.0}[within]
        with pytest.raises(ValueError, match=f"^{case.metric.__name__}: {knob} must"):
            case(case.arguments(), **{knob: wrong})
