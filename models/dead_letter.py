"""A record that could not be counted, and why. It never holds message content."""

from typing import Final, NamedTuple

from models.origin import Origin

NOT_JSON: Final = "not_json"
UNKNOWN_DIALECT: Final = "unknown_dialect"
MISSING_FIELD: Final = "missing_field"
INVALID_FIELD: Final = "invalid_field"
TOO_OLD: Final = "too_old"
UNREADABLE: Final = "unreadable"
REJECTED_BY_STORE: Final = "rejected_by_store"


class DeadLetter(NamedTuple):
    """`records` is 1, or where an event has very many bad records, the number of those from `position` on.

    `position` is the record's place in its event (0 for the first). `dialect` is None if none was recognised."""

    origin: Origin
    position: int
    reason: str
    field: str | None
    expected: str | None
    got: str | None
    dialect: str | None = None
    request_id: str | None = None
    size_bytes: int = 0
    records: int = 1
