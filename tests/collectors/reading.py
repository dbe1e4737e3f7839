"""Ways through the collector that several test modules take."""

from datetime import UTC, datetime
from typing import Any

from collectors.collect import Collected, collect
from models.call import Call
from models.dead_letter import DeadLetter
from tests.support.events import raw_event, usage_event

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
"""Older than every event of these tests."""


def collected(*bodies: object) -> Collected:
    """The bodies (bytes as they are, anything else as JSON) through collect, which must account for every record."""
    result = collect([raw_event(body, sequence_number=number) for number, body in enumerate(bodies)], LONG_AGO)
    assert result.received == len(result.calls) + len(result.halves) + len(result.dead_letters)
    return result


def told(result: Collected) -> list[Call]:
    """The calls that records told, wholly or in part."""
    return result.calls + [half.call for half in result.halves]


def call_of(**changes: Any) -> Call:
    """The call that the standard event with these changes becomes."""
    result = collected(usage_event(**changes))
    assert not result.dead_letters, result.dead_letters
    return result.calls[0]


def dead_letter_of(**changes: Any) -> DeadLetter:
    """The dead letter that the standard event with these changes becomes."""
    result = collected(usage_event(**changes))
    assert not result.calls, result.calls
    return result.dead_letters[0]


def call_of_body(body: str, **changes: Any) -> Call:
    """The call of an event that has nothing but a response body to tell its usage and its model."""
    return call_of(**({"usage": None, "response_model": None, "body": body} | changes))
