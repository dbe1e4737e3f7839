"""The version of the tables' rows: noted before counting, and an app that knows less stops."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from ledger import schema
from ledger.schema import GRACE, VERSION, Schema, SchemaVersions
from ledger.store import Store, StoreBusy, Write
from local.azurite import Azurite
from models.errors import StoreUnavailable, TablesOfAnotherVersion
from pipeline import ingest, purge, settle
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, never
from tests.support.ledger import fresh_table, no_wait
from tests.support.tables import app, everything

APP = {"PartitionKey": "apps|202610", "RowKey": "app-1", "app": "app-1"}


def of(store: FaultyStore | Store, version: int = VERSION) -> Schema:
    return Schema(store, version, no_wait)


async def note_a_later_version(found: Services) -> None:
    """As an app of the next version does; this one finds it when what it read is old."""
    store = found.stores["directory"]
    await of(store).note(NOON)
    with contextlib.suppress(StoreUnavailable):
        await of(store, VERSION + 1).note(NOON)
    found.schema._fits_until = 0.0


async def test_new_tables_have_this_version_and_others_the_first(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await of(store).begin(NOON)
        assert await of(store).found() == SchemaVersions(VERSION, VERSION)
    async with fresh_table(azurite.connection_string) as store:
        await store.submit([Write(APP)])
        await of(store).check()
        await of(store).begin(NOON)
        assert await of(store).found() == SchemaVersions(VERSION, 1)


async def test_counting_costs_one_read_in_half_a_minute(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await of(store).begin(NOON)
        counted = FaultyStore(store, never)
        known = of(counted)
        for _ in range(20):
            await known.begin(NOON)
        assert counted.requests == 2  # the row is read to note the version, and once more to judge it


async def test_an_app_that_knows_less_stops_when_what_it_read_is_old(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fresh_table(azurite.connection_string) as store:
        old = of(store)
        await old.begin(NOON)
        new = of(store, VERSION + 1)
        with pytest.raises(StoreUnavailable, match="is written from"):  # the old one may be at work
            await new.begin(NOON)
        await old.begin(NOON)
        monkeypatch.setattr(schema, "CHECK_SECONDS", 0.0)
        old._fits_until = 0.0
        for _ in range(2):
            with pytest.raises(TablesOfAnotherVersion, match=f"{VERSION} to {VERSION + 1}, this.* 1 to {VERSION}:"):
                await old.begin(NOON)
        with pytest.raises(TablesOfAnotherVersion):
            await of(store).begin(NOON + timedelta(days=1))
        with pytest.raises(StoreUnavailable):
            await of(store, VERSION + 1).begin(NOON + GRACE / 2)
        await new.begin(NOON + GRACE)


async def test_instances_that_start_together_note_it_once(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        await asyncio.gather(*(of(store).begin(NOON) for _ in range(10)))
        assert await of(store).found() == SchemaVersions(VERSION, VERSION)


@pytest.mark.parametrize("place", range(1, 5))
async def test_a_fault_at_any_request_is_tried_again(azurite: Azurite, place: int) -> None:
    def lose(number: int) -> None:
        if number == place:
            raise StoreBusy("the answer is lost")

    async with fresh_table(azurite.connection_string) as store:
        await of(FaultyStore(store, never, lose)).begin(NOON)
        assert await of(store).found() == SchemaVersions(VERSION, VERSION)


async def test_tables_of_a_later_version_are_left_alone(azurite: Azurite) -> None:
    async with app(azurite) as found:
        await ingest([raw_event(usage_event())], found, now=lambda: NOON)
        before = await everything(found, "usage")
        await note_a_later_version(found)
        with pytest.raises(TablesOfAnotherVersion):
            await ingest([raw_event(usage_event())], found, now=lambda: NOON)
        for timer in (settle, purge):
            with pytest.raises(TablesOfAnotherVersion):
                await timer(found, now=lambda: NOON)
        assert await everything(found, "usage") == before


async def test_an_app_that_does_not_begin_counts_nothing(azurite: Azurite) -> None:
    async with app(azurite) as found:
        await note_a_later_version(found)
        with pytest.raises(TablesOfAnotherVersion):
            await ingest([raw_event(usage_event())], found, now=lambda: NOON)
        assert await everything(found, "usage") == {}
