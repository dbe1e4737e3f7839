"""What the dashboard shows instead of figures, to whom, and on what: keys, sign-in, faults, phones, paper, keyboard."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route

import services
from tests.dashboard.conftest import READY, Look, api, figures, shot
from tests.dashboard.known import BUSY, HOSTILE, NAMES, READER
from tests.queries.filled import fill
from tests.support.events import usage_event
from tests.support.principals import SIGN_IN, signed_in
from tests.support.served import served

KEY = "right+key/with=signs"
DATA = "**/api/usage*"
AXE = Path(__file__).parents[2] / "node_modules/axe-core/axe.min.js"
WEEK = "from=2026-11-13T23:00:00Z&to=2026-11-20T12:10:00Z&tz=Europe/Berlin"


async def with_keys(page: Page) -> None:
    """As the platform does: no answer without the key, and none with a body of ours."""

    async def guard(route: Route) -> None:
        if "/api/dashboard" in route.request.url or route.request.headers.get("x-functions-key") == KEY:
            await route.continue_()
        else:
            await route.fulfill(status=401)

    await page.route("**/api/**", guard)


async def test_a_key_is_typed_once_and_kept_in_the_session_only(look: Look) -> None:
    asked: list[str] = []

    async def before(page: Page) -> None:
        await with_keys(page)
        page.on("request", lambda request: asked.append(request.url))

    page = await look(before=before)
    await page.get_by_label("Key of the function app").fill("wrong")
    await page.get_by_role("button", name="Show the figures").click()
    await page.get_by_text("does not take this key").wait_for()
    await shot(page, "key")
    await page.get_by_label("Key of the function app").fill(KEY)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{READY} .tiles")
    await page.reload()
    await page.wait_for_selector(f"{READY} .tiles")
    assert asked
    assert not [url for url in [*asked, page.url] if "right" in url or "wrong" in url]
    assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert await (await look(before=with_keys)).get_by_label("Key of the function app").is_visible()


async def test_a_key_that_ends_in_the_middle_is_asked_for_once(look: Look) -> None:
    """And nothing stays that could be taken for figures, whatever part of the page is told first."""
    rotated: list[str] = []

    async def before(page: Page) -> None:
        async def guard(route: Route) -> None:
            if (
                not rotated
                or (rotated == ["Refresh"] and "group_by=model" in route.request.url)
                or "/api/dashboard" in route.request.url
            ):
                await route.continue_()
            else:
                await route.fulfill(status=401)

        await page.route("**/api/**", guard)

    page = await look("#tz=UTC", before=before)
    for again in ("Refresh", "CSV"):
        rotated.append(again)
        await page.get_by_role("button", name=again, exact=True).click()
        await page.get_by_role("heading", name="A key, please").wait_for()
        await page.wait_for_selector(READY)
        assert await page.locator("#key").count() == 1
        assert await page.locator("main > *").count() == 1
        rotated.clear()
        await page.get_by_label("Key of the function app").fill(KEY)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(f"{READY} .tiles")


async def test_a_key_that_came_in_the_address_is_taken_out_of_it(look: Look) -> None:
    page = await look("?code=secret#range=24h")
    assert "secret" not in page.url
    assert "range=24h" in page.url


@pytest.mark.parametrize("prefix", ["api", "usage/v2"])
async def test_a_slash_at_the_end_of_the_path_leads_to_the_same_page(look: Look, url: str, prefix: str) -> None:
    page = await look()
    async with served(prefix) as address:
        await page.goto(f"{address}/{prefix}/dashboard/?code=secret#range=24h&tz=UTC")
        await page.wait_for_selector(f"{READY} .tiles")
        assert page.url == f"{address}/{prefix}/dashboard#range=24h&tz=UTC"


@pytest.fixture
async def sign_in(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The same app with App Service authentication, on the same tables."""
    for name, value in SIGN_IN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(services, "_services", type(services._services)())
    yield
    await services.get().close()


async def test_who_is_not_signed_in_is_led_to_sign_in_and_back_to_the_view(look: Look, sign_in: None) -> None:
    page = await look("#range=30d&tz=UTC&app=a%26b")
    link = page.get_by_role("link", name="Sign in")
    address = await link.get_attribute("href")
    back = "%2Fapi%2Fdashboard%23range%3D30d%26tz%3DUTC%26app%3Da%2526b"
    assert address == f"/.auth/login/aad?post_login_redirect_uri={back}"
    assert await page.locator(".tiles").count() == 0
    await shot(page, "sign-in")


async def test_a_team_sees_its_own(look: Look, url: str, sign_in: None) -> None:
    """All of the page, as if there were no other apps; and what is for operators is not there."""
    headers = signed_in(ids=[READER])
    page = await look("#by=app", extra_http_headers=headers)
    own = (await api(url, f"usage?{WEEK}&granularity=total&group_by=none", headers))["totals"]
    shown = await figures(page)
    assert (shown["calls"], shown["cost"]) == (str(own["calls"]), own["cost"])
    text = await page.locator("body").inner_text()
    assert NAMES[BUSY] in text
    assert not [
        name
        for name in ("search", HOSTILE, "receipts", "set aside", "counted yet", "events are counted")
        if name in text
    ]
    await shot(page, "team")
    other = await look("#app=search", extra_http_headers=headers)
    assert await other.get_by_text("No calls here").is_visible()


async def test_who_reads_all_signed_in_sees_the_lag_but_no_dead_letters(look: Look, sign_in: None) -> None:
    page = await look(extra_http_headers=signed_in("Usage.Read.All"))
    await page.locator(".facts").get_by_text("counted").last.wait_for()
    assert "set aside" not in await page.locator(".facts").inner_text()


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("#range=custom&from=2020-01-01&to=2020-01-02", "No calls here"),
        ("#app=nobody", "pass the filters"),
        ("#status=abc", "expected a status of HTTP"),
        ("#call=nothing", "has this request_id"),
        ("#by=user&range=12m", "QUERY_MAX_CALL_DAYS|rows of calls"),
    ],
)
async def test_nothing_there_and_questions_that_are_refused_are_told_as_such(look: Look, state: str, told: str) -> None:
    page = await look(state)
    text = await page.locator("main").inner_text()
    assert any(each in text for each in told.split("|")), text
    assert await page.locator(".tiles").count() == 0


async def test_not_allowed(look: Look) -> None:
    async def refuse(route: Route) -> None:
        error = {"code": "forbidden", "message": "this needs the role Usage.Admin", "parameter": None}
        await route.fulfill(status=403, json={"error": error})

    page = await look(before=lambda page: page.route(DATA, refuse))
    assert "You may not see this: this needs the role Usage.Admin" in await page.locator("main").inner_text()
    await shot(page, "not-allowed")


@pytest.mark.parametrize("status", [None, 500, 503])
async def test_no_answer_and_then_one(look: Look, status: int | None) -> None:
    async def fail(route: Route) -> None:
        await (route.abort() if status is None else route.fulfill(status=status))

    page = await look(before=lambda page: page.route(DATA, fail))
    assert await page.get_by_role("heading", name="No answer").is_visible()
    await shot(page, "no-answer")
    await page.unroute(DATA)
    await page.get_by_role("button", name="Try again").click()
    await page.wait_for_selector(f"{READY} .tiles")


async def test_an_api_that_never_answers(look: Look) -> None:
    """Longer than Azure lets it take: it is said, and asked again when wanted."""
    page = await look("#tz=UTC")
    asked = asyncio.Event()

    async def hang(route: Route) -> None:
        asked.set()

    await page.route(DATA, hang)
    await page.get_by_role("button", name="Refresh").click()
    await asked.wait()
    await page.clock.run_for(20_000)
    await page.get_by_text("has not answered yet").wait_for()
    await page.clock.run_for(230_000)
    await page.get_by_text("has not answered for 4 minutes").wait_for()
    await page.wait_for_selector(READY)
    await page.unroute(DATA)
    await page.get_by_role("button", name="Try again").click()
    await page.wait_for_selector(f"{READY} .tiles")


async def test_it_says_that_it_is_loading_and_shows_the_last_view_that_was_asked_for(look: Look) -> None:
    page = await look("#range=24h&tz=UTC")
    go = asyncio.Event()

    async def wait(route: Route) -> None:
        await go.wait()
        await route.continue_()

    await page.route(DATA, wait)
    await page.get_by_label("Range").select_option("30d")
    await page.wait_for_selector("main[aria-busy=true] .loading")
    await page.get_by_label("Range").select_option("7d")
    go.set()
    await page.wait_for_selector(f"{READY} .tiles")
    assert "14 Nov 2026" in await page.locator(".heading").inner_text()


VIEWS: dict[str, tuple[str, dict[str, Any]]] = {
    "light": (f"#by=app&app={BUSY}", {}),
    "dark": (f"#by=app&app={BUSY}", {"color_scheme": "dark"}),
    "phone": ("#by=app&tz=UTC", {"width": 375}),
    "call": (f"#call=call-3-0&app={BUSY}", {"width": 375, "color_scheme": "dark"}),
}


@pytest.mark.parametrize("width", [320, 360])
async def test_a_long_filter_is_no_wider_than_a_phone(look: Look, width: int) -> None:
    page = await look(f"#tz=UTC&app={READER}&model={'m' * 200}", width=width)
    assert await page.locator(".chip").count() == 2
    assert await page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("name", VIEWS)
async def test_axe_finds_no_fault_and_nothing_is_wider_than_the_screen(look: Look, name: str) -> None:
    state, options = VIEWS[name]
    page = await look(state, **options)
    await page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
    await page.evaluate(AXE.read_text("utf-8"))
    found = (await page.evaluate("axe.run({ resultTypes: ['violations'] })"))["violations"]
    assert not [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in found]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await shot(page, f"view-{name}")


async def test_a_keyboard_is_enough(look: Look) -> None:
    page = await look("#by=model")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.closest('.legend') !== null"):
            break
    name = await page.evaluate("document.activeElement.textContent")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(f"{READY} .heading:has-text('Model: {name}')")
    await page.locator(".wide summary").focus()
    await page.keyboard.press("Enter")
    await page.locator(".wide tbody tr").first.wait_for()


COLOURS = """(() => {
    const chart = Chart.getChart(document.querySelector(".wide canvas"));
    const swatches = document.querySelectorAll(".wide .legend .swatch");
    return [...swatches].map((swatch, number) => {
        const bar = chart.getDatasetMeta(number).data.toSorted((a, b) => b.height - a.height)[0];
        const at = bar.getCenterPoint(), ratio = chart.currentDevicePixelRatio;
        const pixel = [...chart.ctx.getImageData(at.x * ratio, at.y * ratio, 1, 1).data];
        return [bar.options.backgroundColor, getComputedStyle(swatch).backgroundColor, pixel];
    });
})()"""
"""Of each series that of a bar, of its key in the legend, and of a pixel in the middle of its tallest bar."""


async def same_colours(page: Page, media: str) -> None:
    """Waits until each series is drawn in the colour of its key."""
    for _ in range(100):
        found = await page.evaluate(COLOURS)
        if all(key == f"rgb({pixel[0]}, {pixel[1]}, {pixel[2]})" for _, key, pixel in found):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"on {media}: {found}")


async def test_on_paper_it_is_light_without_controls(look: Look) -> None:
    page = await look(f"#by=app&app={BUSY}", color_scheme="dark")
    await page.emulate_media(media="print", color_scheme="light")
    assert not await page.locator("form.controls").is_visible()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    await same_colours(page, "print")
    assert (await page.evaluate(COLOURS))[0] == ["#2f6fa7", "rgb(47, 111, 167)", [47, 111, 167, 255]]
    pdf = await page.pdf(path=Path(".screenshots") / "paper.pdf", format="A4")
    assert pdf.startswith(b"%PDF")
    await shot(page, "paper")
    await page.emulate_media(media="screen", color_scheme="dark")
    await same_colours(page, "screen, dark")
    await page.emulate_media(media="screen", color_scheme="light")
    await same_colours(page, "screen, light")
    await page.emulate_media(media="print", color_scheme="dark")
    await same_colours(page, "print, dark")


LONG = "an-app-with-a-name-that-is-longer-than-a-line-" * 3
MODEL = "vertex_ai/publishers/anthropic/models/claude-opus-4-5-20260101-preview-eu"
BUDGET: dict[str, Any] = {
    "id": "b" * 60,
    "app": LONG,
    "cost_center": None,
    "model": MODEL,
    "period": "month",
    "tz": "UTC",
    "unit": "tokens",
    "limit": "1000000000",
    "etag": "1",
    "status": None,
}
CUT = """[...document.querySelectorAll("table")].filter(each => each.checkVisibility()).map(each => [
    each.caption.textContent,
    each.getBoundingClientRect().right - each.closest(".card").getBoundingClientRect().right,
    getComputedStyle(each.parentElement).overflow,
])"""
"""Of each table by how much it is wider than its card, and whether what is wider or higher is cut off."""


async def test_no_table_is_cut_off_on_paper(look: Look) -> None:
    """A4 between margins of a centimetre, with names as long as they come and numbers of nine digits."""
    cached = {"cached_tokens": 12_345_678}
    usage = {"prompt_tokens": 123_456_789, "completion_tokens": 1_234_567, "prompt_tokens_details": cached}
    times = [f"2026-10-{day}T{hour:02}:00:00Z" for day in (17, 18) for hour in range(24)]
    sent = [
        usage_event(app_id=app, request_id=f"{app}{time}", response_model=MODEL, timestamp=time, usage=usage)
        for app in (LONG, *(f"{number}-{LONG[:40]}" for number in range(9)))
        for time in (times if app == LONG else times[:1])
    ]
    await fill(services.get(), [(event, "0") for event in sent])
    answer = {"budgets": [BUDGET], "next_cursor": None}
    days = "range=custom&from=2026-10-17&to=2026-10-18&tz=UTC"
    tables = 0
    for state in (f"{days}&by=app", f"{days}&by=app&measure=total_tokens&app={LONG}"):
        page = await look(
            f"#{state}",
            width=717,
            before=lambda page: page.route("**/api/budgets?*", lambda route: route.fulfill(json=answer)),
        )
        await page.locator(".card tbody tr", has_text=BUDGET["id"]).wait_for()
        await page.eval_on_selector_all("details", "all => all.forEach(each => { each.open = true; })")
        await page.locator("details tbody tr").nth(4 * 48 - 1).wait_for()
        await page.emulate_media(media="print")
        found = await page.evaluate(CUT)
        assert not [each for each in found if each[1] > 0 or each[2] != "visible"], found
        assert await page.evaluate("document.documentElement.scrollWidth") == 717
        tables += len(found)
        await shot(page, f"paper-{tables}")
    assert tables >= 12


@pytest.mark.parametrize(
    "state", ["range=custom&from=2025-11-01&to=2026-11-20&granularity=day", "range=7d&granularity=hour"]
)
async def test_no_answer_is_larger_than_a_megabyte(look: Look, state: str) -> None:
    """The most rows that are ever asked for: more apps than the largest, or more calls, do not make them more."""
    sizes: dict[str, int] = {}

    async def before(page: Page) -> None:
        async def note(route: Route) -> None:
            response = await route.fetch()
            sizes[route.request.url] = len(await response.body())
            await route.fulfill(response=response)

        await page.route("**/api/**", note)

    page = await look(f"#by=app&measure=cost&{state}", before=before)
    await page.unroute_all(behavior="wait")  # what is told of the collector may still be on its way
    assert len(sizes) > 5
    assert max(sizes.values()) < 1_000_000, sizes
