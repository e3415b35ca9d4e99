"""Benchmarks: what is made of their rows, on made-up rows whose ratios are known."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from benchmarks import _figures, _numbers, _rows
from benchmarks._compare import compare
from benchmarks._report import report
from benchmarks.asv import suite
from benchmarks.asv.suite import explainers, metrics

RESNET, MLP = "ResNet-50, 224 x 224 (v1)", "MLP 64-64, breast cancer, 30 features (v1)"
MACHINE = {"device": "cpu", "cpu": "a CPU", "cores": 2, "xla_flags": ""}
QUIET = {"median": 1.003, "low": 0.998, "high": 1.008}


def noise(rounds=30, spread=0.01, seed=0):
    """Factors around 1, as different rounds have."""
    return np.exp(np.random.default_rng(seed).normal(0, spread, rounds))


def times(seconds, rounds=30, seed=0):
    return [float(f"{v:.6g}") for v in seconds * noise(rounds, seed=seed)]


def cost(method="grad_cam", overhead=1.05, **changes):
    """A row of one explainer; rounds are slow or fast for it and the bare model alike."""
    row = {
        "row": "cost", "method": method, "kind": "explainer", "workload": RESNET, "batch": 8,
        "evaluation": "forward", "evaluations": 1.0, "counted": True, "trace_seconds": 0.3,
        "lower_seconds": 0.1, "compile_seconds": 2.5, "first_seconds": 0.4, "rounds": 30,
        "bare_chunk": 8, "control": QUIET, "noisy": False, "temp_bytes": 3 * 2**20,
        "peak_bytes": 300 * 2**20, "quality": {"name": "completeness gap", "value": 1e-7},
        "bare": 0.03, **changes,
    }  # fmt: skip
    rounds, bare = row.pop("rounds"), row.pop("bare")
    evaluations = row["evaluations"] or 1
    seconds = bare * row["batch"] * evaluations * overhead
    row["seconds"], row["bare_seconds"] = times(seconds, rounds), times(bare, rounds)
    row["gemm"], row["conv"], row["stream"] = ((1 / noise(rounds)).tolist() for _ in range(3))
    return {**row, "flops": 0.4 * seconds, "bytes": 0.2 * seconds}


def peer(method="saliency", ratio=3.0, forwards=1.5, **changes):
    """A row of one peer: `ratio` times our time, on a model that takes `forwards` times ours."""
    rounds = changes.pop("rounds", 30)
    return {
        "row": "peer", "peer": "captum", "version": "0.9.0", "variant": "as it comes",
        "method": method, "workload": RESNET, "batch": 1, "ours": times(0.1, rounds),
        "theirs": times(0.1 * ratio, rounds, 1), "our_bare": times(0.08, rounds, 2),
        "their_bare": times(0.08 * forwards, rounds, 3), "control": QUIET, "noisy": False,
        "difference": 1e-6, "compared": "the maps", "deterministic": True, **changes,
    }  # fmt: skip


def curve(method="lime", axis="samples", exponent=1.0, values=(1, 4, 16, 64, 256, 1024), **changes):
    """Points along an axis: seconds grow as a power of the value."""
    common = {"row": "curve", "method": method, "workload": RESNET, "axis": axis}
    common |= {"control": QUIET, "noisy": False, **changes}
    return [{**common, "value": v, "seconds": times(0.01 * v**exponent, seed=v)} for v in values]


def error(method="kernel_shap", library="xaijax", seconds=0.01, wanted=0.01, error=0.008):
    return {
        "row": "error", "method": method, "library": library, "workload": MLP, "wanted": wanted,
        "coalitions": 512, "error": error, "reached": error <= wanted, "seconds": times(seconds),
    }  # fmt: skip


def measure(what="import xaijax", ratio=1.01):
    return {
        "row": "measure", "what": what, "seconds": times(0.2 * ratio), "base": "import jax",
        "base_seconds": times(0.2), "control": QUIET, "noisy": False,
    }  # fmt: skip


SKIPPED = {"row": "skipped", "what": "quantus", "why": "not installed: pip install quantus==0.6.0"}


def results(folder, name="explainers", rows=(), **header):
    """A file of results with these rows."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = {"xaijax": "0.1.0", "jax": "0.9.2"}
    provenance = {"packages": packages, "git_sha": "a" * 40, "backend": "cpu", "python": "3.11.7"}
    provenance |= {"device": "cpu", "platform": "Linux x86_64"}
    head = {"row": "header", "version": _rows.VERSION, "benchmark": name, "machine": MACHINE}
    head |= {"provenance": provenance, "load_average": [0.5, 0.4, 0.3], "rounds": 30, **header}
    lines = [json.dumps(row) + "\n" for row in (head, *rows)]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(lines), "utf-8")
    return path


EVERYTHING = {
    "explainers": [
        cost("grad_cam", 1.05),
        cost("saliency", 1.3, evaluation="gradient"),
        cost("lime", 1.2, batch=1, evaluations=128.0, noisy=True),
        cost("kernel_shap", 1.4, workload=MLP, batch=64, evaluations=2108.0),
    ],
    "metrics": [cost("complexity", kind="metric", evaluation="none", evaluations=0.0)],
    "peers": [peer("saliency"), peer("smooth_grad", 0.5, 0.4, variant="channels last"), SKIPPED],
    "scaling": [*curve("lime"), *curve("kernel_shap", exponent=0.01)],
    "error": [error(), error(library="shap", seconds=0.1, error=0.02)],
    "startup": [measure()],
}  # fmt: skip


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A folder with every kind of row, after its report."""
    folder = tmp_path_factory.mktemp("results") / "cpu"
    for name, rows in EVERYTHING.items():
        results(folder, name, rows)
    return folder, report(folder), (folder / "report.md").read_text("utf-8")


# What the rows say


@pytest.mark.parametrize("evaluation", ["forward", "gradient"])
@pytest.mark.parametrize(("batch", "evaluations"), [(1, 1.0), (8, 32.0)])
def test_overhead_is_the_time_over_the_evaluations_of_the_batch(
    tmp_path, evaluation, batch, evaluations
):
    row = cost(overhead=1.2, evaluation=evaluation, batch=batch, evaluations=evaluations, bare=0.03)
    results(tmp_path, rows=[row])
    (found,) = _numbers.lines(_numbers.costs(_numbers.load(tmp_path)))
    np.testing.assert_allclose([found.overhead, found.overhead_low, found.overhead_high], 1.2, 1e-4)
    seconds = 1.2 * 0.03 * batch * evaluations
    np.testing.assert_allclose(found.explanations_per_second, batch / seconds, 0.01)
    np.testing.assert_allclose(found.evaluations_per_second, evaluations * batch / seconds, 0.01)
    np.testing.assert_allclose([found.flops_of_peak, found.bytes_of_stream], [0.4, 0.2], 1e-4)
    assert found.peak == "conv"
    assert found.temp_mib == 3


@pytest.mark.parametrize(
    ("method", "evaluation", "workload", "batch", "limit"),
    [
        ("grad_cam", "forward", RESNET, 8, 1.10),
        ("grad_cam", "forward", RESNET, 1, None),
        ("score_cam", "forward", RESNET, 8, 1.10),
        ("layer_gradient", "forward", RESNET, 8, 1.10),
        ("lrp, epsilon", "gradient", RESNET, 8, 1.10),
        ("a new one", "gradient", RESNET, 8, 1.10),
        ("lime", "forward", RESNET, 1, 1.15),
        ("deletion_auc", "forward", RESNET, 1, 1.15),
        ("lime, quartiles", "forward", MLP, 64, 1.5),
        ("complexity", "none", RESNET, 8, None),
    ],
)
def test_limits_are_those_that_were_promised(method, evaluation, workload, batch, limit):
    row = {"method": method, "evaluation": evaluation, "workload": workload, "batch": batch}
    assert _numbers.limit(row) == limit


def test_a_peer_is_split_into_models_and_overheads(tmp_path):
    results(tmp_path, rows=[peer(ratio=3.0, forwards=1.5), peer(ratio=0.5), peer(ratio=1.0)])
    found = _numbers.peers(_numbers.load(tmp_path))
    np.testing.assert_allclose(found.ratio, [3, 0.5, 1], 0.02)
    np.testing.assert_allclose(found.forwards, 1.5, 0.02)
    np.testing.assert_allclose(found.overheads, found.ratio / 1.5, 0.02)
    assert list(found.faster[:2]) == ["xaijax", "the peer"]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_slopes(tmp_path, exponent):
    results(tmp_path, rows=curve(exponent=exponent))
    (found,) = _numbers.lines(_numbers.slopes(_numbers.curves(_numbers.load(tmp_path))))
    np.testing.assert_allclose(found.slope, exponent, atol=0.01)
    assert found.slope_low < found.slope < found.slope_high < found.slope_low + 0.05
    assert math.isnan(found.flat_to)


def test_a_slope_has_the_interval_of_its_regression():
    values = np.array([1, 2, 4, 8, 16])
    noise = np.array([0.1, -0.1, 0.05, 0, -0.05])
    found = _numbers.slope(values, np.exp(np.log(values) + noise))
    x = np.log(values) - np.log(values).mean()
    error = np.sqrt(np.sum((noise - noise.mean() - x * (found.slope - 1)) ** 2) / 3 / np.sum(x**2))
    np.testing.assert_allclose(found.high - found.slope, 3.182 * error, 1e-3)  # t with 3 degrees


def test_a_curve_is_flat_up_to_where_it_grows():
    values = [1, 2, 4, 8, 16, 32]
    assert _numbers.slope(values, [1, 1.02, 1.05, 2, 4, 8]).flat == 4
    assert _numbers.slope(values, [1, 1.5, 1.05, 2, 4, 8]).flat is None
    assert _numbers.slope(values, [1] * 6).flat == 32
    assert math.isnan(_numbers.slope([1, 2], [1, 2]).low)
    assert math.isnan(_numbers.slope([1], [1]).slope)


# The report


def test_a_report_begins_with_what_limits_it(reported):
    _, _, text = reported
    head = text[: text.index("## Exceptions")]
    for part in ("a CPU, 2 cores", "jax 0.9.2", "aaaaaaaaaa", "0.5 0.4 0.3", "Python 3.11.7"):
        assert part in head
    assert "control 1.003 [0.998, 1.008] |" in head  # of one row
    assert "control 1.003, 1.003 to 1.003 over 4 rows, 1 of them NOISY" in head


def test_a_report_names_its_exceptions(reported):
    _, _, text = reported
    start = text.index("## Exceptions")
    exceptions = text[start : text.index("\n## ", start + 1)]
    assert "Over their limit (2):" in exceptions
    assert f"- saliency on {RESNET}, batch 8: 1.300 [1.300, 1.300], limit 1.10" in exceptions
    assert f"- lime on {RESNET}, batch 1: 1.200 [1.200, 1.200], limit 1.15, NOISY" in exceptions
    assert "A peer is faster (1):" in exceptions
    assert "smooth_grad: captum (channels last) takes 0.50" in exceptions
    assert "its bare model 0.40, its overhead 1.25 of ours" in exceptions
    assert "- quantus: not installed: pip install quantus==0.6.0" in exceptions


def test_a_report_has_every_number_and_bold_ones(reported):
    _, _, text = reported
    for part in (
        "| **1.300 [1.300, 1.300]** ",
        "| 1.400 [1.400, 1.400] ",  # of a table: its limit is 1.5
        "128 forwards",
        "completeness gap 1.0e-07",
        "40.0 % of conv",
        "40.0 % of GEMM",
        "20.0 %",
        "| 1.00 [1.00, 1.00] ",
        "**no**",
        "import jax",
    ):
        assert part in text, part


def test_a_report_writes_tables_and_figures(reported):
    folder, written, text = reported
    names = {str(path.relative_to(folder)) for path in written}
    for table in ("explainers-speed", "metrics-hardware", "peers", "scaling", "errors", "measures"):
        assert {f"tables/{table}{end}" for end in (".md", ".csv", ".tex")} <= names
    for figure in ("overhead-explainers", "throughput-metrics", "peers", "scaling", "errors"):
        assert {f"figures/{figure}{end}" for end in (".png", ".pdf")} <= names
        assert f"](figures/{figure}.png)" in text
    assert "figures/overhead-metrics.png" not in names  # it has no bound
    assert all(path.stat().st_size for path in written)


def test_latex_is_booktabs_and_csv_is_numbers(reported):
    folder, _, _ = reported
    latex = (folder / "tables/explainers-speed.tex").read_text("utf-8")
    assert r"\toprule" in latex
    assert r"\textbf{1.300 [1.300, 1.300]}" in latex
    assert r"grad\_cam" in latex
    table = pd.read_csv(folder / "tables/explainers-speed.csv")
    np.testing.assert_allclose(table.overhead, [1.05, 1.3, 1.2, 1.4], 1e-4)


def test_the_same_rows_give_the_same_files(reported):
    folder, written, _ = reported
    before = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in report(folder)} == before


def test_a_report_says_what_there_is_of_a_gpu(tmp_path, reported):
    assert "Nothing was measured on a GPU" in reported[2]
    results(tmp_path / "cpu", rows=[SKIPPED])
    machine = {**MACHINE, "device": "NVIDIA H200"}
    gpu = results(tmp_path / "nvidia-h200", rows=[cost()], machine=machine)
    text = gpu.read_text("utf-8").replace('"backend": "cpu"', '"backend": "gpu"')
    gpu.write_text(text, "utf-8")
    report(tmp_path / "cpu")
    assert "[nvidia-h200](../nvidia-h200/report.md)" in (tmp_path / "cpu/report.md").read_text()
    report(gpu.parent)
    assert "measured on a GPU, NVIDIA H200" in (gpu.parent / "report.md").read_text()


def test_notes_are_part_of_the_report(tmp_path):
    results(tmp_path, rows=[SKIPPED])
    (tmp_path / "notes.md").write_text("Because of the sort.\n", "utf-8")
    report(tmp_path)
    assert "\nBecause of the sort.\n" in (tmp_path / "report.md").read_text("utf-8")


def test_a_run_that_was_stopped_before_its_first_row_is_reported(tmp_path):
    results(tmp_path)
    assert [path.name for path in report(tmp_path)] == ["report.md"]
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "no control" in text
    assert "No peer was measured." in text  # not: none is faster


def test_fifty_methods_have_names_that_can_be_read():
    rows = [
        cost(f"explainer_{i}", 1.0 + 0.01 * i, workload=workload)
        for i in range(50)
        for workload in (RESNET, "EfficientNet-Lite0, 224 x 224 (v1)", MLP)
    ]
    table = _numbers.costs([_numbers.Run("explainers", {}, rows)])
    figure = _figures.overhead(table)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert not overlaps([label.get_window_extent() for label in axes.get_xticklabels()])
    names = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(names) == 50
    assert not overlaps(names)
    assert all(name.x0 >= 0 for name in names)


def overlaps(boxes):
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


# Comparison


def compared(tmp_path, before, after, force=False, **header):
    results(tmp_path / "a", rows=before)
    results(tmp_path / "b", rows=after, **header)
    return compare(tmp_path / "a", tmp_path / "b", force=force)


@pytest.mark.parametrize(
    ("overhead", "verdict"), [(1.05, "same"), (1.0, "same"), (1.3, "slower"), (0.8, "faster")]
)
def test_only_what_is_wholly_outside_the_bound_has_changed(tmp_path, overhead, verdict):
    found = compared(tmp_path, [cost(overhead=1.0)], [cost(overhead=overhead, bare=0.05)])
    (row,) = _numbers.lines(found.table)
    np.testing.assert_allclose([row.ratio, row.low, row.high], overhead, 1e-3)
    assert (row.of, row.verdict) == ("overhead", verdict)
    assert f"1 {verdict}" in found.text
    assert str(found) == found.text


def test_an_interval_over_the_bound_is_no_change(tmp_path):
    before, after = cost(overhead=1.0), cost(overhead=1.12)
    after["seconds"] = (np.array(after["seconds"]) * noise(30, 0.2, 5)).tolist()
    (row,) = _numbers.lines(compared(tmp_path, [before], [after]).table)
    assert row.low < 1.1 < row.high
    assert row.verdict == "same"


def test_peers_and_measures_are_compared_by_their_ratios(tmp_path):
    before = [peer(ratio=4.0), measure(ratio=1.0), *curve(values=[4]), error()]
    after = [peer(ratio=2.0), measure(ratio=1.5), *curve(values=[4]), error()]
    table = compared(tmp_path, before, after).table
    assert list(table.of) == ["ours / peer", "over its base", "seconds", "seconds"]
    assert list(table.verdict) == ["slower", "slower", "same", "same"]


def test_workloads_of_two_versions_are_never_compared(tmp_path):
    after = [cost(workload=RESNET.replace("v1", "v2")), cost("rise")]
    found = compared(tmp_path, [cost(), cost("lime")], after)
    assert found.table.empty
    assert "Not comparable: explainers: grad_cam" in found.text
    assert "versions 1 and 2" in found.text
    assert "Only in a: explainers: lime" in found.text
    assert "Only in b: explainers: rise" in found.text


def test_two_machines_are_refused(tmp_path):
    machine = {**MACHINE, "cpu": "another CPU"}
    with pytest.raises(ValueError, match=r"cpu: 'a CPU' and 'another CPU'.*--force"):
        compared(tmp_path, [cost()], [cost()], machine=machine)
    found = compared(tmp_path, [cost()], [cost()], force=True, machine=machine)
    assert "Two machines: cpu: 'a CPU' and 'another CPU'." in found.text
    assert len(found.table) == 1


def test_noise_and_other_evaluations_are_marked(tmp_path):
    found = compared(tmp_path, [cost(noisy=True)], [cost(evaluations=2.0)])
    assert bool(found.table.noisy[0])
    assert "NOISY, evaluations 1 -> 2" in found.text


# Bad input


def test_a_torn_last_line_is_left_out(tmp_path):
    path = results(tmp_path, rows=[cost(), cost("lime")])
    path.write_text(path.read_text("utf-8")[:-100], "utf-8")
    report(tmp_path)
    assert "lime" not in (tmp_path / "report.md").read_text("utf-8")
    assert len(compare(tmp_path, tmp_path).table) == 1


@pytest.mark.parametrize("use", [report, lambda folder: compare(folder, folder)])
def test_bad_results_are_refused(tmp_path, use):
    with pytest.raises(ValueError, match=r"must hold results, got no \*\.jsonl; run one first"):
        use(tmp_path)
    path = results(tmp_path, version=_rows.VERSION + 1)
    with pytest.raises(ValueError, match=r"must be a result of version 1, got 2; run it again"):
        use(tmp_path)
    path.write_text("no JSON\n", "utf-8")
    with pytest.raises(ValueError, match=r"line 1, must be JSON"):
        use(tmp_path)


def test_a_row_without_what_it_needs_is_named(tmp_path):
    row = cost()
    del row["seconds"]
    results(tmp_path, rows=[SKIPPED, row])
    with pytest.raises(ValueError, match=r"line 3 of 'explainers.jsonl'.*must have 'seconds'"):
        report(tmp_path)


def test_too_few_rounds_have_no_interval(tmp_path):
    rows = [cost(overhead=1.3, rounds=3), peer(ratio=3.0, rounds=3)]
    results(tmp_path, rows=rows)
    report(tmp_path)
    text = (tmp_path / "report.md").read_text("utf-8")
    assert "**1.300** (n=3)" in text
    assert "too few rounds" in text
    table = compare(tmp_path, tmp_path).table
    assert set(table.verdict) == {"too few rounds"}
    assert table.low.isna().all()


# airspeed velocity


class Case(NamedTuple):
    """What the classes ask of a case."""

    method: str
    workload: SimpleNamespace
    program: Any
    arguments: tuple
    batch: int = 8


def square(method="square"):
    workload = SimpleNamespace(name="numbers (v3)")
    return Case(method, workload, jax.jit(lambda x: x @ x), (jnp.ones((8, 8)),))


class MissingError(Exception):
    """Something is not installed."""


def missing():
    raise MissingError


def test_asv_classes_take_their_cases_from_the_groups():
    groups = {"of_numbers: all": lambda: [square(), square("another")], "gone": missing}
    classes = suite.classes(lambda: groups, MissingError)
    assert list(classes) == ["OfNumbersAll", "Gone"]
    kind = classes["OfNumbersAll"]
    assert kind.params == [["square", "another"]]
    assert kind.param_names == ("method",)
    assert kind.version == "numbers (v3), batch 8"  # of another workload, another version
    instance = kind()
    instance.setup("square")
    instance.time_call("square")
    assert instance.track_flops("square") > 0
    assert instance.track_temporary_bytes("square") >= 0
    assert (kind.track_flops.unit, kind.track_temporary_bytes.unit) == ("flops", "bytes")


def test_asv_skips_what_is_not_installed():
    kind = suite.classes(lambda: {"gone": missing}, MissingError)["Gone"]
    assert (kind.params, kind.version) == ([["not installed"]], "not installed")
    with pytest.raises(NotImplementedError):  # asv's word for it
        kind().setup("not installed")


def test_asv_finds_its_classes_where_its_file_says():
    folder = Path(suite.__file__).parent
    settings = json.loads((folder.parent / "asv.conf.json").read_text("utf-8"))
    assert (folder.parent / settings["benchmark_dir"]).samefile(folder)
    assert (folder.parent / settings["repo"] / "pyproject.toml").exists()


def test_asv_runs_an_explainer():
    kind = explainers.BreastCancer
    (methods,) = kind.params
    assert "kernel_shap" in methods
    assert "breast cancer, 30 features" in kind.version
    assert "(v" in kind.version
    instance = kind()
    instance.setup("integrated_gradients")
    instance.time_call("integrated_gradients")
    assert instance.track_flops("integrated_gradients") > 0
    assert {"Resnet50Maps", "EfficientnetLite0Sampling", "Minilm"} <= vars(explainers).keys()
    assert "Removal" in vars(metrics)
