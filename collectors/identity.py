"""Who called, and which call it was."""

import re
from datetime import datetime
from typing import Final, NamedTuple

from models.call import UNATTRIBUTED, AppSource
from models.event import UsageEvent
from models.origin import Origin

_GUID: Final = re.compile(
    r"[{(]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[)}]?", re.ASCII | re.IGNORECASE
)

_PLAIN_GUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)


def call_id(request_id: str) -> str:
    """The identity of a call. GUIDs are compared as GUIDs: case, braces and hyphens aside. Others as they are."""
    if _PLAIN_GUID.fullmatch(request_id):
        return request_id
    guid = _GUID.fullmatch(request_id)
    return "-".join(guid.groups()).lower() if guid else request_id


NOBODY: Final = frozenset({"master", "Portal-Admin", "NA", "NA-HEADER"})
"""What stands for a caller where there is none: API Management's all-access subscription, and what ai-hub-gateway's
policies write. Whatever the dialect, these are no app, subscription or product."""


def somebody(name: str | None) -> str | None:
    """`name` if it names anybody."""
    if not name:
        return None
    name = name.strip()
    return None if name in NOBODY else name or None


def resolve_app(event: UsageEvent) -> tuple[str, AppSource]:
    """Who pays: the Entra app, else the API Management subscription, else the product, else `unattributed`."""
    if app := somebody(event.app_id):
        return app, "entra_app"
    if subscription := somebody(event.subscription_id):
        return subscription, "subscription"
    if product := somebody(event.product_id):
        return product, "product"
    return UNATTRIBUTED, "none"


class Delivery(NamedTuple):
    """What the way of a record says, for records that are silent about it themselves.

    `sent` is the sender's time (CloudEvents), if it gave one. `stated_id` is an identity that a wrapper gives.
    """

    origin: Origin
    position: int
    stated_id: str | None = None
    sent: datetime | None = None

    @property
    def call_id(self) -> str:
        """The identity of a call that has none."""
        return self.stated_id or delivery_id(self.origin, self.position)

    @property
    def time(self) -> datetime:
        return self.sent or self.origin.enqueued_time


_DELIVERY: Final = "delivery:"
CLOUD_EVENT: Final = "cloudevent:"


def is_made_up(call_id: str) -> bool:
    """True for an identity that was not the call's own: nothing else that is known of the call can have the same."""
    return call_id.startswith((_DELIVERY, CLOUD_EVENT))


def is_of_delivery(call_id: str) -> bool:
    """True for an identity that is that of the delivery itself."""
    return call_id.startswith(_DELIVERY)


def delivery_id(origin: Origin, position: int) -> str:
    """The same for each redelivery of an event; another if the event is sent twice. Sequence numbers start again when a
    hub is made anew, so the enqueued time is a part of it."""
    enqueued = int(origin.enqueued_time.timestamp() * 1000)
    return f"{_DELIVERY}{origin.hub}:{origin.partition}:{origin.sequence_number}:{enqueued}:{position}"
