"""alerts.anomalies: unusual hours in tables that the collector filled; each app and hour once, whatever happens."""

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

import alerts.anomalies
from alerts.anomalies import AnomalyReport, find_anomalies
from alerts.anomaly import DAYS, HOUR, WEEKS
from alerts.deliver import deliver
from ledger.alerts import Alerts
from ledger.store import StoreBusy
from models.alert import Alert
from services import Services
from tests.alerts.conftest import Build
from tests.alerts.receiver import Receiver
from tests.ledger.test_alerts import EVER
from tests.queries.filled import fill
from tests.support.events import usage_event
from tests.support.faulty import FaultyStore, at, never
from tests.support.ledger import no_wait

NOON = datetime(2024, 2, 28, 12, tzinfo=UTC)
"""Its weeks reach into January."""
LATER = NOON + HOUR + timedelta(minutes=10)
"""When the timer looks at it first."""


def used(app: str, hour: datetime, tokens: int, name: str = "") -> tuple[dict[str, Any], str]:
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    time = (hour + timedelta(minutes=7)).isoformat().replace("+00:00", "Z")
    return usage_event(request_id=f"{app}-{time}-{name}", app_id=app, timestamp=time, usage=usage), "0"


def usual(app: str, tokens: int, hour: datetime = NOON) -> list[tuple[dict[str, Any], str]]:
    """As much in that hour of each week and day before."""
    return [used(app, hour - ago, tokens) for ago in (*WEEKS, *DAYS)]


async def run(services: Services, now: datetime = LATER) -> AnomalyReport:
    report = await find_anomalies(services, now=lambda: now)
    assert report is not None
    return report


async def raised(services: Services) -> list[Alert]:
    return [each.alert for each in (await services.alerts.page(EVER, 100)).alerts]


async def test_an_hour_far_above_the_usual_is_told_and_sent(make: Build, receiver: Receiver) -> None:
    services = await make(ALERT_WEBHOOK=receiver.url)
    await services.apps.put("search", {"cost_center": "4711"}, None)
    await fill(services, [*usual("search", 300_000), used("search", NOON, 2_000_000), used("search", NOON, 1, "b")])
    assert await run(services) == AnomalyReport(apps=1, looked_at=1, raised=1)
    [alert] = await raised(services)
    assert (alert.id, alert.kind, alert.raised) == ("anomaly/search//2024-02-28T12", "anomaly", LATER)
    assert (alert.app, alert.cost_center, alert.period_start) == ("search", "4711", NOON)
    assert (alert.actual, alert.usual, alert.unit) == (Decimal(2_000_001), Decimal(300_000), "tokens")
    assert (await deliver(services, now=lambda: LATER)).delivered == 1
    event = json.loads(receiver.got[0].body)
    assert event["data"]["summary"] == (
        "search used 2,000,001 tokens in the hour from 2024-02-28 12:00 UTC; usual is 300,000 tokens."
    )


@pytest.mark.parametrize(
    ("name", "records"),
    [
        ("usual", [*usual("a", 300_000), used("a", NOON, 400_000)]),
        ("small", [*usual("a", 10), used("a", NOON, 99_999)]),
        ("quiet", usual("a", 300_000)),
        ("growing", [used("a", NOON - ago, round(1_000_000 / 1.3 ** (ago / WEEKS[0]))) for ago in (*WEEKS, *DAYS)]
         + [used("a", NOON, 1_000_000)]),
        ("weekly batch", [used("a", NOON - week, 9_000_000) for week in WEEKS] + [used("a", NOON, 10_000_000)]),
        ("a batch that comes an hour sooner or later", [used("a", NOON - week + (number % 3 - 1) * HOUR, 9_000_000)
         for number, week in enumerate(WEEKS)] + [used("a", NOON, 10_000_000)]),
        ("the hour that is not over", [*usual("a", 3), used("a", NOON + HOUR, 10_000_000)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_is_not_told(make: Build, name: str, records: list[Any]) -> None:
    services = await make()
    await fill(services, records)
    assert (await run(services)).raised == 0
    assert await raised(services) == []


async def test_a_new_app_has_no_usual_yet(make: Build) -> None:
    services = await make()
    first = NOON - timedelta(days=20)
    await fill(services, [used("a", first, 10), used("a", NOON, 10_000_000)])
    report = await run(services)
    assert (report.new, report.raised) == (1, 0)


@pytest.mark.parametrize("ago", [timedelta(days=22), timedelta(days=27), timedelta(days=34), timedelta(days=100)])
async def test_an_app_that_was_quiet_is_known(make: Build, ago: timedelta) -> None:
    """As one whose key somebody else has found."""
    services = await make()
    await fill(services, [used("a", NOON - ago, 10), used("a", NOON, 10_000_000)])
    assert (await run(services)).raised == 1


async def test_events_that_come_late_are_seen_within_bounds(make: Build) -> None:
    services = await make()
    await fill(services, [*usual("a", 300_000), used("a", NOON, 400_000)])
    assert (await run(services)).raised == 0
    await fill(services, [used("a", NOON, 4_000_000, "late")])
    too_late = NOON + timedelta(hours=alerts.anomalies.LOOK_BACK + 1, minutes=10)
    assert (await run(services, too_late)).raised == 0
    assert (await run(services, too_late - HOUR)).raised == 1


async def test_an_app_cools_down_after_an_alert(make: Build) -> None:
    services = await make(ANOMALY_COOLDOWN_HOURS="4")
    hours = [NOON + number * HOUR for number in range(6)]
    known = used("a", NOON - timedelta(days=30), 10)
    await fill(services, [known, *(used("a", hour, 5_000_000) for hour in hours)])
    for number in range(6):
        await run(services, LATER + number * HOUR)
    assert [alert.period_start for alert in await raised(services)] == [hours[4], hours[0]]


async def test_of_several_hours_at_once_the_first_is_told(make: Build) -> None:
    services = await make()
    hours = [NOON + number * HOUR for number in range(3)]
    known = used("a", NOON - timedelta(days=30), 10)
    await fill(services, [known, *(used("a", hour, 5_000_000) for hour in hours)])
    assert (await run(services, LATER + 2 * HOUR)).raised == 1
    assert (await run(services, LATER + 3 * HOUR)).raised == 0
    assert [alert.period_start for alert in await raised(services)] == [NOON]


async def test_each_app_for_itself_and_however_many_look_each_once(make: Build) -> None:
    services = await make()
    apps = [f"app/{number}" for number in range(3)]
    records = [record for app in apps for record in (*usual(app, 10), used(app, NOON, 5_000_000))]
    await fill(services, [*records, *usual("calm", 200_000), used("calm", NOON, 200_000)])
    reports = await asyncio.gather(*(run(services, LATER) for _ in range(3)))
    assert sum(report.raised for report in reports) == 3, reports
    assert (await run(services, LATER + HOUR)).raised == 0
    assert sorted(str(alert.app) for alert in await raised(services)) == apps


async def test_apps_that_are_spread_over_partitions_are_added_up(make: Build) -> None:
    services = await make(APP_PARTITIONS="a=4")
    parts = [used("a", NOON, 100_000, str(number)) for number in range(8)]
    await fill(services, [*usual("a", 30_000), *parts])
    [alert] = await raised(services) if (await run(services)).raised else []
    assert alert.actual == 800_000


async def test_it_can_be_switched_off(make: Build) -> None:
    services = await make(ANOMALY_ALERTS="0")
    await fill(services, [*usual("a", 10), used("a", NOON, 5_000_000)])
    assert await find_anomalies(services, now=lambda: LATER) is None
    assert await raised(services) == []


async def test_what_is_beyond_the_bounds_is_said_and_raises_nothing(
    make: Build, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    services = await make()
    await fill(services, [used(f"a{number}", NOON, 5) for number in range(3)])
    services.settings = replace(services.settings, query_max_requests=2)
    assert (await run(services)).left_over
    lines = [json.loads(each.message) for each in caplog.records if each.name == "usage_collector.alerts"]
    assert lines[0]["event"] == "anomalies_not_looked_for"
    assert lines[0]["code"] == "too_much_to_read"
    monkeypatch.setattr(alerts.anomalies, "MAX_APPS", 1)
    services = await make()
    for app, tokens in (("less", 4_000_000), ("more", 5_000_000)):
        await fill(services, [*usual(app, 10), used(app, NOON, tokens)])
    report = await run(services)
    assert (report.raised, report.left_over) == (1, True)
    assert [alert.app for alert in await raised(services)] == ["more"]


async def test_a_fault_at_any_request_is_made_good_by_the_next_run(make: Build) -> None:
    services = await make()
    await fill(services, [*usual("a", 300_000), used("a", NOON, 5_000_000)])
    usage = services.usage
    for number in range(1, 20):  # more than there are
        services.usage = FaultyStore(usage, at(number))
        try:
            assert (await run(services)).raised == 1
            break
        except StoreBusy:
            assert await raised(services) == []
    assert number > 12
    assert len(await raised(services)) == 1


@pytest.mark.parametrize("number", range(1, 5))
@pytest.mark.parametrize("answered", [False, True])
async def test_a_fault_at_any_request_to_the_outbox_raises_one_alert(make: Build, number: int, answered: bool) -> None:
    services = await make()
    await fill(services, [used("a", NOON - timedelta(days=30), 10), used("a", NOON, 5_000_000)])
    outbox = services.alerts
    faults = (never, at(number)) if answered else (at(number), never)
    services.alerts = Alerts(FaultyStore(outbox._store, *faults), no_wait)
    with suppress(StoreBusy):
        await run(services)
    services.alerts = outbox
    await run(services, LATER + HOUR)
    assert len(await raised(services)) == 1
