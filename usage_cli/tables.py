"""Answers as tables: columns that line up, totals below."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from rich import box
from rich.markup import escape
from rich.table import Table

Row = Mapping[str, Any]
Cell = Callable[[Row], str]

_STEPS: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))


def count(value: int, *, short: bool = False) -> str:
    """`1,234,567`, or short `1.23M`."""
    step, sign = next((each for each in _STEPS if short and abs(value) >= each[0]), (1, ""))
    if step == 1:
        return f"{value:,}"
    return f"{float(f'{value / step:.3g}'):,g}{sign}"


def money(amount: str | None, places: int) -> str:
    """US dollars to so many places; csv and json have all digits. What is too little to show is not 0."""
    if amount is None:
        return "no price"
    value = Decimal(amount)
    least = Decimal(1).scaleb(-places)
    return f"<{least}" if 0 < value < least else f"{value:,.{places}f}"


def share(part: int, whole: int) -> str:
    """Percent; only all is 100 %, and only none is 0 %."""
    if not whole:
        return "–"
    return f"{min(max(part / whole, 0.001 if part else 0), 1 if part == whole else 0.999):.1%}"


def usage_table(answer: Row, *, short: bool) -> Table:
    """An answer of /api/usage with its totals."""

    def tokens(name: str) -> Cell:
        return lambda row: count(row[name], short=short)

    places = 2 if Decimal(answer["totals"]["cost"] or 0) >= 100 else 4
    figures: dict[str, Cell] = {
        "calls": tokens("calls"),
        "prompt": tokens("prompt_tokens"),
        "cached": tokens("cached_prompt_tokens"),
        "completion": tokens("completion_tokens"),
        "total": tokens("total_tokens"),
        "USD": lambda row: money(row["cost"], places),
        "coverage": lambda row: share(row["usage_reported"], row["calls"]),
    }
    if answer["totals"]["unpriced_tokens"]:
        figures["unpriced"] = tokens("unpriced_tokens")
    if answer["totals"]["unpriced_audio_seconds"]:
        figures["unpriced seconds"] = lambda row: f"{row['unpriced_audio_seconds']:,.3f}"
    names = [*(["start"] if answer["granularity"] != "total" else []), *answer["group_by"]]
    found = _table()
    for place, name in enumerate(names or [""]):
        found.add_column(name.replace("_", " "), "total" if place == 0 else "", overflow="fold")
    for heading, cell in figures.items():
        found.add_column(heading, cell(answer["totals"]), justify="right", no_wrap=True)
    for row in answer["rows"]:
        cells = [_name(row[name]) for name in names] or [""]
        found.add_row(*cells, *(cell(row) for cell in figures.values()))
    return found


def listing(columns: Mapping[str, Cell], rows: Iterable[Row], numbers: Sequence[str] = ()) -> Table:
    """Rows as they are, under these headings; those of `numbers` stand to the right."""
    found = _table(footer=False)
    for heading in columns:
        right = heading in numbers
        found.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in rows:
        found.add_row(*(escape(cell(row)) for cell in columns.values()))
    return found


def _table(*, footer: bool = True) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_footer=footer, header_style="bold", footer_style="bold", pad_edge=False)


def _name(value: str | None) -> str:
    return "[dim]none[/]" if value is None else escape(value)
