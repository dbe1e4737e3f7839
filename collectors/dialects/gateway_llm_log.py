"""API Management's log of model calls (category GatewayLlmLogs): what was used, without who called.

It has several rows for one request, the tokens on one of them and the messages, if they are logged at all, on the
others; and rows of probes, without any id or count. Those are ignored, and messages are never read.
"""

from typing import Any, Final

from collectors.dialects import _azure_monitor as monitor
from collectors.dialects import _members as members
from collectors.identity import Delivery
from models.dead_letter import MISSING_FIELD
from models.errors import BadRecord
from models.event import UsageEvent
from models.half import HalfKind

NAME: Final = "gateway-llm-log"
ORDER: Final = 10
HALF: Final[HalfKind] = "llm_log"
CALL_ID: Final = "correlationId"

CATEGORIES: Final = frozenset({"gatewayllmlogs", "apimanagementgatewayllmlog"})
COUNTS: Final = ("promptTokens", "completionTokens", "totalTokens", "promptCachedTokens")
NAMES: Final = {"response_model": "modelName", "deployment": "deploymentName", "region": "region"}
OF_A_ROW: Final = frozenset({*COUNTS, "modelName", "deploymentName", "requestId", "sequenceNumber"})
MEMBERS: Final = (*OF_A_ROW, CALL_ID, "region", "time", "timeGenerated")
TEXTS: Final = frozenset(MEMBERS)
OPTIONAL: Final = frozenset({*NAMES.values(), "requestId"})
OF_ANY: Final = (CALL_ID, "promptTokens", "completionTokens", "timeGenerated")
"""What tells a row from all else where it does not state its category, as in the answer of a query."""


def recognises(record: dict[str, Any]) -> bool:
    """By its category; without one, by its counts beside the id of the request."""
    named = monitor.category(record)
    return named in CATEGORIES or (not named and len(monitor.flat(record, OF_ANY)) == len(OF_ANY))


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent | None:
    """One row, None if it tells neither what was used nor what answered."""
    told = monitor.flat(record, MEMBERS, OPTIONAL)
    if OF_A_ROW.isdisjoint(told):  # rows written otherwise than we know are not taken for probes
        raise BadRecord(MISSING_FIELD, COUNTS[0], "the tokens that were used", "nothing")
    usage = _usage(told)
    is_message = bool(monitor.whole_number(told, "sequenceNumber", most=10**9))
    names_a_model = members.text(told, "modelName") or members.text(told, "requestId")
    if usage is None and (is_message or not names_a_model):
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
    prompt's shows it as well. The total is then not theirs: it leaves the cached tokens out too.
    """
    prompt, completion, total, cached = (members.count(told, name) for name in COUNTS)
    if not (prompt or completion or cached):
        return {"total_tokens": total} if total else None
    model = members.text(told, "modelName") or members.text(told, "deploymentName") or ""
    if "claude" in model.lower() or (cached or 0) > (prompt or 0):
        return {"input_tokens": prompt, "output_tokens": completion, "cache_read_input_tokens": cached}
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total or None,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
