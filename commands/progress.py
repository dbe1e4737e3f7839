"""How far a long command is: a bar on a terminal, elsewhere a line from time to time. On stderr, beside the outcome."""

import sys
import time
from types import TracebackType
from typing import Final, Self

WIDTH: Final = 24
SECONDS_ON_TERMINAL: Final = 0.2
SECONDS_BETWEEN_LINES: Final = 10.0


class Progress:
    """Work on `total` things, each called `unit`; a context manager. Without a total no bar is drawn."""

    def __init__(self, unit: str, total: int = 0):
        self._unit = unit
        self._total = total
        self._done = 0
        self._terminal = sys.stderr.isatty()
        self._shown = time.monotonic()

    def advance(self, note: str = "", done: int = 1) -> None:
        """So many more are done; `note` says what else there is to say."""
        self._done += done
        wait = SECONDS_ON_TERMINAL if self._terminal else SECONDS_BETWEEN_LINES
        if time.monotonic() - self._shown >= wait:
            self._shown = time.monotonic()
            self._show(note)

    def _show(self, note: str) -> None:
        line = f"{self._done:,} {self._unit}{f', {note}' if note else ''}"
        if self._total:
            filled = WIDTH * min(self._done, self._total) // self._total
            line = f"[{'#' * filled}{'.' * (WIDTH - filled)}] {self._done:,} of {self._total:,} {self._unit}"
            line += f", {note}" if note else ""
        if self._terminal:
            print(f"\r\x1b[K{line[:110]}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
