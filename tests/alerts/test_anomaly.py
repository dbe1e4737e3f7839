"""alerts.anomaly: what is unusual and what is not, by its rules and on made data with known spikes."""

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.anomaly import DAYS, FACTOR, HOUR, WEEKS, History, bound, history_of, usual, windows

FLOOR = 100_000
MONDAY = datetime(2026, 11, 16, 10, tzinfo=UTC)
counts = st.integers(0, 10**12)
histories = st.builds(
    History,
    st.lists(counts, min_size=len(WEEKS), max_size=len(WEEKS)),
    st.lists(counts, min_size=len(DAYS), max_size=len(DAYS)),
)


@given(histories, st.integers(1, 10**9))
def test_the_bound_is_never_below_the_floor_or_three_times_the_usual(history: History, floor: int) -> None:
    assert bound(history, floor) >= max(floor, FACTOR * usual(history))


@given(histories, st.integers(0, 10**12))
def test_one_odd_week_hardly_matters(history: History, odd: int) -> None:
    """Whatever one week was, the usual stays within what the other weeks and the days were."""
    changed = History([odd, *history.weeks[1:]], history.days)
    others = [*history.weeks[1:], *history.days]
    assert min(others) <= usual(changed) <= max(others)


@given(histories, st.permutations(range(6)))
def test_the_order_of_weeks_and_days_does_not_matter(history: History, order: list[int]) -> None:
    shuffled = History([history.weeks[at] for at in order], [history.days[at] for at in order])
    assert bound(shuffled, FLOOR) == bound(history, FLOOR)


@given(histories, st.integers(1, 1000))
def test_twice_as_much_of_all_is_twice_the_bound(history: History, times: int) -> None:
    more = History([times * each for each in history.weeks], [times * each for each in history.days])
    assert bound(more, times * FLOOR) == pytest.approx(times * bound(history, FLOOR))


@given(histories, st.integers(0, 5), counts)
def test_more_before_never_makes_an_hour_more_unusual_by_its_usual(history: History, at: int, more: int) -> None:
    grown = History(
        [each + more * (at == place) for place, each in enumerate(history.weeks)],
        [each + more * (at == place) for place, each in enumerate(history.days)],
    )
    assert usual(grown) >= usual(history)


def test_the_hours_that_are_read_are_those_that_tell() -> None:
    read = {start + number * HOUR for start, end in windows(MONDAY, MONDAY) for number in range((end - start) // HOUR)}
    told = {hour for hour in read if history_of(MONDAY, {hour: 1}) != history_of(MONDAY, {})}
    assert told == read
    assert len(read) == 36
    assert all(hour < MONDAY for hour in read)
    several = windows(MONDAY, MONDAY + 5 * HOUR)
    assert all(start + 8 * HOUR == end for start, end in several)


# --------------------------------------------------------------------------------------------------------- made data

FIRST = datetime(2026, 7, 6, tzinfo=UTC)
WEEK = timedelta(weeks=1)
Pattern = Callable[[datetime], float]


def business(hour: datetime) -> float:
    """Much on working days from 8 to 18, little at night and at weekends."""
    return 1_000_000.0 if hour.weekday() < 5 and 8 <= hour.hour < 18 else 20_000.0


def steady(hour: datetime) -> float:
    return 400_000.0


def weekly_batch(hour: datetime) -> float:
    """Ten million every Sunday at two, or an hour sooner or later, and next to nothing else."""
    at = 2 + (hour.isocalendar().week % 3) - 1
    return 10_000_000.0 if hour.weekday() == 6 and hour.hour == at else 5_000.0


def growing(hour: datetime) -> float:
    """A quarter more each week."""
    return 50_000.0 * math.pow(1.25, (hour - FIRST) / WEEK)


def made(pattern: Pattern, weeks: int, seed: int, noise: float = 0.35) -> dict[datetime, int]:
    """Tokens of each hour: the pattern times a lognormal noise (0.35: of three hours two are within 1.4 times)."""
    chance = random.Random(seed)
    hours = (FIRST + number * HOUR for number in range(weeks * 168))
    return {hour: round(pattern(hour) * math.exp(chance.gauss(0, noise))) for hour in hours}


def found(tokens: dict[datetime, int], after: timedelta = 6 * WEEK) -> list[datetime]:
    """The hours that are unusual, once there are six weeks before them."""
    return [
        hour
        for hour, count in tokens.items()
        if hour >= FIRST + after and count >= FLOOR and count >= bound(history_of(hour, tokens), FLOOR)
    ]


@pytest.mark.parametrize("pattern", [business, steady, weekly_batch, growing])
def test_apps_without_a_spike_raise_next_to_no_alert(pattern: Pattern) -> None:
    """Four apps for ten weeks each: less than one in five thousand hours."""
    false = sum(len(found(made(pattern, 16, seed))) for seed in range(4))
    assert false <= 1, false


@pytest.mark.parametrize(("pattern", "times", "least"), [(business, 10, 48), (steady, 10, 50), (steady, 6, 43)])
def test_spikes_are_found(pattern: Pattern, times: int, least: int) -> None:
    """Of 50 spikes in the working hours of a week: of ten times the usual nearly all, of six times most."""
    seen = 0
    for seed in range(50):
        tokens = made(pattern, 8, seed)
        spike = FIRST + 7 * WEEK + timedelta(days=seed % 5, hours=9 + seed % 8)
        tokens[spike] = round(pattern(spike) * times)
        seen += spike in found(tokens, 7 * WEEK)
    assert seen >= least, seen


def test_a_busy_hour_at_night_is_found_although_it_were_none_by_day() -> None:
    tokens = made(business, 8, 1)
    night = FIRST + 7 * WEEK + timedelta(hours=3)
    tokens[night] = 1_000_000
    assert found(tokens, 7 * WEEK) == [night]


def test_twice_the_usual_is_none() -> None:
    tokens = made(steady, 8, 1)
    hour = FIRST + 7 * WEEK + timedelta(hours=12)
    tokens[hour] = 2 * 400_000
    assert hour not in found(tokens)


def test_what_lasts_is_told_of_for_a_few_days_only() -> None:
    """Five times as much from one day on: unusual for four days, and usual then."""
    jump = FIRST + 8 * WEEK
    tokens = made(lambda hour: steady(hour) * (5 if hour >= jump else 1), 12, 1)
    hours = found(tokens, 7 * WEEK)
    assert hours
    assert min(hours) - jump < timedelta(hours=3)
    assert max(hours) - jump < timedelta(days=4)


def test_a_spike_leaves_the_hours_after_it_as_they_are() -> None:
    """A day of spikes hides neither the next one nor a spike of the week after."""
    tokens = made(steady, 9, 1)
    first, next_day, next_week = (FIRST + 7 * WEEK + timedelta(days=days, hours=12) for days in (0, 1, 7))
    for hour in (first, next_day, next_week):
        tokens[hour] = 8_000_000
    assert found(tokens, 7 * WEEK) == [first, next_day, next_week]
