"""Benchmarks: what is made of their rows, on made-up rows whose ratios are known."""

import json
import math

import numpy as np
import pytest

from benchmarks import _figures, _numbers, _rows

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
    return [
        {**common, "value": v, "seconds": times(0.01 * v**exponent, seed=v)} for v in values
    ]


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
