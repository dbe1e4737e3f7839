"""The body of one Event Hubs event -> the JSON objects in it."""

import re
from typing import Any

from collectors.cut import MARK, mend
from collectors.reading import parse
from models.dead_letter import NOT_JSON
from models.errors import BadRecord
from models.event import describe

Record = dict[str, Any]


def decode(body: bytes) -> list[Record | BadRecord]:
    """One event holds one JSON object, an array of objects, or one object a line. NaN and Infinity are numbers here,
    so that what holds one is judged by the member that it is in.

    What cannot be read takes its place in the list as a BadRecord, so that the others of the event are counted: a line,
    or an item of an array (also of the wrapper `records`, around which nothing else stands). An object that lost its
    end has the member `cut.MARK`.
    """
    try:
        return _whole(body)
    except ValueError as error:
        if not body.strip():
            return [BadRecord(NOT_JSON, None, "a JSON object", "an empty event")]
        # A lone document that was cut may have lines that are objects too: then it is still one, not many.
        document = _mended(body)
        if not document or any(isinstance(record, BadRecord) for record in document):
            lines = [(line, _line(line)) for line in body.splitlines() if line.strip()]
            if any(_is_whole(record) for line, records in lines if not line[:1].isspace() for record in records):
                return [record for _, records in lines for record in records]
        return document or [_not_json(error)]


def _line(line: bytes) -> list[Record | BadRecord]:
    try:
        return _whole(line)
    except ValueError as error:
        return _mended(line) or [_not_json(error)]


def _whole(text: bytes) -> list[Record | BadRecord]:
    """The records of a document. Raises ValueError if it is no JSON, and no array of which some items are."""
    try:
        return _records(_parse(text))
    except ValueError:
        items = items_of(text)
        if items is None:
            raise
        return [record for item in items for record in _item(item)]


def _item(item: bytes) -> list[Record | BadRecord]:
    try:
        return _records([_parse(item)])
    except ValueError as error:
        return [_not_json(error)]


_START = re.compile(rb'(?:\xef\xbb\xbf)?\s*(?P<wrapper>\{\s*"records"\s*:\s*)?\[')
_SIGN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|(?P<sign>[{}\[\],])', re.DOTALL)


def items_of(text: bytes) -> list[bytes] | None:
    """The texts of an array's items, whatever they hold, or None if `text` is not one array from its start to its end.

    pydantic_core refuses a document as a whole: for a slip of the pen in one item, more than 4,300 digits, bytes that
    are no UTF-8, too many levels.
    """
    start = _START.match(text)
    if start is None:
        return None
    items: list[bytes] = []
    depth, begun = 1, start.end()
    for token in _SIGN.finditer(text, begun):
        sign = token["sign"]
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
        if depth == 0 or (depth == 1 and sign == b","):
            items.append(text[begun : token.start()])
            begun = token.end()
        if depth == 0:
            return items if text[begun:].strip() == (b"}" if start["wrapper"] else b"") else None
    return None


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
        records = _whole(mended) if mended else []
    except ValueError:
        return []
    return records[:-1] if mended and mended.lstrip().startswith(b"[") else records  # the last of an array is the mark


def _parse(text: bytes) -> object:
    return parse(text.removeprefix(b"\xef\xbb\xbf"))


def _not_json(error: ValueError) -> BadRecord:
    return BadRecord(NOT_JSON, None, "a JSON object", f"text that is not JSON ({error})")
