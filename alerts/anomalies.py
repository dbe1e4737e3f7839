"""The timer that looks for unusual hours (anomaly.py says what is one).

It looks at each hour several times after it ended, since events come late; the alert of an app and an hour is raised
once. Of apps below the floor one range is read, of those above it the hours before, too.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from alerts.anomaly import HOUR, KNOWN_FOR, bound, history_of, usual, windows
from asker import bounds_of
from ledger.alerts import Wanted
from ledger.rows import sums_of
from ledger.store import Entity
from models.alert import Alert
from models.errors import QueryError
from queries import spans
from queries.question import UsageQuery
from queries.read import UsageReader, each, in_time
from queries.spans import row_time
from services import Services
from services import now as wall_clock

log = logging.getLogger("usage_collector.alerts")

LOOK_BACK: Final = 6
"""Hours that have ended are looked at as often, by a timer that runs every hour."""
MAX_APPS: Final = 1000
"""Whose history is read in one run, those with the largest hours first: a dozen short ranges each."""
AT_ONCE: Final = 8
MAX_SECONDS: Final = 240
MONTHS: Final = 3
"""Before the one in which it must have been known, that are looked at: an app that slept for longer is as a new one."""

Tokens = Mapping[datetime, int]
"""By hour, of one app."""


@dataclass(slots=True)
class AnomalyReport:
    """Of one run: `apps` that had tokens; hours `looked_at` with their history, those of `new` apps that have none yet,
    and those `cooling` down after an alert; alerts `raised`. `left_over` is True if not every app was looked at."""

    apps: int = 0
    looked_at: int = 0
    new: int = 0
    cooling: int = 0
    raised: int = 0
    left_over: bool = False


async def find_anomalies(
    services: Services, invocation_id: str = "", now: Callable[[], datetime] = wall_clock
) -> AnomalyReport | None:
    """Raise alerts for the unusual ones of the last hours. None if that is switched off. Raises StoreError,
    StoreUnavailable: the next run looks at these hours again."""
    if not services.settings.anomaly_alerts:
        return None
    await services.schema.begin(now())
    report = AnomalyReport()
    try:
        async with in_time(MAX_SECONDS):
            await _find(services, now(), report)
    except QueryError as fault:  # beyond the bounds of questions
        log.error("%s", json.dumps({"event": "anomalies_not_looked_for", "code": fault.code, "error": str(fault)}))
        report.left_over = True
    log.info("%s", json.dumps({"event": "find_anomalies", "invocation_id": invocation_id, **asdict(report)}))
    return report


async def _find(services: Services, now: datetime, report: AnomalyReport) -> None:
    end = now.replace(minute=0, second=0, microsecond=0)
    start = end - LOOK_BACK * HOUR
    reader = _Reader(services, now)
    tokens = await reader.tokens([(start, end)])
    report.apps = len(tokens)
    floor = services.settings.anomaly_floor_tokens
    large = {
        app: sorted(hour for hour, count in hours.items() if count >= floor)
        for app, hours in tokens.items()
        if max(hours.values()) >= floor
    }
    largest = sorted(large, key=lambda app: max(tokens[app].values()), reverse=True)
    report.left_over = len(largest) > MAX_APPS
    cooldown = timedelta(hours=services.settings.anomaly_cooldown_hours)
    told = await _told(services, start - cooldown)

    async def look(app: str) -> None:
        hours = [hour for hour in large[app] if not _is_cooling(hour, told[app], cooldown)]
        report.cooling += len(large[app]) - len(hours)
        if not hours:
            return
        report.looked_at += len(hours)
        before = (await reader.tokens(windows(hours[0], hours[-1]), app)).get(app, {})
        for hour in hours:
            history = history_of(hour, before)
            if tokens[app][hour] < bound(history, floor):
                continue
            if not await reader.is_known(app, hour):
                report.new += 1
                continue
            alert = await _alert(services, app, hour, tokens[app][hour], usual(history), now)
            is_new = await services.alerts.raise_once(alert)
            report.raised += is_new
            break  # those after it are cooling now, and the next run goes on where they end

    await each(largest[:MAX_APPS], look, AT_ONCE)


async def _told(services: Services, since: datetime) -> dict[str, list[datetime]]:
    """The hours of each app that alerts told of."""
    told: dict[str, list[datetime]] = defaultdict(list)
    wanted = Wanted(since, datetime.max.replace(tzinfo=since.tzinfo), kinds=frozenset(["anomaly"]))
    after: str | None = None
    while True:
        page = await services.alerts.page(wanted, 1000, after)
        for stored in page.alerts:
            if stored.alert.app is not None and stored.alert.period_start is not None:
                told[stored.alert.app].append(stored.alert.period_start)
        after = page.next
        if after is None:
            return told


def _is_cooling(hour: datetime, told: Iterable[datetime], cooldown: timedelta) -> bool:
    """Also of an hour before the one that was told, whose events came late."""
    return any(abs(hour - other) < cooldown for other in told)


async def _alert(services: Services, app: str, hour: datetime, count: int, expected: float, now: datetime) -> Alert:
    entry = await services.apps.get(app)
    return Alert(
        f"anomaly/{app}//{hour:%Y-%m-%dT%H}",
        "anomaly",
        now,
        app=app,
        cost_center=entry.columns.get("cost_center") if entry else None,
        period_start=hour,
        period_end=hour + HOUR,
        actual=Decimal(count),
        usual=Decimal(round(expected)),
        webhook=services.settings.alert_webhook,
        format=services.settings.alert_webhook_format,
    )


class _Reader:
    """Tokens by app and hour, read as a question's rows are."""

    def __init__(self, services: Services, now: datetime):
        bounds = bounds_of(services)
        concurrency = services.settings.query_concurrency
        self._reader = UsageReader(services.usage, services.directory, concurrency=concurrency, bounds=bounds)
        self._directory = services.directory
        self._now = now

    async def tokens(self, ranges: Iterable[tuple[datetime, datetime]], app: str | None = None) -> dict[str, Tokens]:
        """Of all apps, or of one. Ranges may overlap."""
        found: dict[str, dict[datetime, int]] = defaultdict(dict)
        for start, end in ranges:
            of_range: dict[tuple[str, datetime], int] = defaultdict(int)

            def take(name: str, columns: Entity, sums: dict[tuple[str, datetime], int] = of_range) -> None:
                sums[name, row_time(columns["RowKey"])] += sums_of(columns).get("total_tokens", 0)

            await self._reader.read(self._question(start, end, app), take, self._now)
            for (name, hour), count in of_range.items():
                found[name][hour] = count
        return dict(found)

    async def is_known(self, app: str, hour: datetime) -> bool:
        """Whether it had its first call as long ago as it takes to know what is usual."""
        latest = hour.replace(hour=0) - KNOWN_FOR
        months = spans.months(latest - MONTHS * timedelta(days=31), latest)[:-1]
        for month in months:
            if await self._directory.some_apps(month, [app]):
                return True
        rows = 0

        def take(name: str, columns: Entity) -> None:
            nonlocal rows
            rows += 1

        first = latest.replace(day=1)
        if first < latest:
            await self._reader.read(self._question(first, latest, app), take, self._now)
        return rows > 0

    def _question(self, start: datetime, end: datetime, app: str | None) -> UsageQuery:
        filters = {} if app is None else {"app": frozenset([app])}
        return UsageQuery(start, end, "hour" if end - start < timedelta(days=1) else "day", (), filters)
