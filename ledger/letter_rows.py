"""The rows of table `deadletters`, and the way between them and dead letters.

    PartitionKey   {YYYYMMDD}: the day on which the hub took the event in, UTC
    {hub}|{partition}|{sequence number}|{position}|{enqueued}        a dead letter, with the start of its payload
    {hub}|{partition}|{sequence number}|{position}|{enqueued}|{n}    what is left of a large payload

The key is made of the delivery, so a record that is delivered again is the same dead letter. A payload is compressed
(zlib), and stands in binary columns of 64 KiB, as many as a row of at most 1 MiB may have
(learn.microsoft.com, "Understanding the Table service data model").
"""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from azure.data.tables import EdmType, EntityProperty

from ledger.rows import utc_text
from ledger.store import Entity, Row, Write
from models.dead_letter import CONTENT_REMOVED, DeadLetter, Kept, Payload, microseconds, parse_letter_id
from models.keys import escape_key
from models.origin import Origin

WRITTEN_BY: Final = "written_by"
COLUMN_BYTES: Final = 64 * 1024
ROW_COLUMNS: Final = 11
"""Binary columns of a row: 704 KiB, so that a row stays below 1 MiB also as it is sent, in base64."""
MAX_ROWS: Final = 5
"""Of one letter, whose payload has at most collectors.letters.MAX_KEPT_BYTES."""

Key = tuple[str, str]


def key_of(origin: Origin, position: int) -> Key:
    """PartitionKey and RowKey of a dead letter."""
    where = f"{escape_key(origin.hub)}|{escape_key(origin.partition)}|{origin.sequence_number:020}"
    return day_of(origin.enqueued_time), f"{where}|{position:07}|{microseconds(origin.enqueued_time):017}"


def day_of(time: datetime) -> str:
    """The PartitionKey of what was enqueued then (UTC)."""
    return f"{time.year:04}{time.month:02}{time.day:02}"


def keys_between(origin: Origin, first: int, last: int) -> tuple[str, str]:
    """A range of RowKeys that has all dead letters of the hub partition from sequence number to sequence number."""
    before = f"{escape_key(origin.hub)}|{escape_key(origin.partition)}|"
    return f"{before}{first:020}", f"{before}{last:020}~"


def is_part(row_key: str) -> bool:
    """True for a row that has only more of a payload."""
    return row_key.count("|") > 4


class Rows(NamedTuple):
    """A dead letter's row, and those with the rest of its payload (None: they stay as they are)."""

    main: Entity
    parts: list[Entity] | None

    @property
    def size(self) -> int:
        """Bytes, roughly, of what is written."""
        rows = [self.main, *(self.parts or [])]
        return sum(len(value) for row in rows for value in row.values() if isinstance(value, bytes)) + 2048


def rows_of(stored: Mapping[str, Any] | None, seen: Sequence[DeadLetter], now: datetime, written_by: str) -> Rows:
    """The rows of a dead letter that was seen (again); `stored` are the columns of its row so far.

    A delivery says all there is to say. A redrive brought back what is already kept, so of that only the reason is new.
    """
    deliveries = [letter for letter in seen if not letter.attempt]
    parts: list[Entity] | None = None
    if deliveries or stored is None:
        letter = deliveries[-1] if deliveries else seen[-1]
        main, parts = _with_payload(_columns(letter), letter.payload)
    else:
        letter = seen[-1]
        main = {name: value for name, value in stored.items() if name not in (*_REASON, "odata.etag", "Timestamp")}
    main |= {name: value for name in _REASON if (value := getattr(seen[-1], name)) is not None}
    if seen[-1].reason == CONTENT_REMOVED:
        main["faithful"] = False
    before = stored or {}
    times_seen = before.get("times_seen", 0) + len(seen)
    tries = max(before.get("tries", 0), *(each.attempt for each in seen))
    main |= {
        "sequence_number": EntityProperty(letter.origin.sequence_number, EdmType.INT64),
        "times_seen": EntityProperty(times_seen, EdmType.INT64),
        "tries": EntityProperty(tries, EdmType.INT64),
        "first_seen_utc": before.get("first_seen_utc", utc_text(now)),
        "last_seen_utc": max(before.get("last_seen_utc", ""), utc_text(now)),
        WRITTEN_BY: written_by,
    }
    return Rows(main, parts)


_REASON: Final = ("reason", "field", "expected", "got", "dialect", "request_id")


def _columns(letter: DeadLetter) -> Entity:
    origin = letter.origin
    partition_key, row_key = key_of(origin, letter.position)
    columns: Entity = {
        "PartitionKey": partition_key,
        "RowKey": row_key,
        "hub": origin.hub,
        "partition": origin.partition,
        "position": letter.position,
        "enqueued_time_utc": utc_text(origin.enqueued_time),
        "size_bytes": letter.size_bytes,
        "records": letter.records,
        "parts": 0,
    }
    if letter.call_id is not None:
        columns["call_id"] = letter.call_id
    if letter.sent is not None:
        columns["sent_utc"] = utc_text(letter.sent)
    return columns


def _with_payload(main: Entity, payload: Payload | None) -> tuple[Entity, list[Entity]]:
    if payload is None:
        return main, []
    compressed = zlib.compress(payload.text)
    columns = [compressed[start : start + COLUMN_BYTES] for start in range(0, len(compressed), COLUMN_BYTES)]
    in_rows = [columns[start : start + ROW_COLUMNS] for start in range(0, len(columns), ROW_COLUMNS)]
    rows = [{f"payload_{number:02}": column for number, column in enumerate(row)} for row in in_rows]
    keys = {"PartitionKey": main["PartitionKey"]}
    parts = [keys | {"RowKey": _part_key(main["RowKey"], number)} | row for number, row in enumerate(rows[1:], start=1)]
    return main | rows[0] | {"kept": _KEPT[payload.whole], "faithful": payload.faithful, "parts": len(parts)}, parts


_KEPT: Final = {True: "full", False: "redacted"}


def _part_key(row_key: str, number: int) -> str:
    return f"{row_key}|{number:02}"


def writes_of(rows: Rows, stored: Row | None) -> list[Write]:
    """What brings the rows into the table, of which `stored` is the main one as last seen."""
    writes = [Write(rows.main, stored.etag if stored else None)]
    if rows.parts is None:
        return writes
    before = stored.columns.get("parts", 0) if stored else 0
    # The main row's ETag guards these.
    writes += [Write(part, "*" if number < before else None) for number, part in enumerate(rows.parts)]
    keys: Entity = {"PartitionKey": rows.main["PartitionKey"]}
    for number in range(len(rows.parts) + 1, before + 1):
        writes.append(Write(keys | {"RowKey": _part_key(rows.main["RowKey"], number)}, "*", delete=True))
    return writes


def deletes_of(stored: Row) -> list[Write]:
    """What takes a dead letter out of the table."""
    keys: Entity = {name: stored.columns[name] for name in ("PartitionKey", "RowKey")}
    parts = [
        keys | {"RowKey": _part_key(keys["RowKey"], number + 1)} for number in range(stored.columns.get("parts", 0))
    ]
    return [Write(keys, stored.etag, delete=True), *(Write(part, "*", delete=True) for part in parts)]


def origin_of(columns: Mapping[str, Any]) -> Origin:
    """Where the dead letter of this row came from."""
    enqueued = datetime.fromisoformat(columns["enqueued_time_utc"])
    return Origin(columns["hub"], columns["partition"], columns["sequence_number"], enqueued)


LISTED: Final = (
    "PartitionKey", "RowKey", "hub", "partition", "sequence_number", "position", "enqueued_time_utc", "size_bytes",
    "records", "parts", "kept", "faithful", "call_id", "sent_utc", "times_seen", "tries", "first_seen_utc",
    "last_seen_utc", *_REASON,
)  # fmt: skip
"""All columns but the payload's."""


def kept_of(columns: Mapping[str, Any], parts: Sequence[Mapping[str, Any]] = ()) -> Kept:
    """The dead letter of a row; `parts` are the other rows of its payload, in order."""
    payload = None
    if "kept" in columns:
        compressed = b"".join(
            row[name] for row in (columns, *parts) for name in sorted(row) if name.startswith("payload_")
        )
        text = zlib.decompress(compressed) if compressed else b""
        payload = Payload(text, columns["kept"] == _KEPT[True], columns["faithful"])
    sent = columns.get("sent_utc")
    letter = DeadLetter(
        origin=origin_of(columns),
        position=columns["position"],
        reason=columns["reason"],
        field=columns.get("field"),
        expected=columns.get("expected"),
        got=columns.get("got"),
        dialect=columns.get("dialect"),
        request_id=columns.get("request_id"),
        size_bytes=columns["size_bytes"],
        records=columns.get("records", 1),
        payload=payload,
        call_id=columns.get("call_id"),
        sent=None if sent is None else datetime.fromisoformat(sent),
    )
    # Rows of schema version 1 do not say when they were seen, nor how often.
    first_seen, last_seen = (
        datetime.fromisoformat(columns.get(name, columns["enqueued_time_utc"]))
        for name in ("first_seen_utc", "last_seen_utc")
    )
    return Kept(letter, columns.get("times_seen", 1), columns.get("tries", 0), first_seen, last_seen)


def key_of_id(text: str) -> Key:
    """Raises ValueError if `text` is not the id of a dead letter."""
    return key_of(*parse_letter_id(text))
