"""What happened -> metrics. Counters only ever grow: what is taken back in the tables stays counted here."""

from collections import Counter as Sums
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.metrics import Counter, Histogram, MeterProvider, get_meter
from opentelemetry.util.types import AttributeValue

from ledger.commit import CommitReport
from models.batch_report import BatchReport
from models.call import Call
from models.dead_letter import DeadLetter
from models.measures import CLAMPED, ODDITIES, measures_of
from models.usage import ESTIMATED_KINDS, TOKEN_KINDS
from telemetry.instruments import (
    ALERTS,
    APP,
    BATCH_DURATION,
    BATCH_LAG,
    BATCH_SIZE,
    BUDGETS,
    BUDGETS_DURATION,
    CONFLICTS,
    CORRECTED,
    COUNTED,
    DEAD_LETTERS,
    DELIVERIES,
    ENDPOINT,
    ENTITIES,
    ERROR,
    EVENTS,
    HUB,
    IGNORED,
    KIND,
    LAG_DURATION,
    LAG_EVENTS,
    METRICS,
    MISSING_REASON,
    ODD,
    ODDITY,
    OUTCOME,
    OVERDUE,
    PART,
    PARTITION,
    PENDING_AGE,
    PROCESSED,
    QUERY_DURATION,
    QUERY_ENTITIES,
    REASON,
    RECEIVED,
    REQUESTS,
    RETRIES,
    STATE,
    STATUS,
    TOKENS,
    TRANSACTIONS,
    UP,
    USAGE_STATE,
    Metric,
)

SCOPE = "usage_collector"
BUDGET_STATES = ("within", "exceeded", "partly_priced", "unknown")
OUTCOMES = ("counted", "duplicate", "joined", "pending", "dead_lettered")

Attributes = Mapping[str, AttributeValue]


class Telemetry:
    """The app's metrics. Without `provider` they go where the process exports its metrics to, if anywhere."""

    def __init__(self, *, by_app: bool = False, provider: MeterProvider | None = None):
        self._by_app = by_app
        meter = get_meter(SCOPE, meter_provider=provider)
        self._counters: dict[Metric, Counter] = {}
        self._histograms: dict[Metric, Histogram] = {}
        for metric in METRICS:
            if metric.kind == "counter":
                self._counters[metric] = meter.create_counter(metric.name, metric.unit, metric.description)
            elif metric.kind == "histogram":
                self._histograms[metric] = meter.create_histogram(
                    metric.name, metric.unit, metric.description, explicit_bucket_boundaries_advisory=metric.bounds
                )
        self._gauges = {
            metric: meter.create_gauge(metric.name, metric.unit, metric.description)
            for metric in METRICS
            if metric.kind == "gauge"
        }

    def batch(self, report: BatchReport, committed: CommitReport, dead_letters: Iterable[DeadLetter]) -> None:
        """A batch was counted. `committed` and `dead_letters` are what the report tells the numbers of."""
        hub = {HUB: report.hub}
        for metric, amount in (
            (EVENTS, report.events),
            (RECEIVED, report.received),
            (IGNORED, report.ignored),
            (TRANSACTIONS, report.transactions),
            (REQUESTS, report.requests),
            (CONFLICTS, report.conflicts),
            (RETRIES, report.retries),
            (ENTITIES, report.entities),
        ):
            self._add(metric, amount, hub)
        for outcome in OUTCOMES:
            self._add(PROCESSED, getattr(report, outcome), {**hub, OUTCOME: outcome})
        for reason, records in _records_by_reason(dead_letters).items():
            self._add(DEAD_LETTERS, records, {**hub, REASON: reason})
        self.counted(committed.counted)
        self._corrected(committed.corrected)
        self._histograms[BATCH_SIZE].record(report.events, hub)
        self._histograms[BATCH_DURATION].record(report.milliseconds / 1000, hub)
        self._histograms[BATCH_LAG].record(max(report.lag_seconds, 0.0), hub)

    def batch_failed(self, hub: str, error: str, seconds: float) -> None:
        """A batch could not be counted and will come again. `error` is the name of a class."""
        self._histograms[BATCH_DURATION].record(seconds, {HUB: hub, ERROR: error})

    def counted(self, calls: Sequence[Call]) -> None:
        """Calls were counted that had not been."""
        states: Sums[tuple[str, str | None, str]] = Sums(
            (call.usage_state, call.missing_reason, self._app(call)) for call in calls
        )
        for (state, reason, app), number in states.items():
            attributes = {USAGE_STATE: state, **({MISSING_REASON: reason} if reason else {})}
            self._add(COUNTED, number, attributes | _app_attribute(app))
        self._oddities(calls, ODDITIES)
        self._tokens(calls)

    def _corrected(self, calls: Sequence[Call]) -> None:
        """Usage was reported of calls that had been counted without. They had no tokens but estimated ones, so what
        they add is all of theirs; an estimate stays counted as one."""
        for app, number in Sums(self._app(call) for call in calls).items():
            self._add(CORRECTED, number, _app_attribute(app))
        self._oddities(calls, [oddity for oddity in ODDITIES if oddity != CLAMPED])  # its time was there before
        self._tokens(calls)

    def _oddities(self, calls: Sequence[Call], oddities: Iterable[str]) -> None:
        measures = [measures_of(call) for call in calls]
        for oddity in oddities:
            self._add(ODD, sum(each.get(oddity, 0) for each in measures), {ODDITY: oddity})

    def _tokens(self, calls: Sequence[Call]) -> None:
        tokens: Sums[tuple[str, str]] = Sums()
        for call in calls:
            measures = measures_of(call)
            app = self._app(call)
            for kind in (*TOKEN_KINDS, *ESTIMATED_KINDS):
                tokens[kind, app] += measures.get(kind, 0)
        for (kind, app), number in tokens.items():
            self._add(TOKENS, number, {KIND: kind} | _app_attribute(app))

    def looked(self, parts: Mapping[str, bool]) -> None:
        """The timer asked the tables and the hubs; True for those that answered."""
        for part, answered in parts.items():
            self._gauges[UP].set(int(answered), {PART: part})

    def lag(self, hub: str, partition: str, events: int, seconds: float | None) -> None:
        """How far behind one partition is; `seconds` None where that is not known."""
        attributes = {HUB: hub, PARTITION: partition}
        self._gauges[LAG_EVENTS].set(events, attributes)
        if seconds is not None:
            self._gauges[LAG_DURATION].set(seconds, attributes)

    def overdue(self, hub: str, events: int) -> None:
        """The events that are usual in the hours since the hub's last one."""
        self._gauges[OVERDUE].set(events, {HUB: hub})

    def oldest_pending(self, seconds: float) -> None:
        """How long the oldest call waits, 0 if none does."""
        self._gauges[PENDING_AGE].set(seconds)

    def budgets(self, states: Mapping[str, int], seconds: float) -> None:
        """All budgets were evaluated; `states` are those of BUDGET_STATES."""
        for state in BUDGET_STATES:
            self._gauges[BUDGETS].set(states.get(state, 0), {STATE: state})
        self._histograms[BUDGETS_DURATION].record(seconds)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """A request to the API was answered."""
        self._histograms[QUERY_DURATION].record(seconds, {ENDPOINT: endpoint, STATUS: status})

    def entities_read(self, endpoint: str, entities: int) -> None:
        """Rows were read for an answer."""
        self._histograms[QUERY_ENTITIES].record(entities, {ENDPOINT: endpoint})

    def raised(self, kind: str) -> None:
        """An alert was raised."""
        self._add(ALERTS, 1, {KIND: kind})

    def delivered(self, outcome: str) -> None:
        """An attempt to send an alert came to its end: `delivered`, `again` later, or `failed` for good."""
        self._add(DELIVERIES, 1, {OUTCOME: outcome})

    def _add(self, metric: Metric, amount: int, attributes: Attributes) -> None:
        if amount:
            self._counters[metric].add(amount, attributes)

    def _app(self, call: Call) -> str:
        return call.app if self._by_app else ""


def _app_attribute(app: str) -> dict[str, AttributeValue]:
    return {APP: app} if app else {}


def _records_by_reason(dead_letters: Iterable[DeadLetter]) -> Sums[str]:
    records: Sums[str] = Sums()
    for letter in dead_letters:
        records[letter.reason] += letter.records
    return records
