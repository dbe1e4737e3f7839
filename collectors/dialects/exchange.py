"""A bare exchange: a `response`, and maybe the `request` it answers, as a proxy or a recorder has them.

The response is the provider's body, as an object, an array of chunks or text (JSON, server-sent events), or an HTTP
response with its `status` and its `body`. The request likewise. Beside them may stand `request_id` or `id`, `timestamp`
or `time`, `status`, `app_id`. Headers are not read, and of a URL nothing but the deployment.
"""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent

NAME: Final = "exchange"
ORDER: Final = 100  # any dialect may have a member `response`
LATE: Final = frozenset({"response"})
BODY: Final = "response"

OF_HTTP: Final = frozenset({"status", "status_code", "statusCode", "headers"})
OF_PROVIDERS: Final = frozenset(
    {
        "candidates", "choices", "content", "error", "generation", "generations", "inputTextTokenCount", "meta",
        "model", "object", "output", "outputs", "prompt_eval_count", "prompt_token_count", "usage", "usageMetadata",
    }
)  # fmt: skip
OF_REQUESTS: Final = frozenset({"model", "messages", "input", "prompt", "contents", "body"})


def recognises(record: dict[str, Any]) -> bool:
    """By a response that a model's provider may have given, or a request to one that got none."""
    response = record.get("response")
    if isinstance(response, str):
        return response.lstrip("\ufeff \t\r\n").startswith(("{", "[", "data:", "event:", ":"))
    if isinstance(response, dict):
        return _is_http(response) or not OF_PROVIDERS.isdisjoint(response)
    if isinstance(response, list):  # the chunks of a stream
        return any(isinstance(chunk, dict) and not OF_PROVIDERS.isdisjoint(chunk) for chunk in response)
    request = record.get("request")
    return (
        "response" in record and response is None and isinstance(request, dict) and not OF_REQUESTS.isdisjoint(request)
    )


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call."""
    request, response = members.document(record.get("request")), record.get("response")
    answer = response if isinstance(response, dict) and _is_http(response) else {"body": response}
    call_id = next(filter(None, (members.text(record, name) for name in ("request_id", "id"))), None)
    statuses = (holder.get(name) for holder in (answer, record) for name in ("status", "status_code", "statusCode"))
    return members.usage_event(
        record,
        {"app_id": "app_id"},
        request_id=call_id or delivery.call_id,
        timestamp=members.time(record, "timestamp" if "timestamp" in record else "time", delivery),
        status=next((status for status in statuses if type(status) is int), None),
        method=members.text(request, "method"),
        deployment=members.text(request, "deployment"),
        **members.asked(request.get("body") or request),
        body=members.body(answer.get("body") or answer.get("body_base64")),
    )


def _is_http(response: dict[str, Any]) -> bool:
    return not OF_HTTP.isdisjoint(response) and not {"body", "body_base64"}.isdisjoint(response)
