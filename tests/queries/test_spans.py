"""queries.spans: which rows answer a range. Checked against the keys under which the ledger really keeps its rows."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.rows import Cell, aggregate_row_keys
from queries.buckets import GRANULARITIES, UTC_ZONE, Granularity, bucket_starts, cuts
from queries.spans import Span, row_time
from queries.spans import spans as spans_of_parts

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LEVELS = ("h", "d", "m")

# Around the edges that calendars have, and anywhere else.
EDGES = [
    datetime(2023, 12, 31, 23, tzinfo=UTC),
    datetime(2024, 1, 1, tzinfo=UTC),
    datetime(2024, 2, 28, 23, tzinfo=UTC),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 3, 1, tzinfo=UTC),
    datetime(2025, 2, 28, tzinfo=UTC),
    datetime(2025, 3, 1, tzinfo=UTC),
    datetime(2100, 2, 28, 12, tzinfo=UTC),
    datetime(2100, 3, 1, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
]


def spans(start: datetime, end: datetime, granularity: Granularity, zone: ZoneInfo = UTC_ZONE) -> list[Span]:
    return spans_of_parts(cuts(start, end, granularity, zone), granularity)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[datetime, datetime]:
    """Ranges on full hours, of an hour up to some 70 days, often on the edges of days and months."""
    anywhere = st.integers(0, 100 * 365 * 24).map(lambda hours: EDGES[-1] + HOUR * hours)
    start = draw(st.sampled_from(EDGES) | anywhere)
    match draw(st.sampled_from(("as it is", "day", "month"))):
        case "day":
            start = start.replace(hour=0)
        case "month":
            start = start.replace(day=1, hour=0)
    end = start + HOUR * draw(st.integers(1, 70 * 24))
    match draw(st.sampled_from(("as it is", "day", "month"))):
        case "day":
            end = (end + DAY).replace(hour=0)
        case "month":
            end = (end.replace(day=1, hour=0) + 32 * DAY).replace(day=1)
    return start, end


def hours(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += HOUR


def row_keys(hour: datetime) -> dict[str, str]:
    """The keys of the rows that a call of this hour is summed in, by level."""
    return dict(zip(LEVELS, aggregate_row_keys(Cell(f"{hour:%Y%m%d%H}", "m", ()), "hub-0"), strict=True))


def found_by(needed: Sequence[Span], hour: datetime) -> list[Span]:
    """The spans whose reading finds a call of this hour: its month's partition, and one of its rows' keys."""
    keys = row_keys(hour)
    month = keys["m"].split("|")[1]
    return [span for span in needed if span.month == month and span.row_keys[0] <= keys[span.level] < span.row_keys[1]]


def month_after(time: datetime) -> datetime:
    return (time.replace(day=1) + 32 * DAY).replace(day=1)


@given(ranges(), st.sampled_from(GRANULARITIES))
@example((datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)), "month")
@example((datetime(2023, 12, 31, 23, tzinfo=UTC), datetime(2024, 2, 1, 1, tzinfo=UTC)), "total")
@example((datetime(2024, 2, 28, 23, tzinfo=UTC), datetime(2024, 3, 1, 1, tzinfo=UTC)), "day")
@example((datetime(2024, 2, 28, 23, tzinfo=UTC), datetime(2024, 2, 29, 1, tzinfo=UTC)), "day")
def test_every_hour_of_a_range_is_read_exactly_once_and_no_other(
    range_: tuple[datetime, datetime], granularity: Granularity
) -> None:
    start, end = range_
    needed = list(spans(start, end, granularity))
    around = 5 * DAY
    for hour in hours(start - around, end + around):
        assert len(found_by(needed, hour)) == (start <= hour < end), hour


@given(ranges(), st.sampled_from(GRANULARITIES))
def test_spans_follow_one_another_without_gap_and_stay_in_their_month(
    range_: tuple[datetime, datetime], granularity: Granularity
) -> None:
    needed = list(spans(*range_, granularity))
    assert (needed[0].start, needed[-1].end) == range_
    assert all(before.end == after.start for before, after in pairwise(needed))
    assert all(span.start < span.end for span in needed)
    assert all(span.month == f"{span.start:%Y%m}" == f"{span.end - HOUR:%Y%m}" for span in needed)
    assert all(first < after for first, after in (span.row_keys for span in needed))


@given(ranges(), st.sampled_from(GRANULARITIES))
def test_whole_months_come_from_month_rows_whole_days_from_day_rows_and_only_edges_from_hour_rows(
    range_: tuple[datetime, datetime], granularity: Granularity
) -> None:
    for span in spans(*range_, granularity):
        is_month = span.start == span.start.replace(day=1, hour=0) and span.end == month_after(span.start)
        midnight = span.start if span.start.hour == 0 else span.start.replace(hour=0) + DAY
        holds_a_day = midnight + DAY <= span.end
        if granularity == "hour":
            assert span.level == "h"
        elif granularity in ("month", "total") and is_month:
            assert span.level == "m"
        elif holds_a_day:
            assert span.level == "d"
            assert (span.start.hour, span.end.hour) == (0, 0)
        else:
            assert span.level == "h"


@given(ranges(), st.sampled_from(GRANULARITIES))
def test_a_bucket_begins_where_its_hour_day_or_month_begins(
    range_: tuple[datetime, datetime], granularity: Granularity
) -> None:
    """The row through which an hour is read falls in the bucket that the hour itself falls in."""
    start, end = range_
    needed = list(spans(start, end, granularity))
    for hour in hours(start, min(end, start + 3 * DAY)):
        (span,) = found_by(needed, hour)
        expected = {
            "hour": hour,
            "day": hour.replace(hour=0),
            "month": hour.replace(day=1, hour=0),
            "total": start,
        }[granularity]
        starts = bucket_starts(start, end, granularity, UTC_ZONE)
        assert starts[bisect_right(starts, row_time(row_keys(hour)[span.level])) - 1] == expected


@pytest.mark.parametrize(
    ("granularity", "levels"),
    [("hour", "hhh"), ("day", "hddd"), ("month", "hdmd"), ("total", "hdmd")],
)
def test_a_range_over_three_months_by_example(granularity: Granularity, levels: str) -> None:
    """2023-12-30T22 up to 2024-02-29: two hours, one day, all January, 28 days."""
    needed = list(spans(datetime(2023, 12, 30, 22, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=UTC), granularity))
    assert "".join(span.level for span in needed) == levels


def test_800_days_take_few_spans() -> None:
    """The most that a question may ask for by default is answered from less than three spans a month."""
    start = datetime(2024, 1, 15, 7, tzinfo=UTC)
    assert len(list(spans(start, start + 800 * DAY, "total"))) <= 2 + 26 + 2


@pytest.mark.parametrize(
    ("row_key", "time"),
    [
        ("c|202402292359|", datetime(2024, 2, 29, 23, 59, tzinfo=UTC)),
        ("h|2024022923|x|hub-0", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        ("d|20240229|x|a|b", datetime(2024, 2, 29, tzinfo=UTC)),
        ("m|202402|", datetime(2024, 2, 1, tzinfo=UTC)),
    ],
)
def test_the_time_in_a_row_key_is_its_second_part(row_key: str, time: datetime) -> None:
    assert row_time(row_key) == time


ZONES = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")


@given(ranges(), st.sampled_from(GRANULARITIES), st.sampled_from(ZONES))
def test_in_any_zone_every_quarter_of_an_hour_is_read_once_in_its_bucket(
    range_: tuple[datetime, datetime], granularity: Granularity, name: str
) -> None:
    """A span's rows lie in one bucket each: a level is read only where the bucket holds the whole of it."""
    zone, quarter = ZoneInfo(name), HOUR / 4
    start, end = range_[0], min(range_[1], range_[0] + 9 * DAY)
    starts = bucket_starts(start, end, granularity, zone)
    assert list(starts) == sorted(set(starts))
    length = {"c": quarter, "h": HOUR, "d": DAY, "m": 31 * DAY}
    covered = start
    for span in spans(start, end, granularity, zone):
        assert span.start == covered
        covered, time = span.end, span.start
        while time < span.end and span.level != "m":
            following = time + length[span.level]
            buckets = {bisect_right(starts, time), bisect_right(starts, following - quarter)}
            assert len(buckets) == 1
            assert following <= span.end
            time = following
    assert covered == end
