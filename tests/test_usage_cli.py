"""usage_cli: how people write times, and how numbers are shown to them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from queries.answer import figures
from queries.parameters import CALL_FILTERS, GROUPS
from usage_cli import times
from usage_cli.client import Client, ClientError
from usage_cli.commands import FILTERS
from usage_cli.tables import LEAST_NAME, count, money, share, usage_table

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


def test_filters_are_those_of_the_api() -> None:
    assert FILTERS == {"report": GROUPS, "calls": CALL_FILTERS}


COUNTED = {
    "calls": 1_234_567, "usage_reported": 1_234_000, "prompt_tokens": 12_345_678_901, "total_tokens": 13_456_789_012,
    "cached_prompt_tokens": 1_234_567_890, "completion_tokens": 1_111_110_111,
}  # fmt: skip
APP = "3f2b8c1d-0a4e-4c55-9d2e-7b1f00aa1122"


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("group_by", [["app"], ["app", "model"]])
def test_in_a_narrow_window_numbers_are_whole_and_names_are_there(width: int, group_by: list[str]) -> None:
    shown = {**figures(COUNTED), "cost": "123456.789012"}
    row = {"app": APP, "model": "gpt-4o-2024-08-06", **shown}
    answer = {"granularity": "total", "group_by": group_by, "totals": shown, "rows": [row, {**row, "app": None}]}
    fitted = usage_table(answer, short=False, width=width)
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(fitted.table)
    text = captured.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("123,456.79") == 3
    assert text.count("13,456,789,012") + text.count("13.5B") == 3
    assert "none" in text
    assert APP[:LEAST_NAME] in text
    assert ("cached" in fitted.missing) == ("cached" not in text)
    assert fitted.missing == [] or width < 140
    assert len(fitted.missing) < 4 or width < 80
