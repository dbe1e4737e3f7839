"""Writes that may be repeated: passing faults are waited out, and a row that is never taken holds up no other."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.data.tables.aio import TableServiceClient

from ledger.retry import LONGEST_WAIT_SECONDS, MAX_ATTEMPTS, upsert_all, wait_seconds
from ledger.store import Entity, Refused, StoreBusy, TableStore
from local.azurite import Azurite
from models.errors import StoreUnavailable
from tests.faults.table_proxy import Fault, TableProxy, every
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import fresh_table, no_wait, rows_of


def test_waits_grow_and_no_two_are_alike() -> None:
    waits = [[wait_seconds(attempt) for _ in range(20)] for attempt in range(1, 5)]
    for shorter, longer in pairwise(waits):
        assert max(shorter) <= min(longer) < 2 * max(longer)
    assert all(len(set(each)) > 1 for each in waits)
    assert LONGEST_WAIT_SECONDS / 2 <= wait_seconds(1_000) <= LONGEST_WAIT_SECONDS


async def test_the_sdks_own_waits_grow_and_no_two_are_alike(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of requests that begin at the same time: reads, which the SDK repeats by itself."""
    waits: dict[asyncio.Task[object] | None, list[float]] = defaultdict(list)

    async def note(_transport: object, seconds: float) -> None:
        waits[asyncio.current_task()].append(seconds)

    monkeypatch.setattr(AsyncHttpTransport, "sleep", note)
    async with (
        TableProxy(azurite, every(Fault.SERVER_BUSY)) as proxy,
        TableServiceClient.from_connection_string(proxy.connection_string, retry_total=4) as service,
    ):
        store = TableStore(service, "t")
        reads = [store.get("p", "r") for _ in range(4)] + [anext(store.range("p", "a", "z")) for _ in range(4)]
        faults = await asyncio.gather(*(asyncio.ensure_future(read) for read in reads), return_exceptions=True)
    assert [type(fault) for fault in faults] == [StoreBusy] * 8
    assert len({tuple(each) for each in waits.values()}) == 8
    for each in waits.values():
        assert len(each) >= 2
        assert each == sorted(set(each))


ROWS = [{"PartitionKey": "p", "RowKey": f"{number:03}"} for number in range(150)]


async def test_rows_are_written_whatever_passes(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await upsert_all(FaultyStore(store, at(1, 3)), ROWS, no_wait)
        assert len(await rows_of(store, "p")) == 150


async def test_a_fault_that_lasts_is_raised(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        faulty = FaultyStore(store, at(*range(1, 100)))
        with pytest.raises(StoreUnavailable):
            await upsert_all(faulty, ROWS, no_wait)
        assert faulty.requests == MAX_ATTEMPTS


async def test_a_row_that_the_service_never_takes_is_logged_and_the_others_are_written(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    class Refusing(FaultyStore):
        async def upsert(self, entities: Sequence[Entity]) -> None:
            if any(entity["RowKey"] == "007" for entity in entities):
                raise Refused("400 made up")
            await super().upsert(entities)

    async with fresh_table(azurite.connection_string) as store:
        await upsert_all(Refusing(store, never), ROWS, no_wait)
        assert len(await rows_of(store, "p")) == 149
    assert "p 007 is refused" in caplog.text
