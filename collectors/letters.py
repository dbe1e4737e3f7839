"""A record that cannot be counted -> its dead letter, with as much of the record as may be kept."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from collectors.body import read_body
from collectors.call import read_call
from collectors.cut import MARK, cut_member, is_cut, remains
from collectors.decode import Record
from collectors.dialects import DIALECTS, Dialect, body_member, call_id_of, paths_of, secrets_of, texts_of
from collectors.envelopes import Found, find_records
from collectors.identity import Delivery
from collectors.record_names import IDENTIFIERS
from collectors.redact import Redaction, dump, has_placeholder
from collectors.secrets import is_secret_value
from models.call import Call
from models.dead_letter import CONTENT_REMOVED, REJECTED_BY_STORE, DeadLetter, Payload, Payloads
from models.errors import BadRecord
from models.origin import Origin, RawEvent

_LIKE_AN_ID = re.compile(r"[A-Za-z0-9._:{}()-]{1,128}", re.ASCII)
"""What a dead letter repeats of a request_id: anything else may be text that should not be kept."""

MAX_SENT_BYTES: Final = 1000 * 1024
"""Of a record as JSON. A larger one is kept as well, but most hubs would not take it again."""
MAX_KEPT_BYTES: Final = 2560 * 1024
"""What one transaction holds, even if it does not compress. No more can come but from a hub for large messages."""


def dead_letter(
    bad: BadRecord, found: Found, event: RawEvent, position: int, dialect: Dialect | None, payloads: Payloads
) -> DeadLetter:
    """`dialect` is the one that recognised the record."""
    record = found.record if isinstance(found.record, dict) else {}
    return DeadLetter(
        origin=event.first_origin,
        position=position,
        reason=bad.reason,
        field=bad.field,
        expected=bad.expected,
        got=bad.got,
        dialect=dialect.NAME if dialect else None,
        request_id=_harmless_id(call_id_of(dialect, record)),
        size_bytes=len(event.body),
        payload=_payload(record, dialect, bad.field, payloads, event) if record.keys() - {MARK} else None,
        call_id=found.call_id,
        sent=found.sent,
        attempt=event.redriven.attempt if event.redriven else 0,
    )


def _harmless_id(request_id: object) -> str | None:
    is_id = isinstance(request_id, str) and _LIKE_AN_ID.fullmatch(request_id) and not is_secret_value(request_id)
    return str(request_id) if is_id else None


def refused(call: Call, why: str, events: Iterable[RawEvent], payloads: Payloads) -> DeadLetter:
    """Of a call whose row the service does not take. `events` are those among which its record is, if any is."""
    bad = BadRecord(REJECTED_BY_STORE, None, "a row that Table Storage accepts", why)
    for event in events:
        if event.first_origin == call.origin:
            found = find_records(event.body)
            place = call.position - (event.redriven.position if event.redriven else 0)
            record = found[place].record
            if isinstance(record, dict):
                dialect = next((known for known in DIALECTS if known.recognises(record)), None)
                return dead_letter(bad, found[place], event, call.position, dialect, payloads)
    return DeadLetter(
        call.origin, call.position, bad.reason, None, bad.expected, why, request_id=_harmless_id(call.request_id)
    )


def _payload(
    record: Record, dialect: Dialect | None, culprit: str | None, payloads: Payloads, event: RawEvent
) -> Payload | None:
    """None if nothing is to be kept. A fault of our own must not keep the record from being set aside."""
    if payloads == "none":
        return None
    try:
        kept = payload_of(record, dialect, culprit, payloads, whole=event.redriven is None or event.redriven.whole)
    except Exception:  # noqa: BLE001
        return None
    return kept if len(kept.text) <= MAX_KEPT_BYTES else None


_BODIES: Final = frozenset({"body", "body_base64", "response", "responsebody"})


def payload_of(
    record: Record, dialect: Dialect | None, culprit: str | None, payloads: Payloads, *, whole: bool = True
) -> Payload:
    """What is kept of `record`. `culprit` is the dotted name of the member for which it was set aside; with `whole`
    False its content had been removed before.

    It is faithful if everything that the dialect reads, and the culprit, came through unchanged, so that what is kept
    tells the very same call; if no dialect knows the record, then everything but its content and its secrets.
    """
    texts = texts_of(dialect) if dialect else None
    paths = paths_of(dialect)
    redaction = Redaction(texts or frozenset(), content=payloads == "full", secrets=secrets_of(dialect), paths=paths)
    redacted = redaction.of(record)
    text = dump(redacted).encode()
    if texts is None:
        lost = bool(redaction.altered - _BODIES)
    else:
        blamed = {part.lower() for part in (culprit or "").split(".")}
        lost = not redaction.altered.isdisjoint(texts | IDENTIFIERS | paths | (blamed - _BODIES))
    faithful = not lost and len(text) <= MAX_SENT_BYTES and _say_the_same(record, redacted)
    if faithful and dialect is not None:
        faithful = _told(dialect, record) == _told(dialect, redacted)
    return Payload(text, whole and payloads == "full", faithful)


def _say_the_same(record: Record, redacted: Record) -> bool:
    """True if the responses in both have the same usage."""
    is_tail = bool(record.get("body_offset"))
    pairs = zip(_bodies(record), _bodies(redacted), strict=True)
    return all(read_body(before, is_tail=is_tail) == read_body(after, is_tail=is_tail) for before, after in pairs)


_NEVER: Final = datetime(2000, 1, 1, tzinfo=UTC)
_NOWHERE: Final = Origin("", "", 0, _NEVER)


def _told(dialect: Dialect, record: Record) -> object:
    """The call that the dialect reads in the record, or why it reads none; wherever it was delivered."""
    if is_cut(record):
        member = cut_member(record)
        record = remains(record, member if member == body_member(dialect) else None)
    try:
        event = dialect.read(record, Delivery(_NOWHERE, 0, "none"))
        return event and read_call(event, _NOWHERE)
    except BadRecord as bad:
        return bad.reason, bad.field


def _bodies(record: Record) -> list[str]:
    found: list[str] = []
    for name, value in record.items():
        if name.lower() not in _BODIES or value is None:
            continue
        inside = value.get("body") or value.get("body_base64") if isinstance(value, dict) else None
        body: Any = inside or value
        if isinstance(body, dict) and isinstance(body.get(MARK), str):
            body = body[MARK]
        found.append(body if isinstance(body, str) else dump(body))
    return found


def refuse_placeholders(call: Call) -> None:
    """What was removed from a record is never taken for what it said. Raises BadRecord naming what was."""
    for name, value in call._asdict().items():
        if isinstance(value, str) and has_placeholder(value):
            expected = "its value, which a dead letter does not keep: read the event from the hub again"
            raise BadRecord(CONTENT_REMOVED, name, expected, "what is left of it")
