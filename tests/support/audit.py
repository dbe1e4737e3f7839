"""What the table `usage` holds, added up without the product's code: from its call rows, and from its aggregate rows.

Sums are kept per app, model and hour (`YYYYMMDDHH`, UTC). Both ways of adding up must come to what was sent.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables import EntityProperty, TableClient

COUNTED = ("calls", "usage_reported", "usage_missing", "prompt_tokens", "completion_tokens", "total_tokens")


class Cell(NamedTuple):
    """What is summed together."""

    app: str
    model: str | None
    time: str


Sums = dict[Cell, Counter[str]]
"""Sums that are all 0 are no cell."""


def sums() -> Sums:
    return defaultdict(Counter)


def without_zeros(found: Mapping[Cell, Mapping[str, int]]) -> Sums:
    counted = {cell: Counter({name: each[name] for name in COUNTED if each.get(name)}) for cell, each in found.items()}
    return {cell: each for cell, each in counted.items() if each}


def over(found: Sums, length: int) -> Sums:
    """Sums over days (8) or months (6 letters of the hour)."""
    longer = sums()
    for cell, each in found.items():
        longer[cell._replace(time=cell.time[:length])].update(each)
    return without_zeros(longer)


class Audit(NamedTuple):
    """`calls` is what the call rows add up to; `hours`, `days` and `months` what the aggregate rows say."""

    calls: Sums
    hours: Sums
    days: Sums
    months: Sums


def audit(connection_string: str, table: str = "usage") -> Audit:
    """Reads the whole table."""
    found = Audit(sums(), sums(), sums(), sums())
    for row in _rows(connection_string, table):
        kind, time = row["RowKey"].split("|")[:2]
        app, model = row["app"], row.get("model")
        if kind == "c" and row.get("stage") != "moved":
            hour = row["timestamp_utc"].translate(_NO_PUNCTUATION)[:10]
            found.calls[Cell(app, model, hour)].update(_of_call(row))
        if kind in "hdm":
            level = {"h": found.hours, "d": found.days, "m": found.months}[kind]
            level[Cell(app, model, time)].update({name: row.get(name, 0) for name in COUNTED})
    return Audit(*map(without_zeros, found))


_NO_PUNCTUATION = {ord(sign): None for sign in "-T:"}


def _of_call(row: Mapping[str, Any]) -> dict[str, int]:
    tokens = {name: row.get(name, 0) for name in COUNTED if name.endswith("_tokens")}
    return {"calls": 1, f"usage_{row['usage_state']}": 1, **tokens}


def _rows(connection_string: str, table: str) -> Iterable[dict[str, Any]]:
    with TableClient.from_connection_string(connection_string, table) as client:
        try:
            for row in client.list_entities():
                yield {k: v.value if isinstance(v, EntityProperty) else v for k, v in row.items()}
        except ResourceNotFoundError:
            return


def differences(connection_string: str, sent: Sums, table: str = "usage") -> list[str]:
    """Where the table's call rows, hours, days or months are not what was sent, each per app and model."""
    found, sent = audit(connection_string, table), without_zeros(sent)
    wanted = Audit(sent, sent, over(sent, 8), over(sent, 6))
    return [
        f"{name}: {' '.join(map(str, cell))}: sent {dict(should.get(cell, {}))}, found {dict(does.get(cell, {}))}"
        for name, should, does in zip(Audit._fields, wanted, found, strict=True)
        for cell in sorted(should.keys() | does.keys(), key=repr)
        if should.get(cell) != does.get(cell)
    ]


def assert_exact(connection_string: str, sent: Sums, table: str = "usage") -> None:
    """The table is what was sent."""
    wrong = differences(connection_string, sent, table)
    assert not wrong, "\n".join([f"{len(wrong)} sums differ", *wrong[:20]])
