"""Names and hours on the dashboard that could be read wrongly: signs that turn text, clocks that show an hour twice."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import pytest

import services
from tests.dashboard.conftest import Look, put
from tests.dashboard.known import QUIET
from tests.queries.filled import fill
from tests.support.events import usage_event

TURNED = "pay\u202egnp.exe\u2066\u2028\u200bend"
SEEN = "pay\ufffdgnp.exe\ufffd\ufffd\ufffdend"


@pytest.fixture
async def turned(url: str) -> AsyncIterator[None]:
    """An app under such a name, which keeps its own."""
    await asyncio.to_thread(put, f"{url}/api/apps/{QUIET}", {"display_name": "Rechnungen \u0627\u200c\u0628 \u202eab"})
    yield
    await asyncio.to_thread(put, f"{url}/api/apps/{QUIET}", {"display_name": None})


async def test_signs_that_turn_text_are_seen(look: Look, turned: None) -> None:
    """In lists, legends, tooltips, headings and filters; joiners, which scripts need, stay."""
    page = await look(f"#tz=UTC&app={quote(TURNED)}")
    assert await page.locator(".chip").inner_text() == f"App: {SEEN} ×"
    assert await page.locator(".chip").get_attribute("aria-label") == f"Remove the filter App: {SEEN}"
    assert quote(TURNED) in page.url
    page = await look("#tz=UTC&by=app&measure=calls")
    name = "Rechnungen \u0627\u200c\u0628 \ufffdab"
    assert name in await page.locator(".legend").first.inner_text()
    drawn = await page.evaluate(
        "Chart.getChart(document.querySelector('.wide canvas')).data.datasets.map(each => each.label)"
    )
    assert name in drawn
    assert "\u202e" not in await page.locator("body").inner_html()


@pytest.mark.parametrize("locale", ["ar-EG", "he-IL", "fa-IR"])
async def test_marks_of_locales_are_not_taken_for_others(look: Look, locale: str) -> None:
    page = await look("#tz=UTC", locale=locale)
    assert "\ufffd" not in await page.locator("main").inner_text()


async def test_an_hour_that_clocks_show_twice_is_told_apart(look: Look, url: str) -> None:
    later = [f"2026-10-25T0{hour}:30:00Z" for hour in (0, 1)]
    await fill(services.get(), [(usage_event(app_id="night", request_id=time, timestamp=time), "0") for time in later])
    day = "range=custom&from=2026-10-25&to=2026-10-25"
    page = await look(f"#{day}&granularity=hour&tz=Europe/Berlin&measure=calls&app=night")
    labels = await page.evaluate("Chart.getChart(document.querySelector('.wide canvas')).data.labels")
    assert len(set(labels)) == 25
    assert [label for label in labels if "GMT" in label] == ["25 Oct, 02:00 GMT+2", "25 Oct, 02:00 GMT+1"]
