"""What a new instance imports before it can count, against what its two libraries cost alone.

Each import runs in a fresh interpreter that times itself, without its own start; they take turns. Bytecode is compiled
before, as in a deployed package's second start.
"""

import statistics
import subprocess
import sys
from collections.abc import Iterable

from benchmarks.__main__ import ROOT
from benchmarks.figures import Figure

ROUNDS = 15
LIBRARIES = "import azure.functions, azure.data.tables.aio"
APP = "import function_app"
FIRST_EVENT = "import function_app, collectors.hub, pipeline, services"


def figures() -> Iterable[Figure]:
    """The ratio of importing the app, and for information of what its first event needs."""
    assert _run(f"{APP}; print(len(function_app.app.get_functions()))") > 10
    for statement in (LIBRARIES, FIRST_EVENT):
        _seconds(statement)
    rounds = [[_seconds(statement) for statement in (LIBRARIES, APP, FIRST_EVENT)] for _ in range(ROUNDS)]
    app = statistics.median(app / libraries for libraries, app, _ in rounds)
    first = statistics.median(first / libraries for libraries, _, first in rounds)
    yield Figure("cold start: function_app / azure.functions and azure.data.tables.aio", app, "ratio", 1.3)
    yield Figure("cold start: all that the first event needs / the same", first, "ratio")


def _seconds(statement: str) -> float:
    return _run(f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)")


def _run(script: str) -> float:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return float(done.stdout)
