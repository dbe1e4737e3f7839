"""How much a hub holds. Reads no event."""

import asyncio
from datetime import datetime
from typing import Any, NamedTuple, Self

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.eventhub.aio import EventHubConsumerClient
from azure.eventhub.exceptions import EventHubError

_OPTIONS: dict[str, Any] = {"consumer_group": "$Default", "retry_total": 1, "retry_backoff_factor": 0.2}
"""The group is not joined: properties are asked of the hub."""
AT_ONCE = 16
"""The SDK opens a connection for each request."""


class HubUnavailable(Exception):
    """The hub does not answer, does not exist, or does not let us ask."""


class PartitionState(NamedTuple):
    """Sequence numbers of the first and the last event that the partition holds; those of an empty one mean nothing.
    `last_enqueued_time` is aware, in UTC."""

    partition: str
    is_empty: bool
    first: int
    last: int
    last_enqueued_time: datetime


class HubState:
    """Asks one hub. It belongs to one event loop."""

    def __init__(self, client: EventHubConsumerClient, credential: AsyncTokenCredential | None = None):
        self._client = client
        self._credential = credential

    @classmethod
    def from_connection_string(cls, connection_string: str, hub: str) -> Self:
        """Opens nothing yet."""
        return cls(EventHubConsumerClient.from_connection_string(connection_string, eventhub_name=hub, **_OPTIONS))

    @classmethod
    def with_identity(cls, namespace: str, hub: str, credential: AsyncTokenCredential) -> Self:
        """`namespace` is its host name. The identity needs the role Azure Event Hubs Data Receiver, as the trigger
        does. Opens nothing yet."""
        return cls(EventHubConsumerClient(namespace, hub, credential=credential, **_OPTIONS), credential)

    async def close(self) -> None:
        """Close the credential; no connection is left open."""
        await self._client.close()
        if self._credential is not None:
            await self._credential.close()

    async def partitions(self) -> list[PartitionState]:
        """Raises HubUnavailable."""
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(partition: str) -> PartitionState:
            async with at_once:
                told = await self._client.get_partition_properties(partition)
            return PartitionState(
                partition,
                bool(told["is_empty"]),
                told["beginning_sequence_number"],
                told["last_enqueued_sequence_number"],
                told["last_enqueued_time_utc"],
            )

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(each)) for each in await self._client.get_partition_ids()]
        except* (EventHubError, AzureError) as faults:
            fault = faults.exceptions[0]
            raise HubUnavailable(f"{type(fault).__name__}: {' '.join(str(fault).split())}") from fault
        return [task.result() for task in tasks]
