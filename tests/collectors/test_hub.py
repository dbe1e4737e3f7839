"""collectors.hub: what azure.functions hands over becomes raw events that know where they came from."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import azure.functions as func
import pytest
from azure.functions import meta
from azure.functions._eventhub import EventHubEvent as ConcreteEvent

from collectors.hub import raw_events
from models.origin import Origin, RawEvent
from tests.support.events import NOON


def hub_event(
    metadata: dict[str, Any] | None, enqueued: datetime | None = NOON, sequence_number: int | None = 7
) -> func.EventHubEvent:
    """The object that azure.functions makes of what the host sends: members of the metadata are JSON or text."""
    datums = {
        name: meta.Datum(value, "string") if isinstance(value, str) else meta.Datum(json.dumps(value), "json")
        for name, value in (metadata or {}).items()
    }
    return ConcreteEvent(
        body=b"{}",
        trigger_metadata=None if metadata is None else datums,
        enqueued_time=enqueued,
        sequence_number=sequence_number,
    )


def test_origin_is_hub_partition_sequence_number_and_time() -> None:
    context = {"EventHubName": "usage-events", "PartitionId": "3", "ConsumerGroup": "usage-collector"}
    events = raw_events([hub_event({"PartitionContext": context})], "other")
    assert events == [RawEvent(b"{}", Origin("usage-events", "3", 7, NOON))]


def test_partition_context_may_come_as_json_text() -> None:
    text = json.dumps({"EventHubName": "h", "PartitionId": "2"})
    assert raw_events([hub_event({"PartitionContext": text})], "other")[0].origin[:2] == ("h", "2")


@pytest.mark.parametrize(
    "metadata", [None, {}, {"PartitionContext": None}, {"PartitionContext": "{"}, {"PartitionContext": "[]"}]
)
def test_host_that_does_not_say_the_partition_does_not_stop_the_batch(metadata: dict[str, Any] | None) -> None:
    assert raw_events([hub_event(metadata)], "named")[0].origin == Origin("named", "0", 7, NOON)


def test_time_is_utc_whatever_its_zone() -> None:
    naive = NOON.replace(tzinfo=None)
    east = NOON.astimezone(timezone(timedelta(hours=9)))
    times = [event.origin.enqueued_time for event in raw_events([hub_event(None, naive), hub_event(None, east)], "h")]
    assert times == [NOON, NOON]
    assert all(time.tzinfo is UTC for time in times)


def test_event_without_time_or_number_is_still_taken() -> None:
    before = datetime.now(UTC)
    origin = raw_events([hub_event(None, None, None)], "h")[0].origin
    assert origin.sequence_number == 0
    assert before <= origin.enqueued_time <= datetime.now(UTC)


def test_empty_batch_has_no_events() -> None:
    assert raw_events([], "h") == []
