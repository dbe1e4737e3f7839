"""Azure-Samples/ai-hub-gateway-solution-accelerator, main and citadel: one flat event per call that was not streamed.

`id` is the response's id, or a GUID made for the event where the response had none. The numbers come as such or, behind
Stream Analytics, as strings.
"""

from typing import Any, Final

from collectors.dialects import _members as members
from collectors.identity import NOBODY, Delivery
from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import UsageEvent

NAME: Final = "ai-hub-gateway"
CALL_ID: Final = "id"

NAMES: Final = {
    "app_id": "appId",
    "subscription_id": "subscriptionId",
    "product_id": "productName",
    "user_id": "endUserId",
    "operation_id": "operationName",
    "gateway_id": "aiGatewayId",
    "region": "gatewayRegion",
    "backend_id": "backendId",
    "client_ip": "RequestIp",
    "deployment": "deploymentName",
    "response_model": "model",
}
TEXTS: Final = frozenset({CALL_ID, "timestamp", "EventEnqueuedUtcTime", *NAMES.values()})
NO_USAGE: Final = (1, 0, 1)
"""Prompt, completion and total where the response had no usage that the policy knows, such as the responses API's."""


def recognises(record: dict[str, Any]) -> bool:
    """By the counts, which nobody else calls `responseTokens`."""
    return record.keys() >= {"promptTokens", "responseTokens", "totalTokens"}


def read(record: dict[str, Any], delivery: Delivery) -> UsageEvent:
    """One call. The hourly sums that its Logic App writes for streams are refused: they are no calls."""
    call_id = members.text(record, CALL_ID, NOBODY)
    if call_id is not None and call_id.startswith("streaming-"):
        raise BadRecord(INVALID_FIELD, CALL_ID, "the id of one call", "the sum of an hour")
    return members.usage_event(
        record,
        NAMES,
        meaningless=NOBODY,
        request_id=call_id or delivery.call_id,
        timestamp=members.time(record, "timestamp", delivery),
        usage=_usage(record),
    )


def _usage(record: dict[str, Any]) -> dict[str, Any] | None:
    prompt, completion, total = (
        members.count(record, field) for field in ("promptTokens", "responseTokens", "totalTokens")
    )
    if (prompt, completion, total) == NO_USAGE:
        return None
    # Citadel's two further counts are 0 where the response did not state them, so a 0 says nothing.
    cached, audio = (members.count(record, field) or None for field in ("cachedTokens", "audioTokens"))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio},
    }
