"""microsoft/private-openai-with-apim-for-chargeback: request and response as text; no id of the call.

`appSubscriptionKey` is the caller's key: it is not read, so it goes nowhere.
"""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "private-openai"
LATE: Final = frozenset({"request", "response"})
BODY: Final = "response"
REQUEST: Final = "request"
TEXTS: Final = frozenset({"apiOperation", "eventTime"})


def recognises(record: dict[str, Any]) -> bool:
    """By the operation's name for it, beside the key or what was said."""
    return "apiOperation" in record and not record.keys().isdisjoint({"appSubscriptionKey", "request", "response"})


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call. Nothing but the key says who made it, so it is nobody's."""
    return members.usage_event(
        record,
        {"operation_id": "apiOperation"},
        request_id=delivery.call_id,
        timestamp=members.time(record, "eventTime", delivery),
        **members.asked(record.get("request")),
        body=members.body(record.get("response")),
    )
