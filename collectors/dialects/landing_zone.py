"""Azure/apim-landing-zone-accelerator and Azure-Samples/apim-genai-gateway-toolkit: a total, and all of it strings."""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "landing-zone"
CALL_ID: Final = "RequestId"

NAMES: Final = {
    "subscription_id": "SubscriptionId",
    "operation_id": "OperationName",
    "gateway_id": "GatewayId",
    "client_ip": "RequestIp",
}
TEXTS: Final = frozenset({CALL_ID, "EventTime", *NAMES.values()})


def recognises(record: dict[str, Any]) -> bool:
    """By its total beside API Management's request id."""
    return record.keys() >= {"RequestId", "TotalTokens"}


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call, of which neither the model nor the parts of the total are known."""
    total = members.count(record, "TotalTokens")
    return members.usage_event(
        record,
        NAMES,
        request_id=members.text(record, CALL_ID) or delivery.call_id,
        timestamp=members.time(record, "EventTime", delivery),
        usage=None if total is None else {"total_tokens": total},
    )
