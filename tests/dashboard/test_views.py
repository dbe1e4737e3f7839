"""Every view of the dashboard against known calls: what is on the page is what the API answers."""

import asyncio
import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Page, Route, expect

import services
from budgets.evaluate import evaluate
from tests.dashboard.conftest import READY, Look, api, figures, put, shot
from tests.dashboard.known import BUSY, HOSTILE, MODELS, NAMES, NOW, QUIET
from tests.queries.filled import fill
from tests.support.events import usage_event

WEEK = "from=2026-11-13T23:00:00Z&to=2026-11-20T12:10:00Z&tz=Europe/Berlin"
"""The last seven days of Berlin."""
CHART = "Chart.getChart(document.querySelector('.wide canvas'))"
TILES = ("cost", "total_tokens", "cache_savings", "calls", "failed_calls", "usage_missing", "unpriced_tokens")


async def test_the_tiles_are_the_totals_of_the_range(look: Look, url: str) -> None:
    page = await look()
    answer = await api(url, f"usage?{WEEK}&granularity=total&group_by=none")
    shown = await figures(page)
    assert {name: shown[name] for name in TILES} == {name: str(answer["totals"][name]) for name in TILES}
    assert (float(shown["p50"]), float(shown["p95"])) == (
        answer["totals"]["latency_ms"]["p50"],
        answer["totals"]["latency_ms"]["p95"],
    )
    assert float(shown["coverage"]) == answer["coverage"]
    assert Decimal(answer["totals"]["cache_savings"]) > 0
    assert answer["totals"]["unpriced_tokens"] > 0
    await shot(page, "overview")


async def test_top_lists_are_the_rows_of_the_api_with_their_change(look: Look, url: str) -> None:
    page = await look("#measure=total_tokens")
    for group, title in (("app", "Top apps"), ("model", "Top models")):
        answer = await api(
            url, f"usage?{WEEK}&granularity=total&group_by={group}&order_by=-total_tokens&compare=previous"
        )
        rows = page.locator(".card", has_text=title).locator("tbody tr")
        assert await rows.count() == len(answer["rows"])
        for number, expected in enumerate(answer["rows"]):
            row = rows.nth(number)
            name = NAMES.get(expected[group], expected[group]) or "(model not told)"
            assert await row.locator("th").inner_text() == name
            exact = await row.locator("data").evaluate_all("found => found.map(each => each.value)")
            assert exact == [expected["cost"] or "", str(expected["total_tokens"]), str(expected["calls"])]
            grown = expected["change"]["total_tokens"] / expected["previous"]["total_tokens"]
            assert (await row.locator("td").last.inner_text()).startswith("-" if grown < 0 else "+")


WITHOUT_PRICE = MODELS[2]
CHANGES = {
    "grown": ([MODELS[0]], [MODELS[0]] * 2, ("+100%", "+100%")),
    "now-partly-priced": ([MODELS[0]], [MODELS[0], WITHOUT_PRICE], ("not known", "+100%")),
    "not-priced-before": ([WITHOUT_PRICE], [MODELS[0]], ("not known", "0%")),
    "new": ([], [MODELS[0]], ("new", "new")),
    "new-not-priced": ([], [WITHOUT_PRICE], ("new", "new")),
}
"""Of apps the models of their calls in a week and in the next, and how their cost and their tokens changed."""


async def test_only_what_had_no_calls_before_is_new(look: Look, url: str) -> None:
    """Where something has no price, nobody knows how much more it costs."""
    sent = [
        usage_event(
            app_id=app, request_id=f"{app}-{day}-{number}", response_model=model, timestamp=f"2026-10-{day}T12:00:00Z"
        )
        for app, (before, after, _) in CHANGES.items()
        for day, models in (("08", before), ("15", after))
        for number, model in enumerate(models)
    ]
    await fill(services.get(), [(event, "0") for event in sent])
    for number, measure in enumerate(("cost", "total_tokens")):
        page = await look(f"#range=custom&from=2026-10-13&to=2026-10-19&tz=UTC&measure={measure}")
        rows = page.locator(".card", has_text="Top apps").locator("tbody tr")
        told = {
            await row.locator("th").inner_text(): await row.locator("td").last.inner_text() for row in await rows.all()
        }
        assert told == {app: changes[number] for app, (_, _, changes) in CHANGES.items()}


@pytest.mark.parametrize(("by", "measure"), [("model", "cost"), ("app", "calls"), ("cost_center", "total_tokens")])
async def test_the_chart_and_its_table_add_up_to_the_total(look: Look, url: str, by: str, measure: str) -> None:
    """To the last digit of an amount: what is not among the largest is the difference."""
    page = await look(f"#by={by}&measure={measure}&range=30d")
    drawn = await page.evaluate(
        "Chart.getChart(document.querySelector('.wide canvas')).data.datasets.map(set => set.data)"
    )
    month = "from=2026-10-21T22:00:00Z&to=2026-11-20T12:10:00Z&tz=Europe/Berlin&granularity=day&fill=zero"
    expected = (await api(url, f"usage?{month}&group_by=none"))["rows"]
    sums = [sum(values) for values in zip(*drawn, strict=True)]
    assert sums == pytest.approx([float(row[measure] or 0) for row in expected])
    details = page.locator(".wide details")
    await details.locator("summary").click()
    await expect(details.locator("tbody tr")).to_have_count(len(expected))  # it is made when it is first opened
    assert len(expected) == 30
    assert await details.locator("thead th").count() == len(drawn) + 1


async def test_others_are_what_is_left(look: Look) -> None:
    """In the browser's own modules: exact, with amounts of any length."""
    page = await look()
    left = await page.evaluate(
        """async () => {
            const { plus, minus } = await import("./dashboard/amounts.js");
            const tiny = "0.000000000000000001";
            const long = plus("9".repeat(30), 1);
            return [plus("0.1", "0.2"), minus("1", tiny), plus("-5", "2.50"), minus("3", null), long];
        }"""
    )
    assert left == ["0.3", "0.999999999999999999", "-2.5", "3", "1" + "0" * 30]


async def test_usage_is_told_apart_by_how_it_is_known_and_what_has_no_price(look: Look, url: str) -> None:
    page = await look()
    totals = (await api(url, f"usage?{WEEK}&granularity=total&group_by=none"))["totals"]
    shown = await figures(page, ".cards")
    for name in (
        "usage_reported",
        "usage_estimated",
        "usage_missing",
        "missing_error_response",
        "missing_not_requested",
    ):
        assert shown[name] == str(totals[name])
    missing = page.locator(".card", has_text="Not priced").locator("table").last
    assert await missing.locator("tbody th").all_inner_texts() == ["(model not told)", "somebody's-own"]


async def test_from_a_bar_to_an_app_to_its_calls_to_one_call_and_back(look: Look, url: str) -> None:
    page = await look("#by=app&measure=calls")
    bar = await page.evaluate(f"(({{ x, y }}) => ({{ x, y }}))({CHART}.getDatasetMeta(0).data[2].getCenterPoint())")
    await page.locator(".wide canvas").click(position=bar)
    await page.wait_for_url(f"**#*app={BUSY}*")
    await page.wait_for_selector(f"{READY} .heading:has-text('App: {NAMES[BUSY]}')")
    await page.wait_for_selector(READY)
    assert (await figures(page))["calls"] == str(
        (await api(url, f"usage?{WEEK}&granularity=total&app={BUSY}"))["totals"]["calls"]
    )
    listed = (await api(url, f"calls?app={BUSY}&from=2026-11-13T23:00:00Z&to=2026-11-20T12:10:00Z&limit=50"))["calls"]
    calls = page.locator(".card", has_text="Calls, one by one")
    await calls.get_by_text("Show more").click()
    await calls.locator("tbody tr").nth(49).wait_for()
    models = await calls.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert models == [call["model"] or "–" for call in listed]
    await shot(page, "app")
    await calls.locator("tbody button").first.click()
    await page.wait_for_selector(f"{READY} .why")
    one = await api(
        url, f"calls/{listed[0]['request_id']}?app={BUSY}&from=2026-11-13T00:00:00Z&to=2026-11-20T13:00:00Z"
    )
    assert await page.locator(".why li").all_inner_texts() == one["calls"][0]["why"]
    await shot(page, "call")
    await page.get_by_text("← Back").click()
    await page.wait_for_selector(f"{READY} .tiles")


async def test_the_address_of_a_call_finds_it_weeks_later_and_leads_to_its_app(look: Look, url: str) -> None:
    page = await look(f"#range=24h&app={BUSY}")
    calls = page.locator(".card", has_text="Calls, one by one")
    await calls.locator("tbody button").first.click()
    await page.wait_for_selector(f"{READY} .why")
    address = "#" + page.url.partition("#")[2]
    assert "from=2026-11-19&to=2026-11-21" in address

    async def later(page: Page) -> None:
        await page.clock.set_fixed_time(NOW + timedelta(weeks=6))

    other = await look(address, before=later)
    assert await other.locator(".why li").all_inner_texts() == await page.locator(".why li").all_inner_texts()
    await other.get_by_text("← Back").click()
    await other.wait_for_selector(f"{READY} .tiles")
    assert f"App: {NAMES[BUSY]}" in await other.locator(".heading").inner_text()
    await page.get_by_text("← Back").click()
    await page.wait_for_url("**range=24h*")


async def test_a_range_that_only_its_zone_makes_impossible_is_shown_in_utc_by_a_click(look: Look) -> None:
    days = "range=custom&from=2026-09-15&to=2026-11-20&granularity=day"
    page = await look(f"#{days}&tz=Asia/Kolkata")
    await page.get_by_role("button", name="Show it in UTC").first.click()
    await page.wait_for_selector(f"{READY} .tiles")
    await page.wait_for_url("**tz=UTC*")
    assert await page.locator(".notice").count() == 0
    assert len(await page.evaluate(f"{CHART}.data.labels")) == 67


async def test_a_shared_address_shows_the_same_view(look: Look) -> None:
    page = await look()
    await page.get_by_label("Range").select_option("24h")
    await page.wait_for_selector(READY)
    await page.get_by_label("Stacked by").select_option("app")
    await page.get_by_label("Time zone").select_option("America/New_York")
    await page.wait_for_selector(READY)
    other = await look("#" + page.url.partition("#")[2], timezone_id="Asia/Tokyo")
    assert await figures(other) == await figures(page)
    assert await other.locator(".heading").inner_text() == await page.locator(".heading").inner_text()
    assert "America/New_York" in await other.locator(".heading").inner_text()


@pytest.mark.parametrize(
    ("state", "rows"),
    [("range=7d&granularity=hour", 7 * 24 - 10), ("range=12m", 12), ("range=custom&from=2026-11-07&to=2026-11-08", 48)],
)
async def test_hours_days_and_months(look: Look, state: str, rows: int) -> None:
    page = await look(f"#{state}&tz=Europe/Berlin")
    labels = await page.evaluate(f"{CHART}.data.labels")
    assert len(labels) == rows


async def test_the_csv_is_what_is_seen(look: Look, url: str) -> None:
    page = await look("#by=app&tz=Europe/Berlin")
    rows = await saved(page, "CSV")
    expected = (await api(url, f"usage?{WEEK}&granularity=day&group_by=app"))["rows"]
    assert [(row["start"], row["app"], row["cost"]) for row in rows] == [
        (row["start"], row["app"], row["cost"] or "") for row in expected
    ]


async def test_the_csv_is_of_the_range_that_is_shown_however_late_it_is_taken(look: Look, url: str) -> None:
    page = await look(f"#range=24h&tz=UTC&by=app&app={BUSY}")
    calls = (await figures(page))["calls"]
    await page.clock.set_fixed_time(NOW + timedelta(hours=5))
    for name, column in (("CSV", "calls"), ("These calls as CSV", "request_id")):
        rows = await saved(page, name)
        assert sum(int(row[column]) if column == "calls" else 1 for row in rows) == int(calls)


async def test_a_list_has_a_csv_with_all_groups_and_their_change(look: Look, url: str) -> None:
    page = await look("#tz=Europe/Berlin")
    for group in ("app", "model"):
        rows = await saved(page, f"All {group}s as CSV")
        expected = (await api(url, f"usage?{WEEK}&granularity=total&group_by={group}&compare=previous"))["rows"]
        columns = ("cost", "total_tokens", "calls")
        assert [[row[group], *(row[name] for name in columns)] for row in rows] == [
            [row[group] or "", *(str(row[name] if row[name] is not None else "") for name in columns)]
            for row in expected
        ]
        for of in ("previous", "change"):
            assert [row[f"{of}_total_tokens"] for row in rows] == [str(row[of]["total_tokens"]) for row in expected]


async def saved(page: Page, button: str) -> list[dict[str, str]]:
    """The rows of the CSV that a button saves."""
    async with page.expect_download() as download:
        await page.get_by_role("button", name=button, exact=True).click()
    text = (await (await download.value).path()).read_text("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


async def test_hostile_names_are_text(look: Look) -> None:
    """In tables, legends, filters and headings."""
    page = await look(f"#by=app&app={quote(HOSTILE)}")
    assert HOSTILE in await page.locator(".heading").inner_text()
    assert await page.locator(".heading img").count() == 0
    assert await page.locator(".chip").inner_text() == f"App: {HOSTILE} ×"
    page = await look("#by=app")
    assert await page.locator(".legend").first.get_by_text(HOSTILE).count() == 1
    assert await page.locator("main img").count() == 0
    assert await page.title() == "LLM usage"


async def test_how_old_the_figures_are_and_what_was_set_aside(look: Look) -> None:
    page = await look()
    facts = page.locator(".facts")
    await facts.get_by_text("1 record is set aside").wait_for()
    assert re.search(r"newest figure counted (now|\d+ (second|minute)s? ago)", await facts.inner_text())
    await facts.get_by_text(re.compile("counted yet|are counted$")).wait_for()


async def test_money_that_is_not_known_is_not_0(look: Look) -> None:
    page = await look("#model=somebody's-own")
    tile = page.locator(".tile").first
    assert "not priced" in await tile.inner_text()
    assert "$0" not in await tile.inner_text()


async def test_numbers_are_written_as_the_reader_writes_them(look: Look) -> None:
    page = await look("#range=24h&tz=UTC", locale="de-DE")
    cost: Any = (await figures(page))["cost"]
    shown = await page.locator(".tile data").first.inner_text()
    assert re.fullmatch(r"\d+,\d\d\s\$", shown)
    assert shown.startswith(f"{Decimal(cost):.2f}".replace(".", ","))


MONTH = {"period": "month", "tz": "UTC", "thresholds": [50, 100]}
BUDGETS: dict[str, dict[str, Any]] = {
    "unpriced": {**MONTH, "model": "somebody's-own", "unit": "USD", "limit": "1"},
    "chat": {**MONTH, "app": BUSY, "unit": "tokens", "limit": "1000000"},
    "invoices": {**MONTH, "app": QUIET, "unit": "tokens", "limit": "1000000"},
    "all": {**MONTH, "unit": "USD", "limit": "1000"},
    "elsewhere": {**MONTH, "cost_center": "4711", "unit": "USD", "limit": "1"},
}


@pytest.fixture(scope="module")
async def budgets(url: str) -> dict[str, Any]:
    """As the timer finds them as of the known calls, those first that nobody knows the use of, then the most used."""
    for name, budget in BUDGETS.items():
        await asyncio.to_thread(put, f"{url}/api/budgets/{name}", budget)
    await evaluate(services.get(), now=lambda: NOW)
    found = {budget["id"]: budget for budget in (await api(url, "budgets"))["budgets"]}
    assert [found[name]["status"]["percent"] is None for name in BUDGETS] == [True, False, False, False, False]
    assert float(found["chat"]["status"]["percent"]) > 100
    return {name: found[name] for name in BUDGETS}


async def test_budgets_with_their_projection_and_what_was_raised(look: Look, url: str, budgets: dict[str, Any]) -> None:
    page = await look()
    card = page.locator(".card", has=page.get_by_role("heading", name="Budgets"))
    await card.locator("tbody tr").last.wait_for()
    for number, name in enumerate(BUDGETS):
        row, status = card.locator("tbody tr").nth(number), budgets[name]["status"]
        assert (await row.locator("th").inner_text()).startswith(name)
        exact = await row.locator("data").evaluate_all("found => found.map(each => each.value)")
        known = [status["actual"], status["projected"]] if status["actual"] is not None else []
        assert exact == [*known, budgets[name]["limit"]]
    assert NAMES[BUSY] in await card.locator("tbody tr").nth(1).inner_text()
    raised = (await api(url, "alerts"))["alerts"]
    assert {alert["budget"] for alert in raised} == {"chat", "invoices"}
    told = await card.locator(".alerts li").all_inner_texts()
    for text, alert in zip(told, raised, strict=True):
        summary = alert["summary"].replace(alert["app"], NAMES[alert["app"]], 1)
        assert text.endswith(f"{alert['threshold']} % Budget {alert['budget']}: {summary}")
    await shot(page, "budgets")


@pytest.mark.parametrize(
    ("days", "evaluated", "left"),
    [
        (0, "Evaluated 20 Nov 2026, 13:10", "11 d"),
        (8, "Not evaluated since 20 Nov 2026, 13:10 (8 days ago)", "3 d"),
        (11, "Not evaluated since 20 Nov 2026, 13:10 (11 days ago)", "ended"),
    ],
)
async def test_budgets_say_as_of_when_they_are(
    look: Look, budgets: dict[str, Any], days: int, evaluated: str, left: str
) -> None:
    """What is left is counted from now; a period that is over is not told as the one that runs."""

    async def before(page: Page) -> None:
        async def as_if_one_was_left_out(route: Route) -> None:
            answer = await (response := await route.fetch()).json()
            status = next(each for each in answer["budgets"] if each["id"] == "invoices")["status"]
            status["as_of"] = "2026-11-20T11:05:30Z"
            await route.fulfill(response=response, json=answer)

        await page.route("**/api/budgets?*", as_if_one_was_left_out)
        await page.clock.set_fixed_time(NOW + timedelta(days=days))

    page = await look("#range=custom&from=2026-11-14&to=2026-11-20&tz=Europe/Berlin", before=before)
    card = page.locator(".card", has=page.get_by_role("heading", name="Budgets"))
    await card.locator("tbody tr").last.wait_for()
    line = card.locator(".evaluated")
    assert await line.inner_text() == evaluated
    assert ("warn" in str(await line.get_attribute("class"))) == (days > 0)
    rows = card.locator("tbody tr")
    assert await rows.locator("td:last-child").all_inner_texts() == [left] * len(budgets)
    ended = "of the period until 1 Dec 2026, 01:00"
    assert [ended in text for text in await rows.all_inner_texts()] == [left == "ended"] * len(budgets)
    assert ["as of 20 Nov 2026, 12:05" in text for text in await rows.all_inner_texts()] == [
        name == "invoices" for name in BUDGETS
    ]


async def test_budgets_of_several_pages_are_all_there(look: Look, budgets: dict[str, Any]) -> None:
    asked = []

    async def smaller(route: Route) -> None:
        asked.append(route.request.url)
        await route.continue_(url=route.request.url.replace("limit=250", "limit=2"))

    page = await look(before=lambda page: page.route("**/api/budgets?*", smaller))
    card = page.locator(".card", has=page.get_by_role("heading", name="Budgets"))
    await card.locator("tbody tr").last.wait_for()
    assert await card.locator("tbody tr").count() == len(budgets)
    assert len(asked) == -(-len(budgets) // 2)


async def test_a_budget_of_what_has_no_price_is_not_at_0(look: Look, budgets: dict[str, Any]) -> None:
    page = await look()
    row = page.locator("tr", has_text="unpriced")
    await row.wait_for()
    used = row.locator("td").first
    assert await used.inner_text() == "not priced +?"
    missing = budgets["unpriced"]["status"]["unpriced_tokens"]
    assert await used.locator("abbr").get_attribute("title") == f"{missing:,} tokens not priced"


async def test_an_app_has_its_own_budgets_and_alerts_and_those_of_everything(
    look: Look, budgets: dict[str, Any]
) -> None:
    page = await look(f"#app={BUSY}")
    card = page.locator(".card", has=page.get_by_role("heading", name="Budgets"))
    await card.locator("tbody tr").last.wait_for()
    shown = [text.split("\n")[0] for text in await card.locator("tbody th").all_inner_texts()]
    assert shown == ["unpriced", "chat", "all"]
    told = await card.locator(".alerts li").all_inner_texts()
    assert told
    assert all("Budget chat: Support chat used" in text for text in told)


async def test_a_cost_centre_has_the_budgets_and_alerts_of_its_apps_only(
    look: Look, url: str, budgets: dict[str, Any]
) -> None:
    await asyncio.to_thread(put, f"{url}/api/apps/{BUSY}", {"display_name": NAMES[BUSY], "cost_center": "cc1"})
    for state, expected in (
        ("cost_center=cc1", ["unpriced", "chat", "all"]),
        ("cost_center=4711", ["elsewhere", "unpriced", "all"]),
        (f"cost_center=cc1&app={QUIET}", ["unpriced", "all"]),
        (f"cost_center=cc1&model={MODELS[0]}", ["chat", "all"]),
    ):
        page = await look(f"#tz=UTC&{state}")
        card = page.locator(".card", has=page.get_by_role("heading", name="Budgets"))
        await card.locator("tbody tr").last.wait_for()
        shown = [text.split("\n")[0] for text in await card.locator("tbody th").all_inner_texts()]
        assert sorted(shown) == sorted(expected), state
        told = await card.locator(".alerts li").all_inner_texts()
        assert bool(told) == ("chat" in expected), state
        assert all("Budget chat" in text for text in told)


async def test_budgets_and_the_month_are_there_without_calls_too(look: Look, url: str, budgets: dict[str, Any]) -> None:
    page = await look("#range=custom&from=2020-01-01&to=2020-01-02&tz=Europe/Berlin")
    await page.get_by_text("No calls here").wait_for()
    await page.locator(".card tbody tr", has_text="chat").wait_for()
    month = "from=2026-10-31T23:00:00Z&to=2026-11-20T12:10:00Z&tz=Europe/Berlin"
    cost = (await api(url, f"usage?{month}&granularity=total&group_by=none"))["totals"]["cost"]
    assert await figures(page, ".month") == {"month_cost": cost}
    assert "by the month’s end at this rate" in await page.locator(".month").inner_text()


@pytest.mark.parametrize(("rows", "told"), [(1, r"All others: \$\d+\.\d\d \+\?, "), (2, "All others: not priced, ")])
async def test_others_without_a_price_are_not_told_as_0(look: Look, url: str, rows: int, told: str) -> None:
    """As with more models than the list has rows: only its length is another."""

    async def shorten(page: Page) -> None:
        async def shorter(route: Route) -> None:
            await route.continue_(url=route.request.url.replace("limit=10", f"limit={rows}"))

        await page.route("**/api/usage*", shorter)

    page = await look(before=shorten)
    card = page.locator(".card", has=page.get_by_role("heading", name="Top models"))
    assert await card.locator("tbody tr").count() == rows
    text = await card.locator("p.quiet").inner_text()
    assert re.match(told, text), text
    totals = (await api(url, f"usage?{WEEK}&granularity=total&group_by=none"))["totals"]
    assert f"{totals['unpriced_tokens']:,} tokens not priced" in text
    await card.get_by_role("button", name="Most tokens first").click()
    await page.wait_for_url("**measure=total_tokens*")


async def test_a_cost_chart_without_a_price_says_so(look: Look) -> None:
    page = await look("#model=somebody's-own")
    chart = page.locator(".card.wide").first
    assert "Nothing here has a price" in await chart.inner_text()
    assert await chart.locator("canvas").count() == 0


async def test_no_tick_of_an_axis_is_told_twice(look: Look) -> None:
    for state in (f"#measure=calls&range=24h&app={QUIET}", "#range=24h&granularity=hour", f"#range=24h&app={QUIET}"):
        page = await look(state)
        axes = await page.eval_on_selector_all(
            "canvas", "found => found.map(each => Chart.getChart(each).scales.y.ticks.map(tick => tick.label))"
        )
        assert len(axes) == 4
        assert all(len(set(labels)) == len(labels) for labels in axes), axes
