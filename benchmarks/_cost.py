"""What a method costs over the model evaluations that it needs: measured for a group of methods in the same rounds."""

import dataclasses
import functools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import xaijax
from benchmarks import _memory, _peaks
from benchmarks._rows import Writer
from benchmarks._timing import Timer, interleave, timer
from benchmarks.workloads import MissingError, Workload

Evaluation = Literal["forward", "gradient", "none"]

# There are as many rounds as fit into this time, but not fewer than that.
_SECONDS = 60.0
_LEAST_ROUNDS = 10
# The first look at which chunk is best needs no interval.
_LOOKS = 5


@dataclasses.dataclass(frozen=True)
class Case:
    """One method on one workload.

    Attributes:
      method: its name and, where it has several, its setting.
      kind: explainer or metric.
      workload: what is explained.
      run: of one example, `(f, x, target, key, *more)`.
      batch: how many examples a call explains.
      evaluation: what its bound is made of: forward passes, gradients, or nothing of the model.
      evaluations: how many an explanation needs, where the method says so: what it computes again, and XLA only once,
        would be counted twice. Counted if it is None.
      agnostic: whether it asks the model for answers alone, never for gradients or layers.
      in_turn: whether the examples run one after another (`jax.lax.map`), so that what is at work stays in the cache;
        otherwise at once (`jax.vmap`).
      more: further arrays for each example, such as the attribution that a metric judges.
      quality: how good the answer is, of `(case, result)`: a name and a number.
    """

    method: str
    kind: Literal["explainer", "metric"]
    workload: Workload
    run: Callable[..., Any]
    batch: int = 1
    evaluation: Evaluation = "forward"
    evaluations: float | None = None
    agnostic: bool = False
    in_turn: bool = False
    more: tuple[Any, ...] = ()
    quality: Callable[["Case", Any], tuple[str, float]] | None = None

    @functools.cached_property
    def arguments(self) -> tuple[Any, ...]:
        """What the program is called with; weights and examples are arguments, not constants."""
        w = self.workload
        xs, more = w.batch(self.batch), tuple(m[: self.batch] for m in self.more)
        if self.batch == 1:
            xs, more = xs[0], tuple(m[0] for m in more)
        return w.f, xs, jnp.int32(w.target), jax.random.key(0), more

    @functools.cached_property
    def program(self) -> Any:
        """The program of one call, to be traced, lowered, compiled or called."""
        run, batch, in_turn = self.run, self.batch, self.in_turn

        def call(f: Any, xs: Any, target: Any, key: Any, more: Any) -> Any:
            def one(row: Any) -> Any:
                return run(f, row[0], target, key, *row[1])

            if batch == 1:
                return one((xs, more))
            return jax.lax.map(one, (xs, more)) if in_turn else jax.vmap(one)((xs, more))

        return jax.jit(call)


def evaluations(case: Case) -> float:
    """How many evaluations of the model an explanation needs."""
    if case.evaluation == "none":
        return 0.0
    return case.evaluations if case.evaluations is not None else count(case)


def count(case: Case) -> float:
    """How often the model is evaluated for one explanation: the model counts while it runs."""
    f, evaluated = case.workload.f, 0

    def answer(rows: Any) -> Any:
        nonlocal evaluated
        evaluated += len(rows)
        return np.zeros((len(rows), outputs.size), outputs.dtype)

    def tick(_: Any) -> None:
        nonlocal evaluated
        evaluated += 1

    def counted(x: Any) -> Any:
        jax.debug.callback(tick, jnp.ravel(x)[0])
        return f(x)

    single = dataclasses.replace(case, batch=1)
    _, x, target, key, more = single.arguments
    outputs = jax.eval_shape(f, x)
    # A stand-in counts whole chunks, and computes nothing.
    model = xaijax.black_box(answer, outputs.size) if case.agnostic else counted
    program = jax.jit(lambda x, target, key, more: case.run(model, x, target, key, *more))
    # It runs once: the autotuner's work would be lost.
    compiled = program.lower(x, target, key, more).compile(compiler_options=_quick_compilation())
    jax.block_until_ready(compiled(x, target, key, more))
    jax.effects_barrier()
    return float(evaluated)


def _quick_compilation() -> dict[str, Any]:
    return {} if jax.default_backend() == "cpu" else {"xla_gpu_autotune_level": 0}


@jax.jit
def _forward(f: Any, xs: jax.Array, target: Any) -> Any:
    return jax.vmap(xaijax.lower(f))(xs)[:, target]


@jax.jit
def _gradient(f: Any, xs: jax.Array, target: Any) -> Any:
    return jax.vmap(xaijax.lower(jax.value_and_grad(lambda x: f(x)[target])))(xs)


_BARE = {"forward": _forward, "gradient": _gradient}


@dataclasses.dataclass(frozen=True)
class Bare:
    """The model alone, in chunks of the best size.

    Attributes:
      run: a timer of one evaluation.
      chunk: how many at once.
      flops: of one evaluation, as XLA counts them in the model as it is written.
      bytes: that one evaluation moves, as XLA counts them in the compiled program.
    """

    run: Timer
    chunk: int
    flops: float
    bytes: float


def bare(workload: Workload, evaluation: Evaluation, chunks: Sequence[int]) -> Bare:
    """The fastest way to evaluate a model alone: the chunk with the least time for one evaluation."""
    program, f, target = _BARE[evaluation], workload.f, jnp.int32(workload.target)

    def of(chunk: int) -> Timer:
        xs = workload.batch(chunk)
        run = timer(functools.partial(program, f, xs, target))
        return lambda: run() / chunk

    timers = {chunk: of(chunk) for chunk in chunks}
    # The least of a few looks in turn: a neighbour on the machine only ever adds.
    looks = [{chunk: run() for chunk, run in timers.items()} for _ in range(_LOOKS)]
    best = min(timers, key=lambda chunk: min(look[chunk] for look in looks))
    arguments = (f, workload.batch(best), target)
    # As it is written: a fast form may take more operations. On the CPU: a GPU's convolutions are calls of a library,
    # whose operations XLA does not count.
    shapes = jax.eval_shape(lambda *a: a, f, workload.batch(1), target)
    with xaijax.plain_convolutions(), jax.default_device(jax.devices("cpu")[0]):
        plain = jax.jit(program.__wrapped__).lower(*shapes)
    moved = (program.lower(*arguments).compile().cost_analysis() or {}).get("bytes accessed", 0.0)
    flops = (plain.cost_analysis() or {}).get("flops", 0.0)
    return Bare(timers[best], best, flops, moved / best)


def phases(case: Case) -> tuple[dict[str, float], Any]:
    """Seconds of tracing, lowering, compiling and the first run; and the compiled program."""
    found, start = {}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        found[f"{name}_seconds"] = now - start
        start = now

    traced = case.program.trace(*case.arguments)
    lap("trace")
    lowered = traced.lower()
    lap("lower")
    compiled = lowered.compile()
    lap("compile")
    jax.block_until_ready(compiled(*case.arguments))
    lap("first")
    return found, compiled


def measure_groups(
    benchmark: str,
    groups: Mapping[str, Callable[[], list[Case]]],
    writer: Writer,
    *,
    rounds: int,
    only: str,
    memory: bool = True,
) -> None:
    """Measure the groups of a benchmark whose name matches, one after another."""
    for name, make in groups.items():
        if not re.search(only, name):
            continue
        try:
            cases = make()
        except MissingError as error:
            writer.add("skipped", what=name, why=str(error))
            continue
        print(f"  {name}: {len(cases)} methods", flush=True)
        peaks = functools.partial(_memory.peaks, benchmark, name) if memory else dict
        measure(cases, writer, rounds=rounds, peaks=peaks)


def measure(
    cases: Sequence[Case], writer: Writer, *, rounds: int, peaks: Callable[[], Mapping[str, int]]
) -> None:
    """Measure cases of one workload in the same rounds, and write their rows.

    Args:
      cases: of one workload.
      writer: where the rows go.
      rounds: how many; fewer where they would take long.
      peaks: finds the peak bytes of each method, once all are compiled.
    """
    workload = cases[0].workload
    kinds = sorted({"forward", *(c.evaluation for c in cases if c.evaluation != "none")})
    chunks = workload.chunks()
    known = {kind: bare(workload, kind, chunks) for kind in kinds}  # type: ignore[arg-type]
    timers: dict[str, Timer] = {kind: b.run for kind, b in known.items()} | _peaks.timers()
    found: dict[str, dict[str, Any]] = {}
    for case in cases:
        found[case.method], compiled = phases(case)
        run = functools.partial(compiled, *case.arguments)
        found[case.method] |= _facts(case, compiled, run())
        timers[case.method] = timer(run)
    peak = peaks()
    one_round = sum(run() for run in timers.values())
    count = int(np.clip(_SECONDS / one_round, min(_LEAST_ROUNDS, rounds), rounds))
    # What the rows are held against; a gradient takes the memory that a short forward pass behind it does without.
    control = "gradient" if "gradient" in known else "forward"
    done = interleave(timers, count, control=control, title=workload.name)
    seconds = done.seconds
    for case in cases:
        row = found[case.method]
        evaluated = known.get(case.evaluation)
        if evaluated is not None:
            times = case.batch * row["evaluations"]
            row |= {
                "bare_seconds": seconds[case.evaluation],
                "bare_chunk": evaluated.chunk,
                "flops": evaluated.flops * times,
                "bytes": evaluated.bytes * times,
            }
        writer.add(
            "cost",
            method=case.method,
            kind=case.kind,
            workload=workload.name,
            batch=case.batch,
            evaluation=case.evaluation,
            seconds=seconds[case.method],
            peak_bytes=peak.get(case.method, row.pop("device_peak_bytes")),
            **done.trust(),
            **_peaks.rates(seconds),
            **row,
        )


def _device_peak(analysis: Any) -> int | None:
    """What XLA sets aside for a call on a GPU, at once and before it runs; what a CPU takes is seen in a child."""
    if jax.default_backend() == "cpu":
        return None
    sizes = analysis.argument_size_in_bytes, analysis.output_size_in_bytes
    return analysis.temp_size_in_bytes + sum(sizes) - analysis.alias_size_in_bytes


def _facts(case: Case, compiled: Any, result: Any) -> dict[str, Any]:
    """What is no time: evaluations, temporary memory, quality."""
    analysis = compiled.memory_analysis()
    quality = None
    if case.quality is not None:
        name, value = case.quality(case, result)
        quality = {"name": name, "value": value}
    return {
        "evaluations": evaluations(case),
        "counted": case.evaluation != "none" and case.evaluations is None,
        "temp_bytes": analysis.temp_size_in_bytes,
        "device_peak_bytes": _device_peak(analysis),
        "quality": quality,
    }
