"""Every metric this app records. tests/test_operations.py keeps docs/operations.md the same.

Names, units (UCUM) and attributes follow opentelemetry.io, "Metrics semantic conventions" and "Messaging attributes".
Every attribute has few values, however many apps, models and calls there are; the app is one only if switched on.
"""

from typing import Final, Literal, NamedTuple


class Metric(NamedTuple):
    """`attributes` are all that a measurement can have; `bounds` the upper bounds of a histogram's buckets."""

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


PART: Final = "usage_collector.part"
HUB: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
OUTCOME: Final = "usage_collector.outcome"
REASON: Final = "usage_collector.reason"
USAGE_STATE: Final = "usage_collector.usage_state"
MISSING_REASON: Final = "usage_collector.missing_reason"
KIND: Final = "usage_collector.kind"
ODDITY: Final = "usage_collector.oddity"
ENDPOINT: Final = "usage_collector.endpoint"
STATUS: Final = "http.response.status_code"
STATE: Final = "usage_collector.state"
ERROR: Final = "error.type"
APP: Final = "usage_collector.app"
"""With METRICS_BY_APP only: there may be thousands."""

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_AGES: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
_SIZES: Final = (1.0, 5.0, 10.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
_ROWS: Final = (1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0)

EVENTS = Metric("usage_collector.events", "counter", "{event}", "Events received from a hub", (HUB,))
RECEIVED = Metric("usage_collector.records.received", "counter", "{record}", "Records in these events", (HUB,))
PROCESSED = Metric(
    "usage_collector.records.processed", "counter", "{record}", "Records by what became of them", (HUB, OUTCOME)
)
IGNORED = Metric(
    "usage_collector.records.ignored", "counter", "{record}", "Records that are knowingly not about a call", (HUB,)
)
DEAD_LETTERS = Metric("usage_collector.dead_letters", "counter", "{record}", "Records set aside", (HUB, REASON))
COUNTED = Metric(
    "usage_collector.calls.counted",
    "counter",
    "{call}",
    "Calls counted, by their usage",
    (USAGE_STATE, MISSING_REASON, APP),
)
CORRECTED = Metric(
    "usage_collector.calls.corrected", "counter", "{call}", "Calls whose usage came after they were counted", (APP,)
)
ODD = Metric(
    "usage_collector.calls.odd", "counter", "{call}", "Calls counted whose numbers or time cannot be right", (ODDITY,)
)
TOKENS = Metric("usage_collector.tokens", "counter", "{token}", "Tokens counted, by kind", (KIND, APP))
TRANSACTIONS = Metric(
    "usage_collector.commit.transactions", "counter", "{transaction}", "Transactions that came through", (HUB,)
)
REQUESTS = Metric("usage_collector.commit.requests", "counter", "{request}", "Transactions sent", (HUB,))
CONFLICTS = Metric(
    "usage_collector.commit.conflicts", "counter", "{conflict}", "Transactions that met a changed row", (HUB,)
)
RETRIES = Metric(
    "usage_collector.commit.retries", "counter", "{retry}", "Transactions repeated after a passing fault", (HUB,)
)
ENTITIES = Metric("usage_collector.commit.entities", "counter", "{entity}", "Rows written", (HUB,))
BATCH_SIZE = Metric("usage_collector.batch.size", "histogram", "{event}", "Events in a batch", (HUB,), _SIZES)
BATCH_DURATION = Metric(
    "usage_collector.batch.duration", "histogram", "s", "Time a batch took, or took to fail", (HUB, ERROR), _SECONDS
)
BATCH_LAG = Metric(
    "usage_collector.batch.lag", "histogram", "s", "Age of a batch's newest event when it was counted", (HUB,), _AGES
)
UP = Metric("usage_collector.up", "gauge", "1", "1 if the part answered the timer, 0 if not", (PART,))
LAG_EVENTS = Metric(
    "usage_collector.partition.lag.events", "gauge", "{event}", "Events not counted yet", (HUB, PARTITION)
)
LAG_DURATION = Metric(
    "usage_collector.partition.lag.duration",
    "gauge",
    "s",
    "The most that the oldest event not counted yet can have waited",
    (HUB, PARTITION),
)
OVERDUE = Metric(
    "usage_collector.events.overdue",
    "gauge",
    "{event}",
    "Events that are usual in the hours since a hub's last one",
    (HUB,),
)
PENDING_AGE = Metric(
    "usage_collector.pending.oldest_age", "gauge", "s", "How long the oldest call waits for its other half"
)
BUDGETS = Metric("usage_collector.budgets", "gauge", "{budget}", "Budgets, by what the timer found of them", (STATE,))
BUDGETS_DURATION = Metric(
    "usage_collector.budgets.duration", "histogram", "s", "Time that evaluating all budgets took", (), _SECONDS
)
QUERY_DURATION = Metric(
    "usage_collector.query.duration", "histogram", "s", "Time an answer took", (ENDPOINT, STATUS), _SECONDS
)
QUERY_ENTITIES = Metric(
    "usage_collector.query.entities", "histogram", "{entity}", "Rows read for an answer", (ENDPOINT,), _ROWS
)

ALERTS = Metric("usage_collector.alerts", "counter", "{alert}", "Alerts that were raised, by kind", (KIND,))
DELIVERIES = Metric(
    "usage_collector.alerts.deliveries", "counter", "{attempt}", "Attempts to send an alert, by outcome", (OUTCOME,)
)

METRICS: Final = (
    EVENTS,
    RECEIVED,
    PROCESSED,
    IGNORED,
    DEAD_LETTERS,
    COUNTED,
    CORRECTED,
    ODD,
    TOKENS,
    TRANSACTIONS,
    REQUESTS,
    CONFLICTS,
    RETRIES,
    ENTITIES,
    BATCH_SIZE,
    BATCH_DURATION,
    BATCH_LAG,
    UP,
    LAG_EVENTS,
    LAG_DURATION,
    OVERDUE,
    PENDING_AGE,
    BUDGETS,
    BUDGETS_DURATION,
    QUERY_DURATION,
    QUERY_ENTITIES,
    ALERTS,
    DELIVERIES,
)
