"""What the endpoints of alerts take and give."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from api.alerts import RetryBody, TestBody
from api.openapi.operation import Operation
from api.openapi.shapes import Amount, Answer, NextCursor
from models.alert import Format, Kind, State
from queries.parameters import AlertsParameters


class AlertAnswer(Answer):
    """What somebody ought to know, and what became of telling it. Amounts are in `unit`. `webhook` is masked; it,
    `format` and `answer` are null for callers who may not see all apps."""

    id: str
    kind: Kind
    raised: datetime
    summary: str
    app: str | None
    cost_center: str | None
    model: str | None
    budget: str | None
    period_start: datetime | None
    period_end: datetime | None
    threshold: int | None
    unit: Literal["tokens", "USD"]
    limit: Amount | None
    actual: Amount | None
    projected: Amount | None
    usual: Amount | None
    partly_priced: bool
    state: State
    webhook: str | None
    format: Format | None
    attempts: int
    last_attempt: datetime | None
    next_attempt: datetime | None
    answer: Annotated[str | None, Field(description="How the last attempt ended.")]


class AlertsAnswer(Answer):
    """A page of alerts. It can have fewer than `limit`, even none, and go on."""

    alerts: list[AlertAnswer]
    next_cursor: NextCursor


class ReceiverAnswer(Answer):
    """The status and the beginning of the text that the receiver answered, or the `fault` for which there is none."""

    status: int | None
    fault: str | None
    text: str | None
    milliseconds: int


class TestAnswer(Answer):
    """Whether the receiver took it."""

    delivered: bool
    signed: bool
    answer: ReceiverAnswer
    alert: AlertAnswer


class RetriedAlert(Answer):
    """What became of one."""

    id: str
    status: Literal["pending", "not_failed", "not_found", "no_receiver"]


class RetryAnswer(Answer):
    """What became of each."""

    alerts: list[RetriedAlert]


ALERT_OPERATIONS: Final[Mapping[str, Mapping[str, Operation]]] = {
    "alerts": {
        "GET": Operation(
            "alerts",
            "Alerts of budgets and unusual hours",
            {200: AlertsAnswer},
            "Newest first, of the apps that the caller may see. docs/alerts.md.",
            takes=AlertsParameters,
            example={"state": "failed"},
            paged=True,
        )
    },
    "alert_test": {
        "POST": Operation(
            "alerts/test",
            "Send a test alert",
            {200: TestAnswer},
            "Right away; the answer says what the receiver answered.",
            body=TestBody,
            body_example={"webhook": "https://hooks.example.com/services/T0/B0/x", "format": "slack"},
            refuses=(400, 404, 413),
        )
    },
    "alert_retry": {
        "POST": Operation(
            "alerts/retry",
            "Have alerts sent again that failed",
            {200: RetryAnswer, 202: RetryAnswer},
            "202 if any will be.",
            body=RetryBody,
            body_example={"ids": ["budget/search-month/3/2026-11-01/80"]},
            refuses=(400, 413),
        )
    },
}
