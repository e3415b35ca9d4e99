"""`python -m experiments list | run NAME [key=value ...] | reproduce RUN | report`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from experiments import _config, _experiment
from experiments._store import RunError


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the experiments and their questions")
    run = commands.add_parser("run", help="measure an experiment, or go on with it")
    run.add_argument("name", metavar="NAME", help="an experiment of `list`, or all")
    run.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ")
    run.add_argument("--config", metavar="FILE", help="a TOML file of settings")
    run.add_argument("--seeds", type=int, help="how many seeds, for experiments that have them")
    run.add_argument("--smoke", action="store_true", help="a run of seconds that shows it works")
    run.add_argument("--out", type=Path, help="where the run directory goes")
    again = commands.add_parser("reproduce", help="run a finished run again and compare")
    again.add_argument("run", type=Path, metavar="RUN", help="its directory")
    report = commands.add_parser("report", help="one page of all finished runs")
    report.add_argument("--runs", type=Path, help="where the runs are")
    report.add_argument("--out", type=Path, help="where the page goes")
    options, rest = parser.parse_known_args()
    if options.command == "run":  # argparse leaves over the settings that come after an option
        options.settings += [part for part in rest if not part.startswith("-")]
        rest = [part for part in rest if part.startswith("-")]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return _COMMANDS[options.command](options)
    except (ValueError, OSError, ModuleNotFoundError, RunError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on after the last whole unit.", file=sys.stderr)
        return 130


def _list(options: Any) -> int:
    for name in _experiment.names():
        print(f"{name:24} {_experiment.title(_experiment.load(name))}")
    return 0


def _run(options: Any) -> int:
    from experiments._run import RUNS, run

    every = _experiment.names() if options.name == "all" else [options.name]
    for name in every:
        module = _experiment.load(name)
        base = module.SMOKE if options.smoke else module.Config()
        given = list(options.settings)
        if options.seeds is not None:
            given.append(f"seeds={options.seeds}")
        config = _config.changed(base, options.config, given)
        start = time.perf_counter()
        folder, found = run(module, name, config, options.out or RUNS)
        condition = f" {found.only_if}" if found.only_if else ""
        print(f"{name}: {found.verdict}{condition}. {found.effect}")
        print(f"  {time.perf_counter() - start:.0f} s -> {folder}")
    return 0


def _reproduce(options: Any) -> int:
    from experiments._reproduce import reproduce

    return reproduce(options.run)


def _report(options: Any) -> int:
    from experiments._report import report
    from experiments._run import RUNS

    runs = options.runs or RUNS
    for path in report(runs, options.out or runs):
        print(path)
    return 0


_COMMANDS = {"list": _list, "run": _run, "reproduce": _reproduce, "report": _report}

if __name__ == "__main__":
    sys.exit(main())
