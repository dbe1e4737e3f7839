"""A hub that fell silent is told from one that is silent at this time of every week."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.traffic import HOUR, Traffic, overdue
from local.azurite import Azurite
from tests.support.ledger import fresh_table

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ENOUGH = 100
"""From which on the rules fire (tests/infra/test_monitoring.py compares)."""

Rate = Callable[[datetime], int]
"""Events in the hour that begins then."""


def office(hour: datetime) -> int:
    return 1000 if hour.weekday() < 5 and 8 <= hour.hour < 18 else 0


def late(rate: Rate, since: datetime) -> Rate:
    """An hour later in UTC, from then on: as when clocks change."""
    return lambda hour: rate(hour - HOUR if hour >= since else hour)


def broken(rate: Rate, start: datetime, end: datetime = NEVER) -> Rate:
    return lambda hour: 0 if start <= hour < end else rate(hour)


def fires(rate: Rate, days: int, begins: datetime = MONDAY) -> list[datetime]:
    """The quarters of an hour at which the rule holds, from a Monday on, where a look each minute noted the totals."""
    totals: dict[datetime, int] = {}
    total, found = 0, []
    for hour in (begins + number * HOUR for number in range(days * 24)):
        for quarter in range(4):
            total += rate(hour) // 4
            now = hour + (quarter + 1) * QUARTER - timedelta(seconds=30)
            if overdue(totals, total, now) >= ENOUGH:
                found.append(now)
            totals[hour] = total
    return found


def test_a_company_with_office_hours_is_told_of_no_weekend_and_no_night() -> None:
    assert fires(office, 42) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_nor_when_clocks_change(earlier: bool) -> None:
    changes = MONDAY + timedelta(days=27)
    assert fires(late(office, changes) if not earlier else late(lambda hour: office(hour + HOUR), changes), 56) == []


@pytest.mark.parametrize(
    ("breaks", "told"),
    [
        (timedelta(days=28, hours=10), timedelta(days=28, hours=11)),  # Monday at ten
        (timedelta(days=29, hours=10), timedelta(days=29, hours=11)),  # Tuesday
        (timedelta(days=26, hours=3), timedelta(days=28, hours=10)),  # on Saturday: when work would have begun
        (timedelta(days=8, hours=10), timedelta(days=8, hours=11)),  # with one week known
    ],
)
def test_an_outage_is_told_after_the_first_whole_hour_that_is_missing(breaks: timedelta, told: timedelta) -> None:
    found = fires(broken(office, MONDAY + breaks), int(breaks.days) + 3)
    assert found[0] - QUARTER < MONDAY + told <= found[0]


def test_and_for_as_long_as_nothing_is_sent() -> None:
    """For two weeks: then silence is what is usual."""
    start, end = MONDAY + timedelta(days=28, hours=10), MONDAY + timedelta(days=42, hours=10)
    found = fires(broken(office, start, end), 49)
    assert found[-1] < end < found[-1] + QUARTER
    assert found == [found[0] + number * QUARTER for number in range(len(found))]


def test_after_a_holiday_the_next_weeks_are_watched_too() -> None:
    holiday = broken(office, MONDAY + timedelta(days=21), MONDAY + timedelta(days=22))
    begins = MONDAY + timedelta(days=28, hours=10)
    after = fires(broken(holiday, begins), 30)
    assert any(begins + HOUR <= now < begins + 2 * HOUR for now in after)


def test_in_the_first_week_nothing_is_known() -> None:
    assert fires(broken(office, MONDAY + timedelta(days=3)), 7) == []


def test_a_hub_that_has_few_events_is_told_of_too() -> None:
    start = MONDAY + timedelta(days=28, hours=10)
    found = fires(broken(lambda hour: 20, start), 30)
    assert start + 5 * HOUR <= found[0] < start + 6 * HOUR


def test_a_hub_made_anew_is_not_silent() -> None:
    totals = {MONDAY + number * HOUR: 100 * number for number in range(24 * 22)}
    now = max(totals) + HOUR + QUARTER
    assert overdue(totals, max(totals.values()), now) == 0  # the hour is not over
    assert overdue(totals, max(totals.values()), now + 2 * HOUR) == 200
    assert overdue(totals, 7, now + 2 * HOUR) == 0  # it is another hub since


HOURS = st.integers(0, 24 * 28).map(lambda number: MONDAY + number * HOUR)


@given(st.dictionaries(HOURS, st.integers(0, 5000)), st.integers(0, 5000), HOURS, st.timedeltas(timedelta(), HOUR))
def test_whatever_is_known_it_is_a_number_and_none_where_events_come(
    totals: dict[datetime, int], total: int, hour: datetime, into: timedelta
) -> None:
    assert overdue(totals, total, hour + into) >= 0
    assert overdue(totals | {hour: total + 1}, total, hour + into) == 0


async def test_the_rows_keep_four_weeks(azurite: Azurite) -> None:
    async with fresh_table(azurite.connection_string) as store:
        traffic = Traffic(store)
        assert await traffic.totals() == {}
        for days, hours, total in ((0, 7, 5), (0, 7, 9), (0, 23, 2**40), (1, 0, 2**40), (27, 3, 2**41)):
            await traffic.note("usage-events", MONDAY + timedelta(days=days, hours=hours, minutes=31), total)
        await traffic.note("a/b", MONDAY, 1)
        known = {
            MONDAY + 7 * HOUR: 9,
            MONDAY + 23 * HOUR: 2**40,
            MONDAY + 24 * HOUR: 2**40,
            MONDAY + timedelta(days=27, hours=3): 2**41,
        }
        assert await traffic.totals() == {"usage-events": known, "a/b": {MONDAY: 1}}
        await Traffic(store).note("usage-events", MONDAY + timedelta(days=28, hours=8), 2**41 + 1)
        found = (await traffic.totals())["usage-events"]
        assert found == {hour: total for hour, total in known.items() if hour.date() > MONDAY.date()} | {
            MONDAY + timedelta(days=28, hours=8): 2**41 + 1
        }
