"""A figure, and how to time two things side by side."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is the bound that the value should keep (`at_most` or at least), None for a figure that only informs.

    `note` says what the value does not: on how many cases it stands, and what was left out.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = True
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal

    def as_record(self) -> dict[str, Any]:
        """As it stands in bench.json."""
        record = asdict(self)
        del record["at_most"]
        return record | {"value": round(self.value, 4), "holds": self.holds}


def ratio(measured: Callable[[], object], floor: Callable[[], object], rounds: int = 15) -> float:
    """The median over rounds of time(measured) / time(floor), each round timing both."""
    ratios = []
    measured(), floor()
    for _ in range(rounds):
        started = time.perf_counter()
        measured()
        between = time.perf_counter()
        floor()
        ratios.append((between - started) / (time.perf_counter() - between))
    return statistics.median(ratios)
