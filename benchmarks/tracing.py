"""How long a composite of LRP takes to trace, and to lower and compile, on ResNet-50 and one image.

In one process, in the order of the table: the first pays for what all share.
"""

import functools
import gc
import time
from typing import Any

import jax

import xaijax
from benchmarks._workload import TARGET, images, resnet50
from benchmarks.propagation import COMPOSITES


def run(rounds: int) -> dict[str, Any]:
    """Measure; returns the record. Each is done once, whatever `rounds` is: the second time it is known."""
    f, x = resnet50(), images(1)[0]
    found = {}
    for name, make in COMPOSITES.items():
        explain = functools.partial(xaijax.lrp, composite=make())
        gc.collect()  # what came before is not this one's
        start = time.perf_counter()
        jax.make_jaxpr(explain)(f, x, TARGET)
        middle = time.perf_counter()
        xaijax.lrp.program(f, x, TARGET, **explain.keywords).compile()
        found[name] = {"trace": middle - start, "compile": time.perf_counter() - middle}
    return {"seconds": found}
