"""A record that could not be counted, and why. It holds message content only if an operator asked for it, and never a
secret."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args

from models.origin import Origin

NOT_JSON: Final = "not_json"
UNKNOWN_DIALECT: Final = "unknown_dialect"
MISSING_FIELD: Final = "missing_field"
INVALID_FIELD: Final = "invalid_field"
TOO_OLD: Final = "too_old"
UNREADABLE: Final = "unreadable"
REJECTED_BY_STORE: Final = "rejected_by_store"
CONTENT_REMOVED: Final = "content_removed"

REASONS: Final = (
    NOT_JSON,
    UNKNOWN_DIALECT,
    MISSING_FIELD,
    INVALID_FIELD,
    TOO_OLD,
    UNREADABLE,
    REJECTED_BY_STORE,
    CONTENT_REMOVED,
)

Payloads = Literal["none", "redacted", "full"]
PAYLOADS: Final[tuple[Payloads, ...]] = get_args(Payloads)
"""What is kept of a record that is set aside: nothing, the record without its content, or all but its secrets."""


class Payload(NamedTuple):
    """A record as JSON. `whole` is False where content was removed. `faithful` is False where something else was
    removed too, without which the record could not be counted if it were sent again."""

    text: bytes
    whole: bool
    faithful: bool


class DeadLetter(NamedTuple):
    """`records` is 1, or where an event has very many bad records, the number of those from `position` on.

    `position` is the record's place in its event (0 for the first). `dialect` is None if none was recognised. `call_id`
    and `sent` are what a wrapper around the record said of it. `attempt` is the number of the redrive that brought the
    record, 0 if none did.
    """

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
    payload: Payload | None = None
    call_id: str | None = None
    sent: datetime | None = None
    attempt: int = 0


class Kept(NamedTuple):
    """A dead letter as it is kept. `times_seen` counts its deliveries, at least; `tries` the redrives that failed.

    Of a list's letters the payload has no text.
    """

    letter: DeadLetter
    times_seen: int
    tries: int
    first_seen: datetime
    last_seen: datetime

    @property
    def obstacle(self) -> str | None:
        """Why sending the payload again could not count all that was set aside; None if it could."""
        letter = self.letter
        if letter.payload is None:
            return "no_payload"
        if letter.records > 1:
            return "several_records"
        return None if letter.payload.faithful else "content_removed"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ID: Final = re.compile(
    r"(?P<hub>[A-Za-z0-9._:-]{1,256}):(?P<partition>[A-Za-z0-9._-]{1,64})"
    r":(?P<sequence_number>\d{1,18}):(?P<enqueued>\d{1,17}):(?P<position>\d{1,7})",
    re.ASCII,
)


def letter_id(origin: Origin, position: int) -> str:
    """The delivery of a record: the same each time the hub delivers it. Sequence numbers start again in a hub that is
    made anew, so the enqueued time is a part of it."""
    enqueued = microseconds(origin.enqueued_time)
    return f"{origin.hub}:{origin.partition}:{origin.sequence_number}:{enqueued}:{position}"


def microseconds(time: datetime) -> int:
    """Since 1970. Exact, as no float is."""
    return (time - _EPOCH) // _MICROSECOND


def parse_letter_id(text: str) -> tuple[Origin, int]:
    """What `letter_id` made `text` of. Raises ValueError if it made it of nothing."""
    parts = _ID.fullmatch(text)
    if parts is None:
        raise ValueError("not the id of a dead letter")
    enqueued_time = _EPOCH + int(parts["enqueued"]) * _MICROSECOND
    return Origin(parts["hub"], parts["partition"], int(parts["sequence_number"]), enqueued_time), int(
        parts["position"]
    )
