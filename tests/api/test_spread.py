"""An app whose month is spread over several partitions: counted once and answered as any other."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

from ledger.purge import purge_calls
from ledger.rows import partition_keys
from ledger.verify import verify
from local.azurite import Azurite
from models.origin import RawEvent
from pipeline import ingest
from services import Services
from tests.api.asked import ask, ask_one
from tests.api.conftest import Configure
from tests.queries.filled import environment
from tests.support.events import NOON, raw_event, usage_event
from tests.support.ledger import rows_of

DAY = {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"}


def events(count: int, **changes: Any) -> list[RawEvent]:
    return [
        raw_event(usage_event(request_id=f"call-{number}", **changes), sequence_number=number)
        for number in range(count)
    ]


async def calls_by_partition(found: Services, month: str, app: str = "app-1", parts: int = 4) -> list[int]:
    counted = []
    for partition in partition_keys(app, month, parts):
        rows = await rows_of(found.usage, partition)
        counted.append(sum(row.columns["RowKey"].startswith("c|") for row in rows))
    return counted


async def test_it_is_counted_once_and_answered_as_any_other(configure: Configure, azurite: Azurite) -> None:
    spread = environment(azurite) | {"APP_PARTITIONS": "app-1=4, app-9=2"}
    found = await configure(**spread)
    sent = [*events(60), raw_event(usage_event(app_id="app-2"), sequence_number=99)]
    for batch in (sent[:40], sent[20:], sent):
        await ingest(batch, await configure(**spread), now=lambda: NOON)
    assert sum(await calls_by_partition(found, "202611")) == 60
    assert min(await calls_by_partition(found, "202611")) > 5

    for parameters in ({"granularity": "total"}, {"granularity": "hour"}, {"granularity": "day", "group_by": "user"}):
        reply = await ask("usage", DAY | {"app": "app-1"} | parameters)
        assert (reply.status, reply.json["totals"]["calls"]) == (200, 60), reply
    assert (await ask("usage", DAY)).json["totals"]["calls"] == 61
    pages: Counter[str] = Counter()
    more: str | None = ""
    while more is not None:
        reply = await ask("calls", DAY | {"app": "app-1", "limit": "17"} | ({"cursor": more} if more else {}))
        pages.update(call["request_id"] for call in reply.json["calls"])
        more = reply.json["next_cursor"]
    assert pages == Counter(f"call-{number}" for number in range(60))
    for number in range(8):
        reply = await ask_one("call", "calls", "request_id", f"call-{number}", DAY)
        assert [call["app"] for call in reply.json["calls"]] == ["app-1"]

    verified = await verify(found.usage, "app-1", "202611", NOON - timedelta(days=99), 4)
    assert (verified.calls, verified.differences) == (60, [])
    report = await purge_calls(found.usage, found.directory, NOON + timedelta(days=9))
    assert report.deleted == 61
    assert (await ask("usage", DAY)).json["totals"]["calls"] == 61


async def test_a_month_stays_as_it_was_first_written_whatever_the_setting_says_later(
    configure: Configure, azurite: Azurite
) -> None:
    tables = environment(azurite)
    sent, before = events(30), events(30, timestamp="2026-10-20T12:00:00Z")
    await ingest(before, await configure(**tables), now=lambda: NOON)
    await ingest(sent[:20], await configure(**tables, APP_PARTITIONS="app-1=4"), now=lambda: NOON)
    for partitions in ("", "app-1=2", "app-1=4", "app-1=1"):
        found = await configure(**tables, APP_PARTITIONS=partitions)
        await ingest(sent + before, found, now=lambda: NOON)
        assert sum(await calls_by_partition(found, "202611")) == 30
        assert await calls_by_partition(found, "202610") == [30, 0, 0, 0]
        reply = await ask("usage", {"from": "2026-10-01T00:00:00Z", "to": "2026-12-01T00:00:00Z", "app": "app-1"})
        assert reply.json["totals"]["calls"] == 60


async def test_instances_with_different_settings_at_the_same_time_count_once(
    configure: Configure, azurite: Azurite
) -> None:
    tables = environment(azurite)
    one, other = await configure(**tables), await configure(**tables, APP_PARTITIONS="app-1=4")
    parts = [events(60)[start : start + 15] for start in (0, 15, 30, 45)]
    await asyncio.gather(*(ingest(part, found, now=lambda: NOON) for part in parts for found in (one, other)))
    assert sum(await calls_by_partition(one, "202611")) == 60
