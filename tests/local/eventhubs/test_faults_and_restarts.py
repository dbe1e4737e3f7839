"""Failures on purpose, and what a restart keeps."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.exceptions import EventHubError

from local.eventhubs import EndpointError, EventHubsEndpoint, HubSpec

HUB = "usage-events"
SPEC = HubSpec(HUB, 1, ("usage-collector",))
# The aio SDK forgets its transport when a connection breaks under it. Its complaint about that comes when the garbage
# is collected, which the fixture makes happen while it is ignored.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

Read = Callable[..., Awaitable[list[EventData]]]


@pytest.fixture(autouse=True)
def collect_garbage() -> Iterator[None]:
    yield
    gc.collect()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def producer(endpoint: EventHubsEndpoint, **options: Any) -> EventHubProducerClient:
    return EventHubProducerClient.from_connection_string(
        endpoint.connection_string(HUB), retry_backoff_factor=0.05, socket_timeout=0.05, **options
    )


async def test_rejected_sends_are_retried_and_stored_once(tmp_path: Path) -> None:
    with EventHubsEndpoint(tmp_path, [SPEC]) as endpoint:
        async with producer(endpoint) as client:
            endpoint.reject_sends()
            await client.send_batch([EventData("a"), EventData("b")])
            assert endpoint.event_counts(HUB) == [2]
            endpoint.reject_sends(100)
            with pytest.raises(EventHubError, match="server-busy"):
                await client.send_event(EventData("c"))
            endpoint.clear_faults()
            await client.send_event(EventData("d"))
            assert endpoint.event_counts(HUB) == [3]


async def test_lost_answers(tmp_path: Path) -> None:
    with EventHubsEndpoint(tmp_path, [SPEC]) as endpoint:
        async with producer(endpoint) as client:
            endpoint.drop_on_sends()
            await client.send_event(EventData("once"))
            assert endpoint.event_counts(HUB) == [1]
            endpoint.drop_on_sends(stored=True)
            await client.send_event(EventData("twice"))
            assert endpoint.event_counts(HUB) == [3]
            endpoint.swallow_sends(stored=True)
            await client.send_event(EventData("twice"), timeout=1)  # sent again when the second is over
            assert endpoint.event_counts(HUB) == [5]


async def test_clients_and_events_survive_dropped_connections_and_restarts(tmp_path: Path, read: Read) -> None:
    got: list[EventData] = []

    async def on_event(context: Any, event: EventData) -> None:
        got.append(event)

    def seen(events: list[EventData]) -> list[tuple[Any, ...]]:
        return [(e.body_as_str(), e.sequence_number, e.offset, e.enqueued_time, e.partition_key) for e in events]

    endpoint = EventHubsEndpoint(tmp_path, [SPEC]).start()
    port = endpoint.port
    consumer = EventHubConsumerClient.from_connection_string(
        endpoint.connection_string(HUB), consumer_group="usage-collector", retry_backoff_factor=0.05
    )
    async with producer(endpoint) as sender, consumer:
        created = (await sender.get_eventhub_properties())["created_at"]
        receiving = asyncio.ensure_future(consumer.receive(on_event, partition_id="0", starting_position="-1"))  # type: ignore[arg-type]
        await sender.send_event(EventData("first"), partition_key="key")
        await until(lambda: len(got) == 1)
        endpoint.drop_connections()
        await sender.send_event(EventData("second"))
        await until(lambda: len(got) == 2)
        endpoint.stop()
        endpoint.start()
        assert endpoint.port == port
        await sender.send_event(EventData("third"))
        await until(lambda: len(got) == 3)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        assert (await sender.get_eventhub_properties())["created_at"] == created
    assert [event[:2] for event in seen(got)] == [("first", 0), ("second", 1), ("third", 2)]
    assert seen(await read(endpoint.connection_string(), 3)) == seen(got)
    endpoint.stop()


def test_hubs_come_and_go(tmp_path: Path) -> None:
    with EventHubsEndpoint(tmp_path, [SPEC]) as endpoint:
        endpoint.create_hub(HubSpec("second", 3))
        assert endpoint.event_counts("Second") == [0, 0, 0]
        endpoint.delete_hub("second")
        with pytest.raises(Exception, match="could not be found"):
            endpoint.event_counts("second")
        with pytest.raises(EndpointError, match="in use by another"):
            EventHubsEndpoint(tmp_path, [SPEC]).start()
    with pytest.raises(EndpointError, match="not running"):
        endpoint.event_counts(HUB)
    endpoint.stop()
