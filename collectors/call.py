"""A usage event -> the call it tells of, with its usage or the reason why there is none."""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from collectors.body import read_body
from collectors.identity import call_id, resolve_app, somebody
from collectors.normalise import normalise
from collectors.operations import METERED_METHODS
from collectors.shapes import recognise
from models.call import Call
from models.dead_letter import INVALID_FIELD
from models.errors import BadRecord
from models.event import UsageEvent, describe
from models.keys import MAX_ESCAPED_LENGTH, SURELY_SHORT, escape_key
from models.origin import Origin
from models.usage import MissingReason, Usage

NOTHING_REPORTED: Final = Usage()

CLIENT_GONE_STATUS = 499
CLIENT_GONE_REASONS: Final = frozenset({"ClientConnectionFailure", "OperationCanceled", "TaskCanceled"})
"""LastError.Reason where the client hung up (learn.microsoft.com, "API Management policy error handling")."""


class UsageReading(NamedTuple):
    """`missing_reason` is None if usage was reported."""

    usage: Usage
    shape: str | None
    model: str | None
    missing_reason: MissingReason | None


def read_call(event: UsageEvent, origin: Origin, position: int = 0) -> Call:
    """Raises BadRecord if the event's own `usage` states a count that cannot be one."""
    reading = read_usage(event)
    app, app_source = resolve_app(event)
    request_id = call_id(event.request_id)
    _check_key("request_id", request_id)
    _check_key(_APP_FIELDS[app_source], app)
    error = event.error
    return Call(
        request_id=request_id,
        timestamp=event.timestamp,
        app=app,
        app_source=app_source,
        model=event.response_model or reading.model or event.model or None,
        usage=reading.usage,
        usage_state="reported" if reading.missing_reason is None else "missing",
        missing_reason=reading.missing_reason,
        usage_shape=reading.shape,
        origin=origin,
        deployment=event.deployment or None,
        operation=event.operation_id or None,
        api=event.api_id or None,
        product=somebody(event.product_id),
        subscription=somebody(event.subscription_id),
        subscription_name=event.subscription_name or None,
        user=event.user_id or None,
        backend=event.backend_id or None,
        gateway=event.gateway_id or None,
        region=event.region or None,
        client_ip=event.client_ip or None,
        stream=event.stream,
        status=event.status,
        duration_ms=_duration(event.duration_ms),
        first_byte_ms=_duration(event.first_byte_ms),
        error_source=(error.source or None) if error else None,
        error_reason=(error.reason or None) if error else None,
        requested_model=event.model or None,
        position=position,
        stage="final" if reading.missing_reason is None else "provisional",
    )


def read_usage(event: UsageEvent) -> UsageReading:
    """The event's `usage` if it states any, else what its `body` says.

    Reading a stored response or run repeats its usage, so only requests that make something are charged; and not those
    of which the sender says that they used no model.
    """
    if event.usage_source == "none" or (event.method and event.method.upper() not in METERED_METHODS):
        return UsageReading(NOTHING_REPORTED, None, None, _gateways_reason(event) or "not_metered")
    if event.usage is not None:
        stated = _normalised(event.usage)
        if stated is not None:
            model = None
            if event.body is not None and not event.response_model:
                model = read_body(event.body, is_tail=bool(event.body_offset)).model
            return UsageReading(*stated, model, None)
    model = None
    # A live stream whose usage was to come from the gateway's log did ask for it, in its way.
    asked = not event.stream or event.usage_source == "gateway_log"
    reason: MissingReason = "unrecognised" if asked else "not_requested"
    if event.body is not None:
        body = read_body(event.body, is_tail=bool(event.body_offset))
        model = body.model
        if body.usage is not None:
            try:
                found = _normalised(body.usage)
            except BadRecord:  # the call did happen, and the rest of its event is good: count it, without a usage
                found = None
            if found is not None:
                return UsageReading(*found, model, None)
            reason = "unrecognised"
        elif body.missing_reason is not None:
            reason = body.missing_reason
    return UsageReading(NOTHING_REPORTED, None, model, _gateways_reason(event) or reason)


def _normalised(stated: Mapping[str, Any]) -> tuple[Usage, str] | None:
    shape = recognise(stated)
    usage = normalise(stated, shape) if shape else None
    return (usage, shape.name) if shape and usage else None


def _gateways_reason(event: UsageEvent) -> MissingReason | None:
    """What the gateway saw of the call explains a missing usage better than the body does."""
    gone = event.error is not None and event.error.reason in CLIENT_GONE_REASONS
    if gone or event.status == CLIENT_GONE_STATUS:
        return "client_disconnected"
    if (event.status is not None and event.status >= 400) or (event.error is not None and event.error.reason):
        return "error_response"
    return None


_APP_FIELDS: Final = {"entra_app": "app_id", "subscription": "subscription_id", "product": "product_id", "none": ""}


def _check_key(field: str, text: str) -> None:
    if len(text) > SURELY_SHORT and len(escape_key(text)) > MAX_ESCAPED_LENGTH:
        expected = f"at most {MAX_ESCAPED_LENGTH} bytes as a table key (each byte that is not a plain letter is three)"
        raise BadRecord(INVALID_FIELD, field, expected, describe(text))


def _duration(milliseconds: float | None) -> float | None:
    """A duration that cannot be one is none: it is no reason to lose the call."""
    return milliseconds if milliseconds is not None and 0 <= milliseconds < math.inf else None
