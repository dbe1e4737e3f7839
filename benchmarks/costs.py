"""`python -m benchmarks.costs`: what it costs a month, for docs/costs.md; figures and assumptions are simulate.py's."""

from typing import Final

from benchmarks.simulate import WAIT, Load, column

SIZES: Final = ((1, 5), (100, 20), (1_000, 60), (10_000, 200))
"""Calls a second, and apps."""


def table(gateway_logs: bool, wait: int) -> str:
    """In Markdown, a size a column, of what is paid."""
    columns = [column(Load(calls, apps, gateway_logs, wait)) for calls, apps in SIZES]
    paid = [name for name in columns[0] if "$" in name]
    rows = [
        ["calls/s", *(f"{calls:,}" for calls, _ in SIZES)],
        ["---", *("--:" for _ in SIZES)],
        ["apps", *(f"{apps:,}" for _, apps in SIZES)],
        *([name, *(each[name] for each in columns)] for name in paid),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def report() -> str:
    """All tables."""
    parts = []
    for title, logs in (("Calls told in one event (modes A, C and D)", False), ("Calls told in halves (mode B)", True)):
        for wait, how in ((0, "as `host.json` is"), (WAIT, f"batches wait {WAIT} s to fill")):
            parts.append(f"{title}, {how}:\n\n{table(logs, wait)}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(report(), end="")
