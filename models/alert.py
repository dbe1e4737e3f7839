"""An alert: what somebody ought to know, and what became of telling it.

Who finds a reason writes it down once (ledger/alerts.py); a timer sends it. So neither a retry, nor two instances, nor
the death of a process in between, doubles or loses it.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, get_args

Kind = Literal["budget", "anomaly", "test"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Format = Literal["cloudevents", "teams", "slack"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

State = Literal["pending", "delivered", "failed", "logged"]
STATES: Final[tuple[State, ...]] = get_args(State)
"""`pending`: to be sent, or sent again; `delivered`: the receiver took it; `failed`: given up; `logged`: there is no
receiver, so that only the log and the metric tell it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """`id` is made of what makes it the same alert, and of nothing else:

        budget/{budget}/{version}/{period start date}/{threshold}
        anomaly/{app}/{model or ''}/{hour}
        test/{budget or ''}/{time}

    Times are UTC. `threshold` is in percent; `limit`, `actual`, `projected` and `usual` are in `unit`, "tokens" or
    "USD". `usual` is what is usual at that hour. `partly_priced`: some usage has no
    price, so that `actual` is a lower bound. `webhook` is where to send it, a secret; None: log and metric only.
    """

    id: str
    kind: Kind
    raised: datetime
    app: str | None = None
    cost_center: str | None = None
    model: str | None = None
    budget: str | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    threshold: int | None = None
    unit: str = "tokens"
    limit: Decimal | None = None
    actual: Decimal | None = None
    projected: Decimal | None = None
    usual: Decimal | None = None
    partly_priced: bool = False
    webhook: str | None = None
    format: Format = "cloudevents"

    @property
    def digest(self) -> str:
        """Stands for the id where that could be too long, or hold what may not stand there."""
        return digest_of(self.id)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an alert: `attempts` to send it were begun, the last at `last_attempt`, and `answer` says how it
    went, in few words and without the receiver's. `receiver` is the masked webhook. `told`: log and metric have it.
    A pending one is due at `next_attempt`."""

    state: State = "pending"
    attempts: int = 0
    last_attempt: datetime | None = None
    next_attempt: datetime | None = None
    answer: str | None = None
    receiver: str | None = None
    told: bool = False


def digest_of(alert_id: str) -> str:
    """32 characters of a SHA-256, in hexadecimal."""
    return hashlib.sha256(alert_id.encode()).hexdigest()[:32]
