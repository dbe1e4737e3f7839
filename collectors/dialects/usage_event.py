"""Our own usage event, `usage-event/1` (docs/events.md)."""

from typing import Any

from models.event import UsageEvent, read_usage_event
from models.origin import Origin

NAME = "usage-event"


def recognises(record: dict[str, Any]) -> bool:
    """True for any version of our event, so that one of a wrong version is told what was expected."""
    return "schema" in record


def read(record: dict[str, Any], origin: Origin) -> UsageEvent:
    """The record as it came, validated."""
    return read_usage_event(record)
