"""How long the oldest call waits: lists of calls that became whole are taken away, the others never."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

import services as app_services
from ledger.store import Row, TableStore
from ledger.waiting import oldest_waiting, take_away_done
from local.azurite import Azurite
from models.errors import StoreUnavailable
from pipeline import ingest, settle
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, at
from tests.support.ledger import ledger


@asynccontextmanager
async def running(azurite: Azurite) -> AsyncIterator[Services]:
    found = app_services.build(
        {
            "UsageStorage": azurite.connection_string,
            "USAGE_EVENTS_HUB": "usage-events",
            "GATEWAY_LOGS_HUB": "gateway-logs",
            "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
        }
    )
    try:
        yield found
    finally:
        await found.close()


async def wait(found: Services, call: str, came: datetime) -> None:
    event = usage_event(request_id=call, usage=None, usage_source="gateway_log")
    await ingest([raw_event(event)], found, now=lambda: came)


async def join(found: Services, call: str, came: datetime) -> None:
    counts = {"promptTokens": 10, "completionTokens": 5, "totalTokens": 15}
    names = {"correlationId": call, "modelName": "gpt-4o", "deploymentName": "chat"}
    log = {"time": "2026-11-20T12:00:00Z", "category": "GatewayLlmLogs", "properties": names | counts}
    await ingest([raw_event(log, hub="gateway-logs")], found, now=lambda: came)


async def lists(found: Services, kind: str) -> list[Row]:
    store = TableStore(found.tables, found.settings.table_prefix + "pending")
    return [row for bucket in "0123456789abcdef" async for row in store.range(bucket, f"{kind}|", f"{kind}~")]


def minutes(number: int) -> datetime:
    return NOON + timedelta(minutes=number)


async def test_the_oldest_is_the_first_that_still_waits(azurite: Azurite) -> None:
    async with running(azurite) as found:
        assert await oldest_waiting(found.pending) is None
        for number in range(20):
            await wait(found, f"call-{number}", minutes(number))
        for number in range(20):
            await take_away_done(found.pending)
            assert await oldest_waiting(found.pending) == minutes(number)
            await join(found, f"call-{number}", minutes(30))
        await take_away_done(found.pending)
        assert await oldest_waiting(found.pending) is None


async def test_one_that_waits_is_the_oldest_whatever_came_after_it(azurite: Azurite) -> None:
    async with running(azurite) as found:
        for number in range(20):
            await wait(found, f"call-{number}", minutes(number))
            if number != 3:
                await join(found, f"call-{number}", minutes(30))
        await take_away_done(found.pending)
        assert await oldest_waiting(found.pending) == minutes(3)
        report = await settle(found, now=lambda: minutes(90))
        assert (report.missing, len(report.counted)) == (1, 1)
        await take_away_done(found.pending)
        assert await oldest_waiting(found.pending) is None


async def test_what_is_taken_away_is_forgotten_in_its_time(azurite: Azurite) -> None:
    """Each call stays in one list until its rows can go."""
    async with running(azurite) as found:
        for number in range(5):
            await wait(found, f"call-{number}", minutes(number))
            await join(found, f"call-{number}", minutes(number))
        for _ in range(2):
            await take_away_done(found.pending)
        assert await lists(found, "t") == []
        listed = [call for row in await lists(found, "f") for call in json.loads(row.columns["calls"])]
        assert sorted(listed) == [f"call-{number}" for number in range(5)]
        days = found.settings.call_retention_days + 2
        report = await settle(found, now=lambda: NOON + timedelta(days=days))
        assert (report.forgotten, report.counted) == (5, [])
        assert await lists(found, "f") == await lists(found, "r") == []


@pytest.mark.parametrize("first", ["timer", "taken away"])
async def test_a_list_that_the_deadline_overtakes_is_settled_once(azurite: Azurite, first: str) -> None:
    async with running(azurite) as found:
        await wait(found, "call", NOON)
        if first == "timer":
            await settle(found, now=lambda: minutes(90))
        await take_away_done(found.pending)
        report = await settle(found, now=lambda: minutes(90))
        assert report.missing == (0 if first == "timer" else 1)
        assert len(await lists(found, "f")) == 1
        assert await lists(found, "t") == []


async def test_what_the_timer_had_noted_when_it_died_is_counted_by_the_next_run(azurite: Azurite) -> None:
    """It notes that the deadline has passed before it counts: the call waits no more, and is not counted yet."""
    async with running(azurite) as found:
        await wait(found, "call", NOON)
        whole = found.ledger
        found.ledger = ledger(FaultyStore(found.usage, at(*range(1, 1000))))
        with pytest.raises(StoreUnavailable):
            await settle(found, now=lambda: minutes(90))
        found.ledger = whole
        await take_away_done(found.pending)
        report = await settle(found, now=lambda: minutes(91))
        assert [call.request_id for call in report.counted] == ["call"]
        assert await lists(found, "t") == []
