"""The timer: what was used, which thresholds fire, and that each does once, whatever happens."""

import json
from decimal import Decimal
from typing import Any

import pytest

from budgets import evaluate as evaluating
from budgets.evaluate import evaluate
from ledger.alerts import Wanted
from local.azurite import Azurite
from models.registry import AppEntry
from tests.budgets.evaluating import DAY, EPOCH, FAR, app, at, enter, raised, run, state, used
from tests.queries.filled import fill
from tests.support.events import usage_event
from tests.support.metrics import Meter

PRICED = "gpt-4o-2024-08-06"


async def test_each_threshold_fires_once_and_says_what_it_saw(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "b", app="search", webhook="https://example.com/hook", format="teams")
        await used(services, 499, f"{DAY}T10:00")
        assert (await run(services, f"{DAY}T10:05")).raised == 0
        await used(services, 1, f"{DAY}T11:00")
        await used(services, 5000, f"{DAY}T11:00", app_id="other")
        assert (await run(services, f"{DAY}T12:00")).raised == 1
        await used(services, 500, f"{DAY}T12:01")
        assert (await run(services, f"{DAY}T12:05")).raised == 2
        of_one_run = [await services.alerts.get(f"budget/b/1/{DAY}/{threshold}") for threshold in (80, 100)]
        assert [each and each.alert.webhook for each in of_one_run] == [None, "https://example.com/hook"]
        assert (await run(services, f"{DAY}T12:10")).raised == 0
        assert await raised(services) == [f"b/1/{DAY}/{threshold}" for threshold in (100, 50, 80)]
        stored = await services.alerts.get(f"budget/b/1/{DAY}/50")
        assert stored is not None
        alert = stored.alert
        assert (alert.actual, alert.limit, alert.unit, alert.threshold) == (Decimal(500), Decimal(1000), "tokens", 50)
        assert (alert.projected, alert.app, alert.budget) == (Decimal(1000), "search", "b")
        assert (alert.period_start, alert.period_end) == (at(DAY), at("2024-03-01"))
        assert (alert.webhook, alert.format, alert.kind) == ("https://example.com/hook", "teams", "budget")


async def test_thresholds_of_one_run_are_listed_the_highest_first(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "b", thresholds=[1, 20, 50, 80, 90, 100])
        await used(services, 1000, f"{DAY}T10:00")
        await run(services, f"{DAY}T12:00")
        listed = (await services.alerts.page(Wanted(EPOCH, FAR), 10)).alerts
        assert [each.alert.threshold for each in listed] == [100, 90, 80, 50, 20, 1]
        assert listed[0].alert.raised == at(f"{DAY}T12:00")
        assert len(await services.alerts.due(at(f"{DAY}T12:00"), 10)) == 6


async def test_it_fires_again_when_the_budget_changes_and_when_the_period_does(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "b", thresholds=[50])
        await used(services, 600, f"{DAY}T10:00")
        await used(services, 600, "2024-03-01T10:00")
        await run(services, f"{DAY}T12:00")
        await enter(services, "b", edited=f"{DAY}T13:00", thresholds=[50], limit=1001)
        await run(services, f"{DAY}T13:05")
        await run(services, "2024-03-01T12:00")
        assert await raised(services) == ["b/1/2024-02-29/50", "b/2/2024-02-29/50", "b/2/2024-03-01/50"]


@pytest.mark.parametrize(
    ("scope", "tokens"),
    [
        ({}, 1111),
        ({"model": "m1"}, 101),
        ({"app": "a"}, 11),
        ({"app": "a", "model": "m2"}, 10),
        ({"cost_center": "4711"}, 111),
        ({"cost_center": "4711", "model": "m1"}, 101),
        ({"app": "nobody"}, 0),
        ({"cost_center": "nobody"}, 0),
    ],
)
async def test_what_counts_for_a_budget(azurite: Azurite, scope: dict[str, str], tokens: int) -> None:
    """Alone, and beside others that share its reads."""
    async with app(azurite) as services:
        for name in ("a", "b"):
            await services.apps.put(name, AppEntry(cost_center="4711").columns(), None)
        calls = [("a", "m1", 1), ("a", "m2", 10), ("b", "m1", 100), ("c", "m3", 1000)]
        for name, model, count in calls:
            await used(services, count, f"{DAY}T10:00", app_id=name, response_model=model)
        await used(services, 9, "2024-02-28T23:59", app_id="a", response_model="m1")
        await enter(services, "it", **scope)
        await run(services, f"{DAY}T12:00")
        assert (await state(services, "it"))["actual"] == str(tokens)
        await enter(services, "all")
        await enter(services, "of-m2", model="m2")
        await enter(services, "of-b", app="b")
        await enter(services, "month", period="month")
        await run(services, f"{DAY}T12:05")
        assert (await state(services, "it"))["actual"] == str(tokens)
        assert (await state(services, "month"))["actual"] == "1120"


async def test_a_month_of_everything_reads_month_rows_only(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many days and hours have rows, and however many budgets share it."""
    async with app(azurite) as services:
        for day in range(1, 29):
            await used(services, 1, f"2024-02-{day:02}T10:00")
        for number in range(5):
            await enter(services, f"b{number}", period="month", limit=1000 + number)
        monkeypatch.setattr(evaluating, "MAX_PROFILES", 0)
        read: list[tuple[str, str]] = []
        rows = services.usage.range

        def counted(partition: str, start: str, end: str, *more: Any, **options: Any) -> Any:
            read.append((partition, start))
            return rows(partition, start, end, *more, **options)

        monkeypatch.setattr(services.usage, "range", counted)
        await run(services, "2024-02-29T12:00")
        assert read == [("search|202402", "m|202402")]
        assert (await state(services, "b4"))["actual"] == "28"


class TestMoney:
    async def test_a_budget_in_dollars_costs_what_usage_says(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", unit="USD", limit="5", thresholds=[50, 100])
            await used(services, 1_000_000, f"{DAY}T10:00", response_model=PRICED)
            await run(services, f"{DAY}T12:00")
            found = await state(services, "b")
            assert (found["actual"], found["percent"]) == ("2.5", 50.0)
            assert (found["state"], found["unpriced_tokens"]) == ("within", 0)
            assert await raised(services) == [f"b/1/{DAY}/50"]

    async def test_tokens_without_a_price_are_said_and_are_never_free(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", unit="USD", limit="5", thresholds=[1])
            await used(services, 700, f"{DAY}T10:00", response_model="nobody's")
            await run(services, f"{DAY}T12:00")
            found = await state(services, "b")
            assert (found["actual"], found["percent"], found["projected"]) == (None, None, None)
            assert (found["state"], found["unpriced_tokens"]) == ("unknown", 700)
            assert await raised(services) == []
            await used(services, 1_000_000, f"{DAY}T11:00", response_model=PRICED)
            await run(services, f"{DAY}T12:05")
            found = await state(services, "b")
            assert (found["actual"], found["state"], found["unpriced_tokens"]) == ("2.5", "partly_priced", 700)

    async def test_calls_without_usage_are_told_beside_it(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b")
            missing = usage_event(request_id="x", app_id="search", timestamp=f"{DAY}T10:00:00Z", usage=None)
            await fill(services, [(missing, "0")])
            await used(services, 5, f"{DAY}T10:00")
            await run(services, f"{DAY}T12:00")
            found = await state(services, "b")
            assert (found["calls"], found["calls_without_usage"], found["actual"]) == (2, 1, "5")


class TestLate:
    async def test_thresholds_of_a_period_that_ended_meanwhile_still_fire(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", edited=DAY, thresholds=[50, 100])
            await used(services, 600, f"{DAY}T10:00")
            await run(services, f"{DAY}T12:00")
            await used(services, 600, f"{DAY}T23:59")
            await used(services, 10, "2024-03-01T00:30")
            report = await run(services, "2024-03-01T03:00")
            assert (report.raised, report.periods) == (1, 2)
            assert await raised(services) == [f"b/1/{DAY}/100", f"b/1/{DAY}/50"]
            assert (await state(services, "b"))["actual"] == "10"

    async def test_of_all_periods_since_it_ran_last(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", edited="2024-02-01", thresholds=[50])
            for day in (3, 10, 20):
                await used(services, 500, f"2024-02-{day:02}T10:00")
            await run(services, "2024-02-03T09:00")
            await run(services, "2024-02-25T09:00")
            assert await raised(services) == [f"b/1/2024-02-{day:02}/50" for day in (3, 10, 20)]
            assert (await run(services, "2024-02-25T09:05")).periods == 2

    async def test_calls_that_are_counted_late_count_for_a_day(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", thresholds=[50])
            await run(services, f"{DAY}T12:00")
            await run(services, "2024-03-01T12:00")
            await used(services, 500, f"{DAY}T23:00")
            await run(services, "2024-03-01T23:59")
            assert await raised(services) == [f"b/1/{DAY}/50"]
            await used(services, 100, "2024-03-01T23:00")
            await run(services, "2024-03-03T00:01")
            await used(services, 500, "2024-03-01T23:00")
            await run(services, "2024-03-03T00:05")
            assert await raised(services) == [f"b/1/{DAY}/50"]

    async def test_a_budget_does_not_reach_back_to_before_it_was_entered(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await used(services, 5000, "2024-02-28T10:00")
            await used(services, 500, f"{DAY}T00:01")
            await enter(services, "b", edited=f"{DAY}T10:00", thresholds=[50])
            await run(services, f"{DAY}T12:00")
            assert await raised(services) == [f"b/1/{DAY}/50"]

    async def test_the_version_in_force_at_a_periods_end_judges_it(self, azurite: Azurite) -> None:
        """Also where nothing ran between its end and an edit."""
        async with app(azurite) as services:
            await enter(services, "b", edited="2024-02-01", thresholds=[50])
            await run(services, "2024-02-27T12:00")
            await used(services, 600, "2024-02-28T10:00")
            await enter(services, "b", edited=f"{DAY}T10:00", thresholds=[60], period="month")
            await run(services, f"{DAY}T12:00")
            assert await raised(services) == ["b/1/2024-02-28/50", "b/2/2024-02-01/60"]

    async def test_one_that_was_deleted_fires_no_more_and_begins_anew(self, azurite: Azurite) -> None:
        async with app(azurite) as services:
            await enter(services, "b", edited="2024-02-01", thresholds=[50])
            await run(services, "2024-02-27T12:00")
            await used(services, 600, "2024-02-28T10:00")
            await services.budgets.edit("b", lambda _: {}, at("2024-02-28T12:00"))
            assert (await run(services, "2024-02-28T13:00")).budgets == 0
            assert await state(services, "b") is None
            await enter(services, "b", edited=f"{DAY}T10:00", thresholds=[50])
            await run(services, f"{DAY}T12:00")
            assert await raised(services) == []


async def test_a_profile_of_earlier_weeks_projects_and_is_read_once_a_day(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Used on Thursdays from 8 to 10 and no other time: at 9 half of it is done."""
    async with app(azurite) as services:
        for week in (1, 8, 15, 22):
            for hour in (8, 9):
                await used(services, 100, f"2024-02-{week:02}T{hour:02}:30")
        await used(services, 150, f"{DAY}T08:30")
        await enter(services, "b", app="search", edited="2024-02-29")
        await run(services, f"{DAY}T09:00")
        found = await state(services, "b")
        # part = 200 / 24: 150 + 100 x (150 + 8.33) / (100 + 8.33)
        assert (found["projection"], found["projected"], found["days_left"]) == ("profile", "297", 0.62)
        monkeypatch.setattr(evaluating, "history", None)
        await run(services, f"{DAY}T09:05")
        assert (await state(services, "b"))["projection"] == "profile"


async def test_the_log_tells_of_each_run_without_a_secret(azurite: Azurite, caplog: pytest.LogCaptureFixture) -> None:
    async with app(azurite) as services:
        await enter(services, "b", edited=DAY, webhook="https://example.com/secret", thresholds=[1])
        await used(services, 600, f"{DAY}T10:00")
        with caplog.at_level("INFO"):
            await evaluate(services, "invocation-1", lambda: at(f"{DAY}T12:00"))
        line = next(json.loads(each.message) for each in caplog.records if '"budgets"' in each.message)
        told = {name: line[name] for name in ("event", "invocation_id", "budgets", "periods", "raised", "failed")}
        assert list(told.values()) == ["budgets", "invocation-1", 1, 1, 1, 0]
        assert "secret" not in caplog.text


async def test_metrics_tell_how_many_budgets_are_in_which_state(azurite: Azurite) -> None:
    async with app(azurite) as services:
        meter = Meter()
        services.telemetry = meter.telemetry
        await enter(services, "used-up", limit=1)
        await enter(services, "fine")
        await enter(services, "unpriced", unit="USD")
        await used(services, 600, f"{DAY}T10:00", response_model="nobody's")
        await run(services, f"{DAY}T12:00")
        states = {("exceeded",): 1, ("partly_priced",): 0, ("within",): 1, ("unknown",): 1}
        assert meter.of("usage_collector.budgets") == states
        assert meter.of("#usage_collector.budgets.duration") == {(): 1}
