"""hieumoscow/Function-SSE-Proxy: what a proxy saw of a call."""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import UsageEvent, describe

NAME: Final = "sse-proxy"
LATE: Final = frozenset({"content", "prompt"})
REQUEST: Final = "prompt"
ANSWER: Final = "content"
TEXTS: Final = frozenset({"timestamp", "region"})

STREAMS: Final = {"completion": False, "stream_completion": True}


def recognises(record: dict[str, Any]) -> bool:
    """By its two types, beside what the proxy read."""
    kind = record.get("type")
    return (
        isinstance(kind, str) and kind in STREAMS and not record.keys().isdisjoint({"content", "usage", "latency_ms"})
    )


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call; the proxy does not say whose. `usage` is null where the client of a stream did not ask for it."""
    usage = record.get("usage")
    if usage is not None and not isinstance(usage, dict):
        raise BadRecord(INVALID_FIELD, "usage", "an object", describe(usage))
    return members.usage_event(
        record,
        {"model": "model", "region": "region"},
        request_id=delivery.call_id,
        timestamp=members.time(record, "timestamp", delivery),
        stream=STREAMS[record["type"]],
        duration_ms=members.duration(record, "latency_ms"),
        first_byte_ms=members.duration(record, "time_to_first_chunk_ms"),
        usage=usage,
    )
