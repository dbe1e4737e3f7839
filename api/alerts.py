"""GET /api/alerts, POST /api/alerts/test and POST /api/alerts/retry (docs/alerts.md)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

import services
from alerts.deliver import attempt
from alerts.receiver import receiver_now
from alerts.words import shown, time_text
from api.edits import json_body
from api.response import Request, Response, cursor_header, json_response
from budgets.entry import stored_budget
from ledger.alerts import Stored, Wanted
from ledger.rows import utc_text
from models.alert import KINDS, STATES, Alert, Delivery, Format, State
from models.entered import expected_object, first_fault, not_as_expected
from models.errors import QueryError
from models.webhook import MAX_URL_LENGTH, fault_of_webhook, masked
from queries.cursor import Cursors, Place
from queries.parameters import AlertsParameters
from queries.question import Parameters, filters_of, moment, number, refuse_unknown, single
from services import Services

BEGINNING: Final = datetime(2000, 1, 1, tzinfo=UTC)
END: Final = datetime(2101, 1, 1, tzinfo=UTC)
MAX_RETRIED: Final = 100
MAX_ID_LENGTH: Final = 4096

Text = Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_LENGTH)]


class TestBody(BaseModel):
    """Where a test alert goes: to `webhook`, or where the alerts of `budget` do; without both to `ALERT_WEBHOOK`."""

    __test__ = False  # pytest takes it for tests
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    webhook: Text | None = None
    format: Format | None = None
    budget: Text | None = None


class RetryBody(BaseModel):
    """Which alerts are to be sent again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    ids: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]],
        Field(min_length=1, max_length=MAX_RETRIED),
    ]


_TEST_EXPECTED: Final = {
    "webhook": "an https URL without user and password, or null",
    "format": "cloudevents, teams or slack, or null",
    "budget": "the id of a budget, or null",
}
_RETRY_EXPECTED: Final = {"ids": f"an array of 1 to {MAX_RETRIED} ids of alerts"}
Body = TypeVar("Body", bound=BaseModel)


async def page(request: Request) -> Response:
    """The alerts that are asked for, newest first, a page of them."""
    parameters = request.parameters
    refuse_unknown(parameters, AlertsParameters.names())
    found = services.get()
    wanted = _wanted(parameters, request.allowed)
    limit = number(parameters, "limit", AlertsParameters.most("limit")) or AlertsParameters.default("limit")
    cursors = Cursors(await found.directory.cursor_key(), "alerts", parameters, request.caller)
    cursor = single(parameters, "cursor")
    after = None if cursor is None else cursors.open(cursor).after[0]
    listed = await found.alerts.page(wanted, limit, after)
    following = None if listed.next is None else cursors.seal(Place(wanted.start, wanted.end, [listed.next]))
    sees_all = request.allowed is None
    page_of = [_shown(each, sees_all) for each in listed.alerts]
    return json_response({"alerts": page_of, "next_cursor": following}, more=cursor_header(following))


async def test(request: Request) -> Response:
    """Send an alert that says that it is a test, right away, and tell what the receiver answered."""
    refuse_unknown(request.parameters, ())
    found = services.get()
    alert = await _test_alert(found, _body(request.body, TestBody, _TEST_EXPECTED), services.now())
    assert alert.webhook is not None
    answer = await attempt(found, alert, services.now(), with_text=True)
    state: State = "delivered" if answer.delivered else "failed"
    delivery = Delivery(state, 1, alert.raised, None, answer.words, masked(alert.webhook), told=True)
    # Nobody would send it again, so that its webhook need not be kept.
    stored = Stored(replace(alert, webhook=None), delivery, "")
    await found.alerts.record(stored.alert, delivery)
    said = {"status": answer.status, "fault": answer.fault, "text": answer.text}
    told = said | {"milliseconds": round(answer.seconds * 1000)}
    signed = bool(found.settings.alert_webhook_keys)
    return json_response(
        {"delivered": answer.delivered, "signed": signed, "answer": told, "alert": _shown(stored, True)}
    )


async def retry(request: Request) -> Response:
    """Have alerts sent again that were given up, to where the alerts of their budget, or the unusual hours, are sent
    now. One that would be sent nowhere now is not: `no_receiver`."""
    refuse_unknown(request.parameters, ())
    found = services.get()
    outcomes = []
    for each in dict.fromkeys(_body(request.body, RetryBody, _RETRY_EXPECTED).ids):
        stored = await found.alerts.get(each)
        status = "not_found" if stored is None else "not_failed"
        if stored is not None and stored.alert.kind != "test" and stored.delivery.state == "failed":
            receiver = await receiver_now(found, stored.alert)
            if receiver is None:
                status = "no_receiver"
            elif await found.alerts.again(each, services.now(), receiver) is not None:
                status = "pending"
        outcomes.append({"id": each, "status": status})
    return json_response({"alerts": outcomes}, 202 if any(each["status"] == "pending" for each in outcomes) else 200)


def _shown(stored: Stored, sees_all: bool) -> dict[str, Any]:
    """To a caller who may not see all apps nothing of where it is sent."""
    delivery = stored.delivery
    return {
        **shown(stored.alert),
        "state": delivery.state,
        "webhook": delivery.receiver if sees_all else None,
        "format": stored.alert.format if sees_all and delivery.receiver else None,
        "attempts": delivery.attempts,
        "last_attempt": time_text(delivery.last_attempt),
        "next_attempt": time_text(delivery.next_attempt),
        "answer": delivery.answer if sees_all else None,
    }


# ------------------------------------------------------------------------------------------------------- what is asked


def _wanted(parameters: Parameters, allowed: frozenset[str] | None) -> Wanted:
    named = filters_of(parameters, ("app", "budget"))
    start, end = moment(parameters, "from") or BEGINNING, moment(parameters, "to") or END
    if start >= end:
        message = f"from ({time_text(start)}) must lie before to ({time_text(end)})"
        raise QueryError("invalid_range", message, "from")
    nothing: frozenset[str] = frozenset()
    return Wanted(
        start,
        end,
        kinds=_known(parameters, "kind", KINDS),
        states=_known(parameters, "state", STATES),
        apps=named.get("app", nothing),
        budgets=named.get("budget", nothing),
        allowed=allowed,
    )


def _known(parameters: Parameters, name: str, known: tuple[str, ...]) -> frozenset[str]:
    values = frozenset(parameters.get(name, ()))
    for value in values:
        if value not in known:
            raise QueryError("invalid_parameter", f"{name} is {value!r:.60}, expected one of {', '.join(known)}", name)
    return values


def _body(body: bytes, shape: type[Body], expected: Mapping[str, str]) -> Body:
    value = json_body(body, ", ".join(expected))
    if not isinstance(value, dict):
        raise expected_object(expected, value)
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise first_fault(error, expected) from None


async def _test_alert(found: Services, asked: TestBody, now: datetime) -> Alert:
    settings = found.settings
    alert = Alert(f"test/{asked.budget or ''}/{utc_text(now)}", "test", now)
    if asked.webhook is not None:
        if asked.budget is not None:
            raise not_as_expected("budget", "no budget beside a webhook", "both")
        fault = fault_of_webhook(asked.webhook, allow_private=settings.alert_webhook_allow_private)
        if fault is not None:
            raise not_as_expected("webhook", fault, "another text")
        return replace(alert, webhook=asked.webhook, format=asked.format or "cloudevents")
    if asked.budget is None:
        if settings.alert_webhook is None:
            expected = "a webhook or a budget, since the setting ALERT_WEBHOOK is empty"
            raise not_as_expected("webhook", expected, "nothing")
        return replace(alert, webhook=settings.alert_webhook, format=asked.format or settings.alert_webhook_format)
    version = await found.budgets.get(asked.budget)
    entry = None if version is None else stored_budget(version.document)
    if entry is None:
        raise QueryError("not_found", "there is no such budget", "budget", 404)
    if entry.webhook is None:
        raise not_as_expected("budget", "one with a webhook", "one without")
    known = replace(alert, app=entry.app, cost_center=entry.cost_center, model=entry.model, budget=asked.budget)
    return replace(known, webhook=entry.webhook, format=asked.format or entry.format)
