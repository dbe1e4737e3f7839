"""The dashboard in a real browser: Debian's Chromium, before the app with known calls."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from playwright.async_api import Browser, Page, async_playwright

import services
from local.azurite import Azurite
from local.eventhubs.server import EventHubsEndpoint
from pipeline import ingest
from tests.dashboard.known import BUSY, NAMES, NOW, READER, calls
from tests.queries.filled import environment, fill
from tests.support.events import raw_event
from tests.support.served import served

SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
READY = "main[aria-busy=false]"

Look = Callable[..., Awaitable[Page]]
Before = Callable[[Page], Awaitable[Any]]


@pytest.fixture(scope="module")
async def url(azurite: Azurite, event_hubs: EventHubsEndpoint) -> AsyncIterator[str]:
    """Where the app answers, with two weeks of calls, names of apps and a dead letter."""
    with pytest.MonkeyPatch.context() as patch:
        hub = event_hubs.connection_string()
        for name, value in environment(azurite, EventHubConnection=hub, CONSUMER_GROUP="usage-collector").items():
            patch.setenv(name, value)
        patch.setattr(services, "_services", type(services._services)())
        found = services.get()
        await fill(found, [(event, str(number % 2)) for number, event in enumerate(calls())])
        await ingest([raw_event(b"no json", sequence_number=9)], found)
        async with served() as address:
            for app, name in NAMES.items():
                entry = {"display_name": name, "readers": [READER] if app == BUSY else []}
                await asyncio.to_thread(put, f"{address}/api/apps/{quote(app, safe='')}", entry)
            yield address
        await found.close()


def put(url: str, body: Any) -> None:
    with urlopen(Request(url, json.dumps(body).encode(), method="PUT")) as reply:
        assert reply.status in (200, 201)


async def api(url: str, path: str, headers: Mapping[str, str] | None = None) -> Any:
    """What the API answers to GET /api/{path}."""

    def get() -> Any:
        with urlopen(Request(f"{url}/api/{path}", headers=dict(headers or {}))) as reply:
            return json.load(reply)

    return await asyncio.to_thread(get)


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert found, "the dashboard's tests need Chromium: as root, apt-get install --no-install-recommends chromium"
    SCREENSHOTS.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        # Its sandbox needs rights that root in a container has not; it looks at pages of ours only.
        browser = await playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture
async def look(chromium: Browser, url: str) -> AsyncIterator[Look]:
    """Opens the dashboard at a state, at the time of the known calls. Faults of its scripts fail the test."""
    faults: list[str] = []
    async with AsyncExitStack() as opened:

        async def at(
            state: str = "",
            *,
            width: int = 1280,
            before: Callable[[Page], Awaitable[Any]] | None = None,
            **options: Any,
        ) -> Page:
            settings = {"locale": "en-GB", "timezone_id": "Europe/Berlin", "viewport": {"width": width, "height": 900}}
            context = await chromium.new_context(**{**settings, **options})
            opened.push_async_callback(context.close)
            page = await context.new_page()
            page.on("pageerror", lambda fault: faults.append(str(fault)))
            page.on("console", lambda told: faults.append(told.text) if "Content Security" in told.text else None)
            await page.clock.set_fixed_time(NOW)
            if before is not None:
                await before(page)
            await page.goto(f"{url}/api/dashboard{state}")
            await page.wait_for_selector(READY)
            return page

        yield at
    assert not faults


async def shot(page: Page, name: str) -> None:
    """A picture of the whole page, for people to look at."""
    await page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


async def figures(page: Page, within: str = ".tiles") -> dict[str, str]:
    """The exact values of the figures that are shown, by their names."""
    found = await page.eval_on_selector_all(
        f"{within} data[data-figure]", "found => found.map(each => [each.dataset.figure, each.value])"
    )
    return dict(found)
