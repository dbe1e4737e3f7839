"""Bring planned transactions through, whatever fails: the only code here where the order of steps matters.

A transaction inserts its call rows and writes its aggregate rows under their ETags, all or none. So:

1. It comes through: the calls are counted.
2. A call row is there already: that call was counted, by an earlier delivery or by ourselves in an attempt whose answer
   was lost (then the row has our commit id). Leave it out and do the rest again.
3. An aggregate row is not as we thought: read it and do it all again.
4. No answer, or a passing fault: do it all again. If it did come through, 2 says so.

Nothing is remembered between batches but the cache, which can only cost time.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from ledger.cache import AggregateCache, CachedRow
from ledger.plan import PlannedCall, Transaction, plan
from ledger.retry import MAX_ATTEMPTS, Sleep, wait_seconds
from ledger.rows import COMMIT_ID, Cell, aggregate_entity, sums_of
from ledger.store import Refused, Row, RowChanged, RowExists, Store, StoreBusy, Write
from models.call import Call
from models.errors import StoreUnavailable
from models.measures import Measures, add

MAX_CONFLICTS = 50
CONCURRENT_READS = 16


@dataclass(slots=True)
class CommitReport:
    """What became of a batch's calls: each is in exactly one of `counted`, `duplicates` and `refused`.

    `requests` are transactions sent, `transactions` those that came through, `conflicts` those that met a row that was
    not as expected, `retries` those repeated after a passing fault.
    """

    counted: int = 0
    duplicates: int = 0
    refused: list[tuple[Call, str]] = field(default_factory=list)
    transactions: int = 0
    requests: int = 0
    conflicts: int = 0
    retries: int = 0
    entities: int = 0


class Ledger:
    """Counts calls exactly once in the table behind `store`."""

    def __init__(
        self,
        store: Store,
        *,
        dimensions: Sequence[str],
        cache_rows: int,
        concurrency: int,
        sleep: Sleep = asyncio.sleep,
    ):
        self._store = store
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
        planned = plan(calls, self._dimensions, writer, commit_id)
        report = CommitReport(duplicates=len(planned.duplicates))
        in_flight = asyncio.Semaphore(self._concurrency)

        async def one_partition(transactions: Sequence[Transaction]) -> None:
            async with in_flight:
                for transaction in transactions:
                    await self._bring_through(transaction, commit_id, report)

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

    async def _bring_through(self, transaction: Transaction, commit_id: str, report: CommitReport) -> None:
        partition, left = transaction.partition, list(transaction.calls)
        busy = conflicts = 0
        some_may_be_counted = False
        to_read = self._never_seen(partition, left)
        read: dict[str, CachedRow | None] = {}  # beside the cache, which may not hold all rows of a transaction
        while True:
            try:
                if some_may_be_counted:
                    before = len(left)
                    left = await self._without_counted(partition, left, commit_id, report)
                    if len(left) == before:
                        to_read = _touched(left)
                    some_may_be_counted = False
                if not left:
                    return
                if to_read:
                    read.update(await self._read_aggregates(partition, to_read))
                    to_read = []
                report.requests += 1
                await self._attempt(transaction, left, read, report)
            except (RowExists, RowChanged) as conflict:
                report.conflicts += 1
                conflicts += 1
                if conflicts > MAX_CONFLICTS:
                    raise StoreUnavailable(f"{conflicts} conflicts in {partition}") from conflict
                some_may_be_counted = isinstance(conflict, RowExists) and (conflict.index or 0) < len(left)
                to_read = [] if some_may_be_counted else _touched(left)
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
                    await self._bring_through(transaction._replace(calls=(planned,)), commit_id, report)
                return
            else:
                report.counted += len(left)
                report.transactions += 1
                return

    async def _attempt(
        self,
        transaction: Transaction,
        calls: Sequence[PlannedCall],
        read: Mapping[str, CachedRow | None],
        report: CommitReport,
    ) -> None:
        """Send one transaction and remember the aggregate rows it leaves. `read` goes before the cache."""
        partition = transaction.partition
        writes = [Write(planned.entity) for planned in calls]
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
        self, partition: str, calls: Sequence[PlannedCall], commit_id: str, report: CommitReport
    ) -> list[PlannedCall]:
        """The calls that have no row yet. One of ours, from an attempt whose answer was lost, is counted now."""
        rows = await self._read(partition, [planned.row_key for planned in calls], [COMMIT_ID])
        left: list[PlannedCall] = []
        for planned, row in zip(calls, rows, strict=True):
            if row is None:
                left.append(planned)
            elif row.columns.get(COMMIT_ID) == commit_id:
                report.counted += 1
            else:
                report.duplicates += 1
        return left

    def _never_seen(self, partition: str, calls: Sequence[PlannedCall]) -> list[str]:
        """The aggregate rows whose month row this process does not know: after a start they are probably there, and
        reading them costs less than a transaction that fails. Below a known month row, a new hour is probably new."""
        unknown = [planned for planned in calls if self._cache.get(partition, planned.aggregates[2]) is None]
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
    return list({row_key: None for planned in calls for row_key in planned.aggregates})


def _sums(calls: Sequence[PlannedCall]) -> dict[str, tuple[Cell, Measures]]:
    """What the calls add to each aggregate row."""
    sums: dict[str, tuple[Cell, Measures]] = {}
    for planned in calls:
        for row_key in planned.aggregates:
            if row_key not in sums:
                sums[row_key] = (planned.cell, {})
            add(sums[row_key][1], planned.measures)
    return sums
