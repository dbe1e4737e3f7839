"""Who called, and which call it was."""

import re
from typing import Final

from models.call import UNATTRIBUTED, AppSource
from models.event import UsageEvent

_GUID: Final = re.compile(
    r"[{(]?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})[)}]?", re.ASCII | re.IGNORECASE
)


def call_id(request_id: str) -> str:
    """The identity of a call. GUIDs are compared as GUIDs: case, braces and hyphens aside. Others as they are."""
    guid = _GUID.fullmatch(request_id)
    return "-".join(guid.groups()).lower() if guid else request_id


def resolve_app(event: UsageEvent) -> tuple[str, AppSource]:
    """Who pays: the Entra app, else the API Management subscription, else the product, else `unattributed`."""
    if event.app_id and event.app_id.strip():
        return event.app_id.strip(), "entra_app"
    if event.subscription_id and event.subscription_id.strip():
        return event.subscription_id.strip(), "subscription"
    if event.product_id and event.product_id.strip():
        return event.product_id.strip(), "product"
    return UNATTRIBUTED, "none"
