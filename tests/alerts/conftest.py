"""Services with tables of their own on Azurite, and a receiver of alerts on this machine."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from local.azurite import Azurite
from services import Services, build
from tests.alerts.receiver import Receiver, receiving
from tests.queries.filled import environment

Build = Callable[..., Awaitable[Services]]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # of nobody


@pytest.fixture
async def make(azurite: Azurite) -> AsyncIterator[Build]:
    """Services with these settings beside those of the tests."""
    async with AsyncExitStack() as opened:

        async def made(**changes: str) -> Services:
            services = build(
                environment(azurite, **{"ALERT_WEBHOOK_ALLOW_PRIVATE": "1", "ALERT_WEBHOOK_SECRET": SECRET, **changes})
            )
            opened.push_async_callback(services.close)
            return services

        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running
