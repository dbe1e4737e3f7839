"""What tests share: the real services they run against, started once on free ports.

A service that cannot start is an error of every test that needs it, never a skip.
"""

import os
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from local.azurite import Azurite

if TYPE_CHECKING:
    from local.eventhubs.server import EventHubsEndpoint

HUBS = ("usage-events", "gateway-logs")

settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile("soak", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure() -> None:
    """SIGTERM ends the run as Ctrl-C does: fixtures are torn down, no service outlives the tests."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    # The services are on this machine: a proxy in the environment is not for them.
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azurite in memory, shared by all tests: a test takes table and container names of its own."""
    with Azurite() as running:
        yield running


@pytest.fixture(scope="session")
def event_hubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator["EventHubsEndpoint"]:
    """The local Event Hubs endpoint with the product's two hubs, shared by all tests."""
    from local.eventhubs.hub import HubSpec
    from local.eventhubs.server import EventHubsEndpoint

    hubs = [HubSpec(name, partitions=4, consumer_groups=("usage-collector",)) for name in HUBS]
    with EventHubsEndpoint(tmp_path_factory.mktemp("event-hubs"), hubs) as endpoint:
        yield endpoint
