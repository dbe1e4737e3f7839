"""Times in rows: one form, so that texts sort as times do."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from ledger.rows import utc_text

times = st.datetimes(timezones=st.just(UTC))


@given(times, times)
def test_times_as_texts_sort_as_times_and_are_read_back(one: datetime, other: datetime) -> None:
    assert (utc_text(one) < utc_text(other)) == (one < other)
    assert datetime.fromisoformat(utc_text(one)) == one
    assert len(utc_text(one)) == 27


class OfTheSdk(datetime):
    """As azure-data-tables makes them: a row's Timestamp is of a class of its own."""


def test_a_time_of_the_sdks_own_kind_is_one() -> None:
    assert utc_text(OfTheSdk(2026, 11, 20, 12, tzinfo=UTC)) == "2026-11-20T12:00:00.000000Z"
