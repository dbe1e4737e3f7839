"""Times in rows: one form, so that texts sort as times do."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rows import utc_text

times = st.datetimes(timezones=st.just(UTC))


@given(times, times)
def test_times_as_texts_sort_as_times_and_are_read_back(one: datetime, other: datetime) -> None:
    assert (utc_text(one) < utc_text(other)) == (one < other)
    assert datetime.fromisoformat(utc_text(one)) == one
    assert len(utc_text(one)) == 27


@pytest.mark.parametrize("zone", [None, timezone(timedelta(hours=1))])
@pytest.mark.parametrize("microsecond", [0, 5])
def test_another_zone_is_refused(zone: timezone | None, microsecond: int) -> None:
    with pytest.raises(ValueError, match="is not in UTC"):
        utc_text(datetime(2026, 11, 20, 12, 0, 0, microsecond, zone))
