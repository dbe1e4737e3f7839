"""The events of one batch -> calls to count, halves of calls, dead letters. Nothing in here is lost or raised."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from collectors.call import read_call
from collectors.cut import cut_member, is_cut, remains
from collectors.decode import Record
from collectors.dialects import (
    DIALECTS,
    Dialect,
    ReadAtOnce,
    answer_of,
    body_member,
    half_kind,
    reader_at_once,
    request_of,
    says_whose,
)
from collectors.envelopes import Found, find_records
from collectors.estimate import estimated
from collectors.identity import Delivery, is_made_up
from collectors.letters import dead_letter, refuse_placeholders
from models.call import Call
from models.dead_letter import NOT_JSON, TOO_OLD, UNKNOWN_DIALECT, UNREADABLE, DeadLetter, Payloads
from models.errors import BadRecord
from models.event import describe
from models.half import Half
from models.origin import RawEvent
from models.usage import MissingReason

_EXPLAINED_BY_A_CUT: Final = frozenset[MissingReason | None]({"not_requested", "unrecognised"})


FUTURE_TOLERANCE: Final = timedelta(minutes=15)
"""How far a sender's clock may be ahead of the hub's. A call cannot be later than its event: one that says so is
counted when the hub took the event in."""
REMEMBERED_AHEAD: Final = timedelta(days=366)
"""What such a sender said is remembered if it is less than that ahead: the event may be sent again when it is past."""

MAX_DEAD_LETTERS = 100
"""Of one event. A megabyte can hold half a million bad records, and writing each would hold up the partition."""

MAX_BYTES_KEPT = 4 * 1024 * 1024
"""Of one batch: the events of whose bad records something is kept. What is left out takes long, and a gateway that
sends nothing but bad records of 200 KB would hold up the partition; the hub still has them."""


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


def collect(
    events: Iterable[RawEvent],
    oldest: datetime,
    *,
    oldest_redriven: datetime | None = None,
    estimate_usage: bool = False,
    payloads: Payloads = "none",
) -> Collected:
    """`oldest` is the time before which a call may no longer be recognised as counted, so that it is set aside;
    `oldest_redriven` that for dead letters, which were not counted (None: the same). With
    `estimate_usage`, calls without usage get an estimate where their record has the text. `payloads` says what is kept
    of records that are set aside."""
    records = ignored = kept = 0
    calls: list[Call] = []
    halves: list[Half] = []
    dead_letters: list[DeadLetter] = []
    at_once = reader_at_once(DIALECTS[0])
    for event in events:
        if (plain := _read_plain(event, at_once, oldest, estimate_usage)) is not None:
            records += 1
            calls.append(plain)
            continue
        bad = 0
        for position, found in _deliveries(event):
            records += 1
            keep: Payloads = payloads if bad < MAX_DEAD_LETTERS and kept < MAX_BYTES_KEPT else "none"
            limit = oldest_redriven if oldest_redriven and event.redriven else oldest
            match _read(found, event, position, limit, estimate_usage, keep):
                case Call() as call:
                    calls.append(call)
                case Half() as half:
                    halves.append(half)
                case None:
                    ignored += 1
                case DeadLetter() as letter:
                    kept += 0 if bad else len(event.body)
                    bad += 1
                    if bad <= MAX_DEAD_LETTERS:
                        dead_letters.append(letter)
                    else:
                        dead_letters[-1] = dead_letters[-1]._replace(records=bad - MAX_DEAD_LETTERS + 1)
    return Collected(records - ignored, calls, halves, dead_letters, ignored)


def _deliveries(event: RawEvent) -> Iterator[tuple[int, Found]]:
    """The records with their places. One that is sent again has that of its first delivery, and its wrapper's words."""
    again = event.redriven
    for place, found in enumerate(_records(event.body), again.position if again else 0):
        if again is not None:
            found = found._replace(call_id=found.call_id or again.call_id, sent=found.sent or again.sent)
        yield place, found


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


def _read_plain(event: RawEvent, read_at_once: ReadAtOnce, oldest: datetime, estimate_usage: bool) -> Call | None:
    """The call of an event that is what it should be, as `_read` would give it. None for any other: `_read` judges."""
    usage_event = None if event.redriven else read_at_once(event.body)
    if usage_event is None or usage_event.usage_source == "gateway_log":
        return None
    try:
        call = read_call(usage_event, event.origin)
        if estimate_usage and call.usage_state != "reported":
            return None
        enqueued = event.origin.enqueued_time
        return _dated(call, event.sent or enqueued, enqueued, oldest)
    except Exception:  # noqa: BLE001
        return None


def _dated(call: Call, if_silent: datetime | None, enqueued: datetime, oldest: datetime) -> Call:
    """The call, no later than the event that tells of it was enqueued. `if_silent` is the time that a record without
    one was given. Raises BadRecord for a call before `oldest`."""
    timestamp = call.timestamp
    if timestamp == if_silent:
        call = call._replace(undated=True)
    ahead = timestamp - enqueued
    if ahead > FUTURE_TOLERANCE:
        stated = timestamp if ahead < REMEMBERED_AHEAD else None
        call = call._replace(timestamp=enqueued, clamped=True, stated_timestamp=stated)
    if call.timestamp < oldest:
        raise BadRecord(TOO_OLD, "timestamp", f"{oldest.isoformat()} or later", call.timestamp.isoformat())
    return call


def _read(
    found: Found, event: RawEvent, position: int, oldest: datetime, estimate_usage: bool, payloads: Payloads
) -> Call | Half | DeadLetter | None:
    dialect: Dialect | None = None
    origin = event.first_origin
    try:
        if isinstance(found.record, BadRecord):
            raise found.record
        cut = is_cut(found.record)
        member = cut_member(found.record) if cut else None
        record: Record = remains(found.record, member) if cut else found.record
        dialect = next((known for known in DIALECTS if known.recognises(record)), None)
        if cut and not (dialect and says_whose(dialect, record)):
            raise BadRecord(NOT_JSON, None, "a JSON object", "text that ends before the object does")
        if dialect is None:
            expected = f"a record in one of the dialects {', '.join(known.NAME for known in DIALECTS)}"
            raise BadRecord(UNKNOWN_DIALECT, None, expected, describe(record))
        if cut and member != body_member(dialect):
            record = remains(found.record, None)
        delivery = Delivery(origin, position, found.call_id, found.sent or event.sent)
        usage_event = dialect.read(record, delivery)
        if usage_event is None:
            return None
        call = read_call(usage_event, origin, position)
        if event.redriven is not None:
            refuse_placeholders(call)
        call = _dated(call, None if found.sent else delivery.time, origin.enqueued_time, oldest)
        if cut and call.missing_reason in _EXPLAINED_BY_A_CUT:
            call = call._replace(missing_reason="truncated")
        if estimate_usage and (event.redriven is None or event.redriven.whole):
            call = estimated(
                call,
                body=usage_event.body,
                whole=not (cut or usage_event.body_offset),
                answer=answer_of(dialect, record),
                request=request_of(dialect, record),
            )
        kind = half_kind(dialect)
        unknown = call.usage_state != "reported" and call.missing_reason != "not_metered"
        follows = usage_event.usage_source == "gateway_log" and unknown
        can_join = kind != "policy" and not is_made_up(call.request_id)
        return Half(kind, call, waits=True) if follows or can_join else call
    except Exception as fault:  # noqa: BLE001
        bad = fault if isinstance(fault, BadRecord) else _unreadable(fault)
        return dead_letter(bad, found, event, position, dialect, payloads)
