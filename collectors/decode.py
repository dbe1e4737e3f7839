"""The body of one Event Hubs event -> the records in it."""

import re
from typing import Any

from pydantic_core import from_json

from models.dead_letter import NOT_JSON
from models.errors import BadRecord
from models.event import describe

Record = dict[str, Any]


def decode(body: bytes) -> list[Record | BadRecord]:
    """One event holds one JSON object, an array of objects, or one object a line.

    What cannot be read takes its place in the list as a BadRecord, so that the others of the event are counted.
    """
    if not body.strip():
        return [BadRecord(NOT_JSON, None, "a JSON object", "an empty event")]
    try:
        value = _parse(body)
    except ValueError as error:
        records = [record for line in body.splitlines() if line.strip() for record in _line(line)]
        # A lone document that was cut has no line that is an object: it is one bad record, not one a line.
        return records if any(isinstance(record, dict) for record in records) else [_not_json(error)]
    return _records(value)


def _line(line: bytes) -> list[Record | BadRecord]:
    try:
        return _records(_parse(line))
    except ValueError as error:
        return [_not_json(error)]


def _records(value: object) -> list[Record | BadRecord]:
    items = value if isinstance(value, list) else [value]
    return [
        item if isinstance(item, dict) else BadRecord(NOT_JSON, None, "a JSON object", describe(item)) for item in items
    ]


def _parse(text: bytes) -> object:
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        if b"\\u" not in text:
            raise
        return from_json(_LONE_SURROGATE.sub(rb"\g<1>\\ufffd", text), allow_inf_nan=False)


_LONE_SURROGATE = re.compile(
    rb"((?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


def _not_json(error: ValueError) -> BadRecord:
    return BadRecord(NOT_JSON, None, "a JSON object", f"text that is not JSON ({error})")
