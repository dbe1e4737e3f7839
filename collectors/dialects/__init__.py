"""The dialects gateways speak, each recognised by its content and turned into the one usage event.

A dialect is a module of this package with a `NAME`, a `recognises(record)` and a `read(record, origin)` that returns a
UsageEvent or raises BadRecord. It is tried in the order of DIALECTS.
"""

from typing import Any, Protocol

from collectors.dialects import usage_event
from models.event import UsageEvent
from models.origin import Origin


class Dialect(Protocol):
    """What a module of this package offers."""

    NAME: str

    def recognises(self, record: dict[str, Any]) -> bool:
        """True if the record is written in this dialect. Looks at members only, never raises."""

    def read(self, record: dict[str, Any], origin: Origin) -> UsageEvent:
        """The record as a usage event. Raises BadRecord."""


DIALECTS: tuple[Dialect, ...] = (usage_event,)
