"""The parts of the local stack, started in order and stopped in the opposite one."""

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local.azurite import Azurite, find_node
from local.ports import check_free
from local.processes import Part, PartError
from local.progress import Display
from local.stack_settings import StackSettings

ROOT = Path(__file__).resolve().parents[1]
USAGE_HUB = "usage-events"
GATEWAY_LOGS_HUB = "gateway-logs"
HUBS = (USAGE_HUB, GATEWAY_LOGS_HUB)
PARTITIONS = 4
CONSUMER_GROUP = "usage-collector"
CHECKPOINT_CONTAINER = "azure-webjobs-eventhub"  # the Functions host's
_READY_SECONDS = 60.0


class Stack:
    """The three parts, running. `check` raises PartError when one of them has stopped."""

    def __init__(self, parts: list[Part], storage: str, hub: str) -> None:
        self._parts = parts
        self.storage = storage
        self.hub = hub

    def check(self) -> None:
        for part in self._parts:
            part.check()


@contextmanager
def running_stack(settings: StackSettings, display: Display) -> Iterator[Stack]:
    """Starts the parts, each when those it needs are up, and stops them in the opposite order.

    Raises:
        PartError: a port is taken, the data folder is in use, node is missing, or a part did not start.
    """
    find_node()
    check_free(settings.ports)
    logs = settings.data_dir / "logs"
    with ExitStack() as stack:
        stack.enter_context(_sole_use(settings.data_dir))

        with display.step("Azurite") as step:
            azurite, replays = stack.enter_context(_azurite(settings, logs / "azurite.log"))
            step.done = f"tables on port {azurite.table_port}, blobs on port {azurite.blob_port}"
            if replays:
                step.done += "; it was not stopped in order, so the hub is read from its start, each call counted once"

        with display.step("Event Hubs") as step:
            event_hubs = python_part("The Event Hubs endpoint", event_hubs_arguments(settings), logs / "event-hubs.log")
            stack.callback(event_hubs.stop)
            event_hubs.start()
            hub = event_hubs.wait_for(r"Endpoint=sb://\S+", _READY_SECONDS)[0]
            step.done = f"AMQP on port {settings.amqp_port}, hubs {' and '.join(HUBS)}"

        with display.step("Functions host") as step:
            host = python_part(
                "The functions host",
                ["local.functions_host", "--app", str(ROOT), "--port", str(settings.http_port)],
                logs / "functions-host.log",
                app_settings(azurite.connection_string, hub),
            )
            stack.callback(host.stop)
            host.start()
            host.wait_for("^ready$", _READY_SECONDS)
            step.done = f"HTTP on port {settings.http_port}"

        assert azurite.part is not None
        yield Stack([azurite.part, event_hubs, host], azurite.connection_string, hub)


@contextmanager
def _azurite(settings: StackSettings, log_path: Path) -> Iterator[tuple[Azurite, bool]]:
    """Azurite, and whether the hub will be read again from its start.

    Azurite writes its data out seconds late: killed, it can forget calls that were counted, and remember that they were
    read. Table Storage does not. So where it was not stopped in order, the checkpoints go: the calls that it still
    knows are duplicates, and the others are counted.
    """
    data, marker = settings.data_dir / "azurite", settings.data_dir / "azurite-stopped-in-order"
    replays = data.exists() and not marker.exists()
    marker.unlink(missing_ok=True)
    alive = False
    try:
        with Azurite(data, settings.table_port, settings.blob_port, log_path=log_path) as azurite:
            if replays:
                delete_checkpoints(azurite.connection_string)
            try:
                yield azurite, replays
            finally:
                alive = azurite.part is not None and azurite.part.exit_code is None
    finally:
        if alive:
            marker.touch()


def delete_checkpoints(storage: str) -> None:
    """So that every hub is read from its start. What is counted stays counted once."""
    with (
        ContainerClient.from_connection_string(storage, CHECKPOINT_CONTAINER) as container,
        suppress(ResourceNotFoundError),
    ):
        for blob in list(container.list_blobs()):
            container.delete_blob(blob.name)


def app_settings(storage: str, hub: str) -> dict[str, str]:
    """The app settings that tell function_app.py where the local services are; all others keep their defaults."""
    return {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AzureWebJobsStorage": storage,
        "EventHubConnection": hub,
        "USAGE_EVENTS_HUB": USAGE_HUB,
        "GATEWAY_LOGS_HUB": GATEWAY_LOGS_HUB,
        "CONSUMER_GROUP": CONSUMER_GROUP,
        "UsageStorage": storage,
    }


@contextmanager
def _sole_use(data_dir: Path) -> Iterator[None]:
    """Two stacks on the same data would ruin it. The lock ends with this process, however that ends."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as exc:
        raise PartError(f"DATA_DIR cannot be used: {exc}") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise PartError(f"the data in {data_dir} is in use by another local stack; set another DATA_DIR") from exc
        yield


def event_hubs_arguments(settings: StackSettings) -> list[str]:
    """The module that serves the hubs, and its arguments."""
    hubs = [word for hub in HUBS for word in ("--hub", f"{hub}:{PARTITIONS}:{CONSUMER_GROUP}")]
    data_dir = str(settings.data_dir / "eventhubs")
    return ["local.eventhubs", "--port", str(settings.amqp_port), "--data-dir", data_dir, *hubs]


def python_part(name: str, module: list[str], log_path: Path, settings: Mapping[str, str] | None = None) -> Part:
    """A module of this project as a process, with these app settings."""
    # Settings of another storage, for running the app elsewhere, would contradict ours.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("UsageStorage__")}
    direct = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
    env = {**inherited, **direct, "PYTHONUNBUFFERED": "1", **(settings or {})}
    return Part(name, [sys.executable, "-m", *module], log_path, cwd=ROOT, env=env)
