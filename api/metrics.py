"""GET /api/metrics: what the tables and the hubs hold, in Prometheus's text format.

The memory of one instance means nothing where many come and go, so nothing here is counted in it. What grows in the
course of a month is a gauge with the month as a label: a month's sums can fall, by little, when a call's usage comes
late, and a counter that falls would be taken for one that started anew.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

import services
from api.response import Request, Response
from asker import bounds_of
from ledger.letter_census import Census
from ledger.rows import sums_of
from ledger.store import Entity, StoreError
from memo import Memo
from models.dead_letter import REASONS
from models.errors import QueryError, StoreUnavailable
from models.measures import ODDITIES, Measures, add, total
from models.usage import ESTIMATED_KINDS, MISSING_REASONS, TOKEN_KINDS, USAGE_STATES
from queries.question import UsageQuery
from queries.read import UsageReader
from services import Services

log = logging.getLogger("usage_collector.api")
T = TypeVar("T")

SECONDS: Final = 8.0
"""For each part: a scraper commonly waits ten."""
RECENT_SECONDS: Final = 60.0
"""How old the month's sums and the dead letters may be: the sums take a request for each app."""


class Series(NamedTuple):
    """A metric: its name, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


UP = Series("usage_collector_up", "1 if the part answered, so that what is read from it is here", ("part",))
LAG_EVENTS = Series("usage_collector_lag_events", "Events not counted yet", ("hub", "partition"))
LAG_SECONDS = Series(
    "usage_collector_lag_seconds",
    "The most that the oldest event not counted yet can have waited",
    ("hub", "partition"),
)
OVERDUE = Series(
    "usage_collector_overdue_events", "Events that are usual in the hours since the hub's last one", ("hub",)
)
OLDEST_PENDING = Series(
    "usage_collector_oldest_pending_seconds", "How long the oldest call waits for its other half, 0 if none does"
)
DEAD_LETTERS = Series("usage_collector_dead_letters", "Records that are set aside, of the newest days", ("reason",))
NEWEST_DEAD_LETTER = Series(
    "usage_collector_newest_dead_letter_timestamp_seconds", "When the newest of them was set aside", ("reason",)
)
CALLS = Series("usage_collector_month_calls", "Calls of this month (UTC), by their usage", ("month", "usage_state"))
MISSING = Series("usage_collector_month_missing_calls", "Calls of this month without usage", ("month", "reason"))
FAILED = Series("usage_collector_month_failed_calls", "Calls of this month that failed", ("month",))
ODD = Series(
    "usage_collector_month_odd_calls", "Calls of this month whose numbers or time cannot be right", ("month", "oddity")
)
TOKENS = Series("usage_collector_month_tokens", "Tokens of this month, by kind", ("month", "kind"))
COVERAGE = Series(
    "usage_collector_month_coverage_ratio", "Share of this month's calls whose usage was reported", ("month",)
)
SERIES: Final = (
    UP,
    LAG_EVENTS,
    LAG_SECONDS,
    OVERDUE,
    OLDEST_PENDING,
    DEAD_LETTERS,
    NEWEST_DEAD_LETTER,
    CALLS,
    MISSING,
    FAILED,
    ODD,
    TOKENS,
    COVERAGE,
)


class _Page:
    """Takes values one by one. `by_app` adds the label `app` to the calls and the tokens."""

    def __init__(self, by_app: bool):
        self._by_app = by_app
        self._registry = CollectorRegistry()
        self._gauges: dict[Series, Gauge] = {}

    def put(self, series: Series, value: float, *labels: str, app: str | None = None) -> None:
        if series not in self._gauges:
            names = (*series.labels, *(["app"] if app is not None and self._by_app else []))
            self._gauges[series] = Gauge(series.name, series.help, names, registry=self._registry)
        values = (*labels, *([app] if app is not None and self._by_app else []))
        gauge = self._gauges[series]
        (gauge.labels(*values) if values else gauge).set(value)

    def text(self) -> str:
        return generate_latest(self._registry).decode()


async def get(request: Request) -> Response:
    """A part that does not answer is left out, and has `usage_collector_up` 0. Raises SettingsError."""
    from backlog import TABLES, recent  # with azure-eventhub, which answers to other questions do not wait for

    found = services.get()
    if found not in _recent:
        _recent[found] = Memo(RECENT_SECONDS)
    backlog, (totals, dead_letters) = await asyncio.gather(
        recent(found), _recent[found].get(lambda: _read(found, services.now()))
    )
    page = _Page(found.settings.metrics_by_app)
    parts = {**backlog.parts, "totals": totals is not None, "dead_letters": dead_letters is not None}
    for part, answered in parts.items():
        page.put(UP, answered, part)
    for lag in backlog.lags:
        page.put(LAG_EVENTS, lag.events, lag.hub, lag.partition)
        if lag.seconds is not None:
            page.put(LAG_SECONDS, lag.seconds, lag.hub, lag.partition)
    for hub, events in backlog.overdue.items():
        page.put(OVERDUE, events, hub)
    if backlog.parts[TABLES]:
        page.put(OLDEST_PENDING, backlog.oldest_pending or 0.0)
    if dead_letters is not None:
        for reason in REASONS:
            page.put(DEAD_LETTERS, dead_letters.records[reason], reason)
        for reason, first_seen in dead_letters.newest.items():
            page.put(NEWEST_DEAD_LETTER, first_seen.timestamp(), reason)
    if totals is not None:
        _tell(totals, page)
    return Response(page.text(), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class Totals(NamedTuple):
    """The sums of one month (`YYYY-MM`), by app, or together under ""."""

    month: str
    sums: dict[str, Measures]


Read = tuple[Totals | None, Census | None]
"""The month's sums, and the dead letters by reason: each None if the tables did not tell it in time."""

_recent: WeakKeyDictionary[Services, Memo[Read]] = WeakKeyDictionary()


async def _read(found: Services, now: datetime) -> Read:
    return await asyncio.gather(
        _in_time("the month's sums", _totals(found, now)), _in_time("the dead letters", found.dead_letters.census(now))
    )


async def _in_time(part: str, asked: Awaitable[T]) -> T | None:
    try:
        async with asyncio.timeout(SECONDS):
            return await asked
    except (StoreError, StoreUnavailable, QueryError) as fault:
        log.warning("metrics: %s: %s", part, fault)
    except TimeoutError:
        log.warning("metrics: %s are not read in %g s", part, SECONDS)
    return None


async def _totals(found: Services, now: datetime) -> Totals:
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = (start + timedelta(days=32)).replace(day=1)
    sums: dict[str, Measures] = defaultdict(dict)

    def take(app: str, columns: Entity) -> None:
        add(sums[app if found.settings.metrics_by_app else ""], sums_of(columns))

    reader = UsageReader(
        found.usage,
        found.directory,
        concurrency=found.settings.query_concurrency,
        bounds=bounds_of(found),
    )
    await reader.read(UsageQuery(start, end, "total", (), {}), take, now)
    return Totals(f"{start:%Y-%m}", sums)


def _tell(totals: Totals, page: _Page) -> None:
    month, everything = totals.month, total(totals.sums.values())
    for app, sums in totals.sums.items():
        for state in USAGE_STATES:
            page.put(CALLS, sums.get(f"usage_{state}", 0), month, state, app=app)
        for kind in (*TOKEN_KINDS, *ESTIMATED_KINDS):
            if kind in sums:
                page.put(TOKENS, sums[kind], month, kind, app=app)
    for reason in MISSING_REASONS:
        page.put(MISSING, everything.get(f"missing_{reason}", 0), month, reason)
    for oddity in ODDITIES:
        page.put(ODD, everything.get(oddity, 0), month, oddity)
    page.put(FAILED, everything.get("failed_calls", 0), month)
    if calls := everything.get("calls", 0):
        page.put(COVERAGE, everything.get("usage_reported", 0) / calls, month)
