"""Our own usage event, `usage-event/1` (docs/events.md)."""

from typing import Any, Final

from collectors.identity import CLOUD_EVENT, Delivery
from models.event import UsageEvent, read_usage_event
from models.plain_event import plain_usage_event

NAME: Final = "usage-event"
ORDER: Final = 0
CALL_ID: Final = "request_id"
LATE: Final = frozenset({"usage", "body"})
BODY: Final = "body"
TEXTS: Final = frozenset(
    {
        "request_id", "timestamp", "app_id", "subscription_id", "subscription_name", "product_id", "user_id", "api_id",
        "operation_id", "gateway_id", "region", "backend_id", "client_ip", "method", "deployment", "model", "source",
        "reason", "usage_source", "response_model",
    }
)  # fmt: skip


def recognises(record: dict[str, Any]) -> bool:
    """True for any version of our event, so that one of a wrong version is told what was expected."""
    return "schema" in record


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """The record as it came, validated. A CloudEvent around it may say the time and which call it was in its place."""
    if record.get("request_id") in (None, "") and delivery.call_id.startswith(CLOUD_EVENT):
        record = record | {"request_id": delivery.call_id}
    if record.get("timestamp") is None and delivery.sent is not None:
        record = record | {"timestamp": delivery.sent.isoformat()}
    return read_usage_event(record)


read_at_once = plain_usage_event
