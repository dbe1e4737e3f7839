"""A hub -> raw events, read beside the function app: no checkpoint, no ownership, a consumer group of its own."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from datetime import datetime
from typing import Any, Final, Self

from azure.core.credentials_async import AsyncTokenCredential
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.amqp import AmqpMessageBodyType

from collectors.redriven import redriven_of
from hub_state import HubUnavailable
from models.origin import Origin, RawEvent

BATCH_SIZE: Final = 1000
SILENCE_SECONDS: Final = 30.0
"""Without an event that the hub says it has."""

Position = int | datetime
"""A sequence number, or a time at which events were enqueued (aware)."""


class HubReader:
    """Reads one hub. It belongs to one event loop."""

    def __init__(self, client: EventHubConsumerClient, credential: AsyncTokenCredential | None = None):
        self._client = client
        self._credential = credential

    @classmethod
    def from_connection_string(cls, connection_string: str, hub: str, consumer_group: str) -> Self:
        """Opens nothing yet."""
        return cls(EventHubConsumerClient.from_connection_string(connection_string, consumer_group, eventhub_name=hub))

    @classmethod
    def with_identity(cls, namespace: str, hub: str, consumer_group: str, credential: AsyncTokenCredential) -> Self:
        """`namespace` is its host name. The identity needs the role Azure Event Hubs Data Receiver. Opens nothing
        yet."""
        return cls(EventHubConsumerClient(namespace, hub, consumer_group, credential), credential)

    async def close(self) -> None:
        """Close the connections, and the credential with which they were opened."""
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()

    async def read(
        self, partition: str, start: Position, last: int, silence: float = SILENCE_SECONDS
    ) -> AsyncGenerator[list[RawEvent], None]:
        """The partition's events from `start` to the sequence number `last`, both included, as they come: the next are
        taken from the hub while these are used. Raises HubUnavailable."""
        received: asyncio.Queue[list[EventData] | Exception] = asyncio.Queue(maxsize=1)

        async def take(_: Any, events: list[EventData]) -> None:
            await received.put(events)

        async def fail(_: Any, error: Exception) -> None:
            await received.put(error)

        async def receive() -> None:
            try:
                await self._client.receive_batch(
                    take,
                    partition_id=partition,
                    starting_position=start,
                    starting_position_inclusive=True,
                    max_batch_size=BATCH_SIZE,
                    prefetch=2 * BATCH_SIZE,
                    max_wait_time=silence,
                    on_error=fail,
                )
            except Exception as error:  # noqa: BLE001  # whatever it is, the one who waits is told
                await received.put(error)

        receiving = asyncio.create_task(receive())
        try:
            while True:
                batch = await received.get()
                if isinstance(batch, Exception):
                    raise HubUnavailable(f"{type(batch).__name__}: {' '.join(str(batch).split())}") from batch
                if not batch:
                    raise HubUnavailable(f"nothing came for {silence:g} s before the event {last}")
                events = [self._raw_event(partition, event) for event in batch]
                yield [event for event in events if event.origin.sequence_number <= last]
                if events[-1].origin.sequence_number >= last:
                    return
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    def _raw_event(self, partition: str, event: EventData) -> RawEvent:
        if event.sequence_number is None or event.enqueued_time is None:
            raise HubUnavailable("an event came without a sequence number or a time")
        origin = Origin(self._client.eventhub_name, partition, event.sequence_number, event.enqueued_time)
        return RawEvent(_body(event), origin, redriven_of(_texts(event.properties or {})))


def _body(event: EventData) -> bytes:
    if event.body_type is AmqpMessageBodyType.DATA:
        return b"".join(event.body)  # type: ignore[arg-type]
    return event.body_as_str().encode()


def _texts(properties: Mapping[Any, Any]) -> dict[str, Any]:
    return {_text(name): _text(value) for name, value in properties.items()}


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
