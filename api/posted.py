"""What a sender posts -> hub events, each read by the collector's own code before it may go.

So what is accepted here is what the collector will count, and what it would set aside is refused with its own reason.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from urllib.parse import unquote

from pydantic_core import to_json

from collectors.collect import collect
from collectors.cut import mend
from collectors.decode import items_of
from collectors.identity import delivery_id
from collectors.reading import parse
from models.dead_letter import MISSING_FIELD, NOT_JSON, DeadLetter
from models.errors import BadRecord, QueryError
from models.origin import Origin, RawEvent

MAX_EVENTS: Final = 1000
"""Of one request, so that its answer is bounded too."""


class Posted(NamedTuple):
    """One event as it goes to the hub; with a `fault`, or `ignored` because it is knowingly about no call, it does not
    go.

    `app` pays for its calls (None: nobody is named; the first, if they have several). `request_id` is its call, if it
    is one call.
    """

    body: bytes
    app: str | None = None
    request_id: str | None = None
    fault: BadRecord | None = None
    ignored: bool = False


def read_events(body: bytes, headers: Mapping[str, str], now: datetime, oldest: datetime) -> list[Posted]:
    """The events of a request, in their order. Raises QueryError where it holds none, or too many.

    `oldest` is the time before which a call is too old to be counted.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise QueryError(NOT_JSON, "the body is empty; expected usage events in JSON")
    bodies = _split(_structured(body, headers) if _is_binary_cloud_event(headers) else body)
    if not bodies:
        raise QueryError(NOT_JSON, "the body is an array without items; expected at least one event")
    if len(bodies) > MAX_EVENTS:
        raise QueryError("too_many_events", f"{len(bodies)} events; expected at most {MAX_EVENTS} a request", None, 413)
    # A time that no sender writes, so that what is dated by its arrival shows.
    arrival = now + timedelta(microseconds=1)
    return [_judged(event, Origin("", "", 0, arrival), oldest) for event in bodies]


def _split(body: bytes) -> list[bytes]:
    """The items of an array, the lines of a body that has an object on one of them, or else the body as it came."""
    try:
        value = parse(body)
    except ValueError:
        items = items_of(body) if body.lstrip()[:1] == b"[" else None
        if items is not None:
            return items
        lines = [line for line in body.splitlines() if line.strip()]
        # The lines of a document that is broken are indented.
        return lines if any(line[:1] == b"{" and _is_json(line) for line in lines) else [body]
    return [to_json(item) for item in value] if isinstance(value, list) else [body]


def _is_json(text: bytes) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _judged(body: bytes, origin: Origin, oldest: datetime) -> Posted:
    # The collector makes the best of what a gateway had to cut; a sender that is still there can send the whole.
    if not _is_json(body) and mend(body) is not None:
        return Posted(body, fault=_CUT)
    collected = collect([RawEvent(body, origin)], oldest)
    if collected.dead_letters:
        only = collected.dead_letters[0] if collected.received == 1 else None
        return Posted(body, None, only and only.request_id, _fault(collected.dead_letters, collected.received))
    calls = [*collected.calls, *(half.call for half in collected.halves)]
    if any(call.request_id == delivery_id(origin, call.position) for call in calls):
        return Posted(body, fault=_NAMELESS)
    # A call is counted once within its day, and one that is dated by its arrival has another when it is sent again.
    if any(call.timestamp == origin.enqueued_time and not call.clamped for call in calls):
        return Posted(body, fault=_TIMELESS)
    app = calls[0].app if calls and calls[0].app_source != "none" else None
    return Posted(body, app, calls[0].request_id if len(calls) == 1 else None, ignored=not calls)


_CUT: Final = BadRecord(NOT_JSON, None, "a JSON object", "text that ends before the object does")
_NAMELESS: Final = BadRecord(
    MISSING_FIELD,
    "request_id",
    "the id of the call, or a CloudEvent around the record, so that sending it again does not count it again",
    "nothing",
)

_TIMELESS: Final = BadRecord(
    MISSING_FIELD,
    "time",
    "the time of the call, in the record or in the CloudEvent around it, so that sending it again after midnight does "
    "not count it again",
    "nothing",
)


def _fault(letters: list[DeadLetter], records: int) -> BadRecord:
    """The first reason, and where an event holds several records how many are bad."""
    reason, field, expected, got = letters[0].reason, letters[0].field, letters[0].expected, letters[0].got
    if records > 1:
        bad = sum(letter.records for letter in letters)
        got = f"{got} in record {letters[0].position} of the event ({bad} of its {records} records are bad)"
    return BadRecord(reason, field, expected, got)


_REQUIRED: Final = ("specversion", "type", "source", "id")


def _is_binary_cloud_event(headers: Mapping[str, str]) -> bool:
    """The content type tells the structured mode from the binary (CloudEvents' HTTP protocol binding, section 3)."""
    structured = headers.get("content-type", "").lower().startswith("application/cloudevents")
    return "ce-specversion" in headers and not structured


def _structured(data: bytes, headers: Mapping[str, str]) -> bytes:
    """The CloudEvent as one object, since the collector reads nothing of a hub event but its body.

    Values of headers are percent-encoded (section 3.1.3.2 of the same).
    """
    attributes = {name: unquote(headers.get(f"ce-{name}", "")) for name in (*_REQUIRED, "time")}
    for name in _REQUIRED:
        if not attributes[name]:
            raise QueryError("missing_header", f"a CloudEvent in binary mode needs the header ce-{name}", f"ce-{name}")
    try:
        return to_json(attributes | {"data": parse(data)})
    except ValueError as error:
        raise QueryError(NOT_JSON, f"the data of the CloudEvent is not JSON ({error})") from None
