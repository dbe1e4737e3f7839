"""Calls a second and requests, against how samples commonly count: for each event read the hour's row, add to it, and
write it back under its ETag, again while another was faster; 32 events at a time. The same Azurite, by turns.
"""

import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import uuid4

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty
from azure.data.tables.aio import TableClient, TableServiceClient

from benchmarks.figures import Figure
from ledger.rows import hour_of
from ledger.store import TableStore
from local.azurite import Azurite
from models.call import Call
from tests.support.events import raw_event, usage_event
from tests.support.ledger import calls_of, ledger

APPS, MODELS = 20, 2
BATCH, BATCHES, SAMPLES = 1000, 4, 1000
ROUNDS: Final = 3
IN_FLIGHT: Final = 32
KINDS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")


class _Requests:
    """Counts what a client sends; a transaction is one."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, _request: Any) -> None:
        self.number += 1


def figures() -> Iterable[Figure]:
    """Ours counts `BATCHES` batches of 1,000 calls a round, the sample 1,000 calls; the figures are per call."""
    with Azurite() as azurite:
        faster, fewer = zip(*asyncio.run(_rounds(azurite.connection_string)), strict=True)
    yield Figure("store: calls/s, of the usual sample code's", statistics.median(faster), "ratio", 9.0, at_most=False)
    yield Figure(
        "store: the usual sample code's requests, of ours", statistics.median(fewer), "ratio", 90.0, at_most=False
    )


async def _rounds(storage: str) -> list[tuple[float, float]]:
    ratios = []
    await _ours(storage, 1)
    for _ in range(ROUNDS):
        (seconds, requests), (sample_seconds, sample_requests) = await _ours(storage, BATCHES), await _sample(storage)
        ratios.append((sample_seconds / seconds, sample_requests / requests))
    return ratios


def _calls() -> list[Call]:
    return calls_of(
        raw_event(
            usage_event(app_id=f"app-{number % APPS}", response_model=f"model-{number // APPS % MODELS}"),
            sequence_number=number,
        )
        for number in range(BATCH)
    )


async def _ours(storage: str, batches: int) -> tuple[float, float]:
    """Seconds and requests per call, in the steady state: the first batch made the rows."""
    requests = _Requests()
    async with TableServiceClient.from_connection_string(storage, raw_request_hook=requests) as service:
        name = f"ours{uuid4().hex}"
        await service.create_table(name)
        counting = ledger(TableStore(service, name), concurrency=16)
        await counting.commit(_calls(), "usage-events-0")
        planned = [_calls() for _ in range(batches)]
        requests.number, started = 0, time.perf_counter()
        for calls in planned:
            report = await counting.commit(calls, "usage-events-0")
            assert len(report.counted) == BATCH
        return (time.perf_counter() - started) / (batches * BATCH), requests.number / (batches * BATCH)


async def _sample(storage: str) -> tuple[float, float]:
    requests = _Requests()
    async with TableServiceClient.from_connection_string(storage, raw_request_hook=requests) as service:
        table = await service.create_table(f"sample{uuid4().hex}")
        warm, calls = _calls(), _calls()[:SAMPLES]
        await _count(table, warm[: APPS * MODELS])
        requests.number, started = 0, time.perf_counter()
        await _count(table, calls)
        seconds, sent = time.perf_counter() - started, requests.number
        counted = [entity["calls"].value async for entity in table.list_entities()]
        assert sum(counted) == len(calls) + APPS * MODELS
        await table.close()
    return seconds / len(calls), sent / len(calls)


async def _count(table: TableClient, calls: Sequence[Call]) -> None:
    at_once = asyncio.Semaphore(IN_FLIGHT)

    async def one(call: Call) -> None:
        async with at_once:
            while not await _added(table, call):
                pass

    await asyncio.gather(*map(one, calls))


async def _added(table: TableClient, call: Call) -> bool:
    """False where another was faster."""
    keys = {"PartitionKey": call.app, "RowKey": f"{hour_of(call.timestamp)}|{call.model}"}
    added = {"calls": 1} | {kind: getattr(call.usage, kind) for kind in KINDS}
    try:
        row = await table.get_entity(keys["PartitionKey"], keys["RowKey"])
    except ResourceNotFoundError:
        row = None
    sums = {
        name: EntityProperty(amount + (row[name].value if row else 0), EdmType.INT64) for name, amount in added.items()
    }
    try:
        if row is None:
            await table.create_entity(keys | sums)
        else:
            etag = row.metadata["etag"]
            await table.update_entity(keys | sums, etag=etag, match_condition=MatchConditions.IfNotModified)
    except ResourceExistsError:
        return False
    except HttpResponseError as error:
        if error.status_code != 412:
            raise
        return False
    return True
