"""radezheng/tkcount: the request as an object, the response as it was sent, both whole."""

from typing import Any, Final
from urllib.parse import urlsplit

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "tkcount"
CALL_ID: Final = "RequestId"
LATE: Final = frozenset({"RequestBody", "ResponseBody"})
BODY: Final = "ResponseBody"
REQUEST: Final = "RequestBody"

NAMES: Final = {
    "operation_id": "OperationName",
    "gateway_id": "ServiceName",
    "client_ip": "RequestIp",
    "region": "Region",
}
TEXTS: Final = frozenset({CALL_ID, "EventTime", *NAMES.values()})
PATHS: Final = frozenset({"backendurl"})


def recognises(record: dict[str, Any]) -> bool:
    """By the two bodies beside API Management's request id."""
    return "RequestId" in record and not record.keys().isdisjoint({"RequestBody", "ResponseBody"})


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call."""
    return members.usage_event(
        record,
        NAMES,
        request_id=members.text(record, CALL_ID) or delivery.call_id,
        timestamp=members.time(record, "EventTime", delivery),
        backend_id=_host(members.text(record, "backendUrl")),
        **members.asked(record.get("RequestBody")),
        body=members.body(record.get("ResponseBody")),
    )


def _host(url: str | None) -> str | None:
    """Of a URL only the host is kept: the rest may hold a key."""
    try:
        return urlsplit(url).hostname if url else None
    except ValueError:
        return None
