"""An app for the functions to find: its settings in the environment, its tables on Azurite."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import services
from local.azurite import Azurite
from services import Services
from tests.queries.filled import environment

SETTINGS = json.loads(Path(__file__).parents[2].joinpath("local.settings.sample.json").read_text())["Values"]

Configure = Callable[..., Awaitable[Services]]


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without any of the app's settings, and an app that has not read them yet."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(services, "_services", type(services._services)())
    return monkeypatch


@pytest.fixture
def azurite_port(azurite: Azurite) -> int:
    return azurite.table_port


@pytest.fixture
async def configure(azurite: Azurite, no_settings: pytest.MonkeyPatch) -> AsyncIterator[Configure]:
    """Start the app anew with settings; gives its services. The last ones count."""
    async with AsyncExitStack() as opened:

        async def start(**changes: str) -> Services:
            for name, value in environment(azurite, **changes).items():
                no_settings.setenv(name, value)
            services._services.clear()
            found = services.get()
            opened.push_async_callback(found.close)
            return found

        yield start
