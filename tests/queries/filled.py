"""Tables to ask: settings for a set of tables of a test's own, and events brought into them as the app does."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import uuid4

from local.azurite import Azurite
from models.origin import RawEvent
from pipeline import ingest
from services import Services
from tests.support.events import NOON, raw_event

EXTRA_DIMENSIONS = ("deployment", "product", "stream", "status")


def environment(azurite: Azurite, **changes: str) -> dict[str, str]:
    """The settings of an app with tables of its own."""
    return {
        "USAGE_EVENTS_HUB": "usage-events",
        "UsageStorage": azurite.connection_string,
        "TABLE_PREFIX": f"t{uuid4().hex[:16]}",
        "AGGREGATE_DIMENSIONS": ",".join(EXTRA_DIMENSIONS),
        "CALL_RETENTION_DAYS": "3650",
        **changes,
    }


async def fill(services: Services, records: Iterable[tuple[dict[str, Any], str]]) -> None:
    """Count usage events, each with the hub partition that it comes from. All must be counted."""
    batches: dict[str, list[RawEvent]] = defaultdict(list)
    times: list[datetime] = []
    for number, (record, partition) in enumerate(records):
        times.append(time := datetime.fromisoformat(record["timestamp"]))
        enqueued = time if time > NOON else None  # else it would lie in the future for the hub
        batches[partition].append(raw_event(record, partition=partition, sequence_number=number, enqueued=enqueued))
    reports = await asyncio.gather(*(ingest(batch, services, now=lambda: max(times)) for batch in batches.values()))
    assert all(report is not None and report.counted == report.received for report in reports), reports
