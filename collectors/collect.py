"""The events of one batch -> calls to count, halves of calls, dead letters. Nothing in here is lost or raised."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from collectors.call import read_call
from collectors.cut import cut_member, is_cut, remains
from collectors.decode import Record
from collectors.dialects import (
    DIALECTS,
    Dialect,
    answer_of,
    body_member,
    call_id_of,
    half_kind,
    request_of,
    says_whose,
)
from collectors.envelopes import Found, find_records
from collectors.estimate import estimated
from collectors.identity import Delivery, delivery_id
from models.call import Call
from models.dead_letter import NOT_JSON, TOO_OLD, UNKNOWN_DIALECT, UNREADABLE, DeadLetter
from models.errors import BadRecord
from models.event import describe
from models.half import Half
from models.origin import RawEvent
from models.usage import MissingReason

_LIKE_AN_ID = re.compile(r"[A-Za-z0-9._:{}()-]{1,128}", re.ASCII)
"""What a dead letter repeats of a request_id: anything else may be text that should not be kept."""

_EXPLAINED_BY_A_CUT: Final = frozenset[MissingReason | None]({"not_requested", "unrecognised"})


FUTURE_TOLERANCE: Final = timedelta(minutes=15)
"""How far a sender's clock may be ahead of the hub's. A call cannot be later than its event: one that says so is
counted when the hub took the event in."""

MAX_DEAD_LETTERS = 100
"""Of one event. A megabyte can hold half a million bad records, and writing each would hold up the partition."""


class Collected(NamedTuple):
    """`received` is the number of records: each is in `calls`, `halves` or `dead_letters`, in the order of arrival.

    `halves` are records that do not tell the whole of a call. `ignored` counts those that are knowingly not about a
    call, such as metrics and probes; they are not among the received. Of an event's very many bad records, the last
    dead letter stands for the rest (`records`).
    """

    received: int
    calls: list[Call]
    halves: list[Half]
    dead_letters: list[DeadLetter]
    ignored: int


def collect(events: Iterable[RawEvent], oldest: datetime, *, estimate_usage: bool = False) -> Collected:
    """`oldest` is the time before which a call may no longer be recognised as counted, so that it is set aside. With
    `estimate_usage`, calls without usage get an estimate where their record has the text."""
    records = ignored = 0
    calls: list[Call] = []
    halves: list[Half] = []
    dead_letters: list[DeadLetter] = []
    for event in events:
        bad = 0
        for position, found in enumerate(_records(event.body)):
            records += 1
            match _read(found, event, position, oldest, estimate_usage):
                case Call() as call:
                    calls.append(call)
                case Half() as half:
                    halves.append(half)
                case None:
                    ignored += 1
                case DeadLetter() as letter:
                    bad += 1
                    if bad <= MAX_DEAD_LETTERS:
                        dead_letters.append(letter)
                    else:
                        dead_letters[-1] = dead_letters[-1]._replace(records=bad - MAX_DEAD_LETTERS + 1)
    return Collected(records - ignored, calls, halves, dead_letters, ignored)


def _records(body: bytes) -> list[Found]:
    try:
        return find_records(body)
    except Exception as fault:  # noqa: BLE001
        return [Found(_unreadable(fault))]


def _unreadable(fault: Exception) -> BadRecord:
    """A fault of our own. There is no I/O here, so it would come again for ever and block the partition: the record is
    set aside instead, and can be sent again when the fault is mended. The message may hold content, the type does not.
    """
    return BadRecord(
        UNREADABLE, None, "a record that the collector can read", f"a fault of type {type(fault).__name__}"
    )


def _read(
    found: Found, event: RawEvent, position: int, oldest: datetime, estimate_usage: bool
) -> Call | Half | DeadLetter | None:
    dialect: Dialect | None = None
    record: Record = {}
    try:
        if isinstance(found.record, BadRecord):
            raise found.record
        cut = is_cut(found.record)
        member = cut_member(found.record) if cut else None
        record = remains(found.record, member) if cut else found.record
        dialect = next((known for known in DIALECTS if known.recognises(record)), None)
        if cut and not (dialect and says_whose(dialect, record)):
            raise BadRecord(NOT_JSON, None, "a JSON object", "text that ends before the object does")
        if dialect is None:
            expected = f"a record in one of the dialects {', '.join(known.NAME for known in DIALECTS)}"
            raise BadRecord(UNKNOWN_DIALECT, None, expected, describe(record))
        if cut and member != body_member(dialect):
            record = remains(found.record, None)
        delivery = Delivery(
            found.call_id or delivery_id(event.origin, position), found.sent, event.origin.enqueued_time
        )
        usage_event = dialect.read(record, delivery)
        if usage_event is None:
            return None
        call = read_call(usage_event, event.origin, position)
        if call.timestamp < oldest:
            raise BadRecord(TOO_OLD, "timestamp", f"{oldest.isoformat()} or later", call.timestamp.isoformat())
        if call.timestamp > event.origin.enqueued_time + FUTURE_TOLERANCE:
            call = call._replace(timestamp=event.origin.enqueued_time, clamped=True)
        if cut and call.missing_reason in _EXPLAINED_BY_A_CUT:
            call = call._replace(missing_reason="truncated")
        if estimate_usage:
            call = estimated(
                call,
                body=usage_event.body,
                whole=not (cut or usage_event.body_offset),
                answer=answer_of(dialect, record),
                request=request_of(dialect, record),
            )
        kind = half_kind(dialect)
        follows = usage_event.usage_source == "gateway_log" and call.usage_state != "reported"
        return Half(kind, call, waits=True) if follows or kind != "policy" else call
    except Exception as fault:  # noqa: BLE001
        bad = fault if isinstance(fault, BadRecord) else _unreadable(fault)
        request_id = call_id_of(dialect, record)
        return DeadLetter(
            origin=event.origin,
            position=position,
            reason=bad.reason,
            field=bad.field,
            expected=bad.expected,
            got=bad.got,
            dialect=dialect.NAME if dialect else None,
            request_id=request_id if isinstance(request_id, str) and _LIKE_AN_ID.fullmatch(request_id) else None,
            size_bytes=len(event.body),
        )
