"""API Management's log of model calls (category GatewayLlmLogs): what was used, without who called.

It has several rows for one request, the tokens on one of them and the messages, if they are logged at all, on the
others; and rows without any id or count, of probes. Those are ignored, and messages are never read.
"""

from typing import Any, Final

from collectors.dialects import _azure_monitor as monitor
from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.event import UsageEvent
from models.half import HalfKind

NAME: Final = "gateway-llm-log"
ORDER: Final = 10
HALF: Final[HalfKind] = "llm_log"
CALL_ID: Final = "correlationId"

CATEGORIES: Final = frozenset({"gatewayllmlogs", "apimanagementgatewayllmlog"})
COUNTS: Final = ("promptTokens", "completionTokens", "totalTokens", "promptCachedTokens")
NAMES: Final = {"response_model": "modelName", "deployment": "deploymentName", "region": "region"}
MEMBERS: Final = (*COUNTS, *NAMES.values(), CALL_ID, "requestId", "sequenceNumber", "time", "timeGenerated")


def recognises(record: dict[str, Any]) -> bool:
    """By its category; without one, by the counts in its properties."""
    named = monitor.category(record)
    return named in CATEGORIES or (
        not named and isinstance(record.get("properties"), dict) and bool(monitor.flat(record["properties"], COUNTS))
    )


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
    """One row, None if it tells neither what was used nor what answered."""
    told = monitor.flat(record, MEMBERS)
    usage = _usage(told)
    is_first = not monitor.whole_number(told, "sequenceNumber")
    if usage is None and not (is_first and (members.text(told, "modelName") or members.text(told, "requestId"))):
        return None
    return members.usage_event(
        told,
        NAMES,
        request_id=members.text(told, CALL_ID, monitor.MEANINGLESS) or delivery.call_id,
        timestamp=members.time(told, monitor.time_member(told), delivery),
        usage=usage,
    )


def _usage(told: dict[str, Any]) -> dict[str, Any] | None:
    """The counts in the provider's own form, None if all are 0: no call has no token.

    Of Anthropic's models the cached tokens are not among the prompt's, of all others they are; a cached count above the
    prompt's shows it as well.
    """
    prompt, completion, total, cached = (members.count(told, name) or 0 for name in COUNTS)
    if not (prompt or completion or total):
        return None
    if not (prompt or completion):
        return {"total_tokens": total}
    model = members.text(told, "modelName") or members.text(told, "deploymentName") or ""
    if "claude" in model.lower() or cached > prompt:
        return {"input_tokens": prompt, "output_tokens": completion, "cache_read_input_tokens": cached or None}
    details = {"cached_tokens": cached if "promptCachedTokens" in told else None}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total or None,
        "prompt_tokens_details": details,
    }
