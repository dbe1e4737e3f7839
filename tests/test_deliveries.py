"""Calls of which only the delivery says when they were: counted once, whenever and however often they are sent."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services as app_services
from ledger.rows import call_of, sums_of
from local.azurite import Azurite
from models.call import Call
from models.measures import measures_of, total
from models.origin import RawEvent
from pipeline import BatchReport, ingest, purge
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.faulty import FaultyStore, never
from tests.support.ledger import ledger

DAY = timedelta(days=1)
MIDNIGHT = NOON + DAY / 2
SOON = timedelta(seconds=10)
APPS = ("app-1", "app-2")
MONTHS = ("202610", "202611", "202612", "202701")
JOINS = {"GATEWAY_LOGS_HUB": "gateway-logs"}
both_settings = pytest.mark.parametrize("setting", [{}, JOINS], ids=["alone", "with the gateway's logs"])


@asynccontextmanager
async def running(azurite: Azurite, **changes: str) -> AsyncIterator[Services]:
    """The app's services on tables of their own."""
    environment = {
        "UsageStorage": azurite.connection_string,
        "USAGE_EVENTS_HUB": "usage-events",
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
    }
    found = app_services.build(environment | changes)
    try:
        yield found
    finally:
        await found.close()


async def take(found: Services, *events: RawEvent) -> BatchReport:
    """Ingest when the last of them was delivered."""
    last = max(event.origin.enqueued_time for event in events)
    report = await ingest(events, found, now=lambda: last)
    assert report is not None
    assert report.received == report.counted + report.duplicate + report.joined + report.pending + report.dead_lettered
    return report


async def counted(found: Services) -> list[Call]:
    """The calls that are counted; the sums of every level, in every month, are checked to be theirs."""
    calls: list[Call] = []
    for partition in (f"{app}|{month}" for app in APPS for month in MONTHS):
        rows = [row.columns async for row in found.usage.range(partition, "", "~")]
        here = [call_of(row) for row in rows if row["RowKey"].startswith("c|")]
        expected = Counter(total(measures_of(call) for call in here))
        for level in "hdm":
            assert +Counter(total(sums_of(row) for row in rows if row["RowKey"].startswith(f"{level}|"))) == expected
        calls += [call for call in here if call.stage != "moved"]
    return calls


def undated(request_id: str, app: str = "app-1", prompt: int = 10) -> dict[str, Any]:
    """A record with an id and no time."""
    usage = {"prompt_tokens": prompt, "completion_tokens": 5, "total_tokens": prompt + 5}
    return {"id": request_id, "app_id": app, "response": {"model": "gpt-4o", "object": "x", "usage": usage}}


def in_cloud_event(record: dict[str, Any], event_id: str) -> dict[str, Any]:
    """A CloudEvent without a time, around a record without an id."""
    about = {"specversion": "1.0", "type": "usage", "source": "/proxy", "id": event_id}
    return about | {"data": {name: value for name, value in record.items() if name != "id"}}


GUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
RECORDS = {
    "ahead": usage_event(request_id="17", timestamp="2027-06-01T00:00:00Z"),
    "ahead, a GUID": usage_event(request_id=GUID, timestamp="2027-06-01T00:00:00Z"),
    "far ahead": usage_event(request_id="17", timestamp="9999-12-31T23:59:59Z"),
    "ahead until tomorrow": usage_event(request_id="17", timestamp="2026-11-21T03:00:00Z"),
    "undated": undated("17"),
    "undated, a GUID": undated(GUID),
    "undated, in a CloudEvent": in_cloud_event(undated("17"), "17"),
}


@both_settings
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
async def test_it_is_one_call_before_midnight_and_after_it_and_weeks_later(
    azurite: Azurite, setting: dict[str, str], record: dict[str, Any]
) -> None:
    times = [MIDNIGHT - SOON, MIDNIGHT + SOON, MIDNIGHT + DAY, MIDNIGHT + 20 * DAY]
    async with running(azurite, **setting) as found:
        for number, time in enumerate(times):
            report = await take(found, raw_event(record, sequence_number=number, enqueued=time))
            assert (report.counted, report.duplicate + report.joined) == ((1, 0) if number == 0 else (0, 1))
        [call] = await counted(found)
        assert call.timestamp == times[0]


@both_settings
async def test_it_is_one_call_if_the_delivery_that_was_not_too_early_is_counted_first(
    azurite: Azurite, setting: dict[str, str]
) -> None:
    record = RECORDS["ahead until tomorrow"]
    first = raw_event(record, sequence_number=1, enqueued=NOON)
    later = raw_event(record, sequence_number=2, enqueued=NOON + DAY)
    async with running(azurite, **setting) as found:
        for event in (later, first, later, first):
            await take(found, event)
        assert len(await counted(found)) == 1


@both_settings
async def test_another_app_with_the_same_number_is_another_call(azurite: Azurite, setting: dict[str, str]) -> None:
    async with running(azurite, **setting) as found:
        for day in range(3):
            for app in APPS:
                await take(found, raw_event(undated("17", app), sequence_number=day, enqueued=NOON + day * DAY))
        assert sorted(call.app for call in await counted(found)) == list(APPS)


async def test_a_replay_of_what_the_hub_took_in_before_the_retention_counts_nothing(azurite: Azurite) -> None:
    long_ago = NOON - 40 * DAY
    event = raw_event(RECORDS["ahead"], enqueued=long_ago)
    for setting in ({}, JOINS):
        async with running(azurite, CALL_RETENTION_DAYS="30", **setting) as found:
            assert (await take(found, event)).counted == 1
            assert (await purge(found, now=lambda: NOON)).deleted == 1
            report = await ingest([event], found, now=lambda: NOON, replay="replay")
            assert report is not None
            assert (report.counted, report.dead_lettered) == (0, 1)


async def test_what_a_clamped_call_leaves_is_deleted_with_the_others(azurite: Azurite) -> None:
    async with running(azurite, CALL_RETENTION_DAYS="30") as found:
        await take(found, raw_event(RECORDS["ahead until tomorrow"], enqueued=NOON))
        assert (await purge(found, now=lambda: NOON + 40 * DAY)).deleted == 2
        assert [row async for row in found.usage.range("app-1|202611", "c|", "c|~")] == []


@pytest.mark.parametrize("number", range(1, 6))
async def test_a_death_after_any_request_to_the_ledger_changes_nothing(azurite: Azurite, number: int) -> None:
    def die(request: int) -> None:
        if request == number:
            raise RuntimeError("the process ends here")

    events = [raw_event(RECORDS["ahead until tomorrow"], enqueued=NOON + day * DAY) for day in (0, 1)]
    async with running(azurite) as found:
        sound = found.ledger
        dying = FaultyStore(found.usage, never, die)
        found.ledger = ledger(dying, partition_of=found.directory.partition_of)
        for event in events:
            with suppress(RuntimeError):
                await take(found, event)
        found.ledger = sound
        for event in events:
            await take(found, event)
        assert len(await counted(found)) == 1


class Told(NamedTuple):
    """One call, as it is delivered each time."""

    record: dict[str, Any]
    app: str
    prompt: int
    times: list[datetime]


def traffic(seed: int, calls: int) -> list[Told]:
    """Calls of every kind; each number is used by both apps, and a GUID by one."""
    random_ = random.Random(seed)
    told: list[Told] = []
    for number in range(calls):
        request_id = str(UUID(int=random_.getrandbits(128))) if random_.random() < 0.5 else f"n-{number}"
        apps = APPS if request_id.startswith("n-") else random_.sample(APPS, 1)
        for app in apps:
            prompt = random_.randint(1, 10_000)
            first = NOON + timedelta(hours=random_.randint(-100, 100))
            hours = [random_.choice([0, 0, 1, 12, 13, 30, 24 * 40]) for _ in range(random_.randint(0, 4))]
            times = [first, *(first + timedelta(hours=each) for each in hours)]
            usage = {"prompt_tokens": prompt, "completion_tokens": 5}
            whole = usage_event(request_id=request_id, app_id=app, usage=usage)
            match random_.randint(0, 3):
                case 0:
                    ahead = first + random_.choice([timedelta(minutes=14), timedelta(hours=25), 45 * DAY, 3000 * DAY])
                    record = whole | {"timestamp": ahead.isoformat()}
                case 1:
                    record = undated(request_id, app, prompt)
                case 2:
                    record = in_cloud_event(undated(request_id, app, prompt), f"{app}-{number}")
                case _:
                    record = whole | {"timestamp": first.isoformat()}
            told.append(Told(record, app, prompt + 5, times))
    return told


@given(seed=st.integers(0, 10_000), joins=st.booleans(), data=st.data())
@settings(max_examples=10)
async def test_any_order_cut_and_replay_gives_the_same_totals(
    azurite: Azurite, seed: int, joins: bool, data: st.DataObject
) -> None:
    told = traffic(seed, 6)
    events = [
        raw_event(each.record, sequence_number=1000 * number + nth, enqueued=time)
        for number, each in enumerate(told)
        for nth, time in enumerate(each.times)
    ]
    order = [*data.draw(st.permutations(events)), *data.draw(st.lists(st.sampled_from(events), max_size=5))]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(order) - 1), max_size=6)))
    async with running(azurite, **(JOINS if joins else {})) as found:
        for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
            report = await ingest(order[start:end], found, now=lambda: NOON + 50 * DAY)
            assert report is not None
            assert report.dead_lettered == 0
        calls = await counted(found)
        tokens: Counter[str] = Counter()
        for call in calls:
            tokens[call.app] += call.usage.total_tokens or 0
        expected: Counter[str] = Counter()
        for each in told:
            expected[each.app] += each.prompt
        assert Counter(call.app for call in calls) == Counter(each.app for each in told)
        assert tokens == expected
