"""Measure explainers and metrics, and make tables and figures of the results.

python -m benchmarks list
python -m benchmarks run [NAME ...] [--peers] [--device cpu|gpu] [--out DIR] [--rounds N] [--only PATTERN]
python -m benchmarks run --quick
python -m benchmarks compare A B [--force]
python -m benchmarks report DIR
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

#: In the order in which they run.
NAMES = ("startup", "explainers", "metrics", "scaling", "error", "lowering", "black_box", "peers")
RESULTS = Path("benchmarks/results")
_ROUNDS = 30
#: Of the least, an interval says something: of five rounds, none has a level of 95 %.
_FEWEST = 6
_SELECTIVE = ("explainers", "metrics", "scaling", "peers")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.do(parser, options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    commands.add_parser("list", help="the benchmarks that there are").set_defaults(do=_list)
    run = commands.add_parser("run", help="measure, and report")
    run.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    run.add_argument("--quick", action="store_true", help="only check against expected.json")
    run.add_argument("--update", action="store_true", help="with --quick: expect what is counted")
    run.add_argument("--peers", action="store_true", help="other libraries, too")
    run.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    run.add_argument("--out", type=Path, help="default: benchmarks/results/DEVICE")
    run.add_argument("--rounds", type=int, default=_ROUNDS, help=f"default: {_ROUNDS}")
    run.add_argument(
        "--only", default="", metavar="PATTERN", help="groups or peers whose name matches"
    )
    run.add_argument("--no-memory", action="store_true", help="no second process for peak memory")
    run.set_defaults(do=_run)
    compare = commands.add_parser("compare", help="two folders of results")
    compare.add_argument("a", type=Path)
    compare.add_argument("b", type=Path)
    compare.add_argument("--force", action="store_true", help="though the machines differ")
    compare.set_defaults(do=_compare)
    report = commands.add_parser("report", help="tables and figures of a folder of results")
    report.add_argument("folder", type=Path)
    report.set_defaults(do=lambda parser, options: _report(options.folder))
    return parser


def _list(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    for name in NAMES:
        module = importlib.import_module(f"benchmarks.{name}")
        print(f"{name:12} {(module.__doc__ or '').strip().splitlines()[0]}")
    return 0


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    for name in options.names:
        if name not in NAMES:
            parser.error(f"NAME must be of {', '.join(NAMES)}, got {name!r}")
    if options.rounds < _FEWEST:
        parser.error(
            f"--rounds must be at least {_FEWEST}, or no interval has a level of 95 %, got {options.rounds}"
        )
    _choose(options.device)
    return _quick(options.update) if options.quick else _run_all(options)


def _run_all(options: argparse.Namespace) -> int:
    names = options.names or [n for n in NAMES if n != "peers" or options.peers]
    if options.peers and "peers" not in names:
        names.append("peers")
    out = options.out or RESULTS / _device()
    try:
        for name in names:
            print(f"{name} -> {out / name}.jsonl", flush=True)
            _measure(name, out, options)
    except KeyboardInterrupt:
        print(f"interrupted: what was finished is in {out}", file=sys.stderr)
        return 130
    return _report(out)


def _choose(device: str) -> None:
    """Before JAX is imported: which device, and on a GPU no more memory than is needed, or peers would have none."""
    os.environ["JAX_PLATFORMS"] = "cpu" if device == "cpu" else "cuda,cpu"
    if device == "gpu":
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


def _device() -> str:
    """The name of the results' folder: `cpu`, or the GPU's."""
    import jax

    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else re.sub(r"\W+", "-", device.device_kind.lower())


def _measure(name: str, out: Path, options: argparse.Namespace) -> None:
    from benchmarks._rows import Writer

    writer = Writer(out, name, rounds=options.rounds, only=options.only)
    settings: dict[str, Any] = {"rounds": options.rounds}
    if name in _SELECTIVE:
        settings["only"] = options.only
    if name in ("explainers", "metrics"):
        settings["memory"] = not options.no_memory
    if name == "peers":
        settings["device"] = options.device
    importlib.import_module(f"benchmarks.{name}").run(writer, **settings)


def _quick(update: bool) -> int:
    from benchmarks import _quick as quick

    if update:
        quick.update()
        return 0
    complaints = list(quick.check())
    for line in complaints:
        print(line)
    print(f"{len(complaints)} of the counts and times are not as expected." if complaints else "ok")
    return 1 if complaints else 0


def _compare(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    from benchmarks._compare import compare

    print(compare(options.a, options.b, force=options.force))
    return 0


def _report(folder: Path) -> int:
    from benchmarks._report import report

    for path in report(folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
