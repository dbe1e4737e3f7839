"""The event that users write themselves after Microsoft's example of logging to Event Hubs: a response as it was sent.

`{"EventTime", "ServiceName", "RequestId", "RequestIp", "OperationName", "response"}`, often in a `records` wrapper.
"""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "raw-response"
CALL_ID: Final = "RequestId"
LATE: Final = frozenset({"response"})
BODY: Final = "response"
REQUEST: Final = "request"

NAMES: Final = {
    "subscription_id": "SubscriptionId",
    "operation_id": "OperationName",
    "gateway_id": "ServiceName",
    "client_ip": "RequestIp",
}
TEXTS: Final = frozenset({CALL_ID, "EventTime", *NAMES.values()})


def recognises(record: dict[str, Any]) -> bool:
    """By the response beside API Management's request id."""
    return record.keys() >= {"RequestId", "response"}


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call."""
    return members.usage_event(
        record,
        NAMES,
        request_id=members.text(record, CALL_ID) or delivery.call_id,
        timestamp=members.time(record, "EventTime", delivery),
        **members.asked(record.get("request")),
        body=members.body(record.get("response")),
    )
