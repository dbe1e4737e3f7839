"""The dashboard's controls by keyboard: none is replaced under who uses it, and what is typed is taken when whole."""

from playwright.async_api import Page, expect

from tests.dashboard.conftest import READY, Look, figures
from tests.dashboard.known import BUSY, HOSTILE


async def focused(page: Page) -> str:
    """The name of what has the focus."""
    name: str = await page.evaluate(
        "(document.activeElement.labels?.[0] ?? document.activeElement).firstChild?.data ?? ''"
    )
    return name


async def settled(page: Page) -> None:
    await page.wait_for_selector(READY)


async def test_a_zone_is_typed_and_a_range_is_stepped_through(look: Look) -> None:
    page = await look("#range=month&tz=UTC")
    await page.get_by_label("Time zone").focus()
    await page.keyboard.type("America/New_Y")
    await settled(page)
    assert (await focused(page), await page.get_by_label("Time zone").input_value()) == (
        "Time zone",
        "America/New_York",
    )
    assert "tz=America%2FNew_York" in page.url
    await page.get_by_label("Range").focus()
    for expected in ("last-month", "12m", "custom"):
        await page.keyboard.press("ArrowDown")
        await settled(page)
        assert (await focused(page), await page.get_by_label("Range").input_value()) == ("Range", expected)
    assert await page.get_by_label("From").is_visible()
    await page.keyboard.press("ArrowUp")
    await settled(page)
    assert await focused(page) == "Range"
    assert not await page.get_by_label("From").is_visible()


async def test_a_day_is_taken_when_it_is_typed(look: Look) -> None:
    """By Enter, or when the field is left; the other day moves along. The month comes first here."""
    page = await look("#range=custom&from=2026-11-10&to=2026-11-15&tz=UTC")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await page.get_by_label("From").focus()
    await page.keyboard.type("1212202")
    assert await focused(page) == "From"
    assert "from=2026-11-10" in page.url
    assert not asked
    await page.keyboard.type("6")
    assert "from=2026-11-10" in page.url
    await page.keyboard.press("Enter")
    await page.wait_for_url("**from=2026-12-12&to=2026-12-12*")
    await settled(page)
    assert await focused(page) == "From"
    assert await page.get_by_label("To", exact=True).input_value() == "2026-12-12"
    assert "12 Dec 2026, 00:00 – 13 Dec 2026, 00:00" in await page.locator(".heading").inner_text()
    await page.get_by_label("To", exact=True).focus()
    await page.keyboard.type("11112026")
    await page.get_by_role("button", name="Refresh").focus()
    await page.wait_for_url("**from=2026-11-11&to=2026-11-11*")
    await settled(page)
    assert await focused(page) == "Refresh"


async def test_half_a_day_is_not_taken(look: Look) -> None:
    page = await look("#range=custom&from=2026-11-10&to=2026-11-15&tz=UTC")
    await page.get_by_label("From").focus()
    await page.keyboard.press("Delete")
    await page.get_by_role("button", name="Refresh").focus()
    assert await page.get_by_label("From").input_value() == "2026-11-10"
    await page.get_by_label("From").focus()
    await page.keyboard.type("0101" + "0002")
    await page.keyboard.press("Enter")
    assert await page.get_by_label("From").input_value() == "2026-11-10"
    assert "from=2026-11-10&to=2026-11-15" in page.url


async def test_a_day_that_is_picked_is_taken_at_once(look: Look) -> None:
    page = await look("#range=custom&from=2026-11-10&to=2026-11-15&tz=UTC")
    await page.get_by_label("From").fill("2026-11-19")
    await page.wait_for_url("**from=2026-11-19&to=2026-11-19*")


async def test_a_day_follows_the_way_back(look: Look) -> None:
    """A field in which nobody typed changes nothing when it is left; what was half typed is not of the view before."""
    page = await look("#range=custom&from=2026-11-10&to=2026-11-15&tz=UTC")
    field = page.get_by_label("From")
    for keys in ("ArrowRight", "1", "Delete"):
        await field.fill("2026-11-12")
        await page.wait_for_url("**from=2026-11-12*")
        await settled(page)
        await field.focus()
        await page.keyboard.press(keys)
        await page.go_back()
        await page.wait_for_url("**from=2026-11-10*")
        await settled(page)
        assert await focused(page) == "From", keys
        assert await field.input_value() == "2026-11-10", keys
        await page.get_by_label("Measure").focus()
        await settled(page)
        assert "from=2026-11-10" in page.url, keys
        assert "10 Nov 2026, 00:00" in await page.locator(".heading").inner_text()


async def test_a_day_that_is_picked_after_some_keys_is_taken_at_once(look: Look) -> None:
    page = await look("#range=custom&from=2026-11-10&to=2026-11-15&tz=UTC")
    field = page.get_by_label("From")
    await field.focus()
    await page.keyboard.press("ArrowRight")
    await field.fill("2026-11-12")
    await page.wait_for_url("**from=2026-11-12*")


async def test_days_to_choose_are_those_of_the_zone(look: Look) -> None:
    """It is the 21st in Apia when it is still the 20th in UTC."""
    page = await look("#tz=Pacific/Apia")
    await page.get_by_label("Range").select_option("custom")
    await page.wait_for_url("**from=2026-11-15&to=2026-11-21*")


async def test_filters_come_and_go_without_losing_the_focus(look: Look) -> None:
    page = await look(f"#tz=UTC&app={BUSY}&app=search")
    chips = page.locator(".chip")
    await chips.nth(0).focus()
    await page.keyboard.press("Enter")
    await settled(page)
    assert await focused(page) == "App: search"
    await page.keyboard.press("Enter")
    await settled(page)
    assert await focused(page) == "Add a filter"
    await page.keyboard.press("Enter")
    value = page.get_by_label("Value of the filter")
    await value.fill(BUSY)
    await page.keyboard.press("Enter")
    await settled(page)
    await expect(chips).to_have_text([f"App: {BUSY} ×"])
    assert await value.evaluate("each => each === document.activeElement && each.value === ''")


async def test_the_focus_stays_at_the_figures_when_one_of_them_is_followed(look: Look) -> None:
    page = await look("#tz=UTC&by=app")
    await page.locator(".legend button").first.focus()
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{READY} .heading:has-text('App: ')")
    assert await page.evaluate("document.activeElement.id") == "main"
    assert HOSTILE not in await page.title()
    assert (await figures(page))["calls"]
