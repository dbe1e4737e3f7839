"""Records and how the app is, in JSON: posted events, dead letters, health."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from api.openapi.shapes import Answer, Error, NextCursor, always, answer
from models.dead_letter import REASONS
from models.event import UsageEvent
from redrive import Status


class PostedEvent(Answer):
    """What became of one event; `position` counts from 0."""

    position: int
    status: Literal["accepted", "ignored", "rejected", "not_sent"]
    request_id: str | None
    error: Error = None  # type: ignore[assignment]


class EventsAnswer(Answer):
    """What became of each event. `error` is there if some must come again, or none was accepted."""

    accepted: int
    ignored: int
    rejected: int
    not_sent: int
    events: list[PostedEvent]
    error: Error = None  # type: ignore[assignment]


EventsBody = UsageEvent | dict[str, Any] | list[UsageEvent | dict[str, Any]]


class DeadLetter(Answer):
    """A record that was set aside, and why."""

    id: str
    reason: Literal[REASONS]  # type: ignore[valid-type]
    field: str | None
    expected: str | None
    got: str | None
    dialect: str | None
    request_id: str | None
    hub: str
    partition: str
    sequence_number: int
    position: int
    records: int
    size_bytes: int
    enqueued_time: datetime
    first_seen: datetime
    last_seen: datetime
    times_seen: int
    tries: int
    kept: Literal["full", "redacted"] | None
    redrivable: bool
    obstacle: str | None


class OneDeadLetter(DeadLetter):
    """With what is kept of the record, or null."""

    payload: Any


class DeadLettersAnswer(Answer):
    """A page of dead letters. It can have fewer than `limit`, even none, and go on."""

    dead_letters: list[DeadLetter]
    next_cursor: NextCursor


class Redriven(Answer):
    """What became of one dead letter."""

    id: str
    status: Status
    obstacle: str | None


RedriveAnswer = answer(
    "RedriveAnswer",
    "What became of each, and how many of each outcome. `error` is there if some must be sent again.",
    {
        **always(get_args(Status), int),
        "dead_letters": (list[Redriven], ...),
        "next_cursor": (NextCursor, ...),
        "error": (Error, None),
    },
)


class Lag(Answer):
    """How many events of a hub partition are not counted yet, and how long the oldest can have waited at the most."""

    hub: str
    partition: str
    events: int
    seconds: float | None


class SchemaVersions(Answer):
    """The oldest and the newest version of the tables' rows, and the newest that the app knows."""

    newest: int
    oldest: int
    app: int


class HealthAnswer(Answer):
    """How each part is. What follows is there with `deep=1`."""

    status: Literal["healthy", "unhealthy"]
    parts: dict[str, str]
    lag: tuple[Lag, ...] = ()
    oldest_pending_seconds: Annotated[float | None, Field(description="Null if no call waits.")] = None
    schema_versions: Annotated[SchemaVersions | None, Field(description="Null if none is noted yet.")] = None
