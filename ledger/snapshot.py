"""One partition of table `usage` as it is at one moment, although the app goes on counting in it.

No read of Table Storage shows many rows as of one moment. So the sums are read before the calls and again after them:
a sum whose ETag is still the same was not touched, and goes with the calls that were read. One that has moved is
replaced by the sum over just these calls (an hour), over the hours (a day) or over the days (a month). Calls that were
counted while their neighbours were read are in both the calls and the sums, or in neither.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from azure.data.tables import EdmType, EntityProperty

from ledger.plan import change_of
from ledger.rows import call_of, cell_key, dimensions_of
from ledger.store import Entity, Row, WholeStore
from models.measures import MEASURES, Measures, add

WRITER: Final = "export"
"""In the place of those whose sums had moved."""
_LEVELS: Final = ("d", "h", "m")


async def snapshot(store: WholeStore, partition: str) -> AsyncIterator[Entity]:
    """The rows in the order of their keys, with their types. Holds the sums in memory, not the calls. Raises
    StoreBusy."""
    before: dict[str, str] = {}
    for level in _LEVELS:
        async for row in store.range(partition, f"{level}|", f"{level}|~", ["RowKey"]):
            before[row.columns["RowKey"]] = row.etag
    hours: dict[str, Measures] = defaultdict(dict)
    async for row in store.typed(partition, "c|", "c|~"):
        columns = {name: _number(value) for name, value in row.columns.items()}
        change = change_of(call_of(columns), dimensions_of(columns), "")
        if change is not None:
            add(hours[cell_key(change.aggregates[0])], change.measures)
        yield row.columns
    after = {row.columns["RowKey"]: row for level in _LEVELS async for row in _level(store, partition, level)}
    moved = {cell_key(key) for key in before.keys() | after.keys() if _etag(after.get(key)) != before.get(key)}
    for entity in _settled(after, moved, hours) if moved else (row.columns for row in after.values()):
        yield entity


def _settled(after: Mapping[str, Row], moved: set[str], hours: Mapping[str, Measures]) -> list[Entity]:
    """The sums that have not moved, and those that go with the calls in the place of the others."""
    kept = {key: row.columns for key, row in after.items() if cell_key(key) not in moved}
    samples = {cell_key(key): row.columns for key, row in after.items() if cell_key(key) in moved}
    for level, length in (("h", 0), ("d", 8), ("m", 6)):
        parts = hours if level == "h" else _longer(kept, {"d": "h", "m": "d"}[level], level, length)
        for cell, sample in samples.items():
            if cell.startswith(level) and parts.get(cell):
                entity = {name: value for name, value in sample.items() if name not in MEASURES}
                sums = {name: EntityProperty(amount, EdmType.INT64) for name, amount in parts[cell].items()}
                kept[f"{cell}|{WRITER}"] = entity | {"RowKey": f"{cell}|{WRITER}"} | sums
    return [kept[key] for key in sorted(kept)]


def _longer(kept: Mapping[str, Entity], level: str, longer: str, length: int) -> dict[str, Measures]:
    """The sums over those of a level, by the cells of the next."""
    sums: dict[str, Measures] = defaultdict(dict)
    for key, columns in kept.items():
        kind, time, digest = cell_key(key).split("|")
        if kind == level:
            add(sums[f"{longer}|{time[:length]}|{digest}"], measures_in(columns))
    return sums


def measures_in(columns: Entity) -> Measures:
    """The counters of a typed row."""
    return {name: _number(columns[name]) for name in MEASURES if name in columns}


async def _level(store: WholeStore, partition: str, level: str) -> AsyncIterator[Row]:
    async for row in store.typed(partition, f"{level}|", f"{level}|~"):
        yield row


def _etag(row: Row | None) -> str | None:
    return row.etag if row else None


def _number(value: Any) -> Any:
    return value.value if isinstance(value, EntityProperty) else value
