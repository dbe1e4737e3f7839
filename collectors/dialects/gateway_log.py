"""API Management's log of requests (category GatewayLogs): who called, without what was used.

It has a record for every request of every API. Only those that ask a model are read: by method, by path, of the
client's URL or of the backend's, and where a path could be anybody's, by what else the URLs say.
"""

import re
from typing import Any, Final
from urllib.parse import unquote

from collectors.dialects import _azure_monitor as monitor
from collectors.dialects import _members as members
from collectors.identity import Delivery
from collectors.operations import METERED_METHODS, asks_no_model
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
DECIDING: Final = ("apimSubscriptionId", "productId", "method", "url", "backendUrl")
"""Who pays, and whether a model was asked: what is no text here is no call."""
OPTIONAL: Final = frozenset({*NAMES.values(), "lastErrorSource", "lastErrorReason", "location"}).difference(DECIDING)
MEMBERS: Final = (
    *OPTIONAL,
    *DECIDING,
    *(CALL_ID, "responseCode", "totalTime", "durationMs", "time", "timeGenerated", "lastError"),
)
TEXTS: Final = frozenset({*MEMBERS, "source", "reason"}) - {"lastError"}
PATHS: Final = frozenset({"url", "backendurl"})
MAX_STATUS: Final = 999
MAX_MILLISECONDS: Final = 10**9

_HOST: Final = re.compile(r"[a-z]+://[^/]*", re.IGNORECASE)
_BELONGS_TO_MODELS: Final = re.compile(r"/(?:openai|anthropic|inference)(?:/|$)", re.IGNORECASE)
_ASKS_A_MODEL: Final = re.compile(
    r"/(?:completions|embeddings)$"
    r"|/api/(?:chat|generate|embed)$"
    r"|/(?:images|audio)/(?:generations|edits|variations|speech|transcriptions|translations)$"
    r"|/threads(?:/[^/]+)?/runs$|/runs/[^/]+/submit_tool_outputs$"
    r"|/responses/compact$|/serving-endpoints/[^/]+/invocations$"
    r"|/model/[^/]+/(?:invoke|converse)[\w-]*$"
    r"|:\w*(?:generateContent|predict|embedContents?)$",
    re.IGNORECASE,
)
_MAY_ASK_A_MODEL: Final = re.compile(r"/v\d\w*/(?:messages|responses|interactions|chat|generate|embed)$", re.IGNORECASE)
"""Anthropic's, OpenAI's, Gemini's and Cohere's, and what many other APIs call theirs."""
_CONVERSATIONS: Final = re.compile(r"/conversations(?:/[^/]+(?:/restart)?)?$", re.IGNORECASE)
"""Mistral's answer; OpenAI's of the same paths keep what was said."""
_NAMES_MODELS: Final = re.compile(
    r"openai|anthropic|claude|gemini|generativelanguage|cohere|mistral|gpt|llm|genai|inference|foundry"
    r"|\.ai\.azure\.com|//(?:api\.)?x\.ai$|(?<![a-z.])ai(?![a-z])",
    re.IGNORECASE,
)
_DEPLOYMENT: Final = re.compile(r"/deployments/([^/]+)|/models/([^/:]+):|/model/([^/]+)/", re.IGNORECASE)


def recognises(record: dict[str, Any]) -> bool:
    """By its category."""
    return monitor.category(record) in CATEGORIES


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
    """One request, None if it asked no model."""
    told = monitor.flat(record, MEMBERS, OPTIONAL)
    method = members.text(told, "method")
    url, backend = (members.text(told, name) or "" for name in ("url", "backendUrl"))
    paths = [_path(each) for each in (backend, url) if each]  # what was asked at last decides
    if (method and method.upper() not in METERED_METHODS) or (paths and not _ask_a_model(paths, _host(backend))):
        return None
    call_id = members.text(told, CALL_ID, monitor.MEANINGLESS)
    if call_id is None:
        raise BadRecord(MISSING_FIELD, CALL_ID, "the id of the request", "nothing")
    return members.usage_event(
        told | {"region": told.get("region") or told.get("location")},
        NAMES,
        request_id=call_id,
        timestamp=members.time(told, monitor.time_member(told), delivery),
        deployment=_deployment(paths[::-1]),
        method=method,
        status=monitor.whole_number(told, "responseCode", MAX_STATUS) or None,
        duration_ms=monitor.whole_number(told, "totalTime" if "totalTime" in told else "durationMs", MAX_MILLISECONDS),
        error=_error(told),
    )


def _path(url: str) -> str:
    """Without the host, the query and a slash at the end, of which nothing is kept."""
    return url.partition("?")[0][len(_host(url)) :].rstrip("/")


def _host(url: str) -> str:
    host = _HOST.match(url.partition("?")[0])
    return host[0] if host else ""


def _ask_a_model(paths: list[str], backend: str) -> bool:
    """By how a path ends; else by what is in it or, since many APIs have messages and responses, in the backend's host.
    The gateway's own host is that of every API."""
    for path in paths:
        if asks_no_model(path):
            return False
        if _ASKS_A_MODEL.search(path):
            return True
    told = (*paths, backend)
    if any(map(_CONVERSATIONS.search, paths)):
        return any("mistral" in each.lower() for each in told)
    if any(map(_BELONGS_TO_MODELS.search, paths)):
        return True
    return any(map(_MAY_ASK_A_MODEL.search, paths)) and any(map(_NAMES_MODELS.search, told))


def _deployment(paths: list[str]) -> str | None:
    found = next(filter(None, map(_DEPLOYMENT.search, paths)), None)
    return unquote(next(filter(None, found.groups()))) if found else None


def _error(told: dict[str, Any]) -> dict[str, str | None] | None:
    stated = monitor.flat(members.document(told.get("lastError")), ("source", "reason"), ("source", "reason"))
    source = members.text(stated, "source") or members.text(told, "lastErrorSource")
    reason = members.text(stated, "reason") or members.text(told, "lastErrorReason")
    return {"source": source, "reason": reason} if source or reason else None
