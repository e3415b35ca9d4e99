"""Benchmarks: what is measured, how times become ratios, and runs that end badly."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import xaijax
from benchmarks import __main__ as command
from benchmarks import _cost, _quick, _rows, _timing, explainers
from benchmarks import metrics as judges
from benchmarks.workloads import MissingError, Workload
from xaijax import metrics

# Their cost is no model's: a linear model's weights are known; an attention map is computed by the model's own forward
# pass, if it has one, which the networks here have not.
WITHOUT_EVALUATIONS = {"attention_map", "linear_shap"}
# Measured among others, under the name of the case.
NAMED_APART = {"lrp": "lrp, epsilon_plus", "lime": "lime"}
# Their programs hold all layers with weights drawn anew: minutes of compilation on a network of this size.
TOO_LARGE = {"model_parameter_randomisation"}


def test_every_explainer_is_measured():
    made = [explainers.maps, explainers.gradients]
    found = {case.method for make in made for case in make("efficientnet_lite0")}
    for make in (
        explainers.paths,
        explainers.sampling,
        explainers.many_forwards,
        explainers.all_coalitions,
        explainers.trees,
    ):
        found |= {case.method for case in make()}
    wanted = {NAMED_APART.get(name, name) for name in xaijax.explainers()}
    assert wanted - found == WITHOUT_EVALUATIONS


def test_every_metric_is_measured():
    found = {case.method for make in judges.groups().values() for case in make()}
    known = {name for name in metrics.__all__ if hasattr(getattr(metrics, name), "details")}
    assert known - found == TOO_LARGE


def test_times_become_ratios_within_a_round():
    base = [1.0, 2.0, 4.0, 8.0, 3.0, 5.0]
    found = _timing.ratio([3 * t for t in base], base)
    assert found == (3.0, 3.0, 3.0)
    assert not _timing.Rounds({}, _timing.Ratio(1.04, 1.0, 1.1)).trust()["noisy"]
    assert _timing.Rounds({}, _timing.Ratio(0.94, 0.9, 1.1)).trust()["noisy"]


def test_rounds_run_all_in_another_order_and_the_control_twice():
    ran = []

    def timer(name):
        return lambda: ran.append(name) or 1.0

    seconds, _ = _timing.interleave({"a": timer("a"), "b": timer("b")}, 20, control="a")
    assert {name: len(s) for name, s in seconds.items()} == {"a": 20, "b": 20, "control": 20}
    rounds = [tuple(ran[i : i + 3]) for i in range(0, len(ran), 3)]
    assert all(sorted(r) == ["a", "a", "b"] for r in rounds)
    assert len(set(rounds)) > 1


def _linear() -> Workload:
    f = jax.tree_util.Partial(lambda w, x: x @ w, jnp.arange(12.0).reshape(6, 2))
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    return Workload("linear (v1)", f, xs, 1, xaijax.columns(xs[1:]))


def _case(**changes) -> _cost.Case:
    def run(f, x, target, key):
        return xaijax.lime(f, x, target, key, mask=_linear().mask, num_samples=20)

    settings = {"method": "lime", "kind": "explainer", "workload": _linear(), "run": run}
    return _cost.Case(**{**settings, **changes})


def test_the_model_counts_its_evaluations():
    # Three rows of background for each of 20 samples; a gradient for each of 5 steps.
    assert _cost.count(_case()) == 60

    def path(f, x, target, key):
        return xaijax.integrated_gradients(f, x, target, num_steps=5, batch_size=1)

    assert _cost.count(_case(run=path, batch=4)) == 5


def test_a_row_says_what_the_bound_is(tmp_path, monkeypatch):
    monkeypatch.setattr(
        _cost._peaks, "timers", lambda: dict.fromkeys(("gemm", "conv", "stream"), lambda: 1.0)
    )
    writer = _rows.Writer(tmp_path, "explainers", rounds=6)
    _cost.measure([_case(batch=2)], writer, rounds=6, peaks=lambda: {"lime": 7})
    header, row = _rows.read(writer.path)
    assert header["rounds"] == 6
    assert (row["evaluations"], row["batch"], row["peak_bytes"]) == (60, 2, 7)
    # A product of 6 x 2 weights is 24 operations, and one of the two is taken: 60 times for each of two rows.
    assert 24 * 60 * 2 <= row["flops"] < 30 * 60 * 2
    assert len(row["seconds"]) == len(row["bare_seconds"]) == 6


@pytest.mark.parametrize("memory", [True, False])
def test_peak_memory_can_be_left_out(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(
        _cost, "measure", lambda cases, writer, rounds, peaks: asked.append(peaks())
    )
    monkeypatch.setattr(_cost._memory, "peaks", lambda benchmark, group: {group: 1})
    asked: list[dict[str, int]] = []
    writer = _rows.Writer(tmp_path, "explainers")
    groups = {"a": lambda: [_case()], "b": lambda: [_case()]}
    _cost.measure_groups("explainers", groups, writer, rounds=6, only="b", memory=memory)
    assert asked == ([{"b": 1}] if memory else [{}])


def test_what_is_not_installed_is_skipped(tmp_path):
    def missing():
        raise MissingError("not installed: pip install this")

    writer = _rows.Writer(tmp_path, "explainers")
    _cost.measure_groups("explainers", {"words": missing}, writer, rounds=6, only="")
    assert _rows.read(writer.path)[1] == {
        "row": "skipped",
        "what": "words",
        "why": "not installed: pip install this",
    }


def test_a_torn_last_line_is_left_out(tmp_path):
    writer = _rows.Writer(tmp_path, "x")
    writer.add("curve", value=1)
    with open(writer.path, "a") as file:
        file.write('{"row": "cur')
    assert [row["row"] for row in _rows.read(writer.path)] == ["header", "curve"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "version 1, got an empty file"),
        ('{"row": "header", "version": 0}\n', "version 1, got 0"),
        ('{"row": "header", "version": 1}\nno\n', "line 2, must be JSON"),
    ],
)
def test_files_that_are_no_results(tmp_path, text, said):
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        _rows.read(path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "explainer"], "NAME must be of startup, explainers"),
        (["run", "--rounds", "5"], "--rounds must be at least 6"),
        (["run", "--device", "tpu"], "invalid choice"),
        ([], "COMMAND"),
    ],
)
def test_arguments_that_are_wrong(arguments, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def _benchmark(monkeypatch, error):
    def run(writer, *, rounds):
        writer.add("measure", what="first")
        raise error

    monkeypatch.setattr("benchmarks.startup.run", run)
    monkeypatch.setattr(command, "_choose", lambda device: None)


def test_an_interrupted_run_keeps_its_rows(tmp_path, monkeypatch, capsys):
    _benchmark(monkeypatch, KeyboardInterrupt())
    assert command.main(["run", "startup", "--out", str(tmp_path)]) == 130
    assert str(tmp_path) in capsys.readouterr().err
    assert [row["row"] for row in _rows.read(tmp_path / "startup.jsonl")] == ["header", "measure"]


def test_a_full_disk_is_an_error_line(tmp_path, monkeypatch, capsys):
    _benchmark(monkeypatch, OSError(28, "No space left on device", "startup.jsonl"))
    assert command.main(["run", "startup", "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: [Errno 28] No space left on device")


def test_list_names_every_benchmark(capsys):
    assert command.main(["list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == list(command.NAMES)


def test_the_check_names_what_changed(tmp_path, monkeypatch):
    case = _case()
    name = "lime, linear (v1), batch 1"
    monkeypatch.setattr(_quick, "cases", lambda: [case])
    monkeypatch.setattr(_quick, "EXPECTED", tmp_path / "expected.json")
    monkeypatch.setattr(_quick, "LIMIT", 1e9)
    _quick.update()
    assert list(_quick.check()) == []
    known = json.loads(_quick.EXPECTED.read_text())
    known[jax.__version__][name]["flops"] += 1
    _quick.EXPECTED.write_text(json.dumps(known))
    (line,) = _quick.check()
    assert line.startswith(f"{name}: expected")
    _quick.EXPECTED.write_text("{}")
    with pytest.raises(ValueError, match=r"install a version of constraints\.txt"):
        list(_quick.check())


def test_the_check_sees_a_second_compilation_and_a_slow_method(monkeypatch):
    def run(f, x, target, key):
        return xaijax.lime(f, x, target, key, mask=_linear().mask, num_samples=20)

    monkeypatch.setattr(_quick, "LIMIT", 0.0)
    (line,) = _quick._slowness(_case(run=run))
    assert "must be below 0.0" in line
    assert list(_quick._compilations(_case())) == []
