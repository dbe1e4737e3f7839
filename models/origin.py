"""Where a record came from."""

from datetime import datetime
from typing import NamedTuple


class Origin(NamedTuple):
    """The delivery of one Event Hubs event. `enqueued_time` is aware, in UTC.

    Sequence numbers start again when a hub is made anew, so an origin tells where to look, never what a call is.
    """

    hub: str
    partition: str
    sequence_number: int
    enqueued_time: datetime

    @property
    def writer(self) -> str:
        """The name under which this partition's aggregate rows are kept, so that no two partitions share a row."""
        return f"{self.hub}-{self.partition}"


class Redriven(NamedTuple):
    """What a dead letter that is sent again says of its record: where it came from first and its `position` there, and
    what a wrapper around it said (`call_id`, `sent`). `attempt` counts from 1. `whole` is False where content was
    removed from it."""

    origin: Origin
    position: int
    attempt: int
    call_id: str | None
    sent: datetime | None
    whole: bool


class RawEvent(NamedTuple):
    """One event as the hub delivered it. `sent` is when it probably was sent, where that was not then: for records that
    say no time."""

    body: bytes
    origin: Origin
    redriven: Redriven | None = None
    sent: datetime | None = None

    @property
    def first_origin(self) -> Origin:
        """That of the first delivery: what is sent again stays the record that it was."""
        return self.redriven.origin if self.redriven else self.origin
