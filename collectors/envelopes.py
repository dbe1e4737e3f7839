"""Records in their wrappers -> the records: `{"records": [...]}`, and CloudEvents 1.0, structured and in batches.

A wrapper is recognised by its content, since Azure Monitor's `records` is copied by others. Wrappers may hold wrappers.
"""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any, Final, NamedTuple

from collectors.cut import is_cut
from collectors.decode import Record, decode
from collectors.dialects import is_known
from collectors.identity import CLOUD_EVENT
from models.dead_letter import NOT_JSON
from models.errors import BadRecord
from models.event import describe, parse_rfc3339

MAX_DEPTH: Final = 8


class Found(NamedTuple):
    """A record, and what the innermost CloudEvent around it says: when, and which call, where the record does not."""

    record: Record | BadRecord
    call_id: str | None = None
    sent: datetime | None = None


def find_records(body: bytes) -> list[Found]:
    """The records of one Event Hubs event, in their order."""
    return _unwrapped(decode(body), 0)


def _unwrapped(records: list[Record | BadRecord], depth: int) -> list[Found]:
    return [found for record in records for found in _unwrap(record, depth)]


def _unwrap(record: Record | BadRecord, depth: int) -> list[Found]:
    if isinstance(record, BadRecord):
        return [Found(record)]
    if _is_cloud_event(record):
        found = _unwrapped(_data(record), depth + 1) if depth < MAX_DEPTH else [Found(_TOO_DEEP)]
        return [_with_attributes(inner, record, place) for place, inner in enumerate(found)]
    items = record.get("records")
    if isinstance(items, list) and not is_known(record):
        return _unwrapped(_objects(items, "records"), depth + 1) if depth < MAX_DEPTH else [Found(_TOO_DEEP)]
    return [Found(record)]


_TOO_DEEP: Final = BadRecord(NOT_JSON, None, f"a record in at most {MAX_DEPTH} wrappers", "more of them")


def _is_cloud_event(record: Record) -> bool:
    """CloudEvents 1.0, section "Required attributes"; `data` is optional there, but without it nothing is told."""
    if "specversion" not in record or _DATA.isdisjoint(record):
        return False
    attributes = (record.get(name) for name in ("specversion", "type", "source", "id"))
    return all(isinstance(value, str) and value for value in attributes)


_DATA = frozenset({"data", "data_base64"})


def _data(event: Record) -> list[Record | BadRecord]:
    """What the CloudEvent carries: JSON as it is, as text, or as text in base64."""
    data = event.get("data")
    encoded = event.get("data_base64")
    if data is None and isinstance(encoded, str):
        try:
            return decode(base64.b64decode(encoded, validate=True))
        except ValueError:  # also for text that is not ASCII
            return [BadRecord(NOT_JSON, "data_base64", "base64", describe(encoded))]
    if isinstance(data, str):
        return decode(data.encode("utf-8", "replace"))
    return _objects(data if isinstance(data, list) else [data], "data")


def _objects(items: list[Any], field: str) -> list[Record | BadRecord]:
    whole = items[:-1] if is_cut(items) else items
    return [
        item if isinstance(item, dict) else BadRecord(NOT_JSON, field, "a JSON object", describe(item))
        for item in whole
    ]


def _with_attributes(found: Found, event: Record, place: int) -> Found:
    """A CloudEvent's `source` and `id` together tell it from all others; its sender repeats them when it sends again.

    The pair is kept as its hash, because sources are URIs of any length.
    """
    identity = json.dumps([event["source"], event["id"], place]).encode("utf-8", "replace")
    digest = hashlib.sha256(identity).hexdigest()[:32]
    return found._replace(
        call_id=found.call_id or f"{CLOUD_EVENT}{digest}",
        sent=found.sent or _time(event.get("time")),
    )


def _time(value: object) -> datetime | None:
    try:
        return parse_rfc3339(value)
    except ValueError:
        return None
