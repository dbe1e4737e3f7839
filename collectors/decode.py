"""The body of one Event Hubs event -> the JSON objects in it."""

import re
from typing import Any

from pydantic_core import from_json

from collectors.cut import MARK, mend
from models.dead_letter import NOT_JSON
from models.errors import BadRecord
from models.event import describe

Record = dict[str, Any]


def decode(body: bytes) -> list[Record | BadRecord]:
    """One event holds one JSON object, an array of objects, or one object a line.

    What cannot be read takes its place in the list as a BadRecord, so that the others of the event are counted. An
    object that lost its end has the member `cut.MARK`.
    """
    if not body.strip():
        return [BadRecord(NOT_JSON, None, "a JSON object", "an empty event")]
    try:
        return _records(_parse(body))
    except ValueError as error:
        # The lines of a lone document that was cut are indented, or none is an object: it is one record, not many.
        lines = [(line, _line(line)) for line in body.splitlines() if line.strip()]
        if any(_is_whole(record) for line, records in lines if not line[:1].isspace() for record in records):
            return [record for _, records in lines for record in records]
        return _mended(body) or [_not_json(error)]


def _line(line: bytes) -> list[Record | BadRecord]:
    try:
        return _records(_parse(line))
    except ValueError as error:
        return _mended(line) or [_not_json(error)]


def _is_whole(record: Record | BadRecord) -> bool:
    return isinstance(record, dict) and MARK not in record


def _records(value: object) -> list[Record | BadRecord]:
    items = value if isinstance(value, list) else [value]
    if not items:
        return [BadRecord(NOT_JSON, None, "at least one JSON object", describe(items))]
    return [
        item if isinstance(item, dict) else BadRecord(NOT_JSON, None, "a JSON object", describe(item)) for item in items
    ]


def _mended(text: bytes) -> list[Record | BadRecord]:
    """The objects of a document that lost its end; none if it is none."""
    mended = mend(text.removeprefix(b"\xef\xbb\xbf"))
    try:
        value = _parse(mended) if mended else None
    except ValueError:
        return []
    if isinstance(value, list):
        return _records(value[:-1])  # the last is the mark
    return _records(value) if isinstance(value, dict) else []


def _parse(text: bytes) -> object:
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        if b"\\u" not in text:
            raise
        return from_json(_ESCAPE.sub(_without_half_a_letter, text), allow_inf_nan=False)


_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _without_half_a_letter(escape: re.Match[bytes]) -> bytes:
    """Half of a surrogate pair is no letter; a sender that cuts its text by characters may leave one."""
    return b"\\ufffd" if escape["half"] else escape[0]


def _not_json(error: ValueError) -> BadRecord:
    return BadRecord(NOT_JSON, None, "a JSON object", f"text that is not JSON ({error})")
