"""collectors.dialects._members: numbers as strings, and dates without a zone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.dialects import DIALECTS, _members
from collectors.identity import Delivery
from models.errors import BadRecord
from models.origin import Origin
from tests.collectors.dialects.fixtures import cases
from tests.collectors.reading import collected


def delivered_at(time: datetime) -> Delivery:
    return Delivery(Origin("hub", "0", 1, time), 0)


DELIVERY = delivered_at(datetime(2026, 6, 5, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("value", "number"),
    [(0, 0), ("0", 0), (15, 15), ("15", 15), ("007", 7), (12.0, 12), (10**12, 10**12), (None, None), ("", None)],
)
def test_count(value: object, number: int | None) -> None:
    assert _members.count({"n": value}, "n") == number


@pytest.mark.parametrize(
    "value",
    [-1, "-1", "+1", 1.5, "1.5", "1e3", "1,000", " 1", "١", "0x1", "NaN", True, False, [], {}, 10**12 + 1, 10**4000,
     "9" * 13, "9" * 5000, 1e300, -0.5, float("nan"), float("inf"), -float("inf")],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_count_is_named_without_repeating_it(value: object) -> None:
    with pytest.raises(BadRecord) as caught:
        _members.count({"n": value}, "n")
    assert caught.value.field == "n"
    assert "whole number" in str(caught.value.expected)


def time_of(value: object, **others: object) -> str:
    return _members.time({"t": value} | others, "t", DELIVERY)


@pytest.mark.parametrize(
    ("stated", "time"),
    [
        ("6/5/2026 11:59:58 AM", "2026-06-05T11:59:58"),
        ("6/5/2026 12:00:00 AM", "2026-06-05T00:00:00"),
        ("6/5/2026 12:00:00 PM", "2026-06-05T12:00:00"),
        ("6/5/2026 1:02:03 PM", "2026-06-05T13:02:03"),
        ("06/05/2026 13:02:03", "2026-06-05T13:02:03"),
        ("6/5/2026 1:02:03\u202fPM", "2026-06-05T13:02:03"),
        ("5/6/2026 11:00:00 AM", "2026-06-05T11:00:00"),  # the day first, as a date of 6 May would be a month old
        ("6/4/2026 12:00:00 PM", "2026-06-04T12:00:00"),
        ("5/24/2024 2:45:56 PM", "2024-05-24T14:45:56"),  # can be read in one way only: an old event, sent again
        ("2026-06-05T11:00:00Z", "2026-06-05T11:00:00"),
        ("2026-06-05T13:00:00+02:00", "2026-06-05T11:00:00"),
        ("2026-06-05T11:00:00.5", "2026-06-05T11:00:00.500000"),
        ("2026-06-05 11:00:00", "2026-06-05T11:00:00"),
        (None, "2026-06-05T12:00:00"),
        (" ", "2026-06-05T12:00:00"),
    ],
)
def test_time(stated: str | None, time: str) -> None:
    assert time_of(stated) == f"{time}+00:00"


@pytest.mark.parametrize(
    "stated",
    [
        "6/3/2026 11:00:00 AM",  # 3 June or 6 March: neither is near
        "8/24/2026 11:00:00 AM",  # in the future
        "13/13/2026 11:00:00 AM",
        "6/5/2026 13:00:00 PM",
        "6/5/2026 0:00:00 AM",
        "6/5/2026 11:60:00 AM",
        "6/5/0000 11:00:00 AM",
        "5.6.2026 11:00:00",
        "6/5/2026",
        "yesterday",
        1780657200,
        {},
    ],
)
def test_time_that_cannot_be_right_is_named(stated: object) -> None:
    with pytest.raises(BadRecord) as caught:
        time_of(stated)
    assert caught.value.field == "t"


def test_stream_analytics_says_when_the_hub_before_took_the_event_in() -> None:
    assert time_of("3/4/2026 1:00:00 PM", EventEnqueuedUtcTime="2026-03-04T13:00:01Z") == "2026-03-04T13:00:00+00:00"


TIMES = st.integers(2 * 86_400, 7900 * 365 * 86_400).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))


@given(TIMES, st.integers(-86_400, 86_400))
def test_date_near_its_delivery_is_read_as_it_was_written(delivered: datetime, seconds: int) -> None:
    """In the US way, whatever the date: never a month off because the day could be one."""
    at = delivered + timedelta(seconds=seconds)
    half = "AM" if at.hour < 12 else "PM"
    stated = f"{at.month}/{at.day}/{at.year:04} {at.hour % 12 or 12}:{at.minute:02}:{at.second:02} {half}"
    assert _members.time({"t": stated}, "t", delivered_at(delivered)) == at.isoformat()


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [
            10**400,
            1e308,
            float("nan"),
            float("inf"),
            -1,
            1.5,
            "NA",
            "15",
            "data: {}",
            "{}",
            "1/1/2026 1:00:00 AM",
            "\ud83d",
            "http://[",
        ]
    )
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
RECORDS = [case.record for case in cases()]
NAMES = sorted({name for record in RECORDS for name in record} | {"records", "specversion", "source", "data", "schema"})


@given(
    st.sampled_from(RECORDS),
    st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4),
    st.sets(st.sampled_from(NAMES)),
)
def test_any_record_is_accounted_for(record: dict[str, Any], changes: dict[str, Any], without: set[str]) -> None:
    """Recognisers never raise, readers raise nothing but BadRecord, and what is counted has been validated."""
    changed = {name: value for name, value in (record | changes).items() if name not in without or name in changes}
    for dialect in DIALECTS:
        if dialect.recognises(changed):
            try:
                event = dialect.read(changed, DELIVERY)
            except BadRecord as bad:
                assert bad.expected
                assert bad.got
            else:
                assert event is None or (event.request_id and event.timestamp.tzinfo)
    collected(changed)
