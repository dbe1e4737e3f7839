"""Periods, projections and what is folded for an app: what holds for every input."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from budgets.entry import BudgetEntry, read_budget
from budgets.periods import GRACE, MAX_PERIODS, Period, due, needs_history, period_at, periods_ending_after
from budgets.projection import HOUR, SLOTS, WEEK, expected, profile, project, slot
from budgets.verdict import MAX_FOLDED, Evaluation, Used, crossed, folded, shown_evaluation, state_of, status_of
from ledger.versions import Version
from tests.budgets.evaluating import at

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Havana",
         "Pacific/Apia", "America/Sao_Paulo", "Africa/Cairo")  # fmt: skip
zones = st.sampled_from([ZoneInfo(name) for name in ZONES])
names = st.sampled_from(["day", "month"])
instants = st.integers(0, 20 * 365 * 86_400).map(lambda seconds: at("2010-01-01") + timedelta(seconds=seconds))
amounts = st.decimals(0, 10**12, places=6)
profiles = st.lists(st.floats(0, 1e9), min_size=SLOTS, max_size=SLOTS)


def budget(**members: Any) -> BudgetEntry:
    return read_budget({"period": "day", "unit": "tokens", "limit": 1000, **members}, allow_private=False)


def version(number: int, edited: str, **members: Any) -> Version:
    return Version("b", number, f"{edited}Z", budget(**members).model_dump(mode="json"))


class TestPeriods:
    @given(instant=instants, name=names, zone=zones)
    def test_each_instant_is_in_one_which_begins_at_a_midnight_of_the_zone(
        self, instant: datetime, name: Any, zone: ZoneInfo
    ) -> None:
        found = period_at(instant, name, zone)
        assert found.start <= instant < found.end
        assert period_at(found.start, name, zone) == found
        assert period_at(found.end - timedelta(microseconds=1), name, zone) == found
        following = period_at(found.end, name, zone)
        assert following.start == found.end
        for edge in found:
            local = edge.astimezone(zone)
            before = (edge - timedelta(microseconds=1)).astimezone(zone)
            assert before.date() != local.date() or local.hour == 0
        if name == "month":
            assert timedelta(27) < found.end - found.start < timedelta(32)

    @given(first=instants, days=st.integers(0, 60), name=names, zone=zones)
    def test_those_that_follow_one_another_leave_nothing_out(
        self, first: datetime, days: int, name: Any, zone: ZoneInfo
    ) -> None:
        now = first + timedelta(days=days)
        found = list(periods_ending_after(first, now, budget(period=name, tz=zone.key)))
        assert found[0].start <= first < found[0].end
        assert found[-1].start <= now < found[-1].end
        assert all(one.end == other.start for one, other in pairwise(found))

    @given(hours=st.lists(st.integers(1, 24 * 50), min_size=1, max_size=12), name=names)
    def test_whenever_it_runs_each_period_is_evaluated_after_its_end(self, hours: Sequence[int], name: Any) -> None:
        """At its end or later, and settled only when the grace is over."""
        history = [version(1, "2024-01-10T12:00:00", period=name)]
        settled: datetime | None = None
        now = at("2024-01-10T12:00")
        seen: dict[Period, datetime] = {}
        for step in hours:
            now += timedelta(hours=step)
            found, settled = due(history, settled, now)
            assert 1 <= len(found) <= MAX_PERIODS
            assert found[-1].period == period_at(now, name, ZoneInfo("UTC"))
            seen |= {each.period: now for each in found}
            assert settled <= max(now - GRACE[name], at("2024-01-10T12:00"))
        assert settled is not None
        for period in periods_ending_after(at("2024-01-10T12:00"), settled, budget(period=name)):
            if period.end <= settled:
                assert seen[period] >= period.end + GRACE[name]

    def test_an_earlier_version_judges_what_ended_before_the_edit_and_no_more(self) -> None:
        history = [version(1, "2024-02-01T00:00:00"), version(2, "2024-02-03T10:00:00", limit=5)]
        found, settled = due(history, at("2024-02-01T12:00"), at("2024-02-04T12:00"))
        assert [(each.version, each.period.start.day) for each in found] == [(1, 1), (1, 2), (2, 3), (2, 4)]
        assert settled == at("2024-02-03T12:00")
        assert needs_history(history[1], at("2024-02-01T12:00"))
        assert not needs_history(history[1], settled)

    def test_what_was_deleted_between_is_nobodys(self) -> None:
        gone = Version("b", 2, "2024-02-02T10:00:00Z", {})
        history = [version(1, "2024-02-01T00:00:00"), gone, version(3, "2024-02-05T10:00:00")]
        found, _ = due(history, None, at("2024-02-06T12:00"))
        assert [(each.version, each.period.start.day) for each in found] == [(3, 5), (3, 6)]


def test_below_its_limit_what_is_partly_priced_is_not_within() -> None:
    entry = budget(unit="USD", limit=10)
    assert state_of(entry, Used(Decimal(9))) == "within"
    assert state_of(entry, Used(Decimal(9), unpriced_tokens=1)) == "partly_priced"
    assert state_of(entry, Used(Decimal(9), unpriced_audio_seconds=Decimal(1))) == "partly_priced"
    assert state_of(entry, Used(Decimal(10), unpriced_tokens=1)) == "exceeded"


class TestProjection:
    @given(actual=amounts, usual=st.none() | profiles, start=instants, share=st.fractions(0, 2), zone=zones, name=names)
    def test_it_is_never_less_than_what_was_used_and_is_that_at_the_end(
        self, actual: Decimal, usual: Any, start: datetime, share: Any, zone: ZoneInfo, name: Any
    ) -> None:
        period = period_at(start, name, zone)
        now = period.start + (period.end - period.start) * float(share)
        found = project(actual, period, now, usual, zone, 6)
        if found.amount is not None:
            assert found.amount >= actual
        if now >= period.end:
            assert found.amount == actual

    @given(less=amounts, more=amounts, usual=st.none() | profiles, hours=st.integers(1, 23))
    def test_who_used_more_will_have_used_more(self, less: Decimal, more: Decimal, usual: Any, hours: int) -> None:
        assume(less <= more)
        period = period_at(at("2024-02-29"), "day", ZoneInfo("UTC"))
        now = period.start + hours * HOUR
        one, other = (project(each, period, now, usual, ZoneInfo("UTC"), 6).amount for each in (less, more))
        assert one is not None
        assert other is not None
        assert one <= other

    @given(rate=st.integers(1, 10**9), hours=st.integers(2, 28 * 24))
    def test_at_a_steady_rate_both_ways_say_the_same(self, rate: int, hours: int) -> None:
        period = period_at(at("2024-02-10"), "month", ZoneInfo("UTC"))
        now, actual = period.start + hours * HOUR, Decimal(rate * hours)
        whole = Decimal(rate * 29 * 24)
        assert project(actual, period, now, [float(rate)] * SLOTS, ZoneInfo("UTC"), 0).amount == whole
        linear = project(actual, period, now, None, ZoneInfo("UTC"), 0)
        assert linear.amount == (whole if hours * 24 >= 29 * 24 else None)

    def test_at_the_beginning_it_is_what_is_usual(self) -> None:
        period = period_at(at("2024-02-29"), "day", ZoneInfo("UTC"))
        found = project(Decimal(0), period, period.start, [10.0] * SLOTS, ZoneInfo("UTC"), 0)
        assert found == (Decimal(240), "profile")

    @given(days=st.integers(1, 60), zone=zones)
    def test_a_profile_is_of_whole_weeks_only(self, days: int, zone: ZoneInfo) -> None:
        """One unit each hour: one unit is usual each hour, however long it has been so."""
        today = at("2024-03-20")
        used = [(today - (number + 1) * HOUR, Decimal(1)) for number in range(days * 24)]
        found = profile(used, today, zone)
        if days < 7:
            assert found is None
            return
        assert found is not None
        assert {amount for amount in found if amount} == {1.0}
        assert expected(today, today + WEEK, found, ZoneInfo("UTC")) <= 7 * 24

    @given(hour=st.integers(0, SLOTS - 1), weeks=st.integers(1, 4))
    @example(hour=48, weeks=4)
    def test_what_is_used_in_one_hour_of_the_week_is_expected_in_that_hour(self, hour: int, weeks: int) -> None:
        today = at("2024-03-20")
        monday = at("2024-03-11")
        used = [(monday + hour * HOUR - week * WEEK, Decimal(7)) for week in range(weeks)]
        # one used long before, so that all four weeks count; an hour has one amount
        amounts = {today - 4 * WEEK: Decimal(1), **dict(used)}
        found = profile(amounts.items(), today, ZoneInfo("UTC"))
        assert found is not None
        in_reach = {start: amount for start, amount in amounts.items() if today - 4 * WEEK <= start < today}
        of_hour = [amount for start, amount in in_reach.items() if slot(start, ZoneInfo("UTC")) == hour]
        assert found[hour] == pytest.approx(float(sum(of_hour)) / 4)


def note(state: str, day: int = 5, percent: float | None = None, number: int = 0, model: str | None = None) -> Any:
    """What is noted of a budget whose period ends on that day of March."""
    end = f"2024-03-{day:02}T00:00:00Z"
    return {"id": f"b{number}", "model": model, "state": state, "percent": percent, "period_end": end}


class TestVerdict:
    @given(
        limit=st.integers(1, 10**15),
        amount=st.integers(0, 10**16),
        thresholds=st.sets(st.integers(1, 1000), min_size=1, max_size=10),
    )
    def test_a_threshold_is_crossed_when_its_share_of_the_limit_is_used(
        self, limit: int, amount: int, thresholds: set[int]
    ) -> None:
        found = crossed(budget(limit=limit, thresholds=list(thresholds)), Used(Decimal(amount)))
        assert found == sorted(each for each in thresholds if amount * 100 >= limit * each)

    @given(limit=st.integers(1, 10**15), amount=st.integers(0, 10**16))
    @example(limit=1_000_000, amount=999_999)
    @example(limit=3 * 10**7, amount=3 * 10**7 - 1)
    def test_the_percent_that_are_shown_say_what_the_state_and_the_thresholds_do(self, limit: int, amount: int) -> None:
        """A whole number of percent is only said of what has reached it."""
        entry, used = budget(limit=limit, thresholds=[50, 80, 100]), Used(Decimal(amount))
        period = period_at(at("2024-02-29"), "day", ZoneInfo("UTC"))
        shown = shown_evaluation(Evaluation("b", 1, period, at("2024-02-29"), used), entry)
        assert (shown["percent"] >= 100) == (shown["state"] == "exceeded")
        assert [each for each in entry.thresholds if shown["percent"] >= each] == crossed(entry, used)

    notes = st.builds(
        note,
        st.sampled_from(["within"] * 5 + ["exceeded", "unknown", "partly_priced"]),
        st.integers(1, 5),
        st.none() | st.floats(0, 300),
        st.integers(0, 99),
        st.sampled_from([None, None, "m"]),
    )

    @given(notes=st.lists(notes, max_size=40) | st.lists(notes, min_size=17, max_size=40), day=st.integers(1, 6))
    @example(notes=[*[note("within", percent=90.0)] * 16, note("unknown")], day=1)
    @example(notes=[*[note("within", percent=90.0)] * 16, note("within", day=2)], day=3)
    def test_what_is_folded_says_what_all_would(self, notes: list[Any], day: int) -> None:
        now = at(f"2024-03-{day:02}") - timedelta(hours=1)
        kept = folded(notes)
        assert len(kept) <= MAX_FOLDED
        assert status_of(kept, now) == status_of(notes, now)
