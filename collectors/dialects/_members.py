"""Steps that several dialects take: members read with their checks, named as the dialect names them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic_core import from_json, to_json

from collectors.identity import Delivery
from collectors.normalise import COUNT_OR_TEXT, as_count
from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import SCHEMA, UsageEvent, describe, parse_rfc3339, read_usage_event

Record = dict[str, Any]
Names = Mapping[str, str]
"""Members of the usage event -> the dialect's names for them."""


def usage_event(
    record: Record, names: Names, *, meaningless: frozenset[str] = frozenset(), **members: object
) -> UsageEvent:
    """The usage event with `members`, and with the texts that `record` has under the dialect's own `names`.

    Texts that are `meaningless` in this dialect are as null. Raises BadRecord that names the dialect's own member.
    """
    texts = {ours: text(record, own, meaningless) for ours, own in names.items()}
    try:
        stated = {name: value for name, value in (texts | members).items() if value is not None}
        return read_usage_event({"schema": SCHEMA} | stated)
    except BadRecord as bad:
        own = names.get(bad.field or "", bad.field)
        raise BadRecord(bad.reason, own, bad.expected, bad.got) from None


def text(record: Record, field: str, meaningless: frozenset[str] = frozenset()) -> str | None:
    """A string that says something, or None."""
    value = record.get(field)
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadRecord(INVALID_FIELD, field, "a string", describe(value))
    value = value.strip()
    return None if value in meaningless else value or None


def count(record: Record, field: str) -> int | None:
    """A number of tokens, also where it is written as a string. None if there is none."""
    value = record.get(field)
    if value is None or value == "":
        return None
    try:
        return as_count(value, as_text=True)
    except ValueError:
        raise BadRecord(INVALID_FIELD, field, COUNT_OR_TEXT, describe(value)) from None


_DATE = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4})[ \u00a0\u202f](\d{1,2}):(\d\d):(\d\d)(?:[ \u00a0\u202f](AM|PM))?", re.ASCII
)
_NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?", re.ASCII)
ONE_DAY: Final = timedelta(days=1)


def time(record: Record, field: str, delivery: Delivery) -> str:
    """When the call was: RFC 3339, ISO 8601 without a zone (UTC), or a US date without a zone (UTC). Else when it was
    sent, else when it was enqueued.

    .NET writes dates as the culture of its host says, and a day up to 12 reads as a month as well. So a date is held
    against the time of delivery, which a hub's own retries never move far: within a day of it, it is believed; else
    read with day and month changed; else believed only if it can be read in one way and lies in the past.
    """
    value = record.get(field)
    if value is None or (isinstance(value, str) and not value.strip()):
        return delivery.time.isoformat()
    if isinstance(value, str):
        stated = value.strip()
        if date := _DATE.fullmatch(stated):
            return _of_date(date, record, field, delivery).isoformat()
        try:
            return parse_rfc3339(f"{stated}Z" if _NAIVE.fullmatch(stated) else stated).isoformat()
        except ValueError:
            pass
    raise BadRecord(INVALID_FIELD, field, "a time, such as 2026-11-20T13:00:00Z", describe(value))


def _of_date(date: re.Match[str], record: Record, field: str, delivery: Delivery) -> datetime:
    first, second, year, hour, minute, second_of_minute = (int(part) for part in date.groups()[:6])
    if date[7]:
        hour = hour % 12 + (12 if date[7] == "PM" else 0) if 1 <= hour <= 12 else 99
    readings: list[datetime] = []
    for month, day in ((first, second), (second, first)):
        try:
            reading = datetime(year, month, day, hour, minute, second_of_minute, tzinfo=UTC)
        except ValueError:
            continue
        if reading not in readings:
            readings.append(reading)
    delivered = _enqueued_before(record) or delivery.time
    near = [reading for reading in readings if abs(reading - delivered) <= ONE_DAY]
    if near:
        return near[0]
    if len(readings) == 1 and readings[0] < delivered:
        return readings[0]
    expected = f"a time that is not more than a day from its delivery at {delivered.isoformat()}"
    raise BadRecord(INVALID_FIELD, field, expected, describe(record.get(field)))


def _enqueued_before(record: Record) -> datetime | None:
    """Stream Analytics adds when the hub that it read from took the event in."""
    try:
        return parse_rfc3339(record.get("EventEnqueuedUtcTime"))
    except ValueError:
        return None


def document(value: object) -> Record:
    """An object given as it is or as JSON text; empty if it is neither."""
    if isinstance(value, str):
        try:
            value = from_json(value, allow_inf_nan=False)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def asked(request: object) -> dict[str, Any]:
    """What a request to a model, given as an object or as JSON text, says about the call."""
    stated = document(request)
    model, stream = stated.get("model"), stated.get("stream")
    return {
        "model": model if isinstance(model, str) else None,
        "stream": stream if isinstance(stream, bool) else None,
    }


def body(value: object) -> str | None:
    """A response body as text, where it came as text or as JSON."""
    if value is None or isinstance(value, str):
        return value or None
    return to_json(value, inf_nan_mode="null").decode()


def duration(record: Record, field: str) -> float | None:
    """Milliseconds; what is no number is none, since it is no reason to lose the call."""
    value = record.get(field)
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None
