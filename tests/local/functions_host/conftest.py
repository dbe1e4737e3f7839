"""Small function apps in a temporary folder, and an Event Hubs endpoint of its own for each test."""

import asyncio
import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local.azurite import Azurite
from local.eventhubs import EventHubsEndpoint, HubSpec
from local.functions_host.eventhub_trigger import CHECKPOINT_CONTAINER

HUB = "events"


class AppFolder:
    """The folder of a function app, and what its functions have left in the module's globals."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, source: str, **host_json: Any) -> Path:
        head = "import logging\nimport typing\nimport azure.functions as func\napp = func.FunctionApp()\n"
        (self.path / "function_app.py").write_text(head + textwrap.dedent(source))
        (self.path / "host.json").write_text(json.dumps({"version": "2.0"} | host_json))
        return self.path

    @property
    def module(self) -> ModuleType:
        """As it was imported last."""
        return sys.modules["function_app"]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[AppFolder]:
    folder = tmp_path / "app"
    folder.mkdir()
    path_before = list(sys.path)
    yield AppFolder(folder)
    sys.path[:] = path_before
    sys.modules.pop("function_app", None)


@pytest.fixture
def event_hubs(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    """Not the shared one: the tests here need an empty hub each, and take it away from the host."""
    with EventHubsEndpoint(tmp_path / "event-hubs", [HubSpec(HUB, 2, ("ones", "texts"))]) as endpoint:
        yield endpoint


@pytest.fixture
def hub_settings(event_hubs: EventHubsEndpoint, azurite: Azurite) -> dict[str, str]:
    """The app settings of an app with an Event Hubs trigger.

    Checkpoints are kept by the hub's address, and the system may give an earlier test's port to this one's endpoint.
    """
    with ContainerClient.from_connection_string(azurite.connection_string, CHECKPOINT_CONTAINER) as container:
        for name in list(container.list_blob_names()) if container.exists() else []:
            if name.startswith(f"127.0.0.1:{event_hubs.port}/"):
                container.delete_blob(name)
    return {
        "HUB": HUB,
        "HUBS": event_hubs.connection_string(),
        "AzureWebJobsStorage": azurite.connection_string,
    }


async def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)
