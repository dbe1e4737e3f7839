"""What the Event Hubs trigger hands over -> raw events with their origin.

Nothing here imports azure.functions: `HubEvent` names what is used of its EventHubEvent.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from collectors.redriven import redriven_of
from models.origin import Origin, RawEvent


class HubEvent(Protocol):
    """The part of azure.functions.EventHubEvent that is used here."""

    def get_body(self) -> bytes: ...
    @property
    def sequence_number(self) -> int | None: ...
    @property
    def enqueued_time(self) -> datetime | None: ...
    @property
    def metadata(self) -> Mapping[str, Any] | None: ...


def raw_events(events: Sequence[HubEvent], hub: str) -> list[RawEvent]:
    """A batch of one partition. `hub` is the hub's name, for a host that does not say it.

    The partition and the events' properties stand only in the metadata, which each event makes anew for the whole
    batch, so one is asked. The enqueued time comes without a zone from some versions of the host, and means UTC. The
    offset is not used: it can be -1 for every event (docs/architecture.md, "What is not relied on").
    """
    if not events:
        return []
    metadata = events[0].metadata or {}
    context = _partition_context(metadata)
    name = str(context.get("EventHubName") or hub)
    partition = str(context.get("PartitionId") or "0")
    return [
        RawEvent(
            event.get_body(),
            Origin(name, partition, event.sequence_number or 0, _utc(event.enqueued_time)),
            redriven_of(properties),
        )
        for event, properties in zip(events, _properties(metadata, len(events)), strict=True)
    ]


def _properties(metadata: Mapping[str, Any], events: int) -> Sequence[Mapping[str, Any]]:
    """The application properties of each event."""
    stated = metadata.get("PropertiesArray")
    if isinstance(stated, list) and len(stated) == events:
        return [properties if isinstance(properties, Mapping) else {} for properties in stated]
    return [{}] * events


def _partition_context(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    context = metadata.get("PartitionContext")
    if isinstance(context, str):  # where the host could not serialise it
        try:
            context = json.loads(context)
        except ValueError:
            context = None
    return context if isinstance(context, Mapping) else {}


def _utc(time: datetime | None) -> datetime:
    if time is None:
        return datetime.now(UTC)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
