"""The events of one batch -> calls to count and dead letters to set aside. Nothing in here is lost or raised."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from collectors.call import read_call
from collectors.decode import Record, decode
from collectors.dialects import DIALECTS
from models.call import Call
from models.dead_letter import TOO_OLD, UNKNOWN_DIALECT, UNREADABLE, DeadLetter
from models.errors import BadRecord
from models.event import describe
from models.origin import RawEvent

_LIKE_AN_ID = re.compile(r"[A-Za-z0-9._:{}()-]{1,128}", re.ASCII)
"""What a dead letter repeats of a request_id: anything else may be text that should not be kept."""


class Collected(NamedTuple):
    """`received` is the number of records: each is in `calls` or in `dead_letters`, in the order of arrival."""

    received: int
    calls: list[Call]
    dead_letters: list[DeadLetter]


def collect(events: Iterable[RawEvent], oldest: datetime) -> Collected:
    """`oldest` is the time before which a call may no longer be recognised as counted, so that it is set aside."""
    received = 0
    calls: list[Call] = []
    dead_letters: list[DeadLetter] = []
    for event in events:
        for position, record in enumerate(_decoded(event.body)):
            received += 1
            outcome = _read(record, event, position, oldest)
            if isinstance(outcome, Call):
                calls.append(outcome)
            else:
                dead_letters.append(outcome)
    return Collected(received, calls, dead_letters)


def _decoded(body: bytes) -> list[Record | BadRecord]:
    try:
        return decode(body)
    except Exception as fault:  # noqa: BLE001
        return [_unreadable(fault)]


def _unreadable(fault: Exception) -> BadRecord:
    """A fault of our own. There is no I/O here, so it would come again for ever and block the partition: the record is
    set aside instead, and can be sent again when the fault is mended. The message may hold content, the type does not.
    """
    return BadRecord(
        UNREADABLE, None, "a record that the collector can read", f"a fault of type {type(fault).__name__}"
    )


def _read(record: Record | BadRecord, event: RawEvent, position: int, oldest: datetime) -> Call | DeadLetter:
    dialect: str | None = None
    try:
        if isinstance(record, BadRecord):
            raise record
        spoken = next((known for known in DIALECTS if known.recognises(record)), None)
        if spoken is None:
            expected = f"a record in one of the dialects {', '.join(known.NAME for known in DIALECTS)}"
            raise BadRecord(UNKNOWN_DIALECT, None, expected, describe(record))
        dialect = spoken.NAME
        call = read_call(spoken.read(record, event.origin), event.origin)
        if call.timestamp < oldest:
            raise BadRecord(TOO_OLD, "timestamp", f"{oldest.isoformat()} or later", call.timestamp.isoformat())
        return call
    except Exception as fault:  # noqa: BLE001
        bad = fault if isinstance(fault, BadRecord) else _unreadable(fault)
        request_id = record.get("request_id") if isinstance(record, dict) else None
        return DeadLetter(
            origin=event.origin,
            position=position,
            reason=bad.reason,
            field=bad.field,
            expected=bad.expected,
            got=bad.got,
            dialect=dialect,
            request_id=request_id if isinstance(request_id, str) and _LIKE_AN_ID.fullmatch(request_id) else None,
            size_bytes=len(event.body),
        )
