"""What an address means to the dashboard: the days of a zone, and what nobody would write."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Page

from queries.buckets import midnight
from tests.dashboard.conftest import READY, Look, figures
from tests.dashboard.known import BUSY, NOW

YEARS = [date(2026, 1, 1) + timedelta(days) for days in range(2 * 365)]
DAY = timedelta(days=1)
QUESTION = """async (addresses) => {
    const { question, read } = await import("./dashboard/state.js");
    return addresses.map((address) => question(read(address)));
}"""


async def questions(page: Page, addresses: list[str]) -> list[dict[str, Any]]:
    """What the page asks the API at each address."""
    found: list[dict[str, Any]] = await page.evaluate(QUESTION, addresses)
    return found


HOURS_AT_NOON = """(asked) => {
    const clocks = {};
    return asked.map(([timeZone, day]) => {
        clocks[timeZone] ??= new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "short" });
        return clocks[timeZone].format(new Date(`${day}T12:00Z`));
    });
}"""


async def test_a_day_begins_when_the_api_says(look: Look) -> None:
    """In all zones of the browser of which it knows the same as we (its list may be of another year than ours): about
    each change of clocks, and at the first of January and July."""
    page = await look()
    zones = await page.evaluate("Intl.supportedValuesOf('timeZone')")
    asked = [(zone, day) for zone in zones for day in _days_to_look_at(ZoneInfo(zone))]
    shown = await page.evaluate(HOURS_AT_NOON, [(zone, str(day)) for zone, day in asked])
    odd = {zone for (zone, day), told in zip(asked, shown, strict=True) if told != _noon(day, zone)}
    assert len(zones) - len(odd) > 400
    assert not odd & {"America/Santiago", "Atlantic/Azores", "Africa/Cairo"}  # change at midnight
    asked = [(zone, day) for zone, day in asked if zone not in odd]
    told = await questions(page, [f"#range=custom&from={day}&to={day}&tz={quote(zone)}" for zone, day in asked])
    wrong = [
        (zone, day, each["from"], each["to"])
        for (zone, day), each in zip(asked, told, strict=True)
        if (each["from"], each["to"]) != (_text(day, zone), _text(day + DAY, zone))
    ]
    assert not wrong, wrong[:5]


def _noon(day: date, zone: str) -> str:
    """What the zone's clocks show at noon of UTC."""
    return f"{datetime(day.year, day.month, day.day, 12, tzinfo=UTC).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _days_to_look_at(zone: ZoneInfo) -> list[date]:
    """Between changes of clocks all days are alike."""
    offsets = [datetime(day.year, day.month, day.day, 12, tzinfo=zone).utcoffset() for day in YEARS]
    changes = [number for number in range(1, len(YEARS)) if offsets[number] != offsets[number - 1]]
    near = {number + days for number in changes for days in (-2, -1, 0, 1)}
    return [day for number, day in enumerate(YEARS) if number in near or (day.day, day.month % 6) == (1, 1)]


def _text(day: date, zone: str) -> str:
    return midnight(day, ZoneInfo(zone)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_names_that_every_object_has_are_no_filters(look: Look) -> None:
    """They came from another view, too: its figures do not stay."""
    page = await look("#range=24h&tz=UTC")
    names = await page.evaluate("Object.getOwnPropertyNames(Object.prototype)")
    assert "__proto__" in names
    plain = (await questions(page, ["#tz=UTC"]))[0]
    for each in await questions(
        page, [f"#tz=UTC&{name}={value}" for name in names for value in ("1", "x&range=" + name)]
    ):
        assert each == plain
    await page.evaluate(f"location.hash = '#toString=1&app={BUSY}&tz=UTC'")
    await page.wait_for_selector(f"{READY} .heading:has-text('App: ')")
    await page.wait_for_selector(f"{READY} .tiles")
    assert await page.locator(".chip").all_inner_texts() == [f"App: {BUSY} ×"]
    assert int((await figures(page))["calls"]) > 0


ASKED = {
    "from=2026-11-20&to=2026-11-10": ("2026-11-10T00:00:00Z", "2026-11-21T00:00:00Z"),
    "from=2026-02-31&to=2026-11-10": None,
    "from=0050-01-01&to=2026-11-10": None,
    "from=2026-11-10": None,
    "from=2026-11-10&to=x": None,
}


async def test_days_in_any_order_and_days_that_there_are_not(look: Look) -> None:
    page = await look("#range=24h")
    week, *asked = await questions(page, ["#range=7d&tz=UTC", *(f"#range=custom&{each}&tz=UTC" for each in ASKED)])
    expected = [days or (week["from"], week["to"]) for days in ASKED.values()]
    assert [(each["from"], each["to"]) for each in asked] == expected


@pytest.mark.parametrize(
    ("zone", "since"),
    [("UTC", "2026-11-19T13:00:00Z"), ("Asia/Kolkata", "2026-11-19T12:30:00Z"), ("utc", "2026-11-19T13:00:00Z")],
)
async def test_the_last_24_hours_are_24_with_the_running_one(look: Look, zone: str, since: str) -> None:
    page = await look(f"#range=24h&measure=calls&tz={zone}")
    asked = (await questions(page, [f"#range=24h&tz={zone}"]))[0]
    assert (asked["from"], asked["to"]) == (since, NOW.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert await page.evaluate("Chart.getChart(document.querySelector('.wide canvas')).data.labels.length") == 24
    heading = await page.locator(".heading").inner_text()
    assert "13:00" in heading if zone.upper() == "UTC" else "18:00" in heading


async def test_the_range_in_the_heading_is_the_one_that_was_answered(look: Look) -> None:
    """In full hours: until the end of the one that runs."""
    page = await look("#tz=UTC")
    assert "14 Nov 2026, 00:00 – 20 Nov 2026, 13:00, UTC" in await page.locator(".heading").inner_text()


async def test_a_zone_is_known_however_it_is_written(look: Look) -> None:
    page = await look()
    asked = await questions(page, ["#tz=utc", "#tz=europe/BERLIN", "#tz=Asia/Kolkata", "#tz=Nowhere/Else"])
    assert [each["tz"] for each in asked] == ["UTC", "Europe/Berlin", "Asia/Kolkata", "Europe/Berlin"]
    for zone in ("Asia/Kolkata", "UTC", "Asia/Kolkata"):  # which this browser lists by its older name
        await page.evaluate(f"location.hash = '#tz={zone}'")
        await page.wait_for_selector(f"{READY} .heading:has-text('{zone}')")
        assert await page.get_by_label("Time zone").input_value() == zone
    assert await page.get_by_label("Time zone").locator("option[value='Asia/Kolkata']").count() == 1
