"""Experiments: settings, run directories that survive, reproduction, the report."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import xaijax
from experiments import _config, _experiment, _report, _reproduce, _run, _tables
from experiments.__main__ import main as experiments_main
from experiments._experiment import Conclusion
from experiments._store import RunError, Store, encode, read_lines

ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Config:
    steps: int = 3
    rate: float = 0.5
    name: str = "a"
    kind: Literal["one", "two"] = "one"
    sizes: tuple[int, ...] = (1, 2)
    fast: bool = False


def toy(**changes):
    """An experiment of a few numbers."""
    module = types.ModuleType("toy", "Does it count?\n\nClaim: it does.")
    module.Config, module.SMOKE = Config, Config(steps=1)
    module.units = lambda config: [f"step {i}" for i in range(config.steps)]
    module.measure = lambda config, unit: [
        {"method": m, "value": config.rate * int(unit.split()[1]) + shift, "gone": float("nan")}
        for m, shift in (("up", 0.0), ("down", np.float32(0.1)))
    ]

    def conclude(config, table):
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot(table.value)
        mean = table.groupby("method", as_index=False, sort=False).value.mean()
        text = "A paragraph with <angle> brackets."
        return Conclusion(
            "supported", "By 1 & 2.", text, {"means": mean}, {"line": figure}, (xaijax.lime,)
        )

    module.conclude = conclude
    for key, value in changes.items():
        setattr(module, key, value)
    return module


@pytest.fixture
def known(monkeypatch):
    """The toy among the experiments."""
    module = toy()
    monkeypatch.setattr(_experiment, "load", lambda name: module)
    return module


# --- Settings


def test_settings_from_text_and_file(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text('steps = 7\nsizes = [3]\nkind = "two"\n')
    found = _config.changed(Config(), str(file), ["rate=2", "fast=true", "name=b", "steps=8"])
    assert found == Config(8, 2.0, "b", "two", (3,), True)
    assert type(found.rate) is float
    assert type(found.name) is str
    assert _config.changed(Config(), None, ["sizes=4,5", "kind=two"]) == Config(
        kind="two", sizes=(4, 5)
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("step=4", r"settings must have a known name, got 'step'\. Nearest: 'steps'"),
        ("steps=4.5", r"steps must be a whole number, got '4\.5'"),
        ("steps=true", r"steps must be a whole number"),
        ("rate=nan", r"rate must be a finite number"),
        ("rate=fast", r"rate must be a finite number, got 'fast'"),
        ("fast=1", r"fast must be true or false, got '1'"),
        ("kind=three", r"kind must be one of one, two, got 'three'"),
        ("sizes=1,x", r"sizes must be a whole number, got 'x'"),
        ("steps", r"settings must be key=value, got 'steps'"),
    ],
)
def test_bad_settings(override, message):
    with pytest.raises(ValueError, match=message):
        _config.changed(Config(), None, [override])


def test_bad_files(tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("steps = \n")
    with pytest.raises(ValueError, match="--config must be a TOML file of settings"):
        _config.changed(Config(), str(wrong), [])
    wrong.write_text('steps = "many"\n')
    with pytest.raises(ValueError, match="steps must be a whole number, got 'many'"):
        _config.changed(Config(), str(wrong), [])


def test_name_of_a_run_is_a_function_of_its_settings():
    first = _config.digest("toy", Config())
    assert first == _config.digest("toy", Config())
    others = {_config.digest("toy", Config(steps=4)), _config.digest("toys", Config())}
    assert len(others | {first}) == 3


def test_settings_come_back_from_a_record():
    config = Config(steps=5, sizes=(7, 8), rate=0.1)
    assert _config.from_settings(Config, _config.settings(config)) == config


# --- Runs


def test_run_writes_everything_and_a_second_one_measures_nothing(tmp_path):
    measured = []
    module = toy()
    measure = module.measure
    module.measure = lambda config, unit: measured.append(unit) or measure(config, unit)
    folder, found = _run.run(module, "toy", Config(), tmp_path)
    assert found.verdict == "supported"
    assert measured == ["step 0", "step 1", "step 2"]
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names >= {
        "config.json",
        "provenance.json",
        "results.jsonl",
        "events.jsonl",
        "conclusion.json",
        "refs.bib",
        "tables/means.md",
        "tables/means.csv",
        "tables/means.tex",
        "figures/line.pdf",
        "figures/line.png",
    }
    before = (folder / "results.jsonl").read_bytes()
    record = folder / "provenance.json"
    record.write_text('{"of": "another day"}')
    _run.run(module, "toy", Config(), tmp_path)
    assert len(measured) == 3
    assert (folder / "results.jsonl").read_bytes() == before
    assert json.loads(record.read_text()) == {"of": "another day"}
    rows = read_lines(folder / "results.jsonl")[1]["rows"]
    assert rows[0] == {"method": "up", "value": 0.5, "gone": None}
    assert "\\toprule" in (folder / "tables/means.tex").read_text()
    assert re.findall(r"^@\w+\{(\w+),", (folder / "refs.bib").read_text(), re.M) == [
        "xaijax2026",
        "ribeiro2016lime",
    ]


def test_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path):
    folder, _ = _run.run(toy(), "toy", Config(), tmp_path / "whole")
    expected = (folder / "results.jsonl").read_bytes()

    def measure(config, unit):
        if unit == "step 2":
            raise KeyboardInterrupt
        return toy().measure(config, unit)

    with pytest.raises(KeyboardInterrupt):
        _run.run(toy(measure=measure), "toy", Config(), tmp_path / "cut")
    path = _run.run_folder("toy", Config(), tmp_path / "cut") / "results.jsonl"
    # At any byte of a line that was being written.
    kept = path.read_bytes()
    for cut in (1, 7, 40):
        path.write_bytes(kept + expected[len(kept) : len(kept) + cut])
        _run.run(toy(), "toy", Config(), tmp_path / "cut")
        assert path.read_bytes() == expected


def test_units_of_several_threads_are_written_in_their_order(tmp_path):
    expected, _ = _run.run(toy(), "toy", Config(), tmp_path / "one")
    both, first_waits = threading.Barrier(2, timeout=30), threading.Event()

    def measure(config, unit):
        if unit in ("step 0", "step 1"):
            both.wait()  # which one alone would do until the timeout
        if unit == "step 0":
            assert first_waits.wait(30)
        if unit == "step 1":
            first_waits.set()
        return toy().measure(config, unit)

    module = toy(measure=measure)
    module.THREADS = 2
    found, _ = _run.run(module, "toy", Config(), tmp_path / "two")
    name = "results.jsonl"
    assert (found / name).read_bytes() == (expected / name).read_bytes()


def test_other_settings_do_not_overwrite(tmp_path):
    first, _ = _run.run(toy(), "toy", Config(), tmp_path)
    second, _ = _run.run(toy(), "toy", Config(rate=1.0), tmp_path)
    assert first != second
    header = json.loads((first / "config.json").read_text())
    header["config"]["rate"] = 9.0
    (first / "config.json").write_text(json.dumps(header))
    with pytest.raises(
        RunError, match=r"of this config and version, got rate: 9\.0 there, 0\.5 here"
    ):
        _run.run(toy(), "toy", Config(), tmp_path)


def test_damaged_results_are_found(tmp_path):
    folder, _ = _run.run(toy(), "toy", Config(), tmp_path)
    path = folder / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"0.5", b"0.6", 1))
    with pytest.raises(
        RunError, match=r"results\.jsonl' must be as it was written.*another line 2"
    ):
        _run.run(toy(), "toy", Config(), tmp_path)
    lines = whole.splitlines(keepends=True)
    path.write_bytes(lines[1] + lines[0] + lines[2])
    with pytest.raises(RunError, match=r"have the unit 'step 0' in its place, got 'step 1'"):
        _run.run(toy(), "toy", Config(), tmp_path)


def test_second_writer_is_refused(tmp_path):
    store = Store(tmp_path, "toy", Config())
    message = "be free: another process writes to it"
    with (
        store.opened(),
        pytest.raises(RunError, match=message),
        Store(tmp_path, "toy", Config()).opened(),
    ):
        pass


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "toy").write_text("")
    with pytest.raises(RunError, match="be a folder that can be written to"):
        _run.run(toy(), "toy", Config(), tmp_path)


# --- Reproduction


def rows_of(values):
    return [{"unit": "u", "rows": [{"m": "a", "value": v} for v in values]}]


def test_verdicts_of_a_comparison():
    values = list(np.linspace(0.1, 1, 40))
    same, _ = _reproduce.compare(rows_of(values), rows_of(values))
    rounding, _ = _reproduce.compare(rows_of(values), rows_of([v + 1e-7 for v in values]))
    # A unit that flips moves a number far.
    flipped, text = _reproduce.compare(rows_of(values), rows_of([*values[:-1], 0.9]))
    other, _ = _reproduce.compare(rows_of(values), rows_of([v * 1.01 for v in values]))
    assert (same, rounding, flipped, other) == (
        "EQUIVALENT",
        "EQUIVALENT",
        "EQUIVALENT",
        "DIFFERENT",
    )
    assert "at most 1.0e-01" in text
    for different in (
        rows_of(values[:-1]),
        rows_of([None, *values[1:]]),
        [{"unit": "u", "rows": [{"m": "b", "value": v} for v in values]}],
    ):
        assert _reproduce.compare(rows_of(values), different)[0] == "DIFFERENT"


# --- The report


def test_report_is_one_page_and_one_text(tmp_path, known):
    _run.run(known, "toy", Config(), tmp_path)
    _run.run(known, "toy", Config(steps=1), tmp_path)  # not of the defaults: not shown
    page, text = _report.report(tmp_path, tmp_path)
    html = page.read_text()
    assert html.count("<section") == 1
    assert "Does it count?" in html
    assert "A paragraph with &lt;angle&gt; brackets." in html
    assert 'src="data:image/png;base64,' in html
    assert not re.search(r'(src|href)="(?!data:|#)', html)  # needs no other file
    assert "python -m experiments run toy" in text.read_text()
    place = re.search(r"!\[line\]\((\S*)\)", text.read_text()).group(1)
    assert (tmp_path / unquote(place)).exists()


def test_report_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="must hold finished runs, got none"):
        _report.report(tmp_path, tmp_path)


# --- The command line, and the experiments that there are


def command(*arguments, **environment):
    run = [sys.executable, "-m", "experiments", *map(str, arguments)]
    return subprocess.run(
        run, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_command_line_says_what_is_wrong():
    done = command("run", "grid_pointin")
    assert done.returncode == 2
    assert (
        "NAME must name an experiment, got 'grid_pointin'. Nearest: 'grid_pointing'" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_missing_package_is_named_with_the_command_that_installs_it(
    known, monkeypatch, capsys, tmp_path
):
    message = "load: tensorflow_datasets must be installed. Run: pip install"

    def measure(config, unit):
        raise ModuleNotFoundError(message)

    monkeypatch.setattr(known, "measure", measure)
    monkeypatch.setattr(sys, "argv", ["experiments", "run", "toy", "--out", str(tmp_path)])
    assert experiments_main() == 2
    assert message in capsys.readouterr().err


def test_settings_may_stand_behind_options(known, monkeypatch, capsys, tmp_path):
    line = ["experiments", "run", "toy", "--out", str(tmp_path), "steps=2", "--nothing"]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        experiments_main()
    assert "unrecognized arguments: --nothing" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", line[:-1])
    assert experiments_main() == 0
    (config,) = tmp_path.glob("toy/*/config.json")
    assert json.loads(config.read_text())["config"]["steps"] == 2


def test_experiments_say_what_they_are():
    found = _experiment.names()
    assert {"grid_pointing", "randomisation"} <= set(found)
    for name in found:
        module = _experiment.load(name)
        assert _experiment.title(module).endswith("?")
        for word in ("Claim:", "Measured:", "Expected:", "Unit of replication:"):
            assert word in module.__doc__, f"{name}: {word}"
        assert dataclasses.is_dataclass(module.Config)
        assert type(module.SMOKE) is module.Config
        assert module.Config() != module.SMOKE
        documented = re.findall(r"^ +(\w+): ", module.Config.__doc__, re.M)
        assert documented == [f.name for f in dataclasses.fields(module.Config)]


def test_committed_runs_are_whole():
    """What stands in the repository was measured by the settings that it says."""
    for path in (ROOT / "experiments" / "results").glob("*/*/conclusion.json"):
        header = json.loads((path.parent / "config.json").read_text())
        module = _experiment.load(header["experiment"])
        config = _config.from_settings(module.Config, header["config"])
        assert _config.digest(header["experiment"], config) == path.parent.name
        records = read_lines(path.parent / "results.jsonl")
        assert [record["unit"] for record in records] == list(module.units(config))


def test_the_table_of_the_readme_is_the_measured_one():
    readme = (ROOT / "experiments" / "README.md").read_text()
    folder = _run.run_folder("grid_pointing", _experiment.load("grid_pointing").Config())
    assert (ROOT / folder / "tables" / "share in the right tile.md").read_text() in readme


@pytest.mark.slow
def test_kill_at_any_moment(tmp_path):
    """Twenty kills, from the start of the process to its end; each time the same command ends with the same bytes."""
    run = ["run", "compas", "folds=8", "--smoke", "--out"]
    start = time.perf_counter()
    whole = command(*run, tmp_path / "whole")
    seconds = time.perf_counter() - start
    assert whole.returncode == 0, whole.stderr
    (expected,) = (tmp_path / "whole").glob("*/*/results.jsonl")
    rng, begun = np.random.default_rng(0), 0
    for trial in range(20):
        out = tmp_path / str(trial)
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments", *run, str(out)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        begun += any(file.stat().st_size for file in out.glob("*/*/results.jsonl"))
        done = command(*run, out)
        assert done.returncode == 0, done.stderr
        (found,) = out.glob("*/*/results.jsonl")
        assert found.read_bytes() == expected.read_bytes()
    assert begun, "every kill came before the first result"


def test_bars_do_not_end_a_cell():
    table = pd.DataFrame({"a | b": ["mean |x|", "y"], "n": [1.0, 2.0]})
    lines = _tables.markdown(table).splitlines()
    assert [len(re.split(r"(?<!\\)\|", line)) for line in lines] == [4] * 4
    assert r"mean \|x\|" in lines[2]


def test_encoded_lines_are_checked():
    line = encode("u", [{"a": 1.5}])
    assert json.loads(line)["rows"] == [{"a": 1.5}]
