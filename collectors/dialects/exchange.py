"""A bare exchange: a `response`, and maybe the `request` it answers, as a proxy or a recorder has them.

The response is the provider's body, as an object, an array of chunks or text (JSON, server-sent events), or an HTTP
response with its `status`, its `headers` and its `body`. The request likewise. Beside them may stand `request_id` or
`id`, `timestamp` or `time`, `status`, `app_id`. Of headers only those of a response that count tokens are read, where
its body states no usage; of a URL, only whether it asks a model.
"""

from collections.abc import Iterator
from typing import Any, Final

from collectors.body import read_body
from collectors.dialects import _members as members
from collectors.identity import Delivery
from collectors.normalise import as_count
from collectors.operations import asks_no_model
from collectors.shapes import USAGE_HEADERS
from models.event import UsageEvent

NAME: Final = "exchange"
ORDER: Final = 100  # any dialect may have a member `response`
LATE: Final = frozenset({"response"})
BODY: Final = "response"
REQUEST: Final = "request"
TEXTS: Final = frozenset({"request_id", "id", "timestamp", "time", "app_id"})
PATHS: Final = frozenset({"request.path", "request.url"})

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
    body = members.body(answer.get("body") or answer.get("body_base64"))
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
        usage_source="none" if asks_no_model(_path(request)) else None,
        **members.asked(request.get("body") or request),
        usage=_usage_of_headers(answer.get("headers"), body),
        body=body,
    )


def _path(request: dict[str, Any]) -> str:
    stated = next((url for name in ("path", "url") if isinstance(url := request.get(name), str)), "")
    return stated.partition("?")[0]


def _is_http(response: dict[str, Any]) -> bool:
    return not OF_HTTP.isdisjoint(response) and not {"headers", "body", "body_base64"}.isdisjoint(response)


def _usage_of_headers(headers: object, body: str | None) -> dict[str, int] | None:
    """The counts in the headers, if they are counts and the body has nothing better to say."""
    try:
        stated = {name: as_count(value, as_text=True) for name, value in _headers(headers) if name in USAGE_HEADERS}
    except ValueError:
        return None
    if not stated or body is None:
        return stated or None
    reading = read_body(body, is_tail=False)
    return stated if reading.usage is None and reading.missing_reason != "not_metered" else None


def _headers(headers: object) -> Iterator[tuple[str, object]]:
    """Names in lower case with their values, as recorders write them: an object, maybe of lists, or a list of pairs."""
    pairs = headers.items() if isinstance(headers, dict) else headers if isinstance(headers, list) else ()
    for pair in pairs:
        match pair:
            case [str(name), [value]] | [str(name), value]:
                yield name.lower(), value
