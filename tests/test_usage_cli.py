"""usage_cli: how people write times, and how numbers are shown to them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_cli import times
from usage_cli.client import Client, ClientError
from usage_cli.tables import count, money, share

BERLIN = ZoneInfo("Europe/Berlin")


def test_a_month_is_that_of_the_zone() -> None:
    start, end = times.month("2026-10", BERLIN)
    assert (start.isoformat(), end.isoformat()) == ("2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00")
    assert times.month("2026-12", ZoneInfo("UTC"))[1] == datetime(2027, 1, 1, tzinfo=UTC)


def test_a_day_is_its_midnight_and_a_time_without_offset_is_of_the_zone() -> None:
    assert times.moment("2026-11-20", BERLIN).isoformat() == "2026-11-20T00:00:00+01:00"
    assert times.moment("2026-11-20T13:00", BERLIN).isoformat() == "2026-11-20T13:00:00+01:00"
    assert times.moment("2026-11-20T13:00:00Z", BERLIN) == datetime(2026, 11, 20, 13, tzinfo=UTC)


def test_a_length_of_time_ends_now() -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    assert times.last("36h", now) == (now - timedelta(hours=36), now)
    assert times.last("2w", now) == (now - timedelta(days=14), now)


@pytest.mark.parametrize("text", ["", "2026", "2026-1", "2026-13", "november"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="month"):
        times.month(text, BERLIN)


@pytest.mark.parametrize(
    ("value", "short"),
    [(0, "0"), (999, "999"), (1000, "1k"), (1_234_567, "1.23M"), (999_999, "1,000k"), (5 * 10**15, "5,000T")],
)
def test_short_counts_keep_three_digits(value: int, short: str) -> None:
    assert count(value, short=True) == short
    assert count(value) == f"{value:,}"


@given(st.decimals(0, 10**9, places=12), st.sampled_from([2, 4]))
def test_money_is_rounded_but_never_to_nothing(amount: Decimal, places: int) -> None:
    shown = money(f"{amount:f}", places)
    assert shown.startswith("<") == (0 < amount < Decimal(1).scaleb(-places))
    assert abs(Decimal(shown.removeprefix("<").replace(",", "")) - amount) <= Decimal(1).scaleb(-places)


def test_no_price_is_not_0() -> None:
    assert (money(None, 2), money("0", 2)) == ("no price", "0.00")


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_only_all_is_100_percent_and_only_none_is_0(part: int, more: int) -> None:
    shown = share(part, part + more)
    assert (shown == "100.0%") == (more == 0 and part > 0)
    assert (shown == "0.0%") == (part == 0 and more > 0)


@pytest.mark.parametrize("url", ["ftp://x", "usage.example.net", "http://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="address"):
        Client(url, {})
