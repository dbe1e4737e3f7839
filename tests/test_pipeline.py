"""A batch from hub events to tables: everything received is accounted for, and nothing said that should not be."""

import json
import logging
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest

import services as app_services
from ledger import dead_letters
from ledger.store import Entity, TableStore
from local.azurite import Azurite
from models.origin import RawEvent, Redriven
from pipeline import ingest, purge
from services import Services
from tests.support.events import NOON, raw_event, usage_event
from tests.support.ledger import sums_by_level


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


async def set_aside(found: Services) -> list[Entity]:
    """The rows of table `deadletters`."""
    store = TableStore(found.tables, found.settings.table_prefix + dead_letters.TABLE)
    return [row.columns async for row in store.range("20261120", "", "~")]


GOOD = [usage_event(request_id=f"good-{number}") for number in range(4)]
MIXED = [
    raw_event(GOOD[0], sequence_number=1),
    raw_event(b"no json at all", sequence_number=2),
    raw_event([GOOD[1], {"schema": "usage-event/1", "request_id": "bad", "timestamp": 5}], sequence_number=3),
    raw_event(b"", sequence_number=4),
    raw_event(GOOD[0], sequence_number=5),
    raw_event(b"\n".join(json.dumps(each).encode() for each in GOOD[2:]), sequence_number=6),
    raw_event({"who": "knows"}, sequence_number=7),
]


async def test_a_bad_record_is_set_aside_with_its_reason_and_the_rest_is_counted(azurite: Azurite) -> None:
    async with running(azurite) as found:
        report = await ingest(MIXED, found, now=lambda: NOON)
        assert report is not None
        assert (report.received, report.counted, report.duplicate, report.dead_lettered) == (9, 4, 1, 4)
        letters = await set_aside(found)
        assert [(row["sequence_number"], row["position"], row["reason"], row.get("field")) for row in letters] == [
            (2, 0, "not_json", None),
            (3, 1, "invalid_field", "timestamp"),
            (4, 0, "not_json", None),
            (7, 0, "unknown_dialect", None),
        ]
        assert letters[1]["expected"].startswith("an RFC 3339 time")
        assert letters[1]["got"] == "the number 5"
        assert letters[1]["request_id"] == "bad"
        assert {(row["hub"], row["partition"]) for row in letters} == {("usage-events", "0")}


async def test_redelivery_in_any_order_changes_neither_totals_nor_dead_letters(azurite: Azurite) -> None:
    async with running(azurite) as found:
        await ingest(MIXED, found, now=lambda: NOON)
        before = await sums_by_level(found.usage, "app-1|202611"), await set_aside(found)
        for seed in range(3):
            again = random.Random(seed).sample(MIXED, len(MIXED))
            report = await ingest(again, found, now=lambda: NOON)
            assert report is not None
            assert (report.counted, report.duplicate, report.dead_lettered) == (0, 5, 4)
        sums, letters = await sums_by_level(found.usage, "app-1|202611"), await set_aside(found)
        assert [letter.pop("times_seen") for letter in letters] == [4] * 4
        assert sums == before[0]
        assert [letter["RowKey"] for letter in letters] == [letter["RowKey"] for letter in before[1]]


async def test_a_call_older_than_the_retention_is_set_aside_as_too_old(azurite: Azurite) -> None:
    async with running(azurite) as found:
        report = await ingest([raw_event(GOOD[0])], found, now=lambda: NOON + timedelta(days=91))
        assert report is not None
        assert (report.counted, report.dead_lettered) == (0, 1)
        assert [row["reason"] for row in await set_aside(found)] == ["too_old"]


async def test_a_retention_that_is_raised_brings_no_call_back_that_is_forgotten(azurite: Azurite) -> None:
    """Its row is deleted, so a replay of the hub would count it once more; only a dead letter is let through."""
    event, later = raw_event(GOOD[0]), NOON + timedelta(days=40)
    async with running(azurite, CALL_RETENTION_DAYS="30") as found:
        await ingest([event], found, now=lambda: NOON)
        assert (await purge(found, now=lambda: later)).deleted == 1
        again = {"CALL_RETENTION_DAYS": "365", "TABLE_PREFIX": found.settings.table_prefix}
    async with running(azurite, **again) as found:
        report = await ingest([event], found, now=lambda: later)
        assert report is not None
        assert (report.counted, report.dead_lettered) == (0, 1)
        [letter] = await set_aside(found)
        assert (letter["reason"], letter["expected"]) == ("too_old", "2026-11-29T00:00:00+00:00 or later")
        sums = await sums_by_level(found.usage, "app-1|202611")
        assert sums["m"]["calls"] == 1
        missed = raw_event(GOOD[1], sequence_number=2)
        redriven = Redriven(missed.origin, 0, 1, None, None, whole=True)
        report = await ingest([missed._replace(redriven=redriven)], found, now=lambda: later)
        assert report is not None
        assert report.counted == 1


@pytest.mark.parametrize("day", ["2026-11-20T12:00:00Z", "2020-02-03T04:05:06Z"])
async def test_what_is_counted_in_days_that_were_purged_is_purged_too(azurite: Azurite, day: str) -> None:
    """By a redrive, after the retention was raised; or a day before the first that is ever purged."""
    async with running(azurite, CALL_RETENTION_DAYS="30") as found:
        await ingest([raw_event(GOOD[0])], found, now=lambda: NOON)
        await purge(found, now=lambda: NOON + timedelta(days=40))
        again = {"CALL_RETENTION_DAYS": "3650", "TABLE_PREFIX": found.settings.table_prefix}
    async with running(azurite, **again) as found:
        later = NOON + timedelta(days=41)
        missed = raw_event(GOOD[1] | {"timestamp": day}, sequence_number=2)
        redriven = Redriven(missed.origin, 0, 1, None, None, whole=True)
        report = await ingest([missed._replace(redriven=redriven)], found, now=lambda: later)
        assert report is not None
        assert report.counted == 1
        assert (await purge(found, now=lambda: later)).deleted == 0
        assert (await purge(found, now=lambda: later + timedelta(days=3700))).deleted == 1
        assert (await purge(found, now=lambda: later + timedelta(days=3700))).deleted == 0
        assert await found.directory.late_days() == []


async def test_no_message_content_is_stored_or_logged(azurite: Azurite, caplog: pytest.LogCaptureFixture) -> None:
    secret = "the quick brown fox"
    body = json.dumps({"choices": [{"message": {"content": secret}}], "usage": {"prompt_tokens": 1}})
    events: list[RawEvent] = [
        raw_event(usage_event(body=body, usage=None, messages=secret), sequence_number=1),
        raw_event(usage_event(status=secret, body=secret), sequence_number=2),
        raw_event(usage_event(usage=secret), sequence_number=3),
        raw_event({"prompt": secret}, sequence_number=4),
        raw_event(f'{{"schema": "{secret}'.encode(), sequence_number=5),
        raw_event([secret], sequence_number=6),
        raw_event(usage_event(usage={"prompt_tokens": secret}), sequence_number=7),
        raw_event(usage_event(timestamp=secret), sequence_number=8),
    ]
    with caplog.at_level(logging.DEBUG):
        async with running(azurite) as found:
            report = await ingest(events, found, now=lambda: NOON)
            assert report is not None
            assert (report.counted, report.dead_lettered) == (1, 7)
            rows = [row.columns async for row in found.usage.range("app-1|202611", "", "~")]
            assert secret not in json.dumps([*rows, *await set_aside(found)], default=str)
    assert secret not in caplog.text


async def test_one_structured_line_tells_of_each_batch(azurite: Azurite, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="usage_collector"):
        async with running(azurite) as found:
            await ingest(MIXED, found, "invocation-1", now=lambda: NOON + timedelta(seconds=3))
    line = json.loads(caplog.records[-1].getMessage())
    assert line["event"] == "batch"
    assert line["invocation_id"] == "invocation-1"
    assert (line["hub"], line["partition"]) == ("usage-events", "0")
    assert (line["first_sequence_number"], line["last_sequence_number"]) == (1, 7)
    assert line["received"] == line["counted"] + line["duplicate"] + line["dead_lettered"] == 9
    assert line["transactions"] == 1
    assert line["lag_seconds"] == 2.993
    assert line["milliseconds"] >= 0


async def test_an_empty_batch_is_nothing(azurite: Azurite) -> None:
    async with running(azurite) as found:
        assert await ingest([], found) is None
