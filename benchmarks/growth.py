"""What a call costs as apps, models, batches and the table grow: CPU to its plan, rows and transactions, memory.

The CPU is this process's own, so that Azurite's and other processes' work is not in it.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from statistics import median
from uuid import uuid4

from azure.data.tables.aio import TableServiceClient

from benchmarks.figures import Figure
from collectors.collect import collect
from ledger.cache import AggregateCache, CachedRow
from ledger.plan import plan
from ledger.rows import aggregate_entity, aggregate_row_keys, cell_of, partition_key, sums_of
from ledger.store import TableStore
from local.azurite import Azurite
from models.measures import measures_of
from models.origin import RawEvent
from tests.support.events import NOON, raw_event, usage_event
from tests.support.ledger import DIMENSIONS, WRITER, call, ledger

ROUNDS = 9
CACHE_ROWS = 20_000
"""The default of the setting."""
FULL = 60
"""Batches of 1,000 calls in the table that is not empty any more."""
OLDEST = NOON - timedelta(days=365)


def figures() -> Iterable[Figure]:
    """CPU per event of the large case over that of the small one; then what the partitions themselves add."""
    base = _events(1000, apps=1, models=1)
    for name, events in (
        ("500 apps / 1 app", _events(1000, apps=500, models=1)),
        ("60 models / 1 model", _events(1000, apps=1, models=60)),
        ("batches of 2,000 / of 100", _events(2000, apps=20, models=2)),
    ):
        least = _events(100, apps=20, models=2) if len(events) > 1000 else base
        yield Figure(f"growth: CPU per event to its plan, {name}", _ratio(events, least), "ratio", 1.2)
    for apps in (1, 20, 500):
        planned = plan(collect(_events(1000, apps, 1), OLDEST).calls, DIMENSIONS, WRITER)
        transactions = [each for group in planned.transactions.values() for each in group]
        rows = sum(
            len(each.calls) + len({key for c in each.calls for key in c.changes[0].aggregates}) for each in transactions
        )
        yield Figure(f"growth: entities per call, batch of 1,000 over {apps} apps", rows / 1000, "entities")
    with Azurite() as azurite:
        cpu, seconds, requests = asyncio.run(_full_over_empty(azurite.connection_string))
    full = f"{FULL * 1000:,} calls in the table / none"
    yield Figure(f"growth: CPU per call to its commit, {full}", cpu, "ratio", 1.2)
    yield Figure(f"growth: time per call to its commit, Azurite's too, {full}", seconds, "ratio")
    yield Figure(f"growth: requests per call, {full}", requests, "ratio", 1.2)
    yield Figure("growth: memory of the cache, a row", _bytes_per_row(), "bytes")
    yield Figure(
        "growth: memory of the cache at its limit of 20,000 rows", _bytes_per_row() * CACHE_ROWS / 2**20, "MiB"
    )


def _events(number: int, apps: int, models: int) -> list[RawEvent]:
    return [
        raw_event(
            usage_event(app_id=f"app-{each % apps}", response_model=f"model-{each // apps % models}"),
            sequence_number=each,
        )
        for each in range(number)
    ]


def _ratio(events: Sequence[RawEvent], least: Sequence[RawEvent]) -> float:
    def cost(of: Sequence[RawEvent]) -> Callable[[], float]:
        def run() -> float:
            started = time.process_time()
            plan(collect(of, OLDEST).calls, DIMENSIONS, WRITER)
            return (time.process_time() - started) / len(of)

        return run

    many, few = cost(events), cost(least)
    repeat = max(1, 1000 // len(least))
    many(), few()
    ratios = [many() / median(few() for _ in range(repeat)) for _ in range(ROUNDS)]
    return median(ratios)


async def _full_over_empty(storage: str) -> tuple[float, float, float]:
    """CPU, time and requests of the last batches over those of the first, without the one that makes the sums' rows."""
    sent: list[object] = []
    costs: list[tuple[float, float, int]] = []
    async with TableServiceClient.from_connection_string(storage, raw_request_hook=sent.append) as service:
        name = f"growth{uuid4().hex}"
        await service.create_table(name)
        counting = ledger(TableStore(service, name), concurrency=16)
        for _ in range(FULL):
            calls = collect(_events(1000, apps=20, models=2), OLDEST).calls
            before = time.process_time(), time.perf_counter(), len(sent)
            report = await counting.commit(calls, WRITER)
            assert len(report.counted) == 1000
            costs.append((time.process_time() - before[0], time.perf_counter() - before[1], len(sent) - before[2]))
    cpu, seconds, requests = (
        median(cost[part] for cost in costs[-ROUNDS:]) / median(cost[part] for cost in costs[1 : 1 + ROUNDS])
        for part in range(3)
    )
    return cpu, seconds, requests


def _bytes_per_row() -> float:
    """Of rows as they are after a month of calls: every counter that a chat has, under keys of the usual length."""
    one = call()
    cache = AggregateCache(CACHE_ROWS)
    gc.collect()
    tracemalloc.start()
    for number in range(2 * CACHE_ROWS):  # twice as many as it may hold
        app = f"0d3b{number % 500:04}-5b7c-4c5e-9c0a-2f6d3c1b9a7e"
        cell = cell_of(one, DIMENSIONS)._replace(model=f"model-{number // 500}")
        hour, _, _ = aggregate_row_keys(cell, WRITER)
        partition = partition_key(app, "202611")
        row = aggregate_entity(app, cell, partition, hour, dict.fromkeys(measures_of(one), 10**6 + number))
        sums = sums_of({name: getattr(value, "value", value) for name, value in row.items()})
        cache.put(
            partition, hour, CachedRow(sums, "W/\"datetime'2026-11-20T12%3A00%3A00.0000000Z'\""[:60] + str(number))
        )
    del row, sums
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(cache) == CACHE_ROWS
    return taken / CACHE_ROWS
