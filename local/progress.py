"""What a person sees while the stack starts. Without a terminal: the same steps as plain lines, flushed at once."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_PLAIN_WIDTH = 118


def make_console() -> Console:
    """A console on stdout. Where there is no terminal it does not colour, and it does not wrap at 80 columns."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH, no_color=True)


class Step:
    """One thing that takes a moment; `done` is what is said beside its name when it is over."""

    done = ""


class Display:
    """Steps with their duration, and counted work with a bar."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        step, begun = Step(), time.monotonic()
        with self.console.status(f"{name} …"):  # shows nothing without a terminal
            yield step
        took = time.monotonic() - begun
        self.console.print(f"[green]✓[/] {name:<18} [dim]{took:5.1f} s[/]  {step.done}".rstrip())

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """Yields a function that is told how many are done. Leaves one line behind, like a step."""
        begun = time.monotonic()
        last = 0
        with Progress(
            TextColumn("  {task.description:<18}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        ) as progress:
            task = progress.add_task(name, total=total)

            def update(completed: int) -> None:
                nonlocal last
                last = completed
                progress.update(task, completed=completed)

            yield update
        took = time.monotonic() - begun
        mark = "[green]✓[/]" if last == total else "[red]✗[/]"
        self.console.print(f"{mark} {name:<18} [dim]{took:5.1f} s[/]  {last:,} of {total:,}")


def complain(message: str) -> None:
    """One clear line on stderr."""
    print(f"error: {message}", file=sys.stderr, flush=True)
