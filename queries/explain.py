"""A call as answers show it, and why it was counted as it was. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from ledger.rows import call_of, call_row_key, dimension_of, dimensions_of, utc_text
from ledger.store import Entity
from models.call import Call
from models.usage import ESTIMATED_KINDS, Usage
from queries.names import Names


def shown(call: Call) -> dict[str, Any]:
    """A call as answers show it: null is what was not told."""
    usage = call.usage._asdict()
    usage["audio_seconds"] = None if call.usage.audio_seconds is None else float(call.usage.audio_seconds)
    estimate = None if call.estimate is None else call.estimate.sums()
    values = {name: getattr(call, name) for name in Call._fields if name not in NESTED}
    return {
        "request_id": call.request_id,
        "timestamp": utc_text(call.timestamp),
        **values,
        "failed": call.failed,
        "usage": usage,
        "estimate": estimate,
    }


NESTED: Final = (
    "request_id",
    "timestamp",
    "usage",
    "estimate",
    "origin",
    "position",
    "clamped",
    "undated",
    "stated_timestamp",
)

CALL_COLUMNS: Final = (
    "request_id",
    "timestamp",
    *(name for name in Call._fields if name not in NESTED),
    "failed",
    *Usage._fields,
    *ESTIMATED_KINDS,
)
"""The columns of calls as CSV."""


def flat_call(shown: Mapping[str, Any]) -> dict[str, Any]:
    """A call as `shown`, with its counts beside the rest."""
    known = {**shown, **shown["usage"], **(shown["estimate"] or {})}
    found = {name: known.get(name) for name in CALL_COLUMNS}
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in found.items()}


def explained(columns: Entity, counted_as: Call | None, names: Names) -> dict[str, Any]:
    """A call row with all that is known of it, and why it was counted as it was."""
    told_model = call_of(columns).model
    call = names.named(call_of(columns))
    origin = call.origin
    told: dict[str, Any] = {
        **shown(call),
        "clamped": bool(call.clamped),
        "origin": {
            "hub": origin.hub,
            "partition": origin.partition,
            "sequence_number": origin.sequence_number,
            "enqueued_time": utc_text(origin.enqueued_time),
            "position": call.position,
        },
        "counted": call.stage != "moved",
        "counted_in": None,
        "moved_to": None,
        "why": _why(call) + ([_BY_ALIAS] if call.model != told_model else []),
    }
    if columns.get("forgotten"):
        told["why"] = [_FORGOTTEN]
    elif call.stage != "moved":
        hour = call.timestamp.replace(minute=0, second=0, microsecond=0)
        sums = {"hour": utc_text(hour), "day": f"{hour:%Y-%m-%d}", "month": f"{hour:%Y-%m}"}
        told["counted_in"] = sums | {"dimensions": {name: dimension_of(call, name) for name in dimensions_of(columns)}}
    elif counted_as is not None and call_row_key(counted_as) + counted_as.app != call_row_key(call) + call.app:
        told["moved_to"] = {"app": counted_as.app, "timestamp": utc_text(counted_as.timestamp)}
    return told


_APP: Final = {
    "entra_app": "the app is the Entra app id of the caller's token (claim appid or azp)",
    "subscription": "the app is the API Management subscription: the call named no Entra app",
    "product": "the app is the API Management product: the call named no Entra app and no subscription",
    "none": "nobody who pays was named in the call's record",
}
_BY_ALIAS: Final = "the answer named no model; this is the one entered for its deployment"
_MISSING: Final = {
    "not_requested": "a stream for which the client did not ask usage (stream_options.include_usage)",
    "truncated": "the record's body was cut before the usage",
    "client_disconnected": "the client hung up before the usage came",
    "error_response": "the provider or the gateway answered with an error",
    "not_metered": "the operation has no tokens",
    "unrecognised": "there was no usage that is known, or none yet",
}


_FORGOTTEN: Final = "its app's data was deleted; this is kept so that the call is not counted again if it comes again"


def _why(call: Call) -> list[str]:
    if call.stage == "moved" and call.stated_timestamp == call.timestamp:
        return ["its time lay in the future when it came: it is counted at the time the hub took it in"]
    if call.stage == "moved":
        return ["it was counted here until more was known of it; it is counted under another app or day now"]
    reason = _MISSING.get(call.missing_reason or "", "")
    why = [_APP[call.app_source]]
    if call.usage_state == "reported":
        why.append(f"the provider reported the usage (read as {call.usage_shape})")
    elif call.usage_state == "estimated":
        why.append(f"no usage was reported ({reason}); it was estimated from the text, in counts of its own")
    else:
        why.append(f"no usage was reported: {reason}; it counts as a call, and no tokens are guessed")
    if call.usage.total_tokens_reported is not None:
        why.append("the provider's own total disagrees with prompt and completion, which are counted")
    if call.usage.parts_exceed_whole:
        why.append("the provider reported more of a part than of its whole; both are kept as reported")
    if call.clamped:
        why.append("the sender's time lay in the future, so it stands at the time the hub took it in")
    if call.undated:
        why.append("its record says no time, so it stands at that of its first delivery")
    if call.stage == "logged":
        why.append("the usage is that of the gateway's log; the sender's own, if it comes, replaces it, once")
    if call.stage == "provisional":
        why.append("it is provisional: usage that comes later corrects it, once")
    return why
