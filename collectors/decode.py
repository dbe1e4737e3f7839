"""The body of one Event Hubs event -> the records in it."""

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
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) < 2 or not lines[0].rstrip().endswith(b"}"):
            return [_not_json(error)]
        return [record for line in lines for record in _line(line)]
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
    return from_json(text.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)


def _not_json(error: ValueError) -> BadRecord:
    return BadRecord(NOT_JSON, None, "a JSON object", f"text that is not JSON ({error})")
