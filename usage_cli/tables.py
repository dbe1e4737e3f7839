"""Answers as tables: columns that line up, totals below."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

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


LEAST_NAME: Final = 12
"""So many characters a name has at least, before it is folded."""
_CAN_MISS: Final = ("cached", "coverage", "prompt", "completion", "calls")
"""The figures that a narrow table leaves out, the first first."""


class Fitted(NamedTuple):
    """A table, and the figures for which there was no room."""

    table: Table
    missing: list[str]


def usage_table(answer: Row, *, short: bool, width: int) -> Fitted:
    """An answer of /api/usage with its totals, so wide at most: numbers are never cut. Where there is no room, they are
    short; then figures are left out."""
    names = [*(["start"] if answer["granularity"] != "total" else []), *answer["group_by"]] or [""]
    rows = [[_name(row.get(name)) if name else "" for name in names] for row in answer["rows"]]
    longest = [max(map(cell_len, ["total", name, *(row[at] for row in rows)])) for at, name in enumerate(names)]
    for_names = sum(min(length, LEAST_NAME) for length in longest)
    columns = _figures(answer, short=short)
    if not _fits(columns, len(names), for_names, width):
        columns = _figures(answer, short=True)
    missing: list[str] = []
    for heading in _CAN_MISS:
        if _fits(columns, len(names), for_names, width):
            break
        del columns[heading]
        missing.append(heading)
    found = _table()
    for at, name in enumerate(names):
        least = min(longest[at], LEAST_NAME)
        found.add_column(name.replace("_", " "), "" if at else "total", overflow="fold", min_width=least)
    for heading, (total, *cells) in columns.items():
        least = _width(heading, total, *cells)
        found.add_column(heading, total, justify="right", no_wrap=True, min_width=least)
    for at, row in enumerate(rows):
        told = [answer["rows"][at].get(name, "") is not None for name in names]
        shown = [escape(cell) if known else Text(cell, style="dim") for cell, known in zip(row, told, strict=True)]
        found.add_row(*shown, *(cells[at + 1] for cells in columns.values()))
    return Fitted(found, missing)


def _figures(answer: Row, *, short: bool) -> dict[str, list[str]]:
    """By heading: the total, then the rows."""

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
    return {heading: [cell(row) for row in (answer["totals"], *answer["rows"])] for heading, cell in figures.items()}


def _fits(columns: Mapping[str, Sequence[str]], names: int, for_names: int, width: int) -> bool:
    """Between any two columns are three characters, and one at each edge."""
    between = 3 * (len(columns) + names - 1) + 2
    return for_names + between + sum(_width(heading, *cells) for heading, cells in columns.items()) <= width


def _width(*cells: str) -> int:
    return max(map(cell_len, cells))


def listing(columns: Mapping[str, Cell], rows: Iterable[Row], numbers: Sequence[str] = ()) -> Table:
    """Rows as they are, under these headings; those of `numbers` stand to the right."""
    found = _table(footer=False)
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    for at, heading in enumerate(columns):
        right = heading in numbers
        least = _width(heading, *(row[at] for row in cells)) if right else None
        found.add_column(heading, justify="right" if right else "left", no_wrap=right, overflow="fold", min_width=least)
    for row in cells:
        found.add_row(*map(escape, row))
    return found


def _table(*, footer: bool = True) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_footer=footer, header_style="bold", footer_style="bold", pad_edge=False)


def _name(value: str | None) -> str:
    return "none" if value is None else value
