"""What a hub holds, read back with the real SDK."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient

from collectors.hub import raw_events
from local.eventhubs import EventHubsEndpoint
from local.functions_host.eventhub_batch import Partition, decode_many
from models.origin import RawEvent


class Held(NamedTuple):
    """An event, as the trigger would hand it over, and the key it was sent with."""

    event: RawEvent
    key: str | None


class WatchedHub:
    """A hub, read as a whole. `start` forgets those that are there, `held` gives those that came after."""

    def __init__(self, endpoint: EventHubsEndpoint, name: str) -> None:
        self.endpoint = endpoint
        self._name = name
        self._found: list[Held] = []
        self._more = asyncio.Event()
        self._before = 0

    async def start(self) -> None:
        self._before = len(await self._all())

    async def held(self) -> list[Held]:
        return (await self._all())[self._before :]

    def count(self) -> int:
        """Without waiting until they are read."""
        return sum(self.endpoint.event_counts(self._name)) - self._before

    async def _all(self) -> list[Held]:
        async with asyncio.timeout(30):
            while len(self._found) < sum(self.endpoint.event_counts(self._name)):
                self._more.clear()
                await self._more.wait()
        return self._found

    async def take(self, context: Any, event: EventData | None) -> None:
        assert event is not None
        assert event.sequence_number is not None
        assert event.enqueued_time is not None
        key = event.partition_key
        partition = Partition("localhost", self._name, "$Default", context.partition_id)
        [raw] = raw_events(decode_many([event], partition, binary=True), self._name)
        self._found.append(Held(raw, None if key is None else key.decode()))
        self._more.set()


@asynccontextmanager
async def watched(endpoint: EventHubsEndpoint, name: str) -> AsyncIterator[WatchedHub]:
    hub = WatchedHub(endpoint, name)
    client = EventHubConsumerClient.from_connection_string(
        endpoint.connection_string(), consumer_group="$Default", eventhub_name=name, socket_timeout=0.05
    )
    async with client:
        partitions = [str(number) for number in range(len(endpoint.event_counts(name)))]
        reading = [
            asyncio.ensure_future(client.receive(hub.take, partition_id=partition, starting_position="-1"))
            for partition in partitions
        ]
        try:
            yield hub
        finally:
            for reader in reading:
                reader.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
