"""The check that a change made nothing slower: operations and compilations exactly, times only against the bare model.

What a program computes is counted before XLA changes it, so the numbers depend on JAX's version alone; `expected.json`
has them for the version that is pinned. Times are compared within the process, with a limit so wide that only a loop
too many is beyond it.
"""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import jax
from jax import monitoring

from benchmarks import explainers, metrics
from benchmarks._cost import Case, bare, evaluations
from benchmarks._timing import interleave, ratio, timer
from benchmarks.workloads import workload

EXPECTED = Path(__file__).with_name("expected.json")
#: The time of a method over its bare evaluations; the reports' limits are 1.10 and 1.15.
LIMIT = 3.0
_ROUNDS = 6
_COMPILE = "/jax/core/compile/backend_compile_duration"


def cases() -> list[Case]:
    """One method of each kind, on networks that compile fast."""
    net, table = "efficientnet_lite0", "breast_cancer"
    maps = explainers.some(explainers.maps(net), "grad_cam", "layer_cam", "eigen_cam")
    down = explainers.some(explainers.gradients(net), "saliency", "lrp, epsilon_plus")
    paths = explainers.some(explainers.paths(net), "integrated_gradients")
    sampled = explainers.some(explainers.sampling(net), "lime", "permutation_shap")
    removed = explainers.some(metrics.of_removal(), "deletion_auc")
    rows = explainers.some(explainers.rows(), "kernel_shap")
    assert workload(table).name == rows[0].workload.name
    return [*maps, *down, *paths, *sampled, *removed, *rows]


def counts() -> dict[str, dict[str, float]]:
    """Of each case: the operations of its program as it is lowered, a loop's body once; and its evaluations."""
    found = {}
    for case in cases():
        lowered = case.program.lower(*case.arguments)
        operations = (lowered.cost_analysis() or {}).get("flops", 0.0)
        found[_name(case)] = {"flops": operations, "evaluations": evaluations(case)}
    return found


def update() -> None:
    """Write what is counted now as what is expected."""
    known = json.loads(EXPECTED.read_text("utf-8")) if EXPECTED.exists() else {}
    known[jax.__version__] = counts()
    EXPECTED.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", "utf-8")


def check() -> Iterator[str]:
    """What is not as it should be, a line each; nothing if all is well.

    Raises:
      ValueError: what is expected of this version of JAX is not known.
    """
    known = json.loads(EXPECTED.read_text("utf-8"))
    if jax.__version__ not in known:
        raise ValueError(
            f"benchmarks: --quick knows what jax {', '.join(sorted(known))} computes, got {jax.__version__}; "
            "install a version of constraints.txt, or run with --update and look at the difference."
        )
    expected, found = known[jax.__version__], counts()
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            yield f"{name}: expected {expected.get(name)}, got {found.get(name)}"
    for case in cases():
        yield from _compilations(case)
        yield from _slowness(case)


def _name(case: Case) -> str:
    return f"{case.method}, {case.workload.name}, batch {case.batch}"


def _compilations(case: Case) -> Iterator[str]:
    """Another input, target and key must not compile again."""
    f, xs, target, key, more = case.arguments
    jax.block_until_ready(case.program(f, xs, target, key, more))
    others = xs * 1.5, target * 0, jax.random.fold_in(key, 1)
    with _compiled() as names:
        jax.block_until_ready(case.program(f, *others, more))
    if names:
        yield f"{_name(case)}: other arguments compiled {len(names)} programs again"


@contextlib.contextmanager
def _compiled() -> Iterator[list[str]]:
    names: list[str] = []
    on = True

    def record(event: str, duration: float, **details: object) -> None:
        if on and event == _COMPILE:
            names.append(str(details.get("fun_name", "")))

    monitoring.register_event_duration_secs_listener(record)
    yield names
    on = False


def _slowness(case: Case) -> Iterator[str]:
    evaluated = bare(case.workload, case.evaluation, case.workload.chunks()[1:2])
    timers = {
        "bare": evaluated.run,
        "method": timer(functools.partial(case.program, *case.arguments)),
    }
    seconds, _ = interleave(timers, _ROUNDS, control="bare", title=_name(case))
    needed = case.batch * evaluations(case)
    over = ratio(seconds["method"], [needed * s for s in seconds["bare"]])
    if over.low > LIMIT:
        yield f"{_name(case)}: {over.median:.2f} x its bare evaluations, must be below {LIMIT}"
