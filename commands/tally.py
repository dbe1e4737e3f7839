"""What became of the records that `replay` reads."""

import time
from collections import Counter
from typing import Final

from models.batch_report import BatchReport

SECONDS_BETWEEN_LINES: Final = 5.0
FIGURES: Final = ("received", "counted", "duplicate", "joined", "pending", "dead_lettered")


class Tally:
    """What became of the records so far; printed from time to time."""

    def __init__(self) -> None:
        self._events = 0
        self._records: Counter[str] = Counter()
        self._printed = time.monotonic()

    def add(self, report: BatchReport | None) -> None:
        if report is not None:
            self._events += report.events
            self._records.update({name: getattr(report, name) for name in (*FIGURES, "corrected", "ignored")})
        if time.monotonic() - self._printed > SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(self, flush=True)

    def __str__(self) -> str:
        told = ", ".join(f"{self._records[name]} {name.replace('_', '-')}" for name in FIGURES)
        aside = ", ".join(f"{self._records[name]} {name}" for name in ("corrected", "ignored"))
        return f"{self._events} events: {told} ({aside})"
