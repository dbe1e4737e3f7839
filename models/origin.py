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


class RawEvent(NamedTuple):
    """One event as the hub delivered it."""

    body: bytes
    origin: Origin
