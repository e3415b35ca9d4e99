"""`python -m benchmarks [NAME ...] [--rounds N] [--out DIR]`: measure, and write one JSON file per benchmark."""

import argparse
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import xaijax

_NAMES = ("startup", "overhead", "forward", "cams", "propagation", "tracing", "tables", "metrics")
# What a benchmark needs beyond the library's own extras.
_NEEDS = {"forward": ("torch", "efficientnet_lite_pytorch"), "tables": ("sklearn",)}


def main() -> None:
    """Run benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(_NAMES)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=30, help="interleaved rounds (default: 30)")
    parser.add_argument("--out", default="benchmarks/results/cpu", help="where the JSON files go")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    for name in options.names:
        if name not in _NAMES:
            parser.error(f"NAME must be of {', '.join(_NAMES)}, got {name!r}")
    for name in options.names or _NAMES:
        missing = [m for m in _NEEDS.get(name, ()) if importlib.util.find_spec(m) is None]
        if missing:
            print(f"{name}: skipped, not installed: {', '.join(missing)} (extra parity)")
            continue
        record = importlib.import_module(f"benchmarks.{name}").run(options.rounds)
        record["provenance"] = xaijax.provenance()
        path = Path(options.out) / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
        print(f"{name} -> {path}")
        _print(record)


def _print(record: dict[str, Any], indent: str = "  ") -> None:
    for key, value in record.items():
        if key == "provenance":
            continue
        if isinstance(value, dict) and "ratio" in value:
            span = f"[{value['ratio_low']:.3f}, {value['ratio_high']:.3f}]"
            print(
                f"{indent}{key:34} {value['seconds'] * 1e3:10.2f} ms   ratio {value['ratio']:.3f} {span}"
            )
        elif isinstance(value, dict):
            print(f"{indent}{key}")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")


if __name__ == "__main__":
    main()
