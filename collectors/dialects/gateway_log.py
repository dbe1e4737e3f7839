"""API Management's log of requests (category GatewayLogs): who called, without what was used.

It has a record for every request of every API. Only those that may have asked a model are read: by method and path.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from collectors.call import METERED_METHODS
from collectors.dialects import _azure_monitor as monitor
from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.dead_letter import MISSING_FIELD
from models.errors import BadRecord
from models.event import UsageEvent
from models.half import HalfKind

NAME: Final = "gateway-log"
ORDER: Final = 10
HALF: Final[HalfKind] = "gateway_log"
CALL_ID: Final = "correlationId"

CATEGORIES: Final = frozenset({"gatewaylogs", "apimanagementgatewaylogs"})
NAMES: Final = {
    "subscription_id": "apimSubscriptionId",
    "product_id": "productId",
    "user_id": "userId",
    "api_id": "apiId",
    "operation_id": "operationId",
    "backend_id": "backendId",
    "client_ip": "callerIpAddress",
    "region": "region",
}
MEMBERS: Final = (
    *NAMES.values(),
    *(CALL_ID, "method", "url", "backendUrl", "responseCode", "totalTime", "durationMs", "time", "timeGenerated"),
    *("lastError", "lastErrorSource", "lastErrorReason", "location"),
)
MEANINGLESS: Final = frozenset({"", "master"})
"""`master` is API Management's all-access subscription: nobody's."""

_ASKS_A_MODEL: Final = re.compile(
    r"/(completions|embeddings|responses|messages|deployments|models|images|audio|inference|invoke|converse|chat"
    r"|rerank|generate|threads)\b|:generateContent|:streamGenerateContent|openai",
    re.IGNORECASE,
)
_DEPLOYMENT: Final = re.compile(r"/(?:deployments|models?)/([^/?:]+)", re.IGNORECASE)


def recognises(record: dict[str, Any]) -> bool:
    """By its category."""
    return monitor.category(record) in CATEGORIES


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
    """One request, None if it asked no model."""
    told = monitor.flat(record, MEMBERS)
    call_id = members.text(told, CALL_ID, monitor.MEANINGLESS)
    method = members.text(told, "method")
    urls = [url for url in (members.text(told, name) for name in ("url", "backendUrl")) if url]
    if call_id is None:
        raise BadRecord(MISSING_FIELD, CALL_ID, "the id of the request", "nothing")
    if (method and method.upper() not in METERED_METHODS) or (
        urls and not any(_ASKS_A_MODEL.search(url) for url in urls)
    ):
        return None
    told.setdefault("region", told.get("location"))
    deployment = next(filter(None, map(_DEPLOYMENT.search, urls)), None)
    duration = "totalTime" if "totalTime" in told else "durationMs"
    return members.usage_event(
        told,
        NAMES,
        meaningless=MEANINGLESS,
        request_id=call_id,
        timestamp=members.time(told, monitor.time_member(told), delivery),
        deployment=unquote(deployment[1]) if deployment else None,
        method=method,
        status=monitor.whole_number(told, "responseCode") or None,
        duration_ms=members.duration(told, duration),
        error=_error(told),
    )


def _error(told: dict[str, Any]) -> dict[str, str | None] | None:
    stated = members.document(told.get("lastError"))
    source = members.text(stated, "source") or members.text(told, "lastErrorSource")
    reason = members.text(stated, "reason") or members.text(told, "lastErrorReason")
    return {"source": source, "reason": reason} if source or reason else None
