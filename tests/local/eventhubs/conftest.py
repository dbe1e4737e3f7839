"""Fixtures: a real endpoint per test, and readers that use the real SDK."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData, EventHubConsumerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncEventHubConsumerClient

from local.eventhubs import EventHubsEndpoint, HubSpec

HUB = HubSpec("usage-events", 2, ("usage-collector",))


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[EventHubsEndpoint]:
    with EventHubsEndpoint(tmp_path / "data", [HUB]) as running:
        yield running


@pytest.fixture
def read() -> Callable[..., Awaitable[list[EventData]]]:
    """Read `count` events with the aio SDK from one partition (default "0"), oldest first unless told otherwise."""

    async def read_events(
        connection_string: str,
        count: int,
        *,
        hub: str = HUB.name,
        consumer_group: str = "usage-collector",
        **options: Any,
    ) -> list[EventData]:
        events: list[EventData] = []
        enough = asyncio.Event()
        failure: list[Exception] = []

        async def on_event(context: Any, event: EventData) -> None:
            events.append(event)
            if len(events) >= count:
                enough.set()

        async def on_error(context: Any, error: Exception) -> None:
            failure.append(error)
            enough.set()

        client = AsyncEventHubConsumerClient.from_connection_string(
            connection_string,
            consumer_group=consumer_group,
            eventhub_name=hub,
            retry_total=0,
            socket_timeout=0.05,  # how long the SDK sleeps between steps while it connects
        )
        async with client:
            options = {"partition_id": "0", "starting_position": "-1", **options}
            receiving = asyncio.ensure_future(client.receive(on_event, on_error=on_error, **options))  # type: ignore[arg-type]
            try:
                await asyncio.wait_for(enough.wait(), 15)
            finally:
                receiving.cancel()
                with suppress(asyncio.CancelledError):
                    await receiving
        if failure:
            raise failure[0]
        return events

    return read_events


@pytest.fixture
def read_sync() -> Callable[..., list[EventData]]:
    """The same with the sync SDK, in batches."""

    def read_events(connection_string: str, count: int, **options: Any) -> list[EventData]:
        events: list[EventData] = []
        enough = threading.Event()

        def on_batch(context: Any, batch: list[EventData]) -> None:
            events.extend(batch)
            if len(events) >= count:
                enough.set()

        client = EventHubConsumerClient.from_connection_string(
            connection_string, consumer_group="usage-collector", eventhub_name=HUB.name
        )
        options = {"starting_position": "-1", **options}
        receiving = threading.Thread(target=client.receive_batch, args=(on_batch,), kwargs=options)
        receiving.start()
        arrived = enough.wait(15)
        client.close()
        receiving.join()
        assert arrived
        return events

    return read_events
