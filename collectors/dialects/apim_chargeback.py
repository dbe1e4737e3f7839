"""seiggy/apim-chargeback: what its policy posts, with request and response as objects; of a stream the last chunk."""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "apim-chargeback"
LATE: Final = frozenset({"requestBody", "responseBody"})
BODY: Final = "responseBody"
REQUEST: Final = "requestBody"
TEXTS: Final = frozenset({"clientAppId", "deploymentId"})


def recognises(record: dict[str, Any]) -> bool:
    """By the two bodies beside the client's id in Entra."""
    return "clientAppId" in record and not record.keys().isdisjoint({"requestBody", "responseBody"})


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call, with neither an id nor a time of its own."""
    return members.usage_event(
        record,
        {"app_id": "clientAppId", "deployment": "deploymentId"},
        request_id=delivery.call_id,
        timestamp=delivery.time.isoformat(),
        **members.asked(record.get("requestBody")),
        body=members.body(record.get("responseBody")),
    )
