"""Recompute what the aggregate rows of an app's month should hold from its call rows, and say where they differ."""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import NamedTuple

from ledger.plan import change_of
from ledger.rows import call_of, cell_key, dimensions_of, partition_keys, sums_of
from ledger.store import Row, Store, WholeStore, partitions_after
from models.keys import escape_key
from models.measures import Measures, add

Sums = Mapping[str, Measures]
"""By the key of an aggregate row without its writer."""


class Difference(NamedTuple):
    """An aggregate row (all writers together) whose `measure` is not the sum over its calls."""

    row: str
    measure: str
    from_calls: int
    from_aggregates: int


class Verified(NamedTuple):
    """`calls` were added up and `aggregates` compared with them. `changing` rows were written meanwhile and are not
    judged; `unverifiable` ones also sum calls whose rows are no longer kept."""

    calls: int
    aggregates: int
    differences: list[Difference]
    changing: int
    unverifiable: int


async def verify(store: Store, app: str, month: str, kept_since: datetime, parts: int = 1) -> Verified:
    """One app's month (`YYYYMM`) in so many partitions. Calls before `kept_since` may have no rows any more.

    The rows are read while the app writes: what the aggregates say is read before and after the calls, and a row is
    judged only if both say the same. Memory grows with the aggregate rows, not with the calls. Raises StoreBusy.
    """
    partitions = partition_keys(app, month, parts)
    before = await _aggregates(store, partitions)
    calls = 0
    expected: dict[str, Measures] = defaultdict(dict)
    async for row in _call_rows(store, partitions):
        calls += 1
        for key, measures in _added_by(row):
            add(expected[key], measures)
    after = await _aggregates(store, partitions)
    differences: list[Difference] = []
    changing = unverifiable = compared = 0
    for key in sorted(before.keys() | after.keys() | expected.keys()):
        if not _all_calls_are_kept(key, kept_since):
            unverifiable += 1
        elif before.get(key) != after.get(key):
            changing += 1
        else:
            compared += 1
            differences += _compare(key, expected.get(key, {}), after.get(key, {}))
    return Verified(calls, compared, differences, changing, unverifiable)


async def partitions_of(store: WholeStore, month: str, apps: Collection[str] | None = None) -> AsyncIterator[str]:
    """The partitions of a month that have rows, of some apps or of all: asked of the table itself, with a few requests
    for each app. Raises StoreBusy."""
    if apps is not None:
        for app in apps:
            async for found in _partitions_of(store, month, escape_key(app)):
                yield found
        return
    last = await store.partition_after("")
    while last is not None:
        key = last.partition("|")[0]
        async for found in _partitions_of(store, month, key):
            yield found
        last = await store.partition_after(f"{key}|~")


async def _partitions_of(store: WholeStore, month: str, app: str) -> AsyncIterator[str]:
    async for found in partitions_after(store, f"{app}|{int(month) - 1:06}~"):
        if not found.startswith(f"{app}|{month}"):
            return
        yield found


async def _aggregates(store: Store, partitions: Sequence[str]) -> Sums:
    sums: dict[str, Measures] = defaultdict(dict)
    for partition, level in product(partitions, "dhm"):
        async for row in store.range(partition, f"{level}|", f"{level}|~"):
            add(sums[cell_key(row.columns["RowKey"])], sums_of(row.columns))
    return sums


async def _call_rows(store: Store, partitions: Sequence[str]) -> AsyncIterator[Row]:
    for partition in partitions:
        async for row in store.range(partition, "c|", "c|~"):
            yield row


def _added_by(row: Row) -> Iterator[tuple[str, Measures]]:
    change = change_of(call_of(row.columns), dimensions_of(row.columns), "")
    if change is not None:
        for key in change.aggregates:
            yield cell_key(key), change.measures


def _all_calls_are_kept(key: str, kept_since: datetime) -> bool:
    """True if the hour, day or month of the key began when call rows were still kept."""
    start = key.split("|")[1]
    return start >= kept_since.strftime("%Y%m%d%H")[: len(start)] and (
        len(start) > 6 or start > kept_since.strftime("%Y%m") or kept_since.day == 1
    )


def _compare(key: str, expected: Measures, found: Measures) -> list[Difference]:
    return [
        Difference(key, name, expected.get(name, 0), found.get(name, 0))
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name, 0) != found.get(name, 0)
    ]
