"""What the ledger's tests share: a table of their own, calls to count, and the totals that the table then holds."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

from azure.data.tables.aio import TableServiceClient

from collectors.collect import collect
from ledger.commit import Ledger
from ledger.rows import sums_of
from ledger.store import Row, Store, TableStore
from models.call import Call
from models.measures import Measures, measures_of, total
from models.origin import RawEvent
from tests.support.events import NOON, usage_event
from tests.support.events import raw_event as as_raw_event

DIMENSIONS = ("deployment", "operation", "product")
WRITER = "usage-events-0"


@asynccontextmanager
async def fresh_table(connection_string: str) -> AsyncIterator[TableStore]:
    """An empty table that exists."""
    async with TableServiceClient.from_connection_string(connection_string) as service:
        name = f"t{uuid4().hex}"
        await service.create_table(name)
        yield TableStore(service, name)


async def no_wait(seconds: float) -> None:
    """Time passes quickly in tests."""


def ledger(store: Store, **changes: Any) -> Ledger:
    """A ledger that has seen nothing yet, as after the start of a process."""
    options: dict[str, Any] = {"dimensions": DIMENSIONS, "cache_rows": 10_000, "concurrency": 8, "sleep": no_wait}
    return Ledger(store, **options | changes)


def call(**changes: Any) -> Call:
    """A call, made of a usage event with these changes."""
    return calls_of([as_raw_event(usage_event(**changes))])[0]


def calls_of(events: Iterable[RawEvent]) -> list[Call]:
    """The calls of events that are all good."""
    collected = collect(events, NOON - timedelta(days=3650))
    assert not collected.dead_letters, collected.dead_letters
    return collected.calls


async def rows_of(store: Store, partition: str) -> list[Row]:
    """All rows of a partition."""
    return [row async for row in store.range(partition, "", "~")]


async def sums_by_level(store: Store, partition: str) -> dict[str, Measures]:
    """The totals over the hour rows, over the day rows, and over the month rows: `h`, `d`, `m`."""
    rows = await rows_of(store, partition)
    return {
        level: total(sums_of(row.columns) for row in rows if row.columns["RowKey"].startswith(f"{level}|"))
        for level in "hdm"
    }


async def assert_counted_once(store: Store, calls: Sequence[Call]) -> None:
    """The table holds a row for each distinct call, and every level of aggregates adds up to these calls."""
    partitions: dict[str, dict[str, Call]] = {}
    for each in calls:
        month = f"{each.timestamp:%Y%m}"
        partitions.setdefault(f"{each.app}|{month}", {}).setdefault(each.request_id, each)
    for partition, distinct in partitions.items():
        expected = total(measures_of(each) for each in distinct.values())
        rows = await rows_of(store, partition)
        marked = sorted(row.columns["request_id"] for row in rows if row.columns["RowKey"].startswith("c|"))
        assert marked == sorted(distinct)
        assert await sums_by_level(store, partition) == {"h": expected, "d": expected, "m": expected}
