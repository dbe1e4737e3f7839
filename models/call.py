"""One request to a model through the gateway, ready to be counted."""

from datetime import datetime
from typing import Literal, NamedTuple

from models.origin import Origin
from models.usage import Estimate, MissingReason, Usage, UsageState

AppSource = Literal["entra_app", "subscription", "product", "none"]
Stage = Literal["provisional", "logged", "final", "moved"]
STAGES: tuple[Stage, ...] = ("provisional", "logged", "final", "moved")
"""In the order in which a call goes through them, and never back."""

UNATTRIBUTED = "unattributed"

DIMENSIONS: tuple[str, ...] = (
    "deployment",
    "operation",
    "api",
    "product",
    "subscription",
    "user",
    "backend",
    "gateway",
    "region",
    "client_ip",
    "stream",
    "status",
)
"""The dimensions a call has beyond app and model, by their names in tables, settings and the API."""


class Call(NamedTuple):
    """One call and what it used. `timestamp` is aware, in UTC: when the gateway received the request.

    `request_id` is the call's identity (a GUID in lower case without braces, or the sender's own string).
    `app` is who pays and `app_source` how that was known. `model` is what answered, `deployment` what was asked for.
    `usage_shape` names the row of collectors.shapes that read the usage. Durations are milliseconds. `position` is the
    record's place in its event.

    `clamped` is True where the sender's time lay in the future, and `timestamp` is when the hub took the event in;
    `stated_timestamp` is then what the sender said, unless it is very far ahead. `undated` is True where the record
    says no time, so that `timestamp` is that of its delivery too.

    `stage`: a call without reported usage is `provisional`, because usage that comes later corrects it, once. One with
    the usage of the gateway's log is `logged`, because the sender's own usage would say more. One that is `moved` was
    counted under this app and day until more was known of it, and is not any more: it adds nothing. `revision` counts
    how often more became known of a call that was counted: a later one replaces an earlier one of its stage.
    """

    request_id: str
    timestamp: datetime
    app: str
    app_source: AppSource
    model: str | None
    usage: Usage
    usage_state: UsageState
    missing_reason: MissingReason | None
    usage_shape: str | None
    origin: Origin
    deployment: str | None = None
    operation: str | None = None
    api: str | None = None
    product: str | None = None
    subscription: str | None = None
    subscription_name: str | None = None
    user: str | None = None
    backend: str | None = None
    gateway: str | None = None
    region: str | None = None
    client_ip: str | None = None
    stream: bool | None = None
    status: int | None = None
    duration_ms: float | None = None
    first_byte_ms: float | None = None
    error_source: str | None = None
    error_reason: str | None = None
    requested_model: str | None = None
    position: int = 0
    stage: Stage = "final"
    clamped: bool | None = None
    estimate: Estimate | None = None
    stated_timestamp: datetime | None = None
    undated: bool | None = None
    revision: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Of two rows of one call, the one with the higher rank stands."""
        return rank_of(self.stage, self.revision)

    @property
    def dated_by_delivery(self) -> bool:
        """True if the same call, sent again, may come with another `timestamp`."""
        return bool(self.clamped or self.undated)

    @property
    def failed(self) -> bool:
        """True if the client got an error status, or the gateway recorded an error."""
        return (self.status is not None and self.status >= 400) or self.error_reason is not None


def rank_of(stage: Stage, revision: int) -> tuple[int, int]:
    """The rank of a call with these."""
    return STAGES.index(stage), revision
