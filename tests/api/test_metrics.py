"""GET /api/metrics: read with Prometheus's own parser, compared with what was counted."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import backlog
import services
from api.metrics import SERIES
from ledger.traffic import HOUR
from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint
from models.dead_letter import REASONS
from pipeline import ingest
from services import Services
from tests.api.asked import Reply, ask
from tests.api.conftest import Configure
from tests.support.events import NOON, raw_event, usage_event

Samples = dict[tuple[str, tuple[str, ...]], float]
NOW = NOON + timedelta(minutes=1)
MONTH = f"{NOW:%Y-%m}"


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The month does not end while a test asks for its sums."""
    for module in (services, backlog):
        monkeypatch.setattr(module, "now", lambda: NOW)


def samples(reply: Reply) -> Samples:
    """Values by the metric's name and its labels' values in the order of their names."""
    assert reply.status == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in text_string_to_metric_families(reply.text):
        assert family.type == "gauge"
        assert family.documentation
        for sample in family.samples:
            found[sample.name, tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


async def count(found: Services, *records: dict[str, Any]) -> None:
    report = await ingest([raw_event(list(records))], found, now=lambda: NOW)
    assert report is not None
    assert report.counted == len(records)


@pytest.fixture
def hub(event_hubs: EventHubsEndpoint) -> dict[str, str]:
    return {"EventHubConnection": event_hubs.connection_string()}


async def test_the_months_sums_are_those_of_the_tables(configure: Configure, hub: dict[str, str]) -> None:
    found = await configure(**hub)
    await count(
        found,
        usage_event(),
        usage_event(app_id="other", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 9}, status=500),
        usage_event(usage=None, stream=True),
        usage_event(usage=None, status=499),
    )
    told = samples(await ask("metrics"))
    assert {labels: value for (name, labels), value in told.items() if name == "usage_collector_month_calls"} == {
        (MONTH, "reported"): 2,
        (MONTH, "estimated"): 0,
        (MONTH, "missing"): 2,
    }
    assert {labels: value for (name, labels), value in told.items() if name == "usage_collector_month_tokens"} == {
        ("prompt_tokens", MONTH): 11,
        ("completion_tokens", MONTH): 7,
        ("total_tokens", MONTH): 18,
    }
    assert told["usage_collector_month_missing_calls", (MONTH, "not_requested")] == 1
    assert told["usage_collector_month_missing_calls", (MONTH, "client_disconnected")] == 1
    assert told["usage_collector_month_missing_calls", (MONTH, "truncated")] == 0
    assert told["usage_collector_month_failed_calls", (MONTH,)] == 2
    assert told["usage_collector_month_odd_calls", (MONTH, "disagreeing_totals")] == 1
    assert told["usage_collector_month_odd_calls", (MONTH, "exceeding_parts")] == 0
    assert told["usage_collector_month_coverage_ratio", (MONTH,)] == 0.5
    asked = (await ask("usage", f"from={MONTH}-01T00:00:00Z&granularity=total")).json
    assert asked["totals"]["total_tokens"] == told["usage_collector_month_tokens", ("total_tokens", MONTH)]


async def test_the_backlog_is_that_of_the_hubs(
    configure: Configure, hub: dict[str, str], event_hubs: EventHubsEndpoint
) -> None:
    found = await configure(**hub)
    waits = usage_event(usage=None, usage_source="gateway_log")
    await ingest([raw_event(waits, hub="none")], found, now=lambda: NOW - timedelta(minutes=2))
    told = samples(await ask("metrics"))
    held = event_hubs.event_counts("usage-events")
    assert [told["usage_collector_lag_events", ("usage-events", str(number))] for number in range(4)] == held
    assert told["usage_collector_oldest_pending_seconds", ()] == 120
    assert {part: value for (name, part), value in told.items() if name == "usage_collector_up"} == {
        ("tables",): 1,
        ("usage_events_hub",): 1,
        ("totals",): 1,
        ("dead_letters",): 1,
    }


async def test_what_is_overdue_goes_on_where_a_month_begins_without_calls(
    configure: Configure, hub: dict[str, str], event_hubs: EventHubsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month's sums have no series then, and a rule on them would end while nothing is sent."""
    first = datetime(2026, 12, 1, tzinfo=UTC)
    for module in (services, backlog):
        monkeypatch.setattr(module, "now", lambda: first)
    found = await configure(**hub)
    total = sum(event_hubs.event_counts("usage-events"))
    await found.traffic.note("usage-events", first - 3 * HOUR, total)
    for number in range(-5, 2):
        await found.traffic.note("usage-events", first - timedelta(weeks=1) + number * HOUR, 1000 + 70 * number)
    told = samples(await ask("metrics"))
    assert not any(name == "usage_collector_month_calls" for name, _ in told)
    assert told["usage_collector_overdue_events", ("usage-events",)] == 2 * 70


async def test_dead_letters_are_those_in_the_table_each_once(configure: Configure, hub: dict[str, str]) -> None:
    found = await configure(**hub)
    bodies = (b"no json", b"none either", {"who": "knows"}, usage_event(timestamp="2010-01-01T00:00:00Z"))
    for _ in range(2):
        await ingest(
            [raw_event(body, sequence_number=number) for number, body in enumerate(bodies)], found, now=lambda: NOW
        )
    told = samples(await ask("metrics"))
    letters = {labels: value for (name, labels), value in told.items() if name == "usage_collector_dead_letters"}
    assert {labels: value for labels, value in letters.items() if value} == {
        ("not_json",): 2,
        ("unknown_dialect",): 1,
        ("too_old",): 1,
    }
    assert set(letters) == {(reason,) for reason in REASONS}
    newest = {labels: value for (name, labels), value in told.items() if "newest_dead_letter" in name}
    assert newest == {(reason,): NOW.timestamp() for reason in ("not_json", "unknown_dialect", "too_old")}


async def test_an_app_without_calls_has_no_coverage(configure: Configure, hub: dict[str, str]) -> None:
    await configure(**hub)
    told = samples(await ask("metrics"))
    assert told["usage_collector_oldest_pending_seconds", ()] == 0
    assert not any(name == "usage_collector_month_coverage_ratio" for name, _ in told)


async def test_a_part_that_does_not_answer_is_told_and_the_others_are_there(
    configure: Configure, hub: dict[str, str]
) -> None:
    with Azurite() as own:
        await configure(**hub, UsageStorage=own.connection_string)
    told = samples(await ask("metrics"))
    assert told == {
        ("usage_collector_up", ("tables",)): 0,
        ("usage_collector_up", ("totals",)): 0,
        ("usage_collector_up", ("dead_letters",)): 0,
        ("usage_collector_up", ("usage_events_hub",)): 1,
    }
    found = await configure(EventHubConnection="")
    await count(found, usage_event())
    told = samples(await ask("metrics"))
    assert told["usage_collector_up", ("usage_events_hub",)] == 0
    assert told["usage_collector_month_calls", (MONTH, "reported")] == 1
    assert not any(name == "usage_collector_lag_events" for name, _ in told)


async def test_more_rows_than_may_be_read_leave_the_sums_out(configure: Configure, hub: dict[str, str]) -> None:
    found = await configure(**hub)
    object.__setattr__(found.settings, "query_max_entities", 10)  # the setting's least is 1,000
    await count(found, *(usage_event(response_model=f"model-{number}") for number in range(11)))
    told = samples(await ask("metrics"))
    assert told["usage_collector_up", ("totals",)] == 0
    assert not any(name.startswith("usage_collector_month") for name, _ in told)


async def test_scrapes_share_the_work(configure: Configure, hub: dict[str, str]) -> None:
    found = await configure(**hub)
    await count(found, usage_event())
    before = (await ask("metrics")).text
    await count(found, usage_event())
    assert (await ask("metrics")).text == before


async def test_by_app_only_where_it_is_switched_on(configure: Configure, hub: dict[str, str]) -> None:
    found = await configure(**hub, METRICS_BY_APP="1")
    await count(found, usage_event(app_id='quo"ted\\app'), usage_event(app_id="b"))
    told = samples(await ask("metrics"))
    assert told["usage_collector_month_calls", ('quo"ted\\app', MONTH, "reported")] == 1
    assert told["usage_collector_month_tokens", ("b", "total_tokens", MONTH)] == 15
    assert told["usage_collector_month_coverage_ratio", (MONTH,)] == 1


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.tuples(st.text(max_size=10), st.text(max_size=10)), min_size=1, max_size=20))
async def test_however_many_apps_and_models_the_series_are_the_same(
    configure: Configure, names: Sequence[tuple[str, str]]
) -> None:
    found = await configure()
    await count(found, *(usage_event(app_id=app, response_model=model) for app, model in names))
    told = samples(await ask("metrics"))
    assert {name for name, _ in told} <= {series.name for series in SERIES}
    sums = [name for name, _ in told if name in ("usage_collector_month_calls", "usage_collector_month_tokens")]
    assert len(sums) == 6


async def test_without_settings_it_is_misconfigured(no_settings: pytest.MonkeyPatch) -> None:
    reply = await ask("metrics")
    assert (reply.status, reply.error["code"]) == (500, "misconfigured")
