"""`make bench`: run every benchmark, print a table, write bench.json."""

import importlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = (
    "decode",
    "extract",
    "estimates",
    "store",
    "sample_code",
    "growth",
    "questions",
    "cold_start",
    "end_to_end",
)


def main() -> int:
    """Run those named on the command line, or all. Exits with 0 whether or not the goals hold: a figure is no test."""
    names = sys.argv[1:] or BENCHMARKS
    table = Table(title="Benchmarks", title_justify="left")
    for heading, justify in (("figure", "left"), ("value", "right"), ("unit", "left"), ("goal", "right"), ("", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    records = []
    notes = []
    for name in names:
        for figure in importlib.import_module(f"benchmarks.{name}").figures():
            records.append(figure.as_record())
            bound = "" if figure.goal is None else f"{'≤' if figure.at_most else '≥'} {figure.goal:g}"
            verdict = {True: "[green]holds[/]", False: "[red]does not hold[/]", None: ""}[figure.holds]
            table.add_row(figure.name, f"{figure.value:,.2f}", figure.unit, bound, verdict)
            if figure.note:
                notes.append(f"{figure.name}: {figure.note}")
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(table, *notes, sep="\n", highlight=False)
    (ROOT / "bench.json").write_text(json.dumps(records, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
