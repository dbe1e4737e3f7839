"""Events for tests: a good usage event to vary, and its delivery by a hub."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from models.origin import Origin, RawEvent

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def usage_event(**changes: Any) -> dict[str, Any]:
    """A usage event of one chat call; `changes` replace its members."""
    event = {
        "schema": "usage-event/1",
        "request_id": str(uuid4()),
        "timestamp": "2026-11-20T12:00:00Z",
        "app_id": "app-1",
        "deployment": "chat",
        "response_model": "gpt-4o-2024-08-06",
        "operation_id": "chat",
        "product_id": "gold",
        "stream": False,
        "status": 200,
        "duration_ms": 800,
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return event | changes


def raw_event(
    record: object,
    *,
    hub: str = "usage-events",
    partition: str = "0",
    sequence_number: int = 0,
    enqueued: datetime | None = None,
) -> RawEvent:
    """`record` as an event that a hub delivers; bytes are taken as they are."""
    body = record if isinstance(record, bytes) else json.dumps(record).encode()
    enqueued = enqueued or NOON + timedelta(milliseconds=sequence_number)
    return RawEvent(body, Origin(hub, partition, sequence_number, enqueued))
