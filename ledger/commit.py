"""Bring planned transactions through, whatever fails: the only code here where the order of steps matters.

A transaction inserts its call rows and writes its aggregate rows under their ETags, all or none. So:

1. It comes through: the calls are counted.
2. A call row is there already: that call was counted, by an earlier delivery or by ourselves in an attempt whose answer
   was lost (then the row has our commit id). Leave it out and do the rest again. Only if the row has a lower rank
   (models.call.Call.rank) it is replaced under its ETag, and what it had added is taken back in the same transaction.
3. An aggregate row is not as we thought: read it and do it all again.
4. No answer, or a passing fault: do it all again. If it did come through, 2 says so.

Nothing is remembered between batches but the cache, which can only cost time.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from ledger.cache import AggregateCache, CachedRow
from ledger.plan import PartitionOf, PlannedCall, Transaction, not_spread, pack, plan
from ledger.retry import MAX_ATTEMPTS, MAX_CONFLICTS, Sleep, wait_seconds
from ledger.rows import COMMIT_ID, Cell, aggregate_entity, call_entity, sums_of
from ledger.store import Refused, Row, RowChanged, RowExists, Store, StoreBusy, Write
from models.call import Call, rank_of
from models.errors import StoreUnavailable
from models.measures import Measures, add

CONCURRENT_READS = 16


@dataclass(slots=True)
class CommitReport:
    """What became of a batch's calls: each is in exactly one of the lists.

    `corrected` are those that took the place of an earlier stage of themselves. Calls of the stage `moved` are in none
    but `refused`. `requests` are transactions sent, `transactions` those that came through, `conflicts` those that met
    a row that was not as expected, `retries` those repeated after a passing fault.
    """

    counted: list[Call] = field(default_factory=list)
    duplicates: list[Call] = field(default_factory=list)
    corrected: list[Call] = field(default_factory=list)
    refused: list[tuple[Call, str]] = field(default_factory=list)
    transactions: int = 0
    requests: int = 0
    conflicts: int = 0
    retries: int = 0
    entities: int = 0

    def came_through(self, planned: PlannedCall) -> None:
        """Note a call that its transaction wrote."""
        if planned.call.stage != "moved":
            (self.counted if planned.etag is None else self.corrected).append(planned.call)


class Ledger:
    """Counts calls exactly once in the table behind `store`."""

    def __init__(
        self,
        store: Store,
        *,
        dimensions: Sequence[str],
        cache_rows: int,
        concurrency: int,
        partition_of: PartitionOf = not_spread,
        sleep: Sleep = asyncio.sleep,
    ):
        self._store = store
        self._partition_of = partition_of
        self._dimensions = tuple(dimensions)
        self._cache = AggregateCache(cache_rows)
        self._concurrency = concurrency
        self._sleep = sleep

    async def commit(self, calls: Iterable[Call], writer: str) -> CommitReport:
        """Count `calls` under the aggregate rows of `writer`.

        Raises StoreUnavailable if some could not be brought through; those that could are counted, and a repetition of
        the whole batch counts the others.
        """
        commit_id = uuid4().hex
        planned = plan(calls, self._dimensions, writer, self._partition_of)
        report = CommitReport(duplicates=list(planned.duplicates))
        in_flight = asyncio.Semaphore(self._concurrency)

        async def one_partition(transactions: Sequence[Transaction]) -> None:
            async with in_flight:
                for transaction in transactions:
                    await self._bring_through(transaction, writer, commit_id, report)

        outcomes = await asyncio.gather(
            *(one_partition(transactions) for transactions in planned.transactions.values()), return_exceptions=True
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, StoreUnavailable):
                raise failure
        if failures:
            raise failures[0]
        return report

    async def _bring_through(self, transaction: Transaction, writer: str, commit_id: str, report: CommitReport) -> None:
        partition, left = transaction.partition, list(transaction.calls)
        busy = conflicts = 0
        some_are_there = False
        to_read = self._never_seen(partition, left)
        read: dict[str, CachedRow | None] = {}  # beside the cache, which may not hold all rows of a transaction
        while True:
            try:
                if some_are_there:
                    before = left
                    left = await self._without_counted(partition, left, writer, commit_id, report)
                    to_read = _touched(left if left == before else [planned for planned in left if planned.takes])
                    some_are_there = False
                    if len(parts := pack(partition, left) if left else []) > 1:
                        for part in parts:  # what replaces a row touches more rows, and they are too many now
                            await self._bring_through(part, writer, commit_id, report)
                        return
                if not left:
                    return
                if to_read:
                    read.update(await self._read_aggregates(partition, to_read))
                    to_read = []
                report.requests += 1
                await self._attempt(transaction, left, read, commit_id, report)
            except (RowExists, RowChanged) as conflict:
                report.conflicts += 1
                conflicts += 1
                busy = 0  # the service answers
                if conflicts > MAX_CONFLICTS:
                    raise StoreUnavailable(f"{conflicts} conflicts in {partition}") from conflict
                some_are_there = (conflict.index or 0) < len(left)
                to_read = [] if some_are_there else _touched(left)
                if conflicts > 2:
                    await self._sleep(wait_seconds(conflicts - 2))
            except StoreBusy as fault:
                report.retries += 1
                busy += 1
                if busy >= MAX_ATTEMPTS:
                    raise StoreUnavailable(f"table storage: {fault}") from fault
                await self._sleep(wait_seconds(busy))
            except Refused as refusal:
                if len(left) == 1:
                    report.refused.append((left[0].call, str(refusal)))
                    return
                # The service does not say reliably which one it will not take: alone, each is told apart.
                for planned in left:
                    alone = transaction._replace(calls=(planned,))
                    await self._bring_through(alone, writer, commit_id, report)
                return
            else:
                for planned in left:
                    report.came_through(planned)
                report.transactions += 1
                return

    async def _attempt(
        self,
        transaction: Transaction,
        calls: Sequence[PlannedCall],
        read: Mapping[str, CachedRow | None],
        commit_id: str,
        report: CommitReport,
    ) -> None:
        """Send one transaction and remember the aggregate rows it leaves. `read` goes before the cache."""
        partition = transaction.partition
        writes = [
            Write(call_entity(planned.call, partition, planned.row_key, commit_id, self._dimensions), planned.etag)
            for planned in calls
        ]
        rows: list[tuple[str, Measures]] = []
        for row_key, (cell, added) in _sums(calls).items():
            before = read[row_key] if row_key in read else self._cache.get(partition, row_key)
            sums = dict(before.sums) if before else {}
            add(sums, added)
            rows.append((row_key, sums))
            entity = aggregate_entity(transaction.app, cell, partition, row_key, sums)
            writes.append(Write(entity, before.etag if before else None))
        etags = await self._store.submit(writes)
        report.entities += len(writes)
        for (row_key, sums), etag in zip(rows, etags[len(calls) :], strict=True):
            self._cache.put(partition, row_key, CachedRow(sums, etag))

    async def _without_counted(
        self, partition: str, calls: Sequence[PlannedCall], writer: str, commit_id: str, report: CommitReport
    ) -> list[PlannedCall]:
        """The calls that have no row yet, or one of a lower rank. One of ours, from an attempt whose answer was
        lost, came through."""
        rows = await self._read(partition, [planned.row_key for planned in calls], [COMMIT_ID, "stage", "revision"])
        left: list[PlannedCall] = []
        earlier: list[PlannedCall] = []
        for planned, row in zip(calls, rows, strict=True):
            if row is None:
                left.append(planned.inserted())
            elif row.columns.get(COMMIT_ID) == commit_id:
                report.came_through(planned)
            elif rank_of(row.columns.get("stage", "final"), row.columns.get("revision", 0)) < planned.call.rank:
                earlier.append(planned)
            elif planned.call.stage != "moved":
                report.duplicates.append(planned.call)
        whole = await self._read(partition, [planned.row_key for planned in earlier])
        for planned, row in zip(earlier, whole, strict=True):
            left.append(planned.replacing(row.columns, row.etag, writer) if row else planned.inserted())
        return left

    def _never_seen(self, partition: str, calls: Sequence[PlannedCall]) -> list[str]:
        """The aggregate rows whose month row this process does not know: after a start they are probably there, and
        reading them costs less than a transaction that fails. Below a known month row, a new hour is probably new."""
        unknown = [
            planned
            for planned in calls
            if any(self._cache.get(partition, change.aggregates[2]) is None for change in planned.changes)
        ]
        return _touched(unknown)

    async def _read_aggregates(self, partition: str, keys: Sequence[str]) -> dict[str, CachedRow | None]:
        rows = await self._read(partition, keys)
        return {
            row_key: CachedRow(sums_of(row.columns), row.etag) if row else None
            for row_key, row in zip(keys, rows, strict=True)
        }

    async def _read(self, partition: str, row_keys: Sequence[str], select: Sequence[str] = ()) -> list[Row | None]:
        at_once = asyncio.Semaphore(CONCURRENT_READS)

        async def one(row_key: str) -> Row | None:
            async with at_once:
                return await self._store.get(partition, row_key, select)

        return await asyncio.gather(*(one(row_key) for row_key in row_keys))


def _touched(calls: Sequence[PlannedCall]) -> list[str]:
    return list({row_key: None for planned in calls for row_key in planned.touched})


def _sums(calls: Sequence[PlannedCall]) -> dict[str, tuple[Cell, Measures]]:
    """What the calls add to each aggregate row."""
    sums: dict[str, tuple[Cell, Measures]] = {}
    for planned in calls:
        for change in planned.changes:
            for row_key in change.aggregates:
                if row_key not in sums:
                    sums[row_key] = (change.cell, {})
                add(sums[row_key][1], change.measures)
    return sums
