"""The usage event, `usage-event/1`: the contract with the gateway's policy and any other sender (docs/events.md)."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from msgspec import Meta
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from models.dead_letter import INVALID_FIELD, MISSING_FIELD
from models.errors import BadRecord

SCHEMA = "usage-event/1"
MAX_TEXT_LENGTH = 1024
"""Identifiers longer than this are refused: a Table Storage row would hold them, but no index or answer should."""

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_rfc3339(value: object) -> datetime:
    """An RFC 3339 time with its zone, as an aware datetime in UTC (fractions beyond microseconds are cut off).

    Raises ValueError for anything else, numbers included.
    """
    if not isinstance(value, str) or _RFC3339.fullmatch(value) is None:
        raise ValueError("not an RFC 3339 time with its zone")
    try:
        if value[-1] == "Z" and value[17:19] != "60":
            return datetime.fromisoformat(value)
        # A leap second, which RFC 3339 allows and datetime does not, is taken for the second before it.
        seconds = "59" if value[17:19] == "60" else value[17:19]
        return datetime.fromisoformat((value[:17] + seconds + value[19:]).upper()).astimezone(UTC)
    except OverflowError as error:  # 0001-01-01T00:00:00+01:00 lies before the first datetime
        raise ValueError("out of range") from error


def _timestamp(value: object) -> datetime:
    try:
        return parse_rfc3339(value)
    except ValueError:
        raise PydanticCustomError("rfc3339", "an RFC 3339 time with its zone") from None


def _object(value: object) -> object:
    """PHP writes an object without members as an empty array."""
    return None if value == [] else value


# Each with what pydantic needs and, as Meta, what msgspec does.
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH), Meta(max_length=MAX_TEXT_LENGTH)]
Identifier = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TEXT_LENGTH, strip_whitespace=True),
    Meta(min_length=1, max_length=MAX_TEXT_LENGTH),
]
Timestamp = Annotated[datetime, PlainValidator(_timestamp, json_schema_input_type=datetime)]


class EventError(BaseModel):
    """What went wrong in the gateway, from API Management's context.LastError."""

    model_config = ConfigDict(strict=True, frozen=True)

    source: Text | None = None
    reason: Text | None = None


class UsageEvent(BaseModel):
    """One call as the gateway saw it. Identity first and body last, so that a cut message still says whose it was.

    Unknown extra members are ignored. An empty string means the same as null. Times are UTC, durations milliseconds.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    schema_: Literal["usage-event/1"] = Field(alias="schema")
    request_id: Identifier
    timestamp: Timestamp
    app_id: Text | None = None
    subscription_id: Text | None = None
    subscription_name: Text | None = None
    product_id: Text | None = None
    user_id: Text | None = None
    api_id: Text | None = None
    operation_id: Text | None = None
    gateway_id: Text | None = None
    region: Text | None = None
    backend_id: Text | None = None
    client_ip: Text | None = None
    method: Text | None = None
    deployment: Text | None = None
    model: Text | None = None
    stream: bool | None = None
    status: Annotated[int, Field(ge=0, le=999), Meta(ge=0, le=999)] | None = None
    duration_ms: float | None = None
    first_byte_ms: float | None = None
    error: Annotated[EventError | None, BeforeValidator(_object)] = None
    usage_source: Literal["event", "gateway_log", "none"] | None = None
    response_model: Text | None = None
    usage: Annotated[dict[str, Any] | None, BeforeValidator(_object)] = None
    body: str | None = None
    body_offset: Annotated[int, Field(ge=0), Meta(ge=0)] | None = None


def read_usage_event(record: dict[str, Any]) -> UsageEvent:
    """Validate one record. Raises BadRecord naming the first field that is wrong, what was expected and what came."""
    try:
        return UsageEvent.model_validate(record)
    except ValidationError as error:
        raise _bad_record(error.errors(include_url=False)[0]) from None


_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least one character",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "missing": "a value (the field is required)",
    "rfc3339": "an RFC 3339 time with its zone, such as 2026-11-20T13:00:00Z",
}


def _bad_record(error: ErrorDetails) -> BadRecord:
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
    missing = error["type"] == "missing"
    return BadRecord(
        MISSING_FIELD if missing else INVALID_FIELD,
        ".".join(str(part) for part in error["loc"]),
        expected,
        "nothing" if missing else describe(error["input"]),
    )


_HARMLESS = re.compile(
    r"[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9TZtz:.,+/ -]{1,30}|[0-9.,+-]{1,8}|usage-event/[0-9]{1,3}", re.ASCII
)


def describe(value: object) -> str:
    """What came, without repeating it: text may be a prompt or a secret, so only dates and numbers are quoted."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r:.40}"
        case str():
            return f'"{value}"' if _HARMLESS.fullmatch(value) else f"a string of {len(value)} characters"
        case list():
            return f"an array of {len(value)} items"
        case dict():
            return f"an object with {len(value)} members"
        case _:
            return f"a value of type {type(value).__name__}"
