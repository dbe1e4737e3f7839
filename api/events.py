"""POST /api/events: usage events from senders that cannot reach the hub themselves."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any, Final

import services
from api.edits import body_within
from api.posted import Posted, read_events
from api.response import Request, Response, error_shape, json_response
from models.errors import QueryError

MAX_BODY_BYTES: Final = 1024 * 1024
"""As much as one event of a hub may have, in all tiers but Basic."""


async def post(request: Request) -> Response:
    """Sends what the collector can read to the hub, and answers for each event what became of it.

    Raises QueryError for what concerns the request as a whole, and SettingsError where nothing can be sent.
    """
    _refuse_unreadable(request)
    found = services.get()
    sender = found.sender()
    now = services.now()
    oldest = now - timedelta(days=found.settings.call_retention_days)
    # In a thread, since a megabyte of bad records takes seconds to read, and the app goes on collecting.
    events = await asyncio.to_thread(read_events, request.body, request.headers, now, oldest)
    good = [place for place, event in enumerate(events) if event.fault is None and not event.ignored]
    outcomes = await sender.send([(events[place].body, events[place].app) for place in good])
    became = dict(zip(good, outcomes, strict=True))
    return _answer([_result(place, event, became.get(place)) for place, event in enumerate(events)])


def _refuse_unreadable(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        message = f"the body is encoded ({encoding[:40]}); expected it as it is, without Content-Encoding"
        raise QueryError("unsupported_encoding", message, "Content-Encoding", 415)
    body_within(request.body, MAX_BODY_BYTES)


def _result(position: int, event: Posted, outcome: str | None) -> dict[str, Any]:
    result = {"position": position, "status": "rejected", "request_id": event.request_id}
    fault = event.fault
    if fault is not None:
        return result | error_shape(fault.reason, str(fault), fault.field)
    if event.ignored:
        return result | {"status": "ignored"}
    if outcome == "too_large":
        message = f"the event has {len(event.body)} bytes, more than the hub takes in one"
        return result | error_shape("event_too_large", message, None)
    if outcome == "not_sent":
        message = "the hub did not confirm it; send it again"
        return result | {"status": "not_sent"} | error_shape("hub_unavailable", message, None)
    return result | {"status": "accepted"}


def _answer(results: list[dict[str, Any]]) -> Response:
    """202 all accepted or ignored, 207 some, 400 none; 503 where something should come again. Errors have the one
    error shape."""
    count = Counter(result["status"] for result in results)
    statuses = ("accepted", "ignored", "rejected", "not_sent")
    accepted, ignored, rejected, not_sent = (count[name] for name in statuses)
    answer: dict[str, Any] = {name: count[name] for name in statuses} | {"events": results}
    if not_sent:
        message = f"the hub did not confirm {not_sent} of {len(results)} events; send them again"
        return json_response(error_shape("hub_unavailable", message, None) | answer, 503)
    if accepted or ignored:
        return json_response(answer, 207 if rejected else 202)
    if rejected == 1:
        return json_response({"error": results[0]["error"]} | answer, 400)
    message = f"none of the {rejected} events was accepted; their errors stand in events"
    return json_response(error_shape("nothing_accepted", message, None) | answer, 400)
