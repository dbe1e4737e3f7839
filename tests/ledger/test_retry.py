"""Writes that may be repeated: passing faults are waited out, and a row that is never taken holds up no other."""

from collections.abc import Sequence

import pytest

from ledger.retry import MAX_ATTEMPTS, upsert_all
from ledger.store import Entity, Refused
from local.azurite import Azurite
from models.errors import StoreUnavailable
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import fresh_table, no_wait, rows_of

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
