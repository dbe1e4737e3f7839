"""Whatever fails, and however often and late the timer runs: every alert once."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from budgets import evaluate as evaluating
from budgets.measure import measure
from budgets.status import status
from ledger.alerts import Alerts
from ledger.budgets import BudgetNotes
from ledger.versions import Versions
from local.azurite import Azurite
from models.errors import StoreUnavailable
from services import Services
from tests.budgets.evaluating import DAY, app, at, enter, raised, run, state, used
from tests.queries.filled import fill
from tests.support.events import usage_event
from tests.support.faulty import FaultyStore
from tests.support.faulty import at as fault_at
from tests.support.ledger import no_wait


async def test_one_faulty_budget_does_not_stop_the_others(azurite: Azurite, caplog: pytest.LogCaptureFixture) -> None:
    """One that nobody can read, and one whose question is beyond the bounds: its edges lie inside of hours."""
    async with app(azurite, QUERY_MAX_CALLS="100", CALL_RETENTION_DAYS="1") as services:
        await enter(services, "good", thresholds=[50])
        await enter(services, "kolkata", tz="Asia/Kolkata", period="month")
        await services.budgets.edit("broken", lambda _: {"period": "never"}, at("2024-01-01"))
        await used(services, 600, f"{DAY}T10:00")
        report = await run(services, f"{DAY}T12:00")
        assert (report.budgets, report.failed, report.raised) == (3, 2, 1)
        found = await state(services, "kolkata")
        assert (found["state"], found["fault"], found["actual"]) == ("unknown", "calls_not_kept", None)
        assert "budget broken cannot be read" in caplog.text


async def test_a_period_whose_calls_are_not_kept_any_more_is_given_up(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    """January needs the calls of 31 December: from 5 February on nothing can answer for it."""
    async with app(azurite, CALL_RETENTION_DAYS="35") as services:
        await enter(services, "a", edited="2024-01-01", period="month", tz="Asia/Kolkata", thresholds=[50])
        await used(services, 600, "2024-02-05T10:00")
        for when in ("2024-02-04T12:00", "2024-02-06T12:00"):
            assert (await run(services, when)).failed == 0
        assert "given up" not in caplog.text
        reports = [await run(services, f"2024-02-08T12:{minute}") for minute in ("00", "05")]
        assert [(report.failed, report.periods) for report in reports] == [(0, 2), (0, 1)]
        assert caplog.text.count("budget a: its period from 2024-01-01 is given up: calls_not_kept") == 1
        assert await raised(services) == ["a/1/2024-02-01/50"]


async def test_a_day_with_too_many_calls_at_its_edge_is_given_up_too(
    azurite: Azurite, caplog: pytest.LogCaptureFixture
) -> None:
    """Else it would be asked for ever, and in time there would be no room for days that ended later."""
    async with app(azurite, QUERY_MAX_CALLS="100") as services:
        await enter(services, "a", edited="2024-03-01T18:35", tz="Asia/Kolkata", thresholds=[50])
        just_after = [f"2024-03-01T18:{number // 60 + 40}:{number % 60:02}Z" for number in range(120)]
        await fill(services, [(usage_event(app_id="search", timestamp=time), "0") for time in just_after])
        assert (await run(services, "2024-03-03T12:00")).failed == 1
        for day in ("04", "05", "06"):
            report = await run(services, f"2024-03-{day}T12:00")
        assert (report.failed, report.periods) == (0, 3)  # the day of the run before, the one between, and this
        assert caplog.text.count("budget a: its period from 2024-03-02 is given up: too_much_to_read") == 1


async def test_what_this_period_cannot_be_asked_settles_those_before_it(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And what a period that ended cannot be asked now it is asked again, and told in the log."""
    async with app(azurite, QUERY_MAX_CALLS="100") as services:
        await enter(services, "a", edited=f"{DAY}T08:00", tz="Asia/Kolkata", thresholds=[50])
        await used(services, 600, f"{DAY}T10:00")
        with monkeypatch.context() as patch:
            patch.setattr(evaluating, "measure", _only_this_day)
            assert (await run(services, "2024-03-02T12:00")).failed == 1
        assert "budget a: its period from 2024-02-29: too_slow" in caplog.text
        with monkeypatch.context() as patch:
            patch.setattr(evaluating, "measure", _only_other_days)
            assert (await run(services, "2024-03-02T12:05")).failed == 1
        assert await raised(services) == [f"a/1/{DAY}/50"]
        assert (await run(services, "2024-03-02T12:10")).periods == 2


async def _only_this_day(asker: Any, wanted: Any, now: datetime, *clocks: Any) -> Any:
    last = max(wanted, key=lambda each: each.period.end)
    return await measure(asker, {last: wanted[last]}, now, *clocks)


async def _only_other_days(asker: Any, wanted: Any, now: datetime, *clocks: Any) -> Any:
    last = max(wanted, key=lambda each: each.period.end)
    return await measure(asker, {each: asked for each, asked in wanted.items() if each != last}, now, *clocks)


async def test_where_a_shared_read_is_too_much_each_budget_is_asked_for_alone(azurite: Azurite) -> None:
    async with app(azurite, QUERY_MAX_REQUESTS="100") as services:
        await fill(
            services,
            [
                (usage_event(request_id=f"{n}", app_id=f"app-{n}", timestamp=f"{DAY}T10:00:00Z"), "0")
                for n in range(101)
            ],
        )
        await enter(services, "everything")
        await enter(services, "one", app="app-7", thresholds=[1])
        report = await run(services, f"{DAY}T12:00")
        assert (report.failed, report.raised) == (1, 1)
        assert (await state(services, "everything"))["fault"] == "too_much_to_read"


@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
async def test_killed_at_any_request_nothing_is_lost_or_doubled(azurite: Azurite, lost: bool) -> None:
    """The run ends at request n of the tables it writes; the next one, which finds it so, does the rest."""
    number, ended = 0, True
    async with app(azurite) as services:
        while ended:
            number += 1
            a, b, name = f"a{number}", f"b{number}", f"app-{number}"
            await enter(services, a, app=name, thresholds=[50, 100])
            await enter(services, b, app=name, thresholds=[10])
            await used(services, 600, f"{DAY}T10:00", app_id=name)
            ended = await _ends_at(services, number, lost)
            await used(services, 600, f"{DAY}T11:00", app_id=name)
            await run(services, f"{DAY}T12:00")
            alerts = [alert for alert in await raised(services) if alert[:-3].startswith((f"{a}/", f"{b}/"))]
            assert alerts == [f"{a}/1/{DAY}/100", f"{a}/1/{DAY}/50", f"{b}/1/{DAY}/10"]
            assert (await state(services, a))["actual"] == "1200"
            for each in (a, b):
                await services.budgets.edit(each, lambda _: {}, at(f"{DAY}T12:01"))
    assert number > 6


async def test_runs_that_overlap_fire_once(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "a", thresholds=[10, 50, 100])
        await enter(services, "b", app="search", thresholds=[10])
        await used(services, 600, f"{DAY}T10:00")
        reports = await asyncio.gather(*(run(services, f"{DAY}T12:0{minute}") for minute in (0, 1, 1, 5)))
        assert sum(report.raised for report in reports) == 3
        assert await raised(services) == [f"a/1/{DAY}/10", f"a/1/{DAY}/50", f"b/1/{DAY}/10"]


async def test_a_run_that_takes_too_long_says_so_and_the_next_one_misses_nothing(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app(azurite) as services:
        await enter(services, "a", edited=DAY, thresholds=[50])
        await enter(services, "b", edited=DAY, app="search", thresholds=[50])
        await used(services, 600, f"{DAY}T10:00")
        with monkeypatch.context() as patch:
            patch.setattr(evaluating, "MEASURE_SECONDS", 0)
            report = await run(services, f"{DAY}T23:59")
        assert (report.failed, report.raised) == (2, 0)
        assert (await state(services, "a"))["fault"] == "too_slow"
        assert (await status(services, "search", True, at(f"{DAY}T23:59")))["state"] == "unknown"
        assert (await run(services, "2024-03-03T12:00")).failed == 0
        assert await raised(services) == [f"a/1/{DAY}/50", f"b/1/{DAY}/50"]


async def test_with_time_for_one_budget_a_run_each_has_its_turn(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of different periods, so that each has a read of its own: those that waited longest come first."""
    async with app(azurite) as services:
        zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo"]
        for name, zone in zip("abcd", zones, strict=True):
            await enter(services, name, edited=f"{DAY}T08:00", tz=zone, thresholds=[50])
        await used(services, 600, f"{DAY}T10:00")
        monkeypatch.setattr(evaluating, "Clock", _OneQuestion)
        seen = [(await run(services, f"{DAY}T12:{minute}")).failed for minute in (10, 15, 20, 25)]
        assert seen == [3, 3, 3, 3]
        assert len(await raised(services)) == 4


async def test_with_time_for_one_budget_each_that_is_asked_for_alone_has_its_turn(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app(azurite, QUERY_MAX_REQUESTS="100") as services:
        events = [usage_event(request_id=f"{n}", app_id=f"app-{n}", timestamp=f"{DAY}T10:00:00Z") for n in range(101)]
        await fill(services, [(event, "0") for event in events])
        await enter(services, "all", edited=f"{DAY}T08:00")
        for name in ("app-1", "app-2", "app-3"):
            await enter(services, name, edited=f"{DAY}T08:00", app=name, thresholds=[1])
        monkeypatch.setattr(evaluating, "Clock", _OneQuestion)
        for minute in (10, 15, 20, 25):
            await run(services, f"{DAY}T12:{minute}")
        assert len(await raised(services)) == 3


class _OneQuestion:
    """Time for one question: it is asked for whether there is time, and how much."""

    def __init__(self, seconds: int, seconds_of_run: int):
        self._lefts = [seconds, seconds]

    @property
    def left(self) -> int:
        return self._lefts.pop() if self._lefts else 0


async def test_if_the_tables_do_not_answer_the_run_fails(azurite: Azurite) -> None:
    async with app(azurite) as services:
        await enter(services, "a")
        faulty = FaultyStore(services.alerts._store, fault_at(*range(1, 100)))
        services.alerts = Alerts(faulty, sleep=no_wait)
        await used(services, 600, f"{DAY}T10:00")
        with pytest.raises(StoreUnavailable):
            await run(services, f"{DAY}T12:00")
        assert await state(services, "a") is None


class Killed(BaseException):
    """The process ends."""


async def _ends_at(services: Services, number: int, lost: bool) -> bool:
    """A run that is killed at the request of this number, over all tables that it writes; before it is sent, or when
    it was done. False if there is no such request."""
    count = 0

    def kill(_: int) -> None:
        nonlocal count
        count += 1
        if count == number:
            raise Killed

    def never(_: int) -> None:
        """No fault."""

    def faulty(store: Any) -> Any:
        return FaultyStore(store, *((never, kill) if lost else (kill,)))

    kept = services.budgets, services.alerts, services.budget_notes
    services.budgets = Versions(faulty(kept[0]._store), "budgets")
    services.alerts = Alerts(faulty(kept[1]._store))
    services.budget_notes = BudgetNotes(faulty(kept[2]._store))
    try:
        await run(services, f"{DAY}T10:30")
    except (Killed, BaseExceptionGroup):  # which holds nothing else: other errors are no groups
        return True
    finally:
        services.budgets, services.alerts, services.budget_notes = kept
    return False
